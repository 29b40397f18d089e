//! What an error says.

use serde::Serialize;
use utoipa::ToSchema;

use super::schema;

/// Why a request failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
#[expect(missing_docs, reason = "the schema of the code has its text")]
pub struct ErrorBody<'a> {
    /// The HTTP status of the response.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    #[schema(value_type = schema::ErrorCode)]
    pub code: &'a str,
    /// What went wrong, as text for people.
    pub message: &'a str,
    /// The id of the request, which is also in the server's log.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,128}$")]
    pub request_id: &'a str,
    /// With `missing_required_fields`, the missing fields. With 403, the missing headers.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<String>>, required = false, nullable = false)]
    pub fields: &'a [&'static str],
}
