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
    /// The schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
    /// Its new name.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub name: Option<String>,
    /// A pattern of five fields of the Open Cron Pattern Specification 1.4. Its times are at least 15
    /// minutes apart.
    #[schema(min_length = 1, max_length = 200)]
    pub cron: Option<String>,
    /// A single time, in the future, with its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<String>,
    /// The IANA time zone of the pattern.
    pub time_zone: Option<String>,
    /// Another group for each rerun.
    #[schema(value_type = Option<Uuid>)]
    pub customer_group_id: Option<String>,
    /// Where to look for messages to reuse.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>)]
    pub when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>)]
    pub overlap: Option<String>,
    /// How late a time is made up for, in seconds; 0: not at all.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400)]
    pub catch_up_seconds: Option<Integer>,
    /// By how much a time may be delayed, in seconds. The delay is the same on every server.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400)]
    pub jitter_seconds: Option<Integer>,
    /// After this time it does not fire any more. With its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Change a schedule",
        "At least one field must be given. Other times count from now on; a schedule that has ended goes \
         on if it has times again, and one that is paused stays paused.",
        json!({ "schedule_id": items::SCHEDULE, "cron": "0 9 * * MON,THU" }),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::CustomerGroupNotFound])
}
