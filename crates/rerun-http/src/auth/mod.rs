//! How a request gets to those who say who sends it.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use async_trait::async_trait;
use rerun_auth::{Admitted, Denied, Guard, Head, Sessions};

/// A way to sign in: says who sends a request, by the head of the request alone.
///
/// [`Guard`] is the way that the published API describes. [`Sessions`] in cookies are another one.
#[async_trait(?Send)]
pub trait Authenticator: Send + Sync {
    /// Says who sends the request. It is asked before anything of the body is read.
    ///
    /// # Errors
    /// [`Denied`].
    async fn authenticate(&self, request: &HttpRequest) -> Result<Admitted, Denied>;
}

/// The head of a request of actix.
pub(crate) struct RequestHead<'a>(pub(crate) &'a HttpRequest);

impl Head for RequestHead<'_> {
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let values = self.0.headers().get_all(name);
        values.map(HeaderValue::as_bytes).collect()
    }

    fn pattern(&self) -> Option<String> {
        self.0.match_pattern()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr().map(|peer| peer.ip())
    }
}

#[async_trait(?Send)]
impl Authenticator for Guard {
    async fn authenticate(&self, request: &HttpRequest) -> Result<Admitted, Denied> {
        self.admit(&RequestHead(request))
    }
}

#[async_trait(?Send)]
impl Authenticator for Sessions {
    async fn authenticate(&self, request: &HttpRequest) -> Result<Admitted, Denied> {
        self.admit(&RequestHead(request)).await
    }
}

#[cfg(test)]
mod tests;
