use std::time::Duration;

use rerun_core::Timestamp;
use rerun_core::error::{Error, Invalid};
use rerun_core::feed::PublicEvent;
use rerun_core::ids::{AccountId, AuditEntryId};
use rerun_core::ports::EventFilter;
use rerun_core::usecases::EventQuery;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::extract::JsonCall;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, event_types};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

/// The longest wait, in seconds.
const MAX_WAIT: i64 = 20;

/// What is left of the time of a request for the look-up after a wait.
const MARGIN: Duration = Duration::from_secs(2);

#[derive(Deserialize, ToSchema)]
#[schema(as = EventListRequest)]
pub(crate) struct Request {
    /// Events after this number: `next_sequence` of the page before.
    #[schema(value_type = Option<i64>, minimum = 0, default = 0)]
    after_sequence: Option<Integer>,
    /// Events of these types alone.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, min_items = 1)]
    types: Option<Vec<String>>,
    /// Events about this campaign alone.
    #[schema(value_type = Option<Uuid>)]
    campaign_id: Option<String>,
    /// The most events to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// How many seconds to wait if there is no event yet.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 20, default = 0)]
    wait_seconds: Option<Integer>,
}

/// Something that happened in the account.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct Event<'a> {
    /// The id of the audit entry.
    #[schema(value_type = Uuid)]
    id: AuditEntryId,
    #[serde(rename = "type")]
    #[schema(value_type = schema::AuditAction)]
    kind: &'a str,
    /// When.
    #[serde(with = "rerun_core::timestamp")]
    #[schema(value_type = schema::Timestamp)]
    timestamp: Timestamp,
    /// Its number in the account's log, from 1 without gaps.
    #[schema(minimum = 1)]
    sequence: i64,
    /// The account.
    #[schema(value_type = Uuid)]
    account_id: AccountId,
    /// What happened. `webhooks` has the schema for each type.
    #[schema(value_type = Object)]
    data: &'a Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventListResponse)]
struct Response<'a> {
    /// The events, oldest first.
    events: Vec<Event<'a>>,
    /// `after_sequence` for the next page. It is past events that the filter left out.
    #[schema(minimum = 0)]
    next_sequence: i64,
    /// The number of the account's newest event; 0 before the first.
    #[schema(minimum = 0)]
    head_sequence: i64,
}

fn event(event: &PublicEvent) -> Event<'_> {
    Event {
        id: event.id,
        kind: &event.event_type,
        timestamp: event.timestamp,
        sequence: event.sequence,
        account_id: event.account_id,
        data: &event.data,
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Events,
        "List events",
        "Oldest first, from a number on. Every audit entry is an event, without IP addresses, \
         texts, reasons and data of customers. A reader that has all events up to a number has \
         missed none. With `wait_seconds` it returns as soon as there is an event. `data` is \
         different for each type: see `webhooks`.",
        json!({ "after_sequence": 41, "types": ["campaign.published"], "wait_seconds": 20 }),
    )
    .answers::<Response<'_>>(json!({
        "events": [examples::event("campaign.published")],
        "next_sequence": 42,
        "head_sequence": 42,
    }))
    .refuses(&[Code::CampaignNotFound])
}

fn wait(seconds: Option<Integer>, request_timeout: Duration) -> Result<Duration, Error> {
    let seconds = seconds.unwrap_or_default().0;
    let wait = u64::try_from(seconds)
        .ok()
        .filter(|_| seconds <= MAX_WAIT)
        .ok_or_else(|| {
            Invalid::new(format!(
                "`wait_seconds` must be from 0 to {MAX_WAIT}, not {seconds}"
            ))
        })?;
    Ok(Duration::from_secs(wait).min(request_timeout.saturating_sub(MARGIN)))
}

/// `POST /v1/event/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut query = EventQuery {
        after_sequence: body.after_sequence.unwrap_or_default().0,
        filter: EventFilter {
            types: body.types.as_deref().map(event_types).transpose()?,
            campaign_id: body.campaign_id.as_deref().map(campaign_id),
        },
        limit: body.limit.map(|limit| limit.0),
    };
    let until = Instant::now() + wait(body.wait_seconds, state.limits.request_timeout)?;
    loop {
        let found = state.engine.events.list(&caller, &query).await?;
        let is_over = Instant::now() >= until || !state.readiness.get();
        if is_over || !found.events.is_empty() {
            return wire::json(&Response {
                events: found.events.iter().map(event).collect(),
                next_sequence: found.next_sequence,
                head_sequence: found.head_sequence,
            });
        }
        query.after_sequence = found.next_sequence;
        let seen = (caller.account_id, found.next_sequence);
        let waiters = &state.waiters;
        let waited = waiters.wait(&state.engine.events, seen, until, &state.readiness);
        waited.await.map_err(Error::from)?;
    }
}
