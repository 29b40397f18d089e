use rerun_core::plan::ReuseFrom;
use rerun_core::usecases::NewSchedule;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem, time};
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, customer_group_id, one_of};
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleCreateRequest)]
pub(crate) struct Request {
    /// The campaign whose reruns it starts.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A name for people.
    #[schema(
        required,
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
    #[schema(default = "UTC")]
    time_zone: Option<String>,
    /// The group of each rerun; that of the current run when it is not given.
    #[schema(value_type = Option<Uuid>)]
    customer_group_id: Option<String>,
    /// Where to look for messages to reuse.
    #[schema(value_type = Option<schema::ReuseFrom>, default = "current_run")]
    reuse_from: Option<String>,
    #[schema(value_type = Option<schema::RerunCondition>, default = "group_changed")]
    when: Option<String>,
    #[schema(value_type = Option<schema::Overlap>, default = "skip")]
    overlap: Option<String>,
    /// How late a time is made up for, in seconds; 0: not at all.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31_622_400, default = 86_400)]
    catch_up_seconds: Option<Integer>,
    /// By how much a time may be delayed, in seconds. The delay is the same on every server.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 86_400, default = 0)]
    jitter_seconds: Option<Integer>,
    /// After this time it does not fire any more. With its offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<String>,
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
