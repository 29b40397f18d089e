//! What a pool of connections tells of its use.

use std::sync::mpsc;
use std::time::Duration;

use diesel::SqliteConnection;
use rerun_core::error::StoreError;
use rerun_diesel::pool::{Database, Options};

#[tokio::test(flavor = "multi_thread")]
async fn use_and_waits_are_told() {
    let options = Options {
        pool_size: 1,
        acquire_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let database = Database::<SqliteConnection>::open(":memory:", &options, |_| Ok(()));
    let database = database.expect("a database in memory");
    let usage = database.usage();
    assert_eq!((usage.size, usage.in_use, usage.idle), (1, 0, 1));
    assert_eq!(usage.waits.jobs.iter().sum::<u64>(), 0);

    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let long = tokio::spawn({
        let database = database.clone();
        async move {
            let job = move |_: &mut SqliteConnection| {
                begun.send(()).expect("a test that waits");
                may_end.recv().expect("a test that ends it");
                Ok(())
            };
            database.run(job).await
        }
    });
    has_begun.recv().expect("a job that runs");
    let refused = database.run(|_| Ok(())).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let usage = database.usage();
    assert_eq!((usage.in_use, usage.idle), (1, 0));
    assert_eq!((usage.waiting, usage.timeouts), (0, 1));
    assert_eq!(usage.waits.jobs.iter().sum::<u64>(), 2);
    let more_than_ten_millis: u64 = usage.waits.jobs.iter().skip(3).sum();
    assert!(more_than_ten_millis >= 1, "{usage:?}");
    assert!(usage.waits.total_micros >= 20_000, "{usage:?}");

    end.send(()).expect("a job that runs");
    long.await.expect("a job").expect("its answer");
    let wait = database.wait();
    let usage = database.usage();
    assert_eq!((usage.in_use, usage.idle, usage.waiting), (0, 1, 1));
    database.run_after(wait, |_| Ok(())).await.expect("a turn");
    let usage = database.usage();
    assert_eq!((usage.waiting, usage.timeouts), (0, 1));
    assert_eq!(usage.waits.jobs.iter().sum::<u64>(), 3);
}
