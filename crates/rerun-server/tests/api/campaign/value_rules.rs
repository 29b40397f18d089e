//! Value rules of a campaign, from their declaration to what a rerun reuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Api, Server, attribute, body_of, on_both_stores};

on_both_stores!(
    rules_come_back_as_they_were_declared,
    a_drifted_export_reuses_what_rules_declare_equal,
    generated_texts_have_no_raw_value,
    a_preview_names_what_rules_would_save,
    a_bad_rule_is_refused_with_its_place,
    too_many_combinations_name_the_field,
    a_value_that_means_none_is_no_value,
    a_stated_default_of_a_rule_is_the_same_request,
);

fn create(group: &str, fields: &Value) -> Value {
    json!({
        "name": "Hello", "customer_group_id": group, "segment_by": fields,
        "template": { "subject": "Hello", "body": "Dear customer" },
    })
}

fn rules() -> Value {
    json!([
        { "field": "state", "normalise": ["collapse_spaces", "casefold", "separators"],
          "null": ["N/A", "-"], "values": { "California": "CA" } },
        { "field": "income", "type": "number", "decimal": ".", "bins": [25_000, 50_000],
          "labels": ["under 25k", "25k to 50k", "50k and more"] },
        "tier",
    ])
}

const SPRING: &str = "customer_ref,state,income,tier\n\
    a,California,24999.99,gold\nb,ca,\"1,000\",gold\nc,New York,25000,\nd,new_york,49999,\n\
    e,n/a,50000.0,gold\n";
const SUMMER: &str = "customer_ref,state,income,tier\n\
    f,CALIFORNIA,3,gold\ng,New\u{a0} York,30123,\nh,-,987654,gold\ni,Nevada,17,gold\n\
    j,CA,unknown,gold\n";

async fn published(server: &Server, api: &Api, fields: &Value) -> String {
    let group = api.group("Spring", SPRING).await;
    let made = api.ok("campaign/create", create(&group, fields)).await;
    let campaign = made["id"].as_str().unwrap().to_owned();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(api, &campaign).await;
    campaign
}

/// What the messages' segments are: state, income, tier, and customers.
fn segments(messages: &[Value]) -> BTreeSet<(String, String, String, i64)> {
    let segment = |message: &Value| {
        let [state, income, tier] =
            ["state", "income", "tier"].map(|f| attribute(message, f).to_owned());
        (
            state,
            income,
            tier,
            message["segment"]["customer_count"].as_i64().unwrap(),
        )
    };
    messages.iter().map(segment).collect()
}

fn expected(segments: &[(&str, &str, &str, i64)]) -> BTreeSet<(String, String, String, i64)> {
    let owned = segments.iter().map(|(state, income, tier, customers)| {
        (
            (*state).to_owned(),
            (*income).to_owned(),
            (*tier).to_owned(),
            *customers,
        )
    });
    owned.collect()
}

async fn rules_come_back_as_they_were_declared(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let declared = json!([
        { "field": " state ", "values": { "z": "1", "a": "2" }, "null": [], "type": "text" },
        { "field": "income", "type": "number", "bins": [0.10, 25_000], "labels": ["a", " b", "c"] },
        "tier",
    ]);
    let made = api.ok("campaign/create", create(&group, &declared)).await;
    let mut kept = declared;
    kept[0]["field"] = json!("state");
    assert_eq!(made["segment_by"], kept);
    let id = made["id"].as_str().unwrap();
    assert_eq!(api.campaign(id).await["segment_by"], kept);
    let listed = body_of(&api.ok("campaign/list", json!({})).await, "campaigns");
    assert_eq!(listed[0]["segment_by"], kept);
}

async fn a_drifted_export_reuses_what_rules_declare_equal(server: &Server) {
    let api = server.account();
    let campaign = published(server, &api, &rules()).await;
    let run_1 = api.messages(&campaign).await;
    assert_eq!(
        segments(&run_1),
        expected(&[
            ("CA", "under 25k", "gold", 2),
            ("New York", "25k to 50k", "", 2),
            ("", "50k and more", "gold", 1),
        ])
    );
    let group = api.group("Summer", SUMMER).await;
    let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    for _ in 0..2 {
        let preview = api.ok("campaign/rerun/preview", body.clone()).await;
        assert_eq!(
            preview["segments"],
            json!({ "total": 5, "matched": 3, "new": 2 })
        );
    }
    let started = api.initiate(&campaign, &group).await.ok();
    assert_eq!(
        started["segments"],
        json!({ "total": 5, "matched": 3, "new": 2 })
    );
    server.finish(&api, &campaign).await;
    let run_2 = api.messages(&campaign).await;
    let sources = |source: &str| -> Vec<Value> {
        run_2
            .iter()
            .filter(|message| message["source"] == source)
            .cloned()
            .collect()
    };
    assert_eq!(
        segments(&sources("generated")),
        expected(&[
            ("Nevada", "under 25k", "gold", 1),
            ("CA", "unknown", "gold", 1)
        ])
    );
    assert_eq!(
        segments(&sources("reused")),
        expected(&[
            ("CA", "under 25k", "gold", 1),
            ("New York", "25k to 50k", "", 1),
            ("", "50k and more", "gold", 1),
        ]),
        "a reused segment keeps the attributes that it was approved with"
    );
}

/// Where a map or a range stands before a value, templates and generators see its target or label.
async fn generated_texts_have_no_raw_value(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,state,income,tier\n\
        a,Kalifornien-4711,24987.65,gold\nb,kalifornien-4711,31415.92,gold\n";
    let group = api.group("Spring", csv).await;
    let mut fields = rules();
    fields[0]["values"] = json!({ "Kalifornien-4711": "CA" });
    let mut body = create(&group, &fields);
    body["template"] = json!({ "subject": "{{ state }}", "body": "{{ income }} {{ tier }}" });
    let made = api.ok("campaign/create", body).await;
    let campaign = made["id"].as_str().unwrap();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(&api, campaign).await;
    let messages = api.messages(campaign).await;
    let contents: BTreeSet<String> = messages
        .iter()
        .map(|message| message["content"].to_string())
        .collect();
    let generated = ["25k to 50k gold", "under 25k gold"]
        .map(|body| json!({ "subject": "CA", "body": body }).to_string());
    assert_eq!(contents, BTreeSet::from(generated));
    let mut all = json!(messages).to_string() + &api.export(campaign, 1, "csv").await.text;

    // A rerun and what its previews show, with a value that no rule maps.
    let csv = "customer_ref,state,income,tier\n\
        c,KALIFORNIEN-4711,16180.33,silver\nd,Nevada,27182.81,gold\n";
    let group = api.group("Summer", csv).await;
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    all += &api.ok("campaign/rerun/preview", rerun).await.to_string();
    let template = json!({
        "customer_group_id": group, "segment_by": fields,
        "template": { "subject": "{{ state }}", "body": "{{ income }}" },
    });
    let shown = api.ok("campaign/template/preview", template).await;
    all += &shown.to_string();
    api.initiate(campaign, &group).await.ok();
    server.finish(&api, campaign).await;
    let every = json!({ "campaign_id": campaign, "include_archived": true });
    all += &api.ok("campaign/rerun/messages", every).await.to_string();
    all += &api.export(campaign, 2, "jsonl").await.text;
    assert!(all.contains("Nevada"));
    for raw in ["4711", "24987", "31415", "16180", "27182"] {
        assert!(!all.contains(raw), "{raw} in {all}");
    }
    // Profiles keep what was imported.
    let listed = json!({ "customer_group_id": group });
    let customers = body_of(&api.ok("customer/list", listed).await, "customers");
    assert_eq!(
        customers[0]["profile"],
        json!({ "state": "KALIFORNIEN-4711", "income": "16180.33", "tier": "silver" })
    );
}

async fn a_preview_names_what_rules_would_save(server: &Server) {
    let api = server.account();
    let fields = json!(["state", { "field": "tier", "type": "boolean" }]);
    let campaign = published(server, &api, &fields).await;
    let group = api.group("Summer", SUMMER).await;
    let mut body = json!({
        "campaign_id": campaign, "new_customer_group_id": group, "limit": 2,
    });
    let unseen = |value: &str, looks_like: Option<&str>| json!({ "value": value, "customers": 1, "looks_like": looks_like });
    let expected = json!([
        {
            "name": "state", "customers_without_value": 0, "distinct": 5, "unparsed": 0,
            "unseen_values": [
                unseen("-", None),
                unseen("CA", Some("ca")),
                unseen("CALIFORNIA", Some("California")),
                unseen("Nevada", None),
                unseen("New\u{a0} York", Some("New York")),
            ],
        },
        {
            "name": "tier", "customers_without_value": 1, "distinct": 1, "unparsed": 4,
            "unseen_values": [],
        },
    ]);
    for _ in 0..2 {
        let preview = api.ok("campaign/rerun/preview", body.clone()).await;
        assert_eq!(preview["segments"]["new"], 5);
        assert_eq!(preview["fields"], expected);
        assert_eq!(
            (&preview["needless"], &preview["single_customer_segments"]),
            (&json!(3), &json!(5))
        );
        body["cursor"] = preview["next_cursor"].clone();
    }
}

async fn a_bad_rule_is_refused_with_its_place(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    api.unchanged(async || {
        for (item, said) in [
            (json!({ "normalise": [] }), "`segment_by[1]`: missing field `field`"),
            (json!({ "field": "" }), "`segment_by[1].field` must not be blank"),
            (json!(""), "`segment_by[1]` must not be blank"),
            (
                json!({ "field": "state", "type": "number", "bins": [] }),
                "`segment_by[1].bins` has no edges; give at least one number, or leave `bins` out",
            ),
            (json!({ "field": "tier" }), "`segment_by` names `tier` twice"),
            (json!({ "field": "state", "trim": true }), "unknown field `trim`"),
            (json!({ "field": "state", "normalise": ["upper"] }), "`segment_by[1].normalise[0]`: unknown variant `upper`"),
            (json!({ "field": "state", "type": "date" }), "`segment_by[1].type`: unknown variant `date`"),
            (json!({ "field": "state", "null": "x" }), "`segment_by[1].null`: invalid type"),
            (json!({ "field": "state", "null": [1] }), "`segment_by[1].null[0]`: invalid type"),
            (json!({ "field": "state", "values": { "a": 1 } }), "`segment_by[1].values.a`: invalid type"),
            (json!({ "field": "state", "bins": ["1"] }), "`segment_by[1].bins[0]`: invalid type: string, expected a number"),
            (json!({ "field": "state", "values": { "a": "" } }), "`segment_by[1].values`"),
            (json!({ "field": "state", "values": { "a": "b", "b": "c" } }), "`segment_by[1].values`"),
            (
                json!({ "field": "state", "normalise": ["casefold"], "values": { "a": "b", "A": "c" } }),
                "`segment_by[1].values`: ",
            ),
            (json!({ "field": "state", "bins": [1], "labels": ["a", "b"] }), "`segment_by[1].bins` needs"),
            (
                json!({ "field": "state", "type": "number", "bins": [2, 1], "labels": ["a", "b", "c"] }),
                "`segment_by[1].bins[1]`: edges must ascend",
            ),
            (
                json!({ "field": "state", "type": "number", "bins": [1], "labels": ["a", "a"] }),
                "`segment_by[1].labels[1]`",
            ),
            (
                json!({ "field": "state", "type": "number", "bins": [1], "labels": ["a"] }),
                "`segment_by[1].labels` must have 2 items",
            ),
            (
                json!({ "field": "state", "type": "number", "normalise": ["separators"] }),
                "`segment_by[1].normalise`: `separators` is for texts only",
            ),
        ] {
            let body = create(&group, &json!(["tier", item]));
            api.post("campaign/create", body).await.is_invalid(said);
        }
    })
    .await;
}

async fn too_many_combinations_name_the_field(server: &Server) {
    let api = server.account();
    let customers = usize::try_from(crate::support::MAX_SEGMENTS).unwrap() * 10 + 1;
    let rows: Vec<String> = (0..customers)
        .map(|n| format!("C-{n},gold,{n}\n"))
        .collect();
    let csv = "customer_ref,tier,income\n".to_owned() + &rows.concat();
    let group = api.group("Many", &csv).await;
    let bins = json!(["tier", { "field": "income", "type": "number", "bins": [25], "labels": ["low", "high"] }]);
    let made = api.ok("campaign/create", create(&group, &bins)).await;
    let launch = json!({ "campaign_id": made["id"] });
    for _ in 0..2 {
        let answer = api.post("campaign/launch", launch.clone()).await;
        answer.says(
            400,
            "too_many_segments",
            "`income` has the most different values",
        );
    }
    api.import(&group, "customer_ref,income\nC-0,1\n")
        .await
        .ok();
    let started = api.ok("campaign/launch", launch).await;
    assert_eq!(started["segments"]["total"], 2);
}

async fn a_value_that_means_none_is_no_value(server: &Server) {
    let api = server.account();
    let group = api
        .group(
            "Spring",
            "customer_ref,state,tier\na,N/A,gold\nb,n/a,gold\n",
        )
        .await;
    let fields = json!(["tier", { "field": "state", "null": ["n/a"] }]);
    let answer = api.post("campaign/create", create(&group, &fields)).await;
    answer.says(400, "unknown_segment_field", "has a value for `state`");
    let mut body = create(&group, &fields);
    body["allow_missing_fields"] = json!(true);
    api.ok("campaign/create", body).await;
}

async fn a_stated_default_of_a_rule_is_the_same_request(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let first = json!([{ "field": "state", "normalise": ["casefold"] }, "tier"]);
    let stated = json!([
        { "field": "state", "normalise": ["casefold"], "type": "text", "null": [], "values": {} },
        { "field": "tier" },
    ]);
    let other = json!([{ "field": "state", "normalise": ["separators"] }, "tier"]);
    let post = async |fields: &Value| {
        api.keyed("one", "campaign/create", create(&group, fields))
            .await
    };
    let made = post(&first).await;
    let again = post(&stated).await;
    assert!(again.replayed());
    assert_eq!(again.ok()["id"], made.ok()["id"]);
    post(&other).await.says(422, "idempotency_key_reused", "");
}
