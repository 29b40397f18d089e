use actix_web::HttpResponse;
use actix_web::http::header;
use rerun_wire::api::openapi::root::{PAGE, TEXT};

use crate::answer::Answer;

/// `GET /`
pub(crate) async fn handle() -> Answer {
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, PAGE))
        .content_type("text/plain; charset=utf-8")
        .body(TEXT))
}
