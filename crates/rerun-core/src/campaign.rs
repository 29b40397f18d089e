//! The campaign and its status.

use serde::{Deserialize, Serialize};

use crate::error::{Action, Error, IllegalTransition, Invalid, StoreError};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, UserId};
use crate::page::{Contents, json_bytes, list_bytes, text_bytes};
use crate::parts::checked;
use crate::run::Run;
use crate::segment::SegmentBy;
use crate::timestamp::Timestamp;

pub use crate::stages::{ApprovalStages, Stage};
pub use crate::status::CampaignStatus;

/// The texts that messages are generated from. `{{ field }}` names a field of `segment_by`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Subject line.
    pub subject: String,
    /// Body.
    pub body: String,
}

checked! {
    /// A campaign: one personalised message for each segment of a customer group. Its fields are those of
    /// [`CampaignParts`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    Campaign, CampaignParts
}

/// The fields of a [`Campaign`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignParts {
    /// The account it belongs to.
    pub account_id: AccountId,
    /// Its id.
    pub id: CampaignId,
    /// Its name, for people.
    pub name: String,
    /// The group that it was made for and that a launch takes.
    pub customer_group_id: CustomerGroupId,
    /// How groups fall into segments.
    pub segment_by: SegmentBy,
    /// What messages are generated from.
    pub template: Template,
    /// What a language model is told besides.
    pub brief: Option<String>,
    /// The stages that an approval passes.
    pub approval_stages: ApprovalStages,
    /// Whether each person can approve a message at one stage only.
    pub distinct_reviewers: bool,
    /// Whether an event says when an import into the current run's group makes a rerun worthwhile.
    pub suggest_reruns: bool,
    /// Where it stands.
    pub status: CampaignStatus,
    /// The current run; `None` for a draft.
    pub current_run: Option<RunNumber>,
    /// The highest number that any run has had, cancelled ones included.
    pub last_run: Option<RunNumber>,
    /// Grows with every change that a decision may rest on. A store commits a decision only
    /// while the version is the one it was made on.
    pub version: i64,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it, or its current run, last changed.
    pub updated_at: Timestamp,
}

impl CampaignParts {
    fn check(&self) -> Result<(), StoreError> {
        let (status, current, last) = (self.status, self.current_run, self.last_run);
        if (status == CampaignStatus::Draft) == current.is_none() && current <= last {
            return Ok(());
        }
        Err(StoreError::corrupt(format!(
            "campaigns: `{status}` with current run {current:?} and last run {last:?}"
        )))
    }
}

/// What a campaign is after another of its runs became current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: CampaignStatus,
    /// Its current run.
    pub current_run: Option<RunNumber>,
    /// The highest number that any run has had.
    pub last_run: Option<RunNumber>,
}

impl Contents for Campaign {
    fn bytes(&self) -> usize {
        json_bytes(&self.name)
            + json_bytes(&self.template.subject)
            + json_bytes(&self.template.body)
            + text_bytes(self.brief.as_ref())
            + self.segment_by.rules_json().map_or(0, str::len)
            + list_bytes(self.segment_by.fields())
            + self.approval_stages.bytes()
    }
}

impl Campaign {
    /// The longest name, in characters.
    pub const MAX_NAME_LENGTH: usize = 255;

    fn allow(&self, action: Action, allowed: &[CampaignStatus]) -> Result<(), IllegalTransition> {
        if allowed.contains(&self.status) {
            Ok(())
        } else {
            Err(IllegalTransition::Campaign {
                status: self.status,
                action,
            })
        }
    }

    /// Whether the status allows `action`. Rules that depend on messages come on top.
    ///
    /// # Errors
    /// [`IllegalTransition`] naming the status and the action.
    pub fn check(&self, action: Action) -> Result<(), IllegalTransition> {
        use CampaignStatus::{
            Draft, GenerationFailed, Processing, Published, ReadyForReview, ReadyToPublish,
        };
        match action {
            Action::Launch => self.allow(action, &[Draft]),
            Action::Update | Action::Delete => self.allow(
                action,
                &[
                    Draft,
                    GenerationFailed,
                    ReadyForReview,
                    ReadyToPublish,
                    Published,
                ],
            ),
            // Messages of the current run must not wait at a stage that is gone, nor have been
            // planned by other rules than those that the next run has.
            Action::ChangeStages | Action::ChangeRules => self.allow(action, &[Draft, Published]),
            Action::Publish => self.allow(action, &[ReadyToPublish]),
            Action::Retry => self.allow(action, &[GenerationFailed]),
            Action::Cancel => self.allow(
                action,
                &[Processing, GenerationFailed, ReadyForReview, ReadyToPublish],
            ),
            // Whether a published campaign's messages may change is for the messages' own
            // statuses to say, so that the refusal names the message's status.
            Action::Approve
            | Action::Reject
            | Action::Edit
            | Action::Adopt
            | Action::Regenerate
            | Action::Generate => self.allow(
                action,
                &[
                    Processing,
                    GenerationFailed,
                    ReadyForReview,
                    ReadyToPublish,
                    Published,
                ],
            ),
        }
    }

    /// Whether a decision about every message that waits can be made. A decision about named
    /// messages is refused by the messages' own statuses.
    ///
    /// # Errors
    /// [`IllegalTransition`] for a campaign that is published.
    pub fn check_review_of_all(&self, action: Action) -> Result<(), IllegalTransition> {
        use CampaignStatus::{GenerationFailed, Processing, ReadyForReview, ReadyToPublish};
        self.allow(
            action,
            &[Processing, GenerationFailed, ReadyForReview, ReadyToPublish],
        )
    }

    /// A rerun starts from a published campaign whose current run is published whole.
    ///
    /// # Errors
    /// [`Error::CampaignNotPublished`], [`Error::MessagesNotPublished`].
    pub fn check_rerun(&self, current: Option<&Run>) -> Result<(), Error> {
        match (self.status, current) {
            (CampaignStatus::Published, Some(run)) => match run.counts.unpublished() {
                0 => Ok(()),
                open => Err(Error::MessagesNotPublished(open)),
            },
            (status, _) => Err(Error::CampaignNotPublished(status)),
        }
    }

    /// What it is while this run, which was just started, is current.
    #[must_use]
    pub fn with_started(&self, run: &Run) -> Standing {
        Standing {
            status: run.counts.campaign_status(),
            current_run: Some(run.number),
            last_run: Some(run.number),
        }
    }

    /// What it is after this run, its current one, was taken back: what it was before the run. A run
    /// is only ever started from a published campaign, or from a draft.
    #[must_use]
    pub fn without_cancelled(&self, run: &Run) -> Standing {
        Standing {
            status: match run.previous_run {
                Some(_) => CampaignStatus::Published,
                None => CampaignStatus::Draft,
            },
            current_run: run.previous_run,
            last_run: self.last_run,
        }
    }

    /// Checks that the campaign has had this run, and that it is not the current one. Numbers are
    /// given in order and never again, and every run stays in the history.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], [`Error::CurrentRunArchive`].
    pub fn check_past(&self, run: RunNumber) -> Result<(), Error> {
        if self.current_run == Some(run) {
            Err(Error::CurrentRunArchive(run))
        } else if self.last_run.is_some_and(|last| run <= last) {
            Ok(())
        } else {
            Err(Error::RunNotFound)
        }
    }

    /// The number that the next run takes.
    ///
    /// # Errors
    /// [`Invalid`] once all numbers are used.
    pub fn next_run(&self) -> Result<RunNumber, Invalid> {
        RunNumber::after(self.last_run)
            .ok_or_else(|| Invalid::new("the campaign has used up its run numbers"))
    }
}
