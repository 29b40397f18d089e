use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::idempotency::{Once, Replayable};
use super::{Host, Listed, PageQuery, listed};
use crate::actor::Actor;
use crate::audit::ImportAudit;
use crate::error::{Error, Invalid, StoreError};
use crate::event::Event;
use crate::group::{
    Customer, CustomerFile, CustomerGroup, DeletedCustomers, Imported, customer_digest,
};
use crate::ids::CustomerGroupId;
use crate::page::{CursorKey, CursorScope, list_bytes};
use crate::ports::{
    CustomerGroupStore, DeleteCustomers, DeleteGroup, EraseCustomer, GroupDeletion, IdempotencyKey,
    IdempotencyStore, ImportFailure, ListCustomers, RenameGroup,
};
use crate::text;
use crate::timestamp::Timestamp;

/// The idempotency key of an import, with what tells its file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKey<'a> {
    /// The key.
    pub key: &'a str,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// How the file is read: whatever gives the same bytes other rows, with defaults filled in.
    pub read_as: &'a str,
}

/// Customer groups and their customers.
#[derive(Clone)]
pub struct CustomerGroups {
    store: Arc<dyn CustomerGroupStore>,
    once: Once,
    host: Host,
    cursors: CursorKey,
}

/// What a creation made, without what its request says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Made {
    id: CustomerGroupId,
    #[serde(with = "crate::timestamp")]
    at: Timestamp,
}

/// The outcome of a renaming, without what is in the request and what never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Renamed {
    customer_count: i64,
    /// `None` when they are too long to be kept.
    fields: Option<Vec<String>>,
    #[serde(with = "crate::timestamp")]
    updated_at: Timestamp,
}

impl Renamed {
    /// The longest list of fields that is kept, as bytes of JSON.
    const MAX_FIELD_BYTES: usize = 8 * 1024;

    fn of(group: &CustomerGroup) -> Self {
        let short = list_bytes(&group.fields) <= Self::MAX_FIELD_BYTES;
        Self {
            customer_count: group.customer_count,
            fields: short.then(|| group.fields.clone()),
            updated_at: group.updated_at,
        }
    }

    /// The group as it was after the renaming; fields that were not kept are those of now.
    fn group(self, now: CustomerGroup, name: String) -> CustomerGroup {
        CustomerGroup {
            name,
            customer_count: self.customer_count,
            fields: self.fields.unwrap_or(now.fields),
            updated_at: self.updated_at,
            ..now
        }
    }
}

impl CustomerGroups {
    /// The most references that a list can be asked for.
    pub const MAX_LISTED_REFS: usize = 1_000;

    /// The most references that one request deletes.
    pub const MAX_DELETED_REFS: usize = 10_000;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn CustomerGroupStore>,
        responses: Arc<dyn IdempotencyStore>,
        host: Host,
    ) -> Self {
        Self {
            store,
            once: Once::new(responses, &host),
            host,
            cursors: CursorKey::default(),
        }
    }

    /// Seals cursors with this key, in place of the one that everybody knows.
    #[must_use]
    pub fn sealing_with(mut self, key: CursorKey) -> Self {
        self.cursors = key;
        self
    }

    /// Makes a group without customers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is blank or too long, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::Store`].
    pub async fn create(
        &self,
        actor: &Actor,
        name: &str,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<CustomerGroup>, Error> {
        let name = text::name("name", name, CustomerGroup::MAX_NAME_LENGTH)?;
        let made = self
            .once
            .run(
                actor,
                "customer_group.create",
                idempotency_key,
                &name,
                |key| self.make(actor, &name, key),
            )
            .await?;
        Ok(made.map(|made| Self::empty(actor, &name, made)))
    }

    async fn make(
        &self,
        actor: &Actor,
        name: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<Made, Error> {
        let made = Made {
            id: CustomerGroupId::new(self.host.ids.next()),
            at: self.host.clock.now(),
        };
        let event = Event::GroupCreated {
            customer_group_id: made.id,
            name: name.to_owned(),
        };
        let audit = self.host.author(actor, made.at).of(event);
        let response = key.map(|key| key.answered(&made)).transpose()?;
        let group = Self::empty(actor, name, made);
        self.store.create_group(&group, audit, response).await?;
        Ok(made)
    }

    /// The group as it was when it had just been made.
    fn empty(actor: &Actor, name: &str, made: Made) -> CustomerGroup {
        CustomerGroup {
            account_id: actor.account_id,
            id: made.id,
            name: name.to_owned(),
            customer_count: 0,
            fields: Vec::new(),
            created_at: made.at,
            updated_at: made.at,
        }
    }

    /// Gives a group another name. The same name again changes nothing and has no audit entry.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is blank or too long, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::CustomerGroupNotFound`];
    /// [`Error::Store`].
    pub async fn rename(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        name: &str,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<CustomerGroup>, Error> {
        let name = text::name("name", name, CustomerGroup::MAX_NAME_LENGTH)?;
        let renamed = self
            .once
            .run(
                actor,
                "customer_group.update",
                idempotency_key,
                &(id, &name),
                |key| self.try_rename(actor, id, &name, key),
            )
            .await?;
        let now = self.get(actor, id).await?;
        Ok(renamed.map(|renamed: Renamed| renamed.group(now, name)))
    }

    async fn try_rename(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        name: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<Renamed, Error> {
        let group = self.get(actor, id).await?;
        let renamed = Renamed::of(&group);
        let at = self.host.clock.now();
        let audit = (group.name != name).then(|| {
            self.host.author(actor, at).of(Event::GroupUpdated {
                customer_group_id: id,
                name: name.to_owned(),
            })
        });
        let rename = RenameGroup {
            account_id: actor.account_id,
            group_id: id,
            from: group.name,
            to: name.to_owned(),
            at,
            audit,
            response: key.map(|key| key.answered(&renamed)).transpose()?,
        };
        self.store.rename_group(rename).await?;
        Ok(renamed)
    }

    /// The group.
    ///
    /// # Errors
    /// [`Error::CustomerGroupNotFound`], [`Error::Store`].
    pub async fn get(&self, actor: &Actor, id: CustomerGroupId) -> Result<CustomerGroup, Error> {
        let found = self.store.find_group(actor.account_id, id).await?;
        found.ok_or(Error::CustomerGroupNotFound)
    }

    /// The account's groups, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        page: &PageQuery,
    ) -> Result<Listed<CustomerGroup>, Error> {
        let scope = CursorScope {
            key: self.cursors,
            list: "customer_groups",
            account: actor.account_id,
            narrowed_by: "",
        };
        let page = self
            .store
            .list_groups(actor.account_id, page.resolve(scope)?)
            .await?;
        listed(page, scope)
    }

    /// Deletes a group with its customers; returns how many those were. The history keeps its id
    /// and name.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CustomerGroupNotFound`]; [`Error::GroupInUse`]; [`Error::Store`].
    pub async fn delete(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<u64>, Error> {
        self.once
            .run(
                actor,
                "customer_group.delete",
                idempotency_key,
                &id,
                |key| async {
                    let delete = DeleteGroup {
                        author: self.host.author(actor, self.host.clock.now()),
                        group_id: id,
                        key,
                    };
                    match self.store.delete_group(delete).await? {
                        GroupDeletion::Deleted(customers) => Ok(customers),
                        GroupDeletion::NotFound => Err(Error::CustomerGroupNotFound),
                        GroupDeletion::InUse => Err(Error::GroupInUse),
                    }
                },
            )
            .await
    }

    /// Customers of a group, by the bytes of their references: all, or those with one of `refs`, at
    /// most [`CustomerGroups::MAX_LISTED_REFS`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many references, or a limit or cursor that is not valid;
    /// [`Error::CustomerGroupNotFound`]; [`Error::Store`].
    pub async fn customers(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        refs: Option<&[String]>,
        page: &PageQuery,
    ) -> Result<Listed<Customer>, Error> {
        let refs = refs
            .map(|refs| references(refs, Self::MAX_LISTED_REFS))
            .transpose()?;
        let narrowed_by = json!([id, refs]).to_string();
        let scope = CursorScope {
            key: self.cursors,
            list: "customers",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        self.get(actor, id).await?;
        let list = ListCustomers {
            account_id: actor.account_id,
            group_id: id,
            customer_refs: refs,
            page,
        };
        listed(self.store.list_customers(list).await?, scope)
    }

    /// Deletes customers of a group, all at once. A reference that no customer has counts as 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for none or more than [`CustomerGroups::MAX_DELETED_REFS`] references, and
    /// with [`Error::IdempotencyKeyReused`] for the key; [`Error::CustomerGroupNotFound`];
    /// [`Error::Store`].
    pub async fn delete_customers(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        refs: &[String],
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<DeletedCustomers>, Error> {
        if refs.is_empty() {
            return Err(Invalid::new("`customer_refs` must not be empty").into());
        }
        let refs = references(refs, Self::MAX_DELETED_REFS)?;
        let request = (id, &refs);
        self.once
            .run(
                actor,
                "customers.delete",
                idempotency_key,
                &request,
                |key| async {
                    let delete = DeleteCustomers {
                        author: self.host.author(actor, self.host.clock.now()),
                        group_id: id,
                        customer_refs: refs.clone(),
                        key,
                    };
                    let deleted = self.store.delete_customers(delete).await?;
                    deleted.ok_or(Error::CustomerGroupNotFound)
                },
            )
            .await
    }

    /// Deletes a customer from every group of the account; returns how many groups had the
    /// customer.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CustomerNotFound`] when no group has the customer; [`Error::Store`].
    pub async fn erase(
        &self,
        actor: &Actor,
        customer_ref: &str,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<u64>, Error> {
        let reference = Customer::reference("customer_ref", customer_ref)?;
        let reference = reference.ok_or(Error::CustomerNotFound)?;
        let account = actor.account_id;
        self.once
            .run(
                actor,
                "customer.erase",
                idempotency_key,
                &customer_digest(account, &reference),
                |key| async {
                    let erase = EraseCustomer {
                        author: self.host.author(actor, self.host.clock.now()),
                        customer_ref: reference.clone(),
                        key,
                    };
                    match self.store.erase_customer(erase).await? {
                        0 => Err(Error::CustomerNotFound),
                        groups => Ok(groups),
                    }
                },
            )
            .await
    }

    /// Takes customers into a group, all or none.
    ///
    /// # Errors
    /// [`Error::CustomerGroupNotFound`]; [`Error::Invalid`] for the first row that breaks a rule,
    /// for a file without rows that would empty the group, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::Store`].
    pub async fn import(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        file: CustomerFile,
        idempotency_key: Option<FileKey<'_>>,
    ) -> Result<Replayable<Imported>, Error> {
        let source = idempotency_key.map(|key| (key.sha256, key.read_as));
        let body = (id, file.mode.as_str(), source);
        let key = idempotency_key.map(|key| key.key);
        let file = Mutex::new(Some(file.not_emptying()));
        self.once
            .run(actor, "customer_group.import", key, &body, |key| {
                let file = file.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.take_in(actor, id, file, key)
            })
            .await
    }

    async fn take_in(
        &self,
        actor: &Actor,
        id: CustomerGroupId,
        file: Option<CustomerFile>,
        key: Option<IdempotencyKey>,
    ) -> Result<Imported, Error> {
        // The rows can be pulled once. What took the key meanwhile is gone again: very rare.
        let file = file.ok_or_else(|| {
            StoreError::Unavailable("the import lost its key to another request".into())
        })?;
        let audit = ImportAudit {
            author: self.host.author(actor, self.host.clock.now()),
            customer_group_id: id,
            mode: file.mode,
        };
        self.store
            .import_customers(actor.account_id, id, file, audit, key)
            .await
            .map_err(|failure| import_error(failure, Error::CustomerGroupNotFound))
    }
}

/// The references that a request means, each once, by their bytes.
fn references(texts: &[String], most: usize) -> Result<Vec<String>, Error> {
    if texts.len() > most {
        let found = texts.len();
        let said = format!("`customer_refs` may have at most {most} items, not {found}");
        return Err(Invalid::new(said).into());
    }
    let mut refs = BTreeSet::new();
    for text in texts {
        refs.extend(Customer::reference("customer_refs", text)?);
    }
    Ok(refs.into_iter().collect())
}

pub(super) fn import_error(failure: ImportFailure, not_found: Error) -> Error {
    match failure {
        ImportFailure::Rejected(invalid) => Error::Invalid(invalid),
        ImportFailure::GroupNotFound => not_found,
        ImportFailure::Store(error) => Error::Store(error),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::AccountId;
    use crate::ports::{MockClock, MockCustomerGroupStore, MockIdGenerator, MockIdempotencyStore};

    #[test]
    fn what_is_kept_of_a_renamed_group_has_its_fields_up_to_8_kib() {
        let kept = |bytes: usize| {
            let group = CustomerGroup {
                account_id: AccountId::new(Uuid::nil()),
                id: CustomerGroupId::new(Uuid::nil()),
                name: "Spring".into(),
                customer_count: 1,
                // In JSON a name has quotes and a comma.
                fields: vec!["x".repeat(bytes / 2 - 3); 2],
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
            };
            Renamed::of(&group).fields == Some(group.fields)
        };
        assert!(kept(8 * 1024));
        assert!(!kept(8 * 1024 + 2));
    }

    #[tokio::test]
    async fn a_name_that_a_group_has_already_is_not_logged() {
        let account = AccountId::new(Uuid::nil());
        let group = move || CustomerGroup {
            account_id: account,
            id: CustomerGroupId::new(Uuid::nil()),
            name: "Spring".into(),
            customer_count: 1,
            fields: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        for (name, is_logged) in [("Spring", false), ("Summer", true)] {
            let mut store = MockCustomerGroupStore::new();
            store
                .expect_find_group()
                .returning(move |_, _| Ok(Some(group())));
            store
                .expect_rename_group()
                .withf(move |rename| rename.audit.is_some() == is_logged)
                .times(1)
                .returning(|_| Ok(()));
            let mut clock = MockClock::new();
            clock.expect_now().return_const(Timestamp::UNIX_EPOCH);
            let mut ids = MockIdGenerator::new();
            ids.expect_next().return_const(Uuid::nil());
            let groups = CustomerGroups::new(
                Arc::new(store),
                Arc::new(MockIdempotencyStore::new()),
                Host::new(clock, ids),
            );
            let actor = Actor::system(account);
            let renamed = groups.rename(&actor, group().id, name, None).await;
            assert!(renamed.is_ok());
        }
    }

    #[test]
    fn a_request_names_no_more_customers_than_allowed() {
        let texts = ["b", " a ", "a", ""].map(String::from);
        assert_eq!(references(&texts, 4).unwrap(), ["a", "b"]);
        let refused = references(&texts, 3).unwrap_err().to_string();
        assert!(refused.contains("at most 3 items, not 4"), "{refused}");
        assert!(references(&texts, 2).is_err());
    }
}
