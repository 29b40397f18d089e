use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use rerun_generate::{Shutdown, ShutdownTrigger};

/// What goes on beside requests, on a thread of its own: filling templates, for example, uses CPU time
/// that requests need.
pub(super) struct Background {
    name: &'static str,
    trigger: ShutdownTrigger,
    ended: oneshot::Receiver<()>,
}

impl Background {
    /// Starts `work`, which ends when its argument asks for that.
    pub(super) fn start(
        name: &'static str,
        work: impl AsyncFnOnce(Shutdown) + Send + 'static,
    ) -> io::Result<Self> {
        let (trigger, shutdown) = Shutdown::new();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(work(shutdown));
                // The receiver is gone when nobody waits for the end.
                let _unheard = end.send(());
                runtime.shutdown_background();
            })?;
        Ok(Self {
            name,
            trigger,
            ended,
        })
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
            let name = self.name;
            tracing::warn!("{name} did not end in time; its leases will end by themselves");
        }
    }
}
