//! Pages of history and of messages.

use serde_json::{Value, json};

use super::{CONNECTIONS, bulk};
use crate::api::{self, Account, Api};
use crate::bench::{Bench, Turns};
use crate::floor;
use crate::load::Load;
use crate::seed::{self, Audience, Subject};
use crate::{Failure, Outcome, progress};

/// The most rows of a page, where the request says nothing else.
const DEFAULT_LIMIT: i64 = 1_000;

/// What the load repeats: requests in turn, and bare SQL with the values of each in turn, and the
/// number of rows that it answers.
#[derive(Default)]
pub(super) struct Pages<'a> {
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) sql: &'a str,
    pub(super) values: Vec<Vec<String>>,
    pub(super) rows: usize,
}

impl Pages<'_> {
    /// Adds other pages of the same statement and the same number of rows.
    pub(super) fn add(&mut self, more: Self) {
        self.requests.extend(more.requests);
        self.values.extend(more.values);
        self.sql = more.sql;
        self.rows = more.rows;
    }
}

/// Lets the server and bare SQL repeat pages in turn.
pub(super) fn measure(bench: &Bench<'_>, pages: &Pages<'_>, connections: usize) -> Outcome<Turns> {
    bench.turns(
        bench.options.rounds(),
        true,
        |bench| {
            let mut load = Load::open(bench.address(), connections)?;
            bench
                .meter()
                .turn(|| load.repeat(&pages.requests, bench.turn_length()))
        },
        |bench, floor| {
            let mut load = floor.repeaters(connections, pages.sql, &pages.values)?;
            bench
                .meter()
                .turn(|| load.repeat(pages.rows, bench.turn_length()))
        },
    )
}

fn values(subject: &Subject, after: i32, limit: i64) -> Vec<String> {
    let Subject {
        account, campaign, ..
    } = subject;
    vec![
        account.id.to_string(),
        campaign.to_string(),
        after.to_string(),
        limit.to_string(),
    ]
}

/// Fails unless an answer has so many items: a benchmark of something else is worth nothing.
fn expect(answer: &Value, list: &str, items: usize) -> Outcome<()> {
    let found = api::length(answer, list)?;
    if found == items {
        Ok(())
    } else {
        Err(format!("{found} `{list}` in place of {items}").into())
    }
}

fn size(number: u32) -> Outcome<usize> {
    Ok(usize::try_from(number)?)
}

/// A campaign with so many runs of a few segments, taken to two groups in turn.
pub(crate) fn many_runs(
    api: &mut Api,
    account: &Account,
    segments: u32,
    runs: u32,
) -> Outcome<Subject> {
    let audience = Audience::of_segments(segments);
    let groups = [
        seed::group(api, account, audience)?,
        seed::group(api, account, audience)?,
    ];
    let [first, _] = groups;
    let mut subject = seed::published(api, account, first, segments)?;
    for (_, group) in (1..runs).zip(groups.into_iter().cycle().skip(1)) {
        subject.call(
            api,
            "campaign/rerun/initiate",
            &json!({ "new_customer_group_id": group }),
        )?;
        subject.publish(api)?;
    }
    Ok(subject)
}

pub(super) fn history(bench: &mut Bench<'_>) -> Outcome<()> {
    progress("history: seeding");
    let account = bench.account()?;
    let runs = 20;
    let mut api = bench.api()?;
    let subject = many_runs(&mut api, &account, 50, runs)?;
    bench.settle()?;
    let answer = subject.call(&mut api, "campaign/rerun/history", &json!({}))?;
    expect(&answer, "runs", size(runs)?)?;
    let pages = Pages {
        requests: vec![subject.request("campaign/rerun/history", &json!({}))],
        sql: floor::HISTORY,
        values: vec![values(&subject, i32::MAX, DEFAULT_LIMIT + 1)],
        rows: size(runs)?,
    };
    let turns = measure(bench, &pages, CONNECTIONS)?;
    bench.record("history", &turns, 1);
    Ok(())
}

/// Turns of a page of 50 runs of the history from its middle.
pub(crate) fn history_turns(
    bench: &Bench<'_>,
    subject: &Subject,
    connections: usize,
) -> Outcome<Turns> {
    let mut api = bench.api()?;
    let newer = subject.run / 2;
    let half = subject.call(
        &mut api,
        "campaign/rerun/history",
        &json!({ "limit": newer }),
    )?;
    let more = json!({ "limit": 50, "cursor": half.get("next_cursor") });
    let answer = subject.call(&mut api, "campaign/rerun/history", &more)?;
    let left = size(u32::try_from(subject.run - newer)?)?;
    expect(&answer, "runs", left.min(50))?;
    let pages = Pages {
        requests: vec![subject.request("campaign/rerun/history", &more)],
        sql: floor::HISTORY,
        values: vec![values(subject, subject.run - newer + 1, 51)],
        rows: left.min(51),
    };
    measure(bench, &pages, connections)
}

pub(super) fn history_deep(bench: &mut Bench<'_>) -> Outcome<()> {
    let runs = bench.options.size(10_000);
    progress(&format!("history-deep: seeding {runs} runs"));
    let account = bench.account()?;
    let subject = many_runs(&mut bench.api()?, &account, 1, runs)?;
    bench.settle()?;
    let turns = history_turns(bench, &subject, CONNECTIONS)?;
    bench.record("history-deep", &turns, 1);
    Ok(())
}

fn published(bench: &mut Bench<'_>, segments: u32) -> Outcome<Subject> {
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, Audience::of_segments(segments))?;
    let subject = seed::published(&mut api, &account, group, segments)?;
    bench.settle()?;
    Ok(subject)
}

/// The page of a subject's messages after a place.
pub(super) fn messages_page<'a>(
    api: &mut Api,
    subject: &Subject,
    limit: u32,
    after: Option<(i32, String)>,
) -> Outcome<Pages<'a>> {
    let (after, cursor) = after.unzip();
    let more = json!({ "limit": limit, "cursor": cursor });
    let answer = subject.call(api, "campaign/rerun/messages", &more)?;
    let after = after.unwrap_or(0);
    let left = size(subject.segments)? - size(u32::try_from(after)?)?;
    expect(&answer, "messages", left.min(size(limit)?))?;
    Ok(Pages {
        requests: vec![subject.request("campaign/rerun/messages", &more)],
        sql: floor::MESSAGES,
        values: vec![values(subject, after, i64::from(limit) + 1)],
        rows: left.min(size(limit)? + 1),
    })
}

pub(super) fn messages(bench: &mut Bench<'_>) -> Outcome<()> {
    let segments = bench.options.size(1_000);
    progress(&format!("messages: seeding {segments} messages"));
    let subject = published(bench, segments)?;
    let pages = messages_page(&mut bench.api()?, &subject, 50, None)?;
    let turns = measure(bench, &pages, CONNECTIONS)?;
    bench.record("messages", &turns, 1);
    Ok(())
}

pub(super) fn messages_100k(bench: &mut Bench<'_>) -> Outcome<()> {
    let segments = bench.options.size(100_000);
    progress(&format!("messages-100k: seeding {segments} messages"));
    let subject = published(bench, segments)?;
    if bench.wants("messages-100k-first") {
        let pages = messages_page(&mut bench.api()?, &subject, 100, None)?;
        let turns = measure(bench, &pages, CONNECTIONS)?;
        bench.record("messages-100k-first", &turns, 1);
    }
    if bench.wants("messages-100k-deep") {
        let deep = cursor(&mut bench.api()?, &subject, segments / 10 * 9)?;
        let pages = messages_page(&mut bench.api()?, &subject, 100, Some(deep))?;
        let turns = measure(bench, &pages, CONNECTIONS)?;
        bench.record("messages-100k-deep", &turns, 1);
    }
    if bench.wants("export-100k") {
        bulk::export(bench, &subject)?;
    }
    Ok(())
}

/// The cursor after so many messages, with the number of the segment that it stands at.
fn cursor(api: &mut Api, subject: &Subject, messages: u32) -> Outcome<(i32, String)> {
    let mut cursor: Option<String> = None;
    let mut left = messages;
    while left > 0 {
        let limit = left.min(10_000);
        let more = json!({ "limit": limit, "cursor": cursor });
        let answer = subject.call(api, "campaign/rerun/messages", &more)?;
        cursor = Some(api::text(&answer, "next_cursor")?.to_owned());
        left -= limit;
    }
    let cursor = cursor.ok_or_else(|| Failure::from("no messages to page through"))?;
    Ok((i32::try_from(messages)?, cursor))
}
