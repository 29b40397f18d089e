pub(super) mod archive;
pub(super) mod cancel;
pub(super) mod diff;
pub(super) mod history;
pub(super) mod initiate;
pub(super) mod messages;
pub(super) mod preview;
pub(super) mod retry;

use rerun_core::error::Error;
use rerun_core::ids::CustomerGroupId;
use rerun_core::plan::ReuseFrom;
use rerun_core::usecases::RerunRequest;

use super::params::{campaign_id, one_of};
use crate::extract::Required;

/// What initiate and preview are asked for.
fn rerun_request(
    campaign: Option<String>,
    group: Option<String>,
    reuse_from: Option<&str>,
    allow_missing_fields: Option<bool>,
) -> Result<RerunRequest, Error> {
    let mut required = Required::default();
    let campaign = required.text("campaign_id", campaign);
    let group = required.text("new_customer_group_id", group);
    required.check()?;
    Ok(RerunRequest {
        campaign: campaign_id(&campaign),
        new_group: CustomerGroupId::parse(&group),
        reuse_from: match reuse_from {
            Some(text) => one_of("reuse_from", text)?,
            None => ReuseFrom::CurrentRun,
        },
        allow_missing_fields: allow_missing_fields.unwrap_or_default(),
    })
}
