//! Reads published messages line by line. Memory grows with the longest line, which has a bound,
//! and with the number of segments, but not with the text of the messages.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, Read};
use std::sync::Arc;

use rerun_core::error::Invalid;
use rerun_core::ids::MessageId;
use rerun_core::message::Content;
use rerun_core::ports::{IdGenerator, ImportedMessage};
use rerun_core::segment::{Segment, SegmentBy, SegmentKey};
use rerun_core::text::{self, without_mark};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest line, in bytes: content at its bounds fits, each character written as an escape.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// The messages of a file, up to the first line that is refused.
pub(super) struct MessageLines<R> {
    input: R,
    ids: Arc<dyn IdGenerator>,
    segment_by: SegmentBy,
    limit: u32,
    /// The number of the last line that was read.
    line: u64,
    /// The line of each segment so far.
    seen: HashMap<SegmentKey, u64>,
    ended: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    attributes: Pairs,
    // Half the bits of what they are added up in.
    customer_count: u32,
    subject: String,
    body: String,
}

/// An object's names and values, a name that stands there twice included.
struct Pairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and nulls")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<R: BufRead> MessageLines<R> {
    /// `limit` is the most messages that are taken.
    pub(super) fn new(
        input: R,
        segment_by: &SegmentBy,
        limit: u32,
        ids: Arc<dyn IdGenerator>,
    ) -> Self {
        Self {
            input,
            ids,
            segment_by: segment_by.clone(),
            limit,
            line: 0,
            seen: HashMap::new(),
            ended: false,
        }
    }

    /// The next line that is not blank, without a byte order mark.
    fn read(&mut self) -> Result<Option<String>, String> {
        loop {
            let mut bytes = Vec::new();
            self.line += 1;
            let read = (&mut self.input)
                .take(MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| format!("the file cannot be read: {error}"))?;
            if read == 0 {
                return Ok(None);
            }
            if u64::try_from(read).unwrap_or(u64::MAX) > MAX_LINE_BYTES {
                return Err(format!("it is longer than {MAX_LINE_BYTES} bytes"));
            }
            let bytes = match self.line {
                1 => without_mark(&bytes).map_err(|invalid| invalid.to_string())?,
                _ => &bytes,
            };
            let text = str::from_utf8(bytes).map_err(|error| {
                let place = error.valid_up_to() + 1;
                format!("it is not UTF-8 from byte {place} on")
            })?;
            if !text.trim().is_empty() {
                // The parser would count its line break.
                return Ok(Some(text.trim_end().to_owned()));
            }
        }
    }

    fn message(&mut self, line: &str) -> Result<ImportedMessage, String> {
        // A struct would take an array as well.
        if !line.trim_start().starts_with('{') {
            return Err("it is no JSON object".to_owned());
        }
        let mut json = serde_json::Deserializer::from_str(line);
        let parsed: Line = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let why = without_place(error.inner());
            let is_named = why.contains(&format!("`{path}`"));
            if !error.inner().is_data() || path == "." || is_named {
                why
            } else {
                format!("`{path}`: {why}")
            }
        })?;
        json.end().map_err(|error| without_place(&error))?;
        let Line {
            attributes,
            customer_count,
            subject,
            body,
        } = parsed;
        let segment = self.segment(attributes, customer_count)?;
        let content = Content { subject, body };
        let checked = content.check().and_then(|()| content.check_filled());
        checked.map_err(|invalid| invalid.to_string())?;
        if let Some(line) = self.seen.insert(segment.key, self.line) {
            return Err(format!(
                "the segment {} has a message already, on line {line}",
                segment.attributes.as_json()
            ));
        }
        if self.seen.len() > usize::try_from(self.limit).unwrap_or(usize::MAX) {
            return Err(format!(
                "a run may have at most {} segments (RERUN_MAX_SEGMENTS)",
                self.limit
            ));
        }
        Ok(ImportedMessage {
            id: MessageId::new(self.ids.next()),
            segment,
            content,
        })
    }

    fn segment(&self, given: Pairs, customer_count: u32) -> Result<Segment, String> {
        let fields = self.segment_by.sorted();
        let mut values: Vec<Option<Option<String>>> = vec![None; fields.len()];
        for (name, value) in given.0 {
            let field = text::normalise(&name).and_then(|name| {
                let position = fields.iter().position(|field| *field == name)?;
                values.get_mut(position)
            });
            let Some(field) = field else {
                return Err(format!(
                    "`attributes` has {name:?}, by which the campaign is not segmented"
                ));
            };
            if field.is_some() {
                return Err(format!("`attributes` has {name:?} twice"));
            }
            let value = value.unwrap_or_default();
            text::check(&format!("attributes.{name}"), &value)
                .map_err(|invalid| invalid.to_string())?;
            *field = Some(text::normalise(&value).map(std::borrow::Cow::into_owned));
        }
        let values = values.iter().map(|value| value.as_ref()?.as_deref());
        Ok(self.segment_by.segment_of(values, customer_count.into()))
    }
}

impl<R: BufRead> Iterator for MessageLines<R> {
    type Item = Result<ImportedMessage, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let message = match self.read() {
            Ok(Some(line)) => self.message(&line),
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(why) => Err(why),
        };
        self.ended = message.is_err();
        Some(message.map_err(|why| Invalid::new(format!("line {}: {why}", self.line))))
    }
}

/// The parser's message with the column alone: it takes every line for the first.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) if error.is_data() => what.to_owned(),
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use rerun_core::segment::Attributes;

    use super::*;
    use rerun_generate::UuidV7;

    fn read(bytes: &[u8], limit: u32) -> Result<Vec<ImportedMessage>, String> {
        let segment_by = SegmentBy::new(&["tier", "first name"]).unwrap();
        let lines = MessageLines::new(bytes, &segment_by, limit, Arc::new(UuidV7));
        lines
            .collect::<Result<Vec<_>, _>>()
            .map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn deep_json_is_refused_with_its_line() {
        let deep = format!("{}\n{}", line("{}"), r#"{"attributes":"#.repeat(200_000));
        let refused = read(deep.as_bytes(), 3).unwrap_err();
        assert!(refused.contains("line 2"), "{refused}");
        assert!(refused.len() < 200, "{refused}");
    }

    #[test]
    fn another_encoding_is_named() {
        let utf_16: Vec<u8> = format!("\u{feff}{}", line("{}"))
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let refused = read(&utf_16, 3).unwrap_err();
        assert!(refused.contains("it is in UTF-16"), "{refused}");
    }

    fn line(attributes: &str) -> String {
        format!(r#"{{"attributes":{attributes},"customer_count":3,"subject":"s","body":"b"}}"#)
    }

    #[test]
    fn messages_have_normalised_segments() {
        let text = [
            "\u{feff}",
            &line(r#"{"first name": " Zoe\u0308 ", "tier": "gold"}"#),
            "\r\n\n  \n",
            &line(r#"{" tier\u00a0": " "}"#),
            "\n",
            &line(r#"{"first name": "", "tier": "gold"}"#),
        ]
        .concat();
        let messages = read(text.as_bytes(), 3).unwrap();
        let attributes: Vec<&Attributes> = messages.iter().map(|m| &m.segment.attributes).collect();
        let attributes: Vec<&str> = attributes.iter().map(|a| a.as_json()).collect();
        assert_eq!(
            attributes,
            [
                r#"{"first name":"Zoë","tier":"gold"}"#,
                r#"{"first name":null,"tier":null}"#,
                r#"{"first name":null,"tier":"gold"}"#,
            ]
        );
        let by = SegmentBy::new(&["first name", "tier"]).unwrap();
        let values = |field: &str| Some(if field == "tier" { "gold" } else { "Zoë" });
        assert_eq!(messages[0].segment, by.segment(values, 3));
        assert_eq!(messages[0].content.subject, "s");
        assert_ne!(messages[0].id, messages[1].id);
        assert_eq!(read(b"", 3), Ok(Vec::new()));
    }

    #[test]
    fn every_refusal_names_the_line() {
        let good = line("{}");
        let nothing = r#"{"attributes":{},"customer_count":1,"subject":"s"}"#;
        let misspelt = good.replace("subject", "subjekt");
        let count = |count: &str| good.replace(":3,", &format!(":{count},"));
        let cases: Vec<(String, &str)> = vec![
            (
                "{".into(),
                "line 3: EOF while parsing an object at column 1",
            ),
            (
                "[{}, 1, \"s\", \"b\"]".into(),
                "line 3: it is no JSON object",
            ),
            ("subject,body".into(), "line 3: it is no JSON object"),
            (
                format!("{good} {good}"),
                "line 3: trailing characters at column",
            ),
            (nothing.into(), "line 3: missing field `body`"),
            (misspelt, "line 3: unknown field `subjekt`, expected one of"),
            (
                good.replace("\"s\"", "null"),
                "line 3: `subject`: invalid type: null, expected a string",
            ),
            (
                good.replace("\"s\"", "\" \""),
                "line 3: `subject` must not be blank",
            ),
            (
                good.replace("\"b\"", "\"\\u0000\""),
                "line 3: `body` holds a NUL",
            ),
            (
                count("-1"),
                "line 3: `customer_count`: invalid value: integer `-1`",
            ),
            (
                count("1.5"),
                "line 3: `customer_count`: invalid type: floating point",
            ),
            (
                count("5000000000"),
                "line 3: `customer_count`: invalid value: integer",
            ),
            (
                line("null"),
                "line 3: `attributes`: invalid type: null, expected an object",
            ),
            (
                line(r#"{"tier": 5}"#),
                "line 3: `attributes.tier`: invalid type: integer `5`, expected a string",
            ),
            (
                line(r#"{"tier": "a\u0000"}"#),
                "line 3: `attributes.tier` holds a NUL",
            ),
            (
                line(r#"{"country": "DE"}"#),
                "line 3: `attributes` has \"country\", by which",
            ),
            (
                line(r#"{"": "DE"}"#),
                "line 3: `attributes` has \"\", by which",
            ),
            (
                line(r#"{"tier": "a", "tier ": null}"#),
                "line 3: `attributes` has \"tier \" twice",
            ),
            (
                line(r#"{"tier": " gold"}"#),
                "line 3: the segment {\"first name\":null,\"tier\":\"gold\"} has a message already, on line 1",
            ),
            (
                format!("{good}\n{}", line(r#"{"tier": "x"}"#)),
                "line 4: a run may have at most 2 segments (RERUN_MAX_SEGMENTS)",
            ),
            (
                "x".repeat((4 << 20) + 1),
                "line 3: it is longer than 4194304 bytes",
            ),
        ];
        let first = line(r#"{"tier": "gold"}"#);
        for (bad, said) in cases {
            let text = format!("{first}\n\n{bad}\n{first}");
            let found = read(text.as_bytes(), 2).unwrap_err();
            let shown: String = bad.chars().take(80).collect();
            assert!(found.starts_with(said), "{shown}: {found}");
        }
        let latin = [first.as_bytes(), b"\n{\"subject\": \"\xe9\"}"].concat();
        let found = read(&latin, 2).unwrap_err();
        assert_eq!(found, "line 2: it is not UTF-8 from byte 14 on");
    }

    #[test]
    fn the_longest_content_fits_into_a_line() {
        let escaped = |characters: usize| "\\ud83d\\ude00".repeat(characters);
        let long = format!(
            r#"{{"attributes":{{}},"customer_count":0,"subject":"{}","body":"{}"}}"#,
            escaped(Content::MAX_SUBJECT_LENGTH),
            escaped(Content::MAX_BODY_LENGTH)
        );
        assert_eq!(read(long.as_bytes(), 1).unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_read_after_a_refusal() {
        let text = format!("nonsense\n{}", line("{}"));
        let segment_by = SegmentBy::new(&["tier"]).unwrap();
        let ids = Arc::new(UuidV7);
        let mut lines = MessageLines::new(text.as_bytes(), &segment_by, 9, ids);
        assert!(lines.next().unwrap().is_err());
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_file_that_breaks_off_is_named() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        let segment_by = SegmentBy::new(&["tier"]).unwrap();
        let input = std::io::BufReader::new(Broken);
        let mut lines = MessageLines::new(input, &segment_by, 9, Arc::new(UuidV7));
        let refused = lines.next().unwrap().unwrap_err().to_string();
        assert_eq!(refused, "line 1: the file cannot be read: the disk is gone");
    }
}
