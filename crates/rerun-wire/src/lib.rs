#![doc = include_str!("../README.md")]

pub mod api;
pub mod codes;
pub mod endpoints;
pub mod items;
pub mod json;
mod openapi;

use std::sync::LazyLock;

pub use codes::Code;
pub use endpoints::{ENDPOINTS, Endpoint};
pub use openapi::ErrorBody;

/// Returns the OpenAPI 3.1 document of every endpoint, as JSON: the body of `GET /openapi.json`.
///
/// It depends on the version of this crate alone, not on settings.
#[must_use]
pub fn openapi() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        // Maps with texts as keys, and no value whose serialisation can fail.
        let document = openapi::document(api::documented());
        document.to_json().unwrap_or_default()
    });
    &JSON
}
