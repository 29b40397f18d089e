//! Customer groups and their customers.

use async_trait::async_trait;

use super::idempotency::{IdempotencyKey, IdempotentResponse};
use crate::audit::{AuditDraft, Authorship, ImportAudit};
use crate::error::{Invalid, StoreError};
use crate::event::Event;
use crate::group::{
    Customer, CustomerFile, CustomerGroup, DeletedCustomers, Imported, customer_digest,
};
use crate::ids::{AccountId, CustomerGroupId};
use crate::page::{CreatedKey, CustomerKey, Page, PageRequest};
use crate::timestamp::Timestamp;

/// Why an import of rows was refused or failed. Either way nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// A row broke a rule.
    #[error(transparent)]
    Rejected(#[from] Invalid),
    /// The account has no such customer group.
    #[error("customer group not found")]
    GroupNotFound,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Another name for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameGroup {
    /// The account.
    pub account_id: AccountId,
    /// The group.
    pub group_id: CustomerGroupId,
    /// The name that it had when this was decided.
    pub from: String,
    /// The name that it gets.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// The audit entry; `None` when the name stays what it is.
    pub audit: Option<AuditDraft>,
    /// The response to keep.
    pub response: Option<IdempotentResponse>,
}

/// Deletes a group with its customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroup {
    /// Who deletes it, and when.
    pub author: Authorship,
    /// The group.
    pub group_id: CustomerGroupId,
    /// The key that the response is kept under.
    pub key: Option<IdempotencyKey>,
}

impl DeleteGroup {
    /// The entry of a deletion of a group with this name and so many customers.
    #[must_use]
    pub fn audit(self, name: String, customers: u64) -> AuditDraft {
        self.author.of(Event::GroupDeleted {
            customer_group_id: self.group_id,
            name,
            customers,
        })
    }
}

/// What became of a group that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupDeletion {
    /// It is gone, with so many customers.
    Deleted(u64),
    /// The account has no such group.
    NotFound,
    /// It is the group of a draft, or of the current run of a campaign.
    InUse,
}

/// Asks for a page of a group's customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCustomers {
    /// The account.
    pub account_id: AccountId,
    /// The group.
    pub group_id: CustomerGroupId,
    /// Those that are asked for; `None` for all.
    pub customer_refs: Option<Vec<String>>,
    /// The page.
    pub page: PageRequest<CustomerKey>,
}

/// Deletes customers of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteCustomers {
    /// Who deletes them, and when.
    pub author: Authorship,
    /// The group.
    pub group_id: CustomerGroupId,
    /// Their references, each once, by their bytes.
    pub customer_refs: Vec<String>,
    /// The key that the response is kept under.
    pub key: Option<IdempotencyKey>,
}

impl DeleteCustomers {
    /// The entry of a deletion that did this.
    #[must_use]
    pub fn audit(self, deleted: DeletedCustomers) -> AuditDraft {
        self.author.of(Event::CustomersDeleted {
            customer_group_id: self.group_id,
            deleted,
        })
    }
}

/// Deletes a customer from every group of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseCustomer {
    /// Who erases, and when.
    pub author: Authorship,
    /// The customer's reference.
    pub customer_ref: String,
    /// The key that the response is kept under.
    pub key: Option<IdempotencyKey>,
}

impl EraseCustomer {
    /// The entry of an erasure from so many groups.
    #[must_use]
    pub fn audit(self, groups: u64) -> AuditDraft {
        let customer = customer_digest(self.author.actor.account_id, &self.customer_ref);
        self.author.of(Event::CustomerErased { customer, groups })
    }
}

/// Keeps customer groups and their customers.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CustomerGroupStore: Send + Sync {
    /// Adds a group that has no customers yet, with its audit entry and the response to keep.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the idempotency key was used in the meantime.
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError>;

    /// Gives a group another name, with its audit entry and the response to keep. The group's
    /// version and the time of its last change stay: they are about its customers.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the group has another name by now, the account has no such
    /// group, or the idempotency key was used in the meantime.
    async fn rename_group(&self, rename: RenameGroup) -> Result<(), StoreError>;

    /// The group, or `None` when the account has no such group.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError>;

    /// The account's groups, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_groups(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<CustomerGroup, CreatedKey>, StoreError>;

    /// Takes every row into the group, all or none: readers see the group as it was before or as
    /// it is after. Rows are pulled one by one, so that memory does not grow with their number.
    /// Of several rows with one reference the last wins. A customer that the group has is updated:
    /// the file's fields replace its values (`None` removes one). In
    /// [merge mode](crate::group::ImportMode::Merge) other fields and other customers stay; in
    /// [replace mode](crate::group::ImportMode::Replace) they go. The group's fields become those of
    /// [`ImportMode::fields_after`](crate::group::ImportMode::fields_after). Counts of segments
    /// kept for the group are dropped when a customer came, changed or went. The audit entry is
    /// completed with the answer's numbers by [`ImportAudit::completed`]; an import that changes neither
    /// customers nor fields has none. What it did is kept under the key either way.
    ///
    /// # Errors
    /// [`ImportFailure`]; the first refused row ends the import. [`StoreError::Conflict`] when the
    /// idempotency key was used meanwhile; a store may find that out before it pulls a row.
    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        file: CustomerFile,
        audit: ImportAudit,
        key: Option<IdempotencyKey>,
    ) -> Result<Imported, ImportFailure>;

    /// Takes a group out of everybody's reach at once, with its audit entry and the response to
    /// keep; its customers go bit by bit, see
    /// [`sweep_deleted`](super::CampaignStore::sweep_deleted). Runs keep its id and the name that
    /// it had. A group that is in use stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the idempotency key was used in the meantime.
    async fn delete_group(&self, delete: DeleteGroup) -> Result<GroupDeletion, StoreError>;

    /// Customers of a group, by the bytes of their references.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_customers(
        &self,
        list: ListCustomers,
    ) -> Result<Page<Customer, CustomerKey>, StoreError>;

    /// Deletes customers of a group in one transaction; returns `None` if the account has no such
    /// group. Unknown references are ignored. Also deletes the group's kept counts of segments. If
    /// no customer is deleted, no audit entry is written, but the response is kept.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the group was deleted or the idempotency key was used in the meantime.
    async fn delete_customers(
        &self,
        delete: DeleteCustomers,
    ) -> Result<Option<DeletedCustomers>, StoreError>;

    /// Deletes a customer from every group of the account, including the remains of deleted groups.
    /// Returns how many groups had the customer; if none had, writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the customer was deleted or the idempotency key was used in the meantime.
    async fn erase_customer(&self, erase: EraseCustomer) -> Result<u64, StoreError>;
}
