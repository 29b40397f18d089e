use rerun_core::usecases::NewRules;
use rerun_wire::api::campaign::segmentation::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/segmentation/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let segment_by = required.value("segment_by", body.segment_by);
    required.check()?;
    let change = NewRules {
        campaign: campaign_id(&campaign),
        segment_by,
        dry_run: body.dry_run.unwrap_or(true),
    };
    let updated = state
        .engine
        .campaigns
        .update_segmentation(&caller, change, key.as_deref())
        .await?;
    answered(&updated, Response::from)
}
