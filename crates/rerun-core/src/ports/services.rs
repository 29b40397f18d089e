//! Ports that are no store: time, ids, generation.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::campaign::Template;
use crate::error::Invalid;
use crate::generation::{GenerationError, GenerationTask, Made};
use crate::segment::SegmentBy;
use crate::timestamp::Timestamp;

/// Tells the time.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Clock: Send + Sync {
    /// Now, in whole milliseconds (see [`crate::timestamp::truncate`]).
    fn now(&self) -> Timestamp;
}

/// Makes ids.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait IdGenerator: Send + Sync {
    /// A UUID that nobody has had. Time-ordered ones (version 7) keep indexes compact.
    fn next(&self) -> Uuid;
}

/// Knows the template language.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait TemplateChecker: Send + Sync {
    /// Whether the template can be filled from these fields.
    ///
    /// # Errors
    /// [`Invalid`] saying where, when it is malformed or names anything but a field of
    /// `segment_by`.
    fn check(&self, template: &Template, segment_by: &SegmentBy) -> Result<(), Invalid>;
}

/// Makes the content of a message.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait MessageGenerator: Send + Sync {
    /// Generates the content for one segment. It may be called again for the same message.
    ///
    /// # Errors
    /// [`GenerationError`], whose kind says whether another call may succeed.
    async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError>;

    /// Returns as soon as the generator takes calls: at once, unless a call was put off and the
    /// wait is not over. Workers take up no messages before.
    async fn ready(&self) {}
}

/// Says how long to wait before a message is tried again.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Backoff: Send + Sync {
    /// The wait after the `failed`-th attempt failed (from 1).
    fn delay(&self, failed: u32) -> Duration;
}
