//! Reruns whose segments all match, and their preview.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use uuid::Uuid;

use super::CONNECTIONS;
use super::reads::{Pages, measure, messages_page};
use crate::api::{self, Account, Api};
use crate::bench::{Bench, Turns};
use crate::figures::Turn;
use crate::floor::{self, Call, Floor, Session};
use crate::load::Load;
use crate::seed::{self, Audience, FIELDS, FIELDS_JSON, Subject};
use crate::{Outcome, progress};

/// Bare SQL that a [`Rerun`] consists of, in the order of the sessions' statements.
const STATEMENTS: [&str; 2] = [floor::INITIATE, floor::COUNT];

/// Up to so many segments a rerun is planned in more time than it takes.
const FEW: u32 = 100;

#[expect(
    clippy::disallowed_methods,
    reason = "the floor makes ids as the server does: in the order of time"
)]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Twenty hexadecimal digits that the ids of a run's messages begin with: the time, then a number
/// that no other run has.
fn message_prefix(job: &Uuid) -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let time: String = job.simple().to_string().chars().take(12).collect();
    format!("{time}7{:03x}8{:03x}", run >> 12 & 0xfff, run & 0xfff)
}

/// How a rerun is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rerun {
    /// The segments' counts are there.
    Kept,
    /// The group has changed, so that its segments are to be counted.
    First,
}

/// Campaigns that the server and bare SQL start reruns of in turn.
pub(crate) struct ByTurns {
    pub(crate) server: Vec<Subject>,
    pub(crate) floor: Vec<Subject>,
}

fn sql(subject: &Subject, how: Rerun) -> (Vec<Call>, i64) {
    let job = new_id();
    let prefix = message_prefix(&job);
    let count: Call = (
        1,
        vec![
            Box::new(subject.account.id),
            Box::new(subject.group),
            Box::new(FIELDS[0]),
            Box::new(FIELDS[1]),
            Box::new(FIELDS_JSON),
        ],
    );
    let initiate: Call = (
        0,
        vec![
            Box::new(subject.account.id),
            Box::new(subject.campaign),
            Box::new(subject.group),
            Box::new(FIELDS_JSON),
            Box::new(subject.run),
            Box::new(prefix),
            Box::new(job),
        ],
    );
    let calls = match how {
        Rerun::Kept => vec![initiate],
        Rerun::First => vec![count, initiate],
    };
    (calls, i64::from(subject.segments))
}

impl ByTurns {
    /// Turns in which every campaign is rerun once by the one side, and once by the other. What
    /// was started is published before the next turn, outside of the time that is measured.
    pub(crate) fn measure(
        &mut self,
        bench: &Bench<'_>,
        how: Rerun,
        connections: usize,
        rounds: u32,
    ) -> Outcome<Turns> {
        let few = self.floor.iter().all(|subject| subject.segments <= FEW);
        let connect = if few {
            Floor::sessions
        } else {
            Floor::sessions_for_many
        };
        let mut sessions = bench
            .floor()
            .map(|floor| connect(floor, connections, &STATEMENTS))
            .transpose()?
            .unwrap_or_default();
        let (server, floor) = (&mut self.server, &mut self.floor);
        bench.turns(
            rounds,
            true,
            |bench| by_server(bench, server, how, connections),
            |bench, sql| {
                if !few {
                    sql.prepare_again(&mut sessions)?;
                }
                by_floor(bench, sql, &sessions, floor, how)
            },
        )
    }
}

fn by_server(
    bench: &Bench<'_>,
    subjects: &mut [Subject],
    how: Rerun,
    connections: usize,
) -> Outcome<Turn> {
    prepare(bench, subjects, how)?;
    let requests: Vec<Vec<u8>> = subjects.iter().map(Subject::initiate).collect();
    let mut load = Load::open(bench.address(), connections)?;
    let turn = bench.meter().turn(|| load.each(&requests))?;
    publish(bench, subjects)?;
    Ok(turn)
}

fn by_floor(
    bench: &Bench<'_>,
    sql_floor: &Floor,
    sessions: &[Session],
    subjects: &mut [Subject],
    how: Rerun,
) -> Outcome<Turn> {
    prepare(bench, subjects, how)?;
    let jobs: Vec<(Vec<Call>, i64)> = subjects.iter().map(|subject| sql(subject, how)).collect();
    let turn = bench.meter().turn(|| sql_floor.each(sessions, &jobs))?;
    publish(bench, subjects)?;
    Ok(turn)
}

fn publish(bench: &Bench<'_>, subjects: &mut [Subject]) -> Outcome<()> {
    seed::parallel(bench.address(), subjects, |api, subject| {
        subject.publish(api)
    })?;
    Ok(())
}

/// Changes the group for a first time, so that what is kept of it is dropped.
fn prepare(bench: &Bench<'_>, subjects: &[Subject], how: Rerun) -> Outcome<()> {
    if how == Rerun::Kept {
        return Ok(());
    }
    subjects
        .iter()
        .try_for_each(|subject| change(bench, subject))
}

/// Changes the subject's group, in a field that makes no segments.
pub(super) fn change(bench: &Bench<'_>, subject: &Subject) -> Outcome<()> {
    let csv = format!("customer_ref,plan\n{},{}\n", Audience::FIRST, new_id());
    bench
        .api()?
        .import(&subject.account, subject.group, csv.as_bytes())?;
    Ok(())
}

/// As many campaigns for each account, on one group for each account.
fn fleet(
    bench: &Bench<'_>,
    accounts: &[Account],
    each: u32,
    segments: u32,
) -> Outcome<Vec<Subject>> {
    let fleets = seed::parallel(bench.address(), accounts, |api, account| {
        let group = seed::group(api, account, Audience::of_segments(segments))?;
        (0..each)
            .map(|_| seed::published(api, account, group, segments))
            .collect::<Outcome<Vec<_>>>()
    })?;
    // Connections take every so many of them: each gets campaigns of one account.
    let mut fleets: Vec<_> = fleets.into_iter().map(Vec::into_iter).collect();
    let mut subjects = Vec::new();
    for _ in 0..each {
        subjects.extend(fleets.iter_mut().filter_map(Iterator::next));
    }
    Ok(subjects)
}

fn fleets(bench: &mut Bench<'_>, accounts: u32, each: u32) -> Outcome<ByTurns> {
    let (ours, theirs) = (bench.accounts(accounts)?, bench.accounts(accounts)?);
    let made = ByTurns {
        server: fleet(bench, &ours, each, 50)?,
        floor: fleet(bench, &theirs, each, 50)?,
    };
    bench.settle()?;
    Ok(made)
}

pub(super) fn small(bench: &mut Bench<'_>) -> Outcome<()> {
    let each = bench.options.size(200) / 10;
    progress(&format!("initiate-50: seeding {} campaigns", 32 * each));
    let mut campaigns = fleets(bench, 16, each)?;
    for (name, connections) in [("initiate-50-c1", 1), ("initiate-50-c16", CONNECTIONS)] {
        if bench.wants(name) {
            let rounds = bench.options.rounds();
            let turns = campaigns.measure(bench, Rerun::Kept, connections, rounds)?;
            bench.record(name, &turns, 1);
        }
    }
    Ok(())
}

pub(super) fn one_account(bench: &mut Bench<'_>) -> Outcome<()> {
    let each = bench.options.size(3_200) / 10;
    progress(&format!(
        "initiate-50-c16-account: seeding {} campaigns",
        2 * each
    ));
    let mut campaigns = fleets(bench, 1, each)?;
    let rounds = bench.options.rounds();
    let turns = campaigns.measure(bench, Rerun::Kept, CONNECTIONS, rounds)?;
    bench.record("initiate-50-c16-account", &turns, 1);
    Ok(())
}

/// What accounts do beside each other: a rerun of each, and pages of each in turn.
pub(super) fn many_accounts(bench: &mut Bench<'_>) -> Outcome<()> {
    let accounts = bench.options.size(1_000);
    progress(&format!("1k-accounts: seeding {} accounts", 2 * accounts));
    let mut campaigns = fleets(bench, accounts, 1)?;
    if bench.wants("messages-1k-accounts") {
        let mut api = bench.api()?;
        let mut pages = Pages::default();
        for subject in &campaigns.server {
            pages.add(messages_page(&mut api, subject, 50, None)?);
        }
        let turns = measure(bench, &pages, CONNECTIONS)?;
        bench.record("messages-1k-accounts", &turns, 1);
    }
    if bench.wants("initiate-50-1k-accounts") {
        let rounds = bench.options.rounds();
        let turns = campaigns.measure(bench, Rerun::Kept, CONNECTIONS, rounds)?;
        bench.record("initiate-50-1k-accounts", &turns, 1);
    }
    Ok(())
}

/// A campaign for each side, both on one group.
pub(crate) fn pair(bench: &mut Bench<'_>, audience: Audience) -> Outcome<ByTurns> {
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, audience)?;
    let mut one = || seed::published(&mut api, &account, group, audience.segments);
    let pair = ByTurns {
        server: vec![one()?],
        floor: vec![one()?],
    };
    bench.settle()?;
    Ok(pair)
}

fn kept_and_first(bench: &mut Bench<'_>, name: &str, audience: Audience) -> Outcome<ByTurns> {
    let Audience {
        customers,
        segments,
    } = audience;
    progress(&format!(
        "{name}: seeding {customers} customers in {segments} segments"
    ));
    let mut pair = pair(bench, audience)?;
    for (suffix, how) in [("kept", Rerun::Kept), ("first", Rerun::First)] {
        let name = format!("{name}-{suffix}");
        if bench.wants(&name) {
            let rounds = bench.options.rounds() * 2;
            let turns = pair.measure(bench, how, 1, rounds)?;
            bench.record(&name, &turns, 1);
        }
    }
    Ok(pair)
}

pub(super) fn medium(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(100_000),
        segments: bench.options.size(1_000),
    };
    kept_and_first(bench, "initiate-1k", audience).map(drop)
}

pub(super) fn large(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(20_000),
        segments: bench.options.size(10_000),
    };
    kept_and_first(bench, "initiate-10k", audience).map(drop)
}

pub(super) fn huge(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(1_000_000),
        segments: bench.options.size(10_000),
    };
    let pair = kept_and_first(bench, "initiate-10k-1m", audience)?;
    if bench.wants("preview-10k-1m") {
        for subject in &pair.server {
            preview(bench, subject)?;
        }
    }
    Ok(())
}

fn preview(bench: &mut Bench<'_>, subject: &Subject) -> Outcome<()> {
    let mut api = Api::open(bench.address())?;
    let group = json!({ "new_customer_group_id": subject.group });
    let answer = subject.call(&mut api, "campaign/rerun/preview", &group)?;
    let rows = api::length(&answer, "items")?;
    let request = subject.request("campaign/rerun/preview", &group);
    let pages = Pages {
        requests: vec![request],
        sql: floor::PREVIEW,
        values: vec![vec![
            subject.account.id.to_string(),
            subject.campaign.to_string(),
            subject.group.to_string(),
            FIELDS_JSON.to_owned(),
            subject.run.to_string(),
            rows.to_string(),
        ]],
        rows,
    };
    let turns = measure(bench, &pages, 1)?;
    bench.record("preview-10k-1m", &turns, 1);
    Ok(())
}
