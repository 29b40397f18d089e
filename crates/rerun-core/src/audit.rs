//! The audit log: one entry for each change, chained so that a change of the log shows.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::Timestamp;
use crate::campaign::{CampaignStatus, wire_enum};
use crate::ids::{AccountId, AuditEntryId, CampaignId, CustomerGroupId, RunNumber, UserId};
use crate::page::{Contents, text_bytes};

/// Who calls: what the guard of a server has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account that everything happens in.
    pub account_id: AccountId,
    /// The person.
    pub user_id: UserId,
    /// The person's role.
    pub role_code: String,
    /// Where the person calls from.
    pub ip: IpAddr,
    /// The request, as logs and answers name it.
    pub request_id: String,
}

wire_enum! {
    /// What an audit entry records.
    AuditAction {
        /// A customer group was made.
        GroupCreated => "customer_group.created",
        /// Customers were imported.
        GroupImported => "customer_group.imported",
        /// A campaign was made.
        CampaignCreated => "campaign.created",
        /// A campaign's first run was started.
        CampaignLaunched => "campaign.launched",
        /// A campaign was published.
        CampaignPublished => "campaign.published",
        /// Messages passed an approval stage.
        MessagesApproved => "messages.approved",
        /// Messages were rejected.
        MessagesRejected => "messages.rejected",
        /// A message was edited.
        MessageEdited => "message.edited",
        /// Messages were queued to be generated anew.
        MessagesRegenerated => "messages.regenerated",
        /// A rerun was started.
        RerunInitiated => "rerun.initiated",
        /// What was still active of a past run was archived.
        RerunArchived => "rerun.archived",
        /// A run was taken back.
        RerunCancelled => "rerun.cancelled",
        /// Failed messages were queued again.
        RerunRetried => "rerun.retried",
        /// A run's generation ended well.
        RunCompleted => "run.completed",
        /// A run's generation ended with failures.
        RunFailed => "run.failed",
    }
}

/// An audit entry before the store has given it its place in the account's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// Its id.
    pub id: AuditEntryId,
    /// The account.
    pub account_id: AccountId,
    /// What happened.
    pub action: AuditAction,
    /// The campaign it happened to, if one.
    pub campaign_id: Option<CampaignId>,
    /// The run it happened to, if one.
    pub run_number: Option<RunNumber>,
    /// Who did it; `None` for the system.
    pub user_id: Option<UserId>,
    /// In which role.
    pub role_code: Option<String>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// In which request.
    pub request_id: Option<String>,
    /// Subject, before and after, as a JSON object.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// When.
    pub created_at: Timestamp,
}

impl AuditDraft {
    /// What a person did.
    #[must_use]
    pub fn by_caller(
        id: AuditEntryId,
        caller: &Caller,
        action: AuditAction,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            account_id: caller.account_id,
            action,
            campaign_id: None,
            run_number: None,
            user_id: Some(caller.user_id),
            role_code: Some(caller.role_code.clone()),
            ip: Some(caller.ip),
            request_id: Some(caller.request_id.clone()),
            details: serde_json::Map::new(),
            created_at: now,
        }
    }

    /// What the system did when the generation of a run ended.
    #[must_use]
    pub fn by_system(
        id: AuditEntryId,
        account_id: AccountId,
        action: AuditAction,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            account_id,
            action,
            campaign_id: None,
            run_number: None,
            user_id: None,
            role_code: None,
            ip: None,
            request_id: None,
            details: serde_json::Map::new(),
            created_at: now,
        }
    }

    /// Names the campaign and run.
    #[must_use]
    pub fn about(mut self, campaign: CampaignId, run: Option<RunNumber>) -> Self {
        self.campaign_id = Some(campaign);
        self.run_number = run;
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the campaign's status before and after, as every entry about a campaign's state has
    /// it.
    #[must_use]
    pub fn moved(self, before: CampaignStatus, after: CampaignStatus) -> Self {
        self.with("before", before.as_str())
            .with("after", after.as_str())
    }

    /// The entry with its place in the chain: after `head`.
    #[must_use]
    pub fn sealed(self, head: &ChainHead) -> AuditEntry {
        let mut entry = AuditEntry {
            seq: head.seq + 1,
            id: self.id,
            account_id: self.account_id,
            action: self.action.as_str().to_owned(),
            campaign_id: self.campaign_id,
            run_number: self.run_number,
            user_id: self.user_id,
            role_code: self.role_code,
            ip: self.ip.map(|ip| ip.to_string()),
            request_id: self.request_id,
            details: serde_json::Value::Object(self.details).to_string(),
            created_at: self.created_at,
            hash: [0; 32],
        };
        entry.hash = entry.hash_after(&head.hash);
        entry
    }
}

/// The newest entry of an account's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its number; 0 before the first.
    pub seq: i64,
    /// Its hash; zeros before the first.
    pub hash: [u8; 32],
}

impl ChainHead {
    /// The head of an account without entries.
    pub const EMPTY: Self = Self {
        seq: 0,
        hash: [0; 32],
    };

    /// Reads `SEQUENCE:HASH`, as a head is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.split_once(':')?;
        let mut head = Self {
            seq: seq.parse().ok().filter(|seq| *seq > 0)?,
            ..Self::EMPTY
        };
        hex::decode_to_slice(hash, &mut head.hash).ok()?;
        Some(head)
    }
}

impl std::fmt::Display for ChainHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.hash))
    }
}

/// An entry of the audit log, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number in the account's chain, from 1 without gaps.
    pub seq: i64,
    /// Its id.
    pub id: AuditEntryId,
    /// The account.
    pub account_id: AccountId,
    /// The action's text; see [`AuditAction`].
    pub action: String,
    /// The campaign.
    pub campaign_id: Option<CampaignId>,
    /// The run.
    pub run_number: Option<RunNumber>,
    /// Who; `None` for the system.
    pub user_id: Option<UserId>,
    /// In which role.
    pub role_code: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Subject, before and after: the text of a JSON object.
    pub details: String,
    /// When.
    pub created_at: Timestamp,
    /// Hash of this entry and of the hash before it.
    pub hash: [u8; 32],
}

impl Contents for AuditEntry {
    fn bytes(&self) -> usize {
        self.action.len()
            + text_bytes(self.role_code.as_ref())
            + text_bytes(self.request_id.as_ref())
            + self.details.len()
    }
}

impl AuditEntry {
    /// The hash that this entry has after one with the hash `previous`: SHA-256 over that hash
    /// and the entry's fields as a JSON array.
    #[must_use]
    pub fn hash_after(&self, previous: &[u8; 32]) -> [u8; 32] {
        let fields = serde_json::json!([
            self.account_id,
            self.seq,
            self.id,
            self.action,
            self.campaign_id,
            self.run_number,
            self.user_id,
            self.role_code,
            self.ip,
            self.request_id,
            self.details,
            self.created_at.timestamp_millis(),
        ]);
        Sha256::new_with_prefix(previous)
            .chain_update(fields.to_string())
            .finalize()
            .into()
    }
}

/// Why an account's log is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// The entry's content, or an entry before it, is not what was written.
    #[error("audit entry {seq} ({id}) is not what was written, or its predecessor is not")]
    Altered {
        /// The entry's number.
        seq: i64,
        /// The entry's id.
        id: AuditEntryId,
    },
    /// An entry is missing, or one stands in another's place.
    #[error("audit entry {expected} is missing: entry {found} ({id}) follows instead")]
    Gap {
        /// The number that should have come.
        expected: i64,
        /// The number that came.
        found: i64,
        /// The id of the entry that came.
        id: AuditEntryId,
    },
    /// The newest entries are missing, or the head of the chain was changed.
    #[error("the log ends with entry {found}, but entry {expected} was written")]
    Truncated {
        /// The number of the newest entry that was written.
        expected: i64,
        /// The number of the newest entry that is there.
        found: i64,
    },
    /// There are entries after the newest that was written.
    #[error("audit entry {seq} ({id}) stands after the end of the log: it was never written")]
    Surplus {
        /// The entry's number.
        seq: i64,
        /// The entry's id.
        id: AuditEntryId,
    },
    /// The kept head is not that of the newest entry.
    #[error("the log ends with entry {seq}, but the kept hash of its end is another")]
    OtherHead {
        /// The number of the newest entry.
        seq: i64,
    },
    /// The entry is not the one that was noted elsewhere.
    #[error(
        "audit entry {seq} ({id}) has another hash than the expected one: the log was rewritten"
    )]
    Unexpected {
        /// The entry's number.
        seq: i64,
        /// The entry's id.
        id: AuditEntryId,
    },
    /// The account has something that no entry accounts for.
    #[error(transparent)]
    Unlogged(#[from] Unlogged),
}

/// State of an account that its log does not account for: entries are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unlogged {
    /// A customer group without the entry of its creation.
    #[error("customer group {0} is there, but no entry of its creation")]
    Group(CustomerGroupId),
    /// A customer group whose last change has no entry.
    #[error("customer group {0} was changed, and there is no entry of that time")]
    GroupChange(CustomerGroupId),
    /// A campaign without the entry of its creation.
    #[error("campaign {0} is there, but no entry of its creation")]
    Campaign(CampaignId),
    /// A campaign whose last change has no entry.
    #[error("campaign {0} was changed, and there is no entry of that time")]
    CampaignChange(CampaignId),
    /// A run without the entry of its start.
    #[error("run {run} of campaign {campaign} is there, but no entry of its start")]
    RunStart {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
    /// A published run without the entry of that.
    #[error("run {run} of campaign {campaign} is published, but there is no entry of that")]
    Publication {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
    /// A cancelled run without the entry of that.
    #[error("run {run} of campaign {campaign} is cancelled, but there is no entry of that")]
    Cancellation {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
}

/// Checks an account's log entry by entry, oldest first.
#[derive(Debug)]
pub struct ChainCheck {
    head: ChainHead,
    expected: Option<ChainHead>,
}

impl Default for ChainCheck {
    fn default() -> Self {
        Self::expecting(None)
    }
}

impl ChainCheck {
    /// A check that the log has an entry that was noted elsewhere: the head of an earlier day.
    #[must_use]
    pub const fn expecting(expected: Option<ChainHead>) -> Self {
        Self {
            head: ChainHead::EMPTY,
            expected,
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`ChainBreak`] naming the entry.
    pub fn next(&mut self, entry: &AuditEntry) -> Result<(), ChainBreak> {
        let expected = self.head.seq + 1;
        if entry.seq != expected {
            return Err(ChainBreak::Gap {
                expected,
                found: entry.seq,
                id: entry.id,
            });
        }
        if entry.hash != entry.hash_after(&self.head.hash) {
            return Err(ChainBreak::Altered {
                seq: entry.seq,
                id: entry.id,
            });
        }
        self.head = ChainHead {
            seq: entry.seq,
            hash: entry.hash,
        };
        let other = |noted: ChainHead| noted.seq == entry.seq && noted.hash != entry.hash;
        if self.expected.is_some_and(other) {
            return Err(ChainBreak::Unexpected {
                seq: entry.seq,
                id: entry.id,
            });
        }
        Ok(())
    }

    /// The number of the newest entry so far; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        self.head.seq
    }

    /// Compares the end with the head that the store keeps, and returns it.
    ///
    /// # Errors
    /// [`ChainBreak::Truncated`], [`ChainBreak::OtherHead`].
    pub fn finish(self, kept: &ChainHead) -> Result<ChainHead, ChainBreak> {
        let found = self.head.seq;
        let noted = self.expected.map_or(0, |noted| noted.seq);
        if self.head == *kept && noted <= found {
            Ok(self.head)
        } else if found == kept.seq && noted <= found {
            Err(ChainBreak::OtherHead { seq: found })
        } else {
            Err(ChainBreak::Truncated {
                expected: kept.seq.max(noted),
                found,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = ChainHead {
            seq: 7,
            hash: [0xab; 32],
        };
        assert_eq!(ChainHead::parse(&head.to_string()), Some(head));
        for text in [
            "",
            "7",
            "7:",
            "7:ab",
            "0:",
            "x:y",
            &format!("0:{}", "ab".repeat(32)),
        ] {
            assert_eq!(ChainHead::parse(text), None, "{text}");
        }
    }
}
