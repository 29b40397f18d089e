//! `/v1/campaign/rerun/*`.

mod archive;
mod cancel;
mod diff;
mod history;
mod initiate;
mod messages;
mod preview;
mod retry;
