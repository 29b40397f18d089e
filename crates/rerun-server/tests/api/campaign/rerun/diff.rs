use serde_json::{Value, json};

use crate::support::{SUMMER, Server, assert_shape, body_of, on_both_stores, segment_of};

on_both_stores!(a_diff_tells_how_segments_differ);

async fn a_diff_tells_how_segments_differ(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.generate(&api, &campaign).await;
    let edited = api.message(&campaign, "FR/silver").await["id"].clone();
    let content = json!({ "subject": "s", "body": "b" });
    let edit = json!({ "campaign_id": campaign, "message_id": edited, "content": content });
    api.ok("campaign/messages/edit", edit).await;
    server.finish(&api, &campaign).await;

    let diff = async |from: u32, to: u32| {
        let runs = json!({ "campaign_id": campaign, "from_run": from, "to_run": to });
        api.ok("campaign/rerun/diff", runs).await
    };
    let found = diff(1, 2).await;
    assert_shape(
        &found,
        &json!({
            "campaign_id": format!("={campaign}"), "from_run": 1, "to_run": 2,
            "counts": { "added": 2, "removed": 1, "kept_same": 1, "kept_changed": 1 },
            "items": [{
                "segment": {
                    "key": "key", "attributes": { "country": "text?", "tier": "text?" },
                    "customer_count": "int",
                },
                "change": "text", "from": "uuid?", "to": "uuid?",
            }],
            "next_cursor": null,
        }),
    );
    let id = |messages: &[Value], segment: &str| {
        let found = messages
            .iter()
            .find(|message| segment_of(message) == segment);
        found.map_or(Value::Null, |message| message["id"].clone())
    };
    let (one, two) = (
        api.messages_of(&campaign, 1).await,
        api.messages_of(&campaign, 2).await,
    );
    let changes = |page: &Value| {
        let mut changes: Vec<_> = body_of(page, "items")
            .iter()
            .map(|item| {
                let change = item["change"].as_str().unwrap().to_owned();
                (
                    segment_of(item),
                    change,
                    item["from"].clone(),
                    item["to"].clone(),
                )
            })
            .collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    };
    let expected = |from: &[Value], to: &[Value], changes: [&str; 5]| {
        let segments = ["/gold", "DE/gold", "ES/gold", "FR/", "FR/silver"];
        let rows = segments.iter().zip(changes);
        rows.map(|(segment, change)| {
            (
                (*segment).to_owned(),
                change.to_owned(),
                id(from, segment),
                id(to, segment),
            )
        })
        .collect::<Vec<_>>()
    };
    let forward = ["added", "kept_same", "added", "removed", "kept_changed"];
    assert_eq!(changes(&found), expected(&one, &two, forward));
    let backward = ["removed", "kept_same", "removed", "added", "kept_changed"];
    assert_eq!(changes(&diff(2, 1).await), expected(&two, &one, backward));
    let same = diff(2, 2).await;
    assert_eq!(
        same["counts"],
        json!({ "added": 0, "removed": 0, "kept_same": 4, "kept_changed": 0 })
    );
}
