//! What surrounds every request: its id, its span in the log, and the form of its errors.

use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use tracing::{Instrument, Span, field};

use crate::AppState;
use crate::error::{ApiError, Log, Problem};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

/// The id of a request, as logs, answers and the audit log name it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The id that the client gave, when it can stand in a log and in a header as it is.
fn given(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(&HEADER);
    let value = values
        .next()
        .filter(|_| values.next().is_none())?
        .to_str()
        .ok()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ((1..=MAX_LENGTH).contains(&value.len()) && value.bytes().all(allowed))
        .then(|| value.to_owned())
}

/// Gives the request its id and span, and every error its form.
pub(crate) async fn observe(
    state: web::Data<AppState>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let id = given(request.headers()).unwrap_or_else(|| state.ids.next().to_string());
    // The path itself could hold anything; the pattern that it matches is ours.
    let route = request.match_pattern().filter(|route| !route.is_empty());
    // Probes come every few seconds.
    let operational = route
        .as_deref()
        .is_some_and(|route| route.starts_with("/health/"));
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        route = route.as_deref().unwrap_or("none"),
        account = field::Empty,
    );
    request.extensions_mut().insert(RequestId(id.clone()));
    let answer = async {
        let response = formed(next.call(request).await?, &id);
        let status = response.status().as_u16();
        let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if operational {
            tracing::debug!(status, latency_ms, "answered");
        } else {
            tracing::info!(status, latency_ms, "answered");
        }
        Ok::<_, actix_web::Error>(response)
    };
    let mut response = answer.instrument(span).await?;
    // Both kinds of id are of characters that a header may have.
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    // Clients are to find another server before this one is gone.
    if !state.readiness.get() {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// The response, or the error that it stands for in the form that all errors have.
fn formed(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response;
    };
    let problem = error
        .as_error::<ApiError>()
        .map_or_else(|| Problem::internal(error), Problem::of);
    logged(&problem);
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, problem.response(id))
}

/// Says in the log what went wrong: the client's errors by their code, which says nothing of
/// what was sent; the server's with every cause.
fn logged(problem: &Problem) {
    let code = problem.code;
    match &problem.log {
        Log::Code => tracing::debug!(code, "refused"),
        Log::Reason(reason) => tracing::info!(code, reason, "refused"),
        Log::Unavailable(cause) => tracing::warn!(code, cause, "failed"),
        Log::Internal(cause) => tracing::error!(code, cause, "failed"),
    }
}

/// Notes in the span of the current request whose it is.
pub(crate) fn note_account(account: rerun_core::ids::AccountId) {
    Span::current().record("account", field::display(account));
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use actix_web::test::TestRequest;
    use rerun_core::error::StoreError;

    use crate::testing::{Mocks, request};

    #[actix_web::test]
    async fn an_id_that_can_stand_anywhere_is_kept() {
        for (given, kept) in [
            ("a", true),
            ("Trace_1.2-3", true),
            (&*"x".repeat(128), true),
            (&*"x".repeat(129), false),
            ("", false),
            ("two words", false),
            ("a/b", false),
            ("a\"b", false),
        ] {
            let request = TestRequest::get().uri("/health/live");
            let answer = Mocks::default()
                .call(request.insert_header(("x-request-id", given)))
                .await;
            let id = answer.header("x-request-id").unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(id == given, kept, "{given}");
            assert!(kept || uuid::Uuid::try_parse(id).is_ok(), "{id}");
        }
    }

    #[actix_web::test]
    async fn an_id_that_is_given_twice_is_none() {
        let request = TestRequest::get()
            .uri("/health/live")
            .insert_header(("x-request-id", "a"));
        let answer = Mocks::default()
            .call(request.append_header(("x-request-id", "b")))
            .await;
        assert!(uuid::Uuid::try_parse(answer.header("x-request-id").unwrap()).is_ok());
    }

    #[actix_web::test]
    async fn errors_carry_the_id() {
        let mut mocks = Mocks::default();
        let down = || StoreError::Backend("secret detail".into());
        mocks
            .groups
            .expect_list_groups()
            .returning(move |_, _| Err(down()));
        let request = request("/v1/customer-group/list").insert_header(("x-request-id", "r-1"));
        let answer = mocks.call(request.set_payload("{}")).await;
        assert_eq!(
            answer.json(),
            serde_json::json!({
                "status": 500,
                "code": "internal_error",
                "message": "Internal server error",
                "request_id": "r-1",
            }),
        );
        assert_eq!(answer.header("x-request-id"), Some("r-1"));
    }

    #[actix_web::test]
    async fn paths_and_methods_that_are_not_there_are_answered_in_form() {
        for (request, expected, allow) in [
            (TestRequest::get().uri("/"), (404, "not_found"), None),
            (
                TestRequest::get().method(Method::OPTIONS).uri("*"),
                (404, "not_found"),
                None,
            ),
            (
                TestRequest::post().uri("/v1/campaign"),
                (404, "not_found"),
                None,
            ),
            (
                TestRequest::post().uri("/v1/campaign/get/"),
                (404, "not_found"),
                None,
            ),
            (request("/v1/nothing"), (404, "not_found"), None),
            (
                TestRequest::get().uri("/v1/campaign/get"),
                (405, "method_not_allowed"),
                Some("POST"),
            ),
            (
                TestRequest::put().uri("/v1/audit/list"),
                (405, "method_not_allowed"),
                Some("POST"),
            ),
            (
                TestRequest::post().uri("/health/live"),
                (405, "method_not_allowed"),
                Some("GET, HEAD"),
            ),
        ] {
            let answer = Mocks::default().call(request).await;
            let (status, code, _) = answer.error();
            assert_eq!((status, &*code), expected);
            assert_eq!(answer.header("allow"), allow);
        }
    }
}
