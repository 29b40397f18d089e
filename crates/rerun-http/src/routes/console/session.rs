use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::error::Invalid;
use rerun_core::ids::{AccountId, UserId};
use rerun_core::timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::answer::Answer;
use crate::auth::RequestHead;
use crate::body::Body;
use crate::extract::Required;
use crate::media_type::MediaType;
use crate::request_id::note_account;
use crate::state::State;
use rerun_auth::{Sessions, Trusted};

/// The longest body. The limit is low because the caller is not known yet.
const MAX_BODY_BYTES: u64 = 64 << 10;

#[derive(Deserialize)]
struct Request {
    token: Option<String>,
}

#[derive(Serialize)]
struct Session<'a> {
    user_id: UserId,
    user_name: Option<&'a UserName>,
    account_id: AccountId,
    role_code: &'a str,
    #[serde(with = "timestamp")]
    expires_at: Timestamp,
    actions: Vec<String>,
}

/// `POST /console/session`
pub(super) async fn start(
    state: State,
    sessions: Data<Sessions>,
    request: HttpRequest,
    payload: Payload,
) -> Answer {
    MediaType::Json.check(request.headers())?;
    // Before the sign-in the account is unknown: these bodies share the room of one account.
    let room = state.intake.body(AccountId::new(Uuid::nil()))?;
    let (limits, mut payload) = (state.limits, payload.into_inner());
    let limit = MAX_BODY_BYTES.min(limits.max_body_bytes);
    let body = Body::new(&request, &mut payload, limit, limits.body_timeout, room)?;
    let body: Request = body.json().await?;
    let mut required = Required::default();
    let token = required.text("token", body.token);
    required.check()?;
    let trusted = sessions.trust(&token)?;
    let cookie = sessions.start(&RequestHead(&request), &token, trusted.seconds_left);
    let cookie = cookie.ok_or(Invalid::new("`token` is longer than a cookie can be"))?;
    Ok(uncached(HttpResponse::Ok())
        .insert_header((header::SET_COOKIE, cookie))
        .json(shown(&sessions, &trusted)))
}

/// `GET /console/session`
pub(super) async fn show(sessions: Data<Sessions>, request: HttpRequest) -> Answer {
    let trusted = sessions.signed_in(&RequestHead(&request)).await?;
    Ok(uncached(HttpResponse::Ok()).json(shown(&sessions, &trusted)))
}

/// `DELETE /console/session`, which ends a session that has expired as well.
pub(super) async fn end(sessions: Data<Sessions>, request: HttpRequest) -> Answer {
    Ok(uncached(HttpResponse::NoContent())
        .insert_header((header::SET_COOKIE, sessions.end(&RequestHead(&request))))
        .finish())
}

fn shown<'a>(sessions: &Sessions, trusted: &'a Trusted) -> Session<'a> {
    let identity = &trusted.identity;
    note_account(identity.account_id);
    Session {
        user_id: identity.user_id,
        user_name: identity.user_name.as_ref(),
        account_id: identity.account_id,
        role_code: &identity.role_code,
        expires_at: trusted.expires_at,
        actions: sessions.actions(&identity.role_code),
    }
}

pub(super) fn uncached(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}
