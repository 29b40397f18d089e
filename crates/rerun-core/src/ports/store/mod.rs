//! Ports that a store implements, one file for each subject.

mod audit;
mod campaigns;
mod changed_groups;
mod cursors;
mod deliveries;
mod events;
mod groups;
mod history;
mod idempotency;
mod pools;
mod queue;
mod recipients;
mod reruns;
mod review;
mod schedules;
mod webhooks;

use async_trait::async_trait;

use crate::error::StoreError;

pub use audit::*;
pub use campaigns::*;
pub use changed_groups::*;
pub use cursors::*;
pub use deliveries::*;
pub use events::*;
pub use groups::*;
pub use history::*;
pub use idempotency::*;
pub use pools::*;
pub use queue::*;
pub use recipients::*;
pub use reruns::*;
pub use review::*;
pub use schedules::*;
pub use webhooks::*;

/// Says whether the store can be reached and has the schema that this version needs.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait HealthCheck: Send + Sync {
    /// Asks the database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn check(&self) -> Result<(), StoreError>;
}

/// All that a whole store implements.
pub trait Store:
    CustomerGroupStore
    + CampaignStore
    + HistoryStore
    + RecipientStore
    + RerunStore
    + ReviewStore
    + IdempotencyStore
    + GenerationQueue
    + QueueGauge
    + AuditStore
    + EventLog
    + WebhookStore
    + DeliveryQueue
    + DeliveryGauge
    + ScheduleStore
    + ScheduleQueue
    + ScheduleGauge
    + ChangedGroupQueue
    + EventCursors
    + HealthCheck
{
}

impl<S> Store for S where
    S: CustomerGroupStore
        + CampaignStore
        + HistoryStore
        + RecipientStore
        + RerunStore
        + ReviewStore
        + IdempotencyStore
        + GenerationQueue
        + QueueGauge
        + AuditStore
        + EventLog
        + WebhookStore
        + DeliveryQueue
        + DeliveryGauge
        + ScheduleStore
        + ScheduleQueue
        + ScheduleGauge
        + ChangedGroupQueue
        + EventCursors
        + HealthCheck
{
}
