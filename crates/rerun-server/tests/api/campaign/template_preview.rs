//! `/v1/campaign/template/preview`.

use serde_json::{Value, json};

use crate::support::refusal::CUSTOMER_GROUP_NOT_FOUND;
use crate::support::{SPRING, Server, assert_shape, body_of, on_both_stores, segment_of};

on_both_stores!(
    a_template_is_tried_on_the_largest_segments,
    a_trial_is_refused_as_a_campaign_would_be,
    a_trial_of_large_texts_ends_at_its_bytes,
);

fn trial(group: &str, more: &Value) -> Value {
    let mut body = json!({
        "customer_group_id": group, "segment_by": ["country", "tier"],
        "template": { "subject": "To {{ country }}", "body": "{{ tier | default(\"dear\") }}" },
    });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

async fn a_template_is_tried_on_the_largest_segments(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let empty = api.empty_group("Empty").await;
    let path = "campaign/template/preview";
    api.unchanged(async || {
        let page = api.ok(path, trial(&group, &json!({}))).await;
        assert_shape(
            &page["items"][0],
            &json!({
                "segment": { "key": "text", "customer_count": 2,
                             "attributes": { "country": "=DE", "tier": "=gold" } },
                "content": { "subject": "=To DE", "body": "=gold" },
            }),
        );
        let items = body_of(&page, "items");
        assert_eq!(items.len(), 3);
        assert_eq!(page["segment_count"], 3);
        let french = items.iter().find(|item| segment_of(item) == "FR/");
        assert_eq!(
            french.unwrap()["content"],
            json!({ "subject": "To FR", "body": "dear" })
        );
        let one = api.ok(path, trial(&group, &json!({ "limit": 1 }))).await;
        assert_eq!(body_of(&one, "items"), items[..1]);
        assert_eq!(one["segment_count"], 3);
        // A text that no message can have is what a preview is for.
        let blank = json!({ "template": { "subject": "{{ tier }}", "body": "b" }, "limit": 20 });
        let blank = api.ok(path, trial(&group, &blank)).await;
        let items = body_of(&blank, "items");
        let french = items.iter().find(|item| segment_of(item) == "FR/");
        assert_eq!(french.unwrap()["content"]["subject"], "");
        let none = api.ok(path, trial(&empty, &json!({}))).await;
        assert_eq!(none, json!({ "segment_count": 0, "items": [] }));
        let unknown = json!({ "segment_by": ["country", "tier", "city"],
                              "allow_missing_fields": true });
        api.ok(path, trial(&group, &unknown)).await;
    })
    .await;
}

async fn a_trial_is_refused_as_a_campaign_would_be(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let path = "campaign/template/preview";
    api.unchanged(async || {
        for limit in [0, 21, -1] {
            let answer = api.post(path, trial("x", &json!({ "limit": limit }))).await;
            answer.is_invalid("`limit`");
        }
        for (bad, said) in [
            (json!({ "segment_by": [] }), "`segment_by`"),
            (json!({ "segment_by": ["country"] }), "tier"),
            (
                json!({ "template": { "subject": "{{", "body": "b" } }),
                "subject",
            ),
        ] {
            api.post(path, trial("x", &bad)).await.is_invalid(said);
        }
        api.refused(path, trial("x", &json!({})), &CUSTOMER_GROUP_NOT_FOUND)
            .await;
        let city = json!({ "segment_by": ["country", "tier", "city"] });
        let answer = api.post(path, trial(&group, &city)).await;
        answer.says(400, "unknown_segment_field", "city");
    })
    .await;
}

async fn a_trial_of_large_texts_ends_at_its_bytes(server: &Server) {
    let api = server.account();
    let rows: Vec<String> = (0..25).map(|no| format!("c{no},C{no:02}\n")).collect();
    let csv = format!("customer_ref,country\n{}", rows.concat());
    let group = api.group("Many", &csv).await;
    // A control character is six bytes of JSON.
    let body = format!("{{{{ country }}}}{}", "\u{1}".repeat(199_900));
    let large = json!({
        "customer_group_id": group, "segment_by": ["country"], "limit": 20,
        "template": { "subject": "s", "body": body },
    });
    let answer = api.post("campaign/template/preview", large).await;
    let sent = answer.text.len();
    assert!(
        (8 << 20..(8 << 20) + 6 * body.len() + 10_000).contains(&sent),
        "{sent} bytes"
    );
    let page = answer.ok();
    // 8 MiB end with the seventh text.
    assert_eq!(body_of(&page, "items").len(), 7);
    assert_eq!(page["segment_count"], 25);
}
