use rerun_core::usecases::ScheduleChanges;
use rerun_wire::api::schedule::items::ScheduleItem;
use rerun_wire::api::schedule::update::Request;

use super::items::time;
use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::{customer_group_id, one_of, schedule_id};
use crate::state::State;

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
