//! Removes configured secrets from text that is shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rerun_core::text::escape_controls;
use secrecy::{ExposeSecret, SecretString};

/// A shorter secret stands in ordinary words, and hiding those would tell what it is.
const LEAST_LENGTH: usize = 8;

/// What most programs leave as it is in a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a secret is shown as.
const HIDDEN: &str = "***";

/// Secrets that no log line, error or answer may show, whatever repeats them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[SecretString]>);

impl Secrets {
    /// Of these. What has fewer than eight bytes is taken for no secret.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.expose_secret();
            // As it is, and as JSON and `Debug` write it.
            let json = serde_json::Value::from(secret).to_string();
            let debug = format!("{secret:?}");
            let inside = |quoted: &str| {
                let inside = quoted.get(1..quoted.len().saturating_sub(1));
                inside.unwrap_or_default().to_owned()
            };
            // PHP escapes slashes in JSON, and an error may quote the URL that was called.
            let slashes = inside(&json).replace('/', "\\/");
            let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            let encoded_least = utf8_percent_encode(secret, UNRESERVED).to_string();
            let others = [slashes, encoded, encoded_least];
            for text in [secret.to_owned(), inside(&json), inside(&debug)]
                .into_iter()
                .chain(others)
            {
                if text.len() >= LEAST_LENGTH && !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        // Of two that begin alike the longer one is hidden whole.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts.into_iter().map(SecretString::from).collect())
    }

    /// The text with `***` in place of every secret.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.iter() {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, HIDDEN));
            }
        }
        text
    }

    /// Text from outside as it may be shown: without secrets, its control characters escaped,
    /// and cut to at most `max` characters, `\u{2026}` included.
    #[must_use]
    pub fn foreign(&self, text: &str, max: usize) -> String {
        // First hidden, then cut: half of a secret is found by nobody.
        let text = self.redact(text);
        let text = escape_controls(text.trim());
        if text.chars().count() <= max {
            return text.into_owned();
        }
        let kept = text.chars().take(max.saturating_sub(1));
        kept.chain(['\u{2026}']).collect()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let texts: Vec<SecretString> = texts.iter().map(|text| (*text).into()).collect();
        Secrets::new(&texts)
    }

    #[test]
    fn a_secret_is_hidden_as_it_is_and_as_it_is_quoted() {
        let secrets = secrets(&["sk-hunter2\"\\", "sk-hunter", "x"]);
        let json = serde_json::json!({ "key": "sk-hunter2\"\\" }).to_string();
        for (text, shown) in [
            ("no key", "no key"),
            ("key sk-hunter2\"\\ sk-hunter", "key *** ***"),
            (json.as_str(), "{\"key\":\"***\"}"),
            ("does not exist", "does not exist"),
            ("?key=sk-hunter2%22%5C&x", "?key=***&x"),
            ("?key=sk%2Dhunter2%22%5C&x", "?key=***&x"),
        ] {
            assert_eq!(secrets.redact(text), shown);
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(6)");
        let slashes = self::secrets(&["sk/hunter/2"]);
        assert_eq!(
            slashes.redact(r#"{"key": "sk\/hunter\/2"}"#),
            r#"{"key": "***"}"#
        );
    }

    #[test]
    fn foreign_text_is_one_short_line_without_secrets() {
        let secrets = secrets(&["sk-hunter2"]);
        let text = " bad key sk-hunter2\n2026 INFO all is well \u{202e}";
        assert_eq!(
            secrets.foreign(text, 100),
            "bad key ***\\n2026 INFO all is well \\u{202e}"
        );
        assert_eq!(secrets.foreign("sk-hunter2 is wrong", 6), "*** i\u{2026}");
        assert_eq!(secrets.foreign("sixsix", 6), "sixsix");
    }
}
