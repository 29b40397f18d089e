//! The use cases: what a caller can do. Each one checks its input, reads the state through a port,
//! decides, and writes the decision through a port. If the state has changed in between, it decides
//! again.

mod audit;
mod campaigns;
mod deliveries;
mod events;
mod generation;
mod groups;
mod history;
mod idempotency;
mod publications;
mod recipients;
mod rerun_suggestions;
mod reruns;
mod reviews;
mod schedules;
#[cfg(test)]
mod tests;
mod turns;
mod webhooks;

use std::sync::Arc;

pub use audit::*;
pub use campaigns::*;
pub use deliveries::*;
pub use events::*;
pub use generation::*;
pub use groups::*;
pub use history::*;
pub use idempotency::Replayable;
pub use publications::*;
pub use recipients::*;
pub use rerun_suggestions::*;
pub use reruns::*;
pub use reviews::*;
pub use schedules::{
    Decided, Fired, NewSchedule, ScheduleChanges, ScheduleDetails, SchedulePorts, Schedules,
};
pub use webhooks::*;

use crate::actor::Actor;
use crate::audit::Authorship;
use crate::error::{Error, Invalid, StoreError};
use crate::group::CustomerGroup;
use crate::ids::AuditEntryId;
use crate::page::{CursorKey, CursorScope, Limit, Page, PageRequest};
use crate::ports::{
    AnyTemplate, Backoff, Calendar, Clock, EveryRole, IdGenerator, NoCalendar, NoPause, Pause,
    Permissions, RerunStore, Store, TemplateChecker,
};

/// Limits and rules that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most segments that a run may have; 100,000 by default.
    pub max_segments: u32,
    /// Whether the user who edited a message is kept from approving it; not by default.
    pub four_eyes: bool,
    /// Attempts and leases.
    pub generation: crate::generation::GenerationPolicy,
    /// With what the cursors of lists are sealed.
    pub cursors: CursorKey,
    /// The most webhooks that an account may have; [`Webhooks::MOST`] by default.
    pub webhooks: u32,
    /// The most schedules that an account may have; 100 by default.
    pub schedules_per_account: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_segments: 100_000,
            four_eyes: false,
            generation: crate::generation::GenerationPolicy::default(),
            cursors: CursorKey::default(),
            webhooks: Webhooks::MOST,
            schedules_per_account: 100,
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
    /// Who gets which message.
    pub recipients: Recipients,
    /// The worker's side.
    pub generation: Generation,
    /// Schedules and their firings.
    pub schedules: Schedules,
    /// The audit log.
    pub audit: AuditLog,
    /// The same as events for other systems.
    pub events: Events,
    /// Where events are sent.
    pub webhooks: Webhooks,
    /// The sender's side of that.
    pub deliveries: Deliveries,
    /// What reruns would change after imports.
    pub rerun_suggestions: RerunSuggestions,
    /// What publishes events in a stream.
    pub publications: Publications,
}

#[cfg(feature = "system")]
impl Engine {
    /// Over `store`, with the clock and ids of the machine, waits that double, and a template
    /// language that takes every template.
    pub fn builder<S: Store + 'static>(store: S) -> EngineBuilder<S> {
        Self::builder_over(Arc::new(store))
    }

    /// The same over a store that others use too.
    pub fn builder_over<S: Store + 'static>(store: Arc<S>) -> EngineBuilder<S> {
        use crate::system::{ExponentialBackoff, SystemClock, UuidV7};
        EngineBuilder::new(store, SystemClock, UuidV7, ExponentialBackoff)
    }
}

/// Puts an [`Engine`] together from a store and values that implement the other ports. An `Arc` of
/// such a value is one, too; for an `Arc` of a store there is [`Engine::builder_over`].
#[must_use]
pub struct EngineBuilder<S> {
    store: Arc<S>,
    host: Host,
    templates: Arc<dyn TemplateChecker>,
    calendar: Arc<dyn Calendar>,
    permissions: Arc<dyn Permissions>,
    backoff: Arc<dyn Backoff>,
    webhooks: WebhookPorts,
    settings: Settings,
}

impl<S: Store + 'static> EngineBuilder<S> {
    /// With no world but what is given. It takes every template, and makes decisions again at once.
    pub fn new(
        store: Arc<S>,
        clock: impl Clock + 'static,
        ids: impl IdGenerator + 'static,
        backoff: impl Backoff + 'static,
    ) -> Self {
        Self {
            store,
            host: Host::new(clock, ids),
            templates: Arc::new(AnyTemplate),
            calendar: Arc::new(NoCalendar),
            permissions: Arc::new(EveryRole),
            backoff: Arc::new(backoff),
            webhooks: WebhookPorts::default(),
            settings: Settings::default(),
        }
    }

    /// Tells the time.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.host.clock = Arc::new(clock);
        self
    }

    /// Makes ids.
    pub fn ids(mut self, ids: impl IdGenerator + 'static) -> Self {
        self.host.ids = Arc::new(ids);
        self
    }

    /// Says how long to wait before a message is tried again.
    pub fn backoff(mut self, backoff: impl Backoff + 'static) -> Self {
        self.backoff = Arc::new(backoff);
        self
    }

    /// Waits before a decision is made again.
    pub fn pause(mut self, pause: impl Pause + 'static) -> Self {
        self.host.pause = Arc::new(pause);
        self
    }

    /// Knows the template language, so that a wrong placeholder is refused when the campaign is made
    /// and not only when its messages are generated. `rerun-generate` has one for the template
    /// generator: `TemplateGenerator`.
    pub fn templates(mut self, templates: impl TemplateChecker + 'static) -> Self {
        self.templates = Arc::new(templates);
        self
    }

    /// Knows where webhooks may point, knows their secrets, and sends. Without it nothing is sent.
    pub fn webhooks(mut self, ports: WebhookPorts) -> Self {
        self.webhooks = ports;
        self
    }

    /// Knows cron patterns and time zones.
    pub fn calendar(mut self, calendar: impl Calendar + 'static) -> Self {
        self.calendar = Arc::new(calendar);
        self
    }

    /// Knows what roles may do when a schedule fires.
    pub fn permissions(mut self, permissions: impl Permissions + 'static) -> Self {
        self.permissions = Arc::new(permissions);
        self
    }

    /// Limits and rules.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Every use case over the store.
    #[must_use]
    pub fn build(self) -> Engine {
        let Self {
            store,
            host,
            templates,
            calendar,
            permissions,
            backoff,
            webhooks,
            settings,
        } = self;
        let reruns = Reruns::new(
            store.clone(),
            store.clone(),
            store.clone(),
            host.clone(),
            settings,
        );
        let ports = SchedulePorts {
            store: store.clone(),
            queue: store.clone(),
            campaigns: store.clone(),
            groups: store.clone(),
            responses: store.clone(),
            reruns: reruns.clone(),
            calendar,
            permissions,
        };
        Engine {
            schedules: Schedules::new(ports, host.clone(), settings),
            rerun_suggestions: RerunSuggestions::new(store.clone(), reruns.clone(), host.clone()),
            reruns,
            groups: CustomerGroups::new(store.clone(), store.clone(), host.clone())
                .sealing_with(settings.cursors),
            campaigns: Campaigns::new(
                store.clone(),
                store.clone(),
                store.clone(),
                templates,
                store.clone(),
                host.clone(),
                settings,
            ),
            reviews: Reviews::new(
                store.clone(),
                store.clone(),
                store.clone(),
                store.clone(),
                host.clone(),
                settings,
            ),
            recipients: Recipients::new(store.clone(), store.clone()),
            history: Histories::new(store.clone()).sealing_with(settings.cursors),
            webhooks: Webhooks::new(
                store.clone(),
                store.clone(),
                store.clone(),
                store.clone(),
                webhooks,
                host.clone(),
            )
            .at_most(settings.webhooks)
            .sealing_with(settings.cursors),
            deliveries: Deliveries::new(store.clone(), host.clone()),
            publications: Publications::new(store.clone(), store.clone(), host.clone()),
            generation: Generation::new(store.clone(), backoff, host, settings.generation),
            audit: AuditLog::new(store.clone()).sealing_with(settings.cursors),
            events: Events::new(store),
        }
    }
}

/// What use cases take from the program around them: the time, new ids, and the wait between two attempts at a
/// decision.
#[derive(Clone)]
pub struct Host {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdGenerator>,
    /// The wait before a decision is made again.
    pub pause: Arc<dyn Pause>,
}

impl Host {
    /// Decisions are made again at once.
    #[must_use]
    pub fn new(clock: impl Clock + 'static, ids: impl IdGenerator + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            ids: Arc::new(ids),
            pause: Arc::new(NoPause),
        }
    }

    fn author(&self, actor: &Actor, at: crate::timestamp::Timestamp) -> Authorship {
        Authorship {
            entry_id: AuditEntryId::new(self.ids.next()),
            actor: actor.clone(),
            at,
        }
    }

    /// What to do about an error of a decision's commit: `Ok` to decide again, after a pause.
    async fn decide_again(&self, error: StoreError, conflicts: &mut u32) -> Result<(), Error> {
        *conflicts += 1;
        match error {
            StoreError::Conflict if *conflicts <= MAX_CONFLICTS => {
                self.pause.after_conflict(*conflicts).await;
                Ok(())
            }
            StoreError::Conflict => Err(Error::Store(StoreError::Unavailable(
                "the campaign kept changing while the request was decided".into(),
            ))),
            other @ (StoreError::Corrupt(_)
            | StoreError::Unavailable(_)
            | StoreError::Backend(_)) => Err(other.into()),
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

/// How often a decision is made again when the state keeps moving. Each conflict means that
/// somebody else got through, and each pause is longer, so that only a campaign under siege uses
/// them up.
const MAX_CONFLICTS: u32 = 5;

/// Has a refusal for fields that no customer of the group has propose fields that some customer has.
async fn naming_valued<T>(
    store: &dyn RerunStore,
    group: &CustomerGroup,
    decided: Result<T, Error>,
) -> Result<T, Error> {
    match decided {
        Err(Error::UnknownSegmentField(mut unknown)) if !unknown.known.is_empty() => {
            let proposed = unknown.known.clone();
            let valued = store
                .valued_fields(group.account_id, group.id, proposed)
                .await?;
            unknown.keep_valued(&valued);
            Err(Error::UnknownSegmentField(unknown))
        }
        decided => decided,
    }
}

/// The longest reason of a rejection or a cancellation, in characters.
const MAX_REASON_LENGTH: usize = 2_000;
