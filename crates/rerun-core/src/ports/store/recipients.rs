//! Who gets which message.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use crate::message::{Content, Message};
use crate::page::{Contents, Page, PageRequest};
use crate::rules::AttributeTypes;
use crate::segment::{Attributes, SegmentBy, SegmentKey};

/// The group of a run, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAudience {
    /// The group.
    pub group_id: CustomerGroupId,
    /// The group's version now; `None` when there is no such group any more.
    pub group_version: Option<i64>,
    /// Whether the group's customers were changed since the run started.
    pub changed: bool,
    /// The segmentation that the run was planned by, if the campaign has other rules now.
    pub segment_by: Option<SegmentBy>,
}

/// A message of a run, with its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMessage {
    /// The number of the segment in the campaign.
    pub segment_no: i32,
    /// The segment's key.
    pub key: SegmentKey,
    /// The segment's values, if they were asked for.
    pub attributes: Option<Attributes>,
    /// What they are, as [`UpdateSegmentation`](super::UpdateSegmentation) kept it.
    pub types: Option<AttributeTypes>,
    /// The message.
    pub id: MessageId,
}

impl Contents for RunMessage {
    fn bytes(&self) -> usize {
        let attributes = self.attributes.as_ref();
        attributes.map_or(0, |attributes| attributes.as_json().len())
    }
}

/// Which customers of a group to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerSelection {
    /// Those after this reference, by the bytes of their references; from the first one for `None`.
    After(Option<String>),
    /// The one with this reference, if the group has it.
    Only(String),
}

/// Which message of a run to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOfRun {
    /// The one for the segment with this key, by the campaign's rules of now.
    Segment(SegmentKey),
    /// The one with this id.
    Id(MessageId),
}

/// Asks for some customers of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerQuery {
    /// The account.
    pub account_id: AccountId,
    /// The group.
    pub group_id: CustomerGroupId,
    /// Which fields are of interest.
    pub segment_by: SegmentBy,
    /// A group whose customers are left out.
    pub excluded: Option<CustomerGroupId>,
    /// Which customers to read.
    pub which: CustomerSelection,
    /// How many customers to look at, those that are left out included, at most.
    pub limit: u32,
}

/// A customer's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerValues {
    /// The customer's reference.
    pub customer_ref: String,
    /// The values of the fields, in the order of [`SegmentBy::sorted`]. One that is too long to
    /// segment by is empty, see [`FieldValues::counted`](crate::segment::FieldValues::counted).
    pub values: Vec<Option<String>>,
}

impl CustomerValues {
    /// The bytes of the values, which bound how many customers are read at once.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.iter().flatten().map(String::len).sum()
    }
}

/// Customers of a group at one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customers {
    /// The group's version; `None` when there is no such group.
    pub group_version: Option<i64>,
    /// The customers, by the bytes of their references.
    pub customers: Vec<CustomerValues>,
    /// The reference of the last customer that was looked at; `None` at the end of the group.
    pub next: Option<String>,
}

/// Reads what a list of recipients is made of. Which segment a customer is in is for the domain to
/// say.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait RecipientStore: Send + Sync {
    /// The group of a run; `None` when the campaign has no such run.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn run_audience(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<RunAudience>, StoreError>;

    /// A page of the messages of a run, by the numbers of their segments, with the keys of the
    /// segments; with the segments' values, which may be large, if `with_attributes`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn run_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        with_attributes: bool,
        page: PageRequest<i32>,
    ) -> Result<Page<RunMessage, i32>, StoreError>;

    /// Customers of a group, of whom the last is the one whose values reach
    /// [`MAX_PAGE_BYTES`](crate::page::MAX_PAGE_BYTES). It holds no more in memory than it returns.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn customers(&self, query: CustomerQuery) -> Result<Customers, StoreError>;

    /// What messages of a campaign say; `None` for one without content. They are in the order of
    /// the ids, beginning with the first, and at least as many as fill a
    /// [`Page`](crate::page::Page); ids of no message are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn message_contents(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, Option<Content>)>, StoreError>;

    /// One message of a run; `None` when the run has no such message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn message_of_run(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        which: MessageOfRun,
    ) -> Result<Option<Message>, StoreError>;
}
