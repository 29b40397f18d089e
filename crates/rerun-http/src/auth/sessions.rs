//! The way in for browsers: the token is in a cookie, and what another site sends is refused.

use std::fmt;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderName, ORIGIN};
use async_trait::async_trait;

use super::client::{TrustedProxies, host};
use super::{
    Admitted, Attempt, Authenticator, Denied, OpenId, RoleRules, SignInError, TokenVerifier,
    Trusted, Untrusted,
};
use crate::endpoints::{CONSOLE, OPENID, OPENID_CALLBACK};
use crate::headers::single;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The longest name and value together: browsers silently drop longer cookies.
const MAX_COOKIE_BYTES: usize = 4_096;

/// Admits browsers by the token in their cookie. It trusts the tokens that a
/// [`Guard`](super::Guard) trusts, with the same role rules; see
/// [`Guard::sessions`](super::Guard::sessions).
#[derive(Clone)]
pub struct Sessions {
    pub(super) tokens: Arc<TokenVerifier>,
    pub(super) roles: Arc<RoleRules>,
    pub(super) proxies: TrustedProxies,
    pub(super) openid: Option<Arc<OpenId>>,
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
    pub(crate) fn openid(&self) -> Option<&OpenId> {
        self.openid.as_deref()
    }

    /// Checks the token for a session.
    pub(crate) fn trust(&self, token: &str) -> Result<Trusted, Denied> {
        self.tokens.trusted(token).map_err(unknown)
    }

    /// Returns who is signed in.
    pub(crate) async fn signed_in(&self, request: &HttpRequest) -> Result<Trusted, Denied> {
        let token = self.cookie(request, SESSION).map_err(unknown)?;
        match (self.tokens.trusted(token), self.openid()) {
            (Err(_), Some(openid)) if openid.may_have_made(token) => openid.trusted(token).await,
            (trusted, _) => trusted.map_err(unknown),
        }
    }

    /// Returns the names of the actions that the role may do.
    pub(crate) fn actions(&self, role: &str) -> Vec<String> {
        self.roles.actions_of(role)
    }

    /// Returns the cookie that makes this token a session, as the value of `set-cookie`; `None`
    /// for a token that is too long for a cookie.
    pub(crate) fn start(
        &self,
        request: &HttpRequest,
        token: &str,
        seconds_left: i64,
    ) -> Option<String> {
        let (name, _) = self.named(request, SESSION);
        (name.len() + token.len() <= MAX_COOKIE_BYTES)
            .then(|| self.set(request, SESSION, token, seconds_left.max(0)))
    }

    /// Returns what ends the session, as the value of `set-cookie`.
    pub(crate) fn end(&self, request: &HttpRequest) -> String {
        self.set(request, SESSION, "", 0)
    }

    /// Returns the cookie of a sign-in that was begun, as the value of `set-cookie`.
    pub(crate) fn begin_sign_in(&self, request: &HttpRequest, attempt: &Attempt) -> String {
        self.set(request, SIGN_IN, attempt.cookie(), Attempt::SECONDS)
    }

    /// Returns the sign-in that was begun in this browser, if an answer of the provider with this
    /// `state` is for it.
    pub(crate) fn begun_sign_in(
        &self,
        request: &HttpRequest,
        openid: &OpenId,
        state: &str,
    ) -> Result<Attempt, SignInError> {
        let cookie = self.cookie(request, SIGN_IN);
        openid.resume(cookie.ok().ok_or(SignInError::Stale)?, state)
    }

    /// Returns what ends a sign-in, as the value of `set-cookie`.
    pub(crate) fn end_sign_in(&self, request: &HttpRequest) -> String {
        self.set(request, SIGN_IN, "", 0)
    }

    /// Returns the address to which the provider sends a browser back: at the host that the browser
    /// asked for.
    pub(crate) fn redirect_uri(&self, request: &HttpRequest) -> Option<String> {
        let scheme = if self.proxies.plain_loopback(request) {
            "http"
        } else {
            "https"
        };
        let host = host(request)?;
        Some(format!("{scheme}://{host}{OPENID}{OPENID_CALLBACK}"))
    }

    /// The name of a cookie and an attribute, as the scheme and the host of a request demand. Only on
    /// plain loopback a cookie is not secure: without TLS a browser would not keep it.
    fn named(&self, request: &HttpRequest, cookie: Cookie) -> (String, &'static str) {
        if self.proxies.plain_loopback(request) {
            (cookie.name.to_owned(), "")
        } else {
            (format!("__Secure-{}", cookie.name), "; Secure")
        }
    }

    fn set(&self, request: &HttpRequest, cookie: Cookie, value: &str, max_age: i64) -> String {
        let (name, secure) = self.named(request, cookie);
        let Cookie {
            path, same_site, ..
        } = cookie;
        format!(
            "{name}={value}; Max-Age={max_age}; Path={path}; HttpOnly; SameSite={same_site}{secure}"
        )
    }

    fn cookie<'a>(&self, request: &'a HttpRequest, cookie: Cookie) -> Result<&'a str, Untrusted> {
        value(request, &self.named(request, cookie).0)
    }

    async fn admit(&self, request: &HttpRequest) -> Result<Admitted, Denied> {
        let Trusted { identity, .. } = self.signed_in(request).await?;
        let unauthorized = |reason| Denied::Unauthorized {
            reason,
            absent: Vec::new(),
        };
        let ip = self
            .proxies
            .client_ip(request)
            .ok_or(unauthorized("the connection has no IP address"))?;
        let path = request.match_pattern();
        let path = path.as_deref().and_then(|path| path.strip_prefix(CONSOLE));
        if !self.roles.admit(path, &identity.role_code) {
            return Err(unauthorized("the role may not do this"));
        }
        Ok(identity.admitted_from(ip))
    }
}

#[async_trait(?Send)]
impl Authenticator for Sessions {
    async fn authenticate(&self, request: &HttpRequest) -> Result<Admitted, Denied> {
        self.admit(request).await
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
fn value<'a>(request: &'a HttpRequest, name: &str) -> Result<&'a str, Untrusted> {
    let lines = request.headers().get_all(COOKIE);
    let mut values = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
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
pub(crate) fn same_origin(request: &HttpRequest) -> Result<(), Denied> {
    let headers = request.headers();
    let same = if headers.contains_key(SEC_FETCH_SITE) {
        single(headers, &SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
    } else if headers.contains_key(ORIGIN) {
        let origin = single(headers, &ORIGIN).and_then(|origin| origin.to_str().ok());
        origin
            .zip(host(request))
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
