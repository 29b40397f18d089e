//! What the values of a group's segments have in common with those of approved messages.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use crate::error::StoreError;
use crate::rules::{Applied, FieldRules, Tag, alike, applied_again};
use crate::segment::{Attributes, Segment, SegmentBy, SegmentKey};

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

/// What a value is, by its type and key.
type Identity = (Tag, String);

#[derive(Debug)]
struct Seen {
    /// How segments show it.
    shown: String,
    /// The number of its identity in the field.
    no: usize,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    rules: Option<&'a FieldRules>,
    /// The numbers of identities.
    numbers: HashMap<Identity, usize>,
    /// The number of what each attribute is; `None` for no value.
    known: HashMap<String, Option<usize>>,
    /// Whether a message to reuse has the value, by its number.
    approved: Vec<bool>,
    /// Approved values by the form in which spellings make no difference.
    alike: HashMap<Identity, Seen>,
    /// The group's values with their customers, by their number.
    values: BTreeMap<usize, (String, i64)>,
    /// What the values of the group that are not approved look like.
    looks: HashMap<usize, Option<usize>>,
}

/// Compares a group's segments with the segments of messages to reuse. First comes every one of the
/// latter, then every one of the former. Its size is that of the distinct values, and of the keys of
/// the messages' segments.
#[derive(Debug)]
pub struct Survey<'a> {
    fields: Vec<Field<'a>>,
    keys: HashSet<SegmentKey>,
    combinations: HashSet<Vec<Option<usize>>>,
    single_customer_segments: u32,
    needless: u32,
}

/// A text that is borrowed where JSON has it without escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Field<'_> {
    fn applied<'v>(&'v self, value: &'v str) -> Option<Applied<'v>> {
        applied_again(self.rules, value)
    }

    /// The number of what an attribute is.
    fn number(&mut self, value: &str) -> Option<usize> {
        if let Some(known) = self.known.get(value) {
            return *known;
        }
        let identity = self
            .applied(value)
            .map(|applied| (applied.tag, applied.key.into_owned()));
        let no = identity.map(|identity| {
            let next = self.numbers.len();
            let no = *self.numbers.entry(identity).or_insert(next);
            if no == next {
                self.approved.push(false);
            }
            no
        });
        self.known.insert(value.to_owned(), no);
        no
    }

    /// The form of a value in which spellings make no difference.
    fn form(&self, value: &str) -> Option<Identity> {
        let applied = self.applied(value)?;
        match applied.tag {
            Tag::Number | Tag::Bin | Tag::Boolean => Some((applied.tag, applied.key.into_owned())),
            Tag::Text => Some(alike(value, self.rules)),
        }
    }

    fn approve(&mut self, value: &str) -> Option<usize> {
        let no = self.number(value)?;
        let approved = self.approved.get_mut(no)?;
        if !*approved {
            *approved = true;
            if let Some(form) = self.form(value) {
                let shown = value.to_owned();
                let seen = Seen { shown, no };
                match self.alike.get(&form) {
                    Some(other) if other.shown <= seen.shown => {}
                    Some(_) | None => {
                        self.alike.insert(form, seen);
                    }
                }
            }
        }
        Some(no)
    }

    /// The number of the value, and of the approved value that it is or looks like.
    fn meet(&mut self, value: &str, customers: i64) -> Option<(usize, Option<usize>)> {
        let no = self.number(value)?;
        self.values
            .entry(no)
            .or_insert_with(|| (value.to_owned(), 0))
            .1 += customers;
        if self.approved.get(no) == Some(&true) {
            return Some((no, Some(no)));
        }
        if let Some(looks) = self.looks.get(&no) {
            return Some((no, *looks));
        }
        let looks = self
            .form(value)
            .and_then(|form| Some(self.alike.get(&form)?.no));
        self.looks.insert(no, looks);
        Some((no, looks))
    }

    fn report(&self) -> FieldReport {
        let unseen = self
            .values
            .iter()
            .filter(|(no, _)| self.approved.get(**no) != Some(&true));
        let mut unseen: Vec<_> = unseen
            .map(|(_, (value, customers))| (value, *customers))
            .collect();
        unseen.sort_unstable_by(|(one, customers), (other, more)| {
            more.cmp(customers).then_with(|| one.cmp(other))
        });
        unseen.truncate(Survey::MAX_UNSEEN);
        let unseen = unseen.into_iter().map(|(value, customers)| UnseenValue {
            value: value.clone(),
            customers,
            looks_like: self
                .form(value)
                .and_then(|form| Some(self.alike.get(&form)?.shown.clone())),
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
        let mut fields: Vec<Field<'a>> = segment_by
            .ruled_fields()
            .map(|(name, rules)| Field {
                name,
                rules,
                numbers: HashMap::new(),
                known: HashMap::new(),
                approved: Vec::new(),
                alike: HashMap::new(),
                values: BTreeMap::new(),
                looks: HashMap::new(),
            })
            .collect();
        fields.sort_unstable_by_key(|field| field.name);
        Self {
            fields,
            keys: HashSet::new(),
            combinations: HashSet::new(),
            single_customer_segments: 0,
            needless: 0,
        }
    }

    /// Adds the segment of a message that may be reused.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless the attributes are an object of texts.
    pub fn add_reusable(
        &mut self,
        key: SegmentKey,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let values = read(attributes)?;
        let fields = self.fields.iter_mut();
        let combination = fields
            .map(|field| field.approve(value(&values, field.name)?))
            .collect();
        self.combinations.insert(combination);
        self.keys.insert(key);
        Ok(())
    }

    /// Adds a segment of the group.
    ///
    /// # Errors
    /// As [`Survey::add_reusable`].
    pub fn add_segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        let values = read(&segment.attributes)?;
        self.single_customer_segments += u32::from(segment.customer_count == 1);
        let met = self.fields.iter_mut().map(|field| {
            value(&values, field.name).and_then(|value| field.meet(value, segment.customer_count))
        });
        let met: Vec<_> = met.collect();
        if self.keys.contains(&segment.key) {
            return Ok(());
        }
        // A value that looks like none has no number that an approved one has.
        let combination: Vec<Option<usize>> = met
            .into_iter()
            .map(|met| met.map(|(no, looks)| looks.unwrap_or(no)))
            .collect();
        self.needless += u32::from(self.combinations.contains(&combination));
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

type Values<'a> = BTreeMap<Text<'a>, Option<Text<'a>>>;

fn read(attributes: &Attributes) -> Result<Values<'_>, StoreError> {
    serde_json::from_str(attributes.as_json())
        .map_err(|error| StoreError::corrupt(format!("attributes of a segment: {error}")))
}

fn value<'a>(values: &'a Values<'_>, name: &'a str) -> Option<&'a str> {
    Some(&values.get(&Text(Cow::Borrowed(name)))?.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
            survey
                .add_reusable(segment_by.key(row.iter().copied()), &attributes(&row))
                .unwrap();
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
