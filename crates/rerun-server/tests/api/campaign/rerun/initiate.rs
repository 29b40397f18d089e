use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::refusal::{CAMPAIGN_NOT_PUBLISHED, IDEMPOTENCY_KEY_REUSED};
use crate::support::{
    Answer, Api, Raw, SPRING, SUMMER, SUMMER_AGAIN, Server, assert_shape, on_both_stores,
    segment_of,
};

on_both_stores!(
    new_segments_are_generated_and_reviewed,
    without_new_segments_the_run_completes_at_once,
    segments_are_matched_whatever_the_order_of_rows_and_fields,
    any_run_finds_what_the_current_run_has_not,
    any_approved_finds_what_a_cancelled_run_had_approved,
    one_of_many_at_once_succeeds,
    many_at_once_with_one_key_are_one,
    a_key_replays_its_answer,
    a_key_answers_though_the_first_answer_was_lost,
    a_key_is_for_one_body_and_one_account_and_a_day,
    refusals_are_not_remembered,
    launch_and_retry_take_keys,
);

fn body(campaign: &str, group: &str) -> Value {
    json!({ "campaign_id": campaign, "new_customer_group_id": group })
}

async fn new_segments_are_generated_and_reviewed(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    let started = api.initiate(&campaign, &summer).await.ok();
    assert_shape(
        &started,
        &json!({
            "campaign_id": format!("={campaign}"), "run_number": 2, "job_uid": "uuid",
            "run_status": "=Queued", "campaign_status": "=Processing",
            "resulting_status": "=Ready for review",
            "customer_group": { "id": format!("={summer}"), "name": "=Summer" },
            "customer_count": 5, "segments": { "total": 4, "matched": 2, "new": 2 },
            "archived_messages": 3, "started_at": "time", "completed_at": null,
        }),
    );
    let found = api.campaign(&campaign).await;
    assert_eq!(
        (&found["status"], &found["current_run_number"]),
        (&json!("Processing"), &json!(2))
    );
    let run = &api.runs(&campaign).await[0];
    for field in [
        "job_uid",
        "run_number",
        "resulting_status",
        "customer_group",
        "started_at",
    ] {
        assert_eq!(run[field], started[field], "{field}");
    }
    assert_eq!(run["completed_at"], Value::Null);

    let old = api.messages_of(&campaign, 1).await;
    let check = async |new_status: &str| {
        for message in api.messages(&campaign).await {
            let segment = segment_of(&message);
            let source = old.iter().find(|old| segment_of(old) == segment);
            assert_eq!(message["archived"], false);
            if let Some(source) = source {
                assert_eq!(
                    (&message["review_status"], &message["source"]),
                    (&json!("Approved"), &json!("reused"))
                );
                assert_eq!(message["approval_stage"], Value::Null);
                assert_eq!(message["content"], source["content"]);
                assert_eq!(
                    message["reused_from"],
                    json!({ "message_id": source["id"], "run_number": 1 })
                );
                assert_eq!(message["segment"]["key"], source["segment"]["key"]);
            } else {
                assert_eq!(
                    (&message["review_status"], &message["source"]),
                    (&json!(new_status), &json!("generated"))
                );
                assert_eq!(message["reused_from"], Value::Null);
            }
        }
    };
    check("Generating").await;
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    check("Pending review").await;
    assert_eq!(
        api.message(&campaign, "ES/gold").await["segment"]["customer_count"],
        2
    );
    for message in api.messages_of(&campaign, 1).await {
        assert_eq!(
            (&message["archived"], &message["review_status"]),
            (&json!(true), &json!("Published"))
        );
    }
}

async fn without_new_segments_the_run_completes_at_once(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let again = api
        .group(
            "Again",
            "customer_ref,country,tier\nx,DE,gold\ny,FR,\nz,FR,\n",
        )
        .await;
    let started = api.initiate(&campaign, &again).await.ok();
    assert_shape(
        &started,
        &json!({
            "campaign_id": format!("={campaign}"), "run_number": 2, "job_uid": "uuid",
            "run_status": "=Completed", "campaign_status": "=Ready to publish",
            "resulting_status": "=Ready to publish",
            "customer_group": { "id": format!("={again}"), "name": "=Again" },
            "customer_count": 3, "segments": { "total": 2, "matched": 2, "new": 0 },
            "archived_messages": 3, "started_at": "time", "completed_at": "time",
        }),
    );
    // No worker has been at it.
    assert_eq!(api.campaign(&campaign).await["status"], "Ready to publish");
    let run = &api.runs(&campaign).await[0];
    assert_eq!(
        (&run["status"], &run["completed_at"]),
        (&json!("Completed"), &started["completed_at"])
    );
    for message in api.messages(&campaign).await {
        assert_eq!(
            (&message["review_status"], &message["source"]),
            (&json!("Approved"), &json!("reused"))
        );
    }
    let published = api.publish(&campaign).await;
    assert_eq!(published["published_messages"], 2);
    // And so it goes on: what is reused once more names the message before it.
    let third = api.initiate(&campaign, &again).await.ok();
    assert_eq!(
        (&third["run_number"], &third["archived_messages"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(
        api.messages(&campaign).await[0]["reused_from"]["run_number"],
        2
    );
}

async fn segments_are_matched_whatever_the_order_of_rows_and_fields(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let csv = "tier,other,country,customer_ref\n silver ,1,\u{2003}FR,q\n,2,FR,r\ngold,3,DE,s\n";
    let group = api.group("Shuffled", csv).await;
    let started = api.initiate(&campaign, &group).await.ok();
    assert_eq!(
        started["segments"],
        json!({ "total": 3, "matched": 3, "new": 0 })
    );
}

async fn any_run_finds_what_the_current_run_has_not(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    // A cancelled run is no source, though its messages were approved.
    let spain = api.group("Spain", SUMMER).await;
    api.initiate(&campaign, &spain).await.ok();
    server.generate(&api, &campaign).await;
    api.approve_all(&campaign).await;
    api.cancel(&campaign).await;
    // Run 3 has one of the three segments of run 1.
    server
        .rerun(&api, &campaign, "customer_ref,country,tier\n1,DE,gold\n")
        .await;
    let spring = api.group("Spring again", SPRING).await;
    let preview = async |reuse_from: &str| {
        let mut request = body(&campaign, &spring);
        request["reuse_from"] = json!(reuse_from);
        api.ok("campaign/rerun/preview", request).await["segments"].clone()
    };
    assert_eq!(
        preview("current_run").await,
        json!({ "total": 3, "matched": 1, "new": 2 })
    );
    assert_eq!(
        preview("any_run").await,
        json!({ "total": 3, "matched": 3, "new": 0 })
    );
    let mut request = body(&campaign, &spring);
    request["reuse_from"] = json!("any_run");
    let started = api.ok("campaign/rerun/initiate", request).await;
    assert_eq!(
        (&started["run_number"], &started["campaign_status"]),
        (&json!(4), &json!("Ready to publish"))
    );
    // The newest run that has it wins.
    for (segment, run) in [("DE/gold", 3), ("FR/", 1), ("FR/silver", 1)] {
        let message = api.message(&campaign, segment).await;
        assert_eq!(message["reused_from"]["run_number"], run, "{segment}");
    }
    api.cancel(&campaign).await;
    let mut request = body(&campaign, &spain);
    request["reuse_from"] = json!("any_run");
    let started = api.ok("campaign/rerun/initiate", request).await;
    assert_eq!(
        started["segments"],
        json!({ "total": 4, "matched": 2, "new": 2 })
    );
}

async fn any_approved_finds_what_a_cancelled_run_had_approved(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.generate(&api, &campaign).await;
    let pending = api.messages(&campaign).await;
    let new: Vec<_> = pending
        .iter()
        .filter(|message| message["review_status"] == "Pending review")
        .collect();
    assert!(new.len() >= 2, "{new:?}");
    // One of the new messages is approved, the others are not.
    let approved = api
        .ok(
            "campaign/messages/review",
            json!({
                "campaign_id": campaign, "decision": "approve", "message_ids": [new[0]["id"]],
            }),
        )
        .await;
    assert_eq!(approved["reviewed_messages"], 1);
    api.cancel(&campaign).await;

    let mut request = body(&campaign, &summer);
    let total = pending.len();
    let matched = total - new.len();
    for (reuse_from, matched) in [
        ("current_run", matched),
        ("any_run", matched),
        ("any_approved", matched + 1),
    ] {
        request["reuse_from"] = json!(reuse_from);
        let preview = api.ok("campaign/rerun/preview", request.clone()).await;
        assert_eq!(
            preview["segments"],
            json!({ "total": total, "matched": matched, "new": total - matched }),
            "{reuse_from}"
        );
    }
    let started = api.ok("campaign/rerun/initiate", request).await;
    assert_eq!(started["run_number"], 3);
    let messages = api.messages(&campaign).await;
    let taken = messages
        .iter()
        .find(|message| message["reused_from"]["message_id"] == new[0]["id"])
        .unwrap();
    assert_eq!(taken["reused_from"]["run_number"], 2);
    assert_eq!(taken["review_status"], "Approved");
    assert_eq!(taken["content"], new[0]["content"]);
}

async fn one_of_many_at_once_succeeds(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let groups = [
        api.group("A", SUMMER).await,
        api.group("B", SUMMER_AGAIN).await,
    ];
    let before = api.audit().await.len();
    let answers = join_all((0..32).map(|n| api.initiate(&campaign, &groups[n % 2]))).await;
    let (won, lost): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].ok()["run_number"], 2);
    for answer in lost {
        answer.is(&CAMPAIGN_NOT_PUBLISHED);
    }
    assert_eq!(api.runs(&campaign).await.len(), 2);
    assert_eq!(api.audit().await.len(), before + 1);
    assert_eq!(
        api.messages(&campaign).await.len(),
        won[0].ok()["segments"]["total"]
    );
}

/// All answer the one response; answers how many of them say that they are a replay.
fn all_the_same(answers: &[Answer]) -> usize {
    let texts: BTreeSet<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    for answer in answers {
        answer.ok();
    }
    answers.iter().filter(|answer| answer.replayed()).count()
}

async fn many_at_once_with_one_key_are_one(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    let before = api.audit().await.len();
    let call = |_| api.keyed("k-1", "campaign/rerun/initiate", body(&campaign, &summer));
    let answers = join_all((0..32).map(call)).await;
    assert_eq!(all_the_same(&answers), 31);
    assert_eq!(api.runs(&campaign).await.len(), 2);
    assert_eq!(api.audit().await.len(), before + 1);
}

async fn a_key_replays_its_answer(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let again = api.group("Again", SUMMER_AGAIN).await;
    let key = "~".repeat(255);
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(
            api.keyed(&key, "campaign/rerun/initiate", body(&campaign, &again))
                .await,
        );
    }
    assert_eq!(all_the_same(&answers), 99);
    assert!(!answers[0].replayed());
    assert_eq!(api.runs(&campaign).await.len(), 2);
    // Whatever has become of the campaign since.
    server.finish(&api, &campaign).await;
    api.unchanged(async || {
        let answer = api
            .keyed(&key, "campaign/rerun/initiate", body(&campaign, &again))
            .await;
        assert_eq!(
            (answer.text.as_str(), answer.replayed()),
            (answers[0].text.as_str(), true)
        );
    })
    .await;
    // For anybody of the account, in any spelling of the same body.
    let mut same = body(&campaign.to_uppercase(), &again);
    same["reuse_from"] = json!("current_run");
    same["unknown"] = json!(1);
    let answer = api
        .colleague()
        .keyed(&key, "campaign/rerun/initiate", same)
        .await;
    assert_eq!(
        (answer.text.as_str(), answer.replayed()),
        (answers[0].text.as_str(), true)
    );
}

async fn a_key_answers_though_the_first_answer_was_lost(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    for round in 0..5_usize {
        let group = api.group("Again", SUMMER_AGAIN).await;
        let request = body(&campaign, &group).to_string();
        let key = format!("round-{round}");
        let headers = api.headers().with("idempotency-key", &key);
        let headers = headers.with("content-length", request.len().to_string());
        let mut raw = Raw::post(server.address, "/v1/campaign/rerun/initiate", &headers);
        raw.send(request.as_bytes());
        raw.hang_up();
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(
                api.keyed(&key, "campaign/rerun/initiate", body(&campaign, &group))
                    .await,
            );
        }
        // Whether the first request got through or was broken off: it is one run.
        assert!(all_the_same(&answers) >= 19);
        assert_eq!(api.runs(&campaign).await.len(), round + 2);
        server.finish(&api, &campaign).await;
    }
}

async fn a_key_is_for_one_body_and_one_account_and_a_day(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let campaign = server.published(&api).await;
    let groups = [
        api.group("A", SUMMER).await,
        api.group("B", SUMMER_AGAIN).await,
    ];
    let path = "campaign/rerun/initiate";
    let first = api.keyed("k", path, body(&campaign, &groups[0])).await;
    first.ok();
    api.unchanged(async || {
        api.keyed("k", path, body(&campaign, &groups[1]))
            .await
            .is(&IDEMPOTENCY_KEY_REUSED);
        let mut any = body(&campaign, &groups[0]);
        any["reuse_from"] = json!("any_run");
        api.keyed("k", path, any).await.is(&IDEMPOTENCY_KEY_REUSED);
        let answer = api.keyed("K", path, body(&campaign, &groups[0])).await;
        answer.is(&CAMPAIGN_NOT_PUBLISHED);
    })
    .await;
    // Another account's key of the same name is another key; another endpoint's is the same.
    let theirs = server.published(&other).await;
    let group = other.group("A", SUMMER).await;
    let answer = other.keyed("k", path, body(&theirs, &group)).await;
    assert_eq!(
        (answer.ok()["campaign_id"].as_str(), answer.replayed()),
        (Some(&*theirs), false)
    );
    server.finish(&api, &campaign).await;
    let publish = api
        .keyed("k", "campaign/publish", json!({ "campaign_id": campaign }))
        .await;
    publish.is(&IDEMPOTENCY_KEY_REUSED);

    server.clock.advance(Duration::from_mins(24 * 60 - 10));
    assert_eq!(
        api.keyed("k", path, body(&campaign, &groups[0])).await.text,
        first.text
    );
    server.clock.advance(Duration::from_mins(11));
    let later = api.keyed("k", path, body(&campaign, &groups[0])).await;
    assert_eq!(
        (later.ok()["run_number"].as_u64(), later.replayed()),
        (Some(3), false)
    );
    let again = api.keyed("k", path, body(&campaign, &groups[0])).await;
    assert_eq!((again.text, again.status), (later.text, 200));
}

async fn refusals_are_not_remembered(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    let path = "campaign/rerun/initiate";
    let answer = api.keyed("k", path, body(&campaign, &summer)).await;
    answer.is(&CAMPAIGN_NOT_PUBLISHED);
    server.finish(&api, &campaign).await;
    let answer = api.keyed("k", path, body(&campaign, &summer)).await;
    assert!(!answer.replayed());
    answer.ok();
}

async fn one_of_its_kind(api: &Api, path: &str, campaign: &str) {
    let this = json!({ "campaign_id": campaign });
    let before = api.audit().await.len();
    let answers = join_all((0..8).map(|_| api.keyed(path, path, this.clone()))).await;
    assert_eq!(all_the_same(&answers), 7, "{path}");
    assert_eq!(api.audit().await.len(), before + 1, "{path}");
    let other = api
        .keyed(path, path, json!({ "campaign_id": api.account }))
        .await;
    other.is(&IDEMPOTENCY_KEY_REUSED);
}

async fn launch_and_retry_take_keys(server: &Server) {
    let api = server.account();
    let campaign = api.draft(&api.group("Spring", SPRING).await).await;
    one_of_its_kind(&api, "campaign/launch", &campaign).await;
    server.fail_for(&["DE", "FR"]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    one_of_its_kind(&api, "campaign/rerun/retry", &campaign).await;
    server.fail_for(&[]);
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    api.approve_all(&campaign).await;
    one_of_its_kind(&api, "campaign/publish", &campaign).await;
}
