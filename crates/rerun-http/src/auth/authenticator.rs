use actix_web::HttpRequest;
use async_trait::async_trait;
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

/// A way to sign in: says who sends a request, by the head of the request alone.
///
/// [`Guard`](super::Guard) is the way that the published API describes. A session in a cookie, for
/// example, would be another one.
#[async_trait(?Send)]
pub trait Authenticator: Send + Sync {
    /// Says who sends the request. It is asked before anything of the body is read.
    ///
    /// # Errors
    /// [`Denied`].
    async fn authenticate(&self, request: &HttpRequest) -> Result<Admitted, Denied>;
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
