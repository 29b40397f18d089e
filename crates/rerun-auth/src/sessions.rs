//! The way in for browsers: the token is in a cookie, and what another site sends is refused.

use std::fmt;
use std::sync::Arc;

use rerun_wire::endpoints::{CONSOLE, OPENID, OPENID_CALLBACK};

use crate::admitted::{Admitted, Denied};
use crate::client::{TrustedProxies, host};
use crate::head::{Head, has, single, single_text};
use crate::openid::{Attempt, OpenId, SignInError};
use crate::roles::RoleRules;
use crate::token::{TokenVerifier, Trusted, Untrusted};

const COOKIE: &str = "cookie";
const ORIGIN: &str = "origin";
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The longest name and value together: browsers silently drop longer cookies.
const MAX_COOKIE_BYTES: usize = 4_096;

/// Admits browsers by the token in their cookie. It trusts the tokens that a
/// [`Guard`](crate::Guard) trusts, with the same role rules; see
/// [`Guard::sessions`](crate::Guard::sessions).
#[derive(Clone)]
pub struct Sessions {
    pub(crate) tokens: Arc<TokenVerifier>,
    pub(crate) roles: Arc<RoleRules>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) openid: Option<Arc<OpenId>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// A cookie of the console.
#[derive(Debug, Clone, Copy)]
struct Cookie {
    name: &'static str,
    path: &'static str,
    same_site: &'static str,
}

/// The token of a session.
const SESSION: Cookie = Cookie {
    name: "rerun-console",
    path: CONSOLE,
    same_site: "Strict",
};

/// A sign-in that was begun. It must come with the browser when the provider sends it back.
const SIGN_IN: Cookie = Cookie {
    name: "rerun-sign-in",
    path: OPENID,
    same_site: "Lax",
};

impl Sessions {
    /// Lets people sign in at this provider, too. Its ID tokens open the console, and nothing else.
    #[must_use]
    pub fn with_openid(self, openid: OpenId) -> Self {
        Self {
            openid: Some(Arc::new(openid)),
            ..self
        }
    }

    /// The provider at which people may sign in.
    #[must_use]
    pub fn openid(&self) -> Option<&OpenId> {
        self.openid.as_deref()
    }

    /// Checks the token for a session.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn trust(&self, token: &str) -> Result<Trusted, Denied> {
        self.tokens.trusted(token).map_err(unknown)
    }

    /// Returns who is signed in.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn signed_in(&self, head: &dyn Head) -> Result<Trusted, Denied> {
        let token = self.cookie(head, SESSION).map_err(unknown)?;
        match (self.tokens.trusted(token), self.openid()) {
            (Err(_), Some(openid)) if openid.may_have_made(token) => openid.trusted(token).await,
            (trusted, _) => trusted.map_err(unknown),
        }
    }

    /// Returns the names of the actions that the role may do.
    #[must_use]
    pub fn actions(&self, role: &str) -> Vec<String> {
        self.roles.actions_of(role)
    }

    /// Returns the cookie that makes this token a session, as the value of `set-cookie`; `None`
    /// for a token that is too long for a cookie.
    pub fn start(&self, head: &dyn Head, token: &str, seconds_left: i64) -> Option<String> {
        let (name, _) = self.named(head, SESSION);
        (name.len() + token.len() <= MAX_COOKIE_BYTES)
            .then(|| self.set(head, SESSION, token, seconds_left.max(0)))
    }

    /// Returns what ends the session, as the value of `set-cookie`.
    pub fn end(&self, head: &dyn Head) -> String {
        self.set(head, SESSION, "", 0)
    }

    /// Returns the cookie of a sign-in that was begun, as the value of `set-cookie`.
    pub fn begin_sign_in(&self, head: &dyn Head, attempt: &Attempt) -> String {
        self.set(head, SIGN_IN, attempt.cookie(), Attempt::SECONDS)
    }

    /// Returns the sign-in that was begun in this browser, if an answer of the provider with this
    /// `state` is for it.
    ///
    /// # Errors
    /// [`SignInError::Stale`].
    pub fn begun_sign_in(
        &self,
        head: &dyn Head,
        openid: &OpenId,
        state: &str,
    ) -> Result<Attempt, SignInError> {
        let cookie = self.cookie(head, SIGN_IN);
        openid.resume(cookie.ok().ok_or(SignInError::Stale)?, state)
    }

    /// Returns what ends a sign-in, as the value of `set-cookie`.
    pub fn end_sign_in(&self, head: &dyn Head) -> String {
        self.set(head, SIGN_IN, "", 0)
    }

    /// Returns the address to which the provider sends a browser back: at the host that the browser
    /// asked for.
    pub fn redirect_uri(&self, head: &dyn Head) -> Option<String> {
        let scheme = if self.proxies.plain_loopback(head) {
            "http"
        } else {
            "https"
        };
        let host = host(head)?;
        Some(format!("{scheme}://{host}{OPENID}{OPENID_CALLBACK}"))
    }

    /// The name of a cookie and an attribute, as the scheme and the host of a request demand. Only on
    /// plain loopback a cookie is not secure: without TLS a browser would not keep it.
    fn named(&self, head: &dyn Head, cookie: Cookie) -> (String, &'static str) {
        if self.proxies.plain_loopback(head) {
            (cookie.name.to_owned(), "")
        } else {
            (format!("__Secure-{}", cookie.name), "; Secure")
        }
    }

    fn set(&self, head: &dyn Head, cookie: Cookie, value: &str, max_age: i64) -> String {
        let (name, secure) = self.named(head, cookie);
        let Cookie {
            path, same_site, ..
        } = cookie;
        format!(
            "{name}={value}; Max-Age={max_age}; Path={path}; HttpOnly; SameSite={same_site}{secure}"
        )
    }

    fn cookie<'a>(&self, head: &'a dyn Head, cookie: Cookie) -> Result<&'a str, Untrusted> {
        value(head, &self.named(head, cookie).0)
    }

    /// Says who sends a request.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(&self, head: &dyn Head) -> Result<Admitted, Denied> {
        let Trusted { identity, .. } = self.signed_in(head).await?;
        let unauthorized = |reason| Denied::Unauthorized {
            reason,
            absent: Vec::new(),
        };
        let ip = self
            .proxies
            .client_ip(head)
            .ok_or(unauthorized("the connection has no IP address"))?;
        let path = head.pattern();
        let path = path.as_deref().and_then(|path| path.strip_prefix(CONSOLE));
        if !self.roles.admit(path, &identity.role_code) {
            return Err(unauthorized("the role may not do this"));
        }
        Ok(identity.admitted_from(ip))
    }
}

fn unknown(Untrusted(reason): Untrusted) -> Denied {
    Denied::Unauthenticated {
        reason,
        absent: Vec::new(),
    }
}

/// Returns the value of the cookie with this name. Two such cookies are refused: it is unknown which one
/// the browser means.
fn value<'a>(head: &'a dyn Head, name: &str) -> Result<&'a str, Untrusted> {
    let lines = head.values(COOKIE).into_iter();
    let mut values = lines
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        });
    let value = values.next().ok_or(Untrusted("no cookie of a session"))?;
    if values.next().is_some() {
        return Err(Untrusted("two cookies of sessions"));
    }
    str::from_utf8(value)
        .ok()
        .ok_or(Untrusted("the cookie is no token"))
}

/// Refuses what a page of another site has its browser send. A program that is no browser sends
/// neither header.
///
/// # Errors
/// [`Denied::Unauthorized`].
pub fn same_origin(head: &dyn Head) -> Result<(), Denied> {
    let same = if has(head, SEC_FETCH_SITE) {
        single(head, SEC_FETCH_SITE).is_some_and(|site| site == b"same-origin")
    } else if has(head, ORIGIN) {
        single_text(head, ORIGIN)
            .zip(host(head))
            .is_some_and(|(origin, host)| is_origin_of(origin, host))
    } else {
        true
    };
    if same {
        Ok(())
    } else {
        Err(Denied::Unauthorized {
            reason: "a page of another site sends it",
            absent: Vec::new(),
        })
    }
}

/// Whether the origin is the host's; the port of the scheme may be written or left out.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_host_with_its_scheme() {
        for (origin, host, same) in [
            ("http://localhost:8080", "localhost:8080", true),
            ("https://rerun.example", "rerun.example", true),
            ("https://Rerun.example", "rerun.EXAMPLE:443", true),
            ("http://rerun.example:80", "rerun.example", true),
            ("http://rerun.example", "rerun.example:443", false),
            ("http://localhost:8081", "localhost:8080", false),
            ("http://evil.example", "rerun.example", false),
            ("http://rerun.example.evil.example", "rerun.example", false),
            ("http://rerun.example/", "rerun.example", false),
            ("null", "null", false),
            ("file://", "", false),
            ("rerun.example", "rerun.example", false),
            ("", "", false),
        ] {
            assert_eq!(is_origin_of(origin, host), same, "{origin} {host}");
        }
    }
}
