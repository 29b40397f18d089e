//! `/v1/campaign/recipients/export` and `get`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::refusal::{CAMPAIGN_NOT_FOUND, CUSTOMER_NOT_FOUND, RUN_NOT_FOUND};
use crate::support::{Answer, Api, SPRING, SUMMER, Server, on_both_stores, segment_of};

on_both_stores!(
    every_customer_gets_the_message_of_its_segment,
    one_customer_is_looked_up,
    recipients_are_found_by_the_rules_of_their_run,
    recipients_come_with_what_they_get,
    a_changed_group_is_exported_as_it_is_now,
    customers_of_another_run_are_left_out,
    an_export_of_recipients_is_refused_in_order,
    many_recipients_are_read_bit_by_bit,
    a_spreadsheet_gets_references_as_texts,
);

const PATH: &str = "campaign/recipients/export";

async fn export(api: &Api, campaign: &str, more: Value) -> Answer {
    let mut body = json!({ "campaign_id": campaign, "format": "csv" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let answer = api.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

fn rows(answer: &Answer) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(ToOwned::to_owned).collect())
        .collect()
}

async fn every_customer_gets_the_message_of_its_segment(server: &Server) {
    let api = server.account();
    // The same value in two forms, one that is missing and one that is blank.
    let csv = "customer_ref,country,tier\nb,FR,\na,Caf\u{e9},gold\nB, Cafe\u{301} ,gold\nc,FR,  \n";
    let campaign = api.draft(&api.group("Spring", csv).await).await;
    let launch = json!({ "campaign_id": campaign });
    api.ok("campaign/launch", launch).await;
    server.finish(&api, &campaign).await;
    api.unchanged(async || {
        let answer = export(&api, &campaign, json!({})).await;
        assert_eq!(
            answer.header("content-type"),
            Some("text/csv; charset=utf-8")
        );
        assert_eq!(answer.header("x-group-changed"), Some("false"));
        let file = format!("attachment; filename=\"campaign-{campaign}-run-1-recipients.csv\"");
        assert_eq!(answer.header("content-disposition"), Some(&*file));
        assert!(
            answer
                .text
                .starts_with("customer_ref,segment_key,message_id\n")
        );
        let mut expected = Vec::new();
        for (customer, segment) in [
            ("B", "Caf\u{e9}/gold"),
            ("a", "Caf\u{e9}/gold"),
            ("b", "FR/"),
            ("c", "FR/"),
        ] {
            let message = api.message(&campaign, segment).await;
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let key = text(&message["segment"]["key"]);
            expected.push(vec![customer.to_owned(), key, text(&message["id"])]);
        }
        assert_eq!(rows(&answer), expected);
        let lines = export(&api, &campaign, json!({ "format": "jsonl" })).await;
        assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
        let lines: Vec<Value> = lines
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected: Vec<Value> = expected
            .iter()
            .map(|row| json!({ "customer_ref": row[0], "segment_key": row[1], "message_id": row[2] }))
            .collect();
        assert_eq!(lines, expected);
    })
    .await;
}

async fn one_customer_is_looked_up(server: &Server) {
    const GET: &str = "campaign/recipients/get";
    let api = server.account();
    let group = api
        .group("Spring", "customer_ref,country,tier\n a ,DE,gold\nb,FR,\n")
        .await;
    let campaign = api.draft(&group).await;
    let of = |customer: &str| json!({ "campaign_id": campaign, "customer_ref": customer });
    api.refused(GET, of("a"), &RUN_NOT_FOUND).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(&api, &campaign).await;
    api.unchanged(async || {
        let message = api.message(&campaign, "DE/gold").await;
        let expected = json!({
            "campaign_id": campaign, "run_number": 1, "group_changed": false, "customer_ref": "a",
            "segment_key": message["segment"]["key"], "message": message,
        });
        assert_eq!(api.ok(GET, of(" a")).await, expected);
        api.refused(GET, of("c"), &CUSTOMER_NOT_FOUND).await;
        for number in [0, 2] {
            let mut body = of("a");
            body["run_number"] = json!(number);
            api.refused(GET, body, &RUN_NOT_FOUND).await;
        }
    })
    .await;
    // A customer who came after the run started, into a segment that it does not have.
    api.import(&group, "customer_ref,country\nc,ES\n")
        .await
        .ok();
    let late = api.ok(GET, of("c")).await;
    assert_eq!(
        (&late["group_changed"], &late["message"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(late["segment_key"].as_str().map(str::len), Some(64));
}

/// By a map, by ranges and by values that mean none, before and after the rules change.
async fn recipients_are_found_by_the_rules_of_their_run(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,state,income\n\
        a,California,\"1,000\"\nb,ca,999.5\nc,N/A,25000\nd,,30000.0\ne,Nevada,low\nf,NEVADA,5\n";
    let group = api.group("Spring", csv).await;
    let rules = |labels: [&str; 2]| {
        json!([
            { "field": "state", "normalise": ["casefold"], "null": ["n/a"],
              "values": { "California": "CA" } },
            { "field": "income", "type": "number", "bins": [25_000], "labels": labels },
        ])
    };
    let made = api
        .ok(
            "campaign/create",
            json!({
                "name": "Hello", "customer_group_id": group, "segment_by": rules(["low", "high"]),
                "template": { "subject": "Hello", "body": "{{ state }} {{ income }}" },
            }),
        )
        .await;
    let campaign = made["id"].as_str().unwrap().to_owned();
    let launch = json!({ "campaign_id": campaign });
    api.ok("campaign/launch", launch).await;
    server.finish(&api, &campaign).await;
    let got = async || {
        let answer = export(&api, &campaign, json!({ "run_number": 1 })).await;
        let rows = rows(&answer).into_iter();
        rows.map(|row| (row[0].clone(), row[2].clone()))
            .collect::<Vec<_>>()
    };
    let before = got().await;
    let messages: Vec<&str> = before.iter().map(|(_, message)| message.as_str()).collect();
    assert!(messages.iter().all(|message| !message.is_empty()));
    assert_eq!(messages[0], messages[1], "CA, low");
    assert_eq!(messages[2], messages[3], "none, high");
    assert_ne!(
        messages[4], messages[5],
        "a text is not the range of its name"
    );
    let distinct: std::collections::BTreeSet<_> = messages.iter().collect();
    assert_eq!(distinct.len(), 4);
    for segment_by in [json!(["state", "income"]), rules(["low", "top"])] {
        let body = json!({ "campaign_id": campaign, "segment_by": segment_by, "dry_run": false });
        api.ok("campaign/segmentation/update", body).await;
        assert_eq!(got().await, before);
    }
}

async fn recipients_come_with_what_they_get(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    server.fail_for(&["DE"]);
    server.generate(&api, &campaign).await;
    let answer = export(&api, &campaign, json!({ "content": true })).await;
    for row in rows(&answer) {
        let messages = api.messages(&campaign).await;
        let message = messages.iter().find(|m| m["id"] == row[2].as_str());
        let content = &message.unwrap()["content"];
        let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(row[3..], [text("subject"), text("body")], "{row:?}");
    }
    let answer = export(
        &api,
        &campaign,
        json!({ "content": true, "format": "jsonl" }),
    )
    .await;
    let blank = answer
        .text
        .lines()
        .filter(|line| line.ends_with("\"subject\":null,\"body\":null}"));
    // Two customers are in the segment that could not be generated.
    assert_eq!(blank.count(), 2, "{}", answer.text);
}

async fn a_changed_group_is_exported_as_it_is_now(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.campaign(&campaign).await["customer_group_id"].clone();
    let more = "customer_ref,country,tier\nzz,IT,gold\n";
    api.import(group.as_str().unwrap(), more).await.ok();
    let answer = export(&api, &campaign, json!({})).await;
    assert_eq!(answer.header("x-group-changed"), Some("true"));
    let rows = rows(&answer);
    assert_eq!(rows.len(), SPRING.lines().count());
    let new = rows.last().unwrap();
    assert_eq!((&*new[0], &*new[2]), ("zz", ""));
    assert_eq!(new[1].len(), 64);
    // A run that was started since knows the customer.
    api.initiate(&campaign, group.as_str().unwrap()).await.ok();
    let answer = export(&api, &campaign, json!({})).await;
    assert_eq!(answer.header("x-group-changed"), Some("false"));
    assert!(answer.text.lines().all(|line| !line.ends_with(',')));
}

async fn customers_of_another_run_are_left_out(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let both = format!("{SPRING}new-1,DE,gold\nnew-2,IT,\n");
    server.rerun(&api, &campaign, &both).await;
    let all = export(&api, &campaign, json!({})).await;
    assert_eq!(rows(&all).len(), SPRING.lines().count() + 1);
    let only = json!({ "run_number": 2, "exclude_run": 1 });
    let left = rows(&export(&api, &campaign, only).await);
    let refs: Vec<&str> = left.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(refs, ["new-1", "new-2"]);
    let none = json!({ "run_number": 1, "exclude_run": 2 });
    let none = export(&api, &campaign, none).await;
    assert_eq!(none.text, "customer_ref,segment_key,message_id\n");
}

async fn an_export_of_recipients_is_refused_in_order(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.campaign(&campaign).await["customer_group_id"].clone();
    api.initiate(&campaign, group.as_str().unwrap()).await.ok();
    let draft = api.draft(&api.group("Summer", SUMMER).await).await;
    let body = |campaign: &str, more: Value| {
        let mut body = json!({ "campaign_id": campaign, "format": "csv" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    api.unchanged(async || {
        for (bad, said) in [
            (json!({ "format": "xml" }), "`format`"),
            (
                json!({ "format": "jsonl", "spreadsheet": true }),
                "`spreadsheet`",
            ),
        ] {
            api.post(PATH, body("x", bad)).await.is_invalid(said);
        }
        let runs = json!({ "run_number": 9, "exclude_run": 9 });
        api.refused(PATH, body("x", runs.clone()), &CAMPAIGN_NOT_FOUND)
            .await;
        api.refused(PATH, body(&campaign, runs), &RUN_NOT_FOUND)
            .await;
        for number in [json!(0), json!(-1), json!(3), json!(1_u64 << 31)] {
            let run = json!({ "run_number": number });
            api.refused(PATH, body(&campaign, run), &RUN_NOT_FOUND)
                .await;
            let run = json!({ "exclude_run": number });
            api.refused(PATH, body(&campaign, run), &RUN_NOT_FOUND)
                .await;
        }
        api.refused(PATH, body(&draft, json!({})), &RUN_NOT_FOUND)
            .await;
        for same in [1, 2] {
            let answer = api
                .post(PATH, body(&campaign, json!({ "exclude_run": same })))
                .await;
            answer.conflicts("both runs have the same customer group: nobody would be left");
        }
    })
    .await;
}

async fn many_recipients_are_read_bit_by_bit(server: &Server) {
    let api = server.account();
    let group = api.empty_group("Many").await;
    for part in 0..3 {
        let mut csv = "customer_ref,country,tier\n".to_owned();
        for number in part * 4_000..(part + 1) * 4_000 {
            writeln!(csv, "{number:05},C{},gold", number % 7).unwrap();
        }
        api.import(&group, csv).await.ok();
    }
    let campaign = api.draft(&group).await;
    let launch = json!({ "campaign_id": campaign });
    api.ok("campaign/launch", launch).await;
    server.finish(&api, &campaign).await;
    for content in [false, true] {
        let answer = export(&api, &campaign, json!({ "content": content })).await;
        let rows = rows(&answer);
        let refs: Vec<String> = (0..12_000).map(|number| format!("{number:05}")).collect();
        let found: Vec<&String> = rows.iter().map(|row| &row[0]).collect();
        assert_eq!(found, refs.iter().collect::<Vec<_>>());
        assert!(rows.iter().all(|row| row[2].len() == 36));
        for message in api.messages(&campaign).await {
            let id = message["id"].as_str().unwrap();
            let of_message = rows.iter().filter(|row| row[2] == id);
            let count = u64::try_from(of_message.count()).unwrap();
            let segment = segment_of(&message);
            assert_eq!(message["segment"]["customer_count"], count, "{segment}");
        }
    }
}

async fn a_spreadsheet_gets_references_as_texts(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,country,tier\n=1+1,DE,gold\n";
    let campaign = api.draft(&api.group("Odd", csv).await).await;
    let launch = json!({ "campaign_id": campaign });
    api.ok("campaign/launch", launch).await;
    server.finish(&api, &campaign).await;
    let answer = export(&api, &campaign, json!({ "spreadsheet": true })).await;
    assert!(
        answer.text.starts_with("\u{feff}customer_ref,"),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("\n'=1+1,"), "{}", answer.text);
    let exact = export(&api, &campaign, json!({})).await;
    assert_eq!(rows(&exact)[0][0], "=1+1");
}
