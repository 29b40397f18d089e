//! Customer groups and the import of customers.

use crate::Timestamp;
use crate::audit::AuditDraft;
use crate::error::Invalid;
use crate::ids::{AccountId, CustomerGroupId};
use crate::segment::{CUSTOMER_REF, SegmentBy};
use crate::text;

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
    /// When it was made.
    pub created_at: Timestamp,
    /// When its customers last changed.
    pub updated_at: Timestamp,
}

impl CustomerGroup {
    /// The longest name, in characters.
    pub const MAX_NAME_LENGTH: usize = 255;
}

/// The header row of an import: which column holds the customer's reference, and which profile
/// fields the others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportHeader {
    columns: usize,
    reference: usize,
    fields: Vec<String>,
}

impl ImportHeader {
    /// # Errors
    /// [`Invalid`] without a column `customer_ref`, or with a name that is empty, too long or
    /// doubled. Names are normalised like profile values first.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let mut names: Vec<String> = Vec::new();
        for column in columns {
            let place = names.len() + 1;
            text::check("the header row", column)?;
            let name = text::normalise(column).ok_or_else(|| {
                Invalid::new(format!("line 1: column {place} of the header has no name"))
            })?;
            if name.chars().nth(SegmentBy::MAX_FIELD_LENGTH).is_some() {
                return Err(Invalid::new(format!(
                    "line 1: the name of column {place} is longer than {} characters",
                    SegmentBy::MAX_FIELD_LENGTH
                )));
            }
            if names.iter().any(|known| *known == name) {
                return Err(Invalid::new(format!(
                    "line 1: the header names `{name}` twice"
                )));
            }
            names.push(name.into_owned());
        }
        let columns = names.len();
        let reference = names
            .iter()
            .position(|name| name == CUSTOMER_REF)
            .ok_or_else(|| {
                Invalid::new(format!("line 1: the header has no column `{CUSTOMER_REF}`"))
            })?;
        names.remove(reference);
        Ok(Self {
            columns,
            reference,
            fields: names,
        })
    }

    /// The profile fields, in the order of their columns.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Takes a row of the file; `line` is where it starts, from 1.
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
        if found != self.columns {
            return Err(Invalid::new(format!(
                "line {line}: {found} values where the header has {} columns",
                self.columns
            )));
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
            let value = text::normalise(value).map(std::borrow::Cow::into_owned);
            if place == self.reference {
                reference = value;
            } else {
                fields.push(value);
            }
        }
        let customer_ref = reference
            .ok_or_else(|| Invalid::new(format!("line {line}: `{CUSTOMER_REF}` is blank")))?;
        if customer_ref.len() > CustomerRow::MAX_REFERENCE_BYTES {
            return Err(Invalid::new(format!(
                "line {line}: `{CUSTOMER_REF}` is longer than {} bytes",
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

impl CustomerRow {
    /// The longest reference, in bytes of UTF-8: references are keys in the database.
    pub const MAX_REFERENCE_BYTES: usize = 1_000;
}

/// The rows of an import, pulled one by one by the store from a thread that may block.
pub type CustomerRows = Box<dyn Iterator<Item = Result<CustomerRow, Invalid>> + Send>;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Customers that the group did not have.
    pub imported: u64,
    /// Customers that it had and whose values changed.
    pub updated: u64,
    /// Customers that it has now.
    pub total: u64,
}

impl Imported {
    /// The audit entry of an import that did this.
    #[must_use]
    pub fn audited(&self, audit: AuditDraft) -> AuditDraft {
        audit
            .with("imported", self.imported)
            .with("updated", self.updated)
            .with("total", self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(columns: &[&str]) -> Result<ImportHeader, String> {
        ImportHeader::new(columns.iter().copied()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_header_needs_distinct_names_and_the_reference() {
        assert!(
            header(&["country"])
                .unwrap_err()
                .contains("no column `customer_ref`")
        );
        assert!(
            header(&["customer_ref", " "])
                .unwrap_err()
                .contains("column 2")
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
