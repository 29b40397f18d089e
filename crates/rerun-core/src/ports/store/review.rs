//! Review of messages.

use async_trait::async_trait;

use crate::campaign::CampaignStatus;
use crate::change::MessageChange;
use crate::error::{StoreError, UnfilledPlaceholder};
use crate::ids::{AccountId, CampaignId, MessageId};
use crate::review::MessageRef;

/// Moves messages through review.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ReviewStore: Send + Sync {
    /// Those of the named messages that the campaign has, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn message_refs(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageRef>, StoreError>;

    /// Makes a change of messages true in one transaction, together with what
    /// [`MessageChange::applied`] says of run and campaign; the campaign gets the next version.
    /// Returns how many messages changed; with none, nothing is written but the response.
    ///
    /// When the change needs filled content ([`MessageChange::needs_filled_content`]) and the content
    /// of one of the messages has a placeholder, nothing is written and that message is returned: of
    /// several, the one whose segment comes first.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, a named message
    /// is in no state that the moves start from, or the idempotency key was used meanwhile.
    async fn change_messages(&self, change: MessageChange) -> Result<ChangeOutcome, StoreError>;
}

/// The result of a change of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It was made.
    Changed {
        /// How many messages changed.
        messages: u32,
        /// The campaign's status afterwards.
        campaign_status: CampaignStatus,
    },
    /// It was not, because the content of a message has a placeholder.
    Unfilled(UnfilledPlaceholder),
}
