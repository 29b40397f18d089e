use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use rerun_generate::{Housekeeping, Worker};
use rerun_generate::{Shutdown, ShutdownTrigger};

/// Generation and housekeeping, on a thread of their own: filling templates takes processor time,
/// of which requests must not be kept.
pub(super) struct Background {
    trigger: ShutdownTrigger,
    ended: oneshot::Receiver<()>,
}

impl Background {
    pub(super) fn start(worker: Option<Worker>, housekeeping: Housekeeping) -> io::Result<Self> {
        let (trigger, shutdown) = Shutdown::new();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("generation".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let generation = async {
                        if let Some(worker) = &worker {
                            worker.run(&shutdown).await;
                        }
                    };
                    tokio::join!(generation, housekeeping.run(&shutdown));
                });
                // The receiver is gone when nobody waits for the end.
                let _unheard = end.send(());
                runtime.shutdown_background();
            })?;
        Ok(Self { trigger, ended })
    }

    /// Waits for the end. It comes unasked only by a panic.
    pub(super) async fn ended(&mut self) {
        // The error says that the thread panicked, which has been logged.
        let _panicked = (&mut self.ended).await;
    }

    /// Tells it to end, without waiting.
    pub(super) fn request_end(&self) {
        self.trigger.request();
    }

    /// Waits for the end, but not longer than `grace`.
    pub(super) async fn finish(mut self, grace: Duration) {
        self.request_end();
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            tracing::warn!("the worker did not end in time; its leases will end by themselves");
        }
    }
}
