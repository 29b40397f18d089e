//! Finds the approved message that is nearest to a new segment, and how much the fields in which
//! the two differ mattered in approved messages. It is shown to people, and never used without a
//! person's decision.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use unicase::UniCase;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::content::Content;
use crate::error::StoreError;
use crate::ids::{MessageId, RunNumber};
use crate::numbering::Numbering;
use crate::page::json_bytes;
use crate::segment::{Attributes, KeptValues, SegmentBy, SegmentKey, SegmentValues};

/// A field in which a new segment differs from the one of an approved message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// The approved message's attribute.
    pub from: Option<String>,
    /// The new segment's attribute.
    pub to: Option<String>,
}

/// What approved messages say about a field: those whose segments differ in it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// How many pairs of approved messages differ in just this field.
    pub pairs: u64,
    /// How many of them say the same once the values themselves are masked.
    pub same: u64,
}

impl Evidence {
    /// How much the field matters: the share of pairs that say something else. A field without
    /// pairs may matter in every case.
    fn cmp_mattering(&self, other: &Self) -> Ordering {
        let same = |one: &Self| {
            if one.pairs == 0 {
                (0, 1)
            } else {
                (one.same, one.pairs)
            }
        };
        let ((one_same, one_pairs), (other_same, other_pairs)) = (same(self), same(other));
        let one = u128::from(one_same) * u128::from(other_pairs);
        let other = u128::from(other_same) * u128::from(one_pairs);
        other.cmp(&one)
    }
}

/// The approved message that is nearest to a new segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// The fields in which the segments differ, in the order of the segmentation.
    pub differs: Vec<Difference>,
    /// What approved messages say about these fields: the one that mattered most.
    pub evidence: Evidence,
    /// Attributes of the approved message's segment that differ and that its text has as whole
    /// words, letter case aside.
    pub mentions: Vec<String>,
}

/// A [`Suggestion`] as the JSON object in which it is kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSuggestion(String);

impl KeptSuggestion {
    /// Takes back what [`KeptSuggestion::as_json`] gave. It is not parsed: a store is trusted with
    /// its own rows.
    #[must_use]
    pub const fn from_stored(json: String) -> Self {
        Self(json)
    }

    /// The JSON object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns the suggestion.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored text is not a suggestion.
    pub fn read(&self) -> Result<Suggestion, StoreError> {
        serde_json::from_str(&self.0)
            .map_err(|error| StoreError::corrupt(format!("messages: suggestion: {error}")))
    }
}

impl TryFrom<&Suggestion> for KeptSuggestion {
    type Error = StoreError;

    fn try_from(suggestion: &Suggestion) -> Result<Self, StoreError> {
        let json = serde_json::to_string(suggestion);
        json.map(Self)
            .map_err(|error| StoreError::Backend(error.into()))
    }
}

impl Serialize for KeptSuggestion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl Suggestion {
    /// How many bytes its texts have in JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(4, |text| json_bytes(text));
        let differs = self.differs.iter().map(|difference| {
            json_bytes(&difference.field) + text(&difference.from) + text(&difference.to)
        });
        let mentions = self.mentions.iter().map(|value| json_bytes(value));
        differs.sum::<usize>() + mentions.sum::<usize>()
    }
}

/// A message that may be reused.
#[derive(Debug, Clone, Copy)]
pub struct Reusable<'a> {
    /// The message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// How many customers it was for.
    pub customer_count: i64,
    /// Its segment's values, and its own attributes.
    pub segment: &'a KeptValues,
    /// Its content.
    pub content: &'a Content,
}

/// The number of a value or of its text within its field; 0 stands for a missing value.
type Number = u32;

/// A set of fields as bits, by their place.
type Fields = u8;

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    /// The number of each attribute as a text.
    known: HashMap<String, Number>,
    texts: Vec<String>,
    /// What is searched for in texts, by the number of the text: nothing for a missing value.
    words: Vec<String>,
    evidence: Evidence,
}

#[derive(Debug)]
struct Approved {
    message_id: MessageId,
    run_number: RunNumber,
    customer_count: i64,
    values: Vec<Number>,
    texts: Vec<Number>,
    /// The hash of its text with the own value of each field masked.
    masked: Vec<u64>,
    /// The fields whose own value its text has.
    mentions: Fields,
}

/// Finds the nearest of the messages that may be reused for new segments. First comes every one of
/// the former. Its size is that of their values, and of what it finds.
#[derive(Debug)]
pub struct Nearest<'a> {
    segment_by: &'a SegmentBy,
    numbering: Numbering<'a>,
    fields: Vec<Field<'a>>,
    approved: Vec<Approved>,
    text_bytes: usize,
    suggested_bytes: usize,
}

impl Field<'_> {
    /// The number of a text.
    fn number(&mut self, text: Option<&str>) -> Number {
        let Some(text) = text else { return 0 };
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let number = next_number(self.texts.len());
        self.texts.push(text.to_owned());
        self.words.push(Folded::of(text).text);
        self.known.insert(text.to_owned(), number);
        number
    }

    fn text(&self, number: Number) -> Option<&str> {
        let place = usize::try_from(number).ok().filter(|place| *place > 0)?;
        self.texts.get(place).map(String::as_str)
    }

    fn word(&self, number: Number) -> Option<&str> {
        let place = usize::try_from(number).ok()?;
        self.words.get(place).map(String::as_str)
    }
}

fn next_number(length: usize) -> Number {
    Number::try_from(length).unwrap_or(Number::MAX)
}

/// A text in NFC with its letter case folded, and where each byte of that comes from.
struct Folded<'a> {
    original: Cow<'a, str>,
    text: String,
    /// For each byte of the folded text, and its end, where its character begins in the original;
    /// `None` when these are the same.
    starts: Option<Vec<usize>>,
}

impl<'a> Folded<'a> {
    fn of(text: &'a str) -> Self {
        if text.is_ascii() {
            return Self {
                original: Cow::Borrowed(text),
                text: text.to_ascii_lowercase(),
                starts: None,
            };
        }
        let original = if is_nfc(text) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.nfc().collect())
        };
        let mut folded = String::with_capacity(original.len());
        let mut starts = Vec::with_capacity(original.len() + 1);
        for (start, character) in original.char_indices() {
            if character.is_ascii() {
                folded.push(character.to_ascii_lowercase());
            } else {
                let mut bytes = [0; 4];
                let character: &str = character.encode_utf8(&mut bytes);
                folded.push_str(&UniCase::unicode(character).to_folded_case());
            }
            starts.resize(folded.len(), start);
        }
        starts.push(original.len());
        Self {
            original,
            text: folded,
            starts: Some(starts),
        }
    }

    fn place(&self, folded: usize) -> Option<usize> {
        match &self.starts {
            None => Some(folded),
            Some(starts) => starts.get(folded).copied(),
        }
    }

    /// Where the words, which are folded, are in the original as whole words.
    fn find(&self, words: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if words.is_empty() {
            return found;
        }
        let inner = |edge: Option<char>| edge.is_some_and(char::is_alphanumeric);
        let (opens, closes) = (
            inner(words.chars().next()),
            inner(words.chars().next_back()),
        );
        for (start, _) in self.text.match_indices(words) {
            let end = start + words.len();
            let before = self
                .text
                .get(..start)
                .and_then(|text| text.chars().next_back());
            let behind = self.text.get(end..).and_then(|text| text.chars().next());
            if opens && inner(before) || closes && inner(behind) {
                continue;
            }
            if let (Some(start), Some(end)) = (self.place(start), self.place(end)) {
                found.push(start..end);
            }
        }
        found
    }

    /// The hash of the original without what these ranges have.
    fn masked(&self, ranges: &[Range<usize>]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut after = 0;
        for range in ranges {
            self.original.get(after..range.start).hash(&mut hasher);
            after = range.end;
        }
        self.original.get(after..).hash(&mut hasher);
        hasher.finish()
    }
}

/// The hash of the values but for those of some fields.
fn hash_without(values: &[Number], dropped: Fields) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (place, value) in values.iter().enumerate() {
        if dropped & bit(place) == 0 {
            value.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Whether the values are the same but for those of some fields.
fn same_without(one: &[Number], other: &[Number], dropped: Fields) -> bool {
    let mut pairs = one.iter().zip(other).enumerate();
    pairs.all(|(place, (one, other))| dropped & bit(place) != 0 || one == other)
}

const fn bit(place: usize) -> Fields {
    // At most eight fields.
    1 << (place % 8)
}

/// How many pairs a group of this size has.
const fn pairs(size: u64) -> u64 {
    size * size.saturating_sub(1) / 2
}

impl<'a> Nearest<'a> {
    /// The most bytes of texts that are compared. Messages beyond are not suggested.
    pub const MAX_TEXT_BYTES: usize = 64 << 20;
    /// The most bytes that suggestions for one run have. Segments beyond get none.
    pub const MAX_BYTES: usize = 32 << 20;

    /// Compares segments of this segmentation.
    #[must_use]
    pub fn new(segment_by: &'a SegmentBy) -> Self {
        let numbering = Numbering::new(segment_by);
        let fields = numbering.fields().map(|(name, _)| Field {
            name,
            known: HashMap::new(),
            texts: vec![String::new()],
            words: vec![String::new()],
            evidence: Evidence::default(),
        });
        Self {
            segment_by,
            fields: fields.collect(),
            numbering,
            approved: Vec::new(),
            text_bytes: 0,
            suggested_bytes: 0,
        }
    }

    /// The numbers of a segment's attributes as texts, and of what its values are.
    fn numbers(
        &mut self,
        segment: SegmentValues<'_>,
        attributes: Option<&Attributes>,
    ) -> Result<(Vec<Number>, Vec<Number>), StoreError> {
        let values = segment.attributes.values()?;
        let numbers = self.numbering.numbers(segment, &values).into_iter();
        let numbers = numbers.map(|number| number.map_or(0, |number| next_number(number.no + 1)));
        let own = attributes.map(Attributes::values).transpose()?;
        let shown = own.as_ref().unwrap_or(&values);
        let texts = self.fields.iter_mut();
        let texts = texts.map(|field| field.number(shown.get(field.name)));
        Ok((texts.collect(), numbers.collect()))
    }

    /// Adds a message that may be reused. Returns whether there may be more of them.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless the attributes are an object of texts.
    pub fn add_reusable(&mut self, message: Reusable<'_>) -> Result<bool, StoreError> {
        let Content { subject, body } = message.content;
        self.text_bytes += subject.len() + body.len();
        if self.text_bytes > Self::MAX_TEXT_BYTES {
            return Ok(false);
        }
        let (texts, values) =
            self.numbers(message.segment.values(), message.segment.own.as_ref())?;
        // Subjects have no line feed.
        let text = format!("{subject}\n{body}");
        let text = Folded::of(&text);
        let plain = text.masked(&[]);
        let mut mentions = 0;
        let mut masked = Vec::with_capacity(self.fields.len());
        for (place, (field, number)) in self.fields.iter().zip(&texts).enumerate() {
            let found = field.word(*number).map(|words| text.find(words));
            let found = found.unwrap_or_default();
            if found.is_empty() {
                masked.push(plain);
            } else {
                mentions |= bit(place);
                masked.push(text.masked(&found));
            }
        }
        self.approved.push(Approved {
            message_id: message.message_id,
            run_number: message.run_number,
            customer_count: message.customer_count,
            values,
            texts,
            masked,
            mentions,
        });
        Ok(true)
    }

    /// Counts the pairs of approved messages that differ in one field.
    fn learn(&mut self) {
        for (place, field) in self.fields.iter_mut().enumerate() {
            let mut texts: Vec<(u64, u64)> = self
                .approved
                .iter()
                .map(|approved| {
                    let masked = approved.masked.get(place).copied().unwrap_or_default();
                    (hash_without(&approved.values, bit(place)), masked)
                })
                .collect();
            texts.sort_unstable();
            let mut evidence = Evidence::default();
            for group in texts.chunk_by(|(one, _), (other, _)| one == other) {
                evidence.pairs += pairs(u64::try_from(group.len()).unwrap_or_default());
                for same in group.chunk_by(|one, other| one == other) {
                    evidence.same += pairs(u64::try_from(same.len()).unwrap_or_default());
                }
            }
            field.evidence = evidence;
        }
    }

    /// What approved messages say about these fields: the one that mattered most.
    fn evidence(&self, dropped: Fields) -> Evidence {
        let fields = self.fields.iter().enumerate();
        let evidence = fields
            .filter(|(place, _)| dropped & bit(*place) != 0)
            .map(|(_, field)| field.evidence);
        evidence
            .reduce(|most, next| match next.cmp_mattering(&most) {
                Ordering::Greater => next,
                Ordering::Equal if next.pairs > most.pairs => next,
                Ordering::Equal | Ordering::Less => most,
            })
            .unwrap_or_default()
    }

    /// Returns the suggestions for new segments of a group, by their keys.
    ///
    /// # Errors
    /// As [`Nearest::add_reusable`].
    pub fn suggest<'s>(
        mut self,
        segments: impl IntoIterator<Item = (SegmentKey, &'s Attributes)>,
    ) -> Result<HashMap<SegmentKey, Suggestion>, StoreError> {
        let mut suggestions = HashMap::new();
        if self.approved.is_empty() {
            return Ok(suggestions);
        }
        self.learn();
        let mut open = Vec::new();
        for (key, attributes) in segments {
            let segment = SegmentValues {
                key,
                attributes,
                types: None,
            };
            let (texts, values) = self.numbers(segment, None)?;
            open.push((key, texts, values));
        }
        let width = u32::try_from(self.fields.len()).unwrap_or(Fields::BITS);
        let unused = Fields::BITS.saturating_sub(width);
        for size in 1..=width {
            let masks = (1..=Fields::MAX)
                .filter(|mask| mask.count_ones() == size && mask.leading_zeros() >= unused);
            let mut masks: Vec<(Evidence, Fields)> =
                masks.map(|mask| (self.evidence(mask), mask)).collect();
            masks.sort_by(|(one, mask), (other, next)| {
                one.cmp_mattering(other).then(mask.cmp(next))
            });
            for alike in masks.chunk_by(|(one, _), (other, _)| one.cmp_mattering(other).is_eq()) {
                let mut best: Vec<Option<(Fields, usize)>> = vec![None; open.len()];
                for (_, mask) in alike {
                    let index = self.index(*mask);
                    for ((_, _, values), best) in open.iter().zip(&mut best) {
                        let found = index.get(&hash_without(values, *mask)).copied();
                        let found = found.filter(|found| {
                            let approved = self.approved.get(*found);
                            approved.is_some_and(|approved| {
                                same_without(&approved.values, values, *mask)
                            })
                        });
                        let Some(found) = found else { continue };
                        if best.is_none_or(|(_, other)| self.rank(found) > self.rank(other)) {
                            *best = Some((*mask, found));
                        }
                    }
                }
                let mut left = Vec::new();
                for (segment, best) in std::mem::take(&mut open).into_iter().zip(best) {
                    let Some((mask, found)) = best else {
                        left.push(segment);
                        continue;
                    };
                    let (key, texts, _) = segment;
                    if let Some(suggestion) = self.suggestion(mask, found, &texts) {
                        self.suggested_bytes += suggestion.bytes();
                        if self.suggested_bytes > Self::MAX_BYTES {
                            return Ok(suggestions);
                        }
                        suggestions.insert(key, suggestion);
                    }
                }
                open = left;
                if open.is_empty() {
                    return Ok(suggestions);
                }
            }
        }
        Ok(suggestions)
    }

    /// What makes one of several approved messages the nearest that differ in fields which matter
    /// as much: the larger segment, then the newer run.
    fn rank(&self, place: usize) -> Option<(i64, RunNumber, Reverse<MessageId>)> {
        let approved = self.approved.get(place)?;
        Some((
            approved.customer_count,
            approved.run_number,
            Reverse(approved.message_id),
        ))
    }

    /// The best of the approved messages by their values but for those of some fields.
    fn index(&self, dropped: Fields) -> HashMap<u64, usize> {
        let mut index: HashMap<u64, usize> = HashMap::with_capacity(self.approved.len());
        for (place, approved) in self.approved.iter().enumerate() {
            index
                .entry(hash_without(&approved.values, dropped))
                .and_modify(|best| {
                    if self.rank(place) > self.rank(*best) {
                        *best = place;
                    }
                })
                .or_insert(place);
        }
        index
    }

    fn suggestion(&self, differing: Fields, found: usize, texts: &[Number]) -> Option<Suggestion> {
        let approved = self.approved.get(found)?;
        let (mut differs, mut mentions) = (Vec::new(), Vec::new());
        for name in self.segment_by.fields() {
            let place = self
                .fields
                .binary_search_by_key(&name.as_str(), |field| field.name)
                .ok()?;
            if differing & bit(place) == 0 {
                continue;
            }
            let field = self.fields.get(place)?;
            let from = field.text(*approved.texts.get(place)?);
            if approved.mentions & bit(place) != 0 {
                mentions.extend(from.map(str::to_owned));
            }
            differs.push(Difference {
                field: name.clone(),
                from: from.map(str::to_owned),
                to: field.text(*texts.get(place)?).map(str::to_owned),
            });
        }
        Some(Suggestion {
            message_id: approved.message_id,
            run_number: approved.run_number,
            differs,
            evidence: self.evidence(differing),
            mentions,
        })
    }
}

#[cfg(test)]
mod tests;
