//! How long work on the schema waits for a database that may hang.
//!
//! A migration may take hours, so its statements have no limit. To libpq, a server that hangs looks
//! like a busy one: its sockets are open. So another connection checks whether the server responds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use rerun_diesel::MigrateError;

/// How long [`migrate_within`](crate::migrate_within) and the functions beside it wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long to wait for a lock that another session holds on the schema or on a table.
    pub lock: Duration,
    /// How long to wait for an answer of the server.
    pub answer: Duration,
}

impl Default for Patience {
    /// 5 minutes for a lock, and 30 seconds for an answer of the server.
    fn default() -> Self {
        Self {
            lock: Duration::from_mins(5),
            answer: Duration::from_secs(30),
        }
    }
}

/// libpq takes a shorter `connect_timeout` for this one. A connection that fails before was refused
/// by somebody.
const SHORTEST_CONNECT: Duration = Duration::from_secs(2);

/// How often the state of the work is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Whether the one who waits for some work has gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Whether nobody waits for the work any more, so that it must not be committed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// When work is given up that is not done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// After this time.
    Total(Duration),
    /// After this time without an answer of the server.
    Silence(Duration),
}

enum News<T> {
    Done(Result<T, MigrateError>),
    /// Whether the server was there.
    Probed(bool),
}

/// Whether a server answers on a new connection. It may wait for ever.
fn is_there(conninfo: &str) -> bool {
    let begun = Instant::now();
    match PgConnection::establish(conninfo) {
        Ok(mut connection) => connection.batch_execute("SELECT 1").is_ok(),
        Err(_refused) => begun.elapsed() < SHORTEST_CONNECT,
    }
}

fn start<T: Send + 'static>(
    news: &Sender<News<T>>,
    work: impl FnOnce() -> News<T> + Send + 'static,
) -> Result<thread::JoinHandle<()>, MigrateError> {
    let news = news.clone();
    thread::Builder::new()
        .name("schema".to_owned())
        .spawn(move || {
            let _nobody_waits = news.send(work());
        })
        .map_err(|error| MigrateError::Failed(error.into()))
}

/// Runs work in a thread, and waits for it while the server is there. The thread of work that is
/// given up stays behind.
pub(crate) fn watched<T: Send + 'static>(
    conninfo: &str,
    limit: Limit,
    work: impl FnOnce(&GivenUp) -> Result<T, MigrateError> + Send + 'static,
) -> Result<T, MigrateError> {
    let given_up = GivenUp::default();
    let (sender, news) = channel();
    let seen = given_up.clone();
    let worker = start(&sender, move || News::Done(work(&seen)))?;
    let (patience, probes) = match limit {
        Limit::Total(patience) => (patience, false),
        Limit::Silence(patience) => (patience, true),
    };
    let mut heard = Instant::now();
    let mut is_probing = false;
    loop {
        // What the worker sent before it ended is received below.
        let has_ended = worker.is_finished();
        match news.recv_timeout(TICK) {
            Ok(News::Done(done)) => return done,
            Ok(News::Probed(answered)) => {
                is_probing = false;
                if answered {
                    heard = Instant::now();
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if has_ended => {
                return Err(MigrateError::Failed("its thread has ended".into()));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if heard.elapsed() >= patience {
            given_up.0.store(true, Ordering::SeqCst);
            return Err(MigrateError::Silent(patience));
        }
        if probes && !is_probing && heard.elapsed() >= patience / 4 {
            let conninfo = conninfo.to_owned();
            start(&sender, move || News::Probed(is_there(&conninfo)))?;
            is_probing = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_without_a_result_is_not_waited_for() {
        let limit = Limit::Total(Duration::from_mins(10));
        let ended = watched("", limit, |_| -> Result<(), MigrateError> {
            panic!("on purpose")
        });
        assert!(matches!(ended, Err(MigrateError::Failed(_))), "{ended:?}");
    }

    #[test]
    fn work_that_was_given_up_learns_so() {
        let (told, learns) = channel();
        let limit = Limit::Total(Duration::from_millis(1));
        let ended = watched("", limit, move |given_up| {
            while !given_up.is_set() {
                thread::yield_now();
            }
            told.send(())
                .map_err(|error| MigrateError::Failed(error.into()))
        });
        assert!(matches!(ended, Err(MigrateError::Silent(_))), "{ended:?}");
        learns.recv_timeout(Duration::from_mins(1)).unwrap();
    }
}
