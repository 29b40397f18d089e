//! The audit log: one entry for each change, chained by hashes so that a manipulation of the log is
//! detected.

use sha2::{Digest, Sha256};

use crate::actor::Actor;
use crate::event::Event;
use crate::group::{ImportMode, Imported};
use crate::ids::{
    AccountId, AuditEntryId, CampaignId, CustomerGroupId, RunNumber, ScheduleId, UserId, WebhookId,
};
use crate::page::{Contents, text_bytes};
use crate::timestamp::Timestamp;

pub use crate::event::AuditAction;

/// Who makes a change, and when: what every entry of the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorship {
    /// The id of the entry.
    pub entry_id: AuditEntryId,
    /// Who makes the change.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

impl Authorship {
    /// The entry of this event.
    #[must_use]
    pub const fn of(self, event: Event) -> AuditDraft {
        AuditDraft {
            author: self,
            event,
        }
    }
}

/// An audit entry before the store has given it its place in the account's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// Who did it, and when.
    pub author: Authorship,
    /// What happened.
    pub event: Event,
}

impl AuditDraft {
    /// The account in whose chain it belongs.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.author.actor.account_id
    }

    /// The entry with its place in the chain: after `head`.
    #[must_use]
    pub fn sealed(self, head: &ChainHead) -> AuditEntry {
        let Authorship {
            entry_id,
            actor,
            at,
        } = self.author;
        let person = actor.as_person();
        let mut entry = AuditEntry {
            seq: head.seq + 1,
            id: entry_id,
            account_id: actor.account_id,
            action: self.event.action().as_str().to_owned(),
            campaign_id: self.event.campaign_id(),
            run_number: self.event.run_number(),
            user_id: person.map(|person| person.user_id),
            user_name: person
                .and_then(|person| person.user_name.as_ref())
                .map(ToString::to_string),
            role_code: person.map(|person| person.role_code.clone()),
            ip: person.and_then(|person| person.ip).map(|ip| ip.to_string()),
            request_id: actor.request_id.clone(),
            details: self.event.details().to_string(),
            created_at: at,
            hash: [0; 32],
        };
        entry.hash = entry.hash_after(&head.hash);
        entry
    }
}

/// The entry of an import, which a store completes with what the import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportAudit {
    /// Who imports, and when.
    pub author: Authorship,
    /// The group.
    pub customer_group_id: CustomerGroupId,
    /// Whether other customers stay.
    pub mode: ImportMode,
}

impl ImportAudit {
    /// When the customers are imported.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.author.at
    }

    /// The entry of an import that did this.
    #[must_use]
    pub fn completed(self, imported: Imported) -> AuditDraft {
        let Self {
            author,
            customer_group_id,
            mode,
        } = self;
        author.of(Event::GroupImported {
            customer_group_id,
            mode,
            imported,
        })
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
    /// The person's name at that time, if it was known.
    pub user_name: Option<String>,
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
            + text_bytes(self.user_name.as_ref())
            + text_bytes(self.role_code.as_ref())
            + text_bytes(self.request_id.as_ref())
            + self.details.len()
    }
}

impl AuditEntry {
    /// The hash that this entry has after one with the hash `previous`: SHA-256 over that hash
    /// and the entry's fields as a JSON array. An entry without a user name has none in it, as in
    /// logs that were written before there were names.
    #[must_use]
    pub fn hash_after(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut fields = serde_json::json!([
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
        if let (Some(name), Some(fields)) = (&self.user_name, fields.as_array_mut()) {
            fields.push(name.as_str().into());
        }
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
    #[error("audit entry {seq} ({id}) comes after the last entry that was written")]
    Surplus {
        /// The entry's number.
        seq: i64,
        /// The entry's id.
        id: AuditEntryId,
    },
    /// The kept head is not that of the newest entry.
    #[error("the log ends with entry {seq}, but the stored hash of the last entry is different")]
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
    #[error("customer group {0} exists, but the log has no entry of its creation")]
    Group(CustomerGroupId),
    /// A customer group whose last change has no entry.
    #[error("customer group {0} was changed, but the log has no entry of that time")]
    GroupChange(CustomerGroupId),
    /// A campaign without the entry of its creation.
    #[error("campaign {0} exists, but the log has no entry of its creation")]
    Campaign(CampaignId),
    /// A campaign whose last change has no entry.
    #[error("campaign {0} was changed, but the log has no entry of that time")]
    CampaignChange(CampaignId),
    /// A run without the entry of its start.
    #[error("run {run} of campaign {campaign} exists, but the log has no entry of its start")]
    RunStart {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
    /// A published run without the entry of that.
    #[error(
        "run {run} of campaign {campaign} is published, but the log has no entry of its publication"
    )]
    Publication {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
    /// A cancelled run without the entry of that.
    #[error(
        "run {run} of campaign {campaign} is cancelled, but the log has no entry of its cancellation"
    )]
    Cancellation {
        /// The campaign.
        campaign: CampaignId,
        /// The run.
        run: RunNumber,
    },
    /// A webhook without the entry of its creation.
    #[error("webhook {0} exists, but the log has no entry of its creation")]
    Webhook(WebhookId),
    /// A schedule without the entry of its creation.
    #[error("schedule {0} exists, but the log has no entry of its creation")]
    Schedule(ScheduleId),
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
    use uuid::Uuid;

    use super::*;
    use crate::actor::{Person, UserName};
    use crate::campaign::CampaignStatus;
    use crate::event::StatusChange;

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

    fn author(n: u128, minutes: i64, actor: Actor) -> Authorship {
        Authorship {
            entry_id: AuditEntryId::new(Uuid::from_u128(n)),
            actor,
            at: Timestamp::from_timestamp_millis(1_767_225_600_123 + minutes * 60_000).unwrap(),
        }
    }

    fn person(user_name: Option<&str>) -> Actor {
        let person = Person {
            user_id: UserId::new(Uuid::from_u128(4)),
            user_name: user_name.map(|name| UserName::new(name).unwrap()),
            role_code: "ADMIN".into(),
            ip: Some([192, 0, 2, 1].into()),
        };
        Actor::person(AccountId::new(Uuid::from_u128(1)), person).in_request("r-1")
    }

    /// Three entries: two as the first version wrote them, and one with a name.
    fn entries() -> Vec<AuditEntry> {
        let campaign_id = CampaignId::new(Uuid::from_u128(3));
        let created = || Event::CampaignCreated {
            campaign_id,
            name: "Offers \"ü\"".into(),
        };
        let completed = Event::RunCompleted {
            status: StatusChange {
                campaign_id,
                run_number: RunNumber::FIRST,
                before: CampaignStatus::Processing,
                after: CampaignStatus::ReadyForReview,
            },
        };
        let system = Actor::system(AccountId::new(Uuid::from_u128(1)));
        let drafts = [
            author(2, 0, person(None)).of(created()),
            author(5, 1, system).of(completed),
            author(6, 2, person(Some("Ada"))).of(created()),
        ];
        let mut head = ChainHead::EMPTY;
        let mut entries = Vec::new();
        for draft in drafts {
            let entry = draft.sealed(&head);
            head = ChainHead {
                seq: entry.seq,
                hash: entry.hash,
            };
            entries.push(entry);
        }
        entries
    }

    /// The hashes were computed apart from this code. The first two are those of a log that was
    /// written before entries had names.
    #[test]
    fn logs_of_every_version_have_the_same_hashes() {
        let hashes: Vec<String> = entries().iter().map(|e| hex::encode(e.hash)).collect();
        assert_eq!(
            hashes,
            [
                "0252b15dd3ac50e23c779c2227194c129e06b6549186c85a9ee41130d07eab58",
                "eaa7e94ea69beef8022a8ea04a704babee9db9cf6bba4e7719c754b0bc06d97e",
                "4e1ce41b4e951ade3f4c7024744d4556b0ed374203e0c62c0edf5f9182037f84",
            ]
        );
    }

    #[test]
    fn a_chain_shows_every_change_of_an_entry() {
        let entries = entries();
        let check = |entries: &[AuditEntry]| {
            let mut check = ChainCheck::default();
            entries.iter().try_for_each(|entry| check.next(entry))
        };
        assert_eq!(check(&entries), Ok(()));
        let changes: [fn(&mut AuditEntry); 4] = [
            |entry| entry.user_name = None,
            |entry| entry.user_name = Some("Eve".into()),
            |entry| entry.role_code = None,
            |entry| entry.details = "{}".into(),
        ];
        for change in changes {
            let mut altered = entries.clone();
            change(&mut altered[2]);
            let broken = check(&altered).unwrap_err();
            assert!(
                matches!(broken, ChainBreak::Altered { seq: 3, .. }),
                "{broken}"
            );
        }
        let mut named = entries;
        named[0].user_name = Some("Eve".into());
        let broken = check(&named).unwrap_err();
        assert!(
            matches!(broken, ChainBreak::Altered { seq: 1, .. }),
            "{broken}"
        );
    }
}
