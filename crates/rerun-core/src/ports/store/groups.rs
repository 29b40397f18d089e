//! Customer groups and their customers.

use async_trait::async_trait;

use super::idempotency::{IdempotencyKey, IdempotentResponse};
use crate::audit::{AuditDraft, ImportAudit};
use crate::error::{Invalid, StoreError};
use crate::group::{CustomerFile, CustomerGroup, Imported};
use crate::ids::{AccountId, CustomerGroupId};
use crate::page::{CreatedKey, Page, PageRequest};

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

/// Keeps customer groups and their customers.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CustomerGroupStore: Send + Sync {
    /// Adds a group that has no customers yet, with its audit entry and the response to keep.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the idempotency key was used meanwhile.
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError>;

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
}
