//! `/v1/campaign/segmentation/update`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::refusal::CAMPAIGN_NOT_FOUND;
use crate::support::{Api, SPRING, SUMMER, Server, attribute, on_both_stores};

on_both_stores!(
    a_dry_run_reports_and_an_update_rekeys,
    a_conflict_is_listed_and_nothing_is_reused,
    an_update_of_rules_is_refused_in_order,
    conflicts_of_large_segments_end_at_their_bytes,
);

const PATH: &str = "campaign/segmentation/update";
const LOWER: &str = "customer_ref,country,tier\na,de,GOLD\nb,fr,silver\n";

fn folded(campaign: &str) -> Value {
    json!({
        "campaign_id": campaign,
        "segment_by": [
            { "field": "country", "normalise": ["casefold"] },
            { "field": "tier", "normalise": ["casefold"] },
        ],
    })
}

async fn counts(api: &Api, campaign: &str, group: &str) -> Value {
    let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    api.ok("campaign/rerun/preview", body).await["segments"].clone()
}

async fn a_dry_run_reports_and_an_update_rekeys(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let before = api.messages(&campaign).await;
    let group = api.group("Lower", LOWER).await;
    assert_eq!(
        counts(&api, &campaign, &group).await,
        json!({ "total": 2, "matched": 0, "new": 2 })
    );
    let expected = json!({
        "segments_before": 3, "segments_after": 3, "conflict_count": 0, "conflicts": [],
    });
    api.unchanged(async || {
        assert_eq!(api.ok(PATH, folded(&campaign)).await, expected);
    })
    .await;
    let mut body = folded(&campaign);
    body["dry_run"] = json!(false);
    assert_eq!(api.ok(PATH, body.clone()).await, expected);
    let entry = api.audit().await.swap_remove(0);
    assert_eq!(entry["action"], "campaign.updated");
    assert_eq!(
        entry["details"],
        json!({
            "changed": ["segment_by"], "segments_before": 3, "segments_after": 3, "conflicts": 0,
        })
    );
    assert_eq!(
        api.campaign(&campaign).await["segment_by"],
        body["segment_by"]
    );
    // The same once more changes nothing.
    api.unchanged(async || {
        assert_eq!(api.ok(PATH, body).await, expected);
    })
    .await;
    // Messages read as before, but for their keys.
    for (before, after) in before.iter().zip(api.messages(&campaign).await) {
        let mut same = after.clone();
        same["segment"]["key"] = before["segment"]["key"].clone();
        assert_eq!(same, *before);
        assert_ne!(after["segment"]["key"], before["segment"]["key"]);
    }
    assert_eq!(
        counts(&api, &campaign, &group).await,
        json!({ "total": 2, "matched": 2, "new": 0 })
    );
    // A reused message's segment keeps the attributes that it was approved with.
    api.initiate(&campaign, &group).await.ok();
    let messages = api.messages(&campaign).await;
    let countries: BTreeSet<&str> = messages
        .iter()
        .map(|message| attribute(message, "country"))
        .collect();
    assert_eq!(countries, BTreeSet::from(["DE", "FR"]));
}

async fn a_conflict_is_listed_and_nothing_is_reused(server: &Server) {
    let api = server.account();
    let group = api
        .group(
            "Mixed",
            "customer_ref,country,tier\na,DE,gold\nb,de,gold\nc,FR,\n",
        )
        .await;
    let campaign = api.draft(&group).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(&api, &campaign).await;
    let messages = api.messages(&campaign).await;
    let mut body = folded(&campaign);
    body["dry_run"] = json!(false);
    let updated = api.ok(PATH, body).await;
    assert_eq!(
        (
            &updated["segments_before"],
            &updated["segments_after"],
            &updated["conflict_count"]
        ),
        (&json!(3), &json!(2), &json!(1))
    );
    let conflict = &updated["conflicts"][0];
    assert_eq!(conflict["segment"]["customer_count"], 2);
    let mut listed: Vec<&Value> = conflict["messages"].as_array().unwrap().iter().collect();
    listed.sort_by_key(|message| message["message_id"].to_string());
    let mut german: Vec<Value> = messages
        .iter()
        .filter(|message| attribute(message, "country").eq_ignore_ascii_case("de"))
        .map(|message| json!({ "message_id": message["id"], "run_number": 1 }))
        .collect();
    german.sort_by_key(|message| message["message_id"].to_string());
    assert_eq!(listed, german.iter().collect::<Vec<_>>());

    let next = api
        .group("Next", "customer_ref,country,tier\na,De,gold\nc,FR,\n")
        .await;
    for reuse_from in ["current_run", "any_run", "any_approved"] {
        let body = json!({
            "campaign_id": campaign, "new_customer_group_id": next, "reuse_from": reuse_from,
        });
        let preview = api.ok("campaign/rerun/preview", body).await;
        let outcome = |country: &str| {
            let items = preview["items"].as_array().unwrap();
            let item = items
                .iter()
                .find(|item| attribute(item, "country") == country);
            item.unwrap()["outcome"].clone()
        };
        assert_eq!(
            (outcome("De"), outcome("FR")),
            (json!("new"), json!("matched"))
        );
    }
    // Everybody was sent what they were sent.
    let body = json!({ "campaign_id": campaign, "format": "jsonl" });
    let sent = api.post("campaign/recipients/export", body).await;
    let text = sent.text.clone();
    for (customer, country) in [("a", "DE"), ("b", "de"), ("c", "FR")] {
        let line = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .find(|line| line["customer_ref"] == customer)
            .unwrap();
        let message = messages
            .iter()
            .find(|message| attribute(message, "country") == country)
            .unwrap();
        assert_eq!(line["message_id"], message["id"], "{text}");
    }
    let started = api.initiate(&campaign, &next).await.ok();
    assert_eq!(
        started["segments"],
        json!({ "total": 2, "matched": 1, "new": 1 })
    );
}

async fn an_update_of_rules_is_refused_in_order(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    api.post(PATH, json!({ "campaign_id": campaign }))
        .await
        .misses(&["segment_by"]);
    let mut body = folded("00000000-0000-4000-8000-000000000000");
    api.refused(PATH, body.clone(), &CAMPAIGN_NOT_FOUND).await;
    let theirs = server.account();
    theirs
        .refused(PATH, folded(&campaign), &CAMPAIGN_NOT_FOUND)
        .await;
    for fields in [
        json!(["country"]),
        json!(["country", "tier", "age"]),
        json!(["Country", "tier"]),
    ] {
        let body = json!({ "campaign_id": campaign, "segment_by": fields });
        api.post(PATH, body).await.is_invalid("`country`, `tier`");
    }
    let unknown = json!([{ "field": "country", "normalise": ["lower"] }, "tier"]);
    let bad = json!({ "campaign_id": campaign, "segment_by": unknown });
    api.post(PATH, bad).await.is_invalid("segment_by");
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    body = folded(&campaign);
    api.post(PATH, body.clone())
        .await
        .conflicts("cannot change the value rules of a campaign that is `Processing`");
    // A draft can have other rules.
    let draft = api.draft(&api.group("Spring", SPRING).await).await;
    body = folded(&draft);
    body["dry_run"] = json!(false);
    let updated = api.ok(PATH, body.clone()).await;
    assert_eq!(updated["segments_before"], 0);
    assert_eq!(api.campaign(&draft).await["segment_by"], body["segment_by"]);
}

async fn conflicts_of_large_segments_end_at_their_bytes(server: &Server) {
    /// As many segments as a run may have here.
    const SEGMENTS: usize = 40;
    const RUNS: usize = 11;
    let api = server.account();
    let fields = ["a", "b", "c", "d", "e", "f", "g", "h"];
    // A control character is six bytes of JSON: a segment has 42 kB.
    let long = vec!["\u{1}".repeat(1_000); 7].join(",");
    let group = async |run: usize| {
        let group = api.empty_group("Long").await;
        let rows = (0..SEGMENTS).map(|no| {
            let letter = if no % 2 == 0 { "a" } else { "A" };
            format!("{no},{letter}{run}-{},{long}\n", no / 2)
        });
        // As much as the body of an import may have here.
        for rows in rows.collect::<Vec<_>>().chunks(13) {
            let csv = format!("customer_ref,{}\n{}", fields.join(","), rows.concat());
            api.import(&group, csv).await.ok();
        }
        group
    };
    let campaign = json!({
        "name": "Long", "customer_group_id": group(0).await, "segment_by": fields,
        "template": { "subject": "s", "body": "{{ a }}" },
    });
    let campaign = api.ok("campaign/create", campaign).await["id"].clone();
    let campaign = campaign.as_str().unwrap();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(&api, campaign).await;
    for run in 1..RUNS {
        api.initiate(campaign, &group(run).await).await.ok();
        server.finish(&api, campaign).await;
    }
    let mut segment_by: Vec<Value> = fields.iter().map(|field| json!(field)).collect();
    segment_by[0] = json!({ "field": "a", "normalise": ["casefold"] });
    let mut request = json!({ "campaign_id": campaign, "segment_by": segment_by });
    for dry_run in [true, false] {
        request["dry_run"] = json!(dry_run);
        let answer = api.post(PATH, request.clone()).await;
        let sent = answer.text.len();
        // It ends with the conflict that fills it.
        let bytes = 8 << 20..(8 << 20) + 100_000;
        assert!(bytes.contains(&sent), "{sent} bytes");
        let updated = answer.ok();
        assert_eq!(updated["conflict_count"], RUNS * SEGMENTS / 2);
        let listed = updated["conflicts"].as_array().unwrap().len();
        assert!(listed < RUNS * SEGMENTS / 2, "{listed}");
    }
}
