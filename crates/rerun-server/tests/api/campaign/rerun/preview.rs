use serde_json::{Value, json};

use crate::support::{
    Api, SPRING, SUMMER, SUMMER_AGAIN, Server, assert_shape, body_of, on_both_stores, segment_of,
};

on_both_stores!(
    a_preview_is_what_initiate_then_does,
    a_preview_shows_all_there_is
);

async fn a_preview_shows_all_there_is(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    let request = json!({ "campaign_id": campaign, "new_customer_group_id": summer });
    let preview = api.ok("campaign/rerun/preview", request).await;
    assert_shape(
        &preview,
        &json!({
            "campaign_id": format!("={campaign}"),
            "customer_group": { "id": format!("={summer}"), "name": "=Summer" },
            "customer_count": 5, "segments": { "total": 4, "matched": 2, "new": 2 },
            "fields": [{
                "name": "text", "customers_without_value": "int", "distinct": "int",
                "unparsed": "int", "unseen_values": "any",
            }],
            "single_customer_segments": 3, "needless": 0,
            "resulting_status": "=Ready for review",
            "items": [{
                "segment": {
                    "key": "key", "attributes": { "country": "text?", "tier": "text?" },
                    "customer_count": "int",
                },
                "outcome": "text", "reuses": "any", "suggestion": "any",
            }],
            "next_cursor": null,
        }),
    );
    for item in body_of(&preview, "items") {
        let known = ["DE/gold", "FR/silver"].contains(&&*segment_of(&item));
        assert_eq!(item["outcome"], if known { "matched" } else { "new" });
        if known {
            let reuses = json!({ "message_id": "uuid", "run_number": 1 });
            assert_shape(&item["reuses"], &reuses);
        } else {
            assert_eq!(item["reuses"], Value::Null);
        }
    }
}

/// Compares a preview with the initiate that follows it.
async fn compare(api: &Api, campaign: &str, group: &str, reuse_from: Option<&str>) {
    // One of the groups has nothing but customers.
    let mut request = json!({
        "campaign_id": campaign, "new_customer_group_id": group, "allow_missing_fields": true,
    });
    if let Some(reuse_from) = reuse_from {
        request["reuse_from"] = json!(reuse_from);
    }
    let mut preview = Value::Null;
    api.unchanged(async || preview = api.ok("campaign/rerun/preview", request.clone()).await)
        .await;
    let started = api.ok("campaign/rerun/initiate", request).await;
    for field in [
        "campaign_id",
        "customer_group",
        "customer_count",
        "segments",
        "resulting_status",
    ] {
        assert_eq!(preview[field], started[field], "{field}");
    }
    let mut foreseen = body_of(&preview, "items");
    let mut made: Vec<Value> = api
        .messages(campaign)
        .await
        .iter()
        .map(|message| {
            let reused = message["source"] == "reused";
            json!({
                "segment": message["segment"],
                "outcome": if reused { "matched" } else { "new" },
                "reuses": message["reused_from"],
                "suggestion": message["suggestion"],
            })
        })
        .collect();
    for items in [&mut foreseen, &mut made] {
        items.sort_by_key(|item| item["segment"]["key"].to_string());
    }
    assert_eq!(foreseen, made);
}

async fn a_preview_is_what_initiate_then_does(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    for (csv, reuse_from) in [
        (SUMMER, None),
        (SUMMER_AGAIN, Some("current_run")),
        (SPRING, Some("any_run")),
        (SPRING, None),
        ("customer_ref\n1\n2\n", Some("any_run")),
    ] {
        let group = api.group("Next", csv).await;
        compare(&api, &campaign, &group, reuse_from).await;
        server.finish(&api, &campaign).await;
    }
}
