use rerun_core::schedule::{CalendarTime, ClockChange};
use rerun_core::{Timestamp, timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::json::Integer;
use crate::openapi::{Docs, Tag, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = SchedulePreviewRequest)]
pub struct Request {
    /// A cron pattern of five fields.
    #[schema(required, min_length = 1, max_length = 200)]
    pub cron: Option<String>,
    /// The IANA time zone of the cron pattern.
    #[schema(default = "UTC")]
    pub time_zone: Option<String>,
    /// Return the times after this one, which is given with its UTC offset; by default the times
    /// after now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<String>,
    /// The maximum number of times to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 100, default = 5)]
    pub limit: Option<Integer>,
}

/// A time of a cron pattern.
#[derive(Serialize, ToSchema)]
pub struct PatternTime<'a> {
    /// The time in UTC.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub at: Timestamp,
    /// The local time, with its UTC offset.
    pub local: &'a str,
    /// How a clock change affects the time; `null` if none does.
    #[schema(value_type = Option<schema::ClockChange>, required)]
    pub clock_change: Option<ClockChange>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SchedulePreviewResponse)]
pub struct Response<'a> {
    /// The times, earliest first.
    pub times: Vec<PatternTime<'a>>,
}

impl<'a> From<&'a CalendarTime> for PatternTime<'a> {
    fn from(time: &'a CalendarTime) -> Self {
        Self {
            at: time.at,
            local: &time.local,
            clock_change: time.clock_change,
        }
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Preview the times of a cron pattern",
        "Returns the next times of a cron pattern, and shows how clock changes affect them. A \
         fixed time that does not exist on a day fires at the first instant after it (`skipped`), \
         and a fixed time that exists twice fires once (`repeated`). A pattern with a wildcard in \
         the minute or the hour fires at every time that exists, and twice at a time that exists \
         twice.",
        json!({
            "cron": "30 2 * * *",
            "time_zone": "Europe/Berlin",
            "from": "2026-03-28T12:00:00Z",
            "limit": 1,
        }),
    )
    .answers::<Response<'_>>(json!({
        "times": [{
            "at": "2026-03-29T01:00:00.000Z",
            "local": "2026-03-29T03:00:00+02:00",
            "clock_change": "skipped",
        }],
    }))
}
