use std::sync::Arc;

use actix_web::web;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa_swagger_ui::{Config, serve};

use super::part;
use crate::error::{ApiError, Refusal};
use crate::openapi::{Code, Docs};
use crate::wire::Answer;

/// What the page is made of.
const FILES: [&str; 6] = [
    "swagger-ui.css",
    "index.css",
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
];

pub(crate) fn docs() -> Docs {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(FILES));
    let file = ParameterBuilder::new()
        .name("file")
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .description(Some("The name of the file."))
        .schema(Some(name))
        .example(Some("swagger-ui.css".into()));
    let text = || ObjectBuilder::new().schema_type(Type::String);
    Docs::open(
        "A file of the page",
        "Style sheet, icon and scripts of Swagger UI.",
    )
    .parameter(file)
    .answers_text("text/css", text(), "body { margin: 0 }")
    .answers_text("text/javascript", text(), "window.ui = {};")
    .answers_bytes("image/png")
    .page_headers()
    .refuses(&[Code::NotFound])
}

/// `GET /docs/{file}`
pub(crate) async fn handle(file: web::Path<String>) -> Answer {
    let name = FILES.iter().find(|name| **name == file.as_str());
    let name = name.ok_or(Refusal::PathNotFound)?;
    let config = Config::from("openapi.json")
        .use_base_layout()
        .try_it_out_enabled(true)
        .display_request_duration(true)
        .doc_expansion("list")
        .default_models_expand_depth(0)
        // Swagger UI would ask a server of its makers.
        .validator_url("none");
    let file =
        serve(name, Arc::new(config)).map_err(|error| ApiError::internal(error.to_string()))?;
    let file = file.ok_or(Refusal::PathNotFound)?;
    Ok(part(&file.content_type, file.bytes.into_owned()))
}
