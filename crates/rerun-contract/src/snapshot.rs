use rerun_core::audit::AuditEntry;
use rerun_core::campaign::Campaign;
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::message::Message;
use rerun_core::run::Run;

/// All that can be read of an account, for comparisons: a refusal changes none of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The groups, newest first.
    pub groups: Vec<CustomerGroup>,
    /// The campaigns, newest first.
    pub campaigns: Vec<CampaignSnapshot>,
    /// The audit log, oldest first.
    pub entries: Vec<AuditEntry>,
}

/// All that can be read of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignSnapshot {
    /// The campaign.
    pub campaign: Campaign,
    /// Its runs, newest first.
    pub runs: Vec<Run>,
    /// Its messages, newest run first.
    pub messages: Vec<Message>,
}

impl Snapshot {
    /// The campaign's part.
    #[must_use]
    pub fn campaign(&self, id: CampaignId) -> &CampaignSnapshot {
        self.campaigns
            .iter()
            .find(|campaign| campaign.campaign.id == id)
            .unwrap_or_else(|| panic!("campaign {id} is not in the list of campaigns"))
    }

    /// Panics with the first part that differs.
    pub fn assert_same(&self, later: &Self, what: &str) {
        assert_eq!(self.groups, later.groups, "{what}: the groups changed");
        assert_eq!(self.entries, later.entries, "{what}: the audit log changed");
        assert_eq!(
            self.campaigns.len(),
            later.campaigns.len(),
            "{what}: campaigns came or went"
        );
        for (before, after) in self.campaigns.iter().zip(&later.campaigns) {
            before.assert_same(after, what);
        }
    }
}

impl CampaignSnapshot {
    /// The run.
    #[must_use]
    pub fn run(&self, number: RunNumber) -> &Run {
        self.runs
            .iter()
            .find(|run| run.number == number)
            .unwrap_or_else(|| panic!("run {number} is not in the history"))
    }

    /// The messages of a run.
    pub fn of_run(&self, number: RunNumber) -> impl Iterator<Item = &Message> {
        self.messages
            .iter()
            .filter(move |message| message.run_number == number)
    }

    fn assert_same(&self, later: &Self, what: &str) {
        assert_eq!(
            self.campaign, later.campaign,
            "{what}: the campaign changed"
        );
        assert_eq!(self.runs, later.runs, "{what}: the runs changed");
        assert_eq!(
            self.messages, later.messages,
            "{what}: the messages changed"
        );
    }
}
