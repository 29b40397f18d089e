use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The longest value of a header that an error repeats, in characters.
const MAX_SHOWN: usize = 60;

/// A header's value as an error can show it.
pub(crate) fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let start: String = text.chars().take(MAX_SHOWN).collect();
    start.escape_debug().to_string()
}

/// The value of a header that stands there exactly once. With a repeated one, two parties on the
/// way could each believe another value.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}
