//! Errors inside a transaction, and their mapping to errors of the domain.

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

/// Whether a failure leaves its connection in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It is about the data, or about the request.
    None,
    /// It may be about the connection, or its session.
    Possible,
    /// The connection is closed, or its server takes no writes.
    Certain,
}

impl Failure {
    /// What the failure says about the connection.
    pub(crate) fn suspicion(&self) -> Suspicion {
        let Self::Query(error) = self else {
            return Suspicion::None;
        };
        let about_data = matches!(
            error,
            DieselError::NotFound
                | DieselError::RollbackTransaction
                | DieselError::QueryBuilderError(_)
                | DieselError::InvalidCString(_)
                | DieselError::DeserializationError(_)
                | DieselError::DatabaseError(
                    DatabaseErrorKind::UniqueViolation
                        | DatabaseErrorKind::ForeignKeyViolation
                        | DatabaseErrorKind::NotNullViolation
                        | DatabaseErrorKind::CheckViolation
                        | DatabaseErrorKind::ExclusionViolation
                        | DatabaseErrorKind::RestrictViolation
                        | DatabaseErrorKind::SerializationFailure,
                    _,
                )
        );
        // SQLSTATE 08xxx, or a connection that its server has closed after 57P01 to 57P05 or
        // 25P03.
        let closed = matches!(
            error,
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
        );
        if about_data {
            Suspicion::None
        } else if closed || is_read_only(error) {
            Suspicion::Certain
        } else {
            // Among them: a plan that a migration has made invalid (0A000), a prepared statement
            // that a pooler has lost (26000), a file of SQLite's that was read-only when it was
            // opened.
            Suspicion::Possible
        }
    }

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

/// Whether a statement was refused because the session is read-only (SQLSTATE 25006): the server
/// may have become a standby.
pub(crate) fn is_read_only(error: &DieselError) -> bool {
    matches!(
        error,
        DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
    )
}

/// Whether the database is out of service for now: by a condition that passes, or that an operator
/// fixes without losing anything.
///
/// diesel has kinds for a few conditions and keeps SQLSTATE and SQLite's result code to itself, so
/// the others are known by their texts. Those of SQLite are constants of its library. Those of
/// PostgreSQL depend on the session's `lc_messages`, which the store sets to `C` where it may.
fn is_out_of_service(error: &DieselError) -> bool {
    const CONDITIONS: [&str; 20] = [
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN.
        "database is locked",
        "database table is locked",
        "database or disk is full",
        "attempt to write a readonly database",
        "disk I/O error",
        "unable to open database file",
        // 57P01, 57P03, 57014, 55P03, 40P01.
        "terminating connection",
        "the database system is",
        "canceling statement due to",
        "deadlock detected",
        // 53100, 58030, 53200, 53300.
        "could not extend file",
        "No space left on device",
        "out of memory",
        "out of shared memory",
        "too many clients already",
        "remaining connection slots are reserved",
        // 0A000, 26000, 42P05: a new session does not have them.
        "cached plan must not change result type",
        "prepared statement \"__diesel_stmt_",
        // Of libpq itself.
        "server closed the connection",
        "no connection to the server",
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
