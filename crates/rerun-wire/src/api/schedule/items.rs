use rerun_core::actor::UserName;
use rerun_core::ids::{CampaignId, CustomerGroupId, RunNumber, ScheduleId, UserId};
use rerun_core::plan::ReuseFrom;
use rerun_core::schedule::{Firing, Outcome, Overlap, ScheduleStatus, Timing, When};
use rerun_core::usecases::ScheduleDetails;
use rerun_core::{Timestamp, timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::openapi::{examples, schema};

pub const SCHEDULE: &str = "019ab01c-4d2e-7f60-8a1b-2c3d4e5f6a7b";

/// A request about a schedule.
#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleRequest)]
pub struct OfSchedule {
    /// The id of the schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
}

/// What happened at a time of a schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = Firing)]
pub struct FiringItem<'a> {
    /// The time of the schedule, without the delay by `jitter_seconds`.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub scheduled_for: Timestamp,
    /// When the outcome was decided.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub fired_at: Timestamp,
    #[schema(value_type = schema::FiringOutcome)]
    pub outcome: Outcome,
    /// The number of the run that was started; `null` if none was.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub run_number: Option<RunNumber>,
    /// Why no run was started. If the rerun was refused, this is the code of the error.
    #[schema(required)]
    pub reason: Option<&'a str>,
    /// Whether a person triggered it.
    pub triggered: bool,
}

impl<'a> From<&'a Firing> for FiringItem<'a> {
    fn from(firing: &'a Firing) -> Self {
        Self {
            scheduled_for: firing.key.scheduled_for,
            fired_at: firing.fired_at,
            outcome: firing.outcome,
            run_number: firing.run_number,
            reason: firing.reason.as_deref(),
            triggered: firing.key.triggered,
        }
    }
}

/// A schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct ScheduleItem<'a> {
    /// The id of the schedule.
    #[schema(value_type = Uuid)]
    pub id: ScheduleId,
    /// The id of the campaign that it reruns.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    /// The name of the schedule.
    pub name: &'a str,
    #[schema(value_type = schema::ScheduleStatus)]
    pub status: ScheduleStatus,
    /// Its cron pattern; `null` if it has a single time.
    #[schema(required)]
    pub cron: Option<&'a str>,
    /// Its single time; `null` if it has a cron pattern.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub at: Option<Timestamp>,
    /// The IANA time zone of the cron pattern.
    pub time_zone: &'a str,
    /// A description of its times in words.
    pub description: &'a str,
    /// Its next times, without the delay by `jitter_seconds`. The list is empty unless the schedule
    /// is `active`.
    #[schema(value_type = Vec<schema::Timestamp>, max_items = 5)]
    pub next_times: Vec<String>,
    /// The id of the customer group for each rerun; `null` if each rerun uses the group of the
    /// current run.
    #[schema(value_type = Option<Uuid>, required)]
    pub customer_group_id: Option<CustomerGroupId>,
    #[schema(value_type = schema::ReuseFrom)]
    pub reuse_from: ReuseFrom,
    #[schema(value_type = schema::RerunCondition)]
    pub when: When,
    #[schema(value_type = schema::Overlap)]
    pub overlap: Overlap,
    /// How many seconds after a missed time it may still fire; 0: never.
    #[schema(minimum = 0)]
    pub catch_up_seconds: u32,
    /// The longest delay that is added to a time, in seconds.
    #[schema(minimum = 0)]
    pub jitter_seconds: u32,
    /// The time after which it no longer fires.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub ends_at: Option<Timestamp>,
    /// Why it is paused; `null` if no reason is known.
    #[schema(required)]
    pub note: Option<&'a str>,
    /// Its last firing; `null` if there was none yet.
    #[schema(required)]
    pub last_firing: Option<FiringItem<'a>>,
    /// The id of the person who created it. Its reruns are recorded as initiated by this person.
    #[schema(value_type = Uuid)]
    pub created_by: UserId,
    /// The person's name at that time; `null` if the token did not contain a name.
    #[schema(required)]
    pub created_by_name: Option<&'a str>,
    /// When it was created.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When a person last changed it.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
}

impl<'a> From<&'a ScheduleDetails> for ScheduleItem<'a> {
    fn from(details: &'a ScheduleDetails) -> Self {
        let schedule = &details.view.schedule;
        let next_times = details.next_times.iter();
        Self {
            id: schedule.id,
            campaign_id: schedule.campaign_id,
            name: &schedule.name,
            status: schedule.state.status,
            cron: schedule.cron(),
            at: match schedule.timing {
                Timing::At(at) => Some(at),
                Timing::Cron(_) => None,
            },
            time_zone: &schedule.time_zone,
            description: &details.description,
            next_times: next_times.map(|time| timestamp::format(*time)).collect(),
            customer_group_id: schedule.customer_group_id,
            reuse_from: schedule.reuse_from,
            when: schedule.when,
            overlap: schedule.overlap,
            catch_up_seconds: schedule.catch_up_seconds,
            jitter_seconds: schedule.jitter_seconds,
            ends_at: schedule.ends_at,
            note: schedule.state.note.as_deref(),
            last_firing: details.view.last_firing.as_ref().map(FiringItem::from),
            created_by: schedule.created_by,
            created_by_name: schedule.created_by_name.as_ref().map(UserName::as_str),
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
        }
    }
}

pub(crate) fn example_firing() -> Value {
    json!({
        "scheduled_for": "2026-11-23T08:00:00.000Z",
        "fired_at": "2026-11-23T08:00:00.412Z",
        "outcome": "started",
        "run_number": 2,
        "reason": null,
        "triggered": false,
    })
}

pub(crate) fn example() -> Value {
    json!({
        "id": SCHEDULE,
        "campaign_id": examples::CAMPAIGN,
        "name": "Monday mornings",
        "status": "active",
        "cron": "0 9 * * MON",
        "at": null,
        "time_zone": "Europe/Berlin",
        "description": "At 09:00, on Monday (Europe/Berlin)",
        "next_times": [
            "2026-11-30T08:00:00.000Z",
            "2026-12-07T08:00:00.000Z",
            "2026-12-14T08:00:00.000Z",
            "2026-12-21T08:00:00.000Z",
            "2026-12-28T08:00:00.000Z",
        ],
        "customer_group_id": null,
        "reuse_from": "current_run",
        "when": "group_changed",
        "overlap": "skip",
        "catch_up_seconds": 86_400,
        "jitter_seconds": 0,
        "ends_at": null,
        "note": null,
        "last_firing": example_firing(),
        "created_by": examples::USER,
        "created_by_name": "Ada Lovelace",
        "created_at": "2026-11-16T10:00:00.000Z",
        "updated_at": "2026-11-16T10:00:00.000Z",
    })
}

pub(crate) fn example_id() -> Value {
    json!({ "schedule_id": SCHEDULE })
}
