//! Functions of the operating system: the signal to end, and random secrets.

use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

/// A secret that nobody can guess: 64 hexadecimal digits, of which 244 bits are chance.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is a secret, not an id")]
pub(crate) fn random_secret() -> SecretString {
    let (one, other) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
    format!("{one}{other}").into()
}

const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Listens for the operating system's wish that the process ends: `SIGTERM` or `SIGINT`, where
/// there are signals, else Ctrl-C.
#[derive(Debug)]
pub(crate) struct Termination {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Termination {
    /// Listens from now on: a signal does not end the process by itself any more. To be called on
    /// a tokio runtime.
    ///
    /// # Errors
    /// When the process cannot listen.
    #[cfg(unix)]
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Listens.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal; answers its name.
    #[cfg(unix)]
    pub(crate) async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal that repeats an earlier one, which came when this is called; answers
    /// its name. One that comes within a second is the same one: `timeout`, for one, signals the
    /// process, and then its group.
    pub(crate) async fn repeated(&mut self) -> &'static str {
        let ignored = tokio::time::Instant::now() + SAME_SIGNAL;
        loop {
            let signal = self.signal().await;
            if tokio::time::Instant::now() >= ignored {
                return signal;
            }
        }
    }

    /// Waits for the next Ctrl-C; answers its name.
    #[cfg(not(unix))]
    pub(crate) async fn signal(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can be heard, so that the process ends as others end it.
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
