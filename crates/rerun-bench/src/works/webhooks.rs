//! What webhooks cost a rerun, and what a receiver that hangs costs the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::only_server;
use super::reuse::{Compared, once};
use crate::api::{self, Account, Api};
use crate::bench::{Bench, Turns};
use crate::figures::{Cpu, Figures, Timed, Turn};
use crate::listener::listen;
use crate::load::Load;
use crate::seed::{self, Audience, Subject};
use crate::{Failure, Outcome, cpu, progress};

/// With these the server delivers events to the benchmark's receivers.
const SETTINGS: [(&str, &str); 3] = [
    (
        "RERUN_WEBHOOK_SECRET",
        "what the secrets of the benchmark come from",
    ),
    ("RERUN_WEBHOOK_ALLOW_HTTP", "true"),
    ("RERUN_WEBHOOK_ALLOW_NETS", "127.0.0.1"),
];

/// How many webhooks an account may have.
const WEBHOOKS: u32 = 20;

/// How many deliveries to a webhook are on their way at once.
const AT_ONCE: usize = 4;

/// Two per cent is less than one rerun differs from the next: so many times the usual turns.
const MORE_ROUNDS: u32 = 10;

/// How often an event is made: twenty a second for each of two accounts.
const EVERY: Duration = Duration::from_millis(25);

/// For how many turns events are made.
const WATCHED_TURNS: u32 = 10;

/// How often it is looked whether deliveries are done.
const POLL: Duration = Duration::from_millis(5);

/// The longest wait for deliveries.
const PATIENCE: Duration = Duration::from_mins(2);

fn create(
    api: &mut Api,
    account: &Account,
    (receiver, path): (SocketAddr, &str),
    after: Option<u32>,
) -> Outcome<Uuid> {
    let url = format!("http://{receiver}{path}");
    let webhook = json!({ "url": url, "after_sequence": after });
    let made = api.call(account, "webhook/create", &webhook)?;
    api::id(&made, "id")
}

/// Waits until something is so.
fn wait(what: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > end {
            return Err(format!("waited in vain for {what}").into());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn number(answer: &Value, field: &str) -> Outcome<u64> {
    let number = answer.get(field).and_then(Value::as_u64);
    number.ok_or_else(|| format!("no `{field}` in {answer}").into())
}

pub(super) fn initiate(bench: &mut Bench<'_>) -> Outcome<()> {
    let segments = bench.options.size(10_000);
    progress(&format!(
        "initiate-10k-webhooks: seeding a campaign of {segments} segments"
    ));
    bench.restart(&SETTINGS)?;
    let receiver = listen(|_, _| Some(String::new()))?;
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, Audience::of_segments(segments))?;
    // Two campaigns are never quite alike, so that one has webhooks in every other turn.
    let subject = RefCell::new(seed::published(&mut api, &account, group, segments)?);
    bench.settle()?;
    cpu::forget_peak(bench.server_id());
    let compared = Compared::measure(
        bench,
        bench.options.rounds() * MORE_ROUNDS,
        |bench| rerun_with_webhooks(bench, &mut subject.borrow_mut(), receiver),
        |bench| rerun(bench, &mut subject.borrow_mut()),
    )?;
    let (with, without) = compared.medians();
    let note = format!(
        "{:.3} × of {without:.1} ms without webhooks; to reach: 1.02 ×",
        with / without
    );
    bench.record_noting("initiate-10k-webhooks", &compared.with, 1, Some(note));
    bench.restart(&[])
}

/// One rerun of a campaign whose account has webhooks for just that time.
fn rerun_with_webhooks(
    bench: &Bench<'_>,
    subject: &mut Subject,
    receiver: SocketAddr,
) -> Outcome<Turn> {
    let mut api = bench.api()?;
    let mut webhooks = Vec::new();
    for _ in 0..WEBHOOKS {
        webhooks.push(create(&mut api, &subject.account, (receiver, "/"), None)?);
    }
    wait("deliveries", || is_delivered(&mut api, &subject.account))?;
    let turn = rerun(bench, subject)?;
    for id in webhooks {
        let gone = json!({ "webhook_id": id });
        api.call(&subject.account, "webhook/delete", &gone)?;
    }
    Ok(turn)
}

/// One rerun. What it started is published outside of the time that is measured.
fn rerun(bench: &Bench<'_>, subject: &mut Subject) -> Outcome<Turn> {
    let turn = once(bench, subject.initiate())?;
    let mut api = bench.api()?;
    subject.publish(&mut api)?;
    // Deliveries that go on would slow down whichever rerun comes next.
    wait("deliveries", || is_delivered(&mut api, &subject.account))?;
    Ok(turn)
}

/// Whether every webhook of an account has every event.
fn is_delivered(api: &mut Api, account: &Account) -> Outcome<bool> {
    let events = api.call(account, "event/list", &json!({ "limit": 1 }))?;
    let head = number(&events, "head_sequence")?;
    let listed = api.call(account, "webhook/list", &json!({}))?;
    let webhooks = listed.get("webhooks").and_then(Value::as_array);
    let mut delivered = webhooks
        .into_iter()
        .flatten()
        .map(|webhook| number(webhook, "delivered_sequence"));
    delivered.try_fold(true, |all, one| Ok(all && one? >= head))
}

/// What receivers got: by receiver and customer group the time at which the event about it came.
#[derive(Default)]
struct Arrivals(Mutex<HashMap<(String, String), Instant>>);

/// The receiver that hangs.
const HANGING: &str = "/hanging";

impl Arrivals {
    fn got(&self, path: &str, body: &[u8]) -> Option<String> {
        let now = Instant::now();
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let about = text("/data/customer_group_id").or_else(|| text("/id"));
        let key = (path.to_owned(), about.unwrap_or_default().to_owned());
        self.all(|all| {
            // A receiver may get an event again.
            all.entry(key).or_insert(now);
        });
        (path != HANGING).then(String::new)
    }

    fn all<T>(&self, job: impl FnOnce(&mut HashMap<(String, String), Instant>) -> T) -> T {
        job(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn at(&self, path: &str, about: &str) -> Option<Instant> {
        self.all(|all| all.get(&(path.to_owned(), about.to_owned())).copied())
    }

    /// How many events a receiver got.
    fn count(&self, path: &str) -> usize {
        self.all(|all| all.keys().filter(|(to, _)| to == path).count())
    }
}

/// The receivers that respond: of the account whose other webhook hangs, and of another account.
const RECEIVERS: [(&str, &str); 2] = [
    ("/same", "deliveries-beside-hanging-account"),
    ("/other", "deliveries-beside-hanging"),
];

pub(super) fn hanging(bench: &mut Bench<'_>) -> Outcome<()> {
    let pending = bench.options.size(10_000);
    progress(&format!(
        "deliveries-beside-hanging: seeding {pending} events"
    ));
    bench.restart(&SETTINGS)?;
    let arrivals = Arc::new(Arrivals::default());
    let receiver = listen({
        let arrivals = Arc::clone(&arrivals);
        move |path, body| arrivals.got(path, body)
    })?;
    let accounts = [bench.account()?, bench.account()?];
    let [same, _] = &accounts;
    let requests = vec![event(same); usize::try_from(pending)?];
    Load::open(bench.address(), super::CONNECTIONS)?.each(&requests)?;
    let mut api = bench.api()?;
    for (account, (path, _)) in accounts.iter().zip(RECEIVERS) {
        create(&mut api, account, (receiver, path), None)?;
    }
    bench.settle()?;
    let quiet = watch(bench, &accounts, &arrivals)?;
    // The server closes a connection that was idle for long.
    let mut api = bench.api()?;
    let hanging = create(&mut api, same, (receiver, HANGING), Some(0))?;
    let hanging = json!({ "webhook_id": hanging });
    let waiting = |api: &mut Api| number(&api.call(same, "webhook/get", &hanging)?, "pending");
    wait("deliveries to hang", || {
        Ok(waiting(&mut api)? >= pending.into() && arrivals.count(HANGING) >= AT_ONCE)
    })?;
    cpu::forget_peak(bench.server_id());
    let beside = watch(bench, &accounts, &arrivals)?;
    let waiting = waiting(&mut bench.api()?)?;
    for (((_, name), quiet), beside) in RECEIVERS.iter().zip(quiet).zip(beside) {
        let p99 = |turns: &Turns| Figures::of(&turns.server, 1).p99_ms;
        let note = format!(
            "p99 is {:.0} ms without it; to reach: 1 s with it. {waiting} deliveries were pending",
            p99(&quiet)
        );
        if bench.wants(name) {
            bench.record_noting(name, &beside, 1, Some(note));
        }
    }
    bench.restart(&[])
}

/// A request that makes an event.
fn event(account: &Account) -> Vec<u8> {
    account.request("customer-group/create", &json!({ "name": "Audience" }))
}

/// Makes events in both accounts in turn. How long each took from its request, within which it is committed, to its
/// receiver.
fn watch(bench: &Bench<'_>, accounts: &[Account; 2], arrivals: &Arrivals) -> Outcome<[Turns; 2]> {
    let mut api = bench.api()?;
    let begun = Instant::now();
    let mut due = begun;
    let mut made = [Vec::new(), Vec::new()];
    while due < begun + bench.turn_length() * WATCHED_TURNS {
        for (account, made) in accounts.iter().zip(&mut made) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += EVERY;
            let sent = Instant::now();
            let group = seed::empty_group(&mut api, account)?;
            made.push((sent, group.to_string()));
        }
    }
    let wall = begun.elapsed();
    let mut measured = Vec::new();
    for (made, (path, _)) in made.into_iter().zip(RECEIVERS) {
        wait("events at a receiver", || {
            Ok(made
                .iter()
                .all(|(_, group)| arrivals.at(path, group).is_some()))
        })?;
        let latencies = made.iter().filter_map(|(sent, group)| {
            Some(arrivals.at(path, group)?.saturating_duration_since(*sent))
        });
        let latencies = latencies.collect();
        measured.push(only_server(vec![Turn {
            timed: Timed { latencies, wall },
            cpu: Cpu::default(),
        }]));
    }
    measured
        .try_into()
        .map_err(|_other| Failure::from("not as many receivers as accounts"))
}
