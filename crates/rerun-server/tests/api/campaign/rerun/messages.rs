use serde_json::{Value, json};

use crate::support::{SUMMER, Server, assert_shape, body_of, on_both_stores};

on_both_stores!(
    messages_show_all_there_is_to_them,
    a_run_number_brings_archived_messages_along,
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
            "campaign_id": format!("={campaign}"), "run_number": null,
            "messages": [{
                "id": "uuid", "run_number": "int",
                "segment": {
                    "key": "key", "attributes": { "country": "text?", "tier": "text?" },
                    "customer_count": "int",
                },
                "content_id": "uuid?", "content": "any", "review_status": "text", "approval_stage": "text?",
                "source": "text", "reused_from": "any", "provenance": "any",
                "archived": "bool", "archived_at": "time?", "rejection_reason": null,
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
