//! The campaign and its status.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::error::{Action, Error, IllegalTransition, Invalid};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, UserId};
use crate::page::{Contents, text_bytes};
use crate::run::Run;
use crate::segment::SegmentBy;
use crate::text;

/// Declares an enum that travels as fixed strings: on the wire, in the database, in messages.
macro_rules! wire_enum {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The fixed text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::error::Invalid::new(format!("`{text}` is none of: {}", known.join(", ")))
                })
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// Where a campaign stands. With a current run it follows from that run's messages, see
    /// [`crate::run::MessageCounts::campaign_status`].
    CampaignStatus {
        /// No current run.
        Draft => "Draft",
        /// Messages of the current run are being generated.
        Processing => "Processing",
        /// Retries are used up for at least one message.
        GenerationFailed => "Generation failed",
        /// At least one message is not approved yet.
        ReadyForReview => "Ready for review",
        /// Every message of the current run is approved.
        ReadyToPublish => "Ready to publish",
        /// Every message of the current run is published.
        Published => "Published",
    }
}

/// The texts that messages are generated from. `{{ field }}` names a field of `segment_by`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Subject line.
    pub subject: String,
    /// Body.
    pub body: String,
}

/// A campaign's named approval stages, passed in order: 1 to 16 distinct names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalStages(Vec<String>);

impl ApprovalStages {
    /// The most stages.
    pub const MAX: usize = 16;
    /// The longest stage name, in characters.
    pub const MAX_NAME_LENGTH: usize = 100;

    /// # Errors
    /// [`Invalid`] when there are none or too many, or a name is blank, too long or doubled.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Self, Invalid> {
        if names.is_empty() || names.len() > Self::MAX {
            return Err(Invalid::new(format!(
                "`approval_stages` takes 1 to {} names, not {}",
                Self::MAX,
                names.len()
            )));
        }
        let mut stages: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let name = text::name("approval_stages", name.as_ref(), Self::MAX_NAME_LENGTH)?;
            if stages.contains(&name) {
                return Err(Invalid::new(format!(
                    "`approval_stages` names `{name}` twice"
                )));
            }
            stages.push(name);
        }
        Ok(Self(stages))
    }

    /// The names in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The name of a stage.
    #[must_use]
    pub fn name(&self, stage: u8) -> Option<&str> {
        self.0.get(usize::from(stage)).map(String::as_str)
    }

    /// The number of the stage that has this name.
    ///
    /// # Errors
    /// [`Invalid`] when there is none. It names the stages that there are.
    pub fn number(&self, name: &str) -> Result<u8, Invalid> {
        let name = text::name("stage", name, Self::MAX_NAME_LENGTH)?;
        self.numbers()
            .find(|stage| self.name(*stage) == Some(&name))
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`stage`: the campaign has no stage `{name}`; its stages are: {}",
                    self.0.join(", ")
                ))
            })
    }

    /// The stage after `stage`; `None` when it was the last.
    #[must_use]
    pub fn after(&self, stage: u8) -> Option<u8> {
        let next = stage.checked_add(1)?;
        (usize::from(next) < self.0.len()).then_some(next)
    }

    /// Every stage's number, from 0.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).take(self.0.len())
    }
}

impl Default for ApprovalStages {
    fn default() -> Self {
        Self(vec!["Review".to_owned()])
    }
}

/// A campaign: one personalised message for each segment of a customer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
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
        self.name.len()
            + self.template.subject.len()
            + self.template.body.len()
            + text_bytes(self.brief.as_ref())
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
    pub const fn with_started(&self, run: &Run) -> Standing {
        Standing {
            status: run.counts.campaign_status(),
            current_run: Some(run.number),
            last_run: Some(run.number),
        }
    }

    /// What it is after this run, its current one, was taken back: what it was before the run. A run
    /// is only ever started from a published campaign, or from a draft.
    #[must_use]
    pub const fn without_cancelled(&self, run: &Run) -> Standing {
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
