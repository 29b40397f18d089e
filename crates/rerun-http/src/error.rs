//! The one place where refusals and failures become answers.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use rerun_auth::Denied;
use rerun_core::error::{Cause, Error, Invalid, StoreError, chain};
use rerun_wire::{Code, ErrorBody};

/// Why HTTP itself refuses a request, before a use case has seen it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The `content-type` is another.
    #[error("the content type must be `{expected}`")]
    UnsupportedMediaType { expected: &'static str },
    /// The `charset` of a CSV is another than those of Unicode.
    #[error("the content type must be `text/csv` in UTF-8 or UTF-16, not in `{charset}`")]
    UnsupportedCharset {
        /// As the client gave it, escaped.
        charset: String,
    },
    /// The `content-encoding` is another.
    #[error("the content encoding must be `gzip` or `identity`, not `{encoding}`")]
    UnsupportedEncoding {
        /// As the client gave it, escaped.
        encoding: String,
    },
    /// Header, query or body cannot be read; the text says where.
    #[error("{0}")]
    Malformed(String),
    /// The body has more bytes than allowed.
    #[error("the body may have at most {limit} bytes")]
    PayloadTooLarge { limit: u64 },
    /// There is no such path.
    #[error("Not found")]
    PathNotFound,
    /// The path has other methods.
    #[error("Method not allowed")]
    MethodNotAllowed { allow: &'static str },
    /// The server has begun to shut down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// There is no room for the body now; the text says of what.
    #[error("no room for the body: {0}")]
    NoRoom(&'static str),
    /// The account has sent too many requests.
    #[error("the account has sent too many requests")]
    RateLimited { retry_after: Duration },
    /// The request has taken too long.
    #[error("the request took longer than {} s", .limit.as_secs())]
    TimedOut { limit: Duration },
}

/// Why a request is not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A use case refused or failed.
    #[error(transparent)]
    UseCase(#[from] Error),
    /// The request was refused before.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The sender may not do this, or is not known.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The server itself failed, and not the database.
    #[error("{0}")]
    Internal(Cause),
    /// Something that the server needs, and not the database, is missing for now.
    #[error("{0}")]
    Unavailable(Cause),
    /// The store did not answer a health check.
    #[error("the health check failed")]
    Unhealthy(#[source] StoreError),
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::UseCase(invalid.into())
    }
}

impl ApiError {
    /// A failure of the server itself.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// A failure of the server's surroundings that passes.
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// Seconds after which a client may try again when the database was not available.
const RETRY_AFTER_SECONDS: u64 = 1;
/// The longest message, in characters: it may quote what the client sent.
const MAX_MESSAGE_LENGTH: usize = 500;

/// What an error says on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
    pub(crate) fields: Vec<&'static str>,
    pub(crate) allow: Option<&'static str>,
    /// Seconds after which the request may be tried again.
    pub(crate) retry_after: Option<u64>,
    /// What the log gets to know besides.
    pub(crate) log: Log,
}

/// How an error is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Log {
    /// By its code alone: it is the client's.
    Code,
    /// With the reason, which the client is not told.
    Reason(&'static str),
    /// With all its causes, as a fault of the server or of its surroundings.
    Cause(String),
}

impl Problem {
    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let message = match message.char_indices().nth(MAX_MESSAGE_LENGTH) {
            Some((end, _)) => Cow::Owned(format!("{}…", message.get(..end).unwrap_or_default())),
            None => message,
        };
        Self {
            code,
            message,
            fields: Vec::new(),
            allow: None,
            retry_after: None,
            log: Log::Code,
        }
    }

    /// An error whose message is always the same.
    fn fixed(code: Code) -> Self {
        Self::new(code, code.message())
    }

    /// An error that has its own words.
    fn said(code: Code, error: &dyn StdError) -> Self {
        Self::new(code, error.to_string())
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        let status = StatusCode::from_u16(self.code.status());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A failure whose cause the client is not told.
    pub(crate) fn internal(error: &dyn StdError) -> Self {
        Self {
            log: Log::Cause(chain(error)),
            ..Self::fixed(Code::InternalError)
        }
    }

    fn unavailable(error: &dyn StdError) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER_SECONDS),
            log: Log::Cause(chain(error)),
            ..Self::fixed(Code::Unavailable)
        }
    }

    fn because(self, reason: &'static str) -> Self {
        Self {
            log: Log::Reason(reason),
            ..self
        }
    }

    fn naming(self, fields: &[&'static str]) -> Self {
        Self {
            fields: fields.to_vec(),
            ..self
        }
    }

    /// What the client is told.
    pub(crate) fn of(error: &ApiError) -> Self {
        match error {
            ApiError::UseCase(error) => Self::of_use_case(error),
            ApiError::Refused(refusal) => Self::of_refusal(refusal),
            ApiError::Denied(denied) => Self::of_denial(denied),
            ApiError::Internal(cause) => Self::internal(&**cause),
            ApiError::Unavailable(cause) => Self::unavailable(&**cause),
            ApiError::Unhealthy(_) => Self::unavailable(error),
        }
    }

    /// What the client is told of a use case's error.
    pub(crate) fn of_use_case(error: &Error) -> Self {
        match error {
            Error::MissingFields(fields) => Self::fixed(Code::MissingRequiredFields).naming(fields),
            Error::Invalid(invalid) => Self::said(Code::InvalidRequest, invalid),
            Error::CampaignNotFound => Self::fixed(Code::CampaignNotFound),
            Error::CustomerGroupNotFound => Self::fixed(Code::CustomerGroupNotFound),
            Error::CustomerNotFound => Self::fixed(Code::CustomerNotFound),
            Error::GroupInUse => Self::fixed(Code::InUse),
            Error::ScheduleNotFound => Self::fixed(Code::ScheduleNotFound),
            Error::RunNotFound => Self::fixed(Code::RunNotFound),
            Error::MessageNotFound => Self::fixed(Code::MessageNotFound),
            Error::WebhookNotFound => Self::fixed(Code::WebhookNotFound),
            Error::CampaignNotPublished(_) => Self::fixed(Code::CampaignNotPublished),
            Error::MessagesNotPublished(_) => Self::fixed(Code::MessagesNotPublished),
            Error::CurrentRunArchive(_) => Self::fixed(Code::CurrentRunArchive),
            Error::EmptyCustomerGroup => Self::fixed(Code::EmptyCustomerGroup),
            // What it names has its own bounds.
            Error::UnknownSegmentField(unknown) => Self {
                message: Cow::Owned(unknown.to_string()),
                ..Self::new(Code::UnknownSegmentField, "")
            },
            Error::TooManySegments { .. } | Error::TooManyValues { .. } => {
                Self::said(Code::TooManySegments, error)
            }
            Error::IllegalTransition(illegal) => Self::said(Code::InvalidTransition, illegal),
            Error::StageNotAllowed(_) => Self::said(Code::StageNotAllowed, error),
            Error::ContentChanged(_) => Self::said(Code::ContentChanged, error),
            Error::UnfilledPlaceholder(unfilled) => Self::said(Code::UnfilledPlaceholder, unfilled),
            Error::IdempotencyKeyReused => Self::fixed(Code::IdempotencyKeyReused),
            Error::Store(error) => Self::of_store(error),
        }
    }

    fn of_denial(denied: &Denied) -> Self {
        match denied {
            Denied::Unauthenticated { reason, absent } => {
                Self::fixed(Code::AuthError).because(reason).naming(absent)
            }
            Denied::Unauthorized { reason, absent } => Self::fixed(Code::Unauthorized)
                .because(reason)
                .naming(absent),
            Denied::Failed(error) => Self::of_store(error),
            Denied::Away(cause) => Self::unavailable(&**cause),
        }
    }

    fn of_store(error: &StoreError) -> Self {
        match error {
            // A conflict that no use case has retried is one that passes.
            StoreError::Unavailable(_) | StoreError::Conflict => Self::unavailable(error),
            StoreError::Corrupt(_) | StoreError::Backend(_) => Self::internal(error),
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::UnsupportedMediaType { .. }
            | Refusal::UnsupportedCharset { .. }
            | Refusal::UnsupportedEncoding { .. } => {
                Self::said(Code::UnsupportedMediaType, refusal)
            }
            Refusal::Malformed(_) => Self::said(Code::InvalidRequest, refusal),
            Refusal::PayloadTooLarge { .. } => Self::said(Code::PayloadTooLarge, refusal),
            Refusal::PathNotFound => Self::fixed(Code::NotFound),
            Refusal::MethodNotAllowed { allow } => Self {
                allow: Some(allow),
                ..Self::fixed(Code::MethodNotAllowed)
            },
            // Nothing is wrong.
            Refusal::ShuttingDown => Self {
                log: Log::Code,
                ..Self::unavailable(refusal)
            },
            Refusal::TimedOut { .. } => Self::unavailable(refusal),
            Refusal::NoRoom(what) => Self::unavailable(refusal).because(what),
            Refusal::RateLimited { retry_after } => Self {
                retry_after: Some(whole_seconds(*retry_after)),
                ..Self::new(Code::RateLimited, "Too many requests, try again later")
            },
        }
    }

    /// The answer to the request with this id.
    pub(crate) fn response(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status());
        // The rest of the body is not read, so the connection ends. A client that is not told would
        // send its next request on it.
        if self.code == Code::PayloadTooLarge {
            response.force_close();
        }
        if let Some(allow) = self.allow {
            response.insert_header(("allow", allow));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header(("retry-after", seconds.to_string()));
        }
        response.json(ErrorBody {
            status: self.code.status(),
            code: self.code.as_str(),
            message: &self.message,
            request_id,
            fields: &self.fields,
        })
    }
}

/// Seconds that are enough, and at least one.
fn whole_seconds(wait: Duration) -> u64 {
    let started = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(started).max(1)
}

/// The answer's body needs the request's id, so the middleware that knows it writes the whole
/// answer from the error that travels with this one.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        Problem::of(self).status()
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

#[cfg(test)]
mod tests {
    use rerun_core::campaign::CampaignStatus;
    use rerun_core::error::{Action, IllegalTransition, UnfilledPlaceholder};
    use rerun_core::ids::{CustomerGroupId, MessageId, RunNumber};
    use rerun_core::missing_field::UnknownSegmentField;

    use super::*;

    fn unavailable() -> StoreError {
        StoreError::Unavailable("no route to db.internal".into())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_error_has_its_row_in_the_table() {
        let illegal = IllegalTransition::Campaign {
            status: CampaignStatus::Published,
            action: Action::Cancel,
        };
        let busy = "The service is not available now, try again";
        let unknown = UnknownSegmentField {
            fields: vec!["country".to_owned()],
            group: CustomerGroupId::new(uuid::Uuid::nil()),
            group_name: "Spring".to_owned(),
            known: vec!["Country".to_owned()],
            more: 0,
        };
        let unknown_says = unknown.to_string();
        let cases: [(ApiError, u16, &str, &str); 40] = [
            (
                Denied::Unauthenticated {
                    reason: "x",
                    absent: Vec::new(),
                }
                .into(),
                403,
                "auth_error",
                "auth error",
            ),
            (
                Denied::Unauthorized {
                    reason: "x",
                    absent: Vec::new(),
                }
                .into(),
                403,
                "unauthorized",
                "Unauthorized",
            ),
            (
                Error::MissingFields(vec!["a"]).into(),
                401,
                "missing_required_fields",
                "Missing required fields",
            ),
            (
                Error::CampaignNotFound.into(),
                404,
                "campaign_not_found",
                "Campaign not found",
            ),
            (
                Error::CustomerGroupNotFound.into(),
                404,
                "customer_group_not_found",
                "Customer group not found",
            ),
            (
                Error::GroupInUse.into(),
                409,
                "in_use",
                "The customer group is in use",
            ),
            (
                Error::CustomerNotFound.into(),
                404,
                "customer_not_found",
                "Customer not found",
            ),
            (
                Error::CampaignNotPublished(CampaignStatus::Draft).into(),
                400,
                "campaign_not_published",
                "Only Published campaigns can be rerun",
            ),
            (
                Error::MessagesNotPublished(2).into(),
                400,
                "messages_not_published",
                "All campaign messages must be published before initiating a rerun",
            ),
            (
                Error::CurrentRunArchive(RunNumber::FIRST).into(),
                400,
                "current_run_archive",
                "The current run cannot be archived",
            ),
            (
                ApiError::internal("secret"),
                500,
                "internal_error",
                "Internal server error",
            ),
            (
                Refusal::UnsupportedCharset {
                    charset: "latin1".into(),
                }
                .into(),
                415,
                "unsupported_media_type",
                "the content type must be `text/csv` in UTF-8 or UTF-16, not in `latin1`",
            ),
            (
                Refusal::UnsupportedEncoding {
                    encoding: "br".into(),
                }
                .into(),
                415,
                "unsupported_media_type",
                "the content encoding must be `gzip` or `identity`, not `br`",
            ),
            (Refusal::NoRoom("x").into(), 503, "unavailable", busy),
            (ApiError::unavailable("secret"), 503, "unavailable", busy),
            (
                Error::Store(StoreError::corrupt("secret")).into(),
                500,
                "internal_error",
                "Internal server error",
            ),
            (
                Invalid::new("`limit` is odd").into(),
                400,
                "invalid_request",
                "`limit` is odd",
            ),
            (
                Refusal::Malformed("line 1".into()).into(),
                400,
                "invalid_request",
                "line 1",
            ),
            (
                Error::from(Box::new(unknown)).into(),
                400,
                "unknown_segment_field",
                &unknown_says,
            ),
            (
                Error::EmptyCustomerGroup.into(),
                400,
                "empty_customer_group",
                "The customer group has no customers",
            ),
            (
                Error::TooManySegments { limit: 7 }.into(),
                400,
                "too_many_segments",
                "the customer group has more than 7 segments by these fields",
            ),
            (
                Error::RunNotFound.into(),
                404,
                "run_not_found",
                "Run not found",
            ),
            (
                Error::MessageNotFound.into(),
                404,
                "message_not_found",
                "Message not found",
            ),
            (
                Error::WebhookNotFound.into(),
                404,
                "webhook_not_found",
                "Webhook not found",
            ),
            (
                Error::ScheduleNotFound.into(),
                404,
                "schedule_not_found",
                "Schedule not found",
            ),
            (
                Error::IllegalTransition(illegal).into(),
                409,
                "invalid_transition",
                "cannot cancel a campaign that is `Published`",
            ),
            (
                Error::StageNotAllowed("Legal".into()).into(),
                403,
                "stage_not_allowed",
                "your role cannot approve at the stage `Legal`",
            ),
            (
                Error::ContentChanged(MessageId::new(uuid::Uuid::nil())).into(),
                409,
                "content_changed",
                "the message 00000000-0000-0000-0000-000000000000 has other content by now: read \
                 it again, then decide",
            ),
            (
                Error::UnfilledPlaceholder(UnfilledPlaceholder {
                    message_id: MessageId::new(uuid::Uuid::nil()),
                    placeholder: "{{ a\nb }}".into(),
                })
                .into(),
                409,
                "unfilled_placeholder",
                "the message 00000000-0000-0000-0000-000000000000 cannot be approved: \
                 `{{ a\\nb }}` in its content is unfilled; edit the message or have it generated \
                 again",
            ),
            (
                Refusal::PayloadTooLarge { limit: 9 }.into(),
                413,
                "payload_too_large",
                "the body may have at most 9 bytes",
            ),
            (
                Refusal::UnsupportedMediaType {
                    expected: "text/csv",
                }
                .into(),
                415,
                "unsupported_media_type",
                "the content type must be `text/csv`",
            ),
            (
                Error::IdempotencyKeyReused.into(),
                422,
                "idempotency_key_reused",
                "The idempotency key was used for another request",
            ),
            (Error::Store(unavailable()).into(), 503, "unavailable", busy),
            (
                Error::Store(StoreError::Conflict).into(),
                503,
                "unavailable",
                busy,
            ),
            (ApiError::Unhealthy(unavailable()), 503, "unavailable", busy),
            (Refusal::ShuttingDown.into(), 503, "unavailable", busy),
            (
                Refusal::TimedOut {
                    limit: Duration::from_secs(3),
                }
                .into(),
                503,
                "unavailable",
                busy,
            ),
            (
                Refusal::RateLimited {
                    retry_after: Duration::ZERO,
                }
                .into(),
                429,
                "rate_limited",
                "Too many requests, try again later",
            ),
            (Refusal::PathNotFound.into(), 404, "not_found", "Not found"),
            (
                Refusal::MethodNotAllowed { allow: "POST" }.into(),
                405,
                "method_not_allowed",
                "Method not allowed",
            ),
        ];
        for (error, status, code, message) in &cases {
            let (status, code, message) = (*status, *code, *message);
            let problem = Problem::of(error);
            assert_eq!(
                (
                    problem.status().as_u16(),
                    problem.code.as_str(),
                    &*problem.message
                ),
                (status, code, message),
            );
            assert_eq!(error.status_code(), problem.status());
            if let ApiError::UseCase(error) = error {
                assert_eq!(error.code(), code, "as firings have it");
            }
            let retry = problem.response("id").headers().contains_key("retry-after");
            assert_eq!(retry, matches!(status, 429 | 503), "{code}");
        }
        for known in Code::ALL {
            let mut rows = cases
                .iter()
                .filter(|(_, _, code, _)| *code == known.as_str());
            assert!(rows.clone().count() > 0, "{known:?}");
            assert!(rows.all(|(_, status, _, message)| {
                *status == known.status() && (!known.is_fixed() || *message == known.message())
            }));
        }
        assert!(
            cases
                .iter()
                .all(|(_, _, code, _)| { Code::ALL.iter().any(|known| known.as_str() == *code) })
        );
    }

    #[test]
    fn a_client_waits_whole_seconds_that_are_enough() {
        for (wait, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_500, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait)), seconds);
        }
    }

    #[test]
    fn the_log_alone_learns_the_cause() {
        let logged = |error: &ApiError| Problem::of(error).log;
        let error = Error::Store(unavailable()).into();
        let cause = "the database is unavailable: no route to db.internal";
        assert_eq!(logged(&error), Log::Cause(cause.into()));
        let error = ApiError::internal("disk full");
        assert_eq!(logged(&error), Log::Cause("disk full".into()));
        let error = Denied::Unauthenticated {
            reason: "expired",
            absent: Vec::new(),
        }
        .into();
        assert_eq!(logged(&error), Log::Reason("expired"));
        assert_eq!(logged(&Error::CampaignNotFound.into()), Log::Code);
    }

    #[test]
    fn a_message_does_not_repeat_all_that_was_sent() {
        let problem = Problem::of(&Invalid::new("é".repeat(600)).into());
        assert_eq!(problem.message.chars().count(), MAX_MESSAGE_LENGTH + 1);
    }
}
