//! Sign-in at an OpenID provider. A browser is sent there and comes back; what fails on the way is
//! told by a page, because a person looks at the answer.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::session::uncached;
use crate::answer::Answer;
use crate::auth::RequestHead;
use crate::error::Refusal;
use crate::request_id::{RequestId, note_account};
use rerun_auth::{OpenId, ProviderError, Sessions, SignInError};

/// The longest code, in bytes.
const MAX_CODE_BYTES: usize = 4_096;

/// Only the style sheet of the console; no script, no form, no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

#[derive(Serialize)]
struct Shown<'a> {
    /// The provider's host; `null` where there is none.
    provider: Option<&'a str>,
}

/// `GET /console/openid`
pub(super) async fn show(sessions: Data<Sessions>) -> Answer {
    let provider = sessions.openid().map(OpenId::name);
    Ok(uncached(HttpResponse::Ok()).json(Shown { provider }))
}

/// `GET /console/openid/start`
pub(super) async fn start(sessions: Data<Sessions>, request: HttpRequest) -> Answer {
    let openid = sessions.openid().ok_or(Refusal::PathNotFound)?;
    let redirect_uri = sessions.redirect_uri(&RequestHead(&request));
    let redirect_uri = redirect_uri.ok_or(Refusal::PathNotFound)?;
    Ok(match openid.begin(redirect_uri).await {
        Ok((attempt, url)) => uncached(HttpResponse::SeeOther())
            .insert_header((header::LOCATION, url))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((
                header::SET_COOKIE,
                sessions.begin_sign_in(&RequestHead(&request), &attempt),
            ))
            .finish(),
        Err(error) => refused(&request, &error),
    })
}

/// What the provider has the browser bring back.
#[derive(Deserialize)]
struct Brought {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// `GET /console/openid/callback`
pub(super) async fn finish(sessions: Data<Sessions>, request: HttpRequest) -> Answer {
    let openid = sessions.openid().ok_or(Refusal::PathNotFound)?;
    let mut response = match signed_in(&sessions, openid, &request).await {
        Ok(cookie) => uncached(HttpResponse::SeeOther())
            // Nothing of the request decides where it goes on.
            .insert_header((header::LOCATION, "../"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((header::SET_COOKIE, cookie))
            .finish(),
        Err(error) => refused(&request, &error),
    };
    // One answer ends a sign-in, whatever comes of it.
    let ended = header::HeaderValue::try_from(sessions.end_sign_in(&RequestHead(&request)));
    if let Ok(ended) = ended {
        response.headers_mut().append(header::SET_COOKIE, ended);
    }
    Ok(response)
}

/// Finishes the sign-in that a request is the answer to; returns the cookie of the session.
async fn signed_in(
    sessions: &Sessions,
    openid: &OpenId,
    request: &HttpRequest,
) -> Result<String, SignInError> {
    let brought = Query::<Brought>::from_query(request.query_string());
    let Brought { state, code, error } = brought.ok().ok_or(SignInError::Stale)?.into_inner();
    let attempt =
        sessions.begun_sign_in(&RequestHead(request), openid, &state.unwrap_or_default())?;
    let code = code.filter(|code| !code.is_empty() && code.len() <= MAX_CODE_BYTES);
    let (Some(code), None) = (code, error) else {
        return Err(SignInError::Declined);
    };
    let redirect_uri = sessions
        .redirect_uri(&RequestHead(request))
        .ok_or(SignInError::Stale)?;
    let (token, trusted) = openid.finish(&attempt, &code, &redirect_uri).await?;
    note_account(trusted.identity.account_id);
    sessions
        .start(
            &RequestHead(request),
            token.expose_secret(),
            trusted.seconds_left,
        )
        .ok_or(SignInError::TooLong)
}

/// The page for a sign-in that failed. The log has the reason.
fn refused(request: &HttpRequest, error: &SignInError) -> HttpResponse {
    tracing::warn!(reason = %error, "a sign-in failed");
    let (status, text) = match error {
        SignInError::Stale => (
            StatusCode::FORBIDDEN,
            "This sign-in took too long, is finished already, or was begun in another browser. Sign \
             in again.",
        ),
        SignInError::Declined => (
            StatusCode::FORBIDDEN,
            "Your sign-in service did not sign you in. Sign in again, or ask the people who run it \
             whether you may use this console.",
        ),
        SignInError::Provider(ProviderError::Refused(_)) => (
            StatusCode::FORBIDDEN,
            "Your sign-in service did not confirm this sign-in: it took too long or was used \
             already. Sign in again.",
        ),
        SignInError::Provider(ProviderError::Away(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Your sign-in service cannot be reached or is not set up for this console. Sign in again \
             in a minute. If it happens again, tell the people who run this server.",
        ),
        SignInError::Untrusted(_) => (
            StatusCode::FORBIDDEN,
            "Your sign-in service signed you in, but this server does not accept what it says about \
             you. Most often it does not name your account, your user or your role. Tell the people \
             who run this server.",
        ),
        SignInError::TooLong => (
            StatusCode::FORBIDDEN,
            "Your sign-in service says more about you than a cookie can hold. Tell the people who \
             run this server: the ID token must be shorter.",
        ),
        SignInError::NoRandom => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "This server cannot sign anybody in now. Tell the people who run it.",
        ),
    };
    let extensions = request.extensions();
    // Its characters are those of a header's value that was checked.
    let id = extensions.get().map_or("", |RequestId(id)| id);
    uncached(HttpResponse::build(status))
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>Not signed in · Rerun console</title><link rel=\"stylesheet\" href=\"../style.css\">\
             </head><body><main class=\"sign-in\"><h1>Not signed in</h1><p role=\"alert\">{text}</p>\
             <p><a class=\"button main\" href=\"../\">Back to the console</a></p>\
             <p class=\"quiet\">Request {id}</p></main></body></html>\n"
        ))
}
