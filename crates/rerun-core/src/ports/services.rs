//! Ports other than the store: time, ids, generation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::campaign::Template;
use crate::delivery::{Outcome, Parcel};
use crate::error::Invalid;
use crate::feed::PublicEvent;
use crate::generation::{GenerationError, GenerationTask, Made};
use crate::ids::{AccountId, WebhookId};
use crate::message::Content;
use crate::publication::{PublishError, Published};
use crate::schedule::CalendarTime;
use crate::segment::{Attributes, SegmentBy};
use crate::timestamp::Timestamp;
use crate::webhook::{SecretNumber, WebhookSecret};

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

    /// Returns the template filled with the values of a segment by these fields. A preview shows the
    /// text even if no message may have it.
    ///
    /// # Errors
    /// [`Invalid`] when the template cannot be filled, or the text becomes too long.
    fn fill(
        &self,
        template: &Template,
        segment_by: &SegmentBy,
        attributes: &Attributes,
    ) -> Result<Content, Invalid>;
}

/// Knows cron patterns and time zones.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Calendar: Send + Sync {
    /// Checks the name of a time zone.
    ///
    /// # Errors
    /// [`Invalid`] for a name that the IANA database does not have.
    fn check_zone(&self, time_zone: &str) -> Result<(), Invalid>;

    /// Returns the pattern in words.
    ///
    /// # Errors
    /// [`Invalid`] for a pattern that is malformed, never fires, or fires more often than every
    /// [`Schedule::MIN_MINUTES`](crate::schedule::Schedule::MIN_MINUTES) minutes, and for an unknown
    /// time zone.
    fn describe(&self, cron: &str, time_zone: &str) -> Result<String, Invalid>;

    /// Returns the first times of a pattern after `after`, at most `limit`: fewer where there are no
    /// more. In a clock change, a fixed time that does not exist is the first instant after it, and one
    /// that exists twice is its first. A pattern with a wildcard in minute or hour has the times that
    /// exist, and both of those that exist twice.
    ///
    /// # Errors
    /// [`Invalid`] for a malformed pattern or an unknown time zone.
    fn times(
        &self,
        cron: &str,
        time_zone: &str,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<CalendarTime>, Invalid>;
}

/// Knows what a role may do.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait Permissions: Send + Sync {
    /// Whether this role may start a rerun. A schedule starts reruns for its creator, whose role is
    /// asked about each time.
    fn may_initiate(&self, role_code: &str) -> bool;
}

/// [`Permissions`] with which every role may do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct EveryRole;

impl Permissions for EveryRole {
    fn may_initiate(&self, _role_code: &str) -> bool {
        true
    }
}

impl<T: Permissions + ?Sized> Permissions for Arc<T> {
    fn may_initiate(&self, role_code: &str) -> bool {
        (**self).may_initiate(role_code)
    }
}

/// A [`Calendar`] that knows the zone UTC and no pattern.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCalendar;

impl Calendar for NoCalendar {
    fn check_zone(&self, time_zone: &str) -> Result<(), Invalid> {
        if time_zone == "UTC" {
            return Ok(());
        }
        Err(Invalid::new("`time_zone`: only UTC is known here"))
    }

    fn describe(&self, _cron: &str, _time_zone: &str) -> Result<String, Invalid> {
        Err(Invalid::new(
            "`cron`: patterns are not known here; use `at`",
        ))
    }

    fn times(
        &self,
        cron: &str,
        time_zone: &str,
        _after: Timestamp,
        _limit: usize,
    ) -> Result<Vec<CalendarTime>, Invalid> {
        self.describe(cron, time_zone)
            .map(|_description| Vec::new())
    }
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

    /// Whether tasks should have an [`Example`](crate::generation::Example), which costs a look-up.
    fn takes_examples(&self) -> bool {
        false
    }

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

/// Waits before a decision is made again, whose state had moved.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait Pause: Send + Sync {
    /// Returns after a while: longer after each conflict (from 1), and with chance in it, so that
    /// requests which met do not meet again.
    async fn after_conflict(&self, conflicts: u32);
}

/// Sends events to receivers.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait EventSender: Send + Sync {
    /// Makes one attempt, signed at this moment with the secrets that the parcel names. It never
    /// follows a redirect, and connects to no address that [`WebhookTargets`] refuses.
    async fn send(&self, parcel: &Parcel) -> Outcome;
}

/// A message broker that takes events into a stream.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait EventBroker: Send + Sync {
    /// Returns the name of the stream.
    fn stream(&self) -> &str;

    /// Looks up what the stream has of an account, and returns that with a way to add to it.
    ///
    /// # Errors
    /// [`PublishError`].
    async fn take_over(
        &self,
        account: AccountId,
    ) -> Result<(Option<Published>, Box<dyn EventPublisher>), PublishError>;
}

/// Adds the events of one account to a stream.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait EventPublisher: Send {
    /// Publishes the event and waits until the broker has it. An event that the stream has already is
    /// not added again. After an error, nobody knows whether the broker has it.
    ///
    /// # Errors
    /// [`PublishError`].
    async fn publish(&mut self, event: &PublicEvent) -> Result<(), PublishError>;
}

/// Knows where webhooks may point.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait WebhookTargets: Send + Sync {
    /// Looks at the URL and at the addresses that its name has now.
    ///
    /// # Errors
    /// [`Invalid`], which says which rule the URL breaks.
    async fn check(&self, url: &str) -> Result<(), Invalid>;
}

/// Knows the secrets of webhooks. They are derived, and stored nowhere.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
pub trait WebhookSecrets: Send + Sync {
    /// The secret of this number.
    ///
    /// # Errors
    /// [`Invalid`], which names the setting that is missing, when there is nothing to derive it
    /// from.
    fn secret(
        &self,
        account: AccountId,
        webhook: WebhookId,
        number: SecretNumber,
    ) -> Result<WebhookSecret, Invalid>;
}

/// A [`Pause`] that does not wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPause;

#[async_trait]
impl Pause for NoPause {
    async fn after_conflict(&self, _conflicts: u32) {}
}

/// A [`TemplateChecker`] that takes every template.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyTemplate;

impl TemplateChecker for AnyTemplate {
    fn check(&self, _template: &Template, _segment_by: &SegmentBy) -> Result<(), Invalid> {
        Ok(())
    }

    /// The template as it stands: its texts are all that it knows of them.
    fn fill(
        &self,
        template: &Template,
        _segment_by: &SegmentBy,
        _attributes: &Attributes,
    ) -> Result<Content, Invalid> {
        Ok(Content {
            subject: template.subject.clone(),
            body: template.body.clone(),
        })
    }
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<T: IdGenerator + ?Sized> IdGenerator for Arc<T> {
    fn next(&self) -> Uuid {
        (**self).next()
    }
}

impl<T: TemplateChecker + ?Sized> TemplateChecker for Arc<T> {
    fn check(&self, template: &Template, segment_by: &SegmentBy) -> Result<(), Invalid> {
        (**self).check(template, segment_by)
    }

    fn fill(
        &self,
        template: &Template,
        segment_by: &SegmentBy,
        attributes: &Attributes,
    ) -> Result<Content, Invalid> {
        (**self).fill(template, segment_by, attributes)
    }
}

impl<T: Calendar + ?Sized> Calendar for Arc<T> {
    fn check_zone(&self, time_zone: &str) -> Result<(), Invalid> {
        (**self).check_zone(time_zone)
    }

    fn describe(&self, cron: &str, time_zone: &str) -> Result<String, Invalid> {
        (**self).describe(cron, time_zone)
    }

    fn times(
        &self,
        cron: &str,
        time_zone: &str,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<CalendarTime>, Invalid> {
        (**self).times(cron, time_zone, after, limit)
    }
}

impl<T: Backoff + ?Sized> Backoff for Arc<T> {
    fn delay(&self, failed: u32) -> Duration {
        (**self).delay(failed)
    }
}

#[async_trait]
impl<T: Pause + ?Sized> Pause for Arc<T> {
    async fn after_conflict(&self, conflicts: u32) {
        (**self).after_conflict(conflicts).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_port_does_what_the_port_does() {
        assert!(EveryRole.may_initiate("VIEWER"));
        let mut permissions = MockPermissions::new();
        permissions
            .expect_may_initiate()
            .returning(|role| role == "ADMIN");
        let permissions = Arc::new(permissions);
        assert!(permissions.may_initiate("ADMIN") && !permissions.may_initiate("VIEWER"));

        let at = Timestamp::UNIX_EPOCH;
        let mut calendar = MockCalendar::new();
        calendar
            .expect_check_zone()
            .returning(|_| Err(Invalid::new("no zone")));
        calendar
            .expect_describe()
            .returning(|cron, zone| Ok(format!("{cron} in {zone}")));
        calendar
            .expect_times()
            .returning(|_, _, _, limit| Err(Invalid::new(format!("not {limit} times"))));
        let calendar = Arc::new(calendar);
        assert!(Calendar::check_zone(&calendar, "UTC").is_err());
        let described = Calendar::describe(&calendar, "* * * * *", "UTC").unwrap();
        assert_eq!(described, "* * * * * in UTC");
        let refused = Calendar::times(&calendar, "* * * * *", "UTC", at, 3);
        assert_eq!(refused.unwrap_err().to_string(), "not 3 times");

        let mut templates = MockTemplateChecker::new();
        templates
            .expect_check()
            .returning(|_, _| Err(Invalid::new("no template")));
        let segment_by = SegmentBy::new(&["country"]).unwrap();
        let checked =
            TemplateChecker::check(&Arc::new(templates), &Template::default(), &segment_by);
        assert_eq!(checked.unwrap_err().to_string(), "no template");
    }

    #[test]
    fn a_generator_takes_no_examples_unless_it_says_so() {
        struct Silent;

        #[async_trait]
        impl MessageGenerator for Silent {
            async fn generate(&self, _task: &GenerationTask) -> Result<Made, GenerationError> {
                Err(GenerationError::new("silent"))
            }
        }

        assert!(!Silent.takes_examples());
    }

    #[test]
    fn without_a_calendar_there_are_no_patterns() {
        assert!(NoCalendar.check_zone("UTC").is_ok());
        assert!(NoCalendar.check_zone("Europe/Berlin").is_err());
        assert!(NoCalendar.describe("* * * * *", "UTC").is_err());
        let times = NoCalendar.times("* * * * *", "UTC", Timestamp::UNIX_EPOCH, 1);
        assert!(times.is_err());
    }
}
