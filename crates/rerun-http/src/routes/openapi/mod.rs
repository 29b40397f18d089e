//! The API's description: for programs, and as a page to read and to try it on. Everything that
//! the page needs comes from this server.

pub(super) mod document;
pub(super) mod file;
pub(super) mod page;
pub(super) mod root;
pub(super) mod slash;

use actix_web::HttpResponse;
use actix_web::http::header;

/// Nothing but what this server itself sends. The styles that Swagger UI sets on elements have no
/// file that they could come from.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A part of the page.
fn part(content_type: &str, body: impl Into<actix_web::web::Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // Another version of the server has other files under the same names.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(body.into())
}
