use std::time::Duration;

use rerun_core::error::{Error, Invalid};
use rerun_core::feed::PublicEvent;
use rerun_core::ports::EventFilter;
use rerun_core::usecases::EventQuery;
use rerun_wire::api::event::list::{Event, Request, Response};
use rerun_wire::json::Integer;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::{campaign_id, event_types};
use crate::state::State;

/// The longest wait, in seconds.
const MAX_WAIT: i64 = 20;

/// What is left of the time of a request for the look-up after a wait.
const MARGIN: Duration = Duration::from_secs(2);

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
            return answer::json(&Response {
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
