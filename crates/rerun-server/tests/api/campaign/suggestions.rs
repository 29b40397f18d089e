//! Suggestions: `/v1/campaign/rerun/preview`, `/v1/campaign/rerun/messages`,
//! `/v1/campaign/messages/adopt`.

use serde_json::{Value, json};

use crate::support::{Api, Server, attribute, on_both_stores};

on_both_stores!(
    a_suggestion_is_shown_and_taken,
    a_text_that_mentions_what_differs_is_not_taken,
    only_what_waits_for_a_reviewer_takes_a_suggestion,
);

const OLD: &str = "customer_ref,country,tier\n\
    a,DE,gold\nb,DE,silver\nc,FR,gold\nd,FR,gold\ne,FR,silver\n";
const NEW: &str = "customer_ref,country,tier\na,DE,gold\nf,FR,bronze\n";

/// A campaign that is published for [`OLD`], whose texts depend on the country alone.
async fn published(server: &Server, api: &Api, body: &str) -> String {
    let group = api.group("Old", OLD).await;
    let made = api
        .ok(
            "campaign/create",
            json!({
                "name": "Hello", "customer_group_id": group, "segment_by": ["tier", "country"],
                "template": { "subject": "Hello", "body": body },
            }),
        )
        .await;
    let campaign = made["id"].as_str().unwrap().to_owned();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(api, &campaign).await;
    campaign
}

/// Takes the campaign to [`NEW`]; returns the message of the new segment.
async fn rerun(server: &Server, api: &Api, campaign: &str) -> Value {
    let group = api.group("New", NEW).await;
    api.initiate(campaign, &group).await.ok();
    server.generate(api, campaign).await;
    new_message(api, campaign).await
}

async fn new_message(api: &Api, campaign: &str) -> Value {
    let messages = api.messages(campaign).await;
    let new = messages
        .into_iter()
        .find(|message| attribute(message, "tier") == "bronze");
    new.unwrap()
}

fn adopt(campaign: &str, message: &Value) -> Value {
    json!({
        "campaign_id": campaign, "message_id": message["id"], "content_id": message["content_id"],
    })
}

async fn a_suggestion_is_shown_and_taken(server: &Server) {
    let api = server.account();
    let campaign = published(server, &api, "Your country: {{ country }}").await;
    let nearest = api.message(&campaign, "FR/gold").await;
    let expected = json!({
        "message_id": nearest["id"],
        "run_number": 1,
        "differs": [{ "field": "tier", "from": "gold", "to": "bronze" }],
        "evidence": { "pairs": 2, "same": 2 },
        "mentions": [],
    });
    let group = api.group("New", NEW).await;
    let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    let preview = api.ok("campaign/rerun/preview", body).await;
    for item in preview["items"].as_array().unwrap() {
        let suggestion = if item["outcome"] == "new" {
            &expected
        } else {
            &Value::Null
        };
        assert_eq!(&item["suggestion"], suggestion);
    }
    let message = rerun(server, &api, &campaign).await;
    assert_eq!(message["suggestion"], expected);
    let matched = api.message(&campaign, "DE/gold").await;
    assert_eq!(matched["suggestion"], Value::Null);

    let taken = api
        .ok("campaign/messages/adopt", adopt(&campaign, &message))
        .await;
    assert_eq!(taken, new_message(&api, &campaign).await);
    assert_eq!(taken["content"], nearest["content"]);
    assert_eq!(taken["content_id"], nearest["content_id"]);
    assert_eq!(
        (
            &taken["source"],
            &taken["review_status"],
            &taken["approval_stage"]
        ),
        (
            &json!("suggested"),
            &json!("Pending review"),
            &json!("Review")
        )
    );
    assert_eq!(
        taken["reused_from"],
        json!({ "message_id": nearest["id"], "run_number": 1 })
    );
    assert_eq!(
        taken["provenance"],
        json!({ "run_number": 1, "approvals": [] })
    );
    let entry = api.audit().await.swap_remove(0);
    assert_eq!(entry["action"], "message.adopted");
    assert_eq!(entry["details"]["content_id"], nearest["content_id"]);
    let history = api
        .ok("campaign/rerun/history", json!({ "campaign_id": campaign }))
        .await;
    let counts = &history["runs"][0]["messages"];
    assert_eq!(
        (&counts["reused"], &counts["generated"], &counts["total"]),
        (&json!(1), &json!(0), &json!(2))
    );
    // A person approves it like any other text.
    server.finish(&api, &campaign).await;
    assert_eq!(
        new_message(&api, &campaign).await["suggestion"],
        Value::Null
    );
}

async fn a_text_that_mentions_what_differs_is_not_taken(server: &Server) {
    let api = server.account();
    let campaign = published(server, &api, "For {{ tier | upper }} customers").await;
    let message = rerun(server, &api, &campaign).await;
    assert_eq!(message["suggestion"]["mentions"], json!(["gold"]));
    api.unchanged(async || {
        let refused = api
            .post("campaign/messages/adopt", adopt(&campaign, &message))
            .await;
        refused.conflicts(
            "cannot use a suggestion that mentions `gold`: these are values of another segment",
        );
    })
    .await;
}

async fn only_what_waits_for_a_reviewer_takes_a_suggestion(server: &Server) {
    let api = server.account();
    // A first run has nothing to suggest.
    let first = api.draft(&api.group("Old", OLD).await).await;
    api.ok("campaign/launch", json!({ "campaign_id": first }))
        .await;
    server.generate(&api, &first).await;
    let alone = api.message(&first, "FR/gold").await;
    assert_eq!(
        (&alone["review_status"], &alone["suggestion"]),
        (&json!("Pending review"), &Value::Null)
    );
    let refused = api
        .post("campaign/messages/adopt", adopt(&first, &alone))
        .await;
    refused.conflicts("cannot use the suggestion for a message that has none");

    let campaign = published(server, &api, "Your country: {{ country }}").await;
    let old = api.message(&campaign, "FR/gold").await;
    let message = rerun(server, &api, &campaign).await;
    let post = async |message: &Value| {
        let body = adopt(&campaign, message);
        api.post("campaign/messages/adopt", body).await
    };
    api.unchanged(async || {
        post(&old)
            .await
            .conflicts("cannot use the suggestion for a message of a past run: it is archived");
        let matched = api.message(&campaign, "DE/gold").await;
        post(&matched)
            .await
            .conflicts("cannot use the suggestion for a message that is `Approved`");
        let mut seen = message.clone();
        seen["content_id"] = old["content_id"].clone();
        let refused = post(&seen).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("content_changed"))
        );
    })
    .await;
}
