//! What surrounds every request: its id, its span, its line in the log, its numbers, and the form
//! of its errors.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use rerun_core::ids::RunNumber;
use tracing::{Instrument, Span, field};

use crate::error::{ApiError, Log, Problem};
use crate::request_id::{Notes, RequestId, noted, noting};
use crate::state::AppState;
use crate::traces::Completed;
use rerun_wire::endpoints::ENDPOINTS;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// What the route of a request is called that matches no endpoint.
const NO_ROUTE: &str = "none";
const MAX_LENGTH: usize = 128;

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

/// The pattern that the request's path matches: a path itself could hold anything.
fn route(request: &ServiceRequest) -> Cow<'static, str> {
    let path = request.path();
    if let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) {
        return Cow::Borrowed(endpoint.path);
    }
    let pattern = request.match_pattern().filter(|route| !route.is_empty());
    pattern.map_or(Cow::Borrowed(NO_ROUTE), Cow::Owned)
}

/// Probes and scrapes come every few seconds.
fn is_operational(route: &str) -> bool {
    route.starts_with("/health/") || route == "/metrics"
}

/// At the level of errors, so that whatever is logged within has the request's id.
fn span(request: &ServiceRequest, id: &str, route: &str, traced: bool) -> Span {
    let method = field::display(request.method());
    if is_operational(route) {
        tracing::error_span!("probe", request_id = id, %method, route)
    } else if traced {
        tracing::error_span!("request", request_id = id, %method, route, otel.kind = "server")
    } else {
        tracing::error_span!("request", request_id = id, %method, route)
    }
}

/// Gives the request its id and span, every error its form, and tells log, metrics and traces.
pub(crate) async fn observe(
    state: web::Data<AppState>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let _in_flight = state.metrics.request();
    let id = given(request.headers()).unwrap_or_else(|| state.ids.next().to_string());
    let (method, route) = (request.method().clone(), route(&request));
    let traces = state.traces.as_deref();
    let span = span(&request, &id, &route, traces.is_some());
    if let Some(traces) = traces {
        traces.take_over(&span, request.headers());
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    let answer = async {
        let (response, problem) = formed(next.call(request).await?, &id);
        let (status, took) = (response.status(), started.elapsed());
        let notes = noted();
        state
            .metrics
            .answered(&route, method.as_str(), status.as_u16(), took);
        log(&route, status, took, notes, problem.as_ref());
        if let Some(traces) = traces {
            let completed = Completed {
                method: method.as_str(),
                route: &route,
                status,
                ids: &notes.texts(),
            };
            traces.complete(&span, &completed);
        }
        Ok::<_, actix_web::Error>(response)
    };
    let mut response = noting(answer).instrument(span.clone()).await?;
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
fn formed(
    response: ServiceResponse<BoxBody>,
    id: &str,
) -> (ServiceResponse<BoxBody>, Option<Problem>) {
    let Some(error) = response.response().error() else {
        return (response, None);
    };
    let problem = error
        .as_error::<ApiError>()
        .map_or_else(|| Problem::internal(error), Problem::of);
    let (request, _) = response.into_parts();
    (
        ServiceResponse::new(request, problem.response(id)),
        Some(problem),
    )
}

/// The request's one line. Of what went wrong it says the client's errors by their code, which
/// says nothing of what was sent; the server's with every cause.
fn log(route: &str, status: StatusCode, took: Duration, notes: Notes, problem: Option<&Problem>) {
    let (mut reason, mut cause) = (None, None);
    match problem.map(|problem| &problem.log) {
        Some(Log::Reason(text)) => reason = Some(*text),
        Some(Log::Cause(text)) => cause = Some(text.as_str()),
        Some(Log::Code) | None => {}
    }
    macro_rules! answered {
        ($level:ident) => {
            tracing::$level!(
                status = status.as_u16(),
                latency_ms = millis(took),
                account_id = notes.account.map(field::display),
                campaign_id = notes.campaign.map(field::display),
                run_number = notes.run.map(RunNumber::get),
                code = problem.map(|problem| problem.code.as_str()),
                reason,
                cause,
                "answered"
            )
        };
    }
    if cause.is_some() {
        answered!(error);
    } else if is_operational(route) {
        answered!(debug);
    } else {
        answered!(info);
    }
}

/// In milliseconds, to the microsecond.
fn millis(took: Duration) -> f64 {
    f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
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
            (TestRequest::get().uri("/x"), (404, "not_found"), None),
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
