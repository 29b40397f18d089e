//! Sign-in at an OpenID provider: the authorization code flow with PKCE.
//!
//! The ID token that the provider issues is the session's token. So a session of the console is the
//! same, however it began: a cookie that any server can check, until the token's `exp`.

mod attempt;
mod keys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::Algorithm;
use rerun_core::ports::Clock;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

pub use attempt::Attempt;
use keys::ProviderKeys;

use crate::admitted::Denied;
use crate::keys::Asymmetric;
use crate::token::{TokenRules, TokenVerifier, Trusted, Untrusted};

/// What the browser asks the provider for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// What the provider gives back beside its code.
    pub state: String,
    /// What the ID token must repeat.
    pub nonce: String,
    /// The challenge of PKCE, of the method S256.
    pub code_challenge: String,
    /// Where the browser comes back to.
    pub redirect_uri: String,
}

/// What is exchanged for an ID token.
#[derive(Clone, Copy)]
pub struct Grant<'a> {
    /// The code that the browser brought.
    pub code: &'a str,
    /// What the challenge was made of.
    pub code_verifier: &'a str,
    /// As it was in the [`AuthorizationRequest`].
    pub redirect_uri: &'a str,
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").finish_non_exhaustive()
    }
}

/// Why nothing comes from the provider. The texts are for the log: they hold no code and no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or what it sends cannot be used. Later this may be different.
    #[error("the OpenID provider is of no use now: {0}")]
    Away(String),
    /// It does not take the code: it was used before, has ended, or is another client's.
    #[error("the OpenID provider refused the code: {0}")]
    Refused(String),
}

/// Speaks with one OpenID provider, as one client of it.
///
/// What comes from the provider is bounded in size and in time, and no redirect is followed.
#[async_trait]
pub trait OpenIdProvider: Send + Sync {
    /// Returns the address to which a browser is sent to sign in.
    ///
    /// # Errors
    /// [`ProviderError::Away`].
    async fn authorization_url(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<String, ProviderError>;

    /// Exchanges a code for an ID token, which is not checked yet.
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn id_token(&self, grant: Grant<'_>) -> Result<SecretString, ProviderError>;

    /// Returns the JSON web key set that the provider signs ID tokens with.
    ///
    /// # Errors
    /// [`ProviderError::Away`].
    async fn key_set(&self) -> Result<Vec<u8>, ProviderError>;
}

/// Why a sign-in at the provider comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The answer of the provider is for no sign-in that can still be finished here.
    #[error("it was begun in another browser, has ended, or is finished")]
    Stale,
    /// The provider brought no code.
    #[error("the OpenID provider did not sign the user in")]
    Declined,
    /// Nothing comes from the provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The ID token is not trusted.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The ID token is too long for a session.
    #[error("the ID token is longer than a cookie can be")]
    TooLong,
    /// The machine gives no random numbers.
    #[error("there are no random numbers")]
    NoRandom,
}

impl From<SignInError> for Denied {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Untrusted(Untrusted(reason)) => Self::Unauthenticated {
                reason,
                absent: Vec::new(),
            },
            SignInError::Stale
            | SignInError::Declined
            | SignInError::Provider(_)
            | SignInError::TooLong
            | SignInError::NoRandom => Self::Away(error.into()),
        }
    }
}

/// Sign-in at one OpenID provider, and trust in the ID tokens that it makes for this client.
pub struct OpenId {
    provider: Arc<dyn OpenIdProvider>,
    client_id: String,
    name: String,
    clock: Arc<dyn Clock>,
    keys: Arc<ProviderKeys>,
    verifiers: Vec<(Algorithm, TokenVerifier)>,
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenId")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl OpenId {
    /// Trusts ID tokens of this issuer for this client, signed with RS256, ES256 or EdDSA by a key of
    /// the provider. `leeway` is how far the clocks may be apart.
    #[must_use]
    pub fn new(
        provider: Arc<dyn OpenIdProvider>,
        issuer: &str,
        client_id: &str,
        leeway: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let keys = Arc::new(ProviderKeys::default());
        let verifier = |algorithm: Asymmetric| {
            let rules = TokenRules {
                issuer: Some(issuer.to_owned()),
                audience: Some(client_id.to_owned()),
                leeway,
            };
            let keys = Arc::new(ProviderKeys::source(&keys, algorithm));
            let verifier = TokenVerifier::new(keys, algorithm.into(), rules, Arc::clone(&clock));
            (algorithm.into(), verifier)
        };
        let verifiers = Asymmetric::ALL.into_iter().map(verifier).collect();
        let (_, rest) = issuer.split_once("://").unwrap_or(("", issuer));
        Self {
            provider,
            client_id: client_id.to_owned(),
            name: rest.split('/').next().unwrap_or(rest).to_owned(),
            clock,
            keys,
            verifiers,
        }
    }

    /// The provider's host, by which people know it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a sign-in; returns it with the address to which the browser is sent.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn begin(&self, redirect_uri: String) -> Result<(Attempt, String), SignInError> {
        let attempt = Attempt::begin(self.clock.now());
        let attempt = attempt.ok().ok_or(SignInError::NoRandom)?;
        let request = AuthorizationRequest {
            state: attempt.state(),
            nonce: attempt.nonce(),
            code_challenge: attempt.challenge(),
            redirect_uri,
        };
        let url = self.provider.authorization_url(&request).await?;
        Ok((attempt, url))
    }

    /// Returns the sign-in that an answer of the provider is for.
    pub(crate) fn resume(&self, cookie: &str, state: &str) -> Result<Attempt, SignInError> {
        Attempt::resume(cookie, state, self.clock.now()).ok_or(SignInError::Stale)
    }

    /// Finishes a sign-in with the code that the browser brought; returns the ID token, with whom it
    /// names.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn finish(
        &self,
        attempt: &Attempt,
        code: &str,
        redirect_uri: &str,
    ) -> Result<(SecretString, Trusted), SignInError> {
        let grant = Grant {
            code,
            code_verifier: &attempt.verifier(),
            redirect_uri,
        };
        let token = self.provider.id_token(grant).await?;
        let trusted = self
            .checked(token.expose_secret(), Some(&attempt.nonce()))
            .await?;
        Ok((token, trusted))
    }

    /// Returns whom the ID token of a session names.
    pub(crate) async fn trusted(&self, token: &str) -> Result<Trusted, Denied> {
        Ok(self.checked(token, None).await?)
    }

    /// Whether a token is signed in a way that ID tokens are.
    pub(crate) fn may_have_made(&self, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token);
        header.is_ok_and(|header| self.verifier(header.alg).is_some())
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&TokenVerifier> {
        let mut found = self.verifiers.iter().filter(|(name, _)| *name == algorithm);
        found.next().map(|(_, verifier)| verifier)
    }

    async fn checked(&self, token: &str, nonce: Option<&str>) -> Result<Trusted, SignInError> {
        let header = jsonwebtoken::decode_header(token);
        let header = header.ok().ok_or(Untrusted("the ID token is malformed"))?;
        let verifier = self.verifier(header.alg);
        let verifier = verifier.ok_or(Untrusted("the ID token's algorithm is refused"))?;
        let kid = header.kid.as_deref();
        self.keys.refresh(header.alg, kid, &*self.provider).await?;
        let claims = verifier.claims(token)?;
        let says = |claim: &Option<Value>, text: &str| claim.as_ref().is_some_and(|it| it == text);
        if claims.azp.is_some() && !says(&claims.azp, &self.client_id) {
            return Err(Untrusted("the ID token is another client's").into());
        }
        if nonce.is_some_and(|nonce| !says(&claims.nonce, nonce)) {
            return Err(Untrusted("the ID token answers another sign-in").into());
        }
        Ok(verifier.check(claims)?)
    }
}
