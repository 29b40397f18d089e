use std::sync::Arc;

use super::{Listed, PageQuery, Stamps, listed};
use crate::audit::{AuditAction, Caller};
use crate::error::Error;
use crate::group::{CustomerFile, CustomerGroup, Imported};
use crate::ids::CustomerGroupId;
use crate::page::CursorScope;
use crate::ports::{CustomerGroupStore, ImportFailure};
use crate::text;

/// Customer groups and their customers.
#[derive(Clone)]
pub struct CustomerGroups {
    store: Arc<dyn CustomerGroupStore>,
    stamps: Stamps,
}

impl CustomerGroups {
    /// Over these ports.
    #[must_use]
    pub fn new(store: Arc<dyn CustomerGroupStore>, stamps: Stamps) -> Self {
        Self { store, stamps }
    }

    /// Makes a group without customers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is blank or too long; [`Error::Store`].
    pub async fn create(&self, caller: &Caller, name: &str) -> Result<CustomerGroup, Error> {
        let name = text::name("name", name, CustomerGroup::MAX_NAME_LENGTH)?;
        let now = self.stamps.clock.now();
        let group = CustomerGroup {
            account_id: caller.account_id,
            id: CustomerGroupId::new(self.stamps.ids.next()),
            name,
            customer_count: 0,
            fields: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let audit = self
            .stamps
            .audit(caller, AuditAction::GroupCreated, now)
            .with("customer_group_id", group.id.to_string())
            .with("name", group.name.as_str());
        self.store.create_group(&group, audit).await?;
        Ok(group)
    }

    /// The group.
    ///
    /// # Errors
    /// [`Error::CustomerGroupNotFound`], [`Error::Store`].
    pub async fn get(&self, caller: &Caller, id: CustomerGroupId) -> Result<CustomerGroup, Error> {
        let found = self.store.find_group(caller.account_id, id).await?;
        found.ok_or(Error::CustomerGroupNotFound)
    }

    /// The account's groups, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
    pub async fn list(
        &self,
        caller: &Caller,
        page: &PageQuery,
    ) -> Result<Listed<CustomerGroup>, Error> {
        let scope = CursorScope {
            list: "customer_groups",
            account: caller.account_id,
            narrowed_by: "",
        };
        let page = self
            .store
            .list_groups(caller.account_id, page.resolve(scope)?)
            .await?;
        listed(page, scope)
    }

    /// Takes customers into a group, all or none.
    ///
    /// # Errors
    /// [`Error::CustomerGroupNotFound`]; [`Error::Invalid`] for the first row that breaks a rule,
    /// and for a file without rows that would empty the group; [`Error::Store`].
    pub async fn import(
        &self,
        caller: &Caller,
        id: CustomerGroupId,
        file: CustomerFile,
    ) -> Result<Imported, Error> {
        let now = self.stamps.clock.now();
        let audit = self
            .stamps
            .audit(caller, AuditAction::GroupImported, now)
            .with("customer_group_id", id.to_string())
            .with("mode", file.mode.as_str());
        self.store
            .import_customers(caller.account_id, id, file.not_emptying(), audit)
            .await
            .map_err(|failure| import_error(failure, Error::CustomerGroupNotFound))
    }
}

pub(super) fn import_error(failure: ImportFailure, not_found: Error) -> Error {
    match failure {
        ImportFailure::Rejected(invalid) => Error::Invalid(invalid),
        ImportFailure::GroupNotFound => not_found,
        ImportFailure::Store(error) => Error::Store(error),
    }
}
