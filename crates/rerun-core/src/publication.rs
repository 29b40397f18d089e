//! Publication of events in a stream of a message broker: where it continues, and why it stops.

use crate::error::StoreError;
use crate::ids::AuditEntryId;

/// The last event of an account that a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its number.
    pub sequence: i64,
    /// Its id.
    pub event_id: AuditEntryId,
}

/// Returns the number after which publication goes on, given where it had come to and what the stream
/// has.
///
/// The stream is right: it may have more, when the process that published stopped before it could write
/// that down, or less, when the broker lost what it had not written to its disk. A stream without any
/// event of the account has dropped them, as streams with limits do.
#[must_use]
pub fn resumes_after(cursor: i64, last: Option<Published>) -> i64 {
    last.map_or(cursor, |last| last.sequence)
}

/// Why an event was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker cannot be reached, or takes no events now.
    #[error("{0}")]
    Unavailable(String),
    /// The stream has got an event of the account meanwhile: another process publishes them.
    #[error("another process publishes the events of this account")]
    Overtaken,
    /// The broker does not take this event.
    #[error("the broker refuses an event: {0}")]
    Refused(String),
}

/// Why the publication of an account's events stopped.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// The events could not be read, or the place not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The stream has an event that the log does not have: it belongs to another database, or the
    /// database was restored from a backup.
    #[error("event {0} of the stream is not in the log: nothing is published for this account")]
    Foreign(i64),
}

impl PublicationError {
    /// Whether it is about one account, so that others can be served.
    #[must_use]
    pub const fn is_of_the_account(&self) -> bool {
        match self {
            Self::Store(StoreError::Corrupt(_))
            | Self::Publish(PublishError::Overtaken | PublishError::Refused(_))
            | Self::Foreign(_) => true,
            Self::Store(
                StoreError::Conflict | StoreError::Unavailable(_) | StoreError::Backend(_),
            )
            | Self::Publish(PublishError::Unavailable(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn publication_goes_on_after_what_the_stream_has() {
        let published = |sequence| Published {
            sequence,
            event_id: AuditEntryId::new(Uuid::nil()),
        };
        assert_eq!(resumes_after(5, None), 5);
        assert_eq!(resumes_after(5, Some(published(3))), 3);
        assert_eq!(resumes_after(5, Some(published(9))), 9);
    }

    #[test]
    fn what_is_about_one_account_does_not_stop_the_others() {
        let refused = PublishError::Refused("no".into());
        let of_the_account: [PublicationError; 4] = [
            StoreError::Corrupt("a row".into()).into(),
            PublishError::Overtaken.into(),
            refused.into(),
            PublicationError::Foreign(7),
        ];
        assert!(
            of_the_account
                .iter()
                .all(PublicationError::is_of_the_account)
        );
        let of_all: [PublicationError; 3] = [
            StoreError::Conflict.into(),
            StoreError::Unavailable("away".into()).into(),
            PublishError::Unavailable("away".into()).into(),
        ];
        assert!(!of_all.iter().any(PublicationError::is_of_the_account));
    }
}
