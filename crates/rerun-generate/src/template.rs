//! The template language, and the generator that fills templates.
//!
//! A placeholder names a field of the campaign's `segment_by`, whatever characters that name has:
//! `{{ country }}`, `{{ first name }}`, `{{ a }} b }}`. It is replaced by the field's value, or by
//! nothing if the segment has no value. At most [`MAX_FILTERS`] filters may follow: `upper`,
//! `lower`, `title`, `trim`, `escape` (for HTML), `urlencode`, and `default("text")` for segments
//! without a value, as in `{{ tier | default("valued") }}`. A text in quotes stands for itself, so
//! that `{{ "{{" }}` prints two braces; it may hold anything but its quotes and a backslash. A
//! template that cannot give a message for any values is refused. The language has nothing else: no
//! statements, no comments, no arithmetic.
//!
//! The parser reads a template from left to right, once and without recursion: its time grows with
//! the template's length, and its stack does not grow. Filling stops as soon as the text is longer
//! than content may be. Values are data and never read as templates.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rerun_core::campaign::Template;
use rerun_core::error::Invalid;
use rerun_core::generation::{GenerationBrief, GenerationError, GenerationTask, Made};
use rerun_core::message::Content;
use rerun_core::ports::{MessageGenerator, TemplateChecker};
use rerun_core::segment::{Attributes, SegmentBy};
use rerun_core::text::{excerpt, normalise};

/// The most filters in one placeholder.
pub const MAX_FILTERS: usize = 8;

/// How many campaigns' templates are kept ready.
const KEPT_BRIEFS: usize = 32;

/// What `urlencode` leaves as it is: the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a campaign's template, ready to be filled.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: &'static str,
    /// The most characters that the filled text may have.
    max: usize,
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder { value: Value, filters: Vec<Filter> },
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// The number of a field of `segment_by`.
    Field(usize),
    Quoted(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Upper,
    Lower,
    Title,
    Trim,
    Escape,
    UrlEncode,
    Default(String),
}

/// What is wrong with a placeholder.
enum Mistake<'a> {
    Field(&'a str),
    Filter(&'a str),
    Argument(&'a str),
    NoArgument { filter: &'a str, found: &'a str },
    TooManyFilters,
}

impl Filter {
    const NAMES: &'static str = "upper, lower, title, trim, escape, urlencode, default(\"text\")";

    /// The filter that this text names, with what is left of the text.
    fn parse(text: &str) -> Result<(Self, &str), Mistake<'_>> {
        let text = text.trim_start();
        let ends = |c: char| matches!(c, '|' | '(' | '}') || c.is_whitespace();
        let (name, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
        let filter = match name {
            "upper" => Self::Upper,
            "lower" => Self::Lower,
            "title" => Self::Title,
            "trim" => Self::Trim,
            "escape" => Self::Escape,
            "urlencode" => Self::UrlEncode,
            "default" => {
                let argument = rest
                    .strip_prefix('(')
                    .and_then(|rest| quoted(rest.trim_start()))
                    .and_then(|(text, rest)| {
                        let rest = rest.trim_start().strip_prefix(')')?;
                        Some((text, rest))
                    });
                let (text, rest) = argument.ok_or(Mistake::Argument(up_to_close(rest)))?;
                return Ok((Self::Default(text.to_owned()), rest));
            }
            _ => return Err(Mistake::Filter(named(text))),
        };
        let rest = rest.trim_start();
        if rest.starts_with('|') || rest.starts_with(CLOSES) {
            Ok((filter, rest))
        } else {
            Err(Mistake::NoArgument {
                filter: name,
                found: up_to_close(rest),
            })
        }
    }

    fn apply<'v>(&'v self, value: Cow<'v, str>) -> Cow<'v, str> {
        match self {
            Self::Upper => value.to_uppercase().into(),
            Self::Lower => value.to_lowercase().into(),
            Self::Title => title(&value).into(),
            Self::Trim => match value {
                Cow::Borrowed(value) => value.trim().into(),
                Cow::Owned(value) => value.trim().to_owned().into(),
            },
            Self::Escape => escape(&value).into(),
            Self::UrlEncode => utf8_percent_encode(&value, UNRESERVED).to_string().into(),
            Self::Default(text) if value.is_empty() => text.into(),
            Self::Default(_) => value,
        }
    }
}

/// Each word with a capital first letter and small others. Words begin after white space, hyphens
/// and opening brackets, not after an apostrophe.
fn title(text: &str) -> String {
    let separates = |c: char| c.is_whitespace() || matches!(c, '-' | '(' | '[' | '{' | '<');
    let mut titled = String::with_capacity(text.len());
    for part in text.split_inclusive(separates) {
        let word = part.trim_end_matches(separates);
        if let Some(first) = word.chars().next() {
            titled.extend(first.to_uppercase());
            // The whole word in small letters: how a sigma looks depends on what it stands beside.
            let small = word.to_lowercase();
            let begins = first.to_lowercase().map(char::len_utf8).sum();
            titled.push_str(small.get(begins..).unwrap_or_default());
        }
        titled.push_str(part.get(word.len()..).unwrap_or_default());
    }
    titled
}

/// The text as HTML shows it, in an element or in an attribute's quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text in quotes that this begins with, and what follows it. There is no way to have the
/// quotes' own character in it, and none for a backslash, which looks as if there were.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (inside, rest) = text.get(1..)?.split_once(quote)?;
    (!inside.contains('\\')).then_some((inside, rest))
}

/// The text up to a bar, a bracket, white space or the braces that close.
fn named(text: &str) -> &str {
    let ends = |c: char| c == '|' || c == '(' || c.is_whitespace();
    up_to_close(text).split(ends).next().unwrap_or_default()
}

/// What follows the braces that open a placeholder, and what is left of the text after those that
/// close it.
fn placeholder<'a>(inside: &'a str, fields: &[String]) -> Result<(Piece, &'a str), Mistake<'a>> {
    let (value, rest) = match field(inside, fields) {
        Some((index, rest)) => (Value::Field(index), rest),
        None => match quoted(inside.trim_start()) {
            Some((text, rest)) => (Value::Quoted(text.to_owned()), rest),
            None => return Err(Mistake::Field(first_part(inside))),
        },
    };
    let mut rest = rest.trim_start();
    if !rest.starts_with('|') && !rest.starts_with(CLOSES) {
        return Err(Mistake::Field(up_to_close(inside)));
    }
    let mut filters = Vec::new();
    while let Some(after) = rest.strip_prefix('|') {
        if filters.len() == MAX_FILTERS {
            return Err(Mistake::TooManyFilters);
        }
        let (filter, left) = Filter::parse(after)?;
        filters.push(filter);
        rest = left.trim_start();
    }
    match rest.strip_prefix(CLOSES) {
        Some(rest) => Ok((Piece::Placeholder { value, filters }, rest)),
        None => Err(Mistake::Filter(up_to_close(rest))),
    }
}

/// The braces that close a placeholder.
const CLOSES: &str = "}}";

/// The text before the next braces that close.
fn up_to_close(text: &str) -> &str {
    text.split_once(CLOSES).map_or(text, |(before, _)| before)
}

fn first_part(inside: &str) -> &str {
    up_to_close(inside).split('|').next().unwrap_or(inside)
}

/// Where something in a placeholder may end: at a bar, or at closing braces.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    let closes = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(CLOSES));
    text.char_indices()
        .filter(move |(at, c)| *c == '|' || *c == '}' && closes(*at))
        .map(|(at, _)| at)
}

/// The field that the text begins with, and what follows it. A name may have bars and braces of its
/// own: the longest name counts.
fn field<'a>(inside: &'a str, fields: &[String]) -> Option<(usize, &'a str)> {
    // Normalising moves no bar and no brace. So the end of a name is after as many ends as the name
    // has, and one more if its last brace and the first that closes look like an end themselves.
    let expected = |name: &str| {
        let own = ends(name).count();
        (own, own + usize::from(name.ends_with('}')))
    };
    let most = fields.iter().map(|name| expected(name).1).max()?;
    let found: Vec<usize> = ends(inside).take(most + 1).collect();
    let end = |index: usize, name: &String| {
        let (first, last) = expected(name);
        let candidates = found.get(first..).unwrap_or_default();
        let mut candidates = candidates.iter().take(last + 1 - first).rev();
        let end = candidates.find(|end| {
            let text = inside.get(..**end).unwrap_or_default().trim();
            // Normalising makes no text shorter than a quarter. So a long one costs nothing.
            text.len() / 4 <= name.len() && normalise(text).is_some_and(|text| *text == **name)
        });
        end.map(|end| (*end, index))
    };
    let ends = fields.iter().enumerate();
    let (end, index) = ends.filter_map(|(index, name)| end(index, name)).max()?;
    Some((index, inside.get(end..)?))
}

/// Reads one part of a template.
fn parse_part(
    name: &'static str,
    source: &str,
    max: usize,
    fields: &[String],
) -> Result<Part, Invalid> {
    let refuse = |at: usize, what: &dyn fmt::Display| {
        let before = source.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Invalid::new(format!("`template.{name}`, line {line}: {what}"))
    };
    // The pieces, and where each begins.
    let (mut pieces, mut places) = (Vec::new(), Vec::new());
    let (mut text, mut at) = (0, 0);
    while let Some(brace) = source.get(at..).and_then(|rest| rest.find('{')) {
        let opens = at + brace;
        let inside = opens + 2;
        match source.as_bytes().get(opens + 1) {
            Some(b'{') => {
                let after = source.get(inside..).unwrap_or_default();
                if !after.contains(CLOSES) {
                    let what = "`{{` is not closed by `}}`; write {{ \"{{\" }} to print it";
                    return Err(refuse(opens, &what));
                }
                if text < opens {
                    pieces.push(Piece::Text(
                        source.get(text..opens).unwrap_or_default().into(),
                    ));
                    places.push(text);
                }
                let (piece, rest) = placeholder(after, fields)
                    .map_err(|mistake| refuse(opens, &Told(&mistake, fields)))?;
                pieces.push(piece);
                places.push(opens);
                at = source.len() - rest.len();
                text = at;
            }
            Some(mark @ (b'%' | b'#')) => {
                let mark = char::from(*mark);
                let what = format!(
                    "`{{{mark}`: templates have neither statements nor comments; write \
                     {{{{ \"{{{mark}\" }}}} to print it"
                );
                return Err(refuse(opens, &what));
            }
            _ => at = opens + 1,
        }
    }
    if text < source.len() {
        pieces.push(Piece::Text(source.get(text..).unwrap_or_default().into()));
        places.push(text);
    }
    let part = Part { name, max, pieces };
    if let Some((piece, offset, what)) = part.never_fit() {
        let at = places.get(piece).copied().unwrap_or_default();
        return Err(refuse(at + offset, &what));
    }
    Ok(part)
}

/// A mistake, told with the fields that there are.
struct Told<'a>(&'a Mistake<'a>, &'a [String]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(mistake, fields) = self;
        match mistake {
            Mistake::Field(name) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|field| format!("`{}`", excerpt(field)))
                    .collect();
                write!(
                    f,
                    "`{}` is not a field of `segment_by`; the fields are {}",
                    excerpt(name.trim()),
                    fields.join(", ")
                )
            }
            Mistake::Filter(name) => write!(
                f,
                "`{}` is not a filter; the filters are {}",
                excerpt(name.trim()),
                Filter::NAMES
            ),
            Mistake::Argument(found) => write!(
                f,
                "`default` takes one text in quotes, as in default(\"text\"), not `{}`",
                excerpt(found.trim())
            ),
            Mistake::NoArgument { filter, found } => write!(
                f,
                "`{}` after the filter `{filter}`, which takes nothing; `|` comes before the next \
                 filter",
                excerpt(found.trim())
            ),
            Mistake::TooManyFilters => {
                write!(f, "a placeholder may have at most {MAX_FILTERS} filters")
            }
        }
    }
}

/// Stands for a value that is not known yet. No text of a template has this character.
const UNKNOWN: char = '\0';

impl Part {
    /// Why no message can have this text, whatever the values are: it is blank, or a placeholder
    /// stays in it, or it is too long. With the piece where that begins, and the offset in it.
    fn never_fit(&self) -> Option<(usize, usize, String)> {
        let mut known = String::new();
        let mut begins = Vec::with_capacity(self.pieces.len());
        // As in `fill`.
        let most = self.max.saturating_mul(4);
        let too_long = || format!("a message may have at most {} characters", self.max);
        let mut room = most;
        for (index, piece) in self.pieces.iter().enumerate() {
            begins.push(known.len());
            match piece {
                Piece::Placeholder {
                    value: Value::Field(_),
                    ..
                } => known.push(UNKNOWN),
                Piece::Text(_) | Piece::Placeholder { .. } => {
                    let value = piece.value(&[], most);
                    let Some(left) = room.checked_sub(value.len()) else {
                        return Some((index, 0, too_long()));
                    };
                    room = left;
                    known.push_str(&value);
                }
            }
        }
        if known.chars().filter(|char| *char != UNKNOWN).count() > self.max {
            return Some((0, 0, too_long()));
        }
        let content = Content {
            subject: String::new(),
            body: known,
        };
        if let Some(placeholder) = content.placeholder() {
            let at = content.body.find("{{").unwrap_or_default();
            let piece = begins
                .partition_point(|begin| *begin <= at)
                .checked_sub(1)?;
            let offset = match self.pieces.get(piece)? {
                Piece::Text(_) => at - begins.get(piece)?,
                Piece::Placeholder { .. } => 0,
            };
            let shown = placeholder.replace(UNKNOWN, "\u{2026}");
            let what = format!(
                "`{}` stays in every message as a placeholder that nothing fills",
                excerpt(&shown)
            );
            return Some((piece, offset, what));
        }
        if content.body.trim().is_empty() {
            let what = "the text is blank, whatever the values are".to_owned();
            return Some((0, 0, what));
        }
        None
    }

    /// The text with the values in their places: one for each field of `segment_by`, in order.
    fn fill(&self, values: &[Option<String>]) -> Result<String, GenerationError> {
        // A character has at most four bytes. The bound on characters is for content to check.
        let room = self.max.saturating_mul(4);
        let mut filled = String::new();
        for piece in &self.pieces {
            let value = piece.value(values, room);
            if value.len() > room - filled.len() {
                return Err(GenerationError::for_good(format!(
                    "the generated content: `{}` may have at most {} characters",
                    self.name, self.max
                )));
            }
            filled.push_str(&value);
        }
        Ok(filled)
    }
}

impl Piece {
    /// What takes its place. Filters stop when the text has more bytes than `room`.
    fn value<'v>(&'v self, values: &'v [Option<String>], room: usize) -> Cow<'v, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text.as_str()),
            Self::Placeholder { value, filters } => {
                let value = match value {
                    Value::Field(index) => {
                        values.get(*index).and_then(Option::as_deref).unwrap_or("")
                    }
                    Value::Quoted(text) => text,
                };
                let mut value = Cow::Borrowed(value);
                for filter in filters {
                    if value.len() > room {
                        break;
                    }
                    value = filter.apply(value);
                }
                value
            }
        }
    }
}

/// A campaign's template, ready to be filled.
#[derive(Debug)]
struct Parsed {
    subject: Part,
    body: Part,
}

fn parse(template: &Template, segment_by: &SegmentBy) -> Result<Parsed, Invalid> {
    let fields = segment_by.fields();
    Ok(Parsed {
        subject: parse_part(
            "subject",
            &template.subject,
            Content::MAX_SUBJECT_LENGTH,
            fields,
        )?,
        body: parse_part("body", &template.body, Content::MAX_BODY_LENGTH, fields)?,
    })
}

/// Fills the campaign's template with the values of a message's segment.
#[derive(Debug, Default)]
pub struct TemplateGenerator {
    ready: Mutex<Vec<Ready>>,
}

/// The parsed template of a brief. Holding the brief keeps its address from being another's.
#[derive(Debug, Clone)]
struct Ready {
    brief: Arc<GenerationBrief>,
    parsed: Arc<Parsed>,
}

impl TemplateGenerator {
    fn parsed(&self, brief: &Arc<GenerationBrief>) -> Result<Arc<Parsed>, Invalid> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ready.iter().find(|known| Arc::ptr_eq(&known.brief, brief)) {
            return Ok(Arc::clone(&known.parsed));
        }
        let parsed = Arc::new(parse(&brief.template, &brief.segment_by)?);
        if ready.len() == KEPT_BRIEFS {
            ready.remove(0);
        }
        ready.push(Ready {
            brief: Arc::clone(brief),
            parsed: Arc::clone(&parsed),
        });
        Ok(parsed)
    }
}

impl TemplateChecker for TemplateGenerator {
    fn check(&self, template: &Template, segment_by: &SegmentBy) -> Result<(), Invalid> {
        parse(template, segment_by).map(drop)
    }

    fn fill(
        &self,
        template: &Template,
        segment_by: &SegmentBy,
        attributes: &Attributes,
    ) -> Result<Content, Invalid> {
        let parsed = parse(template, segment_by)?;
        parsed
            .fill(segment_by, attributes)
            .map_err(|error| Invalid::new(format!("`template`: {error}")))
    }
}

impl Parsed {
    fn fill(
        &self,
        segment_by: &SegmentBy,
        attributes: &Attributes,
    ) -> Result<Content, GenerationError> {
        let mut named = attributes.to_map().map_err(|error| {
            GenerationError::for_good(format!("the segment's values cannot be read: {error}"))
        })?;
        let mut values = Vec::new();
        for field in segment_by.fields() {
            let value = named.remove(field).ok_or_else(|| {
                GenerationError::for_good(format!("the segment has no field `{field}`"))
            })?;
            values.push(value);
        }
        Ok(Content {
            subject: self.subject.fill(&values)?,
            body: self.body.fill(&values)?,
        })
    }
}

impl TemplateGenerator {
    /// Fills the task's template, whatever comes of it: the text may be one that no message can
    /// have.
    ///
    /// # Errors
    /// [`GenerationError`] when the template cannot be filled, or the text becomes too long.
    pub fn fill(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
        let parsed = self
            .parsed(&task.brief)
            .map_err(|invalid| GenerationError::for_good(invalid.to_string()))?;
        parsed.fill(&task.brief.segment_by, &task.attributes)
    }
}

#[async_trait]
impl MessageGenerator for TemplateGenerator {
    /// Fills the task's template. What fails does so for good: a second attempt would do the same.
    async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
        let content = self.fill(task)?.generated().map_err(|invalid| {
            GenerationError::for_good(format!("the generated content: {invalid}"))
        })?;
        Ok(content.into())
    }
}

#[cfg(test)]
mod tests {
    use rerun_core::generation::FailureKind;
    use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
    use uuid::Uuid;

    use super::*;

    fn check(source: &str, fields: &[&str]) -> Result<(), String> {
        let template = Template {
            subject: source.to_owned(),
            body: "b".to_owned(),
        };
        let segment_by = SegmentBy::new(fields).unwrap();
        TemplateGenerator::default()
            .check(&template, &segment_by)
            .map_err(|e| e.to_string())
    }

    fn brief(subject: &str, body: &str, fields: &[&str]) -> Arc<GenerationBrief> {
        Arc::new(GenerationBrief {
            template: Template {
                subject: subject.to_owned(),
                body: body.to_owned(),
            },
            brief: None,
            segment_by: SegmentBy::new(fields).unwrap(),
        })
    }

    fn task(brief: &Arc<GenerationBrief>, values: &[(&str, Option<&str>)]) -> GenerationTask {
        GenerationTask {
            account_id: AccountId::new(Uuid::nil()),
            campaign_id: CampaignId::new(Uuid::nil()),
            run_number: RunNumber::FIRST,
            message_id: MessageId::new(Uuid::nil()),
            failed_attempts: 0,
            put_off: std::time::Duration::ZERO,
            attributes: Attributes::new(values.iter().copied()),
            example: None,
            brief: Arc::clone(brief),
        }
    }

    async fn generate(
        subject: &str,
        values: &[(&str, Option<&str>)],
    ) -> Result<String, GenerationError> {
        let fields: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        check(subject, &fields).unwrap();
        let task = task(&brief(subject, "b", &fields), values);
        let content = TemplateGenerator::default().fill(&task)?;
        // What a message can have is made as it is.
        let fit = content.clone().generated();
        let made = TemplateGenerator::default().generate(&task).await;
        match (fit, made) {
            (Ok(fit), Ok(made)) => assert_eq!(made, fit.into()),
            (Err(_), Err(error)) => assert_eq!(error.kind, FailureKind::Final, "{error}"),
            (fit, made) => panic!("{fit:?}, {made:?}"),
        }
        Ok(content.subject)
    }

    async fn filled(subject: &str, values: &[(&str, Option<&str>)]) -> String {
        generate(subject, values).await.unwrap()
    }

    #[tokio::test]
    async fn a_message_that_none_can_be_fails_for_good() {
        for (subject, value) in [
            ("{{ country }}", None),
            ("{{ country }}", Some("{{ other }}")),
        ] {
            let brief = brief(subject, "b", &["country"]);
            let task = task(&brief, &[("country", value)]);
            let error = TemplateGenerator::default().generate(&task).await;
            assert_eq!(error.unwrap_err().kind, FailureKind::Final, "{value:?}");
        }
    }

    #[tokio::test]
    async fn fields_are_filled_and_null_prints_as_nothing() {
        let values = [("country", Some("DE")), ("tier", None)];
        assert_eq!(
            filled("{{ country }}/{{tier}}/{{\ttier\n}}!", &values).await,
            "DE//!"
        );
        assert_eq!(filled("{{country}}{{country}}", &values).await, "DEDE");
        assert_eq!(
            filled("no tags, 100 % {text}", &values).await,
            "no tags, 100 % {text}"
        );
    }

    #[tokio::test]
    async fn any_field_name_can_be_named() {
        for name in [
            "first name",
            "first-name",
            "o'clock",
            "\"quoted\"",
            "straße",
            "名前",
            "true",
            "if",
            "a|b",
            "x {{ y",
            "upper",
            "1",
            "a.b",
            "a + b",
            "- dashed -",
            "{% if %}",
            "x }} y",
            "}}",
            "}",
            "{{ x }}",
            "a}",
            "a}}}",
            "a | b }} | c",
        ] {
            let text = format!("<{{{{ {name} }}}}>");
            assert_eq!(filled(&text, &[(name, Some("v"))]).await, "<v>", "{name}");
        }
    }

    #[tokio::test]
    async fn names_are_normalised_as_segment_by_is() {
        let values = [("pre\u{301}nom", Some("Zoé")), ("age", None)];
        let composed = brief(
            "{{\u{2003}pr\u{e9}nom }}",
            "{{ pre\u{301}nom }}",
            &["prénom", "age"],
        );
        let task = task(&composed, &[("pr\u{e9}nom", values[0].1), values[1]]);
        let content = TemplateGenerator::default()
            .generate(&task)
            .await
            .unwrap()
            .content;
        assert_eq!(
            (content.subject.as_str(), content.body.as_str()),
            ("Zoé", "Zoé")
        );
    }

    #[tokio::test]
    async fn values_are_data() {
        for value in [
            "{{ country }}",
            "{% for x in y %}",
            "}}",
            "{{",
            "<b>&amp;</b>",
            "a|upper",
        ] {
            assert_eq!(
                filled("[{{ country }}]", &[("country", Some(value))]).await,
                format!("[{value}]")
            );
        }
    }

    #[tokio::test]
    async fn filters_change_values() {
        let values = [
            ("name", Some("éva VAN o'neill")),
            ("tier", None),
            ("a|b", Some("x")),
        ];
        assert_eq!(
            filled("{{ name | upper }}", &values).await,
            "ÉVA VAN O'NEILL"
        );
        assert_eq!(filled("{{ name|lower }}", &values).await, "éva van o'neill");
        assert_eq!(
            filled("{{ name | title }}", &values).await,
            "Éva Van O'neill"
        );
        assert_eq!(filled("-{{ tier | upper }}", &values).await, "-");
        assert_eq!(
            filled("{{ tier | default( 'it' ) | upper }}", &values).await,
            "IT"
        );
        assert_eq!(
            filled("{{ name | lower | default('x') }}", &values).await,
            "éva van o'neill"
        );
        assert_eq!(filled("{{ a|b }}", &values).await, "x");
        assert_eq!(filled("{{ a|b | upper }}", &values).await, "X");
        assert_eq!(
            filled("{{ tier | default('a|b\"') }}", &values).await,
            "a|b\""
        );
    }

    #[tokio::test]
    async fn values_can_be_escaped() {
        let values = [("name", Some("<b>\"O'Neill\" & Söhne</b> a/b~c_d-e.f%"))];
        assert_eq!(
            filled("{{ name | escape }}", &values).await,
            "&lt;b&gt;&quot;O&#39;Neill&quot; &amp; Söhne&lt;/b&gt; a/b~c_d-e.f%"
        );
        assert_eq!(
            filled("{{ name | urlencode }}", &values).await,
            "%3Cb%3E%22O%27Neill%22%20%26%20S%C3%B6hne%3C%2Fb%3E%20a%2Fb~c_d-e.f%25"
        );
        assert_eq!(
            filled("{{ name | title | escape }}", &[("name", Some("a<b>"))]).await,
            "A&lt;B&gt;"
        );
    }

    #[tokio::test]
    async fn case_is_that_of_unicode() {
        let values = [("name", Some("straße ΟΔΟΣ σΑΣ-σ İ ǆ ﬃ"))];
        assert_eq!(
            filled("{{ name | upper }}", &values).await,
            "STRASSE ΟΔΟΣ ΣΑΣ-Σ İ Ǆ FFI"
        );
        assert_eq!(
            filled("{{ name | title }}", &values).await,
            "Straße Οδος Σας-Σ İ Ǆ FFI"
        );
        assert_eq!(
            filled("{{ name | lower }}", &values).await,
            "straße οδος σας-σ i\u{307} ǆ ﬃ"
        );
    }

    #[test]
    fn a_placeholder_has_at_most_eight_filters() {
        let fields = ["country"];
        let filters = |count: usize| format!("x {{{{ country {} }}}}", "| trim".repeat(count));
        assert_eq!(check(&filters(8), &fields), Ok(()));
        for count in [9, 11_000, 100_000] {
            assert_eq!(
                check(&filters(count), &fields).unwrap_err(),
                "`template.subject`, line 1: a placeholder may have at most 8 filters"
            );
        }
        // Each placeholder has its own.
        assert_eq!(check(&filters(8).repeat(500), &fields), Ok(()));
    }

    #[test]
    fn a_refusal_does_not_repeat_what_it_refuses() {
        for source in [
            format!("{{{{ {} }}}}", "x".repeat(100_000)),
            format!("{{{{ country | {} }}}}", "x".repeat(100_000)),
            format!("{{{{ country | default({} }}}}", "x".repeat(100_000)),
            format!("{{{{ country | upper {} }}}}", "x\n".repeat(100_000)),
        ] {
            let refusal = check(&source, &["country"]).unwrap_err();
            assert!(refusal.len() < 250, "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[tokio::test]
    async fn quoted_text_prints_itself() {
        let values = [("country", Some("DE"))];
        assert_eq!(filled("{{ \"{{\" }} {{ \"{%\" }}", &values).await, "{{ {%");
        assert_eq!(
            filled("{{ \"}}\" }}{{ 'a }} | b' }}", &values).await,
            "}}a }} | b"
        );
        let values = [("tier", None)];
        assert_eq!(
            filled("{{ tier | default(\"}} | {{\") | upper }}!", &values).await,
            "}} | {{!"
        );
        assert_eq!(filled("{{ 'a' | upper }}", &values).await, "A");
    }

    /// Of two names the longer one counts, and a name ends where its own braces end.
    #[tokio::test]
    async fn names_with_braces_are_told_apart() {
        let values = [("a", Some("1")), ("a }} b", Some("2")), ("a}", Some("3"))];
        assert_eq!(filled("{{ a }}-{{a}}-{{ a }} b }}", &values).await, "1-1-2");
        assert_eq!(
            filled("{{ a} }}-{{a}}}-{{ a }} c }}", &values).await,
            "3-3-1 c }}"
        );
        assert_eq!(filled("{{ a }} b | default('x') }}", &values).await, "2");
    }

    #[test]
    fn a_template_from_which_no_message_comes_is_refused() {
        let fields = ["country", "tier"];
        let stays = |shown: &str| {
            format!("`{shown}` stays in every message as a placeholder that nothing fills")
        };
        let blank = "the text is blank, whatever the values are".to_owned();
        for (source, line, what) in [
            ("{{ \"{{ x }}\" }}", 1, stays("{{ x }}")),
            ("a\n{{ '{{' }} x }}", 2, stays("{{ x }}")),
            ("a\n{{ '{{' }}\n{{ '}}' }}", 2, stays("{{\\n}}")),
            ("{{ '{' }}{ x }}", 1, stays("{{ x }}")),
            (
                "{{ '{{' }}\n{{ country }}\n}}",
                1,
                stays("{{\\n\u{2026}\\n}}"),
            ),
            ("a {{ '{{ b }}' | upper }}", 1, stays("{{ B }}")),
            ("{{ '' }}", 1, blank.clone()),
            ("{{ ' ' | trim }} \n{{ \"\" }}", 1, blank),
        ] {
            let refusal = check(source, &fields).unwrap_err();
            assert_eq!(refusal, format!("`template.subject`, line {line}: {what}"));
        }
        // These depend on the values, or are right.
        for source in [
            "{{ country }}",
            "{{ '' }}{{ country | trim }}",
            "{{ country | default('{{ x }}') }}",
            "{ {{ country }} {{ '{' }}{{ tier }}{ x }}",
            "{{ '{{' }} and no end",
            "}} first, {{ '{{' }} then",
            "plain text",
            "{{ '{{ x }}' | urlencode }}",
        ] {
            assert_eq!(check(source, &fields), Ok(()), "{source}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let fields = ["country", "first name"];
        let said = |source| check(source, &fields).unwrap_err();
        assert_eq!(
            said("Hello\n{{ country }},\n{{ contry }}"),
            "`template.subject`, line 3: `contry` is not a field of `segment_by`; the fields are \
             `country`, `first name`"
        );
        assert_eq!(
            said("\n{{ country | upper | reverse }}"),
            "`template.subject`, line 2: `reverse` is not a filter; the filters are upper, lower, \
             title, trim, escape, urlencode, default(\"text\")"
        );
        for (source, what) in [
            ("{{ }}", "`` is not a field"),
            ("{{ | upper }}", "is not a field"),
            ("{{ Country }}", "`Country` is not a field"),
            ("{{ field_0 }}", "`field_0` is not a field"),
            ("{{ field_7 }}", "`field_7` is not a field"),
            ("{{ country.upper() }}", "`country.upper()` is not a field"),
            ("{{ country * 9999999999 }}", "is not a field"),
            ("{{ [1] * 9999999999 }}", "is not a field"),
            ("{{ \"a\" * 9999999999 }}", "is not a field"),
            ("{{ country", "line 1: `{{` is not closed"),
            ("{{ country }", "line 1: `{{` is not closed"),
            ("{{{ country }}}", "`{ country` is not a field"),
            ("{{- country -}}", "`- country -` is not a field"),
            ("{{ \"a\\\" }}", "is not a field"),
            (
                "{% if country %}x{% endif %}",
                "neither statements nor comments",
            ),
            ("{# note #}", "neither statements nor comments"),
            ("{{ country | Upper }}", "`Upper` is not a filter"),
            ("{{ country | }}", "`` is not a filter"),
            ("{{ country | upper | }}", "`` is not a filter"),
            (
                "{{ country | upper lower }}",
                "`lower` after the filter `upper`",
            ),
            ("{{ country | upper(1) }}", "`(1)` after the filter `upper`"),
            ("{{ country | default }}", "`default` takes one text"),
            ("{{ country | default(tier) }}", "`default` takes one text"),
            (
                "{{ country | default(\"a\", \"b\") }}",
                "`default` takes one text",
            ),
            ("{{ country | default(\"a\") x }}", "`x` is not a filter"),
            ("{{ 'a' 'b' }}", "is not a field"),
        ] {
            let said = said(source);
            assert!(said.contains(what), "{source}: {said}");
        }
        let template = Template {
            subject: "s".into(),
            body: "{{ x }}".into(),
        };
        let refusal = TemplateGenerator::default()
            .check(&template, &SegmentBy::new(&["country"]).unwrap())
            .unwrap_err();
        assert!(
            refusal
                .to_string()
                .starts_with("`template.body`, line 1: `x`"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn content_does_not_grow_without_bound() {
        let long = "x".repeat(1_000_000);
        let source = "{{ country }}".repeat(70);
        let error = generate(&source, &[("country", Some(&long))])
            .await
            .unwrap_err();
        assert!(
            error.reason.contains("`subject` may have at most 1000"),
            "{error}"
        );
        // Not on the way either: every filter makes it five times as long.
        let source = format!("{{{{ country {} }}}}", "| urlencode".repeat(8));
        let values = [("country", Some("ü".repeat(900)))];
        let values = [(values[0].0, values[0].1.as_deref())];
        let error = generate(&source, &values).await.unwrap_err();
        assert!(
            error.reason.contains("`subject` may have at most 1000"),
            "{error}"
        );
        let exact = "x".repeat(1_000);
        assert_eq!(
            filled("{{ country }}", &[("country", Some(&exact))]).await,
            exact
        );
    }

    #[test]
    fn a_hostile_template_is_refused_quickly() {
        // Every opening brace could end at every closing one.
        let source = "{{ x }} ".repeat(100) + &"}}".repeat(50_000);
        assert!(check(&source, &["country"]).is_err());
        let source = "{{".repeat(50_000);
        assert!(check(&source, &["country"]).is_err());
        let source = format!("{{{{ {} }}}}", "|".repeat(500_000));
        assert!(check(&source, &["country", "|||||||||||"]).is_err());
        // Names that could end at every brace and bar.
        let name = "}}|".repeat(85);
        let fields = ["x", name.as_str()];
        let source = "{{x}}".repeat(40_000);
        assert_eq!(check(&source, &fields), Ok(()));
        let source = format!("{{{{ {} }}}}", name.repeat(1_000));
        assert!(check(&source, &fields).is_err());
        let source = "{ ".repeat(500_000);
        let refusal = check(&source, &["country"]).unwrap_err();
        assert!(refusal.ends_with("at most 1000 characters"), "{refusal}");
        let source = "{{ '&&&&' | escape | escape | escape }}".repeat(100_000);
        assert!(check(&source, &["country"]).is_err());
    }

    #[tokio::test]
    async fn a_segment_without_the_field_is_an_error() {
        let brief = brief("{{ country }}", "b", &["country"]);
        let error = TemplateGenerator::default()
            .generate(&task(&brief, &[]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "the segment has no field `country`");
    }

    #[tokio::test]
    async fn templates_are_parsed_once_for_a_brief() {
        let generator = TemplateGenerator::default();
        let one = brief("{{ country }}", "b", &["country"]);
        let first = generator.parsed(&one).unwrap();
        assert!(Arc::ptr_eq(&first, &generator.parsed(&one).unwrap()));
        for _ in 0..2 * KEPT_BRIEFS {
            generator
                .parsed(&brief("{{ country }}", "b", &["country"]))
                .unwrap();
        }
        assert_eq!(generator.ready.lock().unwrap().len(), KEPT_BRIEFS);
    }
}
