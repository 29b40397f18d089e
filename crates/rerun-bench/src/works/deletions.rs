//! Reads of an account while a campaign and a customer group of another account are deleted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::only_server;
use super::reads::{many_runs, messages_page};
use crate::bench::{Bench, Turns};
use crate::figures::{Cpu, Figures, Timed, Turn};
use crate::load::Load;
use crate::seed::{self, Audience, Subject};
use crate::{Failure, Outcome, cpu, progress};

/// How many connections read.
const READERS: usize = 4;

/// How often each of them reads: together 200 times a second.
const EVERY: Duration = Duration::from_millis(20);

/// How often the database is asked whether everything is gone.
const POLL: Duration = Duration::from_millis(250);

/// How much longer than a turn the reads go on before anything is deleted.
const QUIET_TURNS: u32 = 5;

/// How many runs the campaign has that is deleted.
const RUNS: u32 = 20;

/// What is deleted, and how long that took.
struct Deleted {
    messages: u64,
    customers: u64,
    /// The two requests.
    asked: Duration,
    /// From the first request until nothing was left.
    all: Duration,
}

pub(super) fn deletions(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(1_000_000),
        segments: bench.options.size(100_000),
    };
    progress(&format!(
        "reads-beside-deletions: seeding {RUNS} runs of {} messages and {} customers",
        audience.segments, audience.customers
    ));
    let accounts = (bench.account()?, bench.account()?);
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &accounts.0, audience)?;
    let mut victim = seed::published(&mut api, &accounts.0, group, audience.segments)?;
    let to = json!({ "new_customer_group_id": group });
    for _ in 1..RUNS {
        victim.call(&mut api, "campaign/rerun/initiate", &to)?;
        victim.publish(&mut api)?;
    }
    let read = many_runs(&mut api, &accounts.1, 50, 20)?;
    let pages = messages_page(&mut api, &read, 50, None)?;
    let mut requests = pages.requests;
    requests.push(read.request("campaign/rerun/history", &json!({})));
    bench.settle()?;

    cpu::forget_peak(bench.server_id());
    let end = Instant::now() + bench.turn_length() * QUIET_TURNS;
    let quiet =
        Load::open(bench.address(), READERS)?.pace(&requests, EVERY, || Instant::now() >= end)?;
    let mut beside = Load::open(bench.address(), READERS)?;
    let ended = AtomicBool::new(false);
    let (beside, deleted) = thread::scope(|scope| {
        let reads = scope.spawn(|| beside.pace(&requests, EVERY, || ended.load(Ordering::Relaxed)));
        let deleted = delete(bench, &victim);
        ended.store(true, Ordering::Relaxed);
        let beside = reads
            .join()
            .map_err(|_panic| Failure::from("a reader panicked"))?;
        Ok::<_, Failure>((beside?, deleted?))
    })?;
    record(bench, quiet, beside, &deleted);
    Ok(())
}

/// Deletes the campaign, then its group, and waits until all of their rows are gone.
fn delete(bench: &Bench<'_>, victim: &Subject) -> Outcome<Deleted> {
    let mut api = bench.api()?;
    let start = Instant::now();
    let campaign = victim.call(&mut api, "campaign/delete", &json!({}))?;
    let group = json!({ "customer_group_id": victim.group });
    let group = api.call(&victim.account, "customer-group/delete", &group)?;
    let asked = start.elapsed();
    while !bench.is_swept()? {
        thread::sleep(POLL);
    }
    Ok(Deleted {
        messages: count(&campaign, "deleted_messages")?,
        customers: count(&group, "deleted_customers")?,
        asked,
        all: start.elapsed(),
    })
}

fn count(answer: &Value, field: &str) -> Outcome<u64> {
    let count = answer.get(field).and_then(Value::as_u64);
    count.ok_or_else(|| format!("no `{field}` in {answer}").into())
}

fn record(bench: &mut Bench<'_>, quiet: Timed, beside: Timed, deleted: &Deleted) {
    let turns = |timed| {
        only_server(vec![Turn {
            timed,
            cpu: Cpu::default(),
        }])
    };
    let (quiet, beside) = (turns(quiet), turns(beside));
    let p99 = |turns: &Turns| Figures::of(&turns.server, 1).p99_ms;
    let note = format!(
        "p99 is {:.2} × of {:.1} ms in quiet; to reach: 3 ×. {} messages and {} customers were \
         deleted by two requests in {:.0} ms, and were gone after {:.0} s",
        p99(&beside) / p99(&quiet),
        p99(&quiet),
        deleted.messages,
        deleted.customers,
        deleted.asked.as_secs_f64() * 1e3,
        deleted.all.as_secs_f64(),
    );
    bench.record_noting("reads-beside-deletions", &beside, 1, Some(note));
}
