//! How points in time are written: RFC 3339, UTC, milliseconds, as in
//! `2026-11-23T09:00:00.000Z`. For `#[serde(with = "rerun_core::timestamp")]`.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serializer, de};

/// A point in time, UTC, in whole milliseconds: the precision of the wire and of every store.
pub type Timestamp = DateTime<Utc>;

/// How far the clocks of two machines may be apart. A time that was set later than this in the future
/// was set before the clock went back.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// The text of a point in time.
#[must_use]
pub fn format(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A point in time cut to whole milliseconds, for implementations of the clock port.
#[must_use]
pub fn truncate(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(3)
}

/// Reads an RFC 3339 date and time with its offset, cut to whole milliseconds.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &str) -> Result<Timestamp, chrono::ParseError> {
    DateTime::parse_from_rfc3339(text).map(|at| truncate(at.to_utc()))
}

/// Writes one.
///
/// # Errors
/// What the serializer answers.
pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*at))
}

/// Reads one.
///
/// # Errors
/// For a text that is no RFC 3339 date and time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    DateTime::parse_from_rfc3339(&text)
        .map(|at| at.with_timezone(&Utc))
        .map_err(de::Error::custom)
}

/// The same for a point in time that may be missing.
pub mod option {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Timestamp;

    /// Writes one, or `null`.
    ///
    /// # Errors
    /// What the serializer answers.
    pub fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads one, or `null`.
    ///
    /// # Errors
    /// For a text that is no RFC 3339 date and time.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Read(#[serde(with = "super")] Timestamp);

        Ok(Option::<Read>::deserialize(deserializer)?.map(|Read(at)| at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_always() {
        let at = DateTime::from_timestamp_millis(1_795_424_400_000).unwrap();
        assert_eq!(format(at), "2026-11-23T09:00:00.000Z");
        let json = serde_json::to_value(Wrapped { at }).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "at": "2026-11-23T09:00:00.000Z" })
        );
        assert_eq!(serde_json::from_value::<Wrapped>(json).unwrap().at, at);
    }

    #[test]
    fn a_text_is_read_in_utc_and_cut_to_milliseconds() {
        let at = DateTime::from_timestamp_millis(1_795_424_400_001).unwrap();
        assert_eq!(truncate(at + Duration::from_micros(999)), at);
        assert_eq!(parse("2026-11-23T11:00:00.0019+02:00").unwrap(), at);
        assert!(parse("2026-11-23").is_err());
    }

    #[test]
    fn one_that_may_be_missing_is_null() {
        let at = DateTime::from_timestamp_millis(1_795_424_400_001);
        for (at, text) in [
            (at, r#"{"at":"2026-11-23T09:00:00.001Z"}"#),
            (None, r#"{"at":null}"#),
        ] {
            assert_eq!(serde_json::to_string(&Optional { at }).unwrap(), text);
            assert_eq!(serde_json::from_str::<Optional>(text).unwrap().at, at);
        }
        assert!(serde_json::from_str::<Optional>(r#"{"at":"today"}"#).is_err());
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Wrapped {
        #[serde(with = "crate::timestamp")]
        at: Timestamp,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Optional {
        #[serde(with = "crate::timestamp::option")]
        at: Option<Timestamp>,
    }
}
