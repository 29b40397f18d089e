use std::sync::{Arc, LazyLock};
use std::time::Duration;

use regex::{Captures, Regex};
use rerun_core::campaign::Template;
use rerun_core::generation::{GenerationBrief, GenerationTask};
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::Content;
use rerun_core::ports::TemplateChecker;
use rerun_core::segment::{Attributes, SegmentBy};
use rerun_core::text::normalise;
use rerun_generate::TemplateGenerator;
use uuid::Uuid;

/// The fields that the input has values for, then one that never has a value and one whose value
/// is long.
const FIELDS: [&str; 5] = ["country", "first name", "a|b", "nothing", "long"];

/// As many characters as a value that segments may have. Escaping makes them five times as many.
const LONG: usize = 1_000;

/// The longest error text.
const MAX_REFUSAL: usize = 1_000;

/// A tag: a field or a text in quotes, then at most 8 filters.
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)^\{\{\s*
        (?: (?<field> country | first\ name | a\|b | nothing | long )
          | "(?<double>[^"\\]*)" | '(?<single>[^'\\]*)' )
        (?<filters> (?: \s*\|\s* (?: upper | lower | title | trim | escape | urlencode
          | default\( \s* (?: "[^"\\]*" | '[^'\\]*' ) \s* \) ) ){0,8} )
        \s*\}\}"#,
    )
    .unwrap()
});

/// What begins a tag, or nothing that is allowed.
static MARK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[{%#]").unwrap());

/// A placeholder in content.
static LEFT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}").unwrap());

/// One filter, with the text of `default`.
static FILTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)\|\s*(?<name>[a-z]+)
        (?: \( \s* (?: "(?<double>[^"\\]*)" | '(?<single>[^'\\]*)' ) \s* \) )?"#,
    )
    .unwrap()
});

fn titled(text: &str) -> String {
    let separates = |c: char| c.is_whitespace() || "-([{<".contains(c);
    let word = |word: &str| {
        let mut characters = word.chars();
        let first = characters.next().unwrap_or(' ');
        let lowered = word.to_lowercase();
        let rest = &lowered[first.to_lowercase().map(char::len_utf8).sum()..];
        first.to_uppercase().collect::<String>() + rest
    };
    let words = text.split_inclusive(separates).map(|part| {
        let end = part.trim_end_matches(separates).len();
        match &part[..end] {
            "" => part.to_owned(),
            text => word(text) + &part[end..],
        }
    });
    words.collect()
}

fn filtered(value: &str, name: &str, default: &str) -> String {
    match name {
        "upper" => value.to_uppercase(),
        "lower" => value.to_lowercase(),
        "title" => titled(value),
        "trim" => value.trim().to_owned(),
        "escape" => value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;"),
        "urlencode" => {
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let encoded = value.bytes().map(|byte| match byte {
                byte if unreserved(byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            encoded.collect()
        }
        "default" if value.is_empty() => default.to_owned(),
        "default" => value.to_owned(),
        _ => unreachable!("the pattern knows {name}"),
    }
}

/// What fills a tag; with the most bytes that it has had on the way, and whether it is the same for
/// every message.
fn tag(found: &Captures<'_>, values: &[Option<String>; 5]) -> (String, usize, bool) {
    let quoted = found.name("double").or(found.name("single"));
    let mut value = if let Some(quoted) = quoted {
        quoted.as_str().to_owned()
    } else {
        let index = FIELDS.iter().position(|name| *name == &found["field"]);
        values[index.unwrap()].clone().unwrap_or_default()
    };
    let mut longest = value.len();
    for filter in FILTER.captures_iter(&found["filters"]) {
        let default = filter.name("double").or(filter.name("single"));
        value = filtered(
            &value,
            &filter["name"],
            default.map_or("", |text| text.as_str()),
        );
        longest = longest.max(value.len());
    }
    (value, longest, quoted.is_some())
}

/// What the template comes to, by patterns; with the longest text on the way. `None` when it is
/// refused.
fn model(source: &str, values: &[Option<String>; 5]) -> Option<(String, usize)> {
    let (mut filled, mut longest, mut rest) = (String::new(), 0, source);
    // The text with a character in place of each field that no template has.
    let (mut known, mut most_known) = (String::new(), 0);
    while let Some(mark) = MARK.find(rest) {
        let (text, tagged) = rest.split_at(mark.start());
        let found = TAG.captures(tagged)?;
        let (value, most, is_known) = tag(&found, values);
        known = known + text + if is_known { &value } else { "\0" };
        most_known = most_known.max(if is_known { most } else { 0 });
        filled = filled + text + &value;
        longest = longest.max(most);
        rest = &tagged[found[0].len()..];
    }
    longest = longest.max(filled.len() + rest.len());
    known += rest;
    // A character has at most four bytes.
    let fits = !known.trim().is_empty()
        && !LEFT.is_match(&known)
        && most_known <= 4 * Content::MAX_SUBJECT_LENGTH
        && known.chars().filter(|c| *c != '\0').count() <= Content::MAX_SUBJECT_LENGTH;
    fits.then(|| (filled + rest, longest))
}

/// A template is taken exactly when the language allows it, and then filled as the language says
/// or refused because the content would be too long. Neither depends on how long or how strange
/// the template is.
///
/// The input is the template, then after the byte `FE` each a value for the first three fields.
pub fn templates(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xfe);
    let source = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut value = || {
        let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).replace('\0', "");
        normalise(&text).map(std::borrow::Cow::into_owned)
    };
    let long = "&".repeat(LONG);
    let values = [value(), value(), value(), None, Some(long)];
    let template = Template {
        subject: source.clone(),
        body: source.clone(),
    };
    let segment_by = SegmentBy::new(&FIELDS).unwrap();
    let generator = TemplateGenerator::default();
    let expected = model(&source, &values);
    let checked = generator.check(&template, &segment_by);
    match (&checked, &expected) {
        (Ok(()), Some(_)) => {}
        (Err(refusal), None) => {
            let refusal = refusal.to_string();
            assert!(
                refusal.starts_with("`template.subject`, line "),
                "{refusal}"
            );
            assert!(refusal.chars().count() <= MAX_REFUSAL, "{refusal}");
            return;
        }
        (checked, expected) => panic!("{checked:?}, and by the model {expected:?}"),
    }
    let (filled, longest) = expected.unwrap();
    for (part, max) in [
        ("subject", Content::MAX_SUBJECT_LENGTH),
        ("body", Content::MAX_BODY_LENGTH),
    ] {
        let only = |name| {
            if name == part {
                source.clone()
            } else {
                "-".to_owned()
            }
        };
        let brief = GenerationBrief {
            template: Template {
                subject: only("subject"),
                body: only("body"),
            },
            brief: None,
            segment_by: segment_by.clone(),
        };
        let task = GenerationTask {
            account_id: AccountId::new(Uuid::nil()),
            campaign_id: CampaignId::new(Uuid::nil()),
            run_number: RunNumber::FIRST,
            message_id: MessageId::new(Uuid::nil()),
            failed_attempts: 0,
            put_off: Duration::ZERO,
            attributes: Attributes::new(
                FIELDS.into_iter().zip(values.iter().map(Option::as_deref)),
            ),
            example: None,
            brief: Arc::new(brief),
        };
        let content = generator.fill(&task);
        // A character has at most four bytes.
        if longest > 4 * max {
            let error = content.expect_err("too long").to_string();
            assert!(
                error.contains(&format!("`{part}` may have at most {max}")),
                "{error}"
            );
        } else {
            let content = content.unwrap();
            let text = if part == "subject" {
                content.subject
            } else {
                content.body
            };
            assert_eq!(text, filled, "{part}");
        }
    }
}
