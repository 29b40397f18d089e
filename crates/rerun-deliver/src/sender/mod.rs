//! One attempt at a delivery, over HTTP.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rerun_core::delivery::{Outcome, Parcel, Response, SendError, retry_after};
use rerun_core::ports::{Clock, EventSender, WebhookSecrets};
use tokio::time::{Instant, timeout};

use crate::signature;
use crate::target::{Refused, Targets};

/// How much of a response's body is read, in bytes, so that the connection can be used again. None of
/// it is kept.
pub const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// How long the rest of a response may take after its status has come.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// How long a connection is kept for the next delivery.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for webhooks: {0}")]
pub struct SetupError(#[from] reqwest::Error);

/// Sends events to webhooks. It follows no redirect, uses no proxy, and connects only to addresses
/// that its [`Targets`] allow.
pub struct HttpSender {
    client: Client,
    targets: Targets,
    secrets: Arc<dyn WebhookSecrets>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = &self.targets;
        f.debug_struct("HttpSender")
            .field("targets", targets)
            .finish_non_exhaustive()
    }
}

impl HttpSender {
    /// Prepares the attempts, each of which takes at most `timeout`; makes none.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        targets: Targets,
        secrets: Arc<dyn WebhookSecrets>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let client = Client::builder()
            .timeout(timeout)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(targets.clone()))
            .pool_idle_timeout(IDLE_CONNECTION)
            .user_agent(concat!("rerun/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            targets,
            secrets,
            clock,
        })
    }

    /// What is sent now.
    fn request(&self, parcel: &Parcel) -> Result<(Url, HeaderMap, Vec<u8>), SendError> {
        // The URL is read again: its rules may have changed since it was given.
        let url = self
            .targets
            .read(&parcel.url)
            .map_err(|refused| reason(&refused))?;
        let secrets = parcel.secrets.iter().map(|number| {
            let (account, webhook) = (parcel.account_id, parcel.webhook_id);
            self.secrets.secret(account, webhook, *number)
        });
        let secrets: Result<Vec<_>, _> = secrets.collect();
        let secrets = secrets.map_err(|invalid| {
            let webhook_id = parcel.webhook_id;
            tracing::error!(%webhook_id, %invalid, "an event could not be signed");
            SendError::NotSigned
        })?;
        let body = serde_json::to_vec(&parcel.event).map_err(|error| {
            let event_id = parcel.event.id;
            tracing::error!(%event_id, %error, "an event could not be written as JSON");
            SendError::NotSigned
        })?;
        let headers = signature::headers(parcel, &body, self.clock.now(), &secrets);
        let headers = headers.into_iter().filter_map(|(name, value)| {
            let value = HeaderValue::try_from(value).ok()?;
            Some((HeaderName::from_static(name), value))
        });
        Ok((url, headers.collect(), body))
    }

    async fn attempt(&self, parcel: &Parcel) -> Result<Response, SendError> {
        let (url, headers, body) = self.request(parcel)?;
        let sent = self
            .client
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await;
        let response = sent.map_err(|error| {
            let (webhook_id, why) = (parcel.webhook_id, unanswered(&error));
            let cause = rerun_core::error::chain(&error.without_url());
            tracing::debug!(%webhook_id, %why, cause, "no response came");
            why
        })?;
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER);
        let asked = asked.and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|text| retry_after(text, self.clock.now()));
        drain(response).await;
        Ok(Response {
            status,
            retry_after,
        })
    }
}

/// What an attempt reports of a URL that is refused.
fn reason(refused: &Refused) -> SendError {
    match refused {
        Refused::NotAllowed(_) => SendError::NotAllowed,
        Refused::NotResolved => SendError::NotResolved,
    }
}

/// Whether an error, or one that it wraps, is about invalid data: as such the TLS library reports what
/// it does not accept. An [`io::Error`] does not have the error that it wraps as its source.
fn is_invalid_data(error: &io::Error) -> bool {
    let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref());
    error.kind() == io::ErrorKind::InvalidData || wrapped.is_some_and(is_invalid_data)
}

/// Why no response came.
fn unanswered(error: &reqwest::Error) -> SendError {
    let mut cause: Option<&dyn Error> = Some(error);
    let mut tls = false;
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return reason(refused);
        }
        tls |= inner.downcast_ref().is_some_and(is_invalid_data);
        cause = inner.source();
    }
    if error.is_timeout() {
        SendError::TimedOut
    } else if error.is_connect() && tls {
        SendError::Tls
    } else if error.is_connect() {
        SendError::NotConnected
    } else {
        SendError::Broken
    }
}

/// Reads what is left of a response, for a bounded time. Its status counts, whatever comes of this.
async fn drain(mut response: reqwest::Response) {
    let read = async {
        let mut bytes = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes += chunk.len();
            if bytes > MAX_RESPONSE_BYTES {
                break;
            }
        }
    };
    let _in_time = timeout(BODY_PATIENCE, read).await;
}

#[async_trait]
impl EventSender for HttpSender {
    async fn send(&self, parcel: &Parcel) -> Outcome {
        let begun = Instant::now();
        let response = self.attempt(parcel).await;
        Outcome {
            response,
            duration: begun.elapsed(),
        }
    }
}
