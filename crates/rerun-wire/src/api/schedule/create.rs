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
    /// The campaign whose reruns it starts.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// A name for people.
    #[schema(
        required,
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
    #[schema(default = "UTC")]
    pub time_zone: Option<String>,
    /// The group of each rerun; that of the current run when it is not given.
    #[schema(value_type = Option<Uuid>)]
    pub customer_group_id: Option<String>,
    /// Where to look for messages to reuse.
    #[schema(value_type = Option<schema::ReuseFrom>, default = "current_run")]
    pub reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>, default = "group_changed")]
    pub when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>, default = "skip")]
    pub overlap: Option<String>,
    /// How late a time is made up for, in seconds; 0: not at all.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400, default = 86_400)]
    pub catch_up_seconds: Option<Integer>,
    /// By how much a time may be delayed, in seconds. The delay is the same on every server.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400, default = 0)]
    pub jitter_seconds: Option<Integer>,
    /// After this time it does not fire any more. With its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Schedule reruns",
        "Reruns start at the times of `cron`, or once `at` a time: exactly one of the two is given. In a \
         clock change, a fixed time that does not exist is the first instant after it, and one that \
         exists twice fires once. A run that a schedule starts is initiated by the schedule's creator, \
         whose role must still be allowed to initiate at that time. Nothing is ever published by a \
         schedule. The caller must be allowed to initiate reruns.",
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
