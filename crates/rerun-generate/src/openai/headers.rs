//! Headers that an operator adds to every call.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// What calls are about is not the operator's to change.
const OWN: [&str; 6] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
];

/// Headers whose values are secret.
#[derive(Clone, Default)]
pub struct ExtraHeaders {
    headers: HeaderMap,
    values: Vec<SecretString>,
}

impl fmt::Debug for ExtraHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.headers.keys()).finish()
    }
}

/// The texts of a JSON object in their order. A map would hide a name that comes twice.
struct Object(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Object(pairs))
    }
}

impl ExtraHeaders {
    /// Reads `name: value` pairs, one on a line or separated by commas, or a JSON object.
    ///
    /// # Errors
    /// What such a text must be, to follow the word "must".
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = "be headers, such as `x-title: Campaigns, x-team: growth`: one on each line, \
                       separated by commas, or a JSON object of texts; each name once; those \
                       that HTTP itself needs are not among them";
        let text = text.trim();
        let pairs: Option<Vec<(String, String)>> = if text.starts_with('{') {
            let object: Option<Object> = serde_json::from_str(text).ok();
            object.map(|Object(pairs)| pairs)
        } else {
            let separator = if text.contains('\n') { '\n' } else { ',' };
            let parts = text.split(separator).map(str::trim);
            let pair = |part: &str| {
                let (name, value) = part.split_once([':', '='])?;
                Some((name.trim().to_owned(), value.trim().to_owned()))
            };
            parts.filter(|part| !part.is_empty()).map(pair).collect()
        };
        let mut headers = Self::default();
        for (name, value) in pairs.ok_or(allowed)? {
            let name = HeaderName::try_from(name).map_err(|_name| allowed)?;
            let mut sent = HeaderValue::from_str(&value).map_err(|_value| allowed)?;
            let twice = headers.headers.contains_key(&name);
            if value.is_empty() || twice || OWN.contains(&name.as_str()) {
                return Err(allowed.to_owned());
            }
            sent.set_sensitive(true);
            headers.headers.insert(name, sent);
            headers.values.push(SecretString::from(value));
        }
        if headers.values.is_empty() {
            return Err(allowed.to_owned());
        }
        Ok(headers)
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The values, which are secret, without their names.
    pub fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_written_in_three_ways() {
        for text in [
            "x-title: Campaigns, X-Team=growth",
            "x-title: Campaigns\nx-team: growth\n",
            r#" {"X-Title": "Campaigns", "x-team": "growth"} "#,
        ] {
            let headers = ExtraHeaders::parse(text).unwrap();
            assert_eq!(headers.headers()["x-title"], "Campaigns");
            assert_eq!(headers.headers()["x-team"], "growth");
            assert_eq!(headers.values().count(), 2);
            let shown = format!("{headers:?}");
            assert!(shown.contains("x-title"), "{shown}");
            assert!(!shown.contains("Campaigns"), "{shown}");
        }
        for twice in [
            "x-team: growth, X-Team: sales",
            "x-team: growth\nx-team: growth",
            r#"{"x-team": "growth", "X-TEAM": "sales"}"#,
            r#"{"x-team": "growth", "x-team": "sales"}"#,
        ] {
            let refusal = ExtraHeaders::parse(twice).unwrap_err();
            assert!(refusal.contains("each name once"), "{refusal}");
            assert!(!refusal.contains("sales"), "{refusal}");
        }
        let lines = ExtraHeaders::parse("a: 1, 2\nreferer: https://host/x=1").unwrap();
        assert_eq!(lines.headers()["a"], "1, 2");
        assert_eq!(lines.headers()["referer"], "https://host/x=1");
    }
}
