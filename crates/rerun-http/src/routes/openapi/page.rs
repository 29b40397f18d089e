use super::part;
use crate::answer::Answer;

/// Its places are relative, so that it works behind a proxy that adds a prefix.
const PAGE: &str = include_str!("page.html");

/// `GET /docs`
pub(crate) async fn handle() -> Answer {
    Ok(part("text/html; charset=utf-8", PAGE))
}
