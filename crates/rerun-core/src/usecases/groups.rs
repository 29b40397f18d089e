use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::idempotency::{Answered, Once};
use super::{Listed, PageQuery, Stamps, listed};
use crate::actor::Actor;
use crate::audit::ImportAudit;
use crate::error::{Error, StoreError};
use crate::event::Event;
use crate::group::{CustomerFile, CustomerGroup, Imported};
use crate::ids::CustomerGroupId;
use crate::page::{CursorKey, CursorScope};
use crate::ports::{CustomerGroupStore, IdempotencyKey, IdempotencyStore, ImportFailure};
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
    stamps: Stamps,
    cursors: CursorKey,
}

/// What a creation made, without what its request says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Made {
    id: CustomerGroupId,
    #[serde(with = "crate::timestamp")]
    at: Timestamp,
}

impl CustomerGroups {
    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn CustomerGroupStore>,
        responses: Arc<dyn IdempotencyStore>,
        stamps: Stamps,
    ) -> Self {
        Self {
            store,
            once: Once::new(responses, &stamps),
            stamps,
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
    ) -> Result<Answered<CustomerGroup>, Error> {
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
            id: CustomerGroupId::new(self.stamps.ids.next()),
            at: self.stamps.clock.now(),
        };
        let event = Event::GroupCreated {
            customer_group_id: made.id,
            name: name.to_owned(),
        };
        let audit = self.stamps.author(actor, made.at).of(event);
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
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
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
    ) -> Result<Answered<Imported>, Error> {
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
            author: self.stamps.author(actor, self.stamps.clock.now()),
            customer_group_id: id,
            mode: file.mode,
        };
        self.store
            .import_customers(actor.account_id, id, file, audit, key)
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
