use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use tracing::Span;

/// Sends the spans of requests to a collector of traces.
pub trait Traces: Send + Sync {
    /// Makes the span of a request part of the trace that the request's headers name.
    fn take_over(&self, span: &Span, headers: &HeaderMap);

    /// Adds to the span of a request what is known at its end.
    fn complete(&self, span: &Span, completed: &Completed<'_>);
}

/// What is known of a request at its end.
#[derive(Debug, Clone, Copy)]
pub struct Completed<'a> {
    /// The method.
    pub method: &'a str,
    /// The pattern that the path matched.
    pub route: &'a str,
    /// The status of the response.
    pub status: StatusCode,
    /// The ids that the request is about, with their names.
    pub ids: &'a [(&'static str, String)],
}
