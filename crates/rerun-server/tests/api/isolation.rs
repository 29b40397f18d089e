//! Two accounts: whatever names something of the other's is answered as if it were not there.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::endpoints::{Owned, WITHOUT_IDS, calls};
use crate::support::refusal::{CAMPAIGN_NOT_FOUND, CUSTOMER_GROUP_NOT_FOUND};
use crate::support::{Api, SPRING, SUMMER, Server, body_of, ids, on_both_stores};

on_both_stores!(
    every_endpoint_keeps_accounts_apart,
    lists_show_only_ones_own,
    an_account_in_a_body_is_ignored,
);

/// A published campaign with two runs, and one in review.
async fn owned(server: &Server, api: &Api) -> (Owned, Owned) {
    let reviewed = server.generated(api).await;
    let published = server.published(api).await;
    server.rerun(api, &published, SUMMER).await;
    let group = api.group("Another", SPRING).await;
    let mut all = Vec::new();
    for campaign in [published, reviewed] {
        let message = ids(&api.messages(&campaign).await)[0].clone();
        let group = group.clone();
        let url = json!({ "url": "https://receiver.example/hook" });
        let webhook = api.ok("webhook/create", url).await;
        let schedule = api.schedule(&campaign, json!({})).await;
        all.push(Owned {
            campaign,
            group,
            message,
            webhook: webhook["id"].as_str().unwrap().to_owned(),
            schedule,
        });
    }
    let reviewed = all.pop().unwrap();
    (all.pop().unwrap(), reviewed)
}

async fn every_endpoint_keeps_accounts_apart(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    let theirs = owned(server, &owner).await;
    // A customer that one of the two accounts has.
    owner
        .group("Theirs", "customer_ref,country\ntheirs,DE\n")
        .await;
    let mine = owned(server, &stranger).await;
    let mut called: BTreeSet<String> = WITHOUT_IDS.map(ToOwned::to_owned).into();
    owner
        .unchanged(async || {
            stranger
                .unchanged(async || {
                    for (mine, theirs) in [(&mine.0, &theirs.0), (&mine.1, &theirs.1)] {
                        for (path, body, refusal) in calls(mine, theirs) {
                            stranger.refused(path, body, &refusal).await;
                            called.insert(format!("/v1/{path}"));
                        }
                    }
                    let import = stranger.import(&theirs.0.group, SUMMER).await;
                    import.is(&CUSTOMER_GROUP_NOT_FOUND);
                    called.insert("/v1/customer-group/import".to_owned());
                })
                .await;
        })
        .await;
    let known: BTreeSet<String> = rerun_wire::ENDPOINTS
        .iter()
        // The others know of no account.
        .filter(|endpoint| endpoint.path.starts_with("/v1/"))
        .map(|endpoint| endpoint.path.to_owned())
        .collect();
    assert_eq!(called, known, "an endpoint is not in this test");
}

async fn lists_show_only_ones_own(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    owned(server, &owner).await;
    for (path, list) in [
        ("campaign/list", "campaigns"),
        ("customer-group/list", "customer_groups"),
        ("audit/list", "entries"),
        ("event/list", "events"),
        ("webhook/list", "webhooks"),
        ("schedule/list", "schedules"),
    ] {
        assert!(!body_of(&owner.ok(path, json!({})).await, list).is_empty());
        assert!(
            body_of(&stranger.ok(path, json!({})).await, list).is_empty(),
            "{path}"
        );
    }
}

/// The account is the token's.
async fn an_account_in_a_body_is_ignored(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    let campaign = server.generated(&owner).await;
    let body = json!({ "campaign_id": campaign, "account_id": owner.account });
    stranger
        .refused("campaign/get", body, &CAMPAIGN_NOT_FOUND)
        .await;
    let group = json!({ "name": "g", "account_id": owner.account });
    stranger.ok("customer-group/create", group).await;
    let groups = owner.ok("customer-group/list", json!({})).await;
    assert_eq!(body_of(&groups, "customer_groups").len(), 1);
}
