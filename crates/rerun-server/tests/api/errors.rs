//! The table of errors, row by row, and which of several errors wins. What headers lead to is in
//! `headers`, what paths and methods lead to in `health`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::endpoints::{EXPECTED, Expected};
use crate::support::refusal::{
    CAMPAIGN_NOT_FOUND, CAMPAIGN_NOT_PUBLISHED, CURRENT_RUN_ARCHIVE, CUSTOMER_GROUP_NOT_FOUND,
    EMPTY_CUSTOMER_GROUP, INTERNAL_ERROR, MESSAGE_NOT_FOUND, MESSAGES_NOT_PUBLISHED, RUN_NOT_FOUND,
    UNAVAILABLE,
};
use crate::support::{Api, MAX_SEGMENTS, Raw, SPRING, SUMMER, Server, Store, ids, on_both_stores};

on_both_stores!(
    required_fields_are_missed_by_name,
    a_campaign_that_is_not_there,
    a_group_that_is_not_there,
    only_published_campaigns_are_rerun,
    a_run_that_is_not_published_whole,
    the_current_run_is_not_archived,
    a_failing_database,
    a_database_out_of_reach,
    malformed_bodies_and_wrong_types,
    empty_groups,
    too_many_segments,
    runs_and_messages_that_are_not_there,
    actions_that_a_status_does_not_allow,
    bodies_that_are_too_large,
    values_that_are_none,
    the_first_error_in_order_wins,
    unknown_fields_are_ignored,
);

/// An id that nothing has.
const UNKNOWN_ID: &str = "0193ed20-7b3c-7000-8000-0000000000ff";

/// The two that have the same refusals.
const RERUN: [&str; 2] = ["campaign/rerun/initiate", "campaign/rerun/preview"];

/// Makes the current run one with a message that is not published, which no request can.
fn unpublish(server: &Server) {
    server.database.execute(
        "UPDATE runs SET published = published - 1, approved = approved + 1 \
         WHERE archived_at IS NULL",
    );
}

fn wide(segments: u32) -> String {
    let mut csv = "customer_ref,country,tier\n".to_owned();
    for number in 0..segments {
        writeln!(csv, "{number},C{number},gold").unwrap();
    }
    csv
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn required_fields_are_missed_by_name(server: &Server) {
    let posts = rerun_wire::ENDPOINTS.iter().filter(|e| e.method == "POST");
    let known: Vec<&str> = posts.map(|endpoint| endpoint.path).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|expected| expected.path).collect();
    assert_eq!(known, expected);
    let api = server.account();
    api.unchanged(async || {
        for expected in EXPECTED {
            let fields = expected.required;
            if fields.is_empty() || expected.path.ends_with("/import") {
                continue;
            }
            let path = expected.path.trim_start_matches("/v1/");
            let nulls = fields
                .iter()
                .map(|field| ((*field).to_owned(), Value::Null));
            api.post(path, json!({})).await.misses(fields);
            api.post(path, Value::Object(nulls.collect()))
                .await
                .misses(fields);
        }
        for (path, body, fields) in [
            (
                "campaign/update",
                json!({ "template": { "subject": "" } }),
                &["campaign_id", "template.subject", "template.body"][..],
            ),
            (
                "campaign/rerun/messages",
                json!({ "campaign_id": "" }),
                &["campaign_id"],
            ),
            (
                "campaign/rerun/initiate",
                json!({ "campaign_id": UNKNOWN_ID, "new_customer_group_id": "" }),
                &["new_customer_group_id"],
            ),
            (
                "campaign/rerun/preview",
                json!({ "new_customer_group_id": UNKNOWN_ID }),
                &["campaign_id"],
            ),
            (
                "campaign/rerun/archive",
                json!({ "campaign_id": UNKNOWN_ID }),
                &["run_number"],
            ),
            (
                "campaign/rerun/cancel",
                json!({ "reason": "x" }),
                &["campaign_id"],
            ),
            (
                "campaign/rerun/diff",
                json!({ "campaign_id": UNKNOWN_ID }),
                &["from_run", "to_run"],
            ),
            (
                "campaign/create",
                json!({ "name": "c", "customer_group_id": UNKNOWN_ID, "segment_by": ["a"],
                        "template": { "subject": null, "body": "" } }),
                &["template.subject", "template.body"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": UNKNOWN_ID, "decision": "approve", "message_ids": [] }),
                &["message_ids"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": UNKNOWN_ID, "decision": "approve", "all": false }),
                &["message_ids"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": UNKNOWN_ID, "decision": "approve", "items": [] }),
                &["items"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": UNKNOWN_ID, "decision": "approve", "items": [
                        { "message_id": "x", "content_id": "y" }, { "message_id": "x", "content_id": "" },
                        { "message_id": null, "content_id": "y" } ] }),
                &["items.message_id", "items.content_id"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": UNKNOWN_ID, "decision": "reject", "all": true, "reason": "" }),
                &["reason"],
            ),
            (
                "campaign/messages/edit",
                json!({ "content": {} }),
                &[
                    "campaign_id",
                    "message_id",
                    "content.subject",
                    "content.body",
                ],
            ),
            (
                "campaign/messages/regenerate",
                json!({ "campaign_id": UNKNOWN_ID, "message_ids": [] }),
                &["message_ids"],
            ),
            ("customer-group/create", json!({ "name": "" }), &["name"]),
            ("webhook/create", json!({ "url": "" }), &["url"]),
            (
                "webhook/replay",
                json!({ "webhook_id": UNKNOWN_ID, "to_sequence": 3, "failed": false }),
                &["from_sequence"],
            ),
            (
                "webhook/replay",
                json!({ "failed": true }),
                &["webhook_id"],
            ),
            (
                "campaign/create",
                json!({ "name": "", "customer_group_id": "x", "segment_by": [], "template": {} }),
                &["name", "template.subject", "template.body"],
            ),
            (
                "campaign/messages/edit",
                json!({ "campaign_id": "x", "message_id": "y",
                        "content": { "subject": "", "body": "b" } }),
                &["content.subject"],
            ),
            (
                "campaign/messages/review",
                json!({ "campaign_id": "x", "decision": "reject", "all": true }),
                &["reason"],
            ),
            (
                "campaign/messages/review",
                json!({ "decision": "reject", "all": false, "reason": "" }),
                &["campaign_id", "message_ids", "reason"],
            ),
        ] {
            api.post(path, body).await.misses(fields);
        }
        api.import("", "customer_ref\n")
            .await
            .misses(&["customer_group_id"]);
        let csv = api.headers().with("content-type", "text/csv");
        let post = reqwest::Method::POST;
        let answer = api
            .send(post, "/v1/customer-group/import", &csv, "customer_ref\n")
            .await;
        answer.misses(&["customer_group_id"]);
    })
    .await;
}

/// Malformed, unknown, or another account's: three cases, one answer.
async fn a_campaign_that_is_not_there(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let group = api.group("g", SPRING).await;
    let foreign = server.published(&other).await;
    other
        .unchanged(async || {
            api.unchanged(async || {
                for id in [
                    &foreign,
                    UNKNOWN_ID,
                    "x",
                    "a\0b",
                    " ",
                    "{}",
                    "0193ed20-7b3c-7000-8000-0000000000fg",
                    &"9".repeat(10_000),
                ] {
                    for Expected { path, required, .. } in EXPECTED {
                        let optional = ["/v1/audit/list", "/v1/event/list", "/v1/webhook/create"];
                        let optional = optional.contains(path);
                        if !optional && !required.contains(&"campaign_id") {
                            continue;
                        }
                        let content = if path.ends_with("recipients/export") {
                            json!(true)
                        } else {
                            json!({ "subject": "s", "body": "b" })
                        };
                        let mut body = json!({
                            "campaign_id": id, "new_customer_group_id": id, "message_id": id,
                            "message_ids": [id], "run_number": 1, "from_run": 1, "to_run": 2,
                            "decision": "approve", "content": content, "format": "csv",
                            "name": "n", "segment_by": ["country"], "content_id": UNKNOWN_ID,
                            "url": "http://not.allowed",
                            "cron": "0 9 * * *",
                        });
                        for field in *required {
                            if body[field].is_null() {
                                body[field] = json!("any");
                            }
                        }
                        let path = path.trim_start_matches("/v1/");
                        api.refused(path, body, &CAMPAIGN_NOT_FOUND).await;
                    }
                    for path in RERUN {
                        let body = json!({ "campaign_id": id, "new_customer_group_id": group });
                        api.refused(path, body, &CAMPAIGN_NOT_FOUND).await;
                    }
                }
            })
            .await;
        })
        .await;
}

async fn a_group_that_is_not_there(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let campaign = server.published(&api).await;
    let foreign = other.group("g", SPRING).await;
    api.unchanged(async || {
        for id in [&foreign, UNKNOWN_ID, "x", "a\0b", " "] {
            for path in RERUN {
                let body = json!({ "campaign_id": campaign, "new_customer_group_id": id });
                api.refused(path, body, &CUSTOMER_GROUP_NOT_FOUND).await;
            }
            let body = json!({ "customer_group_id": id });
            api.refused("customer-group/get", body, &CUSTOMER_GROUP_NOT_FOUND)
                .await;
            let body = json!({ "customer_group_id": id, "name": "Mine", "customer_refs": ["a"] });
            for path in [
                "customer-group/update",
                "customer-group/delete",
                "customer/list",
                "customer/delete",
            ] {
                api.refused(path, body.clone(), &CUSTOMER_GROUP_NOT_FOUND)
                    .await;
            }
            let body = json!({
                "name": "c", "customer_group_id": id, "segment_by": ["country"],
                "template": { "subject": "s", "body": "b" },
            });
            api.refused("campaign/create", body, &CUSTOMER_GROUP_NOT_FOUND)
                .await;
        }
        for id in [&foreign, UNKNOWN_ID, "x", "%00"] {
            let answer = api.import(id, "customer_ref\nx\n").await;
            answer.is(&CUSTOMER_GROUP_NOT_FOUND);
        }
    })
    .await;
}

async fn only_published_campaigns_are_rerun(server: &Server) {
    let api = server.account();
    let group = api.group("Summer", SUMMER).await;
    let refused = async |campaign: &str, status: &str| {
        api.unchanged(async || {
            assert_eq!(api.campaign(campaign).await["status"], status);
            for path in RERUN {
                let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
                api.refused(path, body, &CAMPAIGN_NOT_PUBLISHED).await;
            }
        })
        .await;
    };
    let campaign = api.draft(&group).await;
    refused(&campaign, "Draft").await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    refused(&campaign, "Processing").await;
    server.fail_for(&["ES"]);
    server.generate(&api, &campaign).await;
    refused(&campaign, "Generation failed").await;
    server.fail_for(&[]);
    api.ok("campaign/rerun/retry", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    refused(&campaign, "Ready for review").await;
    api.approve_all(&campaign).await;
    refused(&campaign, "Ready to publish").await;
    api.publish(&campaign).await;
    api.initiate(&campaign, &group).await.ok();
}

async fn a_run_that_is_not_published_whole(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Summer", SUMMER).await;
    unpublish(server);
    api.unchanged(async || {
        for path in RERUN {
            let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
            api.refused(path, body, &MESSAGES_NOT_PUBLISHED).await;
        }
    })
    .await;
}

async fn the_current_run_is_not_archived(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    api.unchanged(async || {
        let body = json!({ "campaign_id": campaign, "run_number": 1 });
        api.refused("campaign/rerun/archive", body, &CURRENT_RUN_ARCHIVE)
            .await;
    })
    .await;
}

/// What is wrong stays between the server and its log.
async fn a_failing_database(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Summer", SUMMER).await;
    let broken = async || {
        for path in RERUN {
            let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
            let answer = api.post(path, body).await;
            answer.is(&INTERNAL_ERROR);
            assert!(!answer.text.contains("segment"), "{}", answer.text);
        }
    };
    server
        .database
        .execute("ALTER TABLE segmentations RENAME TO elsewhere");
    broken().await;
    server
        .database
        .execute("ALTER TABLE elsewhere RENAME TO segmentations");
    // A failure in the middle of the one atomic step takes back all of it.
    server
        .database
        .execute("ALTER TABLE generation_tasks RENAME TO elsewhere");
    api.unchanged(async || api.initiate(&campaign, &group).await.is(&INTERNAL_ERROR))
        .await;
    server
        .database
        .execute("ALTER TABLE elsewhere RENAME TO generation_tasks");
    api.unchanged(async || {
        server
            .database
            .execute("ALTER TABLE audit_entries RENAME TO elsewhere");
        api.initiate(&campaign, &group).await.is(&INTERNAL_ERROR);
        server
            .database
            .execute("ALTER TABLE elsewhere RENAME TO audit_entries");
    })
    .await;
    api.initiate(&campaign, &group).await.ok();
}

async fn a_database_out_of_reach(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Summer", SUMMER).await;
    let before = api.everything().await;
    let outage = server.database.outage();
    // Each may wait as long as the server waits for a connection, so all wait together.
    let (initiated, created, ready) = tokio::join!(
        api.initiate(&campaign, &group),
        api.post("customer-group/create", json!({ "name": "g" })),
        api.get("/health/ready"),
    );
    for answer in [&initiated, &created] {
        answer.is(&UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    match server.store() {
        // Readers of SQLite wait for nobody.
        Store::Sqlite => drop(ready.ok()),
        Store::Postgres => ready.is(&UNAVAILABLE),
    }
    outage.end();
    assert_eq!(api.everything().await, before);
    api.get("/health/ready").await.ok();
    api.initiate(&campaign, &group).await.ok();
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn malformed_bodies_and_wrong_types(server: &Server) {
    let api = server.account();
    api.unchanged(async || {
        for endpoint in rerun_wire::ENDPOINTS {
            if !endpoint.path.starts_with("/v1/") || endpoint.path.ends_with("/import") {
                continue;
            }
            for body in [
                "",
                " ",
                "{",
                "[]",
                "null",
                "\"x\"",
                "{} {}",
                "{}x",
                "{\"campaign_id\":",
                "{\"campaign_id\": }",
            ] {
                let post = reqwest::Method::POST;
                let answer = api.send(post, endpoint.path, &api.headers(), body).await;
                answer.is_invalid("the body");
            }
        }
        let post = reqwest::Method::POST;
        let latin = b"{\"name\": \"caf\xe9\"}".to_vec();
        let answer = api
            .send(post, "/v1/customer-group/create", &api.headers(), latin)
            .await;
        answer.is_invalid("the body");
        for (path, body, place) in [
            ("campaign/get", json!({ "campaign_id": 7 }), "`campaign_id`"),
            (
                "campaign/rerun/history",
                json!({ "campaign_id": ["x"] }),
                "`campaign_id`",
            ),
            (
                "campaign/rerun/history",
                json!({ "limit": "10" }),
                "`limit`",
            ),
            ("campaign/rerun/history", json!({ "cursor": 1 }), "`cursor`"),
            (
                "campaign/rerun/messages",
                json!({ "include_archived": "true" }),
                "`include_archived`",
            ),
            (
                "campaign/rerun/messages",
                json!({ "run_number": 1.5 }),
                "`run_number`",
            ),
            (
                "campaign/rerun/initiate",
                json!({ "new_customer_group_id": {} }),
                "`new_customer_group_id`",
            ),
            (
                "campaign/rerun/initiate",
                json!({ "reuse_from": true }),
                "`reuse_from`",
            ),
            (
                "campaign/create",
                json!({ "segment_by": "country" }),
                "`segment_by`",
            ),
            (
                "campaign/create",
                json!({ "segment_by": ["a", null] }),
                "`segment_by[1]`",
            ),
            (
                "campaign/create",
                json!({ "template": { "subject": 1 } }),
                "`template.subject`",
            ),
            (
                "campaign/launch",
                json!({ "allow_missing_fields": 1 }),
                "`allow_missing_fields`",
            ),
            ("campaign/update", json!({ "brief": 1 }), "`brief`"),
            (
                "campaign/template/preview",
                json!({ "limit": "5" }),
                "`limit`",
            ),
            (
                "campaign/messages/export",
                json!({ "spreadsheet": 1 }),
                "`spreadsheet`",
            ),
            ("campaign/messages/review", json!({ "all": 1 }), "`all`"),
            (
                "campaign/messages/review",
                json!({ "message_ids": "x" }),
                "`message_ids`",
            ),
            (
                "campaign/messages/edit",
                json!({ "content": "x" }),
                "`content`",
            ),
            ("audit/list", json!({ "action": {} }), "`action`"),
            ("event/list", json!({ "types": "x" }), "`types`"),
            (
                "event/list",
                json!({ "after_sequence": "1" }),
                "`after_sequence`",
            ),
            (
                "event/list",
                json!({ "wait_seconds": 0.5 }),
                "`wait_seconds`",
            ),
            (
                "campaign/rerun/archive",
                json!({ "run_number": 1.5 }),
                "`run_number`",
            ),
            (
                "campaign/rerun/cancel",
                json!({ "reason": false }),
                "`reason`",
            ),
            ("campaign/create", json!({ "template": "x" }), "`template`"),
            (
                "campaign/create",
                json!({ "template": { "body": 1 } }),
                "`template.body`",
            ),
            (
                "campaign/create",
                json!({ "approval_stages": [1] }),
                "`approval_stages[0]`",
            ),
            (
                "campaign/messages/regenerate",
                json!({ "message_ids": "x" }),
                "`message_ids`",
            ),
        ] {
            api.post(path, body).await.is_invalid(place);
        }
    })
    .await;
}

async fn empty_groups(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let empty = api.empty_group("Empty").await;
    let draft = api.draft(&empty).await;
    api.unchanged(async || {
        for path in RERUN {
            let body = json!({ "campaign_id": campaign, "new_customer_group_id": empty });
            api.refused(path, body, &EMPTY_CUSTOMER_GROUP).await;
        }
        let body = json!({ "campaign_id": draft });
        api.refused("campaign/launch", body, &EMPTY_CUSTOMER_GROUP)
            .await;
    })
    .await;
    // The group may be filled later.
    api.import(&empty, SPRING).await.ok();
    api.ok("campaign/launch", json!({ "campaign_id": draft }))
        .await;
}

async fn too_many_segments(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Wide", &wide(MAX_SEGMENTS + 1)).await;
    let draft = api.draft(&group).await;
    api.unchanged(async || {
        let said = format!("more than {MAX_SEGMENTS} segments");
        for path in RERUN {
            let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
            api.post(path, body)
                .await
                .says(400, "too_many_segments", &said);
        }
        let launch = api
            .post("campaign/launch", json!({ "campaign_id": draft }))
            .await;
        launch.says(400, "too_many_segments", &said);
    })
    .await;
    let fits = api.group("Fits", &wide(MAX_SEGMENTS)).await;
    let started = api.initiate(&campaign, &fits).await.ok();
    assert_eq!(started["segments"]["total"], MAX_SEGMENTS);
}

async fn runs_and_messages_that_are_not_there(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let elsewhere = server.generated(&api).await;
    let foreign = ids(&api.messages(&elsewhere).await)[0].clone();
    let own = ids(&api.messages(&campaign).await)[0].clone();
    api.unchanged(async || {
        for number in [json!(2), json!(0), json!(-1), json!(1_u64 << 31), json!(u64::MAX), json!(1e30)] {
            let run = json!({ "campaign_id": campaign, "run_number": number, "format": "csv" });
            for path in ["rerun/messages", "rerun/archive", "messages/export", "recipients/export"] {
                api.refused(&format!("campaign/{path}"), run.clone(), &RUN_NOT_FOUND).await;
            }
            for (from, to) in [(json!(1), number.clone()), (number.clone(), json!(1))] {
                let runs = json!({ "campaign_id": campaign, "from_run": from, "to_run": to });
                api.refused("campaign/rerun/diff", runs, &RUN_NOT_FOUND).await;
            }
        }
        for id in [&foreign, UNKNOWN_ID, "x", "a\0b"] {
            // One unknown id is enough to refuse all.
            let named = json!([own, id]);
            for body in [
                json!({ "campaign_id": campaign, "decision": "approve", "message_ids": named }),
                json!({ "campaign_id": campaign, "decision": "reject", "reason": "no", "message_ids": named }),
            ] {
                api.refused("campaign/messages/review", body, &MESSAGE_NOT_FOUND).await;
            }
            let body = json!({ "campaign_id": campaign, "message_ids": named });
            api.refused("campaign/messages/regenerate", body, &MESSAGE_NOT_FOUND).await;
            let content = json!({ "subject": "s", "body": "b" });
            let body = json!({ "campaign_id": campaign, "message_id": id, "content": content });
            api.refused("campaign/messages/edit", body, &MESSAGE_NOT_FOUND).await;
            let body = json!({ "campaign_id": campaign, "message_id": id, "content_id": UNKNOWN_ID });
            api.refused("campaign/messages/adopt", body, &MESSAGE_NOT_FOUND).await;
        }
    })
    .await;
}

const STAGES: &str = "change the approval stages of";
const RULES: &str = "change the value rules of";
const ADOPT: &str = "use the suggestion for";

/// The refusals of a campaign: action by action, naming action and status.
async fn check_campaign_actions(api: &Api, campaign: &str, status: &str, allowed: &[&str]) {
    let this = json!({ "campaign_id": campaign });
    let approve = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    let with = |more: Value| {
        let mut body = this.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let renamed = with(json!({ "name": "other" }));
    let stages = with(json!({ "approval_stages": ["other"] }));
    let rules = [
        json!({ "field": "country", "normalise": ["casefold"] }),
        json!("tier"),
    ];
    let rules = with(json!({ "segment_by": rules, "dry_run": false }));
    let suggested = with(json!({ "message_id": campaign, "content_id": campaign }));
    // While messages are generated, the stages cannot be changed because nothing can.
    let is_said = |action: &str| action != STAGES || allowed.contains(&"update");
    for (action, path, body) in [
        ("update", "campaign/update", &renamed),
        (STAGES, "campaign/update", &stages),
        (RULES, "campaign/segmentation/update", &rules),
        (ADOPT, "campaign/messages/adopt", &suggested),
        ("delete", "campaign/delete", &this),
        ("launch", "campaign/launch", &this),
        ("publish", "campaign/publish", &this),
        ("retry", "campaign/rerun/retry", &this),
        ("cancel", "campaign/rerun/cancel", &this),
        ("approve", "campaign/messages/review", &approve),
    ] {
        if !allowed.contains(&action) && is_said(action) {
            let said = format!("cannot {action} a campaign that is `{status}`");
            api.post(path, body.clone()).await.conflicts(&said);
        }
    }
}

async fn actions_that_a_status_does_not_allow(server: &Server) {
    let api = server.account();
    let campaign = api.draft(&api.group("Spring", SPRING).await).await;
    let refused = async |status: &str, allowed: &[&str]| {
        assert_eq!(api.campaign(&campaign).await["status"], status);
        api.unchanged(async || check_campaign_actions(&api, &campaign, status, allowed).await)
            .await;
    };
    let message_refused = async |status: &str, actions: &[&str]| {
        let message = ids(&api.messages(&campaign).await)[0].clone();
        api.unchanged(async || {
            for action in actions {
                let (path, body) = message_action(&campaign, &message, action);
                let said = format!("cannot {action} a message that is `{status}`");
                api.post(path, body).await.conflicts(&said);
            }
        })
        .await;
    };
    refused("Draft", &["launch", "update", "delete", STAGES, RULES]).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    refused("Processing", &["cancel", "approve", ADOPT]).await;
    message_refused("Generating", &["approve", "reject", "edit", "regenerate"]).await;

    server.fail_for(&["DE", "FR"]);
    server.generate(&api, &campaign).await;
    let open = ["cancel", "approve", "update", "delete", ADOPT];
    refused("Generation failed", &[&open[..], &["retry"]].concat()).await;
    message_refused("Generation failed", &["approve", "reject"]).await;

    server.fail_for(&[]);
    api.ok("campaign/rerun/retry", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    refused("Ready for review", &open).await;
    let message = ids(&api.messages(&campaign).await)[0].clone();
    let (path, body) = message_action(&campaign, &message, "reject");
    api.ok(path, body).await;
    message_refused("Rejected", &["approve", "reject"]).await;

    let (path, body) = message_action(&campaign, &message, "edit");
    api.ok(path, body).await;
    api.approve_all(&campaign).await;
    refused("Ready to publish", &[&open[..], &["publish"]].concat()).await;
    message_refused("Approved", &["approve"]).await;

    api.publish(&campaign).await;
    refused("Published", &["update", "delete", STAGES, RULES, ADOPT]).await;
    message_refused("Published", &["approve", "reject", "edit", "regenerate"]).await;
}

fn message_action(campaign: &str, message: &str, action: &str) -> (&'static str, Value) {
    match action {
        "edit" => (
            "campaign/messages/edit",
            json!({ "campaign_id": campaign, "message_id": message,
                    "content": { "subject": "s", "body": "b" } }),
        ),
        "regenerate" => (
            "campaign/messages/regenerate",
            json!({ "campaign_id": campaign, "message_ids": [message] }),
        ),
        decision => (
            "campaign/messages/review",
            json!({ "campaign_id": campaign, "message_ids": [message], "decision": decision,
                    "reason": "no" }),
        ),
    }
}

async fn bodies_that_are_too_large(server: &Server) {
    const LIMIT: usize = 2 << 20;
    let api = server.account();
    let path = "/v1/customer-group/create";
    let body = |size: usize| {
        let body = "{\"name\": \"g\"}".to_owned();
        let padding = " ".repeat(size - body.len());
        body + &padding
    };
    api.unchanged(async || {
        // Only announced.
        let headers = api
            .headers()
            .with("content-length", (LIMIT + 1).to_string());
        let (status, answer) = Raw::post(server.address, path, &headers).answer();
        let said = format!("the body may have at most {LIMIT} bytes");
        let expected = (413, "payload_too_large", said.as_str());
        let told = |answer: &Value, field: &str| answer[field].as_str().unwrap().to_owned();
        assert_eq!(
            (status, &*told(&answer, "code"), &*told(&answer, "message")),
            expected
        );
        // Not announced: sent in chunks.
        let headers = api.headers().with("transfer-encoding", "chunked");
        let mut raw = Raw::post(server.address, path, &headers);
        raw.chunk(body(LIMIT).as_bytes());
        raw.chunk(b" ");
        let (status, answer) = raw.answer();
        assert_eq!(
            (status, &*told(&answer, "code"), &*told(&answer, "message")),
            expected
        );
    })
    .await;
    let post = reqwest::Method::POST;
    api.send(post, path, &api.headers(), body(LIMIT)).await.ok();
}

/// Values of the right type that no field takes.
#[expect(clippy::too_many_lines, reason = "a table")]
async fn values_that_are_none(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("g", SPRING).await;
    let nul = "a\0b";
    let this = json!({ "campaign_id": campaign });
    let with = |more: Value| {
        let mut body = this.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let create = |field: &str, value: Value| {
        let mut body = json!({
            "name": "c", "customer_group_id": group, "segment_by": ["country"],
            "template": { "subject": "s", "body": "b" },
        });
        body[field] = value;
        body
    };
    let template = |subject: &str, body: &str| json!({ "subject": subject, "body": body });
    let nine: Vec<String> = (0..9).map(|field| field.to_string()).collect();
    api.unchanged(async || {
        for path in [
            "campaign/list",
            "customer-group/list",
            "audit/list",
            "campaign/rerun/history",
            "campaign/rerun/messages",
        ] {
            for limit in [json!(0), json!(-1), json!(10_001), json!(1e30)] {
                let answer = api.post(path, with(json!({ "limit": limit }))).await;
                answer.is_invalid("`limit`");
            }
            for cursor in ["", "x", "beef", "0000000031"] {
                let answer = api.post(path, with(json!({ "cursor": cursor }))).await;
                answer.is_invalid("`cursor`");
            }
        }
        for (path, body, said) in [
            (
                "campaign/list",
                json!({ "status": "published" }),
                "Ready to publish",
            ),
            (
                "audit/list",
                json!({ "action": "campaign.exploded" }),
                "`action`",
            ),
            (
                "campaign/rerun/initiate",
                with(json!({ "new_customer_group_id": group, "reuse_from": "all" })),
                "current_run, any_run, any_approved",
            ),
            (
                "campaign/rerun/preview",
                with(json!({ "new_customer_group_id": group, "reuse_from": "" })),
                "`reuse_from`",
            ),
            (
                "campaign/messages/export",
                with(json!({ "run_number": 1, "format": "xml" })),
                "csv, jsonl",
            ),
            (
                "campaign/messages/review",
                with(json!({ "decision": "Approve", "all": true })),
                "`decision`",
            ),
            (
                "campaign/messages/review",
                with(json!({ "decision": "approve", "all": true, "message_ids": ["x"] })),
                "give one of `message_ids`, `items` and `all`",
            ),
            (
                "campaign/messages/review",
                with(json!({ "decision": "approve", "all": true,
                             "items": [{ "message_id": "x", "content_id": "y" }] })),
                "give one of `message_ids`, `items` and `all`",
            ),
            (
                "campaign/messages/review",
                with(json!({ "decision": "approve", "message_ids": ["x"],
                             "items": [{ "message_id": "x", "content_id": "y" }] })),
                "give one of `message_ids`, `items` and `all`",
            ),
            (
                "campaign/messages/review",
                with(json!({ "decision": "approve", "items": ["x"] })),
                "`items[0]`",
            ),
            ("customer-group/create", json!({ "name": nul }), "NUL"),
            (
                "customer-group/create",
                json!({ "name": " \u{2003}" }),
                "blank",
            ),
            (
                "customer-group/create",
                json!({ "name": "n".repeat(256) }),
                "255",
            ),
            (
                "campaign/rerun/cancel",
                with(json!({ "reason": nul })),
                "NUL",
            ),
            ("campaign/create", create("name", json!(nul)), "NUL"),
            ("campaign/create", create("brief", json!(nul)), "NUL"),
            (
                "campaign/create",
                create("segment_by", json!([])),
                "`segment_by`",
            ),
            (
                "campaign/create",
                create("segment_by", json!(nine)),
                "`segment_by`",
            ),
            (
                "campaign/create",
                create("segment_by", json!(["a", " a"])),
                "`segment_by`",
            ),
            ("campaign/create", create("segment_by", json!([nul])), "NUL"),
            (
                "campaign/create",
                create("approval_stages", json!([])),
                "`approval_stages`",
            ),
            (
                "campaign/create",
                create("approval_stages", json!(["A", "A"])),
                "`approval_stages`",
            ),
            (
                "campaign/create",
                create("template", template(nul, "b")),
                "NUL",
            ),
            (
                "campaign/create",
                create("template", template("s", "{{ tier }}")),
                "`tier`",
            ),
            (
                "campaign/create",
                create("template", template("s", "{{ country")),
                "`template.body`",
            ),
            (
                "campaign/create",
                create("template", template("{% if 1 %}", "b")),
                "`template.subject`",
            ),
            (
                "campaign/create",
                create("template", template("s", "{{ country | reverse }}")),
                "`template.body`, line 1: `reverse` is not a filter",
            ),
            (
                "campaign/create",
                create("template", template("{{ country }}\r\nBcc: x", "b")),
                "`subject` must be one line",
            ),
        ] {
            api.post(path, body).await.is_invalid(said);
        }
        for key in ["", "a\ttab", &"k".repeat(256), "\u{e9}"] {
            let body = with(json!({ "new_customer_group_id": group }));
            let answer = api.keyed(key, "campaign/rerun/initiate", body).await;
            answer.is_invalid("`idempotency-key`");
        }
    })
    .await;
}

/// For each pair of neighbours in the order a request in which both apply.
async fn the_first_error_in_order_wins(server: &Server) {
    let api = server.account();
    let draft = api.draft(&api.group("Spring", SPRING).await).await;
    let empty = api.empty_group("Empty").await;
    let wide = api.group("Wide", &wide(MAX_SEGMENTS + 1)).await;
    let published = server.published(&api).await;
    let both = |campaign: &str, group: &str| json!({ "campaign_id": campaign, "new_customer_group_id": group });
    for path in RERUN {
        api.unchanged(async || {
            // Headers before a malformed body.
            let headers = api.headers().without("x-ip");
            let full = format!("/v1/{path}");
            let answer = api.send(reqwest::Method::POST, &full, &headers, "{").await;
            answer.is(&crate::support::refusal::UNAUTHORIZED);
            // A wrong type before a missing field.
            let answer = api.post(path, json!({ "campaign_id": 7 })).await;
            answer.is_invalid("`campaign_id`");
            // A missing field before a campaign that is not there.
            let answer = api.post(path, json!({ "campaign_id": UNKNOWN_ID })).await;
            answer.misses(&["new_customer_group_id"]);
            // The campaign before the group.
            api.refused(path, both(UNKNOWN_ID, UNKNOWN_ID), &CAMPAIGN_NOT_FOUND)
                .await;
            // The group before the campaign's status.
            api.refused(path, both(&draft, UNKNOWN_ID), &CUSTOMER_GROUP_NOT_FOUND)
                .await;
            // The campaign's status before what is wrong with the group.
            api.refused(path, both(&draft, &empty), &CAMPAIGN_NOT_PUBLISHED)
                .await;
            api.refused(path, both(&draft, &wide), &CAMPAIGN_NOT_PUBLISHED)
                .await;
        })
        .await;
    }
    // The campaign's status before its messages' states.
    let processing = api.launched().await;
    for path in RERUN {
        api.refused(path, both(&processing, &empty), &CAMPAIGN_NOT_PUBLISHED)
            .await;
    }
    // The messages' states before what is wrong with the group.
    api.cancel(&processing).await;
    unpublish(server);
    for path in RERUN {
        api.refused(
            path,
            both(&published, UNKNOWN_ID),
            &CUSTOMER_GROUP_NOT_FOUND,
        )
        .await;
        api.refused(path, both(&published, &empty), &MESSAGES_NOT_PUBLISHED)
            .await;
        api.refused(path, both(&published, &wide), &MESSAGES_NOT_PUBLISHED)
            .await;
    }
    // The campaign before its runs and messages.
    for number in [
        json!(0),
        json!(-1),
        json!(1_u64 << 31),
        json!(u64::MAX),
        json!(1e30),
    ] {
        let run = json!({
            "campaign_id": UNKNOWN_ID, "run_number": number, "from_run": 1, "to_run": number,
            "format": "csv",
        });
        for path in [
            "rerun/messages",
            "rerun/archive",
            "rerun/diff",
            "messages/export",
            "recipients/export",
        ] {
            let path = format!("campaign/{path}");
            api.refused(&path, run.clone(), &CAMPAIGN_NOT_FOUND).await;
        }
    }
    let named = json!({ "campaign_id": UNKNOWN_ID, "decision": "approve", "message_ids": ["x"] });
    api.refused("campaign/messages/review", named, &CAMPAIGN_NOT_FOUND)
        .await;
}

async fn unknown_fields_are_ignored(server: &Server) {
    let api = server.account();
    let group = json!({ "name": "g", "account_id": UNKNOWN_ID, "x": { "y": [1, null] } });
    api.ok("customer-group/create", group).await;
    let campaign = server.published(&api).await;
    let body = json!({ "campaign_id": campaign, "user_id": 7, "extra": [{}] });
    api.ok("campaign/rerun/history", body).await;
}
