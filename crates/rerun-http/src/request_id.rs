//! The id of a request, and what is noted of it for its line in the log.

use std::cell::Cell;
use std::future::Future;

use rerun_core::ids::{AccountId, CampaignId, RunNumber};

/// The id of a request, as logs, answers and the audit log name it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// What a request turned out to be about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notes {
    pub(crate) account: Option<AccountId>,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) run: Option<RunNumber>,
}

tokio::task_local! {
    /// Of the request that is being answered. Cheaper than fields of the span, which would be
    /// written out each time that one is added.
    static NOTES: Cell<Notes>;
}

fn note(change: impl FnOnce(&mut Notes)) {
    // Without a request around it there is no line in the log either.
    let _alone = NOTES.try_with(|cell| {
        let mut notes = cell.get();
        change(&mut notes);
        cell.set(notes);
    });
}

/// Notes whose the current request is.
pub(crate) fn note_account(account: AccountId) {
    note(|notes| notes.account = Some(account));
}

/// Notes which campaign the current request names.
pub(crate) fn note_campaign(campaign: CampaignId) {
    note(|notes| notes.campaign = Some(campaign));
}

/// Notes which run the current request is about.
pub(crate) fn note_run(run: RunNumber) {
    note(|notes| notes.run = Some(run));
}

/// Runs the work of one request with empty notes for its log line.
pub(crate) async fn noting<T>(work: impl Future<Output = T>) -> T {
    NOTES.scope(Cell::default(), work).await
}

/// What has been noted of the current request.
pub(crate) fn noted() -> Notes {
    NOTES.try_with(Cell::get).unwrap_or_default()
}

impl Notes {
    /// For traces.
    pub(crate) fn texts(self) -> Vec<(&'static str, String)> {
        let account = self.account.map(|id| ("account_id", id.to_string()));
        let campaign = self.campaign.map(|id| ("campaign_id", id.to_string()));
        let run = self.run.map(|number| ("run_number", number.to_string()));
        [account, campaign, run].into_iter().flatten().collect()
    }
}
