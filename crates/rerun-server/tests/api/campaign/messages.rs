//! `/v1/campaign/messages/*`: review, edit, regenerate, export.

use serde_json::{Value, json};

use crate::support::refusal::RUN_NOT_FOUND;
use crate::support::{
    Api, NAME, SPRING, SUMMER, Server, assert_shape, attribute, ids, on_both_stores, segment_of,
};

on_both_stores!(
    a_named_message_is_reviewed_once,
    a_review_of_nothing_changes_nothing,
    reviews_are_all_or_none,
    a_review_is_for_one_stage,
    a_decision_about_other_content_is_refused,
    a_failed_message_can_be_written_by_hand,
    a_stage_is_for_its_roles,
    distinct_reviewers_approve_at_each_stage,
    reviews_at_once_review_each_message_once,
    a_request_names_a_bounded_number_of_messages,
    ready_messages_are_reviewed_while_others_generate,
    approvals_are_kept_and_carried_along,
    an_edit_of_a_reused_message_makes_it_its_own,
    content_has_bounds,
    an_unfilled_placeholder_is_refused,
    a_placeholder_that_was_approved_before_is_not_published,
    a_generated_placeholder_fails_and_a_generated_subject_is_one_line,
    messages_of_past_runs_are_read_only,
    an_export_says_what_the_messages_say,
    an_export_of_odd_values_is_still_csv,
    an_export_is_of_the_current_run,
    a_spreadsheet_gets_no_formulas,
);

fn approve(campaign: &str, ids: &[&str]) -> Value {
    json!({ "campaign_id": campaign, "decision": "approve", "message_ids": ids })
}

async fn a_named_message_is_reviewed_once(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let messages = ids(&api.messages(&campaign).await);
    let upper = messages[0].to_uppercase();
    let body = approve(&campaign, &[&messages[0], &upper, &messages[0]]);
    let reviewed = api.ok("campaign/messages/review", body).await;
    assert_eq!(
        reviewed,
        json!({
            "campaign_id": campaign, "run_number": 1, "campaign_status": "Ready for review",
            "reviewed_messages": 1,
        }),
    );
    let reviewed = api.approve_all(&campaign).await;
    assert_eq!(
        (&reviewed["reviewed_messages"], &reviewed["campaign_status"]),
        (&json!(2), &json!("Ready to publish"))
    );
}

async fn a_review_of_nothing_changes_nothing(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    api.approve_all(&campaign).await;
    api.unchanged(async || {
        for decision in ["approve", "reject"] {
            let all = json!({ "campaign_id": campaign, "decision": decision, "all": true, "reason": "r" });
            let reviewed = api.ok("campaign/messages/review", all).await;
            assert_eq!((&reviewed["reviewed_messages"], &reviewed["campaign_status"]), (&json!(0), &json!("Ready to publish")));
        }
    })
    .await;
}

async fn reviews_are_all_or_none(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let messages = ids(&api.messages(&campaign).await);
    api.ok(
        "campaign/messages/review",
        approve(&campaign, &[&messages[1]]),
    )
    .await;
    api.unchanged(async || {
        let body = approve(&campaign, &[&messages[0], &messages[1]]);
        api.post("campaign/messages/review", body)
            .await
            .conflicts("cannot approve a message that is `Approved`");
    })
    .await;
    // A rejection takes both.
    let reject = json!({ "campaign_id": campaign, "decision": "reject", "reason": " no \n",
        "message_ids": [messages[0], messages[1]] });
    assert_eq!(
        api.ok("campaign/messages/review", reject).await["reviewed_messages"],
        2
    );
    let rejected = api.messages(&campaign).await;
    assert_eq!(
        rejected
            .iter()
            .filter(|m| m["rejection_reason"] == "no")
            .count(),
        2
    );
    // All that wait are approved; what was rejected does not wait.
    assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], 1);
    assert_eq!(api.campaign(&campaign).await["status"], "Ready for review");
    let both = json!({ "campaign_id": campaign, "message_ids": [messages[0], messages[1]] });
    assert_eq!(
        api.ok("campaign/messages/regenerate", both).await["queued_messages"],
        2
    );
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    api.approve_all(&campaign).await;
    api.publish(&campaign).await;
}

async fn a_decision_about_other_content_is_refused(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let read = api.messages(&campaign).await;
    let item = |message: &Value| json!({ "message_id": message["id"], "content_id": message["content_id"] });
    let review = |decision: &str, items: Value| json!({ "campaign_id": campaign, "decision": decision, "reason": "r", "items": items });
    let edit = |message: &Value, content_id: &Value| {
        json!({ "campaign_id": campaign, "message_id": message["id"], "content_id": content_id,
                "content": { "subject": "s", "body": "b" } })
    };
    let edited = edit(&read[0], &read[0]["content_id"]);
    let edited = api.ok("campaign/messages/edit", edited).await;
    assert_ne!(edited["content_id"], read[0]["content_id"]);
    let said = format!(
        "the message {} has other content by now",
        read[0]["id"].as_str().unwrap()
    );
    api.unchanged(async || {
        for decision in ["approve", "reject"] {
            let stale = review(decision, json!([item(&read[1]), item(&read[0])]));
            let refused = api.post("campaign/messages/review", stale).await;
            refused.says(409, "content_changed", &said);
        }
        for other in [&read[0]["content_id"], &json!("x"), &read[1]["content_id"]] {
            let refused = api
                .post("campaign/messages/edit", edit(&read[0], other))
                .await;
            refused.says(409, "content_changed", &said);
        }
        // Which of the two is meant?
        let twice = review("approve", json!([item(&read[0]), item(&edited)]));
        let refused = api.post("campaign/messages/review", twice).await;
        refused.is_invalid("twice, with different contents");
    })
    .await;
    let items = json!([item(&edited), item(&read[1]), item(&edited)]);
    let reviewed = api
        .ok("campaign/messages/review", review("approve", items))
        .await;
    assert_eq!(reviewed["reviewed_messages"], 2);
}

async fn a_failed_message_can_be_written_by_hand(server: &Server) {
    let api = server.account();
    let campaign = api.draft(&api.group("Spring", SPRING).await).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.fail_for(&["FR"]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    for (segment, status) in [
        ("FR/", "Generation failed"),
        ("FR/silver", "Ready for review"),
    ] {
        let failed = api.message(&campaign, segment).await;
        assert_eq!(failed["content_id"], Value::Null);
        let body = json!({ "campaign_id": campaign, "message_id": failed["id"],
                           "content": { "subject": "Bonjour", "body": "Le printemps" } });
        let edited = api.ok("campaign/messages/edit", body).await;
        assert_eq!(
            (
                &edited["review_status"],
                &edited["source"],
                &edited["error"]
            ),
            (&json!("Pending review"), &json!("edited"), &Value::Null)
        );
        assert_eq!(api.campaign(&campaign).await["status"], status);
    }
    let run = api.runs(&campaign).await.remove(0);
    assert_eq!(
        (&run["status"], &run["error"], &run["messages"]["failed"]),
        (&json!("Completed"), &Value::Null, &json!(0))
    );
    assert!(run["completed_at"].is_string());
}

/// A draft with these stages, launched and generated.
async fn reviewable(server: &Server, api: &Api, more: Value) -> String {
    let group = api.group("Spring", SPRING).await;
    let mut body = json!({
        "name": "Hello", "customer_group_id": group, "segment_by": ["country", "tier"],
        "template": { "subject": "To {{ country }}", "body": "Dear {{ tier }} customer" },
    });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = api.ok("campaign/create", body).await;
    for field in ["approval_stages", "distinct_reviewers"] {
        if more.get(field).is_some() {
            assert_eq!(made[field], more[field]);
        }
    }
    let campaign = made["id"].as_str().unwrap().to_owned();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.generate(api, &campaign).await;
    let listed = api.ok("campaign/list", json!({})).await;
    assert_eq!(
        listed["campaigns"][0]["approval_stages"],
        made["approval_stages"]
    );
    campaign
}

async fn a_stage_is_for_its_roles(server: &Server) {
    let api = server.account();
    let lawyer = api.colleague_as("LAWYER");
    let stages = json!(["Draft", { "name": "Legal", "roles": ["LAWYER", "BOARD"] }]);
    let campaign = reviewable(server, &api, json!({ "approval_stages": stages })).await;
    let messages = ids(&api.messages(&campaign).await);
    let path = "campaign/messages/review";
    let first = approve(&campaign, &[&messages[0]]);
    assert_eq!(api.ok(path, first.clone()).await["reviewed_messages"], 1);
    api.unchanged(async || {
        let both = approve(&campaign, &[&messages[1], &messages[0]]);
        for body in [first.clone(), both] {
            let said = "your role cannot approve at the stage `Legal`";
            api.post(path, body)
                .await
                .says(403, "stage_not_allowed", said);
        }
    })
    .await;
    // Whoever cannot approve there can reject, and `all` leaves the message out.
    assert_eq!(
        api.approve_all(&campaign).await["reviewed_messages"],
        messages.len() - 1
    );
    assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], 0);
    let reject = json!({ "campaign_id": campaign, "decision": "reject", "reason": "r",
                         "message_ids": [messages[1]] });
    assert_eq!(api.ok(path, reject).await["reviewed_messages"], 1);
    assert_eq!(lawyer.ok(path, first).await["reviewed_messages"], 1);
    assert_eq!(
        lawyer.approve_all(&campaign).await["reviewed_messages"],
        messages.len() - 2
    );
}

async fn distinct_reviewers_approve_at_each_stage(server: &Server) {
    let api = server.account();
    let other = api.colleague();
    let stages = json!({ "approval_stages": ["Draft", "Legal"], "distinct_reviewers": true });
    let campaign = reviewable(server, &api, stages).await;
    let messages = ids(&api.messages(&campaign).await);
    let path = "campaign/messages/review";
    let first = approve(&campaign, &[&messages[0]]);
    api.ok(path, first.clone()).await;
    api.unchanged(async || {
        let answer = api.post(path, first.clone()).await;
        answer.conflicts("cannot approve a message at two stages: another person must");
    })
    .await;
    assert_eq!(other.ok(path, first).await["reviewed_messages"], 1);
    let rest = messages.len() - 1;
    assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], rest);
    assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], 0);
    assert_eq!(
        other.approve_all(&campaign).await["reviewed_messages"],
        rest
    );
    // Without the rule, one person passes both stages.
    let update = json!({ "campaign_id": campaign, "distinct_reviewers": false });
    assert_eq!(
        api.ok("campaign/update", update).await["distinct_reviewers"],
        false
    );
    let edit = json!({ "campaign_id": campaign, "message_id": messages[0],
                       "content": { "subject": "s", "body": "b" } });
    api.ok("campaign/messages/edit", edit).await;
    for _ in 0..2 {
        assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], 1);
    }
    api.publish(&campaign).await;
}

async fn a_review_is_for_one_stage(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let campaign = api.draft_with(&group, &["Draft", "Legal"]).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    let messages = ids(&api.messages(&campaign).await);
    let path = "campaign/messages/review";
    let at = |stage: &str, mut body: Value| {
        body["stage"] = json!(stage);
        body
    };
    let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    let one = approve(&campaign, &[&messages[0]]);
    let both = approve(&campaign, &[&messages[1], &messages[0]]);
    let done = api.ok(path, at("Draft", one.clone())).await;
    assert_eq!(done["reviewed_messages"], 1);
    api.unchanged(async || {
        api.post(path, at("Draft", both.clone()))
            .await
            .conflicts("cannot approve at the stage `Draft` a message that waits at `Legal`");
        api.post(path, at("Legal", both.clone()))
            .await
            .conflicts("cannot approve at the stage `Legal` a message that waits at `Draft`");
        for body in [&all, &one] {
            let refused = api.post(path, at("legal", body.clone())).await;
            refused.is_invalid("`stage`: the campaign has no stage `legal`");
        }
        let mut wrong = all.clone();
        wrong["stage"] = json!(1);
        api.post(path, wrong).await.is_invalid("`stage`");
        let mut two = all.clone();
        two["message_ids"] = json!([messages[0]]);
        api.post(path, two)
            .await
            .is_invalid("one of `message_ids`, `items` and `all`");
        let mut none = all.clone();
        none["all"] = json!(false);
        api.post(path, at("Legal", none))
            .await
            .misses(&["message_ids"]);
    })
    .await;
    let done = api.ok(path, at("Legal", all.clone())).await;
    assert_eq!(done["reviewed_messages"], 1, "the others wait elsewhere");
    api.post(path, at("Legal", one))
        .await
        .conflicts("cannot approve at the stage `Legal` a message that is `Approved`");
    // No stage is every stage.
    let mut any = all.clone();
    any["stage"] = Value::Null;
    assert_eq!(api.ok(path, any).await["reviewed_messages"], 2);
    assert_eq!(api.ok(path, at("Draft", all)).await["reviewed_messages"], 0);
}

async fn reviews_at_once_review_each_message_once(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let reviews = futures_util::future::join_all((0..8).map(|_| api.approve_all(&campaign))).await;
    let counts: Vec<u64> = reviews
        .iter()
        .map(|review| review["reviewed_messages"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 3, "{counts:?}");
    let entries = api.audit().await;
    let logged = entries
        .iter()
        .filter(|entry| entry["action"] == "messages.approved");
    assert_eq!(
        logged.count(),
        counts.iter().filter(|count| **count > 0).count()
    );
    assert_eq!(api.campaign(&campaign).await["status"], "Ready to publish");
}

async fn a_request_names_a_bounded_number_of_messages(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let message = ids(&api.messages(&campaign).await)[0].clone();
    let many: Vec<&str> = std::iter::repeat_n(&*message, 10_001).collect();
    api.unchanged(async || {
        for path in ["review", "regenerate"] {
            let answer = api
                .post(
                    &format!("campaign/messages/{path}"),
                    approve(&campaign, &many),
                )
                .await;
            answer.is_invalid("10000");
        }
    })
    .await;
    let most = approve(&campaign, &many[1..]);
    assert_eq!(
        api.ok("campaign/messages/review", most).await["reviewed_messages"],
        1
    );
}

async fn ready_messages_are_reviewed_while_others_generate(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    let reused = api.message(&campaign, "DE/gold").await["id"].clone();
    let new = api.message(&campaign, "ES/gold").await["id"].clone();
    let body = |id: &Value| json!({ "campaign_id": campaign, "decision": "reject", "reason": "r", "message_ids": [id] });
    let reviewed = api.ok("campaign/messages/review", body(&reused)).await;
    assert_eq!(reviewed["campaign_status"], "Processing");
    api.post("campaign/messages/review", body(&new))
        .await
        .conflicts("cannot reject a message that is `Generating`");
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    assert_eq!(
        api.message(&campaign, "DE/gold").await["review_status"],
        "Rejected"
    );
}

/// Who passed which stage, and where the content was first generated.
async fn approvals_are_kept_and_carried_along(server: &Server) {
    let api = server.account();
    let reviewer = api.colleague();
    let campaign = server.generated(&api).await;
    reviewer.approve_all(&campaign).await;
    api.publish(&campaign).await;
    let provenance = api.message(&campaign, "DE/gold").await["provenance"].clone();
    assert_shape(
        &provenance,
        &json!({
            "run_number": 1,
            "approvals": [{
                "stage": "=Review", "user_id": format!("={}", reviewer.user),
                "user_name": format!("={NAME}"),
                "approved_at": "time",
            }],
        }),
    );
    for _ in 0..2 {
        server.rerun(&api, &campaign, SUMMER).await;
        assert_eq!(
            api.message(&campaign, "DE/gold").await["provenance"],
            provenance
        );
    }
    assert_eq!(
        api.message(&campaign, "ES/gold").await["provenance"]["run_number"],
        2
    );
}

async fn an_edit_of_a_reused_message_makes_it_its_own(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.generate(&api, &campaign).await;
    let before = api.messages_of(&campaign, 1).await;
    let message = api.message(&campaign, "DE/gold").await;
    assert_eq!(message["source"], "reused");
    let content = json!({ "subject": "Neu \u{1f600}", "body": "\"a\",\r\n=1+1\n\u{feff}\u{7f}" });
    let body = json!({ "campaign_id": campaign, "message_id": message["id"], "content": content });
    let edited = api.ok("campaign/messages/edit", body).await;
    assert_eq!(
        (&edited["source"], &edited["reused_from"]),
        (&json!("edited"), &Value::Null)
    );
    assert_eq!(edited["content"], content);
    assert_eq!(
        before
            .iter()
            .filter(|then| then["content_id"] == message["content_id"])
            .count(),
        1,
        "a reused message has the content's id too"
    );
    assert_ne!(edited["content_id"], message["content_id"]);
    assert_eq!(edited, api.message(&campaign, "DE/gold").await);
    // The message whose content it had says what it said.
    assert_eq!(api.messages_of(&campaign, 1).await, before);
    let counts = &api.runs(&campaign).await[0]["messages"];
    assert_eq!(
        counts,
        &json!({
            "total": 4, "reused": 1, "generated": 2, "edited": 1, "generating": 0, "failed": 0,
            "pending": 3, "approved": 1, "rejected": 0, "published": 0, "archived": 0,
        }),
    );
    // A regenerated one comes from a generator again.
    let body = json!({ "campaign_id": campaign, "message_ids": [message["id"]] });
    api.ok("campaign/messages/regenerate", body).await;
    server.generate(&api, &campaign).await;
    assert_eq!(
        api.message(&campaign, "DE/gold").await["source"],
        "generated"
    );
}

async fn content_has_bounds(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let message = ids(&api.messages(&campaign).await)[0].clone();
    let edit = |subject: &str, body: &str| {
        json!({ "campaign_id": campaign, "message_id": message,
                "content": { "subject": subject, "body": body } })
    };
    api.unchanged(async || {
        for (subject, body, said) in [
            ("a\0", "b", "NUL"),
            ("a", "b\0", "NUL"),
            (" ", "b", "blank"),
            ("a", "\n", "blank"),
            (&*"s".repeat(1_001), "b", "1000"),
            ("a", &*"b".repeat(200_001), "200000"),
            ("a\r\nBcc: x", "b", "`subject` must be one line"),
            ("a\tb", "b", "character 2 is a tab"),
            ("a\u{1b}[2Jb", "b", "U+001B"),
            ("a\u{2028}b", "b", "U+2028"),
        ] {
            api.post("campaign/messages/edit", edit(subject, body))
                .await
                .is_invalid(said);
        }
    })
    .await;
    let (subject, body) = ("\u{fc}".repeat(1_000), "\u{fc}".repeat(200_000));
    let edited = api
        .ok("campaign/messages/edit", edit(&subject, &body))
        .await;
    assert_eq!(edited["content"]["body"], body);
}

async fn an_unfilled_placeholder_is_refused(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let messages = ids(&api.messages(&campaign).await);
    let edit = async |body: &str| {
        let content = json!({ "subject": "s", "body": body });
        let body =
            json!({ "campaign_id": campaign, "message_id": messages[1], "content": content });
        api.ok("campaign/messages/edit", body).await
    };
    let edited = edit("Dear {{ first_name }},\r\n{{x}}").await;
    assert_eq!(edited["review_status"], "Pending review");
    let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    api.unchanged(async || {
        for body in [
            all.clone(),
            approve(&campaign, &[&messages[1]]),
            approve(&campaign, &[&messages[0], &messages[1], &messages[2]]),
        ] {
            let answer = api.post("campaign/messages/review", body).await;
            answer.says(409, "unfilled_placeholder", &messages[1]);
            answer.says(409, "unfilled_placeholder", "`{{ first_name }}`");
        }
    })
    .await;
    // What the others say is no obstacle to them.
    let body = approve(&campaign, &[&messages[0]]);
    api.ok("campaign/messages/review", body).await;
    edit("Dear Ada").await;
    assert_eq!(api.approve_all(&campaign).await["reviewed_messages"], 2);
    api.publish(&campaign).await;
}

async fn a_placeholder_that_was_approved_before_is_not_published(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    api.approve_all(&campaign).await;
    let message = ids(&api.messages(&campaign).await)[1].clone();
    let edit = json!({ "campaign_id": campaign, "message_id": message,
        "content": { "subject": "s", "body": "{{ x }}" } });
    api.ok("campaign/messages/edit", edit).await;
    // No request approves it; earlier versions did.
    server.database.execute(
        "UPDATE messages SET review_status = 'Approved', approval_stage = NULL \
           WHERE review_status = 'Pending review'; \
         UPDATE runs SET approved = approved + pending, pending = 0; \
         UPDATE campaigns SET status = 'Ready to publish'",
    );
    let publish = json!({ "campaign_id": campaign });
    api.unchanged(async || {
        let answer = api.post("campaign/publish", publish.clone()).await;
        answer.says(409, "unfilled_placeholder", &message);
    })
    .await;
    let again = json!({ "campaign_id": campaign, "message_ids": [message] });
    api.ok("campaign/messages/regenerate", again).await;
    server.generate(&api, &campaign).await;
    api.approve_all(&campaign).await;
    api.publish(&campaign).await;
}

async fn a_generated_placeholder_fails_and_a_generated_subject_is_one_line(server: &Server) {
    let api = server.account();
    let rows = "customer_ref,country\n1,{{ first_name }}\n2,\"A\r\nBcc: x\"\n3,<b>&\n";
    let group = api.group("Odd", rows).await;
    let create = json!({
        "name": "n", "customer_group_id": group, "segment_by": ["country"],
        "template": { "subject": "For {{ country }}",
            "body": "{{ country | escape }} {{ country | urlencode }}" },
    });
    let campaign = api.ok("campaign/create", create).await["id"].clone();
    let campaign = campaign.as_str().unwrap();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(server.generate(&api, campaign).await, "Generation failed");
    let mut messages = api.messages(campaign).await;
    messages.sort_by_key(|message| attribute(message, "country").to_owned());
    let [html, lines, unfilled] = messages.as_slice() else {
        panic!("three segments")
    };
    assert_eq!(
        html["content"],
        json!({ "subject": "For <b>&", "body": "&lt;b&gt;&amp; %3Cb%3E%26" })
    );
    assert_eq!(lines["content"]["subject"], "For A  Bcc: x");
    assert_eq!(unfilled["review_status"], "Generation failed");
    let error = unfilled["error"].as_str().unwrap();
    assert!(error.contains("`{{ first_name }}` is unfilled"), "{error}");
}

async fn messages_of_past_runs_are_read_only(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let old = ids(&api.messages(&campaign).await)[0].clone();
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    let refused = async |campaign: &str| {
        api.unchanged(async || {
            for (action, path, more) in [
                (
                    "approve",
                    "review",
                    json!({ "decision": "approve", "message_ids": [old] }),
                ),
                (
                    "reject",
                    "review",
                    json!({ "decision": "reject", "reason": "r", "message_ids": [old] }),
                ),
                (
                    "edit",
                    "edit",
                    json!({ "message_id": old, "content": { "subject": "s", "body": "b" } }),
                ),
                ("regenerate", "regenerate", json!({ "message_ids": [old] })),
            ] {
                let mut body = more;
                body["campaign_id"] = json!(campaign);
                let answer = api.post(&format!("campaign/messages/{path}"), body).await;
                answer.conflicts(&format!(
                    "cannot {action} a message of a past run: it is archived"
                ));
            }
        })
        .await;
    };
    refused(&campaign).await;
    server.finish(&api, &campaign).await;
    refused(&campaign).await;
}

async fn export_is_whole(api: &Api, campaign: &str, run: u32) {
    let messages = api.messages_of(campaign, run).await;
    let lines = api.export(campaign, run, "jsonl").await;
    assert_eq!(lines.content_type, "application/x-ndjson");
    let name = format!("attachment; filename=\"campaign-{campaign}-run-{run}.jsonl\"");
    assert_eq!(lines.disposition, name);
    assert!(lines.text.ends_with('\n'));
    let items: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(items, messages);

    let csv = api.export(campaign, run, "csv").await;
    assert_eq!(csv.content_type, "text/csv; charset=utf-8");
    assert_eq!(csv.disposition, name.replace(".jsonl", ".csv"));
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), messages.len());
    for (row, message) in rows.iter().zip(&messages) {
        let value = |column: &str| {
            let at = columns.iter().position(|known| known == column);
            row.get(at.unwrap_or_else(|| panic!("{column} of {columns:?}")))
                .unwrap()
        };
        let text = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_null() => String::new(),
            None => value.to_string(),
        };
        let named = [
            ("message_id", &message["id"]),
            ("segment_key", &message["segment"]["key"]),
            ("customer_count", &message["segment"]["customer_count"]),
            ("subject", &message["content"]["subject"]),
            ("body", &message["content"]["body"]),
            (
                "reused_from_message_id",
                &message["reused_from"]["message_id"],
            ),
            (
                "reused_from_run_number",
                &message["reused_from"]["run_number"],
            ),
        ];
        let fields = message.as_object().unwrap().iter();
        // The other columns are called as the fields are.
        let alike = fields.filter_map(|(field, value)| {
            let other = [
                "id",
                "segment",
                "content",
                "reused_from",
                "provenance",
                "suggestion",
            ];
            (!other.contains(&field.as_str())).then_some((field.as_str(), value))
        });
        let expected: Vec<_> = named.into_iter().chain(alike).collect();
        assert_eq!(columns.len(), expected.len() + 2, "{columns:?}");
        for (column, expected) in expected {
            assert_eq!(value(column), text(expected), "{column}");
        }
        assert_eq!(value("country"), attribute(message, "country"));
        assert_eq!(value("tier"), attribute(message, "tier"));
    }
}

async fn an_export_says_what_the_messages_say(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    // One run is archived, the other has messages without content.
    export_is_whole(&api, &campaign, 1).await;
    export_is_whole(&api, &campaign, 2).await;
    server.fail_for(&["ES"]);
    server.generate(&api, &campaign).await;
    export_is_whole(&api, &campaign, 2).await;
}

async fn an_export_is_of_the_current_run(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let body = |more: Value| {
        let mut body = json!({ "campaign_id": campaign, "format": "csv" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let path = "campaign/messages/export";
    let current = api.post(path, body(json!({}))).await;
    assert_eq!(current.text, api.export(&campaign, 2, "csv").await.text);
    let file = format!("attachment; filename=\"campaign-{campaign}-run-2.csv\"");
    assert_eq!(current.header("content-disposition"), Some(&*file));
    let draft = api.draft(&api.group("Spring", SPRING).await).await;
    let of_draft = body(json!({ "campaign_id": draft }));
    api.refused(path, of_draft, &RUN_NOT_FOUND).await;
    let wrong = body(json!({ "format": "jsonl", "spreadsheet": true, "campaign_id": "x" }));
    api.post(path, wrong).await.is_invalid("`spreadsheet`");
    let right = body(json!({ "format": "jsonl", "spreadsheet": false }));
    assert_eq!(api.post(path, right).await.status, 200);
}

async fn a_spreadsheet_gets_no_formulas(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,country,tier\n1,=cmd|' /C calc'!A0,-1\n";
    let campaign = api.draft(&api.group("Odd", csv).await).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    let body = json!({ "campaign_id": campaign, "format": "csv", "spreadsheet": true });
    let marked = api.post("campaign/messages/export", body).await.text;
    let plain = marked.strip_prefix('\u{feff}').unwrap();
    let mut reader = csv::Reader::from_reader(plain.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    assert_eq!((&row[3], &row[4]), ("'=cmd|' /C calc'!A0", "'-1"));
    let exact = api.export(&campaign, 1, "csv").await.text;
    assert!(exact.contains(",=cmd|' /C calc'!A0,-1,"), "{exact}");
}

async fn an_export_of_odd_values_is_still_csv(server: &Server) {
    let api = server.account();
    // Fields that are named like columns of the export, and values that need quotes.
    let csv = "customer_ref,subject,body\n1,\"a,\"\"b\"\"\nc\",=1+1\n2,,\"\u{e9}\u{1f600}\"\n";
    let group = api.group("Odd", csv).await;
    let campaign = json!({
        "name": "Odd", "customer_group_id": group, "segment_by": ["subject", "body"],
        "template": { "subject": "{{ subject }}!", "body": "\"{{ body }}\"\r\n{{ subject }}" },
    });
    let campaign = api.ok("campaign/create", campaign).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    let exported = api.export(&campaign, 1, "csv").await.text;
    let mut reader = csv::Reader::from_reader(exported.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(
        columns[3..8],
        [
            "segment.subject",
            "segment.body",
            "customer_count",
            "subject",
            "body"
        ]
    );
    let mut rows: Vec<Vec<String>> = reader
        .records()
        .map(|row| {
            row.unwrap()
                .iter()
                .skip(3)
                .take(5)
                .map(ToOwned::to_owned)
                .collect()
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            ["", "\u{e9}\u{1f600}", "1", "!", "\"\u{e9}\u{1f600}\"\r\n"],
            [
                "a,\"b\"\nc",
                "=1+1",
                "1",
                // A subject is one line.
                "a,\"b\" c!",
                "\"=1+1\"\r\na,\"b\"\nc"
            ],
        ],
    );
    let segments: Vec<String> = api
        .messages(&campaign)
        .await
        .iter()
        .map(segment_of)
        .collect();
    assert_eq!(segments, ["/", "/"]);
}
