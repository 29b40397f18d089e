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
            .description(Some("The server that returned this document."))
            .build()]))
        .paths(paths)
        .webhooks(Some(webhooks))
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

/// What the document says of the API as a whole.
const DESCRIPTION: &str = "\
A campaign rerun engine. It takes a published campaign to a new customer group and reuses every \
message that is already approved. Only the other messages are generated and reviewed.

Every endpoint under `/v1` is a `POST` and requires four headers. They are checked in this order \
before the body is read: `authorization`, `x-auth-context`, `x-ip`, `content-type`. The account \
comes from the token alone. If something belongs to another account, the response is the same as \
if it did not exist.

All errors have the same form, `Error`. If several apply, the first in this order is returned: \
headers; malformed body or wrong type; missing fields; campaign; customer group; campaign status; \
message states; empty group, unknown segment field, too many segments. A request that fails changes \
nothing.

Unknown fields of a body are ignored. An absent field and `null` mean the same. If an id is not a \
UUID, the response is the same as for an unknown id. A method that is not documented gets 405 \
`method_not_allowed`, an unknown path 404 `not_found`.

Lists are paged. To get the next page, send the `next_cursor` of a page as `cursor`; it is `null` \
on the last page. A page ends early when its contents reach 8 MiB.";

fn token() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A token whose claims contain `user_id` and `account_id` (UUIDs), `role_code` (text) \
             and `exp`, and may contain `user_name` (text). Without a valid token, the response \
             is 403 `auth error`.",
        ));
    SecurityScheme::Http(scheme.build())
}

fn api_context() -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
        "x-auth-context",
        "JSON: `{ \"api_access\": true, \"api_code\": \"the server's API code\" }`. If it is \
         missing or wrong, the response is 403 `Unauthorized`.",
    )))
}

fn method(endpoint: Endpoint) -> HttpMethod {
    if endpoint.method == "GET" {
        HttpMethod::Get
    } else {
        HttpMethod::Post
    }
}
