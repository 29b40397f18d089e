use actix_web::HttpResponse;
use actix_web::http::header;

use crate::answer::Answer;

/// `GET /docs/`
pub(crate) async fn handle() -> Answer {
    Ok(HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "../docs"))
        .finish())
}
