//! Numbers the values of segments: values that are equal in segment keys have the same number.

use std::collections::HashMap;

use crate::rules::{
    AttributeType, FieldRules, Made, Possible, Tag, applied_again, chosen, possible,
};
use crate::segment::{SegmentBy, SegmentKey, SegmentValues, Values};

/// What a value is, by its type and key.
pub(crate) type Identity = (Tag, String);

/// How an attribute is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As one of this type that the rules of now made.
    Made(Tag),
    /// As one of which a change of rules kept this.
    Kept(Option<AttributeType>),
}

/// The number of what an attribute is in its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) no: usize,
    /// What it is, when the field has the attribute for the first time.
    pub(crate) new: Option<Identity>,
}

/// The numbers of attributes that are read in one way; `None` for no value.
type Known = HashMap<String, Option<usize>>;

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    rules: Option<&'a FieldRules>,
    /// What each attribute may be that the rules of now made.
    possible: HashMap<String, Possible>,
    /// Attributes are read in a few ways at most, most often in one.
    known: Vec<(Reading, Known)>,
    numbers: HashMap<Identity, usize>,
}

/// Numbers the values of segments, in the order of [`SegmentBy::sorted`]. Its size is that of the
/// distinct values.
#[derive(Debug)]
pub(crate) struct Numbering<'a> {
    fields: Vec<Field<'a>>,
    has_types: bool,
}

impl Field<'_> {
    fn possible(&mut self, attribute: &str) -> Possible {
        if !self.rules.is_some_and(FieldRules::is_typed) {
            return (Tag::Text, None);
        }
        if let Some(known) = self.possible.get(attribute) {
            return *known;
        }
        let possible = possible(self.rules, attribute);
        self.possible.insert(attribute.to_owned(), possible);
        possible
    }

    const fn made<'v>(&'v self, attribute: Option<&'v str>) -> Made<'v> {
        Made {
            name: self.name,
            rules: self.rules,
            attribute,
        }
    }

    fn identity(&self, reading: Reading, attribute: &str) -> Option<Identity> {
        match reading {
            Reading::Made(tag) => {
                let key = self.made(Some(attribute)).key(tag)?;
                Some((tag, key.into_owned()))
            }
            Reading::Kept(kept) => {
                let applied = applied_again(self.rules, kept, attribute)?;
                Some(applied.into_identity())
            }
        }
    }

    fn number(&mut self, reading: Reading, attribute: &str) -> Option<Numbered> {
        let place = self.known.iter().position(|(known, _)| *known == reading);
        let place = place.unwrap_or_else(|| {
            self.known.push((reading, Known::new()));
            self.known.len() - 1
        });
        let known = self
            .known
            .get(place)
            .and_then(|(_, known)| known.get(attribute));
        if let Some(no) = known {
            return no.map(|no| Numbered { no, new: None });
        }
        let new = self.identity(reading, attribute);
        let no = new.as_ref().map(|identity| {
            let next = self.numbers.len();
            *self.numbers.entry(identity.clone()).or_insert(next)
        });
        if let Some((_, known)) = self.known.get_mut(place) {
            known.insert(attribute.to_owned(), no);
        }
        no.map(|no| Numbered { no, new })
    }
}

impl<'a> Numbering<'a> {
    pub(crate) fn new(segment_by: &'a SegmentBy) -> Self {
        let fields: Vec<Field<'a>> = segment_by
            .sorted_fields()
            .into_iter()
            .map(|(name, rules)| Field {
                name,
                rules,
                possible: HashMap::new(),
                known: Vec::new(),
                numbers: HashMap::new(),
            })
            .collect();
        let typed = |field: &Field<'_>| field.rules.is_some_and(FieldRules::is_typed);
        Self {
            has_types: fields.iter().any(typed),
            fields,
        }
    }

    /// The names of the fields with their rules.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, Option<&'a FieldRules>)> {
        self.fields.iter().map(|field| (field.name, field.rules))
    }

    /// The numbers of a segment's values; `None` for no value.
    pub(crate) fn numbers(
        &mut self,
        segment: SegmentValues<'_>,
        values: &Values<'_>,
    ) -> Vec<Option<Numbered>> {
        let tags = match segment.types {
            None if self.has_types => self.tags(segment.key, values),
            Some(_) | None => Vec::new(),
        };
        let fields = self.fields.iter_mut().enumerate();
        let numbers = fields.map(|(place, field)| {
            let reading = match segment.types {
                Some(types) => Reading::Kept(types.at(place)),
                None => Reading::Made(tags.get(place).copied().flatten().unwrap_or(Tag::Text)),
            };
            field.number(reading, values.get(field.name)?)
        });
        numbers.collect()
    }

    /// The types of the values of a segment with this key that the rules of now made.
    fn tags(&mut self, key: SegmentKey, values: &Values<'_>) -> Vec<Option<Tag>> {
        let possible: Vec<Option<Possible>> = self
            .fields
            .iter_mut()
            .map(|field| Some(field.possible(values.get(field.name)?)))
            .collect();
        chosen(&possible, |tags| {
            let fields = self.fields.iter();
            let made: Vec<Made<'_>> = fields
                .map(|field| field.made(values.get(field.name)))
                .collect();
            SegmentKey::of_made(&made, tags) == key
        })
    }
}
