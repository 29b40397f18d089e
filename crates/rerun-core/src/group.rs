//! Customer groups and the import of customers.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{AccountId, CustomerGroupId};
use crate::invalid::Invalid;
use crate::page::{Contents, json_bytes, list_bytes};
use crate::segment::{CUSTOMER_REF, SegmentBy};
use crate::status::wire_enum;
use crate::text;
use crate::timestamp::Timestamp;

/// A named set of customers, each with an external reference and profile fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerGroup {
    /// The account it belongs to.
    pub account_id: AccountId,
    /// Its id.
    pub id: CustomerGroupId,
    /// Its name, for people.
    pub name: String,
    /// How many customers it has.
    pub customer_count: i64,
    /// The names of the profile fields that imports brought, in the order in which they came; at
    /// most [`CustomerGroup::MAX_FIELDS`].
    pub fields: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its customers last changed.
    pub updated_at: Timestamp,
}

impl Contents for CustomerGroup {
    fn bytes(&self) -> usize {
        json_bytes(&self.name) + list_bytes(&self.fields)
    }
}

impl CustomerGroup {
    /// The longest name, in characters.
    pub const MAX_NAME_LENGTH: usize = 255;

    /// The most field names that a group keeps.
    pub const MAX_FIELDS: usize = 10_000;
}

wire_enum! {
    /// What an import does with the customers and values that its file does not have.
    ImportMode {
        /// Keeps them.
        Merge => "merge",
        /// Removes them.
        Replace => "replace",
    }
}

impl ImportMode {
    /// Returns the fields of a group that had `known`, after an import of a file with the columns
    /// `of_file`, whether it has rows or not. A merge adds the new names at the end.
    #[must_use]
    pub fn fields_after(self, known: &[String], of_file: &[String]) -> Vec<String> {
        let before = match self {
            Self::Merge => known,
            Self::Replace => &[],
        };
        let has: HashSet<&String> = before.iter().collect();
        let new = of_file.iter().filter(|name| !has.contains(name));
        let all = before.iter().chain(new).cloned();
        all.take(CustomerGroup::MAX_FIELDS).collect()
    }
}

/// The header row of an import: which column holds the customer's reference, and which profile
/// fields the others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportHeader {
    /// Columns with a name.
    named: usize,
    /// Columns, the nameless ones at the end included.
    width: usize,
    reference: usize,
    ref_column: String,
    fields: Vec<String>,
}

impl ImportHeader {
    /// The most names that an error lists.
    const MAX_LISTED: usize = 20;

    /// Reads the header of a file that starts with it, with the references in `customer_ref`.
    ///
    /// # Errors
    /// As [`ImportHeader::read`].
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        Self::read(1, CUSTOMER_REF, columns)
    }

    /// Reads the header that starts on `line`, with the references in the column `ref_column`.
    /// With another `ref_column`, a column `customer_ref` is a field like any other. Names are
    /// normalised like profile values first. Nameless columns at the end are left out.
    ///
    /// # Errors
    /// [`Invalid`] naming the line when the header has no column `ref_column`, or when a name is
    /// given twice, is too long, or is missing before a named column.
    pub fn read<'a>(
        line: u64,
        ref_column: &str,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Invalid> {
        let refused = |why: String| Invalid::new(format!("line {line}: {why}"));
        let ref_column = text::normalise(ref_column)
            .ok_or_else(|| Invalid::new("`ref_column` must not be blank"))?;
        let mut names: Vec<String> = Vec::new();
        let mut known = HashSet::new();
        let (mut width, mut nameless) = (0, None);
        for column in columns {
            width += 1;
            if column.contains('\0') {
                return Err(refused(format!(
                    "the name of column {width} holds a NUL character"
                )));
            }
            let Some(name) = text::normalise(column) else {
                nameless = nameless.or(Some(width));
                continue;
            };
            if let Some(place) = nameless {
                return Err(refused(format!("column {place} of the header has no name")));
            }
            if name.chars().nth(SegmentBy::MAX_FIELD_LENGTH).is_some() {
                return Err(refused(format!(
                    "the name of column {width} is longer than {} characters",
                    SegmentBy::MAX_FIELD_LENGTH
                )));
            }
            let name = name.into_owned();
            if !known.insert(name.clone()) {
                let name = name.escape_debug();
                return Err(refused(format!("the header names `{name}` twice")));
            }
            names.push(name);
        }
        let with_name = names.len();
        let Some(reference) = names.iter().position(|name| *name == ref_column) else {
            return Err(refused(Self::without(&ref_column, width, &names)));
        };
        names.remove(reference);
        Ok(Self {
            named: with_name,
            width,
            reference,
            ref_column: ref_column.into_owned(),
            fields: names,
        })
    }

    /// Why a header with these names has no column for the reference.
    fn without(ref_column: &str, width: usize, names: &[String]) -> String {
        let missing = format!("the header has no column `{}`", ref_column.escape_debug());
        if width == 0 {
            return format!("{missing}; the file is empty");
        }
        if names.is_empty() {
            return format!("{missing}; it has no names");
        }
        let listed: Vec<String> = names
            .iter()
            .take(Self::MAX_LISTED)
            .map(|name| name.escape_debug().to_string())
            .collect();
        let more = match names.len().saturating_sub(Self::MAX_LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{missing}; it has: {}{more}", listed.join(", "))
    }

    /// The profile fields, in the order of their columns.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Takes a row of the file; `line` is where it starts, from 1. Values without a named column
    /// must be blank, and are left out.
    ///
    /// # Errors
    /// [`Invalid`] naming the line when the row is too short or too long, its reference is
    /// blank, or a value holds a NUL character.
    pub fn row<'a>(
        &self,
        line: u64,
        values: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<CustomerRow, Invalid> {
        let found = values.len();
        let of_another_size = || {
            Invalid::new(format!(
                "line {line}: {found} values where the header has {} columns",
                self.named
            ))
        };
        if found < self.named {
            return Err(of_another_size());
        }
        let mut reference = None;
        let mut fields = Vec::with_capacity(self.fields.len());
        for (place, value) in values.enumerate() {
            if value.contains('\0') {
                return Err(Invalid::new(format!(
                    "line {line}: column {} holds a NUL character",
                    place + 1
                )));
            }
            let value = text::normalise(value);
            if place >= self.width && value.is_some() {
                return Err(of_another_size());
            }
            if place >= self.named {
                if value.is_some() {
                    return Err(Invalid::new(format!(
                        "line {line}: column {} has a value, but the header has no name for it",
                        place + 1
                    )));
                }
                continue;
            }
            let value = value.map(Cow::into_owned);
            if place == self.reference {
                reference = value;
            } else {
                fields.push(value);
            }
        }
        let customer_ref = reference.ok_or_else(|| {
            let ref_column = self.ref_column.escape_debug();
            Invalid::new(format!("line {line}: `{ref_column}` is blank"))
        })?;
        if customer_ref.len() > CustomerRow::MAX_REFERENCE_BYTES {
            return Err(Invalid::new(format!(
                "line {line}: `{}` is longer than {} bytes",
                self.ref_column.escape_debug(),
                CustomerRow::MAX_REFERENCE_BYTES
            )));
        }
        Ok(CustomerRow {
            customer_ref,
            values: fields,
        })
    }
}

/// A customer as a row of an import gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRow {
    /// The external reference, normalised; unique within a group.
    pub customer_ref: String,
    /// The values of [`ImportHeader::fields`], normalised, `None` for an empty one.
    pub values: Vec<Option<String>>,
}

/// A customer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The external reference.
    pub customer_ref: String,
    /// Normalised values by field name; fields without a value are not there.
    pub profile: BTreeMap<String, String>,
}

impl Contents for Customer {
    fn bytes(&self) -> usize {
        let fields = self.profile.iter();
        let profile: usize = fields
            .map(|(name, value)| json_bytes(name) + json_bytes(value) + 6)
            .sum();
        json_bytes(&self.customer_ref) + profile
    }
}

impl Customer {
    /// The reference that a request means by this text, as an import would read it; `None` when no
    /// customer can have it.
    ///
    /// # Errors
    /// [`Invalid`] naming `field` when the text holds a NUL character.
    pub fn reference(field: &str, text: &str) -> Result<Option<String>, Invalid> {
        text::check(field, text)?;
        let reference = text::normalise(text);
        let possible = reference.filter(|it| it.len() <= CustomerRow::MAX_REFERENCE_BYTES);
        Ok(possible.map(Cow::into_owned))
    }
}

/// Stands for an erased customer in the audit log: SHA-256 of the account's id as text, a line feed,
/// and the reference.
#[must_use]
pub fn customer_digest(account: AccountId, customer_ref: &str) -> [u8; 32] {
    Sha256::digest(format!("{account}\n{customer_ref}")).into()
}

/// What a deletion of customers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedCustomers {
    /// Customers that went.
    pub deleted_customers: u64,
    /// Customers that the group has left.
    pub total: u64,
}

impl CustomerRow {
    /// The longest reference, in bytes of UTF-8: references are keys in the database.
    pub const MAX_REFERENCE_BYTES: usize = 1_000;
}

/// The rows of an import, pulled one by one by the store from a thread that may block.
pub type CustomerRows = Box<dyn Iterator<Item = Result<CustomerRow, Invalid>> + Send>;

/// A file of customers: its columns, and its rows as an [`ImportHeader`] makes them.
pub struct CustomerFile {
    /// The names of its profile fields, in the order of the columns.
    pub fields: Vec<String>,
    /// What becomes of the customers and values that it does not have.
    pub mode: ImportMode,
    /// Its rows.
    pub rows: CustomerRows,
}

impl CustomerFile {
    /// Rows of values in the order of `columns`, of which one is `customer_ref`. They need not come
    /// from a file: an error names a row by the line that it would be on below its header.
    ///
    /// # Errors
    /// As [`ImportHeader::new`].
    pub fn of<R, V>(
        columns: &[&str],
        rows: impl IntoIterator<Item = R, IntoIter: Send + 'static>,
        mode: ImportMode,
    ) -> Result<Self, Invalid>
    where
        R: IntoIterator<Item = V>,
        V: AsRef<str>,
    {
        let header = ImportHeader::new(columns.iter().copied())?;
        let fields = header.fields().to_vec();
        let rows = (2..).zip(rows).map(move |(line, row)| {
            let values: Vec<V> = row.into_iter().collect();
            header.row(line, values.iter().map(AsRef::as_ref))
        });
        Ok(Self {
            fields,
            mode,
            rows: Box::new(rows),
        })
    }

    /// Refuses the file when it replaces a group's customers and has no rows: nothing is emptied
    /// by accident. The refusal comes in place of the first row.
    #[must_use]
    pub fn not_emptying(self) -> Self {
        if self.mode == ImportMode::Merge {
            return self;
        }
        let rows = AtLeastOne {
            rows: self.rows,
            asked: false,
        };
        Self {
            rows: Box::new(rows),
            ..self
        }
    }
}

struct AtLeastOne {
    rows: CustomerRows,
    asked: bool,
}

impl Iterator for AtLeastOne {
    type Item = Result<CustomerRow, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = !std::mem::replace(&mut self.asked, true);
        let row = self.rows.next();
        if first && row.is_none() {
            let why = "the file has no rows; with `mode=replace` it would remove every customer";
            return Some(Err(Invalid::new(why)));
        }
        row
    }
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// Rows read.
    pub rows: u64,
    /// Customers that the group did not have.
    pub imported: u64,
    /// Customers that it had and whose values changed.
    pub updated: u64,
    /// Customers that it had and no longer has.
    pub removed: u64,
    /// Rows whose reference came before in the file. Of the rows with one reference the last wins.
    pub duplicates: u64,
    /// Customers that it has now.
    pub total: u64,
}

impl Imported {
    /// Whether a customer came, changed or went.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.imported > 0 || self.updated > 0 || self.removed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(columns: &[&str]) -> Result<ImportHeader, String> {
        ImportHeader::new(columns.iter().copied()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_digest_of_a_customer_never_changes_between_versions() {
        let account = AccountId::new(uuid::Uuid::from_u128(1));
        assert_eq!(
            hex::encode(customer_digest(account, "c-1")),
            "b6caf5128afba60c1a445fc4f045bbe346d531e24913f1692271ac1ef8ccb6ba"
        );
    }

    #[test]
    fn a_header_needs_distinct_names_and_the_reference() {
        assert!(
            header(&["country"])
                .unwrap_err()
                .contains("no column `customer_ref`")
        );
        assert!(
            header(&["customer_ref", " ", "a"])
                .unwrap_err()
                .contains("line 1: column 2 of the header has no name")
        );
        assert!(
            header(&["customer_ref", "a", " a"])
                .unwrap_err()
                .contains("`a` twice")
        );
        assert!(
            header(&["customer_ref", "a\0"])
                .unwrap_err()
                .contains("NUL")
        );
        assert_eq!(
            header(&["a", "customer_ref", "b"]).unwrap().fields(),
            ["a", "b"]
        );
    }

    #[test]
    fn a_merge_adds_fields_at_the_end_and_a_replacement_has_those_of_the_file() {
        let names = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let after = |mode: ImportMode| mode.fields_after(&names("b a"), &names("c a d"));
        assert_eq!(after(ImportMode::Merge), names("b a c d"));
        assert_eq!(after(ImportMode::Replace), names("c a d"));
        let many: Vec<String> = (0..=CustomerGroup::MAX_FIELDS)
            .map(|n| n.to_string())
            .collect();
        let kept = ImportMode::Merge.fields_after(&names("b a"), &many);
        assert_eq!(kept.len(), CustomerGroup::MAX_FIELDS);
        assert_eq!(kept[..3], names("b a 0"));
    }

    #[test]
    fn a_file_without_rows_replaces_nothing() {
        let file = |mode, rows: u64| {
            let row = || {
                Ok(CustomerRow {
                    customer_ref: "a".into(),
                    values: Vec::new(),
                })
            };
            CustomerFile {
                fields: Vec::new(),
                mode,
                rows: Box::new((0..rows).map(move |_| row())),
            }
        };
        let pulled = |mode, rows| -> Result<usize, String> {
            let rows: Result<Vec<_>, _> = file(mode, rows).not_emptying().rows.collect();
            rows.map(|rows| rows.len()).map_err(|e| e.to_string())
        };
        assert_eq!(pulled(ImportMode::Merge, 0), Ok(0));
        assert_eq!(pulled(ImportMode::Replace, 2), Ok(2));
        assert!(
            pulled(ImportMode::Replace, 0)
                .unwrap_err()
                .contains("no rows")
        );
    }

    #[test]
    fn another_column_can_hold_the_reference() {
        let columns = ["id", "customer_ref"];
        let header = ImportHeader::read(2, " id ", columns).unwrap();
        assert_eq!(header.fields(), ["customer_ref"]);
        let row = header.row(3, ["x", "y"].into_iter()).unwrap();
        assert_eq!(
            (row.customer_ref.as_str(), row.values),
            ("x", vec![Some("y".to_owned())])
        );
        let refused = |row: [&'static str; 2]| {
            let refused = header.row(3, row.into_iter()).unwrap_err();
            refused.to_string()
        };
        assert_eq!(refused(["", "y"]), "line 3: `id` is blank");
        let without = ImportHeader::read(2, "ref", columns).unwrap_err();
        assert_eq!(
            without.to_string(),
            "line 2: the header has no column `ref`; it has: id, customer_ref"
        );
        let blank = ImportHeader::read(2, " ", columns).unwrap_err();
        assert_eq!(blank.to_string(), "`ref_column` must not be blank");
    }

    #[test]
    fn a_header_without_the_reference_lists_at_most_twenty_names() {
        let names: Vec<String> = (1..=22).map(|n| format!("n{n}")).collect();
        let error = ImportHeader::new(names.iter().map(String::as_str)).unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with("n19, n20 and 2 more"), "{error}");
        let error = header(&["a\n\u{1b}b"]).unwrap_err();
        assert!(error.ends_with("it has: a\\n\\u{1b}b"), "{error}");
        assert_eq!(
            header(&[]).unwrap_err(),
            "line 1: the header has no column `customer_ref`; the file is empty"
        );
    }

    #[test]
    fn nameless_columns_at_the_end_are_left_out_while_they_are_empty() {
        let header = header(&["customer_ref", "a", "", " "]).unwrap();
        let row = |values: &[&str]| {
            let row = header.row(2, values.iter().copied());
            row.map(|row| row.values).map_err(|e| e.to_string())
        };
        for values in [
            &["x", "y"][..],
            &["x", "y", ""],
            &["x", "y", "", " "],
            &["x", "y", "", "", ""],
        ] {
            assert_eq!(row(values), Ok(vec![Some("y".to_owned())]), "{values:?}");
        }
        for (values, said) in [
            (&["x"][..], "line 2: 1 values where the header has 2"),
            (
                &["x", "y", "", "z"],
                "line 2: column 4 has a value, but the header has no name for it",
            ),
            (
                &["x", "y", "", "", "z"],
                "line 2: 5 values where the header has 2",
            ),
        ] {
            let error = row(values).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_file_is_made_of_rows_from_anywhere() {
        let columns = ["country", "customer_ref"];
        let rows = vec![vec!["DE", "1"], vec!["FR", " "]];
        let file = CustomerFile::of(&columns, rows, ImportMode::Merge).unwrap();
        assert_eq!(file.fields, ["country"]);
        let rows: Vec<_> = file.rows.collect();
        let first = rows[0].as_ref().unwrap();
        assert_eq!(first.customer_ref, "1");
        assert_eq!(first.values, [Some("DE".to_owned())]);
        let refused = rows[1].as_ref().unwrap_err().to_string();
        assert!(refused.starts_with("line 3: "), "{refused}");
        let none = CustomerFile::of::<[&str; 1], _>(&["country"], [], ImportMode::Merge);
        assert!(none.is_err());
    }

    #[test]
    fn a_row_is_normalised_or_refused_with_its_line() {
        let header = header(&["country", "customer_ref"]).unwrap();
        let row = |values: &[&str]| {
            header
                .row(7, values.iter().copied())
                .map_err(|e| e.to_string())
        };
        let good = row(&[" ", " C-1 "]).unwrap();
        assert_eq!(
            (good.customer_ref.as_str(), good.values),
            ("C-1", vec![None])
        );
        assert_eq!(
            row(&["e\u{301}", "x"]).unwrap().values,
            [Some("é".to_owned())]
        );
        for (values, said) in [
            (vec!["DE"], "line 7: 1 values where the header has 2"),
            (vec!["DE", "x", "y"], "line 7: 3 values"),
            (vec!["DE", " "], "line 7: `customer_ref` is blank"),
            (vec!["D\0", "x"], "line 7: column 1 holds a NUL"),
        ] {
            assert!(row(&values).unwrap_err().contains(said), "{values:?}");
        }
        assert!(
            row(&["DE", &"x".repeat(1_001)])
                .unwrap_err()
                .contains("1000 bytes")
        );
    }
}
