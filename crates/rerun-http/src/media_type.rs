use actix_web::http::header::{CONTENT_TYPE, HeaderMap};

use crate::error::Refusal;
use crate::headers::{shown, single};

/// The media type that an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/json`.
    Json,
    /// `text/csv` in UTF-8 or UTF-16.
    Csv,
}

impl MediaType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }

    /// Checks that the `content-type` of a request names it. JSON is UTF-8 whatever its parameters say. A CSV
    /// may be in UTF-8 or UTF-16; which of them, its byte order mark tells.
    pub(crate) fn check(self, headers: &HeaderMap) -> Result<(), Refusal> {
        let content_type = single(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let expected = self.as_str();
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(expected))
        {
            return Err(Refusal::UnsupportedMediaType { expected });
        }
        let mut charsets = parts
            .filter_map(|part| part.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').trim());
        match charsets.find(|charset| !is_unicode(charset)) {
            Some(charset) if self == Self::Csv => Err(Refusal::UnsupportedCharset {
                charset: shown(charset.as_bytes()),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether the name of a character set is a spelling of UTF-8 or UTF-16.
fn is_unicode(charset: &str) -> bool {
    let letters = charset
        .chars()
        .filter(|letter| !matches!(letter, '-' | '_' | ' '));
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    ["utf8", "utf16", "utf16le", "utf16be"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn check(media_type: MediaType, content_type: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        media_type.check(&headers)
    }

    #[test]
    fn csv_is_unicode_if_it_says_what_it_is() {
        for (value, refused) in [
            ("text/csv", None),
            ("TEXT/csv ; Charset = UTF-8", None),
            ("text/csv; header=present; charset=\"utf-8\"", None),
            ("text/csv; charset=utf8", None),
            ("text/csv; charset=UTF_8", None),
            ("text/csv;charset=UTF-16", None),
            ("text/csv; charset='utf-16'", Some("`\\'utf-16\\'`")),
            ("text/csv; charset=\"utf-16le\"", None),
            ("text/csv; charset=utf16be", None),
            (
                "text/csv; charset=latin1",
                Some("in UTF-8 or UTF-16, not in `latin1`"),
            ),
            (
                "text/csv; charset=utf-8; charset=latin1",
                Some("not in `latin1`"),
            ),
            ("text/csv; charset=utf-32", Some("not in `utf-32`")),
            ("text/csv; charset=utf-7", Some("not in `utf-7`")),
            ("text/csv; charset=", Some("not in ``")),
            ("text/csvx; charset=utf-8", Some("must be `text/csv`")),
            ("", Some("must be `text/csv`")),
        ] {
            let error = check(MediaType::Csv, Some(value)).err();
            let error = error.map(|error| error.to_string());
            match refused {
                None => assert_eq!(error, None, "{value}"),
                Some(said) => assert!(error.as_ref().unwrap().contains(said), "{value}: {error:?}"),
            }
        }
        assert!(check(MediaType::Csv, None).is_err());
        let json = "application/json; charset=latin1";
        assert_eq!(check(MediaType::Json, Some(json)), Ok(()));
    }
}
