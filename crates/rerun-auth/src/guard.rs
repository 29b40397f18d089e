//! Who may call: the header checks that come before anything of a body is read.

use std::fmt;
use std::net::IpAddr;
use std::ops::BitOr;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use rerun_wire::json::Object;

use crate::admitted::{Admitted, Denied};
use crate::client::TrustedProxies;
use crate::head::{Head, has, single, single_text};
use crate::roles::RoleRules;
use crate::sessions::Sessions;
use crate::token::{Identity, TokenVerifier, Untrusted};
use crate::weak::WeakSetting;

const AUTHORIZATION: &str = "authorization";
const X_AUTH_CONTEXT: &str = "x-auth-context";
const X_IP: &str = "x-ip";

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

/// The API codes that are accepted. Hashes are compared, not the codes: how long a comparison takes
/// then tells nothing about a code, not even its length.
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

    /// Returns another way in, for browsers: the same tokens and the same rules for roles, with the
    /// token in a cookie and without the API code.
    #[must_use]
    pub fn sessions(&self, proxies: TrustedProxies) -> Sessions {
        Sessions {
            tokens: Arc::clone(&self.tokens),
            roles: Arc::clone(&self.roles),
            proxies,
            openid: None,
        }
    }

    /// Says who sends a request. Checks in the order that the published API fixes; the first
    /// refusal wins.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn admit(&self, head: &dyn Head) -> Result<Admitted, Denied> {
        let identity = self
            .token(head)
            .map_err(|Untrusted(reason)| Denied::Unauthenticated {
                reason,
                absent: absent(head, AUTHORIZATION),
            })?;
        self.api_access(head)
            .map_err(|reason| Denied::Unauthorized {
                reason,
                absent: absent(head, X_AUTH_CONTEXT),
            })?;
        let ip = client_ip(head).map_err(|reason| Denied::Unauthorized {
            reason,
            absent: absent(head, X_IP),
        })?;
        if !self.roles.is_empty()
            && !self
                .roles
                .admit(head.pattern().as_deref(), &identity.role_code)
        {
            return Err(Denied::Unauthorized {
                reason: "the role may not do this",
                absent: Vec::new(),
            });
        }
        Ok(identity.admitted_from(ip))
    }

    fn token(&self, head: &dyn Head) -> Result<Identity, Untrusted> {
        if single(head, AUTHORIZATION).is_none() {
            return Err(Untrusted("no single token"));
        }
        let value = single_text(head, AUTHORIZATION).and_then(|value| value.split_once(' '));
        let (scheme, token) = value.ok_or(Untrusted("not `Bearer` and a token"))?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.contains([' ', '\t', ',']) {
            return Err(Untrusted("not `Bearer` and one token"));
        }
        self.tokens.verify(token)
    }

    fn api_access(&self, head: &dyn Head) -> Result<(), &'static str> {
        let value = single(head, X_AUTH_CONTEXT).ok_or("no single `x-auth-context`")?;
        // Read from bytes, fields that do not matter could hold what is no UTF-8.
        let context = str::from_utf8(value)
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

fn client_ip(head: &dyn Head) -> Result<IpAddr, &'static str> {
    if single(head, X_IP).is_none() {
        return Err("no single `x-ip`");
    }
    let address = single_text(head, X_IP).and_then(|text| text.parse().ok());
    address.ok_or("`x-ip` is no IP address")
}

/// Returns the names of all security headers that a request lacks, if it lacks the one that was
/// `checked`: one refusal then names everything that is to be added. A header that is there and
/// wrong is never named.
fn absent(head: &dyn Head, checked: &str) -> Vec<&'static str> {
    if has(head, checked) {
        return Vec::new();
    }
    let all = [AUTHORIZATION, X_AUTH_CONTEXT, X_IP];
    all.into_iter().filter(|name| !has(head, name)).collect()
}
