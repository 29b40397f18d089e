//! Notices that another server has taken over from one that is silent.
//!
//! A server that hangs keeps its sockets open. If the database has a standby that was promoted meanwhile, a new
//! connection leads there, and what waits for the old server waits for nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How long a server is silent before a new connection is made, and from the beginning of one such connection to that of
/// the next one, at least.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// How often a job looks at what the connection has led to.
const LOOK: Duration = Duration::from_millis(100);

/// When a job looks next whose server has been silent for so long.
pub(crate) fn next_look(silent: Duration) -> Duration {
    SUSPICIOUS.saturating_sub(silent).max(LOOK)
}

/// Makes a connection and returns its server, or nothing if there is none that can be written.
type Connect = Box<dyn Fn() -> Option<i64> + Send + Sync>;

#[derive(Default)]
struct Asked {
    under_way: Option<JoinHandle<()>>,
    /// When the last connection was begun.
    begun: Option<Instant>,
    /// Where the last one led that was made, and when it was begun.
    led_to: Option<(Instant, i64)>,
}

/// Finds out which server can be written now.
pub(crate) struct Successor {
    connect: Connect,
    asked: Mutex<Asked>,
}

impl Successor {
    pub(crate) fn new(connect: impl Fn() -> Option<i64> + Send + Sync + 'static) -> Self {
        Self {
            connect: Box::new(connect),
            asked: Mutex::default(),
        }
    }

    /// Whether another server has taken over from this one, which has been silent for so long. It does not wait for
    /// the answer: that is found by a later call.
    pub(crate) fn took_over(self: &Arc<Self>, from: i64, silent: Duration) -> bool {
        if silent < SUSPICIOUS {
            return false;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection from before the silence says nothing: that server may have been the primary then.
        if let Some((begun, server)) = asked.led_to
            && begun.elapsed() < silent
            && server != from
        {
            return true;
        }
        let is_under_way = asked
            .under_way
            .as_ref()
            .is_some_and(|connecting| !connecting.is_finished());
        let is_due = asked
            .begun
            .is_none_or(|begun| begun.elapsed() >= SUSPICIOUS);
        if is_due && !is_under_way {
            let begun = Instant::now();
            let successor = Arc::clone(self);
            asked.begun = Some(begun);
            asked.under_way = Some(tokio::task::spawn_blocking(move || {
                if let Some(server) = (successor.connect)() {
                    let mut asked = successor
                        .asked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    asked.led_to = Some((begun, server));
                }
            }));
        }
        false
    }
}
