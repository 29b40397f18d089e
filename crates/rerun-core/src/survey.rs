//! Compares the values of a group's segments with those of approved messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::StoreError;
use crate::numbering::{Identity, Numbered, Numbering};
use crate::rules::{FieldRules, Tag, alike};
use crate::segment::{Segment, SegmentBy, SegmentKey, SegmentValues};

/// A value of a group that no message to reuse has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnseenValue {
    /// The value, as segments show it.
    pub value: String,
    /// How many customers have it.
    pub customers: i64,
    /// The approved value that it equals once blanks, case, separators and the form of numbers make
    /// no difference.
    pub looks_like: Option<String>,
}

/// What the values of a group are in one field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldReport {
    /// How many different values there are after the rules.
    pub distinct: u32,
    /// The values that no message to reuse has: those of most customers, at most
    /// [`Survey::MAX_UNSEEN`].
    pub unseen_values: Vec<UnseenValue>,
}

/// What a preview reports about values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueReport {
    /// How many segments have one customer.
    pub single_customer_segments: u32,
    /// How many new segments would be matched if every value were declared equal to the approved
    /// one that it looks like.
    pub needless: u32,
    /// The fields, in the order of [`SegmentBy::sorted`].
    pub fields: Vec<FieldReport>,
}

/// An approved value.
#[derive(Debug)]
struct Seen {
    /// How segments show it.
    shown: String,
    /// Its number.
    no: usize,
}

/// A value of the group.
#[derive(Debug)]
struct Met {
    /// How segments show it.
    shown: String,
    customers: i64,
    /// The form in which spellings make no difference, unless it is approved.
    form: Option<Identity>,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    rules: Option<&'a FieldRules>,
    /// Whether a message to reuse has the value, by its number.
    approved: Vec<bool>,
    /// Approved values by the form in which spellings make no difference.
    alike: HashMap<Identity, Seen>,
    /// The group's values, by their number.
    values: BTreeMap<usize, Met>,
}

/// Compares a group's segments with the segments of messages to reuse. First comes every one of the
/// latter, then every one of the former. Its size is that of the distinct values, and of the keys of
/// the messages' segments.
#[derive(Debug)]
pub struct Survey<'a> {
    numbering: Numbering<'a>,
    fields: Vec<Field<'a>>,
    keys: HashSet<SegmentKey>,
    combinations: HashSet<Vec<Option<usize>>>,
    single_customer_segments: u32,
    needless: u32,
}

impl Field<'_> {
    /// The form of a value in which spellings make no difference.
    fn form(&self, (tag, key): Identity, shown: &str) -> Identity {
        match tag {
            Tag::Number | Tag::Bin | Tag::Boolean => (tag, key),
            Tag::Text => alike(shown, self.rules),
        }
    }

    fn is_approved(&self, no: usize) -> bool {
        self.approved.get(no) == Some(&true)
    }

    fn approve(&mut self, value: Numbered, shown: &str) -> usize {
        let Numbered { no, new } = value;
        if let Some(identity) = new {
            if self.approved.len() <= no {
                self.approved.resize(no + 1, false);
            }
            if let Some(approved) = self.approved.get_mut(no) {
                *approved = true;
            }
            let form = self.form(identity, shown);
            let first = self.alike.get(&form).map(|seen| seen.shown.as_str());
            if first.is_none_or(|first| shown < first) {
                let shown = shown.to_owned();
                self.alike.insert(form, Seen { shown, no });
            }
        }
        no
    }

    /// The number of the approved value that the value is or looks like, else its own.
    fn meet(&mut self, value: Numbered, shown: &str, customers: i64) -> usize {
        let Numbered { no, new } = value;
        let is_approved = self.is_approved(no);
        let form = new.filter(|_| !is_approved);
        let form = form.map(|identity| self.form(identity, shown));
        let met = self.values.entry(no).or_insert_with(|| Met {
            shown: shown.to_owned(),
            customers: 0,
            form,
        });
        met.customers += customers;
        let looks = met.form.as_ref().and_then(|form| self.alike.get(form));
        looks.map_or(no, |seen| seen.no)
    }

    fn report(&self) -> FieldReport {
        let unseen = self.values.iter().filter(|(no, _)| !self.is_approved(**no));
        let mut unseen: Vec<_> = unseen
            .map(|(_, met)| {
                let looks = met.form.as_ref().and_then(|form| self.alike.get(form));
                (met, looks.map(|seen| seen.shown.as_str()))
            })
            .collect();
        unseen.sort_unstable_by_key(|(met, looks)| {
            (Reverse(met.customers), met.shown.as_str(), *looks)
        });
        unseen.truncate(Survey::MAX_UNSEEN);
        let unseen = unseen.into_iter().map(|(met, looks)| UnseenValue {
            value: met.shown.clone(),
            customers: met.customers,
            looks_like: looks.map(str::to_owned),
        });
        FieldReport {
            distinct: u32::try_from(self.values.len()).unwrap_or(u32::MAX),
            unseen_values: unseen.collect(),
        }
    }
}

impl<'a> Survey<'a> {
    /// The most unseen values of a field that are reported.
    pub const MAX_UNSEEN: usize = 50;

    /// Compares segments of this segmentation.
    #[must_use]
    pub fn new(segment_by: &'a SegmentBy) -> Self {
        let numbering = Numbering::new(segment_by);
        let fields = numbering.fields().map(|(name, rules)| Field {
            name,
            rules,
            approved: Vec::new(),
            alike: HashMap::new(),
            values: BTreeMap::new(),
        });
        Self {
            fields: fields.collect(),
            numbering,
            keys: HashSet::new(),
            combinations: HashSet::new(),
            single_customer_segments: 0,
            needless: 0,
        }
    }

    /// The number of each of a segment's values, as `number` has it for the field.
    fn combination(
        &mut self,
        segment: SegmentValues<'_>,
        mut number: impl FnMut(&mut Field<'a>, Numbered, &str) -> usize,
    ) -> Result<Vec<Option<usize>>, StoreError> {
        let values = segment.attributes.values()?;
        let numbers = self.numbering.numbers(segment, &values);
        let fields = self.fields.iter_mut().zip(numbers);
        let combination = fields.map(|(field, numbered)| {
            let shown = values.get(field.name)?;
            Some(number(field, numbered?, shown))
        });
        Ok(combination.collect())
    }

    /// Adds the segment of a message that may be reused.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless the attributes are an object of texts.
    pub fn add_reusable(&mut self, segment: SegmentValues<'_>) -> Result<(), StoreError> {
        let combination = self.combination(segment, Field::approve)?;
        self.combinations.insert(combination);
        self.keys.insert(segment.key);
        Ok(())
    }

    /// Adds a segment of the group.
    ///
    /// # Errors
    /// As [`Survey::add_reusable`].
    pub fn add_segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        self.single_customer_segments += u32::from(segment.customer_count == 1);
        let combination = self.combination(segment.values(), |field, value, shown| {
            field.meet(value, shown, segment.customer_count)
        })?;
        let is_new = !self.keys.contains(&segment.key);
        self.needless += u32::from(is_new && self.combinations.contains(&combination));
        Ok(())
    }

    /// What was found.
    #[must_use]
    pub fn finish(&self) -> ValueReport {
        ValueReport {
            single_customer_segments: self.single_customer_segments,
            needless: self.needless,
            fields: self.fields.iter().map(Field::report).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::segment::Attributes;

    fn report(items: Value, reusable: &[&[&str]], group: &[(&[&str], i64)]) -> ValueReport {
        let segment_by = SegmentBy::declare(serde_json::from_value(items).unwrap()).unwrap();
        let names = segment_by.sorted();
        let values = |values: &[&'static str]| -> Vec<Option<&'static str>> {
            values
                .iter()
                .map(|value| (!value.is_empty()).then_some(*value))
                .collect()
        };
        let attributes =
            |of: &[Option<&str>]| Attributes::new(names.iter().copied().zip(of.iter().copied()));
        let mut survey = Survey::new(&segment_by);
        for row in reusable {
            let row = values(&leak(row));
            let attributes = attributes(&row);
            let segment = SegmentValues {
                key: segment_by.key(row.iter().copied()),
                attributes: &attributes,
                types: None,
            };
            survey.add_reusable(segment).unwrap();
        }
        for (row, customer_count) in group {
            let row = values(&leak(row));
            let segment = Segment {
                key: segment_by.key(row.iter().copied()),
                attributes: attributes(&row),
                customer_count: *customer_count,
            };
            survey.add_segment(&segment).unwrap();
        }
        survey.finish()
    }

    fn leak(row: &[&str]) -> Vec<&'static str> {
        row.iter().map(|value| &*value.to_string().leak()).collect()
    }

    fn unseen(report: &ValueReport, field: usize) -> Vec<(&str, i64, Option<&str>)> {
        let unseen = report.fields[field].unseen_values.iter();
        unseen
            .map(|unseen| {
                (
                    unseen.value.as_str(),
                    unseen.customers,
                    unseen.looks_like.as_deref(),
                )
            })
            .collect()
    }

    #[test]
    fn unseen_values_name_the_approved_value_that_they_look_like() {
        let report = report(
            json!(["state", "term"]),
            &[
                &["New York", "36"],
                &["CA", "36"],
                &["CA", "1000.5"],
                &["", "60"],
            ],
            &[
                (&["New York", "36"], 5),
                (&["NEW_YORK", "36.0"], 1),
                (&["new – york", "term_36"], 3),
                (&["CA", "1,000.50"], 1),
                (&["Nevada", ""], 9),
                (&["", "060"], 2),
                (&["CA", "60"], 4),
            ],
        );
        assert_eq!(
            unseen(&report, 0),
            [
                ("Nevada", 9, None),
                ("new – york", 3, Some("New York")),
                ("NEW_YORK", 1, Some("New York"))
            ]
        );
        assert_eq!(
            unseen(&report, 1),
            [
                ("term_36", 3, None),
                ("060", 2, Some("60")),
                ("1,000.50", 1, Some("1000.5")),
                ("36.0", 1, Some("36"))
            ]
        );
        assert_eq!(
            report
                .fields
                .iter()
                .map(|field| field.distinct)
                .collect::<Vec<_>>(),
            [5, 6]
        );
        assert_eq!(report.single_customer_segments, 2);
        assert_eq!(
            report.needless, 3,
            "NEW_YORK/36.0, CA/1,000.50 and none/060"
        );
    }

    #[test]
    fn what_rules_make_equal_is_not_unseen() {
        let items = json!([
            { "field": "a", "normalise": ["casefold"] },
            { "field": "b", "type": "number", "bins": [10], "labels": ["low", "high"] },
            { "field": "c", "type": "number", "decimal": "," },
        ]);
        let report = report(
            items,
            &[&["DE", "low", "1.5"]],
            &[
                (&["de", "low", "1.5"], 1),
                (&["DE", "high", "1.5"], 2),
                (&["D_E", "low", "1.5"], 1),
            ],
        );
        assert_eq!(unseen(&report, 0), [("D_E", 1, None)]);
        assert_eq!(unseen(&report, 1), [("high", 2, None)]);
        assert_eq!(unseen(&report, 2), []);
        assert_eq!(
            report
                .fields
                .iter()
                .map(|field| field.distinct)
                .collect::<Vec<_>>(),
            [2, 2, 1]
        );
        assert_eq!((report.needless, report.single_customer_segments), (0, 2));
    }

    #[test]
    fn at_most_fifty_values_are_named_and_needless_counts_beyond() {
        let approved: Vec<[String; 1]> = (0..80).map(|n| [format!("V{n:02}")]).collect();
        let group: Vec<[String; 1]> = (0..80).map(|n| [format!("v{n:02}")]).collect();
        let approved: Vec<[&str; 1]> = approved.iter().map(|[v]| [v.as_str()]).collect();
        let approved: Vec<&[&str]> = approved.iter().map(|row| &row[..]).collect();
        let group: Vec<[&str; 1]> = group.iter().map(|[v]| [v.as_str()]).collect();
        let group: Vec<(&[&str], i64)> = (1..).zip(&group).map(|(n, row)| (&row[..], n)).collect();
        let report = report(json!(["x"]), &approved, &group);
        assert_eq!(report.needless, 80);
        let unseen = unseen(&report, 0);
        assert_eq!(unseen.len(), Survey::MAX_UNSEEN);
        assert_eq!(unseen[0], ("v79", 80, Some("V79")));
        assert_eq!(unseen[49], ("v30", 31, Some("V30")));
        assert_eq!(report.fields[0].distinct, 80);
    }
}
