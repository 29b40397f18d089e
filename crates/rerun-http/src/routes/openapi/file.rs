use std::sync::Arc;

use actix_web::web;
use rerun_wire::api::openapi::file::FILES;
use utoipa_swagger_ui::{Config, serve};

use super::part;
use crate::answer::Answer;
use crate::error::{ApiError, Refusal};

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
