//! Fields to segment by that no customer has, and values too long to segment by.

use serde_json::{Value, json};

use crate::support::{Api, MAX_SEGMENTS, Server, body_of, on_both_stores};

on_both_stores!(
    a_misspelt_field_is_refused_wherever_it_is_used,
    a_missing_field_can_be_meant,
    a_field_that_is_blank_everywhere_is_one_that_nobody_has,
    a_column_customer_ref_can_be_a_field,
    a_group_is_judged_by_its_customers_of_now,
    the_message_names_at_most_twenty_fields,
    a_missing_field_comes_before_too_many_segments,
    a_preview_tells_who_has_no_value,
    values_are_long_by_their_characters,
    long_values_are_one_segment,
);

const CODE: &str = "unknown_segment_field";

fn create(group: &str, fields: &[&str]) -> Value {
    json!({
        "name": "Hello", "customer_group_id": group, "segment_by": fields,
        "template": { "subject": "Hello", "body": "Dear customer" },
    })
}

async fn created(api: &Api, group: &str, fields: &[&str]) -> String {
    let made = api.ok("campaign/create", create(group, fields)).await;
    made["id"].as_str().unwrap().to_owned()
}

/// A published campaign by country.
async fn by_country(server: &Server, api: &Api) -> String {
    let group = api
        .group("Spring", "customer_ref,country\na,DE\nb,FR\n")
        .await;
    let campaign = created(api, &group, &["country"]).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(api, &campaign).await;
    campaign
}

fn allowing(mut body: Value) -> Value {
    body["allow_missing_fields"] = json!(true);
    body
}

/// The file of the next group has `Country` where the campaign has `country`.
async fn a_misspelt_field_is_refused_wherever_it_is_used(server: &Server) {
    let api = server.account();
    let campaign = by_country(server, &api).await;
    let waiting = api.empty_group("Waiting").await;
    let draft = created(&api, &waiting, &["country"]).await;
    let csv = "customer_ref,tier,Country\na,gold,DE\nb,gold,FR\n";
    api.import(&waiting, csv).await.ok();
    let group = api.group("Summer", csv).await;
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    api.unchanged(async || {
        for (path, body, name, id) in [
            ("campaign/rerun/preview", rerun.clone(), "Summer", &group),
            ("campaign/rerun/initiate", rerun.clone(), "Summer", &group),
            (
                "campaign/create",
                create(&group, &["country"]),
                "Summer",
                &group,
            ),
            (
                "campaign/launch",
                json!({ "campaign_id": draft }),
                "Waiting",
                &waiting,
            ),
        ] {
            let said = format!(
                "no customer of the customer group `{name}` ({id}) has a value for `country`; \
                 the group has `Country`, `tier`."
            );
            // The second time, the counts are kept. A flag that is not set is none.
            let answer = api.post(path, body.clone()).await;
            answer.says(400, CODE, &said);
            answer.says(400, CODE, "`\"allow_missing_fields\": true`");
            for flag in [json!(false), Value::Null] {
                let mut body = body.clone();
                body["allow_missing_fields"] = flag;
                api.post(path, body).await.says(400, CODE, &said);
            }
            let mut body = body;
            body["allow_missing_fields"] = json!("true");
            let answer = api.post(path, body).await;
            answer.is_invalid("`allow_missing_fields`");
        }
    })
    .await;
    // With the file put right, the same requests go through.
    let csv = "customer_ref,country\na,DE\nb,FR\n";
    for group in [&group, &waiting] {
        api.import(group, csv).await.ok();
    }
    let started = api.ok("campaign/rerun/initiate", rerun).await;
    assert_eq!(started["segments"]["matched"], 2);
    api.ok("campaign/launch", json!({ "campaign_id": draft }))
        .await;
}

async fn a_missing_field_can_be_meant(server: &Server) {
    let api = server.account();
    let campaign = by_country(server, &api).await;
    let group = api
        .group("Summer", "customer_ref,Country\na,DE\nb,FR\n")
        .await;
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    let preview = api
        .ok("campaign/rerun/preview", allowing(rerun.clone()))
        .await;
    assert_eq!(
        preview["segments"],
        json!({ "total": 1, "matched": 0, "new": 1 })
    );
    assert_eq!(preview["fields"], json!([field("country", 2, 0)]));

    // It is part of the body that a key is for.
    let path = "campaign/rerun/initiate";
    let started = api.keyed("k", path, allowing(rerun.clone())).await.ok();
    assert_eq!(started["customer_count"], 2);
    let again = api.keyed("k", path, allowing(rerun.clone())).await;
    assert!(again.replayed());
    assert_eq!(api.keyed("k", path, rerun.clone()).await.status, 422);
    server.finish(&api, &campaign).await;
    // It was said of one request, not of the campaign or the group.
    api.post(path, rerun).await.says(400, CODE, "`country`");

    let made = api
        .ok("campaign/create", allowing(create(&group, &["country"])))
        .await;
    let launch = json!({ "campaign_id": made["id"] });
    api.post("campaign/launch", launch.clone())
        .await
        .says(400, CODE, "`country`");
    let launched = api.ok("campaign/launch", allowing(launch)).await;
    assert_eq!(launched["segments"]["total"], 1);
}

/// The column is there, and nobody has anything in it.
async fn a_field_that_is_blank_everywhere_is_one_that_nobody_has(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,country,Country,tier\na,,,gold\nb,\u{2003},,\n";
    let group = api.group("Blank", csv).await;
    let answer = api
        .post("campaign/create", create(&group, &["tier", "country", "x"]))
        .await;
    answer.says(
        400,
        CODE,
        "has a value for `country` or `x`; the group has `tier`.",
    );
    // One value is enough, whatever it is.
    let draft = created(&api, &group, &["tier"]).await;
    let launch = json!({ "campaign_id": draft });
    api.import(&group, "customer_ref,country,tier\nb,null,\na,,\n")
        .await
        .ok();
    created(&api, &group, &["country"]).await;
    // Launch, preview and initiate propose no other.
    let said = "has a value for `tier`; the group has `country`.";
    api.post("campaign/launch", launch)
        .await
        .says(400, CODE, said);
    let campaign = by_country(server, &api).await;
    api.import(&group, "customer_ref,country,tier\nb,,gold\n")
        .await
        .ok();
    let said = "has a value for `country`; the group has `tier`.";
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    for path in ["campaign/rerun/preview", "campaign/rerun/initiate"] {
        api.post(path, rerun.clone()).await.says(400, CODE, said);
    }
}

/// With another column for the references, a column `customer_ref` is a field like any other.
async fn a_column_customer_ref_can_be_a_field(server: &Server) {
    let api = server.account();
    let group = api.empty_group("References").await;
    let csv = "id,customer_ref\na,DE\nb,FR\nc,DE\n";
    let path = format!("{group}&ref_column=id");
    api.import(&path, csv).await.ok();
    let campaign = created(&api, &group, &["customer_ref"]).await;
    let launched = api
        .ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(launched["segments"]["total"], 2);
    // Otherwise it is one that nobody has.
    let group = api.group("Plain", "customer_ref,country\na,DE\n").await;
    let said = "has a value for `customer_ref`; the group has `country`.";
    api.post("campaign/create", create(&group, &["customer_ref"]))
        .await
        .says(400, CODE, said);
}

/// What counts is who is in the group when the request is made.
async fn a_group_is_judged_by_its_customers_of_now(server: &Server) {
    let api = server.account();
    let group = api.group("g", "customer_ref,country\na,DE\n").await;
    let draft = created(&api, &group, &["country"]).await;
    let launch = json!({ "campaign_id": draft });
    api.import(&group, "customer_ref,country\na,\n").await.ok();
    api.post("campaign/launch", launch.clone())
        .await
        .says(400, CODE, "`country`");
    api.import(&group, "customer_ref,country\nb,DE\n")
        .await
        .ok();
    let launched = api.ok("campaign/launch", launch).await;
    assert_eq!(launched["segments"]["total"], 2);
}

async fn the_message_names_at_most_twenty_fields(server: &Server) {
    let api = server.account();
    let names: Vec<String> = (0..40)
        .map(|n| format!("a field of the file, {n:02}"))
        .collect();
    let header: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let csv = format!(
        "customer_ref,{},coun try,contry,COUNTRY\nx{}\n",
        header.join(","),
        ",v".repeat(43)
    );
    let group = api.group("Wide", &csv).await;
    let answer = api
        .post("campaign/create", create(&group, &["country"]))
        .await;
    answer.says(400, CODE, "and 23 more");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let (_, known) = message.split_once("the group has ").unwrap();
    let mut first: Vec<&str> = known.split('`').skip(1).step_by(2).take(20).collect();
    assert_eq!(first.len(), 20);
    assert_eq!(first[2], "contry", "{message}");
    assert_eq!(first[3..], names[..17], "{message}");
    first[..2].sort_unstable();
    assert_eq!(first[..2], ["COUNTRY", "coun try"], "{message}");
}

async fn a_missing_field_comes_before_too_many_segments(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let rows: Vec<String> = (0..=MAX_SEGMENTS).map(|n| format!("{n},C{n}\n")).collect();
    let csv = format!("customer_ref,country\n{}", rows.concat());
    let group = api.group("Wide", &csv).await;
    for path in ["campaign/rerun/preview", "campaign/rerun/initiate"] {
        let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
        api.post(path, rerun.clone())
            .await
            .says(400, CODE, "`tier`");
        let answer = api.post(path, allowing(rerun)).await;
        answer.says(400, "too_many_segments", "more than");
    }
    // A campaign may be made for such a group: it can shrink until the launch.
    created(&api, &group, &["country"]).await;
    api.post("campaign/create", create(&group, &["country", "tier"]))
        .await
        .says(400, CODE, "`tier`");
}

/// A field of a preview whose values are all approved.
fn field(name: &str, customers_without_value: i64, distinct: u32) -> Value {
    json!({
        "name": name, "customers_without_value": customers_without_value, "distinct": distinct,
        "unparsed": 0, "unseen_values": [],
    })
}

async fn a_preview_tells_who_has_no_value(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let csv = "customer_ref,tier,country\na,gold,DE\nb,,DE\nc,,FR\nd,silver,\ne,,\n";
    let group = api.group("Summer", csv).await;
    let mut rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group, "limit": 2 });
    let fields = json!([field("country", 2, 2), field("tier", 3, 2)]);
    let mut seen = 0;
    // Every page tells the same.
    loop {
        let preview = api.ok("campaign/rerun/preview", rerun.clone()).await;
        assert_eq!(preview["fields"], fields);
        assert_eq!(preview["customer_count"], 5);
        seen += body_of(&preview, "items").len();
        if preview["next_cursor"].is_null() {
            break;
        }
        rerun["cursor"] = preview["next_cursor"].clone();
    }
    assert_eq!(seen, 5);
}

async fn values_are_long_by_their_characters(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let text = "é".repeat(1_000);
    let csv = format!("customer_ref,country,tier,notes\na,{text},gold,{text}{text}\n");
    let group = api.group("Long", &csv).await;
    let draft = created(&api, &group, &["country", "tier"]).await;
    let launch = json!({ "campaign_id": draft });
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    api.ok("campaign/rerun/preview", rerun.clone()).await;

    let longer = format!("customer_ref,tier\nb,{text}x\n");
    api.import(&group, longer).await.ok();
    api.unchanged(async || {
        for (path, body) in [
            ("campaign/launch", launch.clone()),
            ("campaign/rerun/preview", rerun.clone()),
            ("campaign/rerun/initiate", rerun.clone()),
        ] {
            for body in [body.clone(), allowing(body)] {
                let answer = api.post(path, body).await;
                answer.is_invalid("`tier` has more than 1000 characters");
                assert!(
                    answer.text.len() < 500,
                    "the value is not quoted: {}",
                    answer.text
                );
            }
        }
    })
    .await;
    api.import(&group, format!("customer_ref,tier\nb,{text}\n"))
        .await
        .ok();
    api.ok("campaign/launch", launch).await;
    api.ok("campaign/rerun/initiate", rerun).await;
}

/// More long values than segments are allowed: they are one, and refused for their length.
async fn long_values_are_one_segment(server: &Server) {
    let api = server.account();
    let campaign = by_country(server, &api).await;
    let rows: Vec<String> = (0..MAX_SEGMENTS + 10)
        .map(|n| format!("{n},{n} {}\n", "x".repeat(1_500)))
        .collect();
    let group = api.empty_group("Texts").await;
    let csv = format!("customer_ref,country\n{}", rows.concat());
    api.import(&group, csv).await.ok();
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    let answer = api.post("campaign/rerun/preview", rerun).await;
    answer.is_invalid("`country` has more than 1000 characters");
}
