//! The segments of a group, counted from the distinct combinations of its customers' values.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::rules::{Applied, FieldRules, Tag, applied};
use crate::segment::{Attributes, FieldValues, Segment, SegmentBy, SegmentKey};

/// A value after the rules.
#[derive(Debug)]
struct Part {
    tag: Tag,
    key: String,
}

/// What a value of a customer is after the rules.
#[derive(Debug, Clone)]
struct Known {
    part: usize,
    /// How it is spelled, if that can differ from the key.
    spelling: Option<String>,
    unparsed: bool,
    customers: i64,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    rules: Option<&'a FieldRules>,
    /// What became of each value; `None` for one that means no value.
    known: HashMap<String, Option<Known>>,
    parts: Vec<Part>,
    numbers: HashMap<(Tag, String), usize>,
    values: FieldValues,
}

impl Field<'_> {
    /// The number of what the value is after the rules.
    fn part(&mut self, value: Option<&str>, customers: i64) -> Option<usize> {
        let value = value?;
        if !self.known.contains_key(value) {
            let known = self.learn(value);
            self.known.insert(value.to_owned(), known);
        }
        let known = self.known.get_mut(value)?.as_mut()?;
        known.customers += customers;
        self.values.add(Some(value), customers);
        if known.unparsed {
            self.values.unparsed += customers;
        }
        Some(known.part)
    }

    fn learn(&mut self, value: &str) -> Option<Known> {
        let Applied {
            tag,
            key,
            spelling,
            unparsed,
        } = applied(self.rules, Some(value))?;
        let spelling = spelling.map(Cow::into_owned);
        let next = self.parts.len();
        let part = *self.numbers.entry((tag, key.to_string())).or_insert(next);
        if part == next {
            let key = key.into_owned();
            self.parts.push(Part { tag, key });
        }
        Some(Known {
            part,
            spelling,
            unparsed,
            customers: 0,
        })
    }

    /// How each value is shown: as the target that has its key, else in its most common spelling,
    /// of several the first in code-point order.
    fn attributes(&self) -> Vec<&str> {
        let mut spellings: HashMap<(usize, &str), i64> = HashMap::new();
        for known in self.known.values().flatten() {
            if let Some(spelling) = &known.spelling {
                *spellings.entry((known.part, spelling)).or_default() += known.customers;
            }
        }
        let mut common: Vec<Option<(i64, &str)>> = vec![None; self.parts.len()];
        for ((part, spelling), customers) in spellings {
            if let Some(place) = common.get_mut(part)
                && place.is_none_or(|(most, first)| {
                    customers > most || (customers == most && spelling < first)
                })
            {
                *place = Some((customers, spelling));
            }
        }
        let shown = self.parts.iter().zip(common).map(|(part, common)| {
            let rules = self.rules.filter(|_| part.tag == Tag::Text);
            let target = rules.and_then(|rules| rules.target(&part.key));
            target
                .or(common.map(|(_, spelling)| spelling))
                .unwrap_or(&part.key)
        });
        shown.collect()
    }
}

/// Counts segments by value rules from the distinct combinations of values that a group's customers
/// have. Its size is that of these combinations.
#[derive(Debug)]
pub struct Counting<'a> {
    fields: Vec<Field<'a>>,
    limit: usize,
    combinations: usize,
    most_combinations: usize,
    /// Customers by what each field's value is after the rules.
    segments: HashMap<Vec<Option<usize>>, i64>,
}

/// The segments of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The segments, ordered by key. With more than the limit there is at least one more.
    pub segments: Vec<Segment>,
    /// What the customers have in each field, in the order of [`SegmentBy::sorted`].
    pub fields: Vec<FieldValues>,
}

impl Counted {
    /// Whether no run can have the segments because there are too many of them, or of combinations
    /// of values before the rules.
    #[must_use]
    pub fn is_too_much(&self, limit: u32) -> bool {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.segments.len() > limit || self.fields.iter().any(|field| field.too_many)
    }
}

impl<'a> Counting<'a> {
    /// How many times the most segments of a run is the most distinct combinations of values before
    /// the rules.
    pub const COMBINATIONS_PER_SEGMENT: u32 = 10;

    /// Counts segments of which up to `limit` are of interest.
    #[must_use]
    pub fn new(segment_by: &'a SegmentBy, limit: u32) -> Self {
        let mut fields: Vec<Field<'a>> = segment_by
            .ruled_fields()
            .map(|(name, rules)| Field {
                name,
                rules,
                known: HashMap::new(),
                parts: Vec::new(),
                numbers: HashMap::new(),
                values: FieldValues::default(),
            })
            .collect();
        fields.sort_unstable_by_key(|field| field.name);
        Self {
            fields,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            combinations: 0,
            most_combinations: usize::try_from(Self::most_combinations(limit))
                .unwrap_or(usize::MAX),
            segments: HashMap::new(),
        }
    }

    /// The most distinct combinations of values before the rules, for a run of up to `limit`
    /// segments.
    #[must_use]
    pub const fn most_combinations(limit: u32) -> u32 {
        limit.saturating_mul(Self::COMBINATIONS_PER_SEGMENT)
    }

    /// Adds the customers that have these values: one for each field, in the order of
    /// [`SegmentBy::sorted`], as [`FieldValues::counted`] gives them.
    pub fn add<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v str>>, customers: i64) {
        self.combinations += 1;
        let fields = self.fields.iter_mut().zip(values);
        let parts: Vec<Option<usize>> = fields
            .map(|(field, value)| field.part(value, customers))
            .collect();
        if let Some(count) = self.segments.get_mut(&parts) {
            *count += customers;
        } else if self.segments.len() <= self.limit {
            self.segments.insert(parts, customers);
        }
    }

    /// What was counted. With more than [`Counting::most_combinations`], the field with the most
    /// different values has too many.
    #[must_use]
    pub fn finish(self) -> Counted {
        let mut fields: Vec<FieldValues> = self.fields.iter().map(|field| field.values).collect();
        let most = self.most_combinations;
        if self.combinations > most {
            let values = self.fields.iter().map(|field| field.known.len());
            let widest = values.enumerate().max_by_key(|(_, values)| *values);
            if let Some(field) = widest.and_then(|(place, _)| fields.get_mut(place)) {
                field.too_many = true;
            }
        }
        let shown: Vec<Vec<&str>> = self.fields.iter().map(Field::attributes).collect();
        let named = |parts: &[Option<usize>]| {
            let fields = self.fields.iter().zip(&shown).zip(parts);
            let named = fields.map(|((field, shown), part)| {
                let value = part.and_then(|part| Some((field.parts.get(part)?, *shown.get(part)?)));
                (field.name, value)
            });
            named.collect::<Vec<_>>()
        };
        let mut segments: Vec<Segment> = self
            .segments
            .iter()
            .map(|(parts, customers)| {
                let named = named(parts);
                let key = named.iter().map(|(name, value)| {
                    (*name, value.map(|(part, _)| (part.tag, part.key.as_str())))
                });
                let attributes = named
                    .iter()
                    .map(|(name, value)| (*name, value.map(|(_, shown)| shown)));
                Segment {
                    key: SegmentKey::of_typed(key),
                    attributes: Attributes::new(attributes),
                    customer_count: *customers,
                }
            })
            .collect();
        segments.sort_unstable_by_key(|segment| segment.key);
        Counted { segments, fields }
    }
}

#[cfg(test)]
mod tests;
