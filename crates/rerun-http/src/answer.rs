//! How answers are written.

use actix_web::HttpResponse;
use actix_web::http::header::{ContentType, HeaderName, HeaderValue};
use rerun_core::usecases::Replayable;
use serde::Serialize;

use crate::error::ApiError;

/// What a handler answers.
pub(crate) type Answer = Result<HttpResponse, ApiError>;

/// 200 with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(bytes))
}

/// The same, marked when it is the kept answer of an earlier request.
pub(crate) fn answered<'a, T, B>(
    answered: &'a Replayable<T>,
    body: impl FnOnce(&'a T) -> B,
) -> Answer
where
    B: Serialize,
{
    let mut response = json(&body(&answered.outcome))?;
    if answered.replayed {
        let name = HeaderName::from_static("idempotent-replay");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}
