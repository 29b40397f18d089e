//! Applies value rules to a value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

use super::number::Number;
use crate::text;

/// What the values of a field are, and how they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Text,
    Boolean,
    Number {
        decimal: char,
    },
    /// Numbers, of which only the range counts.
    Bins {
        decimal: char,
        edges: Vec<Number>,
        /// One more than there are edges.
        labels: Vec<String>,
    },
}

/// The checked rules of a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldRules {
    pub(crate) collapse: bool,
    pub(crate) casefold: bool,
    pub(crate) separators: bool,
    /// Values that mean no value, as [`folded`] leaves them.
    pub(crate) null: BTreeSet<String>,
    /// Targets by the key of the value that they stand for.
    pub(crate) values: BTreeMap<String, String>,
    /// Targets by their own key: of several the first in code-point order.
    pub(crate) targets: BTreeMap<String, String>,
    pub(crate) kind: Kind,
}

/// What a value is to the segment key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tag {
    Text,
    Number,
    Boolean,
    Bin,
}

impl Tag {
    /// What stands for the type in a segment key. It never changes; 0 stands for no value.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Number => 2,
            Self::Boolean => 3,
            Self::Bin => 4,
        }
    }
}

/// A value after the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied<'a> {
    /// Its type, which is a part of its identity.
    pub(crate) tag: Tag,
    /// What it is compared by.
    pub(crate) key: Cow<'a, str>,
    /// How it is spelled, if that can differ from the key.
    pub(crate) spelling: Option<Cow<'a, str>>,
    /// Whether it is a text because it could not be read as the field's type.
    pub(crate) unparsed: bool,
}

/// What a field's rules, if it has any, make of a customer's value. A value that is too long stands
/// as the empty text, and no rule is applied to it.
pub(crate) fn applied<'a>(
    rules: Option<&'a FieldRules>,
    value: Option<&'a str>,
) -> Option<Applied<'a>> {
    let value = value?;
    match rules.filter(|_| !value.is_empty()) {
        Some(rules) => rules.apply(value),
        None => Some(Applied::plain(value)),
    }
}

impl<'a> Applied<'a> {
    /// A value of a field without rules.
    pub(crate) const fn plain(value: &'a str) -> Self {
        Self {
            tag: Tag::Text,
            key: Cow::Borrowed(value),
            spelling: None,
            unparsed: false,
        }
    }

    pub(super) const fn typed(tag: Tag, key: Cow<'a, str>) -> Self {
        Self {
            tag,
            key,
            spelling: None,
            unparsed: false,
        }
    }

    /// A text that could not be read as the field's type.
    pub(super) const fn unparsed(text: Cow<'a, str>) -> Self {
        Self {
            tag: Tag::Text,
            key: text,
            spelling: None,
            unparsed: true,
        }
    }

    /// Its type, and what it is compared by.
    pub(crate) fn into_identity(self) -> (Tag, String) {
        (self.tag, self.key.into_owned())
    }

    pub(super) fn into_owned<'b>(self) -> Applied<'b> {
        Applied {
            tag: self.tag,
            key: Cow::Owned(self.key.into_owned()),
            spelling: self
                .spelling
                .map(|spelling| Cow::Owned(spelling.into_owned())),
            unparsed: self.unparsed,
        }
    }
}

/// Full Unicode case folding, then NFC.
pub(crate) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    UniCase::unicode(text).to_folded_case().nfc().collect()
}

/// Each run of blanks as one space.
fn collapsed(value: &str) -> Cow<'_, str> {
    runs_as_space(value, char::is_whitespace)
}

/// Each `_`, `-` and `–` as a space, and runs of spaces as one. A value of nothing else stays as it
/// is.
fn separated(value: &str) -> Cow<'_, str> {
    let separates = |c: char| matches!(c, '_' | '-' | '–') || c.is_whitespace();
    if value.chars().all(separates) {
        return Cow::Borrowed(value);
    }
    runs_as_space(value, separates)
}

fn runs_as_space(value: &str, blank: impl Fn(char) -> bool) -> Cow<'_, str> {
    let mut before = false;
    let changes = value.chars().any(|c| {
        let is = blank(c);
        let changes = is && (before || c != ' ');
        before = is;
        changes
    });
    if !changes {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut before = false;
    for c in value.chars() {
        let is = blank(c);
        if !is {
            text.push(c);
        } else if !before {
            text.push(' ');
        }
        before = is;
    }
    Cow::Owned(text)
}

/// The form of a text in which blanks, case, separators and the spelling of numbers make no
/// difference. What is a text to rules for numbers is none, such as a range that is named `2`.
pub(crate) fn alike(text: &str, rules: Option<&FieldRules>) -> (Tag, String) {
    let text = collapsed(text);
    let number = match rules.map(|rules| &rules.kind) {
        Some(Kind::Number { .. } | Kind::Bins { .. }) => None,
        Some(Kind::Text | Kind::Boolean) | None => Number::parse(&text, '.'),
    };
    match number {
        Some(number) => (Tag::Number, number.to_string()),
        None => (Tag::Text, separated(&folded(&text)).into_owned()),
    }
}

fn boolean(value: &str) -> Option<&'static str> {
    match folded(value).as_str() {
        "true" | "yes" | "y" | "1" => Some("true"),
        "false" | "no" | "n" | "0" => Some("false"),
        _ => None,
    }
}

impl FieldRules {
    /// The value trimmed, in NFC and with its blanks collapsed if the rules say so; `None` for a
    /// blank one.
    pub(crate) fn spelled<'a>(&self, value: &'a str) -> Option<Cow<'a, str>> {
        let value = text::normalise(value)?;
        Some(match value {
            Cow::Borrowed(value) if self.collapse => collapsed(value),
            Cow::Owned(value) if self.collapse => Cow::Owned(collapsed(&value).into_owned()),
            Cow::Borrowed(_) | Cow::Owned(_) => value,
        })
    }

    /// Whether values are read as another type than text.
    pub(crate) fn is_typed(&self) -> bool {
        self.kind != Kind::Text
    }

    /// What a text is compared by.
    pub(crate) fn key_of(&self, spelling: &str) -> String {
        let folded = if self.casefold {
            Cow::Owned(folded(spelling))
        } else {
            Cow::Borrowed(spelling)
        };
        if self.separators {
            separated(&folded).into_owned()
        } else {
            folded.into_owned()
        }
    }

    pub(crate) fn index_targets(&mut self) {
        let mut targets: BTreeMap<String, String> = BTreeMap::new();
        for target in self.values.values() {
            let key = self.key_of(target);
            let place = targets.entry(key).or_insert_with(|| target.clone());
            if *target < *place {
                place.clone_from(target);
            }
        }
        self.targets = targets;
    }

    /// The target that has this key.
    pub(crate) fn target(&self, key: &str) -> Option<&str> {
        self.targets.get(key).map(String::as_str)
    }

    /// What the rules make of a value; `None` when it means no value.
    pub(crate) fn apply<'a>(&'a self, value: &'a str) -> Option<Applied<'a>> {
        let mut spelling = self.spelled(value)?;
        if !self.null.is_empty() && self.null.contains(&folded(&spelling)) {
            return None;
        }
        if !self.values.is_empty()
            && let Some(target) = self.values.get(&self.key_of(&spelling))
        {
            spelling = Cow::Borrowed(target);
        }
        Some(self.typed(spelling))
    }

    /// What a value is as the field's type.
    pub(super) fn typed<'a>(&'a self, spelling: Cow<'a, str>) -> Applied<'a> {
        let typed = match &self.kind {
            Kind::Text => {
                let key = self.key_of(&spelling);
                let can_differ = self.casefold || self.separators;
                return Applied {
                    tag: Tag::Text,
                    key: Cow::Owned(key),
                    spelling: can_differ.then_some(spelling),
                    unparsed: false,
                };
            }
            Kind::Boolean => {
                boolean(&spelling).map(|value| Applied::typed(Tag::Boolean, Cow::Borrowed(value)))
            }
            Kind::Number { decimal } => Number::parse(&spelling, *decimal)
                .map(|number| Applied::typed(Tag::Number, Cow::Owned(number.to_string()))),
            Kind::Bins {
                decimal,
                edges,
                labels,
            } => Number::parse(&spelling, *decimal).and_then(|number| {
                let label = labels.get(edges.partition_point(|edge| *edge <= number))?;
                Some(Applied::typed(Tag::Bin, Cow::Borrowed(label)))
            }),
        };
        typed.unwrap_or(Applied::unparsed(spelling))
    }

    /// One text for the rules, equal exactly when they are: the order of lists and the choice of
    /// equal spellings make no difference.
    pub(crate) fn canonical(&self) -> serde_json::Value {
        let kind = match &self.kind {
            Kind::Text => serde_json::json!("text"),
            Kind::Boolean => serde_json::json!("boolean"),
            Kind::Number { decimal } => serde_json::json!(["number", decimal]),
            Kind::Bins {
                decimal,
                edges,
                labels,
            } => {
                let edges: Vec<String> = edges.iter().map(Number::to_string).collect();
                serde_json::json!(["bins", decimal, edges, labels])
            }
        };
        serde_json::json!([
            self.collapse,
            self.casefold,
            self.separators,
            self.null,
            self.values.iter().collect::<Vec<_>>(),
            kind,
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::segment::SegmentBy;

    fn field(declared: &Value) -> SegmentBy {
        SegmentBy::declare(serde_json::from_value(json!([declared])).unwrap()).unwrap()
    }

    #[test]
    fn blanks_are_collapsed_only_if_the_rules_say_so() {
        for (normalise, plain, decomposed) in [
            ("collapse_spaces", "a b", "\u{e9} b"),
            ("casefold", "a  b", "\u{e9}  b"),
        ] {
            let segment_by = field(&json!({ "field": "a", "normalise": [normalise] }));
            let rules = segment_by.sorted_fields()[0].1.unwrap();
            assert_eq!(rules.spelled(" a  b ").unwrap(), plain);
            assert_eq!(rules.spelled("e\u{301}  b").unwrap(), decomposed);
            assert_eq!(rules.spelled("  "), None);
        }
    }

    #[test]
    fn of_targets_that_are_equal_the_first_in_code_point_order_is_shown() {
        for values in [
            json!({ "x": "DE", "y": "de" }),
            json!({ "x": "de", "y": "DE" }),
        ] {
            let declared = json!({ "field": "a", "normalise": ["casefold"], "values": values });
            let segment_by = field(&declared);
            let rules = segment_by.sorted_fields()[0].1.unwrap();
            assert_eq!(rules.target("de"), Some("DE"));
        }
    }
}
