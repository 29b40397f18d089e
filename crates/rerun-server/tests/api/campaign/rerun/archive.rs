use serde_json::json;

use crate::support::refusal::{CURRENT_RUN_ARCHIVE, RUN_NOT_FOUND};
use crate::support::{SUMMER, Server, on_both_stores};

on_both_stores!(archiving_a_past_run_finds_nothing_left);

/// A run that stops being current is archived with that, so that there is nothing left to do.
async fn archiving_a_past_run_finds_nothing_left(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    api.cancel(&campaign).await;
    api.unchanged(async || {
        for run in [1, 3, 1] {
            let body = json!({ "campaign_id": campaign, "run_number": run });
            assert_eq!(
                api.ok("campaign/rerun/archive", body).await,
                json!({ "campaign_id": campaign, "run_number": run, "archived_messages": 0 }),
            );
        }
        let current = json!({ "campaign_id": campaign, "run_number": 2 });
        api.refused("campaign/rerun/archive", current, &CURRENT_RUN_ARCHIVE)
            .await;
        let none = json!({ "campaign_id": campaign, "run_number": 4 });
        api.refused("campaign/rerun/archive", none, &RUN_NOT_FOUND)
            .await;
    })
    .await;
}
