use rerun_core::plan::ReuseFrom;
use rerun_core::usecases::NewSchedule;
use rerun_wire::api::schedule::create::Request;
use rerun_wire::api::schedule::items::ScheduleItem;

use super::items::time;
use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::{campaign_id, customer_group_id, one_of};
use crate::state::State;

/// `POST /v1/schedule/create`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let name = required.text("name", body.name);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (mut cron, at) = (given(body.cron), given(body.at));
    if cron.is_none() && at.is_none() {
        cron = Some(required.text("cron", None));
    }
    required.check()?;
    let reuse_from = body.reuse_from.map(|text| one_of("reuse_from", &text));
    let new = NewSchedule {
        campaign: campaign_id(&campaign),
        name,
        cron,
        at: at.map(|at| time("at", &at)).transpose()?,
        time_zone: body.time_zone,
        customer_group: body.customer_group_id.as_deref().map(customer_group_id),
        reuse_from: reuse_from.transpose()?.unwrap_or(ReuseFrom::CurrentRun),
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
    let made = schedules.create(&caller, new, key.as_deref()).await?;
    answered(&made, ScheduleItem::from)
}
