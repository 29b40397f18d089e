use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleUpdateRequest)]
pub struct Request {
    /// The id of the schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
    /// The new name.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub name: Option<String>,
    /// A cron pattern of five fields, as defined by the Open Cron Pattern Specification 1.4. Its
    /// times must be at least 15 minutes apart.
    #[schema(min_length = 1, max_length = 200)]
    pub cron: Option<String>,
    /// A single time in the future, with its UTC offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<String>,
    /// The IANA time zone of the cron pattern.
    pub time_zone: Option<String>,
    /// The id of another customer group for each rerun.
    #[schema(value_type = Option<Uuid>)]
    pub customer_group_id: Option<String>,
    /// Which messages the reruns can reuse.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>)]
    pub when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>)]
    pub overlap: Option<String>,
    /// How many seconds after a missed time it may still fire; 0: never.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400)]
    pub catch_up_seconds: Option<Integer>,
    /// The longest delay that is added to a time, in seconds. All servers add the same delay.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400)]
    pub jitter_seconds: Option<Integer>,
    /// The time after which the schedule no longer fires, with its UTC offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Update a schedule",
        "At least one field must be given. New times apply from now on. A schedule that has ended \
         becomes active if the new times are still to come; a schedule that is paused stays \
         paused.",
        json!({ "schedule_id": items::SCHEDULE, "cron": "0 9 * * MON,THU" }),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::CustomerGroupNotFound])
}
