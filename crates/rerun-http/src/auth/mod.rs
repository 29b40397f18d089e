//! Who may call: the header checks that come before anything of a body is read.

mod keys;
mod roles;
mod token;

use std::fmt;
use std::net::IpAddr;
use std::ops::BitOr;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use aws_lc_rs::digest::{Digest, SHA256, digest};
use rerun_core::actor::Person;
use rerun_core::ids::AccountId;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

pub use keys::{Asymmetric, KeyFile, KeyFileError, KeyFormat, KeySource, StaticKey, UnfitKeys};
pub use roles::RoleRules;
pub use token::{Identity, TokenRules, TokenVerifier, Untrusted};

use crate::body::shown;
use crate::error::Refusal;
use crate::extract::Object;

/// A setting of the guard that would let the wrong people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSetting {
    /// The secret of HS256 is too short to withstand guessing.
    #[error(
        "the JWT secret has {bytes} bytes; HS256 needs at least {}",
        StaticKey::MIN_SECRET_BYTES
    )]
    ShortSecret {
        /// How long it is.
        bytes: usize,
    },
    /// There is no API code to compare with.
    #[error("the API code is empty")]
    EmptyApiCode,
}

const X_AUTH_CONTEXT: HeaderName = HeaderName::from_static("x-auth-context");
const X_IP: HeaderName = HeaderName::from_static("x-ip");

/// The media type that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/json`.
    Json,
    /// `text/csv` in UTF-8 or UTF-16.
    Csv,
}

impl MediaType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }

    /// Checks that a `content-type` names it. JSON is UTF-8 whatever its parameters say. A CSV
    /// may be in UTF-8 or UTF-16; which of them, its byte order mark tells.
    fn check(self, content_type: Option<&str>) -> Result<(), Refusal> {
        let expected = self.as_str();
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(expected))
        {
            return Err(Refusal::UnsupportedMediaType { expected });
        }
        let mut charsets = parts
            .filter_map(|part| part.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').trim());
        match charsets.find(|charset| !is_unicode(charset)) {
            Some(charset) if self == Self::Csv => Err(Refusal::UnsupportedCharset {
                charset: shown(charset.as_bytes()),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether the name of a character set is a spelling of UTF-8 or UTF-16.
fn is_unicode(charset: &str) -> bool {
    let letters = charset
        .chars()
        .filter(|letter| !matches!(letter, '-' | '_' | ' '));
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    ["utf8", "utf16", "utf16le", "utf16be"].contains(&name.as_str())
}

/// What the headers of a request have proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) account_id: AccountId,
    pub(crate) person: Person,
}

/// Checks the headers of every request but those of operational endpoints.
#[derive(Clone)]
pub struct Guard {
    tokens: Arc<TokenVerifier>,
    api_codes: ApiCodes,
    roles: Arc<RoleRules>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// The codes that callers may show, of which nothing is told by how long a comparison takes, the
/// length included: what is compared are their hashes.
#[derive(Clone)]
struct ApiCodes(Vec<Digest>);

impl ApiCodes {
    fn add(&mut self, code: &SecretString) -> Result<(), WeakSetting> {
        let code = code.expose_secret();
        if code.is_empty() {
            return Err(WeakSetting::EmptyApiCode);
        }
        self.0.push(digest(&SHA256, code.as_bytes()));
        Ok(())
    }

    fn contain(&self, code: &str) -> bool {
        let shown = digest(&SHA256, code.as_bytes());
        let same = |known: &Digest| known.as_ref().ct_eq(shown.as_ref());
        self.0
            .iter()
            .map(same)
            .fold(Choice::from(0), BitOr::bitor)
            .into()
    }
}

/// The JSON of `x-auth-context`. Both fields are needed: `api_access` as a boolean.
#[derive(Deserialize)]
struct AuthContext {
    api_access: bool,
    api_code: String,
}

impl Guard {
    /// Admits calls that have a token which `tokens` trusts, and `api_code`, whatever role the
    /// token names.
    ///
    /// # Errors
    /// [`WeakSetting::EmptyApiCode`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a secret that is handed over is gone when it is not needed any more"
    )]
    pub fn new(tokens: TokenVerifier, api_code: SecretString) -> Result<Self, WeakSetting> {
        let mut api_codes = ApiCodes(Vec::new());
        api_codes.add(&api_code)?;
        Ok(Self {
            tokens: Arc::new(tokens),
            api_codes,
            roles: Arc::default(),
        })
    }

    /// Admits calls with this code, too: while callers change from one to the other, both are
    /// right.
    ///
    /// # Errors
    /// [`WeakSetting::EmptyApiCode`].
    pub fn or_api_code(mut self, api_code: &SecretString) -> Result<Self, WeakSetting> {
        self.api_codes.add(api_code)?;
        Ok(self)
    }

    /// Leaves actions to the roles that these rules name.
    #[must_use]
    pub fn with_roles(self, roles: RoleRules) -> Self {
        Self {
            roles: Arc::new(roles),
            ..self
        }
    }

    /// Checks in the order that the published API fixes; the first refusal wins.
    pub(crate) fn admit(
        &self,
        request: &HttpRequest,
        expected: MediaType,
    ) -> Result<Admitted, Refusal> {
        let headers = request.headers();
        let identity = self.token(headers).map_err(|untrusted| Refusal::Auth {
            untrusted,
            absent: absent(headers, &AUTHORIZATION),
        })?;
        self.api_access(headers)
            .map_err(|reason| Refusal::Unauthorized {
                reason,
                absent: absent(headers, &X_AUTH_CONTEXT),
            })?;
        let ip = client_ip(headers).map_err(|reason| Refusal::Unauthorized {
            reason,
            absent: absent(headers, &X_IP),
        })?;
        // The pattern is what the path was understood as, however it was written.
        if !self.roles.is_empty()
            && !self
                .roles
                .admit(request.match_pattern().as_deref(), &identity.role_code)
        {
            return Err(Refusal::Unauthorized {
                reason: "the role may not do this",
                absent: Vec::new(),
            });
        }
        let content_type = single(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok());
        expected.check(content_type)?;
        let Identity {
            account_id,
            user_id,
            user_name,
            role_code,
        } = identity;
        Ok(Admitted {
            account_id,
            person: Person {
                user_id,
                user_name,
                role_code,
                ip: Some(ip),
            },
        })
    }

    fn token(&self, headers: &HeaderMap) -> Result<Identity, Untrusted> {
        let value = single(headers, &AUTHORIZATION).ok_or(Untrusted("no single token"))?;
        let value = value.to_str().ok().and_then(|value| value.split_once(' '));
        let (scheme, token) = value.ok_or(Untrusted("not `Bearer` and a token"))?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.contains([' ', '\t', ',']) {
            return Err(Untrusted("not `Bearer` and one token"));
        }
        self.tokens.verify(token)
    }

    fn api_access(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let value = single(headers, &X_AUTH_CONTEXT).ok_or("no single `x-auth-context`")?;
        // Read from bytes, fields that do not matter could hold what is no UTF-8.
        let context = str::from_utf8(value.as_bytes())
            .ok()
            .and_then(|text| serde_json::from_str(text).ok());
        let Object(context): Object<AuthContext> =
            context.ok_or("`x-auth-context` is not an object with `api_access` and `api_code`")?;
        let right = self.api_codes.contain(&context.api_code);
        if context.api_access && right {
            Ok(())
        } else {
            Err("API access or code is refused")
        }
    }
}

fn client_ip(headers: &HeaderMap) -> Result<IpAddr, &'static str> {
    let value = single(headers, &X_IP).ok_or("no single `x-ip`")?;
    let address = value.to_str().ok().and_then(|text| text.parse().ok());
    address.ok_or("`x-ip` is no IP address")
}

/// Returns the names of all security headers that a request lacks, if it lacks the one that was
/// `checked`: one refusal then names everything that is to be added. A header that is there and
/// wrong is never named.
fn absent(headers: &HeaderMap, checked: &HeaderName) -> Vec<&'static str> {
    if headers.contains_key(checked) {
        return Vec::new();
    }
    let all = [
        (&AUTHORIZATION, "authorization"),
        (&X_AUTH_CONTEXT, "x-auth-context"),
        (&X_IP, "x-ip"),
    ];
    all.into_iter()
        .filter(|(name, _)| !headers.contains_key(*name))
        .map(|(_, name)| name)
        .collect()
}

/// The value of a header that stands there exactly once. With a repeated one, two parties on the
/// way could each believe another value.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests;
