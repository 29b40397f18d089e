use rerun_core::usecases::ScheduleChanges;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem, time};
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, schema};
use crate::routes::params::{customer_group_id, one_of, schedule_id};
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleUpdateRequest)]
pub(crate) struct Request {
    /// The schedule.
    #[schema(value_type = Uuid, required)]
    schedule_id: Option<String>,
    /// Its new name.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    name: Option<String>,
    /// A pattern of five fields of the Open Cron Pattern Specification 1.4. Its times are at least 15
    /// minutes apart.
    #[schema(min_length = 1, max_length = 200)]
    cron: Option<String>,
    /// A single time, in the future, with its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
    /// The IANA time zone of the pattern.
    time_zone: Option<String>,
    /// Another group for each rerun.
    #[schema(value_type = Option<Uuid>)]
    customer_group_id: Option<String>,
    /// Where to look for messages to reuse.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>)]
    when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>)]
    overlap: Option<String>,
    /// How late a time is made up for, in seconds; 0: not at all.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400)]
    catch_up_seconds: Option<Integer>,
    /// By how much a time may be delayed, in seconds. The delay is the same on every server.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400)]
    jitter_seconds: Option<Integer>,
    /// After this time it does not fire any more. With its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<String>,
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

/// `POST /v1/schedule/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("schedule_id", body.schedule_id);
    required.check()?;
    let changes = ScheduleChanges {
        name: body.name,
        cron: body.cron,
        at: body.at.map(|at| time("at", &at)).transpose()?,
        time_zone: body.time_zone,
        customer_group: body.customer_group_id.as_deref().map(customer_group_id),
        reuse_from: body
            .reuse_from
            .map(|text| one_of("reuse_from", &text))
            .transpose()?,
        when: body.when.map(|when| one_of("when", &when)).transpose()?,
        overlap: body
            .overlap
            .map(|overlap| one_of("overlap", &overlap))
            .transpose()?,
        catch_up_seconds: body.catch_up_seconds.map(|seconds| seconds.0),
        jitter_seconds: body.jitter_seconds.map(|seconds| seconds.0),
        ends_at: body.ends_at.map(|end| time("ends_at", &end)).transpose()?,
    };
    let schedules = &state.engine.schedules;
    let updated = schedules
        .update(&caller, schedule_id(&id), changes, key.as_deref())
        .await?;
    answered(&updated, ScheduleItem::from)
}
