//! The template language, and the generator that fills templates.
//!
//! A template is text with tags. A tag names a field of the campaign's `segment_by`, whatever
//! characters that name has: `{{ country }}`, `{{ first name }}`. The field's value is put in its
//! place, nothing when the segment has no value. Filters may follow: `upper`, `lower`, `title`,
//! and `default("text")` for segments without a value, as in `{{ tier | default("valued") }}`. A
//! text in quotes stands for itself, so that `{{ "{{" }}` prints two braces.
//!
//! That is all: no statements, no arithmetic, no functions. So a template that is accepted can be
//! filled for every segment, in time that grows with its length alone, and a value is never read
//! as a template.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rerun_core::campaign::Template;
use rerun_core::error::Invalid;
use rerun_core::generation::{GenerationBrief, GenerationError, GenerationTask};
use rerun_core::message::Content;
use rerun_core::ports::{MessageGenerator, TemplateChecker};
use rerun_core::segment::SegmentBy;
use rerun_core::text::normalise;

/// The longest inside of a tag, in bytes: room for the longest field name, filters and texts.
const MAX_TAG_BYTES: usize = 2_048;

/// How many campaigns' templates are kept ready.
const KEPT_BRIEFS: usize = 32;

/// Fills the campaign's template with the values of a message's segment.
#[derive(Debug, Default)]
pub struct TemplateGenerator {
    ready: Mutex<Vec<Ready>>,
}

/// The parsed template of a brief. Holding the brief keeps its address from being another's.
#[derive(Debug, Clone)]
struct Ready {
    brief: Arc<GenerationBrief>,
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    subject: Parsed,
    body: Parsed,
}

impl Parts {
    fn parse(template: &Template, segment_by: &SegmentBy) -> Result<Self, Invalid> {
        let part = |name, source| {
            Parsed::parse(source, segment_by.fields()).map_err(|mistake| {
                let Mistake { line, what } = mistake;
                Invalid::new(format!("`template.{name}`, line {line}: {what}"))
            })
        };
        Ok(Self {
            subject: part("subject", &template.subject)?,
            body: part("body", &template.body)?,
        })
    }
}

impl TemplateGenerator {
    fn parts(&self, brief: &Arc<GenerationBrief>) -> Result<Arc<Parts>, Invalid> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ready.iter().find(|known| Arc::ptr_eq(&known.brief, brief)) {
            return Ok(Arc::clone(&known.parts));
        }
        let parts = Arc::new(Parts::parse(&brief.template, &brief.segment_by)?);
        if ready.len() == KEPT_BRIEFS {
            ready.remove(0);
        }
        ready.push(Ready {
            brief: Arc::clone(brief),
            parts: Arc::clone(&parts),
        });
        Ok(parts)
    }
}

impl TemplateChecker for TemplateGenerator {
    fn check(&self, template: &Template, segment_by: &SegmentBy) -> Result<(), Invalid> {
        Parts::parse(template, segment_by).map(drop)
    }
}

#[async_trait]
impl MessageGenerator for TemplateGenerator {
    async fn generate(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
        let parts = self
            .parts(&task.brief)
            .map_err(|invalid| GenerationError::new(invalid.to_string()))?;
        let values = task.attributes.to_map().map_err(|error| {
            GenerationError::new(format!("the segment's values cannot be read: {error}"))
        })?;
        Ok(Content {
            subject: parts
                .subject
                .fill("subject", &values, Content::MAX_SUBJECT_LENGTH)?,
            body: parts.body.fill("body", &values, Content::MAX_BODY_LENGTH)?,
        })
    }
}

/// What is wrong with a template, and where.
#[derive(Debug)]
struct Mistake {
    line: usize,
    what: String,
}

/// A template taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parsed(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field { name: String, filters: Vec<Filter> },
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Upper,
    Lower,
    Title,
    Default(String),
}

impl Filter {
    fn apply(&self, value: Option<String>) -> Option<String> {
        match self {
            Self::Upper => value.map(|text| text.to_uppercase()),
            Self::Lower => value.map(|text| text.to_lowercase()),
            Self::Title => value.map(|text| title(&text)),
            Self::Default(text) => value.or_else(|| Some(text.clone())),
        }
    }
}

fn filtered(mut value: Option<String>, filters: &[Filter]) -> Option<String> {
    for filter in filters {
        value = filter.apply(value);
    }
    value
}

/// Every word with a large first letter and small others.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside_word = false;
    for letter in text.chars() {
        if inside_word {
            titled.extend(letter.to_lowercase());
        } else {
            titled.extend(letter.to_uppercase());
        }
        inside_word = letter.is_alphanumeric() || (inside_word && matches!(letter, '\'' | '’'));
    }
    titled
}

impl Parsed {
    fn parse(source: &str, fields: &[String]) -> Result<Self, Mistake> {
        let mut pieces = Vec::new();
        let mut rest = source;
        loop {
            let Some(brace) = rest.find('{') else {
                push_text(&mut pieces, rest);
                return Ok(Self(pieces));
            };
            let (before, tag) = rest.split_at(brace);
            push_text(&mut pieces, before);
            let mistake = |what| {
                let read = source.len() - tag.len();
                let line = source
                    .bytes()
                    .take(read)
                    .filter(|byte| *byte == b'\n')
                    .count()
                    + 1;
                Mistake { line, what }
            };
            rest = match tag.as_bytes().get(1) {
                Some(b'{') => {
                    let (piece, after) = parse_tag(&tag[2..], fields).map_err(mistake)?;
                    match piece {
                        Piece::Text(text) => push_text(&mut pieces, &text),
                        field @ Piece::Field { .. } => pieces.push(field),
                    }
                    after
                }
                Some(b'%' | b'#') => {
                    let opened = &tag[..2];
                    return Err(mistake(format!(
                        "`{opened}` opens nothing here: templates have neither statements nor \
                         comments; write {{{{ \"{opened}\" }}}} to print it"
                    )));
                }
                _ => {
                    push_text(&mut pieces, "{");
                    &tag[1..]
                }
            };
        }
    }

    /// `max` is the most characters that the content may have; more are never built up.
    fn fill(
        &self,
        part: &str,
        values: &BTreeMap<String, Option<String>>,
        max: usize,
    ) -> Result<String, GenerationError> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Field { name, filters } => {
                    let value = values.get(name).ok_or_else(|| {
                        GenerationError::new(format!("the segment has no field `{name}`"))
                    })?;
                    if filters.is_empty() {
                        filled.push_str(value.as_deref().unwrap_or_default());
                    } else {
                        let value = filtered(value.clone(), filters);
                        filled.push_str(value.as_deref().unwrap_or_default());
                    }
                }
            }
            // A character has at most four bytes.
            if filled.len() > max.saturating_mul(4) {
                return Err(GenerationError::new(format!(
                    "the generated content: `{part}` may have at most {max} characters"
                )));
            }
        }
        Ok(filled)
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        last.push_str(text);
    } else {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Reads a tag whose braces were just opened; answers also what follows it. A field name may hold
/// braces itself, so the tag ends at the first pair that leaves something to understand.
fn parse_tag<'a>(opened: &'a str, fields: &[String]) -> Result<(Piece, &'a str), String> {
    let mut first_refusal = None;
    for (end, _) in opened.match_indices("}}") {
        if end > MAX_TAG_BYTES {
            break;
        }
        match parse_inside(&opened[..end], fields) {
            Ok(piece) => return Ok((piece, &opened[end + 2..])),
            Err(refusal) => first_refusal = first_refusal.or(Some(refusal)),
        }
    }
    Err(first_refusal
        .unwrap_or_else(|| "`{{` is not closed; write {{ \"{{\" }} to print two braces".to_owned()))
}

fn parse_inside(inside: &str, fields: &[String]) -> Result<Piece, String> {
    if let Some(name) = field(inside, fields) {
        return Ok(Piece::Field {
            name,
            filters: Vec::new(),
        });
    }
    let inside = inside.trim();
    if let Some((text, rest)) = quoted(inside) {
        let text = filtered(Some(text.to_owned()), &filters(rest)?);
        return Ok(Piece::Text(text.unwrap_or_default()));
    }
    let (name, rest) = inside.split_at(inside.find('|').unwrap_or(inside.len()));
    let Some(name) = field(name, fields) else {
        let name = name.trim();
        let known: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        let known = known.join(", ");
        return Err(if name.is_empty() {
            format!("a tag names no field; the fields of `segment_by` are: {known}")
        } else {
            format!("`{name}` is no field of `segment_by`; its fields are: {known}")
        });
    };
    Ok(Piece::Field {
        name,
        filters: filters(rest)?,
    })
}

fn field(name: &str, fields: &[String]) -> Option<String> {
    let name = normalise(name)?;
    fields.iter().find(|field| **field == *name).cloned()
}

/// A text in quotes at the start, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))?;
    let (inside, rest) = text[1..].split_once(quote)?;
    Some((inside, rest.trim_start()))
}

/// The filters of a tag: `| upper | default("text")`.
fn filters(text: &str) -> Result<Vec<Filter>, String> {
    const KNOWN: &str = "the filters are: `upper`, `lower`, `title`, `default(\"text\")`";
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let after = rest
            .strip_prefix('|')
            .ok_or_else(|| format!("`{rest}` follows where only a filter may; {KNOWN}"))?
            .trim_start();
        let name_ends = after.find(|c: char| !c.is_alphanumeric() && c != '_');
        let (name, after) = after.split_at(name_ends.unwrap_or(after.len()));
        let after = after.trim_start();
        (found, rest) = {
            let (filter, after) = match name {
                "upper" => (Filter::Upper, after),
                "lower" => (Filter::Lower, after),
                "title" => (Filter::Title, after),
                "default" => {
                    let argument = after
                        .strip_prefix('(')
                        .map(str::trim_start)
                        .and_then(quoted);
                    let (text, after) = argument
                        .and_then(|(text, after)| Some((text, after.strip_prefix(')')?)))
                        .ok_or("`default` takes one text: `default(\"text\")`")?;
                    (Filter::Default(text.to_owned()), after.trim_start())
                }
                unknown => return Err(format!("`{unknown}` is no filter; {KNOWN}")),
            };
            found.push(filter);
            (found, after)
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
    use rerun_core::segment::Attributes;
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
            attributes: Attributes::new(values.iter().copied()),
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
        TemplateGenerator::default()
            .generate(&task)
            .await
            .map(|content| content.subject)
    }

    async fn filled(subject: &str, values: &[(&str, Option<&str>)]) -> String {
        generate(subject, values).await.unwrap()
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
            "a}}b",
            "x {{ y",
            "{",
            "upper",
            "1",
            "a.b",
            "a + b",
            "- dashed -",
            "{% if %}",
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
        let content = TemplateGenerator::default().generate(&task).await.unwrap();
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
        assert_eq!(filled("{{ tier | upper }}", &values).await, "");
        assert_eq!(
            filled("{{ tier | default(\"you | }} ✓\") }}", &values).await,
            "you | }} ✓"
        );
        assert_eq!(
            filled("{{ tier | default( 'it' ) | upper }}", &values).await,
            "IT"
        );
        assert_eq!(
            filled("{{ name | lower | default('x') }}", &values).await,
            "éva van o'neill"
        );
        assert_eq!(filled("{{ a|b }}", &values).await, "x");
    }

    #[tokio::test]
    async fn quoted_text_prints_itself() {
        let values = [("country", Some("DE"))];
        assert_eq!(
            filled("{{ \"{{\" }} {{'}}'}} {{ \"{%\" }}", &values).await,
            "{{ }} {%"
        );
        assert_eq!(
            filled("{{ \"{{ country }}\" }}", &values).await,
            "{{ country }}"
        );
        assert_eq!(filled("{{ 'a' | upper }}", &values).await, "A");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let fields = ["country", "first name"];
        let said = |source| check(source, &fields).unwrap_err();
        assert_eq!(
            said("Hello\n{{ country }},\n{{ contry }}"),
            "`template.subject`, line 3: `contry` is no field of `segment_by`; its fields are: \
             `country`, `first name`"
        );
        for (source, what) in [
            ("{{ }}", "names no field"),
            ("{{ | upper }}", "names no field"),
            ("{{ Country }}", "`Country` is no field"),
            ("{{ country.upper() }}", "`country.upper()` is no field"),
            ("{{ country * 9999999999 }}", "is no field"),
            ("{{ [1] * 9999999999 }}", "is no field"),
            ("{{ country", "not closed"),
            ("{{ country }", "not closed"),
            ("{{{ country }}}", "`{ country` is no field"),
            (
                "{% if country %}x{% endif %}",
                "neither statements nor comments",
            ),
            ("{# note #}", "neither statements nor comments"),
            ("{{ country | reverse }}", "`reverse` is no filter"),
            ("{{ country | }}", "is no filter"),
            (
                "{{ country | upper(1) }}",
                "follows where only a filter may",
            ),
            ("{{ country | default }}", "`default` takes one text"),
            ("{{ country | default(tier) }}", "`default` takes one text"),
            (
                "{{ country | default(\"a\", \"b\") }}",
                "`default` takes one text",
            ),
            ("{{ 'a' 'b' }}", "follows where only a filter may"),
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
    }

    #[test]
    fn a_hostile_template_is_refused_quickly() {
        // Every opening brace could end at every closing one.
        let source = "{{ x }} ".repeat(100) + &"}}".repeat(50_000);
        assert!(check(&source, &["country"]).is_err());
        let source = "{{".repeat(50_000);
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
        let first = generator.parts(&one).unwrap();
        assert!(Arc::ptr_eq(&first, &generator.parts(&one).unwrap()));
        for _ in 0..2 * KEPT_BRIEFS {
            generator
                .parts(&brief("{{ country }}", "b", &["country"]))
                .unwrap();
        }
        assert_eq!(generator.ready.lock().unwrap().len(), KEPT_BRIEFS);
    }
}
