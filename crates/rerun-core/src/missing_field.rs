//! A field to segment by that no customer of a group has: nearly always a misspelt name.

use std::fmt;

use crate::ids::CustomerGroupId;

/// No customer of a group has a value for some fields of the segmentation. The message names the
/// fields, the group, and the fields that the group has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSegmentField {
    /// The fields without any value, in the order of the segmentation.
    pub fields: Vec<String>,
    /// The group.
    pub group: CustomerGroupId,
    /// Its name.
    pub group_name: String,
    /// Fields that the group has. Those that differ from a missing one by letter case, white space
    /// or one letter come first.
    pub known: Vec<String>,
    /// How many fields the group has besides.
    pub more: usize,
}

impl UnknownSegmentField {
    /// The most fields of the group that the message names.
    pub const MAX_KNOWN: usize = 20;

    /// The most fields that are looked for among the customers, to name those that have a value.
    pub(crate) const MAX_ASKED: usize = 2 * Self::MAX_KNOWN;

    /// `fields` have no value in the group with this id and name, which has the fields `known`.
    pub(crate) fn new(
        fields: Vec<String>,
        (group, group_name): (CustomerGroupId, &str),
        known: &[String],
    ) -> Self {
        let missing: Vec<Vec<char>> = fields.iter().map(|name| folded(name)).collect();
        let mut ranked: Vec<(Likeness, &String)> = known
            .iter()
            .filter(|name| !fields.contains(name))
            .map(|name| {
                let folded = folded(name);
                let likeness = missing.iter().map(|missing| likeness(missing, &folded));
                (likeness.min().unwrap_or(Likeness::None), name)
            })
            .collect();
        ranked.sort_by_key(|(likeness, _)| *likeness);
        Self {
            fields,
            group,
            group_name: group_name.to_owned(),
            more: ranked.len().saturating_sub(Self::MAX_ASKED),
            known: ranked
                .into_iter()
                .take(Self::MAX_ASKED)
                .map(|(_, name)| name.clone())
                .collect(),
        }
    }

    /// Leaves out fields that imports brought and no customer has a value for: they would be
    /// refused next.
    pub(crate) fn keep_valued(&mut self, valued: &[String]) {
        self.known.retain(|name| valued.contains(name));
    }
}

impl std::error::Error for UnknownSegmentField {}

impl fmt::Display for UnknownSegmentField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id) = (&self.group_name, self.group);
        write!(
            f,
            "no customer of the customer group `{name}` ({id}) has a value for "
        )?;
        list(f, &self.fields, " or ")?;
        let named = self.known.get(..Self::MAX_KNOWN).unwrap_or(&self.known);
        let more = self.more + self.known.len() - named.len();
        match (named, more) {
            ([], 0) => f.write_str("; the group has no other field with a value")?,
            ([], more) => write!(f, "; the group has {more} other fields")?,
            (named, more) => {
                f.write_str("; the group has ")?;
                list(f, named, ", ")?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
            }
        }
        f.write_str(". Correct the name, or send `\"allow_missing_fields\": true` if this is meant")
    }
}

fn list(f: &mut fmt::Formatter<'_>, names: &[String], between: &str) -> fmt::Result {
    for (place, name) in names.iter().enumerate() {
        let between = if place == 0 { "" } else { between };
        write!(f, "{between}`{name}`")?;
    }
    Ok(())
}

/// How near a name is to another, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Only letter case and white space differ.
    Spelling,
    /// One letter more, less or other.
    OneLetter,
    None,
}

/// A name without white space, in lower case.
fn folded(name: &str) -> Vec<char> {
    let letters = name.chars().filter(|letter| !letter.is_whitespace());
    letters.flat_map(char::to_lowercase).collect()
}

/// Compares folded names. What they have in common at the start and at the end leaves at most
/// one letter of each when they are one letter apart.
fn likeness(one: &[char], other: &[char]) -> Likeness {
    if one == other {
        return Likeness::Spelling;
    }
    let shorter = one.len().min(other.len());
    let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let ends = one.iter().rev().zip(other.iter().rev());
    let end = ends.take_while(|(a, b)| a == b).count();
    let common = (start + end).min(shorter);
    if one.len().max(other.len()) - common <= 1 {
        Likeness::OneLetter
    } else {
        Likeness::None
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn unknown(fields: &[&str], known: &[String]) -> UnknownSegmentField {
        let group = (CustomerGroupId::new(Uuid::nil()), "Spring");
        UnknownSegmentField::new(names(fields), group, known)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn like(one: &str, other: &str) -> Likeness {
        let (one, other) = (folded(one), folded(other));
        let found = likeness(&one, &other);
        assert_eq!(found, likeness(&other, &one));
        found
    }

    #[test]
    fn names_that_differ_by_case_space_or_one_letter_are_alike() {
        for other in ["Country", "COUNTRY", "coun try", "\u{a0}Country"] {
            assert_eq!(like("country", other), Likeness::Spelling, "{other}");
        }
        assert_eq!(like("größe", "GRÖẞE"), Likeness::Spelling);
        for other in [
            "countrys",
            "contry",
            "ountry",
            "coumtry",
            "Kountry",
            "c ountryy",
        ] {
            assert_eq!(like("country", other), Likeness::OneLetter, "{other}");
        }
        assert_eq!(like("aa", "aaa"), Likeness::OneLetter);
        assert_eq!(like("aba", "aa"), Likeness::OneLetter);
        assert_eq!(like("a", ""), Likeness::OneLetter);
        for other in ["county of birth", "conuntri", "tier", "", "cuontry"] {
            assert_eq!(like("country", other), Likeness::None, "{other}");
        }
        assert_eq!(like("abab", "ab"), Likeness::None);
    }

    #[test]
    fn the_message_names_field_group_and_the_nearest_fields_first() {
        let many: Vec<String> = (0..30).map(|n| format!("f{n}")).collect();
        let mut known = many.clone();
        known.extend(names(&["contry", "Country"]));
        let unknown = unknown(&["country"], &known);
        assert_eq!(unknown.known.len(), 32);
        assert_eq!(unknown.known[..3], ["Country", "contry", "f0"]);
        let message = unknown.to_string();
        assert!(
            message.starts_with(
                "no customer of the customer group `Spring` \
                 (00000000-0000-0000-0000-000000000000) has a value for `country`; the group has \
                 `Country`, `contry`, `f0`, "
            ),
            "{message}"
        );
        assert!(
            message.contains("`f17` and 12 more. Correct the name"),
            "{message}"
        );
        assert!(message.contains("allow_missing_fields"), "{message}");
    }

    /// The file has the column, but it is blank in every row.
    #[test]
    fn a_field_without_values_is_not_proposed_for_itself() {
        let known = names(&["country", "tier"]);
        let unknown = unknown(&["country", "Tier"], &known);
        assert_eq!(unknown.known, ["tier"]);
        assert!(
            unknown
                .to_string()
                .contains("`country` or `Tier`; the group has `tier`.")
        );
        let unknown = self::unknown(&["country"], &known[..1]);
        assert!(
            unknown
                .to_string()
                .contains("the group has no other field with a value.")
        );
    }

    #[test]
    fn only_fields_with_a_value_are_proposed() {
        let known: Vec<String> = (0..50).map(|n| format!("f{n}")).collect();
        let mut unknown = unknown(&["country"], &known);
        assert_eq!(unknown.known, known[..40]);
        unknown.keep_valued(&names(&["f39", "f7"]));
        let message = unknown.to_string();
        assert!(
            message.contains("the group has `f7`, `f39` and 10 more."),
            "{message}"
        );
        unknown.keep_valued(&[]);
        let message = unknown.to_string();
        assert!(
            message.contains("the group has 10 other fields."),
            "{message}"
        );
    }
}
