//! The template language, and the generator that fills templates.
//!
//! A tag names a field of the campaign's `segment_by`, whatever characters that name has:
//! `{{ country }}`, `{{ first name }}`. The field's value takes its place, nothing when the segment
//! has none. Filters may follow: `upper`, `lower`, `title`, `trim`, and `default("text")` for
//! segments without a value, as in `{{ tier | default("valued") }}`. A text in quotes stands for
//! itself, so that `{{ "{{" }}` prints two braces.
//!
//! minijinja fills the tags. What else its language has is refused: without statements and
//! arithmetic, a template that is accepted can be filled for every segment, in time that grows with
//! its length alone. Values are data and never read as templates.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, filters};
use regex::{Captures, Regex};
use rerun_core::campaign::Template;
use rerun_core::error::Invalid;
use rerun_core::generation::{GenerationBrief, GenerationError, GenerationTask};
use rerun_core::message::Content;
use rerun_core::ports::{MessageGenerator, TemplateChecker};
use rerun_core::segment::SegmentBy;
use rerun_core::text::normalise;

/// How many campaigns' templates are kept ready.
const KEPT_BRIEFS: usize = 32;

/// Names of the two templates of an environment.
const SUBJECT: &str = "subject";
const BODY: &str = "body";

#[expect(
    clippy::expect_used,
    reason = "the patterns are literals, which the tests compile"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a valid pattern")
}

/// A tag, shortest first.
static TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\{\{(.*?)\}\}"));

/// A template's last line break is text like any other.
static KEEP_NEWLINES: LazyLock<SyntaxConfig> = LazyLock::new(|| {
    let built = SyntaxConfig::builder().keep_trailing_newline(true).build();
    built.unwrap_or_default()
});

/// What a tag may hold once its field has an alias: the alias or a text in quotes, then filters.
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^\s*
        ( field_\d+ | "[^"\\]*" | '[^'\\]*' )
        ( \s*\|\s* ( upper | lower | title | trim | default\(\s*("[^"\\]*"|'[^'\\]*')\s*\) ) )*
        \s*$"#,
    )
});

/// Fills the campaign's template with the values of a message's segment.
#[derive(Debug, Default)]
pub struct TemplateGenerator {
    ready: Mutex<Vec<Ready>>,
}

/// The parsed templates of a brief. Holding the brief keeps its address from being another's.
#[derive(Debug, Clone)]
struct Ready {
    brief: Arc<GenerationBrief>,
    parsed: Arc<Environment<'static>>,
}

/// The name under which the engine knows a field, whose own name need not be an identifier.
fn alias(index: usize) -> String {
    format!("field_{index}")
}

/// Gives every tag's field its alias.
fn aliased(part: &str, source: &str, fields: &[String]) -> Result<String, Invalid> {
    let refuse = |at: usize, what: String| {
        let line = source
            .bytes()
            .take(at)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        Invalid::new(format!("`template.{part}`, line {line}: {what}"))
    };
    for opening in ["{%", "{#"] {
        if let Some(at) = TAG
            .replace_all(source, |tag: &Captures<'_>| " ".repeat(tag[0].len()))
            .find(opening)
        {
            let what = format!(
                "`{opening}`: templates have neither statements nor comments; write \
                 {{{{ \"{opening}\" }}}} to print it"
            );
            return Err(refuse(at, what));
        }
    }
    let mut refused = None;
    let replaced = TAG.replace_all(source, |tag: &Captures<'_>| {
        let inside = &tag[1];
        let tag_text = with_alias(inside, fields);
        // What was not given an alias must not look like one.
        let is_known = matches!(tag_text, Cow::Owned(_)) || inside.trim().starts_with(['"', '\'']);
        if !(is_known && INSIDE.is_match(&tag_text)) && refused.is_none() {
            let at = tag.get(0).map_or(0, |tag| tag.start());
            refused = Some(refuse(at, unknown(inside, fields)));
        }
        format!("{{{{{tag_text}}}}}")
    });
    match refused {
        Some(refused) => Err(refused),
        None => Ok(replaced.into_owned()),
    }
}

fn with_alias<'a>(inside: &'a str, fields: &[String]) -> Cow<'a, str> {
    let index = |name: &str| {
        let name = normalise(name)?;
        fields.iter().position(|field| *field == *name)
    };
    if let Some(index) = index(inside) {
        return Cow::Owned(alias(index));
    }
    match inside.split_once('|') {
        Some((name, filters)) => match index(name) {
            Some(index) => Cow::Owned(format!("{} |{filters}", alias(index))),
            None => Cow::Borrowed(inside),
        },
        None => Cow::Borrowed(inside),
    }
}

fn unknown(inside: &str, fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    format!(
        "`{}` is no field of `segment_by`; a tag names one of {}, and one of the filters upper, \
         lower, title, trim and default(\"text\") may follow",
        inside.trim(),
        fields.join(", ")
    )
}

fn parse(template: &Template, segment_by: &SegmentBy) -> Result<Environment<'static>, Invalid> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(KEEP_NEWLINES.clone());
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter(
        "default",
        |value: String, other: String| {
            if value.is_empty() { other } else { value }
        },
    );
    let fields = segment_by.fields();
    for (part, source) in [(SUBJECT, &template.subject), (BODY, &template.body)] {
        let source = aliased(part, source, fields)?;
        environment
            .add_template_owned(part, source)
            .map_err(|error| {
                let line = error.line().unwrap_or(1);
                let what = error
                    .detail()
                    .map_or_else(|| error.kind().to_string(), str::to_owned);
                Invalid::new(format!("`template.{part}`, line {line}: {what}"))
            })?;
        let known: Vec<String> = (0..fields.len()).map(alias).collect();
        let named = environment
            .get_template(part)
            .map(|parsed| parsed.undeclared_variables(true))
            .map_err(|error| Invalid::new(format!("`template.{part}`: {error}")))?;
        if let Some(name) = named.iter().find(|name| !known.contains(name)) {
            return Err(Invalid::new(format!(
                "`template.{part}`: {}",
                unknown(name, fields)
            )));
        }
    }
    Ok(environment)
}

impl TemplateGenerator {
    fn parsed(&self, brief: &Arc<GenerationBrief>) -> Result<Arc<Environment<'static>>, Invalid> {
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

/// Takes what content can hold and no more, however long the values are.
struct Capped {
    text: Vec<u8>,
    room: usize,
    over: bool,
}

impl Capped {
    fn new(max_characters: usize) -> Self {
        // A character has at most four bytes.
        Self {
            text: Vec::new(),
            room: max_characters.saturating_mul(4),
            over: false,
        }
    }

    const fn is_over(&self) -> bool {
        self.over
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.room {
            self.over = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.room -= bytes.len();
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl TemplateChecker for TemplateGenerator {
    fn check(&self, template: &Template, segment_by: &SegmentBy) -> Result<(), Invalid> {
        parse(template, segment_by).map(drop)
    }
}

#[async_trait]
impl MessageGenerator for TemplateGenerator {
    async fn generate(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
        let parsed = self
            .parsed(&task.brief)
            .map_err(|invalid| GenerationError::new(invalid.to_string()))?;
        let mut values = task.attributes.to_map().map_err(|error| {
            GenerationError::new(format!("the segment's values cannot be read: {error}"))
        })?;
        let mut named = BTreeMap::new();
        for (index, field) in task.brief.segment_by.fields().iter().enumerate() {
            let value = values.remove(field).ok_or_else(|| {
                GenerationError::new(format!("the segment has no field `{field}`"))
            })?;
            named.insert(alias(index), value.unwrap_or_default());
        }
        let named = Value::from(named);
        let fill = |part, max| {
            let failed = |error: minijinja::Error| {
                GenerationError::new(format!("`template.{part}`: {error}"))
            };
            let template = parsed.get_template(part).map_err(failed)?;
            let mut out = Capped::new(max);
            match template.render_captured_to(named.clone(), &mut out) {
                _ if out.is_over() => Err(GenerationError::new(format!(
                    "the generated content: `{part}` may have at most {max} characters"
                ))),
                Ok(_) => Ok(String::from_utf8_lossy(&out.text).into_owned()),
                Err(error) => Err(failed(error)),
            }
        };
        Ok(Content {
            subject: fill(SUBJECT, Content::MAX_SUBJECT_LENGTH)?,
            body: fill(BODY, Content::MAX_BODY_LENGTH)?,
        })
    }
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
            "x {{ y",
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
            filled("{{ \"{{\" }} }} {{ \"{%\" }}", &values).await,
            "{{ }} {%"
        );
        assert_eq!(filled("{{ 'a' | upper }}", &values).await, "A");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let fields = ["country", "first name"];
        let said = |source| check(source, &fields).unwrap_err();
        assert_eq!(
            said("Hello\n{{ country }},\n{{ contry }}"),
            "`template.subject`, line 3: `contry` is no field of `segment_by`; a tag names one of \
             `country`, `first name`, and one of the filters upper, lower, title, trim and \
             default(\"text\") may follow"
        );
        for (source, what) in [
            ("{{ }}", "`` is no field"),
            ("{{ | upper }}", "is no field"),
            ("{{ Country }}", "`Country` is no field"),
            ("{{ field_0 }}", "`field_0` is no field"),
            ("{{ field_7 }}", "`field_7` is no field"),
            ("{{ country.upper() }}", "`country.upper()` is no field"),
            ("{{ country * 9999999999 }}", "is no field"),
            ("{{ [1] * 9999999999 }}", "is no field"),
            ("{{ \"a\" * 9999999999 }}", "is no field"),
            ("{{ country", "line 1: "),
            ("{{ country }", "line 1: "),
            ("{{{ country }}}", "`{ country` is no field"),
            (
                "{% if country %}x{% endif %}",
                "neither statements nor comments",
            ),
            ("{# note #}", "neither statements nor comments"),
            ("{{ country | reverse }}", "is no field"),
            ("{{ country | }}", "is no field"),
            ("{{ country | upper(1) }}", "is no field"),
            ("{{ country | default }}", "is no field"),
            ("{{ country | default(tier) }}", "is no field"),
            ("{{ country | default(\"a\", \"b\") }}", "is no field"),
            ("{{ 'a' 'b' }}", "is no field"),
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
