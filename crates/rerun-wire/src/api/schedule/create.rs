use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleCreateRequest)]
pub struct Request {
    /// The id of the campaign to rerun.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The name of the schedule.
    #[schema(
        required,
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
    #[schema(default = "UTC")]
    pub time_zone: Option<String>,
    /// The id of the customer group for each rerun; by default the group of the current run.
    #[schema(value_type = Option<Uuid>)]
    pub customer_group_id: Option<String>,
    /// Which messages the reruns can reuse.
    #[schema(value_type = Option<schema::ReuseFrom>, default = "current_run")]
    pub reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>, default = "group_changed")]
    pub when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>, default = "skip")]
    pub overlap: Option<String>,
    /// How many seconds after a missed time it may still fire; 0: never.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400, default = 86_400)]
    pub catch_up_seconds: Option<Integer>,
    /// The longest delay that is added to a time, in seconds. All servers add the same delay.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400, default = 0)]
    pub jitter_seconds: Option<Integer>,
    /// The time after which the schedule no longer fires, with its UTC offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Create a schedule",
        "Starts reruns of a campaign at the times of the pattern `cron`, or once at the time \
         `at`. Give exactly one of the two. When the clocks change, a fixed time that does not \
         exist fires at the first instant after it, and a fixed time that exists twice fires \
         once. Each run is recorded as initiated by the creator of the schedule, whose role must \
         still be allowed to initiate reruns at that time. A schedule never publishes anything. \
         The caller must be allowed to initiate reruns.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "name": "Monday mornings",
            "cron": "0 9 * * MON",
            "time_zone": "Europe/Berlin",
        }),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::CampaignNotFound, Code::CustomerGroupNotFound])
}
