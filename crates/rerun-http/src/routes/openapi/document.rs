use actix_web::HttpResponse;
use actix_web::http::header;

use crate::answer::Answer;

/// `GET /openapi.json`
pub(crate) async fn handle() -> Answer {
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(rerun_wire::openapi()))
}
