//! Segments of a customer group and the key that names them.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::invalid::Invalid;
use crate::page::Contents;
use crate::rules::{
    self, Applied, AttributeTypes, FieldDeclaration, FieldRules, Made, Tag, applied_again,
};
use crate::text;

/// The column of an import that holds a customer's external reference, unless the import names
/// another: then it is a profile field like any other.
pub const CUSTOMER_REF: &str = "customer_ref";

/// A campaign's segmentation: 1 to 8 distinct profile field names, in the order they were listed,
/// each with its value rules if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentBy {
    names: Vec<String>,
    rules: Option<Arc<Rules>>,
}

/// The rules of a segmentation, of which some item was declared with rules.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    declared: Vec<FieldDeclaration>,
    /// The declaration as it is kept.
    json: String,
    /// The rules of each name that has any which make a difference.
    effective: Vec<Option<FieldRules>>,
}

impl SegmentBy {
    /// The largest number of fields.
    pub const MAX_FIELDS: usize = 8;
    /// The longest field name, in characters.
    pub const MAX_FIELD_LENGTH: usize = 255;
    /// The longest value of a field to segment by, in characters.
    pub const MAX_VALUE_LENGTH: usize = rules::MAX_VALUE_LENGTH;

    /// Takes field names as people give them; they are normalised like profile values.
    ///
    /// # Errors
    /// [`Invalid`] when there are none or more than eight, one is blank or too long, or one is
    /// named twice.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Self, Invalid> {
        let names = names.iter().map(AsRef::as_ref);
        let names: Vec<(&str, &str)> = names.map(|name| (name, "")).collect();
        Self::of_fields(&names)
    }

    /// Takes names, each with what leads to it within its item.
    fn of_fields(names: &[(&str, &str)]) -> Result<Self, Invalid> {
        if names.is_empty() || names.len() > Self::MAX_FIELDS {
            return Err(Invalid::new(format!(
                "`segment_by` takes 1 to {} field names, not {}",
                Self::MAX_FIELDS,
                names.len()
            )));
        }
        let mut fields: Vec<String> = Vec::with_capacity(names.len());
        for (index, (name, within)) in names.iter().enumerate() {
            let place = format!("segment_by[{index}]{within}");
            let name = text::name(&place, name, Self::MAX_FIELD_LENGTH)?;
            if fields.contains(&name) {
                return Err(Invalid::new(format!("`segment_by` names `{name}` twice")));
            }
            fields.push(name);
        }
        Ok(Self {
            names: fields,
            rules: None,
        })
    }

    /// Takes names and value rules as people declare them.
    ///
    /// # Errors
    /// As [`SegmentBy::new`]; [`Invalid`], naming the place, if a rule is not valid.
    pub fn declare(items: Vec<FieldDeclaration>) -> Result<Self, Invalid> {
        let names: Vec<(&str, &str)> = items
            .iter()
            .map(|item| match item {
                FieldDeclaration::Name(name) => (name.as_str(), ""),
                FieldDeclaration::Rules(rules) => (rules.field.as_str(), ".field"),
            })
            .collect();
        let mut taken = Self::of_fields(&names)?;
        if items
            .iter()
            .all(|item| matches!(item, FieldDeclaration::Name(_)))
        {
            return Ok(taken);
        }
        let effective = items
            .iter()
            .enumerate()
            .map(|(index, item)| item.check(index));
        let effective = effective.collect::<Result<_, _>>()?;
        let declared = items.into_iter().zip(&taken.names);
        let declared: Vec<_> = declared
            .map(|(item, name)| item.named(name.clone()))
            .collect();
        let json = serde_json::to_string(&declared)
            .map_err(|error| Invalid::new(format!("`segment_by`: {error}")))?;
        taken.rules = Some(Arc::new(Rules {
            declared,
            json,
            effective,
        }));
        Ok(taken)
    }

    /// The names in the order they were listed.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.names
    }

    /// The items as they were declared, with names normalised.
    #[must_use]
    pub fn declared(&self) -> Cow<'_, [FieldDeclaration]> {
        match &self.rules {
            Some(rules) => Cow::Borrowed(&rules.declared),
            None => self.names.iter().map(|name| name.as_str().into()).collect(),
        }
    }

    /// The declaration as a JSON array, if some item was declared with rules, even such that make
    /// no difference.
    #[must_use]
    pub fn rules_json(&self) -> Option<&str> {
        self.rules.as_ref().map(|rules| rules.json.as_str())
    }

    /// Takes back what [`SegmentBy::rules_json`] gave.
    ///
    /// # Errors
    /// [`Invalid`] for a text that is no declaration.
    pub fn from_rules_json(json: &str) -> Result<Self, Invalid> {
        serde_json::from_str(json).map_err(|error| Invalid::new(error.to_string()))
    }

    /// Whether some value may be another one after the rules. Without rules, each distinct
    /// combination of values is a segment.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.rules
            .as_ref()
            .is_some_and(|rules| rules.effective.iter().any(Option::is_some))
    }

    /// The names with their rules, in the order they were listed.
    pub(crate) fn ruled_fields(&self) -> impl Iterator<Item = (&str, Option<&FieldRules>)> {
        self.names.iter().enumerate().map(|(index, name)| {
            let rules = self.rules.as_ref();
            let rules = rules.and_then(|rules| rules.effective.get(index)?.as_ref());
            (name.as_str(), rules)
        })
    }

    /// The names sorted by their bytes: the order in which keys, attributes and stored counts
    /// are made, so that the order of listing makes no difference.
    #[must_use]
    pub fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// One text for the set of names and their rules, equal exactly when these are: the sorted
    /// names as a JSON array, and with rules a hash of them. Stores keep segment counts under it.
    #[must_use]
    pub fn canonical(&self) -> String {
        let names = serde_json::json!(self.sorted()).to_string();
        if !self.has_rules() {
            return names;
        }
        let mut rules: Vec<_> = self
            .ruled_fields()
            .filter_map(|(name, rules)| Some((name, rules?.canonical())))
            .collect();
        rules.sort_unstable_by_key(|(name, _)| *name);
        let hash = Sha256::new_with_prefix(RULES_VERSION)
            .chain_update(serde_json::json!(rules).to_string())
            .finalize();
        format!("{names} {}", hex::encode(hash))
    }

    /// The items without what makes no difference. Two declarations of the same are equal here.
    pub(crate) fn effective<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ruled_fields().map(|(name, rules)| match rules {
            None => serde_json::json!(name),
            Some(rules) => serde_json::json!({ "field": name, "rules": rules.canonical() }),
        }))
    }

    /// The key of the segment of a customer with these values: one for each field, in the order of
    /// [`SegmentBy::sorted`], as [`FieldValues::counted`] gives them.
    #[must_use]
    pub fn key<'a>(&self, values: impl IntoIterator<Item = Option<&'a str>>) -> SegmentKey {
        key_of(&self.applied(values))
    }

    fn applied<'a, 'own: 'a, 'given: 'a>(
        &'own self,
        values: impl IntoIterator<Item = Option<&'given str>>,
    ) -> Vec<AppliedField<'a>> {
        self.sorted_fields()
            .into_iter()
            .zip(values)
            .map(|((name, rules), value)| (name, rules, rules::applied(rules, value)))
            .collect()
    }

    /// The segment of `customer_count` customers with these values. `value` is called once for each
    /// field, in the order of [`SegmentBy::sorted`]; what it returns is normalised.
    ///
    /// # Examples
    /// ```
    /// use rerun_core::SegmentBy;
    ///
    /// let by = SegmentBy::new(&["tier", "country"])?;
    /// let segment = by.segment(|field| (field == "country").then_some(" DE "), 913);
    /// assert_eq!(segment.attributes.as_json(), r#"{"country":"DE","tier":null}"#);
    /// # Ok::<_, rerun_core::Invalid>(())
    /// ```
    #[must_use]
    pub fn segment<'a>(
        &self,
        mut value: impl FnMut(&str) -> Option<&'a str>,
        customer_count: i64,
    ) -> Segment {
        let values: Vec<_> = self
            .sorted()
            .into_iter()
            .map(|name| value(name).and_then(text::normalise))
            .collect();
        self.segment_of(values.iter().map(Option::as_deref), customer_count)
    }

    /// The same for stores, from values as [`SegmentBy::key`] takes them.
    #[must_use]
    pub fn segment_of<'a>(
        &self,
        values: impl IntoIterator<Item = Option<&'a str>>,
        customer_count: i64,
    ) -> Segment {
        let fields = self.applied(values);
        Segment {
            key: key_of(&fields),
            attributes: attributes_of(&fields),
            customer_count,
        }
    }

    /// The names with their rules, in the order in which keys are made.
    pub(crate) fn sorted_fields(&self) -> Vec<(&str, Option<&FieldRules>)> {
        let mut fields: Vec<_> = self.ruled_fields().collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        fields
    }

    /// What the attributes are of a segment that has this key, if these rules made them.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless the attributes are an object of texts.
    pub fn types_of(
        &self,
        attributes: &Attributes,
        key: SegmentKey,
    ) -> Result<AttributeTypes, StoreError> {
        let values = attributes.values()?;
        let made: Vec<Made<'_>> = self
            .sorted_fields()
            .into_iter()
            .map(|(name, rules)| Made {
                name,
                rules,
                attribute: values.get(name),
            })
            .collect();
        Ok(AttributeTypes::made(&made, |tags| {
            SegmentKey::of_made(&made, tags) == key
        }))
    }

    /// What the rules make of each attribute of a segment, by the names' order in keys.
    fn again<T>(
        &self,
        attributes: &Attributes,
        types: &AttributeTypes,
        make: impl FnOnce(&[AppliedField<'_>]) -> T,
    ) -> Result<T, StoreError> {
        let values = attributes.values()?;
        let fields: Vec<_> = self
            .sorted_fields()
            .into_iter()
            .enumerate()
            .map(|(place, (name, rules))| {
                let value = values.get(name);
                let applied = value.and_then(|value| applied_again(rules, types.at(place), value));
                (name, rules, applied)
            })
            .collect();
        Ok(make(&fields))
    }

    /// The key that these rules give a segment with attributes that they, or others before them,
    /// made.
    ///
    /// # Errors
    /// As [`SegmentBy::types_of`].
    pub fn key_of_attributes(
        &self,
        attributes: &Attributes,
        types: &AttributeTypes,
    ) -> Result<SegmentKey, StoreError> {
        self.again(attributes, types, key_of)
    }

    /// The attributes of a message as these rules show them. A value that a map or a range stands before now
    /// is not shown as it was before.
    ///
    /// # Errors
    /// As [`SegmentBy::types_of`].
    pub fn shown(&self, kept: KeptValues) -> Result<Attributes, StoreError> {
        if !self.has_rules() {
            return Ok(kept.own.unwrap_or(kept.attributes));
        }
        let KeptValues {
            key,
            attributes,
            types,
            own,
        } = kept;
        if let Some(own) = own {
            let types = self.types_of(&own, key)?;
            if self.attributes_again(&own, &types)? == own {
                return Ok(own);
            }
        }
        let types = match types {
            Some(types) => types,
            None => self.types_of(&attributes, key)?,
        };
        self.attributes_again(&attributes, &types)
    }

    /// What these rules make of attributes that they, or others before them, made.
    pub(crate) fn attributes_again(
        &self,
        attributes: &Attributes,
        types: &AttributeTypes,
    ) -> Result<Attributes, StoreError> {
        self.again(attributes, types, attributes_of)
    }
}

/// A field, its rules, and what they make of a value.
type AppliedField<'a> = (&'a str, Option<&'a FieldRules>, Option<Applied<'a>>);

fn key_of(fields: &[AppliedField<'_>]) -> SegmentKey {
    SegmentKey::of_typed(fields.iter().map(|(name, _, applied)| {
        let part = applied.as_ref();
        (*name, part.map(|part| (part.tag, part.key.as_ref())))
    }))
}

fn attributes_of(fields: &[AppliedField<'_>]) -> Attributes {
    Attributes::new(fields.iter().map(|(name, rules, applied)| {
        let shown = applied.as_ref().map(|part| {
            let rules = rules.filter(|_| part.tag == Tag::Text);
            rules
                .and_then(|rules| rules.target(&part.key))
                .or(part.spelling.as_deref())
                .unwrap_or(&part.key)
        });
        (*name, shown)
    }))
}

/// Part of what counts are kept under. It changes when the same rules make something else of a
/// value, so that older counts are not used any more.
const RULES_VERSION: &str = "rerun.rules.1";

impl Serialize for SegmentBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.declared().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SegmentBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let declared = Vec::deserialize(deserializer)?;
        Self::declare(declared).map_err(D::Error::custom)
    }
}

/// What the customers of a group have in one field of a segmentation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldValues {
    /// How many customers have a value.
    pub customers: i64,
    /// Whether some value has more than [`SegmentBy::MAX_VALUE_LENGTH`] characters.
    pub too_long: bool,
    /// How many customers have a value that could not be read as the field's type.
    #[serde(default)]
    pub unparsed: i64,
    /// Whether there are too many combinations of values to apply value rules to, and most
    /// different values in this field.
    #[serde(default)]
    pub too_many: bool,
}

impl FieldValues {
    /// The value as segments are counted by it. One that is too long becomes the empty text,
    /// which no customer has: nobody uses segments by such values, so they need not be told
    /// apart, and no store needs to hold them.
    #[must_use]
    pub fn counted(value: &str) -> &str {
        // A character has at least one byte.
        let short = value.len() <= SegmentBy::MAX_VALUE_LENGTH
            || value.chars().nth(SegmentBy::MAX_VALUE_LENGTH).is_none();
        if short { value } else { "" }
    }

    /// Adds customers that have this value, as [`FieldValues::counted`] gives it.
    pub fn add(&mut self, value: Option<&str>, customers: i64) {
        if let Some(value) = value {
            self.customers += customers;
            self.too_long |= value.is_empty();
        }
    }
}

/// The stable, opaque name of a segment: 32 bytes, written as 64 hexadecimal digits.
///
/// Two keys are equal exactly when the field names and values are equal, in whatever order the
/// fields were listed: the key is the SHA-256 of an encoding that gives every name and value with
/// its length, so that no character in them can imitate a separator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey([u8; 32]);

impl SegmentKey {
    /// Encodes these values as they are, for tests of the encoding. All other code uses
    /// [`SegmentBy::segment`], which sorts, normalises and applies the rules.
    #[doc(hidden)]
    #[must_use]
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let texts = pairs.into_iter();
        Self::of_typed(texts.map(|(name, value)| (name, value.map(|value| (Tag::Text, value)))))
    }

    /// The key of the segment with these values, each with its type.
    pub(crate) fn of_typed<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<(Tag, &'a str)>)>,
    ) -> Self {
        fn part(hash: &mut Sha256, text: &str) {
            // usize is at most 64 bits on every supported target.
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            hash.update(length.to_be_bytes());
            hash.update(text);
        }
        let mut hash = Sha256::new_with_prefix("rerun.segment.1");
        for (name, value) in pairs {
            part(&mut hash, name);
            match value {
                None => hash.update([0]),
                Some((tag, value)) => {
                    hash.update([tag.byte()]);
                    part(&mut hash, value);
                }
            }
        }
        Self(hash.finalize().into())
    }

    /// The key of the segment with these attributes, if they are of these types.
    pub(crate) fn of_made(made: &[Made<'_>], tags: &[Option<Tag>]) -> Self {
        let parts: Vec<_> = made
            .iter()
            .zip(tags)
            .map(|(made, tag)| (made.name, tag.and_then(|tag| Some((tag, made.key(tag)?)))))
            .collect();
        Self::of_typed(parts.iter().map(|(name, part)| {
            let part = part.as_ref();
            (*name, part.map(|(tag, key)| (*tag, key.as_ref())))
        }))
    }

    /// A key that no segment has, for the segment with this number: stores whose keys are distinct
    /// keep it for a segment that does not stand for its key.
    #[must_use]
    pub fn displaced(no: i32) -> Self {
        let hash = Sha256::new_with_prefix("rerun.displaced.1").chain_update(no.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// The key from its bytes, as a store keeps them. `None` unless there are 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentKey({self})")
    }
}

impl Serialize for SegmentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes = hex::decode(digits).map_err(D::Error::custom)?;
        Self::from_bytes(&bytes).ok_or_else(|| D::Error::custom("a key has 32 bytes"))
    }
}

/// A segment's field values, `None` where customers have none. Kept as the JSON object in which
/// they are stored and sent, its fields sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes(String);

impl Attributes {
    /// From field name and value, in the order given.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        use fmt::Write;
        let mut json = String::from("{");
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (name, value) = (serde_json::json!(name), serde_json::json!(value));
            // Writing to a String cannot fail.
            let _ = write!(json, "{comma}{name}:{value}");
        }
        json.push('}');
        Self(json)
    }

    /// Takes back what [`Attributes::as_json`] gave, as a store kept it. It is not parsed: a
    /// store is trusted with its own rows.
    #[must_use]
    pub const fn from_stored(json: String) -> Self {
        Self(json)
    }

    /// The JSON object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The values by field name.
    ///
    /// # Errors
    /// When a store gave back a text that is no such object.
    pub fn to_map(&self) -> Result<BTreeMap<String, Option<String>>, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The values, borrowed where JSON has them without escapes.
    pub(crate) fn values(&self) -> Result<Values<'_>, StoreError> {
        serde_json::from_str(&self.0)
            .map(Values)
            .map_err(|error| StoreError::corrupt(format!("attributes of a segment: {error}")))
    }
}

/// A text that is borrowed where JSON has it without escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// The values of a segment by field name.
pub(crate) struct Values<'a>(BTreeMap<JsonText<'a>, Option<JsonText<'a>>>);

impl Values<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        Some(&self.0.get(name)?.as_ref()?.0)
    }
}

impl Borrow<str> for JsonText<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A text that some value of a segment contains, whatever its letter case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSearch(String);

impl ValueSearch {
    /// The longest text, in characters.
    pub const MAX_LENGTH: usize = 100;

    /// A search for this text. `field` is the name of the text in the request.
    ///
    /// # Errors
    /// [`Invalid`] unless it has 1 to 100 characters, none of which is NUL.
    pub fn new(field: &str, text: &str) -> Result<Self, Invalid> {
        text::check(field, text)?;
        if text.is_empty() || text.chars().nth(Self::MAX_LENGTH).is_some() {
            return Err(Invalid::new(format!(
                "`{field}` takes 1 to {} characters",
                Self::MAX_LENGTH
            )));
        }
        Ok(Self(rules::folded(text)))
    }

    /// Whether some value contains the text.
    ///
    /// # Errors
    /// When a store gave back attributes that are no JSON object.
    pub fn finds(&self, attributes: &Attributes) -> Result<bool, serde_json::Error> {
        let values = attributes.to_map()?.into_values().flatten();
        let mut folded = values.map(|value| rules::folded(&value));
        Ok(folded.any(|value| value.contains(&self.0)))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(json.get().to_owned()))
    }
}

/// One distinct combination of the segmentation fields' values in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its stable name.
    pub key: SegmentKey,
    /// The values.
    pub attributes: Attributes,
    /// How many customers of the group have them.
    pub customer_count: i64,
}

/// The values of a segment, with what tells what they are: its key, and their types if they are kept.
#[derive(Debug, Clone, Copy)]
pub struct SegmentValues<'a> {
    /// The key that the campaign's rules give the segment.
    pub key: SegmentKey,
    /// The values.
    pub attributes: &'a Attributes,
    /// What they are; `None` if the campaign's rules made them.
    pub types: Option<&'a AttributeTypes>,
}

/// The values of a segment as a store keeps them. See [`SegmentValues`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptValues {
    /// The segment's key.
    pub key: SegmentKey,
    /// The values.
    pub attributes: Attributes,
    /// What they are.
    pub types: Option<AttributeTypes>,
    /// The attributes of one of the segment's messages, if its group spelled the values in another way.
    pub own: Option<Attributes>,
}

impl KeptValues {
    /// The segment's values.
    #[must_use]
    pub const fn values(&self) -> SegmentValues<'_> {
        SegmentValues {
            key: self.key,
            attributes: &self.attributes,
            types: self.types.as_ref(),
        }
    }

    /// The attributes that the message has.
    #[must_use]
    pub fn approved(&self) -> &Attributes {
        self.own.as_ref().unwrap_or(&self.attributes)
    }
}

impl Contents for Segment {
    fn bytes(&self) -> usize {
        self.attributes.0.len()
    }
}

impl Segment {
    /// Its values as the rules made them that counted it.
    #[must_use]
    pub const fn values(&self) -> SegmentValues<'_> {
        SegmentValues {
            key: self.key,
            attributes: &self.attributes,
            types: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_search_ignores_letter_case_in_every_language() {
        let attributes = Attributes::new([
            ("city", Some("Stra\u{df}e \"A\" \u{130}zmir")),
            ("cafe", Some("Cafe\u{301}")),
            ("none", None),
        ]);
        for (text, found) in [
            ("STRASSE", true),
            ("e \"a\"", true),
            ("CAF\u{c9}", true),
            ("caf\u{e9}", true),
            ("city", false),
            ("none", false),
            ("null", false),
            (" ", true),
            ("\\", false),
        ] {
            let search = ValueSearch::new("segment", text).unwrap();
            assert_eq!(search.finds(&attributes).unwrap(), found, "{text}");
        }
        for bad in ["", "a\0", &"x".repeat(101)] {
            assert!(ValueSearch::new("segment", bad).is_err(), "{bad:?}");
        }
        assert!(ValueSearch::new("segment", &"\u{df}".repeat(100)).is_ok());
    }

    type Values = BTreeMap<String, Option<String>>;

    fn key(values: &Values) -> SegmentKey {
        SegmentKey::of(
            values
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref())),
        )
    }

    /// Text of the characters that break naive keys: separators, quotes, digits of lengths,
    /// controls, emoji, and the same letter composed and decomposed.
    fn nasty() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "a",
            "b",
            "1",
            "0",
            "|",
            ":",
            ";",
            ",",
            "=",
            "\"",
            "'",
            "\\",
            "/",
            "{",
            "}",
            "[",
            "]",
            "null",
            "\u{1}",
            "\u{1f}",
            "\n",
            "\u{7f}",
            "😀",
            "👩‍👩‍👧",
            "é",
            "e\u{301}",
            "\u{212b}",
            "Å",
            "ﬁ",
            " ",
        ]);
        prop_oneof![
            prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat()),
            any::<String>(),
        ]
    }

    fn normal(values: Values) -> Values {
        values
            .into_iter()
            .filter_map(|(name, value)| {
                let name = text::normalise(&name)?.into_owned();
                let value = value.and_then(|v| text::normalise(&v).map(Into::into));
                Some((name, value))
            })
            .collect()
    }

    fn values() -> impl Strategy<Value = Values> {
        btree_map(nasty(), option::of(nasty()), 1..4).prop_map(normal)
    }

    /// A pair that is often nearly equal: one value changed, moved or split differently.
    fn pair() -> impl Strategy<Value = (Values, Values)> {
        (values(), values(), nasty(), 0..4_u8).prop_map(|(one, other, text, how)| {
            let mut near = one.clone();
            let first = near.keys().next().cloned();
            match (how, first) {
                (0, Some(first)) => {
                    near.insert(first, text::normalise(&text).map(Into::into));
                    (one, near)
                }
                (1, Some(first)) => {
                    let value = near.remove(&first).flatten();
                    near.insert(first.clone() + value.as_deref().unwrap_or_default(), None);
                    (one, normal(near))
                }
                (2, Some(_)) => (one, near),
                _ => (one, other),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn keys_are_equal_exactly_when_fields_and_values_are((one, other) in pair()) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn listing_order_makes_no_difference(names in prop::collection::btree_set("[a-z]{1,3}", 1..8)) {
            let listed: Vec<String> = names.iter().rev().cloned().collect();
            let forward: Vec<String> = names.into_iter().collect();
            let (one, other) = (SegmentBy::new(&forward).unwrap(), SegmentBy::new(&listed).unwrap());
            prop_assert_eq!(one.sorted(), other.sorted());
            prop_assert_eq!(one.canonical(), other.canonical());
        }

        #[test]
        fn attributes_come_back_as_they_went_in(values in values()) {
            let pairs = values.iter().map(|(n, v)| (n.as_str(), v.as_deref()));
            let attributes = Attributes::new(pairs);
            prop_assert_eq!(attributes.to_map().unwrap(), values.clone());
            let sent = serde_json::to_value(&attributes).unwrap();
            prop_assert_eq!(sent, serde_json::to_value(&values).unwrap());
        }
    }

    #[test]
    fn a_segment_is_made_of_normalised_values_by_the_rules() {
        let by = SegmentBy::new(&["tier", "country"]).unwrap();
        let values = BTreeMap::from([("country", " E\u{301} "), ("tier", " ")]);
        let segment = by.segment(|field| values.get(field).copied(), 7);
        let pairs = [("country", Some("\u{c9}")), ("tier", None)];
        assert_eq!(segment.key, SegmentKey::of(pairs));
        assert_eq!(segment.attributes, Attributes::new(pairs));
        assert_eq!(segment.customer_count, 7);

        let ruled = serde_json::json!([
            { "field": "country", "values": { "DE": "Germany" } },
            { "field": "tier", "normalise": ["casefold"] },
        ]);
        let ruled: SegmentBy = serde_json::from_value(ruled).unwrap();
        let values = BTreeMap::from([("country", "DE"), ("tier", "Gold")]);
        let segment = ruled.segment(|field| values.get(field).copied(), 1);
        let shown = [("country", Some("Germany")), ("tier", Some("Gold"))];
        assert_eq!(segment.attributes, Attributes::new(shown));
        let mut counting = crate::counting::Counting::new(&ruled, 1);
        counting.add([Some("DE"), Some("Gold")], 1);
        assert_eq!(counting.finish().segments, [segment]);
    }

    #[test]
    fn missing_differs_from_every_text() {
        let with = |value| SegmentKey::of([("tier", value)]);
        assert_ne!(with(None), with(Some("")));
        assert_ne!(with(None), with(Some("null")));
        assert_eq!(with(None).to_string().len(), 64);
        let debugged = format!("SegmentKey({})", with(None));
        assert_eq!(format!("{:?}", with(None)), debugged);
        assert_eq!(
            SegmentKey::from_bytes(with(None).as_bytes()),
            Some(with(None))
        );
        assert_eq!(SegmentKey::from_bytes(&[1, 2]), None);
    }

    #[test]
    fn long_values_are_counted_as_one_by_their_characters() {
        let longest = "é".repeat(SegmentBy::MAX_VALUE_LENGTH);
        assert_eq!(FieldValues::counted(&longest), longest);
        assert_eq!(FieldValues::counted("x"), "x");
        let longer = longest.clone() + "x";
        assert_eq!(FieldValues::counted(&longer), "");

        let mut values = FieldValues::default();
        values.add(None, 5);
        values.add(Some(FieldValues::counted(&longest)), 2);
        let expected = |customers, too_long| FieldValues {
            customers,
            too_long,
            ..FieldValues::default()
        };
        assert_eq!(values, expected(2, false));
        values.add(Some(FieldValues::counted(&longer)), 1);
        values.add(Some("x"), 1);
        assert_eq!(values, expected(4, true));
    }

    #[test]
    fn a_key_never_changes_between_versions() {
        let key = SegmentKey::of([("country", Some("DE")), ("tier", None)]);
        assert_eq!(
            key.to_string(),
            "e5018b8dd5f55e94f7456a461205f962be6f6d1256471e85681d24c46f6c3e6f",
        );
    }

    #[test]
    fn bad_segmentations_say_why() {
        let said = |names: &[&str]| SegmentBy::new(names).unwrap_err().to_string();
        assert!(said(&[]).contains("1 to 8"));
        assert!(said(&["a"; 9]).contains("not 9"));
        assert!(said(&["a", " "]).contains("blank"));
        assert!(said(&["e\u{301}", "é"]).contains("twice"));
        assert!(said(&["x\0"]).contains("NUL"));
    }
}
