use rerun_core::actor::Person;
use rerun_core::error::{Cause, StoreError};
use rerun_core::ids::AccountId;

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The account that the request is about.
    pub account_id: AccountId,
    /// The person.
    pub person: Person,
}

/// Why a request is denied. The log gets the reason; the client does not.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Nobody knows who sends it: 403 `auth_error`.
    #[error("auth error: {reason}")]
    Unauthenticated {
        /// For the log.
        reason: &'static str,
        /// The names of headers that the client must add.
        absent: Vec<&'static str>,
    },
    /// The sender may not do this: 403 `unauthorized`.
    #[error("unauthorized: {reason}")]
    Unauthorized {
        /// For the log.
        reason: &'static str,
        /// The names of headers that the client must add.
        absent: Vec<&'static str>,
    },
    /// Who sends it cannot be found out now, for example because the store of the sessions is away.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// Who sends it cannot be found out now, because another service is away: 503 `unavailable`.
    #[error("{0}")]
    Away(Cause),
}
