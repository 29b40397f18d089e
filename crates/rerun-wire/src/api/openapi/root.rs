use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

/// Relative, so that it works behind a proxy that adds a prefix.
pub const PAGE: &str = "docs";
/// For clients that do not follow redirects.
pub const TEXT: &str = "The API is described at /docs, and as a document at /openapi.json.\n";

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Redirect to the documentation page",
        "Redirects from `/` to the documentation page at `/docs`.",
    )
    .answers_text("text/plain", Object::with_type(Type::String), TEXT)
    .answers_status(302)
    .header("location", "The address of the page.", PAGE)
}
