//! Reads the attributes of segments again under changed value rules.
//!
//! An attribute is a text, but it is not a customer's value: a number has its decimal mark as `.`,
//! a label stands for a range, and the target of a map may be a text that means no value when a
//! customer has it. The rules that produced an attribute determine its type. Other rules need
//! [`AttributeTypes`] for that.

use std::borrow::Cow;

use super::apply::{Applied, FieldRules, Kind, Tag};
use super::number::Number;

/// What one attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttributeType {
    tag: Tag,
    /// Whether a customer's value that is spelled like the attribute was another value, or none, to the
    /// rules that made the attribute.
    is_no_value: bool,
}

/// What the attributes of a segment are, in the order of the fields' names. They are the same
/// whatever the rules of the campaign are later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeTypes(Vec<Option<AttributeType>>);

/// What an attribute is added for that no customer's value is.
const NO_VALUE: u8 = 0x10;

impl AttributeType {
    const fn byte(self) -> u8 {
        let tag = self.tag.byte();
        if self.is_no_value {
            tag | NO_VALUE
        } else {
            tag
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let tags = [Tag::Text, Tag::Number, Tag::Boolean, Tag::Bin];
        let tag = tags
            .into_iter()
            .find(|tag| tag.byte() == byte & !NO_VALUE)?;
        Some(Self {
            tag,
            is_no_value: byte & NO_VALUE != 0,
        })
    }

    /// What an attribute of this tag is that these rules made.
    fn of(rules: Option<&FieldRules>, tag: Tag, attribute: &str) -> Self {
        let is_no_value = rules.is_some_and(|rules| {
            let reread = match tag {
                Tag::Bin => return false,
                Tag::Text | Tag::Number | Tag::Boolean => rules
                    .apply(&rules.marked(tag, attribute))
                    .map(Applied::into_identity),
            };
            reread != Some((tag, made_key(Some(rules), tag, attribute).into_owned()))
        });
        Self { tag, is_no_value }
    }
}

impl AttributeTypes {
    /// Takes back what [`AttributeTypes::to_bytes`] gave. `None` for other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let types = bytes.iter().map(|byte| match byte {
            0 => Some(None),
            byte => AttributeType::from_byte(*byte).map(Some),
        });
        types.collect::<Option<_>>().map(Self)
    }

    /// One byte for each field, as a store keeps them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = self
            .0
            .iter()
            .map(|kept| kept.map_or(0, AttributeType::byte));
        bytes.collect()
    }

    /// What attributes are that rules made. Where the rules leave two possibilities, `is_made` is asked
    /// with the type of each attribute.
    pub(crate) fn made(
        attributes: &[Made<'_>],
        is_made: impl FnMut(&[Option<Tag>]) -> bool,
    ) -> Self {
        let possible: Vec<Option<Possible>> = attributes
            .iter()
            .map(|made| Some(possible(made.rules, made.attribute?)))
            .collect();
        let types = attributes
            .iter()
            .zip(chosen(&possible, is_made))
            .map(|(made, tag)| Some(AttributeType::of(made.rules, tag?, made.attribute?)));
        Self(types.collect())
    }

    /// What the attribute is whose field has this place among the names.
    pub(crate) fn at(&self, place: usize) -> Option<AttributeType> {
        self.0.get(place).copied().flatten()
    }
}

/// What a field's rules make of an attribute that they, or others before them, made.
pub(crate) fn applied_again<'a>(
    rules: Option<&'a FieldRules>,
    kept: Option<AttributeType>,
    attribute: &'a str,
) -> Option<Applied<'a>> {
    match (rules, kept) {
        (None, _) => Some(Applied::plain(attribute)),
        // It came with an attribute, and there is none: nothing is known of it.
        (Some(rules), None) => rules.apply(attribute),
        (Some(rules), Some(kept)) => rules.reread(kept, attribute),
    }
}

/// An attribute of a segment, and the rules of its field, which made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) name: &'a str,
    pub(crate) rules: Option<&'a FieldRules>,
    pub(crate) attribute: Option<&'a str>,
}

impl<'a> Made<'a> {
    /// What the attribute is compared by if it is of this type.
    pub(crate) fn key(&self, tag: Tag) -> Option<Cow<'a, str>> {
        Some(made_key(self.rules, tag, self.attribute?))
    }
}

/// What an attribute may be: one type, or one of two.
pub(crate) type Possible = (Tag, Option<Tag>);

/// What an attribute may be that these rules made: two if they leave a text as it is that is
/// spelled like a value of their type.
pub(crate) fn possible(rules: Option<&FieldRules>, attribute: &str) -> Possible {
    let Some(rules) = rules else {
        return (Tag::Text, None);
    };
    let typed = match &rules.kind {
        Kind::Text => None,
        Kind::Boolean => matches!(attribute, "true" | "false").then_some(Tag::Boolean),
        Kind::Number { .. } => is_number(attribute).then_some(Tag::Number),
        Kind::Bins { labels, .. } => {
            let is_label = labels.iter().any(|label| label == attribute);
            is_label.then_some(Tag::Bin)
        }
    };
    match typed {
        None => (Tag::Text, None),
        Some(tag) => {
            let stays_text = rules.typed(Cow::Borrowed(attribute)).tag == Tag::Text;
            (tag, stays_text.then_some(Tag::Text))
        }
    }
}

/// The types of a segment's attributes, of those that are possible. If some are open, the first choice is
/// taken that `is_made` confirms.
pub(crate) fn chosen(
    possible: &[Option<Possible>],
    mut is_made: impl FnMut(&[Option<Tag>]) -> bool,
) -> Vec<Option<Tag>> {
    let open: Vec<usize> = possible
        .iter()
        .enumerate()
        .filter_map(|(place, possible)| possible.as_ref()?.1.map(|_| place))
        .collect();
    let choose = |choice: usize| -> Vec<Option<Tag>> {
        let chosen = possible.iter().enumerate().map(|(place, possible)| {
            let (first, second) = (*possible)?;
            let bit = open.iter().position(|open| *open == place);
            let takes_second = bit.is_some_and(|bit| (choice >> bit) & 1 == 1);
            second.filter(|_| takes_second).or(Some(first))
        });
        chosen.collect()
    };
    let choices = 1_usize << open.len();
    let choice = (0..choices)
        .filter(|_| choices > 1)
        .find(|choice| is_made(&choose(*choice)));
    choose(choice.unwrap_or(0))
}

/// Whether an attribute is spelled as numbers are in attributes.
fn is_number(attribute: &str) -> bool {
    Number::parse(attribute, '.').is_some_and(|number| number.to_string() == attribute)
}

/// What an attribute of this type is compared by under the rules that made it.
fn made_key<'a>(rules: Option<&FieldRules>, tag: Tag, attribute: &'a str) -> Cow<'a, str> {
    match rules.filter(|rules| tag == Tag::Text && rules.kind == Kind::Text) {
        Some(rules) => Cow::Owned(rules.key_of(attribute)),
        None => Cow::Borrowed(attribute),
    }
}

impl FieldRules {
    /// The attribute as customers would have it who spell numbers as these rules say.
    fn marked<'a>(&self, tag: Tag, attribute: &'a str) -> Cow<'a, str> {
        match &self.kind {
            Kind::Number { decimal } | Kind::Bins { decimal, .. }
                if tag == Tag::Number && *decimal != '.' =>
            {
                Cow::Owned(attribute.replace('.', decimal.encode_utf8(&mut [0; 4])))
            }
            Kind::Text | Kind::Boolean | Kind::Number { .. } | Kind::Bins { .. } => {
                Cow::Borrowed(attribute)
            }
        }
    }

    /// What the rules make of an attribute that they, or others before them, gave a segment.
    fn reread<'a>(&'a self, kept: AttributeType, attribute: &'a str) -> Option<Applied<'a>> {
        if kept.tag == Tag::Bin {
            match &self.kind {
                Kind::Text => {}
                Kind::Bins { labels, .. } if labels.iter().any(|label| label == attribute) => {
                    return Some(Applied::typed(Tag::Bin, Cow::Borrowed(attribute)));
                }
                // A range may have a name that looks like a number: the range `2` is not the number 2.
                Kind::Boolean | Kind::Number { .. } | Kind::Bins { .. } => {
                    return Some(Applied::unparsed(Cow::Borrowed(attribute)));
                }
            }
        }
        match self.marked(kept.tag, attribute) {
            Cow::Borrowed(value) if kept.is_no_value => Some(self.typed(Cow::Borrowed(value))),
            Cow::Borrowed(value) => self.apply(value),
            Cow::Owned(value) if kept.is_no_value => Some(self.typed(Cow::Owned(value))),
            Cow::Owned(value) => self.apply(&value).map(Applied::into_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::segment::SegmentBy;

    fn field(declared: &Value) -> SegmentBy {
        SegmentBy::declare(serde_json::from_value(json!([declared])).unwrap()).unwrap()
    }

    #[test]
    fn an_attribute_may_be_what_its_rules_make_and_a_text_that_looks_like_it() {
        let number = json!({ "field": "a", "type": "number" });
        let comma = json!({ "field": "a", "type": "number", "decimal": "," });
        let boolean = json!({ "field": "a", "type": "boolean" });
        let bins = json!({ "field": "a", "type": "number", "bins": [10], "labels": ["low", "2"] });
        let text = Some(Tag::Text);
        for (declared, attribute, expected) in [
            (json!("a"), "5", (Tag::Text, None)),
            (
                json!({ "field": "a", "normalise": ["casefold"] }),
                "5",
                (Tag::Text, None),
            ),
            (number.clone(), "5", (Tag::Number, None)),
            (number.clone(), "5.0", (Tag::Text, None)),
            (number, "five", (Tag::Text, None)),
            (comma, "1.5", (Tag::Number, text)),
            (boolean.clone(), "true", (Tag::Boolean, None)),
            (boolean, "maybe", (Tag::Text, None)),
            (bins.clone(), "low", (Tag::Bin, text)),
            (bins.clone(), "2", (Tag::Bin, None)),
            (bins, "high", (Tag::Text, None)),
        ] {
            let segment_by = field(&declared);
            let (_, rules) = segment_by.sorted_fields()[0];
            assert_eq!(
                possible(rules, attribute),
                expected,
                "{declared} {attribute}"
            );
        }
    }

    #[test]
    fn of_what_attributes_may_be_the_first_choice_that_is_confirmed_counts() {
        let open = Some((Tag::Number, Some(Tag::Text)));
        let closed = Some((Tag::Bin, None));
        let (number, bin, text) = (Some(Tag::Number), Some(Tag::Bin), Some(Tag::Text));
        let possible = [open, None, closed, open];
        for choice in [
            [number, None, bin, number],
            [text, None, bin, number],
            [number, None, bin, text],
            [text, None, bin, text],
        ] {
            assert_eq!(chosen(&possible, |tags| tags == choice), choice);
        }
        let one_text = |tags: &[Option<Tag>]| tags.contains(&text);
        assert_eq!(chosen(&possible, one_text), [text, None, bin, number]);
        assert_eq!(chosen(&possible, |_| false), [number, None, bin, number]);
        let asked = |_: &[Option<Tag>]| panic!("nothing is open");
        assert_eq!(chosen(&[closed, None], asked), [bin, None]);
    }

    #[test]
    fn a_text_alone_is_compared_as_its_rules_say() {
        let segment_by = field(&json!({ "field": "a", "normalise": ["casefold"] }));
        let (_, rules) = segment_by.sorted_fields()[0];
        assert_eq!(made_key(rules, Tag::Text, "DE"), "de");
        assert_eq!(made_key(rules, Tag::Bin, "DE"), "DE");
        assert_eq!(made_key(None, Tag::Text, "DE"), "DE");
    }
}
