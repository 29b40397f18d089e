//! The client of an OpenID provider, for sign-in to the console.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::form_urlencoded::{Serializer, byte_serialize};

use rerun_auth::{AuthorizationRequest, Grant, OpenIdProvider, ProviderError};

/// The largest document of a provider, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// How long the provider may take for an answer, its last byte included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the provider's description of itself counts.
const FRESH: Duration = Duration::from_hours(1);
/// Calls at once: anybody can begin a sign-in.
const MOST_CALLS: usize = 16;
/// The longest error code that the log repeats, in bytes.
const MAX_CODE: usize = 40;

/// The address of a provider, by which its tokens name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Reads an address, which is by HTTPS unless it is on this machine.
    ///
    /// # Errors
    /// What is wrong, to follow the word "must".
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| {
            let bare = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            bare && is_safe(url, true)
        });
        url.map(|_| Self(text.to_owned())).ok_or_else(|| {
            "be the `https` address of an OpenID provider, such as https://login.example.com, \
             without user, query and fragment; `http` is for this machine alone"
                .to_owned()
        })
    }

    /// The address, letter by letter as the provider's tokens have it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_local(&self) -> bool {
        self.0.starts_with("http:")
    }

    fn description(&self) -> String {
        let base = self.0.trim_end_matches('/');
        format!("{base}/.well-known/openid-configuration")
    }
}

/// Whether what goes to an address can be read on the way: by HTTPS it cannot, nor on this machine.
fn is_safe(url: &Url, local: bool) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (local && url.scheme() == "http" && loopback)
}

/// Whom people sign in at, as which client.
#[derive(Debug, Clone)]
pub struct OpenIdSettings {
    /// The provider.
    pub issuer: Issuer,
    /// What the provider calls this installation.
    pub client_id: String,
    /// What proves at the token endpoint that it is this client; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// What the ID token is to hold, with spaces between.
    pub scopes: String,
}

/// A provider, asked over HTTP.
pub struct HttpProvider {
    client: Client,
    settings: OpenIdSettings,
    described: Mutex<Option<(Instant, Arc<Endpoints>)>>,
    calls: Semaphore,
}

impl fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProvider")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for the OpenID provider: {0}")]
pub struct SetupError(#[from] reqwest::Error);

/// What a provider says about itself.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// Where a provider is asked for what.
struct Endpoints {
    authorization: Url,
    token: Url,
    keys: Url,
}

/// What a provider gives for a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// Why a provider gives nothing.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

fn away(reason: impl Into<String>) -> ProviderError {
    ProviderError::Away(reason.into())
}

impl HttpProvider {
    /// Prepares the calls; makes none.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(settings: OpenIdSettings) -> Result<Self, SetupError> {
        let mut client = Client::builder()
            .timeout(TIMEOUT)
            // A redirect could carry a code to a place that nobody configured.
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("rerun/", env!("CARGO_PKG_VERSION")));
        if settings.issuer.is_local() {
            // A proxy from the environment cannot reach this machine.
            client = client.no_proxy();
        }
        Ok(Self {
            client: client.build()?,
            settings,
            described: Mutex::new(None),
            calls: Semaphore::new(MOST_CALLS),
        })
    }

    /// Sends a request; returns the status and the bounded body of the answer. No error repeats what
    /// was sent or what came.
    async fn answer(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let _call = self
            .calls
            .try_acquire()
            .ok()
            .ok_or_else(|| away("too many calls at once"))?;
        let failed = |error: reqwest::Error| {
            let cause = rerun_core::error::chain(&error.without_url());
            away(format!("its {what}: {cause}"))
        };
        let request = request.header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(away(format!("its {what}: more than {MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }

    fn token_request(&self, endpoint: Url, grant: &Grant<'_>) -> RequestBuilder {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", grant.code)
            .append_pair("redirect_uri", grant.redirect_uri)
            .append_pair("code_verifier", grant.code_verifier);
        let mut request = self.client.post(endpoint);
        let client_id = &self.settings.client_id;
        if let Some(secret) = &self.settings.client_secret {
            // RFC 6749, section 2.3.1: every provider accepts this, and both parts are encoded as
            // in a form.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let password = encoded(secret.expose_secret());
            request = request.basic_auth(encoded(client_id), Some(password));
        } else {
            form.append_pair("client_id", client_id);
        }
        request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    async fn document(&self, what: &str, url: &str) -> Result<Vec<u8>, ProviderError> {
        match self.answer(what, self.client.get(url)).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(away(format!("its {what}: status {}", status.as_u16()))),
        }
    }

    async fn endpoints(&self) -> Result<Arc<Endpoints>, ProviderError> {
        {
            let described = self.described.lock();
            let described = described.unwrap_or_else(PoisonError::into_inner);
            if let Some((_, endpoints)) = described.as_ref().filter(|(at, _)| at.elapsed() < FRESH)
            {
                return Ok(Arc::clone(endpoints));
            }
        }
        let issuer = &self.settings.issuer;
        let text = self.document("description", &issuer.description()).await?;
        let described: Description = serde_json::from_slice(&text)
            .ok()
            .ok_or_else(|| away("its description names no endpoints"))?;
        if described.issuer != issuer.as_str() {
            return Err(away("its description is another issuer's"));
        }
        let url = |text: &str| {
            let url = Url::parse(text).ok();
            let safe = url.filter(|url| is_safe(url, issuer.is_local()));
            safe.ok_or_else(|| away("its description names an endpoint that is not `https`"))
        };
        let endpoints = Endpoints {
            authorization: url(&described.authorization_endpoint)?,
            token: url(&described.token_endpoint)?,
            keys: url(&described.jwks_uri)?,
        };
        let endpoints = Arc::new(endpoints);
        let mut described = self
            .described
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *described = Some((Instant::now(), Arc::clone(&endpoints)));
        Ok(endpoints)
    }
}

#[async_trait]
impl OpenIdProvider for HttpProvider {
    async fn authorization_url(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<String, ProviderError> {
        let mut url = self.endpoints().await?.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("scope", &self.settings.scopes)
            .append_pair("redirect_uri", &request.redirect_uri)
            .append_pair("state", &request.state)
            .append_pair("nonce", &request.nonce)
            .append_pair("code_challenge", &request.code_challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    async fn id_token(&self, grant: Grant<'_>) -> Result<SecretString, ProviderError> {
        let endpoints = self.endpoints().await?;
        let request = self.token_request(endpoints.token.clone(), &grant);
        let (status, body) = self.answer("token endpoint", request).await?;
        if status == StatusCode::OK {
            let tokens: Option<Tokens> = serde_json::from_slice(&body).ok();
            let Tokens { id_token } = tokens.ok_or_else(|| away("it sent no ID token"))?;
            return Ok(id_token.into());
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        match refusal {
            // Another error is about the client, not about the code: it has to be set up.
            Some(Refusal { error }) if error == "invalid_grant" => {
                Err(ProviderError::Refused(error))
            }
            Some(Refusal { error }) if is_code(&error) => {
                Err(away(format!("its token endpoint: {error}")))
            }
            Some(_) | None => Err(away(format!(
                "its token endpoint: status {}",
                status.as_u16()
            ))),
        }
    }

    async fn key_set(&self) -> Result<Vec<u8>, ProviderError> {
        let endpoints = self.endpoints().await?;
        self.document("keys", endpoints.keys.as_str()).await
    }
}

/// Whether a text is as the error codes of OAuth are, so that a log can have it.
fn is_code(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    text.len() <= MAX_CODE && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_by_https_or_on_this_machine() {
        for good in [
            "https://login.example.com",
            "https://login.example.com/realms/acme/",
            "http://localhost:8080/realms/acme",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(Issuer::parse(good).unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "login.example.com",
            "http://login.example.com",
            "http://localhost.example.com",
            "https://user@login.example.com",
            "https://login.example.com?x=1",
            "https://login.example.com#x",
            "ftp://localhost",
            "file:///etc/passwd",
        ] {
            let said = Issuer::parse(wrong).unwrap_err();
            assert!(said.contains("`https` address"), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_description_is_below_the_issuer() {
        for issuer in ["https://a.example/realm", "https://a.example/realm/"] {
            let expected = "https://a.example/realm/.well-known/openid-configuration";
            assert_eq!(Issuer::parse(issuer).unwrap().description(), expected);
        }
    }

    #[test]
    fn only_a_provider_on_this_machine_names_one_there() {
        let local = Url::parse("http://127.0.0.1:8080/token").unwrap();
        let safe = Url::parse("https://login.example.com/token").unwrap();
        let plain = Url::parse("http://login.example.com/token").unwrap();
        assert!(is_safe(&local, true) && !is_safe(&local, false));
        assert!(is_safe(&safe, true) && is_safe(&safe, false));
        assert!(!is_safe(&plain, true) && !is_safe(&plain, false));
    }
}
