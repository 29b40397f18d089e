use actix_web::HttpResponse;
use actix_web::http::header;

use crate::openapi::Docs;
use crate::wire::Answer;

pub(crate) fn docs() -> Docs {
    Docs::open("To the page", "`/docs` has no slash at its end.")
        .answers_status(308)
        .header("location", "Where the page is.", "../docs")
}

/// `GET /docs/`
pub(crate) async fn handle() -> Answer {
    Ok(HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "../docs"))
        .finish())
}
