//! The use cases: what a caller can do. Each checks its input, decides on what a port read, and
//! has a port make the decision true. When the state moved meanwhile, it decides again.

mod audit;
mod campaigns;
mod generation;
mod groups;
mod history;
mod idempotency;
mod reruns;
mod reviews;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use audit::*;
pub use campaigns::*;
pub use generation::*;
pub use groups::*;
pub use history::*;
pub use idempotency::Answered;
pub use reruns::*;
pub use reviews::*;

use crate::actor::Actor;
use crate::audit::Authorship;
use crate::error::{Error, Invalid, StoreError};
use crate::ids::AuditEntryId;
use crate::page::{CursorKey, CursorScope, Limit, Page, PageRequest};
use crate::ports::{Backoff, Clock, IdGenerator, Store, TemplateChecker};

/// Limits and rules that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most segments that a run may have.
    pub max_segments: u32,
    /// Whether the user who edited a message is kept from approving it.
    pub four_eyes: bool,
    /// Attempts and leases.
    pub generation: crate::generation::GenerationPolicy,
    /// With what the cursors of lists are sealed.
    pub cursors: CursorKey,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_segments: 100_000,
            four_eyes: false,
            generation: crate::generation::GenerationPolicy::default(),
            cursors: CursorKey::default(),
        }
    }
}

/// Every use case over one store.
#[derive(Clone)]
pub struct Engine {
    /// Customer groups and imports.
    pub groups: CustomerGroups,
    /// Campaigns.
    pub campaigns: Campaigns,
    /// Runs: launch, rerun, preview, cancel, archive, retry.
    pub reruns: Reruns,
    /// Review, edits, publication.
    pub reviews: Reviews,
    /// What has been.
    pub history: Histories,
    /// The worker's side.
    pub generation: Generation,
    /// The audit log.
    pub audit: AuditLog,
}

impl Engine {
    /// Wires every use case to `store`.
    #[must_use]
    pub fn new<S: Store + 'static>(
        store: &Arc<S>,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn IdGenerator>,
        templates: &Arc<dyn TemplateChecker>,
        backoff: &Arc<dyn Backoff>,
        settings: Settings,
    ) -> Self {
        let (clock, ids) = (Arc::clone(clock), Arc::clone(ids));
        let stamps = Stamps { clock, ids };
        Self {
            groups: CustomerGroups::new(store.clone(), store.clone(), stamps.clone())
                .sealing_with(settings.cursors),
            campaigns: Campaigns::new(
                store.clone(),
                store.clone(),
                store.clone(),
                Arc::clone(templates),
                store.clone(),
                stamps.clone(),
                settings,
            ),
            reruns: Reruns::new(
                store.clone(),
                store.clone(),
                store.clone(),
                stamps.clone(),
                settings,
            ),
            reviews: Reviews::new(
                store.clone(),
                store.clone(),
                store.clone(),
                store.clone(),
                stamps.clone(),
                settings,
            ),
            history: Histories::new(store.clone()).sealing_with(settings.cursors),
            generation: Generation::new(
                store.clone(),
                Arc::clone(backoff),
                stamps,
                settings.generation,
            ),
            audit: AuditLog::new(store.clone()).sealing_with(settings.cursors),
        }
    }
}

/// Where times and ids come from.
#[derive(Clone)]
pub struct Stamps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdGenerator>,
}

impl Stamps {
    fn author(&self, actor: &Actor, at: crate::Timestamp) -> Authorship {
        Authorship {
            entry_id: AuditEntryId::new(self.ids.next()),
            actor: actor.clone(),
            at,
        }
    }
}

/// Which page of a list somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// The most rows, 1 to 10,000; 1,000 when not given.
    pub limit: Option<i64>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list, with the opaque text that asks for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// `None` at the end.
    pub next_cursor: Option<String>,
}

impl PageQuery {
    fn resolve<K: serde::de::DeserializeOwned>(
        &self,
        scope: CursorScope<'_>,
    ) -> Result<PageRequest<K>, Invalid> {
        Ok(PageRequest {
            limit: self.limit.map_or(Ok(Limit::default()), Limit::new)?,
            after: self
                .cursor
                .as_deref()
                .map(|cursor| scope.decode(cursor))
                .transpose()?,
        })
    }
}

fn listed<T, K: serde::Serialize>(
    page: Page<T, K>,
    scope: CursorScope<'_>,
) -> Result<Listed<T>, Error> {
    let encode = |key| {
        scope
            .encode(&key)
            .map_err(|e| Error::Store(StoreError::Backend(e.into())))
    };
    Ok(Listed {
        items: page.items,
        next_cursor: page.next.map(encode).transpose()?,
    })
}

/// How often a decision is made anew when the state keeps moving. Each conflict means that
/// somebody else got through, so that only a campaign under siege uses them up.
const MAX_DECISIONS: u32 = 50;

/// What to do about an error of a decision's commit: `Ok` to decide again.
fn decide_again(error: StoreError, decisions: &mut u32) -> Result<(), Error> {
    *decisions += 1;
    match error {
        StoreError::Conflict if *decisions < MAX_DECISIONS => Ok(()),
        StoreError::Conflict => Err(Error::Store(StoreError::Unavailable(
            "the campaign kept changing while the request was decided".into(),
        ))),
        other @ (StoreError::Corrupt(_) | StoreError::Unavailable(_) | StoreError::Backend(_)) => {
            Err(other.into())
        }
    }
}

/// The longest reason of a rejection or a cancellation, in characters.
const MAX_REASON_LENGTH: usize = 2_000;
