//! Values that several endpoints are given.

use std::str::FromStr;

use rerun_core::actor::Actor;
use rerun_core::audit::AuditAction;
use rerun_core::error::{Error, Invalid};
use rerun_core::ids::{CampaignId, CustomerGroupId, RunNumber, ScheduleId, WebhookId};
use rerun_core::usecases::PageQuery;
use uuid::Uuid;

use crate::request_id::{note_campaign, note_run};
use crate::state::State;
use rerun_wire::json::Integer;

/// Stands for a malformed id. No generator makes this id, since it has neither version nor
/// variant. So a malformed id is looked up like an unknown one, and the response is the same.
const UNKNOWN: Uuid = Uuid::max();

pub(super) fn campaign_id(text: &str) -> CampaignId {
    let id = CampaignId::parse(text);
    if let Some(id) = id {
        note_campaign(id);
    }
    id.unwrap_or(CampaignId::new(UNKNOWN))
}

pub(super) fn customer_group_id(text: &str) -> CustomerGroupId {
    CustomerGroupId::parse(text).unwrap_or(CustomerGroupId::new(UNKNOWN))
}

pub(super) fn webhook_id(text: &str) -> WebhookId {
    WebhookId::parse(text).unwrap_or(WebhookId::new(UNKNOWN))
}

pub(super) fn schedule_id(text: &str) -> ScheduleId {
    ScheduleId::parse(text).unwrap_or(ScheduleId::new(UNKNOWN))
}

/// Types of events.
pub(super) fn event_types(names: &[String]) -> Result<Vec<AuditAction>, Invalid> {
    names.iter().map(|name| one_of("types", name)).collect()
}

/// The number of a run of a campaign. For a number that no run can have, the campaign must be
/// there before the run is missed.
pub(super) async fn run_number(
    state: &State,
    caller: &Actor,
    campaign: CampaignId,
    number: Integer,
) -> Result<RunNumber, Error> {
    if let Some(number) = RunNumber::new(number.0) {
        note_run(number);
        return Ok(number);
    }
    state.engine.campaigns.get(caller, campaign).await?;
    Err(Error::RunNotFound)
}

pub(super) fn page(limit: Option<Integer>, cursor: Option<String>) -> PageQuery {
    PageQuery {
        limit: limit.map(|limit| limit.0),
        cursor,
    }
}

/// One of the texts that a field takes.
pub(super) fn one_of<T: FromStr<Err = Invalid>>(field: &str, text: &str) -> Result<T, Invalid> {
    text.parse()
        .map_err(|invalid| Invalid::new(format!("`{field}`: {invalid}")))
}
