//! What goes wrong inside a transaction, and what it means.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::ports::ImportFailure;

/// Why a job on a connection ended. Its transaction is rolled back, whatever it is.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A statement failed.
    #[error(transparent)]
    Query(#[from] DieselError),
    /// The job gave up for a reason of its own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An imported row broke a rule.
    #[error(transparent)]
    Rejected(#[from] Invalid),
    /// The group to import into is not there.
    #[error("customer group not found")]
    GroupNotFound,
}

impl Failure {
    /// The meaning for a port. `lost` tells whether the connection turned out to be dead.
    #[must_use]
    pub fn into_store(self, lost: bool) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Query(error) => query_error(error, lost),
            Self::Rejected(invalid) => StoreError::Backend(invalid.into()),
            Self::GroupNotFound => StoreError::Backend("customer group not found".into()),
        }
    }

    /// The meaning for an import.
    #[must_use]
    pub fn into_import(self, lost: bool) -> ImportFailure {
        match self {
            Self::Rejected(invalid) => ImportFailure::Rejected(invalid),
            Self::GroupNotFound => ImportFailure::GroupNotFound,
            other @ (Self::Query(_) | Self::Store(_)) => {
                ImportFailure::Store(other.into_store(lost))
            }
        }
    }
}

fn query_error(error: DieselError, lost: bool) -> StoreError {
    if lost {
        return StoreError::Unavailable(error.into());
    }
    if let DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) = error {
        // The other transaction of the clash got through: decide again.
        StoreError::Conflict
    } else if is_out_of_service(&error) {
        StoreError::Unavailable(error.into())
    } else {
        StoreError::Backend(error.into())
    }
}

/// Whether the database is out of service for now. The texts are of conditions that pass, or that an operator mends without losing anything, for which diesel has
/// no kind: SQLite's lock, full disk, read-only file and failing disk; PostgreSQL's shutdown,
/// start-up, timeouts, deadlock, full disk and connection limit.
fn is_out_of_service(error: &DieselError) -> bool {
    const CONDITIONS: [&str; 15] = [
        "database is locked",
        "database table is locked",
        "database or disk is full",
        "attempt to write a readonly database",
        "disk I/O error",
        "unable to open database file",
        "terminating connection",
        "the database system is",
        "canceling statement due to",
        "deadlock detected",
        "could not extend file",
        "No space left on device",
        "too many clients already",
        "remaining connection slots are reserved",
        "server closed the connection",
    ];
    let by_kind = matches!(
        error,
        DieselError::BrokenTransactionManager
            | DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
    );
    let message = error.to_string();
    by_kind
        || CONDITIONS
            .iter()
            .any(|condition| message.contains(condition))
}
