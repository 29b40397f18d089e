use rerun_core::group::Customer;
use rerun_wire::api::messages::recipient::{Request, Response};
use rerun_wire::items::MessageItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;

/// `POST /v1/campaign/recipients/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let customer = required.text("customer_ref", body.customer_ref);
    required.check()?;
    let customer = Customer::reference("customer_ref", &customer)?;
    let campaign = campaign_id(&campaign);
    let run = match body.run_number {
        Some(number) => Some(run_number(&state, &caller, campaign, number).await?),
        None => None,
    };
    let recipients = &state.engine.recipients;
    let got = recipients.get(&caller, campaign, run, customer.as_deref());
    let got = got.await?;
    note_run(got.run);
    let stages = &got.approval_stages;
    let message = got.message.as_ref();
    answer::json(&Response {
        campaign_id: campaign,
        run_number: got.run,
        group_changed: got.group_changed,
        customer_ref: &got.customer_ref,
        segment_key: got.segment_key,
        message: message.map(|message| MessageItem::new(stages, message)),
    })
}
