//! `/v1/campaign/update`.

use serde_json::{Value, json};

use crate::support::refusal::CAMPAIGN_NOT_FOUND;
use crate::support::{SPRING, Server, on_both_stores};

on_both_stores!(
    an_update_changes_what_it_names,
    an_update_is_refused_in_order,
    stages_change_before_and_after_a_review,
    a_retry_and_a_regeneration_follow_the_update,
);

async fn an_update_changes_what_it_names(server: &Server) {
    let api = server.account();
    let campaign = api.draft(&api.group("Spring", SPRING).await).await;
    let mut expected = api.campaign(&campaign).await;
    let template = json!({ "subject": "Hi {{ tier }}", "body": "{{ country }}" });
    for (change, details) in [
        (
            json!({ "name": "  Autumn " }),
            json!({ "changed": ["name"], "name": "Autumn" }),
        ),
        (
            json!({ "template": template, "brief": "Be short." }),
            json!({ "changed": ["template", "brief"] }),
        ),
        (
            json!({ "approval_stages": ["Editorial", "Legal"] }),
            json!({ "changed": ["approval_stages"], "approval_stages": ["Editorial", "Legal"] }),
        ),
        (
            json!({ "approval_stages": ["Editorial", { "name": "Legal", "roles": ["LAWYER"] }],
                    "distinct_reviewers": true }),
            json!({ "changed": ["approval_stages", "distinct_reviewers"],
                    "approval_stages": ["Editorial", { "name": "Legal", "roles": ["LAWYER"] }],
                    "distinct_reviewers": true }),
        ),
        (
            json!({ "distinct_reviewers": false }),
            json!({ "changed": ["distinct_reviewers"], "distinct_reviewers": false }),
        ),
        (
            json!({ "suggest_reruns": false }),
            json!({ "changed": ["suggest_reruns"], "suggest_reruns": false }),
        ),
    ] {
        let mut body = change.clone();
        body["campaign_id"] = json!(campaign);
        let updated = api.ok("campaign/update", body).await;
        for (field, value) in change.as_object().unwrap() {
            expected[field] = value.clone();
        }
        if change.get("name").is_some() {
            expected["name"] = json!("Autumn");
        }
        expected["updated_at"] = updated["updated_at"].clone();
        assert_eq!(updated, expected);
        assert_eq!(api.campaign(&campaign).await, expected);
        let entry = api.audit().await.swap_remove(0);
        assert_eq!(
            (&entry["action"], &entry["campaign_id"], &entry["details"]),
            (&json!("campaign.updated"), &json!(campaign), &details),
        );
        assert_eq!(entry["run_number"], Value::Null);
    }
    // What changes nothing leaves no entry.
    api.unchanged(async || {
        let same = json!({ "campaign_id": campaign, "name": "Autumn", "template": template });
        assert_eq!(api.ok("campaign/update", same).await, expected);
    })
    .await;
}

async fn an_update_is_refused_in_order(server: &Server) {
    let api = server.account();
    let processing = api.launched().await;
    let path = "campaign/update";
    let unknown = "00000000-0000-4000-8000-000000000000";
    let update = |campaign: &str, more: Value| {
        let mut body = more;
        body["campaign_id"] = json!(campaign);
        body
    };
    api.unchanged(async || {
        for nothing in [json!({}), json!({ "name": null, "brief": null })] {
            let answer = api.post(path, update(unknown, nothing)).await;
            answer.is_invalid("name something to change");
        }
        for (bad, said) in [
            (json!({ "name": " " }), "`name`"),
            (json!({ "name": "a\0b" }), "`name`"),
            (json!({ "brief": "x".repeat(20_001) }), "`brief`"),
            (json!({ "approval_stages": [] }), "`approval_stages`"),
            (
                json!({ "approval_stages": ["A", "A"] }),
                "`approval_stages`",
            ),
            (
                json!({ "template": { "subject": "a\nb", "body": "b" } }),
                "`template`",
            ),
        ] {
            api.post(path, update(unknown, bad)).await.is_invalid(said);
        }
        let other = json!({ "template": { "subject": "{{ city }}", "body": "b" } });
        for id in [unknown, "x"] {
            let name = update(id, json!({ "name": "n" }));
            api.refused(path, name, &CAMPAIGN_NOT_FOUND).await;
            api.refused(path, update(id, other.clone()), &CAMPAIGN_NOT_FOUND)
                .await;
        }
        let answer = api.post(path, update(&processing, other)).await;
        answer.is_invalid("city");
        let stages = json!({ "approval_stages": ["Legal"] });
        for change in [json!({ "name": "n" }), stages] {
            let answer = api.post(path, update(&processing, change)).await;
            answer.conflicts("cannot update a campaign that is `Processing`");
        }
    })
    .await;
}

async fn stages_change_before_and_after_a_review(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let stages = |names: &[&str]| json!({ "campaign_id": campaign, "approval_stages": names });
    for status in ["Ready for review", "Ready to publish"] {
        api.unchanged(async || {
            let answer = api.post("campaign/update", stages(&["Legal"])).await;
            answer.conflicts(&format!(
                "cannot change the approval stages of a campaign that is `{status}`"
            ));
        })
        .await;
        api.approve_all(&campaign).await;
    }
    // Its name may change at any time.
    let name = json!({ "campaign_id": campaign, "name": "n" });
    api.ok("campaign/update", name).await;
    api.publish(&campaign).await;
    let messages = api.messages(&campaign).await;
    api.ok("campaign/update", stages(&["Legal", "Board"])).await;
    assert_eq!(api.messages(&campaign).await, messages);
    let group = api.group("Next", "customer_ref,country,tier\n1,PT,gold\n");
    api.initiate(&campaign, &group.await).await.ok();
    server.generate(&api, &campaign).await;
    for _ in 0..2 {
        api.approve_all(&campaign).await;
    }
    api.publish(&campaign).await;
    let message = api.message(&campaign, "PT/gold").await;
    let approvals = message["provenance"]["approvals"].as_array().unwrap();
    let passed: Vec<&Value> = approvals
        .iter()
        .map(|approval| &approval["stage"])
        .collect();
    assert_eq!(passed, ["Legal", "Board"]);
}

/// A run that cannot be generated is no dead end.
async fn a_retry_and_a_regeneration_follow_the_update(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    let this = json!({ "campaign_id": campaign });
    server.fail_for(&["DE"]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    server.fail_for(&[]);
    let update = json!({
        "campaign_id": campaign, "template": { "subject": "Now {{ country }}", "body": "b" },
    });
    api.ok("campaign/update", update).await;
    let old = api.message(&campaign, "FR/silver").await;
    assert_eq!(old["content"]["subject"], "To FR");
    api.ok("campaign/rerun/retry", this).await;
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    let retried = api.message(&campaign, "DE/gold").await;
    assert_eq!(
        retried["content"],
        json!({ "subject": "Now DE", "body": "b" })
    );
    assert_eq!(api.message(&campaign, "FR/silver").await, old);
    let again = json!({ "campaign_id": campaign, "message_ids": [old["id"]] });
    api.ok("campaign/messages/regenerate", again).await;
    server.generate(&api, &campaign).await;
    let regenerated = api.message(&campaign, "FR/silver").await;
    assert_eq!(regenerated["content"]["subject"], "Now FR");
    assert_eq!(
        api.message(&campaign, "FR/").await["content"]["subject"],
        "To FR"
    );
}
