//! Every list, page by page.

use chrono::{NaiveDate, NaiveTime};
use rerun_core::ids::AccountId;
use rerun_core::page::{CreatedKey, CursorKey, CursorScope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Api, CURSORS, SPRING, SUMMER, SUMMER_AGAIN, Server, body_of, on_both_stores};

on_both_stores!(
    pages_make_up_the_whole_list,
    a_cursor_is_good_for_its_own_list,
    a_forged_cursor_is_refused,
    pages_stay_consistent_when_rows_are_added,
    a_list_of_messages_goes_on_with_its_run,
    a_page_is_bounded_as_it_is_sent,
);

/// Control characters are six times as long in JSON.
async fn a_page_is_bounded_as_it_is_sent(server: &Server) {
    const ROWS: usize = 12;
    let api = server.account();
    let group = api.group("g", "customer_ref,country\na,DE\n").await;
    let body = "\u{1}".repeat(200_000);
    for _ in 0..ROWS {
        let campaign = json!({
            "name": "Hello", "customer_group_id": group, "segment_by": ["country"],
            "template": { "subject": "Hello", "body": body },
        });
        api.ok("campaign/create", campaign).await;
    }
    let mut request = json!({});
    let mut seen = 0;
    loop {
        let page = api.post("campaign/list", request.clone()).await;
        let sent = page.text.len();
        // It ends with the row that fills it.
        assert!(sent < (8 << 20) + 6 * body.len() + 100_000, "{sent} bytes");
        let page = page.ok();
        seen += body_of(&page, "campaigns").len();
        if page["next_cursor"].is_null() {
            break;
        }
        assert!(sent >= 8 << 20, "{sent} bytes before the last page");
        request = json!({ "cursor": page["next_cursor"] });
    }
    assert_eq!(seen, ROWS);
}

/// Everything in a list, by pages of `limit`.
async fn pages(api: &Api, path: &str, body: &Value, list: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut request = body.clone();
    request["limit"] = json!(limit);
    loop {
        let page = api.ok(path, request.clone()).await;
        let items = body_of(&page, list);
        assert!(items.len() <= limit, "{path}");
        let full = items.len() == limit;
        all.extend(items);
        if page["next_cursor"].is_null() {
            return all;
        }
        assert!(full, "{path}: a page that is not full is the last");
        request["cursor"] = page["next_cursor"].clone();
    }
}

/// An account in which every list has more than three entries.
async fn filled(server: &Server, api: &Api) -> Vec<(&'static str, Value, &'static str)> {
    let campaign = server.published(api).await;
    server.rerun(api, &campaign, SUMMER_AGAIN).await;
    let summer = server.rerun(api, &campaign, SUMMER).await;
    server.rerun(api, &campaign, SPRING).await;
    server.rerun(api, &campaign, SUMMER).await;
    for _ in 0..4 {
        api.draft(&summer).await;
    }
    for _ in 0..4 {
        api.schedule(&campaign, json!({})).await;
    }
    let schedule = api.schedule(&campaign, json!({})).await;
    let schedule = json!({ "schedule_id": schedule });
    for _ in 0..4 {
        let firing = api.ok("schedule/trigger", schedule.clone()).await;
        assert_eq!(firing["outcome"], "skipped_unchanged");
    }
    let mut unchanged = schedule.clone();
    unchanged["outcome"] = json!("skipped_unchanged");
    let mut webhook = Value::Null;
    for _ in 0..4 {
        let anywhere = json!({ "url": "https://receiver.example/hook" });
        webhook = api.ok("webhook/create", anywhere).await["id"].clone();
    }
    let replay = json!({ "webhook_id": webhook, "from_sequence": 1, "to_sequence": 9 });
    api.ok("webhook/replay", replay).await;
    let this = json!({ "campaign_id": campaign });
    let with = |more: Value| {
        let mut body = this.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        ("campaign/list", json!({}), "campaigns"),
        ("campaign/list", json!({ "status": "Draft" }), "campaigns"),
        ("customer-group/list", json!({}), "customer_groups"),
        (
            "customer/list",
            json!({ "customer_group_id": summer }),
            "customers",
        ),
        ("audit/list", json!({}), "entries"),
        ("audit/list", this.clone(), "entries"),
        (
            "audit/list",
            json!({ "action": "customer_group.created" }),
            "entries",
        ),
        (
            "audit/list",
            with(json!({ "action": "rerun.initiated" })),
            "entries",
        ),
        ("campaign/rerun/history", this.clone(), "runs"),
        ("campaign/rerun/messages", this.clone(), "messages"),
        (
            "campaign/rerun/messages",
            with(json!({ "run_number": 3 })),
            "messages",
        ),
        (
            "campaign/rerun/messages",
            with(json!({ "include_archived": true })),
            "messages",
        ),
        (
            "campaign/rerun/messages",
            with(json!({ "include_archived": true, "review_status": "Published" })),
            "messages",
        ),
        (
            "campaign/rerun/messages",
            with(json!({ "include_archived": true, "source": "reused", "segment": "d" })),
            "messages",
        ),
        (
            "campaign/rerun/preview",
            with(json!({ "new_customer_group_id": summer })),
            "items",
        ),
        (
            "campaign/rerun/diff",
            with(json!({ "from_run": 4, "to_run": 5 })),
            "items",
        ),
        ("schedule/list", json!({}), "schedules"),
        ("schedule/firings", schedule, "firings"),
        ("schedule/firings", unchanged, "firings"),
        ("webhook/list", json!({}), "webhooks"),
        (
            "webhook/deliveries",
            json!({ "webhook_id": webhook }),
            "deliveries",
        ),
    ]
}

async fn pages_make_up_the_whole_list(server: &Server) {
    let api = server.account();
    for (path, body, list) in filled(server, &api).await {
        let whole = api.ok(path, body.clone()).await;
        assert_eq!(whole["next_cursor"], Value::Null, "{path}");
        let whole = body_of(&whole, list);
        assert!(whole.len() > 3, "{path} {body}: {}", whole.len());
        for limit in [1, 2, 3, whole.len(), whole.len() + 1, 10_000] {
            assert_eq!(
                pages(&api, path, &body, list, limit).await,
                whole,
                "{path} by {limit}"
            );
        }
        let mut nulls = body.clone();
        nulls["limit"] = Value::Null;
        nulls["cursor"] = Value::Null;
        assert_eq!(body_of(&api.ok(path, nulls).await, list), whole, "{path}");
        // What stands beside the list is the same on every page.
        let mut first = body.clone();
        first["limit"] = json!(1);
        let page = api.ok(path, first).await;
        let rest = |page: &Value| {
            let mut page = page.clone();
            page[list] = Value::Null;
            page["next_cursor"] = Value::Null;
            page
        };
        assert_eq!(rest(&page), rest(&api.ok(path, body).await), "{path}");
    }
}

async fn a_cursor_is_good_for_its_own_list(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let lists = filled(server, &api).await;
    let mut cursors = Vec::new();
    for (path, body, _) in &lists {
        let mut request = body.clone();
        request["limit"] = json!(1);
        cursors.push(
            api.ok(path, request).await["next_cursor"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let refused = async |api: &Api, path: &str, body: &Value, cursor: &str| {
        let mut request = body.clone();
        request["cursor"] = json!(cursor);
        api.post(path, request).await.is_invalid("`cursor`");
    };
    for (index, (path, body, _)) in lists.iter().enumerate() {
        for (foreign, cursor) in cursors.iter().enumerate() {
            if foreign == index {
                // Damaged in one place, cut off, and continued.
                let last = cursor.len() - 1;
                let flipped = if cursor.ends_with('0') { "1" } else { "0" };
                for damaged in [
                    format!("{}{flipped}", &cursor[..last]),
                    cursor[..last].to_owned(),
                    cursor[2..].to_owned(),
                    format!("{cursor}00"),
                    format!(" {cursor}"),
                ] {
                    refused(&api, path, body, &damaged).await;
                }
            } else {
                refused(&api, path, body, cursor).await;
            }
        }
    }
    // Another account's, of the same list.
    for (path, cursor) in [
        ("campaign/list", &cursors[0]),
        ("customer-group/list", &cursors[2]),
        ("audit/list", &cursors[3]),
    ] {
        refused(&other, path, &json!({}), cursor).await;
    }
    // Another campaign's.
    let second = server.published(&api).await;
    server.rerun(&api, &second, SUMMER).await;
    for index in 7..=10 {
        let mut body = lists[index].1.clone();
        body["campaign_id"] = json!(second);
        refused(&api, lists[index].0, &body, &cursors[index]).await;
    }
}

/// One that is sealed with the key of everybody, and one that is well sealed, with a time before
/// the first that PostgreSQL has.
async fn a_forged_cursor_is_refused(server: &Server) {
    let api = server.account();
    api.empty_group("g").await;
    let cursor = |key, year| {
        let scope = CursorScope {
            key,
            list: "customer_groups",
            account: AccountId::parse(&api.account).unwrap(),
            narrowed_by: "",
        };
        let created_at = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let created_at = created_at.and_time(NaiveTime::MIN).and_utc();
        let id = Uuid::max();
        scope.encode(&CreatedKey { created_at, id }).unwrap()
    };
    let page = |cursor| json!({ "cursor": cursor });
    let good = page(cursor(CURSORS, 9999));
    let good = api.ok("customer-group/list", good).await;
    assert_eq!(body_of(&good, "customer_groups").len(), 1);
    for forged in [
        cursor(CursorKey::default(), 9999),
        cursor(CURSORS, -5000),
        cursor(CURSORS, 0),
        cursor(CURSORS, 10_000),
        cursor(CURSORS, 200_000),
    ] {
        let answer = api.post("customer-group/list", page(forged)).await;
        answer.is_invalid("`cursor`");
    }
}

async fn pages_stay_consistent_when_rows_are_added(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let group = api.empty_group("g").await;
    for _ in 0..2 {
        api.draft(&group).await;
    }
    let this = json!({ "campaign_id": campaign });
    for (path, body, list) in [
        ("campaign/list", json!({}), "campaigns"),
        ("customer-group/list", json!({}), "customer_groups"),
        ("audit/list", json!({}), "entries"),
        ("campaign/rerun/history", this, "runs"),
    ] {
        let whole = body_of(&api.ok(path, body.clone()).await, list);
        let mut request = body;
        request["limit"] = json!(1);
        let first = api.ok(path, request.clone()).await;
        // A row for every list.
        let added = api.group("Added", SUMMER).await;
        api.draft(&added).await;
        api.initiate(&campaign, &added).await.ok();
        api.cancel(&campaign).await;
        request["cursor"] = first["next_cursor"].clone();
        request["limit"] = json!(10_000);
        let rest = body_of(&api.ok(path, request).await, list);
        let seen: Vec<Value> = body_of(&first, list).into_iter().chain(rest).collect();
        let names = |items: &[Value]| -> Vec<Value> {
            let name = |item: &Value| item.get("id").unwrap_or(&item["run_number"]).clone();
            items.iter().map(name).collect()
        };
        assert_eq!(names(&seen), names(&whole), "{path}");
    }
}

/// A list that began before a rerun goes on with the run that it began with.
async fn a_list_of_messages_goes_on_with_its_run(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let whole = api.messages(&campaign).await;
    let first = json!({ "campaign_id": campaign, "limit": 1 });
    let first = api.ok("campaign/rerun/messages", first).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    let rest = json!({ "campaign_id": campaign, "cursor": first["next_cursor"] });
    let rest = api.ok("campaign/rerun/messages", rest).await;
    assert_eq!(rest["run_number"], 1);
    let ids: Vec<Value> = body_of(&first, "messages")
        .into_iter()
        .chain(body_of(&rest, "messages"))
        .map(|message| message["id"].clone())
        .collect();
    let expected: Vec<Value> = whole.iter().map(|message| message["id"].clone()).collect();
    assert_eq!(ids, expected);
}
