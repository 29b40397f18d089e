use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use rerun_core::ports::MockEventLog;
use uuid::Uuid;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn account(n: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(n))
}

/// The newest event of account 1, and how often it was asked for.
#[derive(Default)]
struct Log {
    head: AtomicI64,
    asked: AtomicUsize,
    most: AtomicUsize,
}

fn events(log: &Arc<Log>) -> Events {
    let mut port = MockEventLog::new();
    let log = Arc::clone(log);
    port.expect_event_heads().returning(move |accounts| {
        log.asked.fetch_add(1, Ordering::SeqCst);
        log.most.fetch_max(accounts.len(), Ordering::SeqCst);
        Ok(vec![(account(1), log.head.load(Ordering::SeqCst))])
    });
    Events::new(Arc::new(port))
}

#[tokio::test(start_paused = true)]
async fn one_look_up_serves_all_who_wait() {
    let (log, waiters) = (Arc::new(Log::default()), Waiters::default());
    let (events, readiness) = (events(&log), Readiness::default());
    let until = Instant::now() + SOON;
    let all = (0..1_000_u128).map(|n| {
        let (events, waiters, readiness) = (&events, &waiters, &readiness);
        async move {
            let done = waiters.wait(events, (account(n % 4), 5), until, readiness);
            done.await.unwrap();
            (n % 4, Instant::now())
        }
    });
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        log.head.store(6, Ordering::SeqCst);
        Instant::now()
    };
    let (done, written) = tokio::join!(futures_util::future::join_all(all), write);
    for (account, at) in done {
        if account == 1 {
            assert!(at - written <= INTERVAL, "{:?}", at - written);
        } else {
            assert_eq!(at, until);
        }
    }
    assert_eq!(log.most.load(Ordering::SeqCst), 4);
    // One each tenth of a second, and one more for each who took over.
    let asked = log.asked.load(Ordering::SeqCst);
    assert!((190..=205).contains(&asked), "{asked}");
    assert!(waiters.accounts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_when_the_server_stops() {
    let (log, waiters) = (Arc::new(Log::default()), Waiters::default());
    let (events, readiness) = (events(&log), Readiness::default());
    let from = Instant::now();
    let wait = |n| waiters.wait(&events, (account(n), 0), from + SOON, &readiness);
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        readiness.set(false);
    };
    let (one, other, ()) = tokio::join!(wait(1), wait(2), stop);
    assert!(one.is_ok() && other.is_ok());
    assert!(from.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_look_up_is_told() {
    let mut port = MockEventLog::new();
    port.expect_event_heads()
        .returning(|_| Err(StoreError::Unavailable("away".into())));
    let events = Events::new(Arc::new(port));
    let (waiters, readiness) = (Waiters::default(), Readiness::default());
    let until = Instant::now() + SOON;
    let wait = |n| waiters.wait(&events, (account(n), 0), until, &readiness);
    let (one, other) = tokio::join!(wait(1), wait(2));
    assert!(one.is_err() && other.is_err());
}
