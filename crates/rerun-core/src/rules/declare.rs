//! Value rules as people declare them, and their check.

use std::collections::HashMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::MAX_VALUE_LENGTH;
use super::apply::{FieldRules, Kind};
use super::number::Number;
use crate::invalid::Invalid;
use crate::status::wire_enum;
use crate::text;

wire_enum! {
    /// A way of making values equal.
    Normalise {
        /// Each run of blanks becomes one space.
        CollapseSpaces => "collapse_spaces",
        /// Letter case makes no difference.
        Casefold => "casefold",
        /// `_`, `-`, `–` and blanks are the same.
        Separators => "separators",
    }
}

wire_enum! {
    /// What the values of a field are.
    ValueType {
        /// Texts.
        Text => "text",
        /// Decimal numbers.
        Number => "number",
        /// True or false.
        Boolean => "boolean",
    }
}

/// An item of a segmentation as it was declared: a field's name, or a field with rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldDeclaration {
    /// A field without rules.
    Name(String),
    /// A field with rules.
    Rules(Box<RulesDeclaration>),
}

/// A field with its value rules as they were declared. What was not declared is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesDeclaration {
    /// The field's name.
    pub field: String,
    /// What makes values equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Vec<Normalise>>,
    /// Values that mean no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null: Option<Vec<String>>,
    /// Values that stand for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<ValueMap>,
    /// What the values are; texts by default.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub value_type: Option<ValueType>,
    /// The decimal mark of numbers, `.` or `,`; `.` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<String>,
    /// The edges of ranges of numbers, ascending. A lower bound belongs to its range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<Vec<Edge>>,
    /// The names of the ranges: one more than there are edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

/// Pairs of a value and the value that it stands for, in the order of the JSON object that declares
/// them. A key that the object has twice is here twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueMap(pub Vec<(String, String)>);

/// The edge of a range: a JSON number, kept as it was written.
#[derive(Debug, Clone)]
pub struct Edge(Box<RawValue>);

impl From<&str> for FieldDeclaration {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for FieldDeclaration {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl Serialize for FieldDeclaration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Rules(rules) => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FieldDeclaration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;

        impl<'de> Visitor<'de> for Item {
            type Value = FieldDeclaration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with `field`")
            }

            fn visit_str<E>(self, name: &str) -> Result<FieldDeclaration, E> {
                Ok(name.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldDeclaration, A::Error> {
                let rules = RulesDeclaration::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FieldDeclaration::Rules(Box::new(rules)))
            }
        }

        deserializer.deserialize_any(Item)
    }
}

impl Serialize for ValueMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (value, target) in &self.0 {
            map.serialize_entry(value, target)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ValueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = ValueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ValueMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(ValueMap(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

impl PartialEq for Edge {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Edge {}

impl Serialize for Edge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Edge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if json
            .get()
            .starts_with(|c: char| c == '-' || c.is_ascii_digit())
        {
            Ok(Self(json))
        } else {
            let found = de::Unexpected::Other(match json.get().as_bytes().first() {
                Some(b'"') => "string",
                Some(b'[') => "sequence",
                Some(b'{') => "map",
                Some(b'n') => "null",
                _ => "boolean",
            });
            Err(de::Error::invalid_type(found, &"a number"))
        }
    }
}

impl FieldDeclaration {
    /// The field's name as it was declared.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Rules(rules) => &rules.field,
        }
    }

    /// The same declaration of a field with this name.
    #[must_use]
    pub(crate) fn named(self, name: String) -> Self {
        match self {
            Self::Name(_) => Self::Name(name),
            Self::Rules(rules) => Self::Rules(Box::new(RulesDeclaration {
                field: name,
                ..*rules
            })),
        }
    }

    /// The checked rules. `None` when nothing is declared that makes a difference.
    ///
    /// # Errors
    /// [`Invalid`] naming the place within the item at `index` that breaks a rule.
    pub(crate) fn check(&self, index: usize) -> Result<Option<FieldRules>, Invalid> {
        match self {
            Self::Name(_) => Ok(None),
            Self::Rules(rules) => rules.check(&format!("segment_by[{index}]")),
        }
    }
}

impl RulesDeclaration {
    /// The most values that one field's rules may name in `values`.
    pub const MAX_VALUES: usize = 10_000;
    /// The most items of `null`, `bins` and `labels`.
    pub const MAX_ITEMS: usize = 1_000;

    fn check(&self, place: &str) -> Result<Option<FieldRules>, Invalid> {
        let has = |rule| self.normalise.iter().flatten().any(|r| *r == rule);
        let mut rules = FieldRules {
            collapse: has(Normalise::CollapseSpaces),
            casefold: has(Normalise::Casefold),
            separators: has(Normalise::Separators),
            ..FieldRules::default()
        };
        rules.kind = self.kind(place)?;
        if rules.kind != Kind::Text {
            for rule in [Normalise::Casefold, Normalise::Separators] {
                if has(rule) {
                    return Err(Invalid::new(format!(
                        "`{place}.normalise`: `{rule}` is for texts only, and the type is `{}`",
                        self.value_type.unwrap_or(ValueType::Text),
                    )));
                }
            }
        }
        self.check_null(place, &mut rules)?;
        self.check_values(place, &mut rules)?;
        Ok((rules != FieldRules::default()).then_some(rules))
    }

    fn kind(&self, place: &str) -> Result<Kind, Invalid> {
        let number = self.value_type == Some(ValueType::Number);
        let needs = |what: &str, needed: &str| {
            Err(Invalid::new(format!("`{place}.{what}` needs {needed}")))
        };
        if self.decimal.is_some() && !number {
            return needs("decimal", "`\"type\": \"number\"`");
        }
        if self.bins.is_some() && !number {
            return needs("bins", "`\"type\": \"number\"`");
        }
        if self.labels.is_some() && self.bins.is_none() {
            return needs("labels", "`bins`");
        }
        match self.value_type {
            None | Some(ValueType::Text) => return Ok(Kind::Text),
            Some(ValueType::Boolean) => return Ok(Kind::Boolean),
            Some(ValueType::Number) => {}
        }
        let decimal = match self.decimal.as_deref() {
            None | Some(".") => '.',
            Some(",") => ',',
            Some(other) => {
                return Err(Invalid::new(format!(
                    "`{place}.decimal` must be `.` or `,`, not `{}`",
                    text::excerpt(other)
                )));
            }
        };
        let Some(bins) = &self.bins else {
            return Ok(Kind::Number { decimal });
        };
        let edges = edges(&format!("{place}.bins"), bins)?;
        let labels = self.labels.as_deref().unwrap_or_default();
        if edges.is_empty() && labels.len() != 1 {
            return Err(Invalid::new(format!(
                "`{place}.bins` has no edges; give at least one number, or leave `bins` out"
            )));
        }
        let labels = labels_of(&format!("{place}.labels"), labels, edges.len())?;
        Ok(Kind::Bins {
            decimal,
            edges,
            labels,
        })
    }

    fn check_null(&self, place: &str, rules: &mut FieldRules) -> Result<(), Invalid> {
        let values = self.null.as_deref().unwrap_or_default();
        at_most(&format!("{place}.null"), values.len(), Self::MAX_ITEMS)?;
        for (index, value) in values.iter().enumerate() {
            check_text(&format!("{place}.null[{index}]"), value)?;
            // A blank value means no value without a rule.
            if let Some(value) = rules.spelled(value) {
                rules.null.insert(super::apply::folded(&value));
            }
        }
        Ok(())
    }

    fn check_values(&self, place: &str, rules: &mut FieldRules) -> Result<(), Invalid> {
        let pairs = self.values.as_ref().map_or(&[][..], |map| &map.0);
        let place = format!("{place}.values");
        at_most(&place, pairs.len(), Self::MAX_VALUES)?;
        let mut keys: HashMap<String, &str> = HashMap::new();
        for (value, target) in pairs {
            let shown = text::excerpt(value);
            check_text(&format!("{place}.{shown}"), value)?;
            check_text(&format!("{place}.{shown}"), target)?;
            let Some(target) = text::normalise(target) else {
                return Err(Invalid::new(format!(
                    "`{place}`: the target of `{shown}` is empty; values that mean no value \
                     belong in `null`"
                )));
            };
            // No customer has a blank value.
            let Some(key) = rules.spelled(value).map(|value| rules.key_of(&value)) else {
                continue;
            };
            if let Some(other) = rules.values.insert(key.clone(), target.into_owned())
                && rules.values.get(&key) != Some(&other)
            {
                return Err(Invalid::new(format!(
                    "`{place}`: `{}` and `{shown}` are the same value after `normalise`, and have \
                     different targets",
                    text::excerpt(keys.get(&key).copied().unwrap_or_default()),
                )));
            }
            keys.insert(key, value);
        }
        for (value, target) in pairs {
            let Some(target) = text::normalise(target) else {
                continue;
            };
            let next = rules
                .spelled(&target)
                .and_then(|target| rules.values.get(&rules.key_of(&target)));
            if next.is_some_and(|next| *next != target) {
                return Err(Invalid::new(format!(
                    "`{place}`: the target of `{}` is `{}`, which has another target itself; map \
                     each value to its last target",
                    text::excerpt(value),
                    text::excerpt(&target),
                )));
            }
        }
        rules.index_targets();
        Ok(())
    }
}

fn at_most(place: &str, count: usize, most: usize) -> Result<(), Invalid> {
    if count <= most {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "`{place}` may have at most {most} items, not {count}"
    )))
}

/// A text that a value of a field to segment by can be compared with.
fn check_text(place: &str, value: &str) -> Result<(), Invalid> {
    text::check(place, value)?;
    if value.chars().nth(MAX_VALUE_LENGTH).is_some() {
        return Err(Invalid::new(format!(
            "`{place}` may have at most {MAX_VALUE_LENGTH} characters"
        )));
    }
    Ok(())
}

fn edges(place: &str, bins: &[Edge]) -> Result<Vec<Number>, Invalid> {
    at_most(place, bins.len(), RulesDeclaration::MAX_ITEMS)?;
    let mut edges: Vec<Number> = Vec::with_capacity(bins.len());
    for (index, edge) in bins.iter().enumerate() {
        let written = edge.0.get();
        let number = Some(written)
            .filter(|written| written.len() <= MAX_VALUE_LENGTH)
            .and_then(Number::from_json)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`{place}[{index}]` has too many digits or too large an exponent: `{}`",
                    text::excerpt(written)
                ))
            })?;
        if edges.last().is_some_and(|last| *last >= number) {
            return Err(Invalid::new(format!(
                "`{place}[{index}]`: edges must ascend, and `{}` is not more than the edge before",
                text::excerpt(written)
            )));
        }
        edges.push(number);
    }
    Ok(edges)
}

fn labels_of(place: &str, labels: &[String], edges: usize) -> Result<Vec<String>, Invalid> {
    if labels.len() != edges + 1 {
        return Err(Invalid::new(format!(
            "`{place}` must have {} items, one more than `bins`; it has {}",
            edges + 1,
            labels.len()
        )));
    }
    let mut taken: Vec<String> = Vec::with_capacity(labels.len());
    let mut seen = std::collections::HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        let label = text::name(&format!("{place}[{index}]"), label, MAX_VALUE_LENGTH)?;
        if !seen.insert(label.clone()) {
            return Err(Invalid::new(format!(
                "`{place}[{index}]`: two ranges have the label `{}`",
                text::excerpt(&label)
            )));
        }
        taken.push(label);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests;
