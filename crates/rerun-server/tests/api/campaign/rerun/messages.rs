use serde_json::{Value, json};

use crate::support::{SUMMER, Server, assert_shape, body_of, on_both_stores};

on_both_stores!(
    messages_show_all_there_is_to_them,
    a_run_number_brings_archived_messages_along,
    filters_narrow_a_list_and_not_its_counts,
);

async fn messages_show_all_there_is_to_them(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.fail_for(&["ES"]);
    server.generate(&api, &campaign).await;
    let page = json!({ "campaign_id": campaign, "include_archived": true });
    let page = api.ok("campaign/rerun/messages", page).await;
    assert_shape(
        &page,
        &json!({
            "campaign_id": format!("={campaign}"), "run_number": null, "counts": null,
            "messages": [{
                "id": "uuid", "run_number": "int",
                "segment": {
                    "key": "key", "attributes": { "country": "text?", "tier": "text?" },
                    "customer_count": "int",
                },
                "content_id": "uuid?", "content": "any", "content_model": null, "review_status": "text", "approval_stage": "text?",
                "source": "text", "reused_from": "any", "provenance": "any",
                "archived": "bool", "archived_at": "time?", "rejection_reason": null, "suggestion": "any",
                "error": "text?", "created_at": "time", "updated_at": "time",
            }],
            "next_cursor": null,
        }),
    );
    let failed = api.message(&campaign, "ES/gold").await;
    assert_eq!(
        (&failed["content_id"], &failed["content"], &failed["error"]),
        (&Value::Null, &Value::Null, &json!("no words for ES"))
    );
    assert_eq!(failed["review_status"], "Generation failed");
    assert_eq!(failed["suggestion"], Value::Null);
    let generated = api.message(&campaign, "/gold").await;
    assert_shape(
        &generated["content"],
        &json!({ "subject": "=To ", "body": "=Dear gold customer" }),
    );
    assert_eq!(
        generated["segment"]["attributes"],
        json!({ "country": null, "tier": "gold" })
    );
    let reused = api.message(&campaign, "DE/gold").await;
    assert_shape(
        &reused["reused_from"],
        &json!({ "message_id": "uuid", "run_number": 1 }),
    );
}

async fn a_run_number_brings_archived_messages_along(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let before = api.messages(&campaign).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let list = async |more: Value| {
        let mut body = more;
        body["campaign_id"] = json!(campaign);
        let page = api.ok("campaign/rerun/messages", body).await;
        let messages = body_of(&page, "messages");
        let runs: Vec<u64> = messages
            .iter()
            .map(|m| m["run_number"].as_u64().unwrap())
            .collect();
        let archived = messages.iter().filter(|m| m["archived"] == true).count();
        (page["run_number"].clone(), runs, archived)
    };
    let current = (json!(2), vec![2; 4], 0);
    assert_eq!(list(json!({})).await, current);
    assert_eq!(list(json!({ "include_archived": false })).await, current);
    assert_eq!(list(json!({ "run_number": 2 })).await, current);
    for include in [Value::Null, json!(false), json!(true)] {
        let past = json!({ "run_number": 1, "include_archived": include });
        assert_eq!(list(past).await, (json!(1), vec![1; 3], 3));
    }
    let all = vec![2, 2, 2, 2, 1, 1, 1];
    assert_eq!(
        list(json!({ "include_archived": true })).await,
        (Value::Null, all, 3)
    );

    // What an archived message says does not change.
    let archived = api.messages_of(&campaign, 1).await;
    for (now, then) in archived.iter().zip(&before) {
        assert_eq!(
            (&now["id"], &now["content_id"], &now["content"]),
            (&then["id"], &then["content_id"], &then["content"])
        );
        assert_eq!(
            (&now["review_status"], &now["updated_at"]),
            (&json!("Published"), &then["updated_at"])
        );
        assert!(now["archived_at"].is_string());
    }
}

async fn filters_narrow_a_list_and_not_its_counts(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.fail_for(&["ES"]);
    server.generate(&api, &campaign).await;
    let path = "campaign/rerun/messages";
    let list = async |filter: &Value| {
        let mut body = filter.clone();
        body["campaign_id"] = json!(campaign);
        api.ok(path, body).await
    };
    for run in [1, 2] {
        let whole = list(&json!({ "run_number": run })).await;
        let messages = body_of(&whole, "messages");
        let runs = api.runs(&campaign).await;
        let run_item = runs.iter().find(|item| item["run_number"] == run).unwrap();
        assert_eq!(whole["counts"], run_item["messages"]);
        let count = async |mut filter: Value, takes: &dyn Fn(&Value) -> bool| {
            filter["run_number"] = json!(run);
            let narrowed = list(&filter).await;
            assert_eq!(narrowed["counts"], whole["counts"], "{filter}");
            assert_eq!(narrowed["run_number"], run);
            let expected: Vec<&Value> = messages.iter().filter(|m| takes(m)).collect();
            let found = narrowed["messages"].as_array().unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
            expected.len()
        };
        let mut seen = 0;
        for status in [
            "Generating",
            "Generation failed",
            "Pending review",
            "Approved",
            "Rejected",
            "Published",
        ] {
            let filter = json!({ "review_status": status });
            seen += count(filter, &|m| m["review_status"] == status).await;
        }
        for source in ["generated", "reused", "edited"] {
            seen += count(json!({ "source": source }), &|m| m["source"] == source).await;
        }
        assert_eq!(seen, 2 * messages.len(), "each status and each source once");
        let stage = json!({ "approval_stage": " Review " });
        count(stage, &|m| m["approval_stage"] == "Review").await;
        let both = json!({ "review_status": "Approved", "source": "reused", "segment": "dE" });
        let german = |m: &Value| m["segment"]["attributes"]["country"] == "DE";
        count(both, &|m| m["review_status"] == "Approved" && german(m)).await;
        count(json!({ "segment": "country" }), &|_| false).await;
    }
    let german = list(&json!({ "segment": "de" })).await;
    assert_eq!(german["run_number"], 2);
    assert!(
        german["messages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["run_number"] == 2)
    );
    // What narrows nothing is the whole list; so is what is null.
    let nulls =
        json!({ "review_status": null, "approval_stage": null, "source": null, "segment": null });
    assert_eq!(list(&nulls).await, list(&json!({})).await);
    for (field, value, said) in [
        ("review_status", json!("approved"), "`review_status`"),
        ("review_status", json!(""), "`review_status`"),
        ("review_status", json!(["Approved"]), "`review_status`"),
        ("source", json!("Reused"), "`source`"),
        (
            "approval_stage",
            json!("Legal"),
            "`approval_stage`: the campaign has no stage `Legal`",
        ),
        ("approval_stage", json!(""), "`approval_stage`"),
        ("segment", json!(""), "`segment`"),
        ("segment", json!("a\0"), "`segment`"),
        ("segment", json!("x".repeat(101)), "`segment`"),
        ("segment", json!(1), "`segment`"),
    ] {
        let body = json!({ "campaign_id": campaign, field: value });
        api.post(path, body).await.is_invalid(said);
    }
    // A draft has no run to count.
    let draft = api.draft(&summer).await;
    let empty = api
        .ok(path, json!({ "campaign_id": draft, "source": "reused" }))
        .await;
    assert_eq!(
        (&empty["counts"], &empty["messages"]),
        (&Value::Null, &json!([]))
    );
}
