//! The OpenAPI document of the API, made from the code: the table of endpoints, the types that
//! are read and written, and the table of errors.

mod docs;
mod error;
pub(crate) mod examples;
pub(crate) mod schema;
mod webhooks;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
    PathsBuilder, ServerBuilder,
};

pub(crate) use docs::{Docs, Tag};
pub use error::ErrorBody;

use crate::endpoints::Endpoint;

/// The document of these endpoints.
pub(crate) fn document(endpoints: impl Iterator<Item = (Endpoint, Docs)>) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new()
        .security_scheme(docs::TOKEN, token())
        .security_scheme(docs::API_CONTEXT, api_context());
    components = components.schemas_from_iter(schema::with_references::<ErrorBody<'_>>());
    for (endpoint, docs) in endpoints {
        let (operation, schemas) = docs.operation(endpoint.path);
        components = components.schemas_from_iter(schemas);
        paths = paths.path(endpoint.path, PathItem::new(method(endpoint), operation));
    }
    let (webhooks, schemas) = webhooks::webhooks();
    components = components.schemas_from_iter(schemas);
    let tags = Tag::ALL.map(|tag| {
        TagBuilder::new()
            .name(tag.as_str())
            .description(Some(tag.description()))
            .build()
    });
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("rerun")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    LicenseBuilder::new()
                        .name("MIT OR Apache-2.0")
                        .identifier(Some("MIT OR Apache-2.0"))
                        .build(),
                ))
                .build(),
        )
        .servers(Some([ServerBuilder::new()
            .url("/")
            .description(Some("The server that this document comes from."))
            .build()]))
        .paths(paths)
        .webhooks(Some(webhooks))
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

/// What the document says of the API as a whole.
const DESCRIPTION: &str = "\
A campaign rerun engine: takes a published campaign to a new customer group, reuses every message \
that is approved already, and has only the rest generated and reviewed.

Every endpoint under `/v1` is a `POST` and takes four headers, which are checked in this order \
before anything of the body is read: `authorization`, `x-auth-context`, `x-ip`, `content-type`. The \
account comes from the token alone: what belongs to another account is not found.

Errors have one form, `Error`. Where several apply, the first wins: headers; malformed body or \
wrong type; missing fields; campaign; customer group; campaign status; message states; empty group, \
too many segments. A refused request changes nothing.

Unknown fields of a body are ignored; an absent field and `null` are the same. An id that is no \
UUID is one that is not there. Another method than the documented one is 405 \
`method_not_allowed`, another path 404 `not_found`.

Lists are paged: `next_cursor` is `null` at the end, else the `cursor` of the next page. A page ends \
early when its contents reach 8 MiB.";

fn token() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A token whose claims hold `user_id` and `account_id` (UUIDs), `role_code` (text) and \
             `exp`. Else 403 `auth error`.",
        ));
    SecurityScheme::Http(scheme.build())
}

fn api_context() -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
        "x-auth-context",
        "JSON: `{ \"api_access\": true, \"api_code\": \"the server's API code\" }`. Else 403 \
         `Unauthorized`.",
    )))
}

fn method(endpoint: Endpoint) -> HttpMethod {
    if endpoint.method == "GET" {
        HttpMethod::Get
    } else {
        HttpMethod::Post
    }
}
