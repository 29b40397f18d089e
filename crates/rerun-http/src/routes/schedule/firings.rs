use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, FiringItem};
use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, schema};
use crate::routes::params::{one_of, page, schedule_id};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleFiringsRequest)]
pub(crate) struct Request {
    /// The schedule.
    #[schema(value_type = Uuid, required)]
    schedule_id: Option<String>,
    /// Firings with this outcome alone.
    #[schema(value_type = Option<schema::FiringOutcome>)]
    outcome: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleFiringsResponse)]
struct Response<'a> {
    /// The firings, newest first.
    firings: Vec<FiringItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "List what became of a schedule's times",
        "Newest first. Each time has exactly one firing, however many servers run. A firing that is \
         `waiting` becomes another one when the campaign is published.",
        json!({ "schedule_id": items::SCHEDULE, "outcome": "started" }),
    )
    .answers::<Response<'_>>(json!({ "firings": [items::example_firing()], "next_cursor": null }))
    .refuses(&[Code::ScheduleNotFound])
}

/// `POST /v1/schedule/firings`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("schedule_id", body.schedule_id);
    required.check()?;
    let outcome = body.outcome.map(|text| one_of("outcome", &text));
    let page = page(body.limit, body.cursor);
    let schedules = &state.engine.schedules;
    let found = schedules
        .firings(&caller, schedule_id(&id), outcome.transpose()?, &page)
        .await?;
    wire::json(&Response {
        firings: found.items.iter().map(FiringItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
