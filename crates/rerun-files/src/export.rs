//! Files that are made of rows: their formats, and what a spreadsheet needs.

use std::borrow::Cow;
use std::io;
use std::str::FromStr;

use rerun_core::error::Invalid;

/// The form of an exported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CSV, exactly as values are or for spreadsheets.
    Csv {
        /// Whether the file has a byte order mark, and no value that a spreadsheet would take for
        /// a formula.
        spreadsheet: bool,
    },
    /// A JSON object in each line.
    JsonLines,
}

impl Format {
    /// From its name and whether a spreadsheet is to open the file.
    ///
    /// # Errors
    /// [`Invalid`] for a name that is neither `csv` nor `jsonl`, and for `spreadsheet` with the
    /// latter.
    pub fn of(format: &str, spreadsheet: Option<bool>) -> Result<Self, Invalid> {
        let spreadsheet = spreadsheet.unwrap_or_default();
        match (format.parse()?, spreadsheet) {
            (Name::Csv, spreadsheet) => Ok(Self::Csv { spreadsheet }),
            (Name::JsonLines, false) => Ok(Self::JsonLines),
            (Name::JsonLines, true) => Err(Invalid::new(
                "`spreadsheet` is for the format `csv`; leave it out with `jsonl`",
            )),
        }
    }

    /// The end of the file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv { .. } => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// What the HTTP header `content-type` says of it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Csv { .. } => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
        }
    }
}

enum Name {
    Csv,
    JsonLines,
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            _ => Err(Invalid::new(format!(
                "`format`: `{text}` is none of: csv, jsonl"
            ))),
        }
    }
}

/// Rows of CSV, for a file that is made piece by piece.
#[derive(Debug)]
pub struct CsvRows {
    rows: csv::Writer<Vec<u8>>,
    spreadsheet: bool,
}

impl CsvRows {
    /// The beginning of a file, with its header.
    ///
    /// # Errors
    /// As [`CsvRows::add`].
    pub fn begin<'a>(
        spreadsheet: bool,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let mark = if spreadsheet { "\u{feff}" } else { "" };
        let rows = csv::Writer::from_writer(mark.as_bytes().to_vec());
        let mut begun = Self { rows, spreadsheet };
        begun.add(columns)?;
        Ok(begun)
    }

    /// Continues a file: rows without a header.
    #[must_use]
    pub fn go_on(spreadsheet: bool) -> Self {
        Self {
            rows: csv::Writer::from_writer(Vec::new()),
            spreadsheet,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it has another number of values than the row before.
    pub fn add<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        for value in values {
            let value = if self.spreadsheet {
                harmless(value)
            } else {
                Cow::Borrowed(value)
            };
            self.rows.write_field(value.as_bytes())?;
        }
        Ok(self.rows.write_record(None::<&[u8]>)?)
    }

    /// The rows as they stand in the file.
    ///
    /// # Errors
    /// When the writer cannot be flushed.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        self.rows
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)
    }
}

/// The value as a spreadsheet shows it in place of computing it. Some programs pass over blanks and
/// line breaks before a formula, and some take the full-width signs too.
fn harmless(value: &str) -> Cow<'_, str> {
    let begins = |text: &str| text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if value.starts_with(['\t', '\r', '\n']) || begins(value.trim_start()) {
        Cow::Owned(format!("'{value}"))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_formula_gets_an_apostrophe() {
        for (value, expected) in [
            ("", ""),
            ("Hello", "Hello"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("=1+1", "'=1+1"),
            ("+49 30", "'+49 30"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\t=1", "'\t=1"),
            ("\rx", "'\rx"),
            ("\n", "'\n"),
            ("＝1", "'＝1"),
        ] {
            assert_eq!(harmless(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_file_for_a_spreadsheet_has_a_mark_once() {
        let mut rows = CsvRows::begin(true, ["a", "=b"]).unwrap();
        rows.add(["=1", "x,\"y\""]).unwrap();
        let begun = String::from_utf8(rows.into_bytes().unwrap()).unwrap();
        assert_eq!(begun, "\u{feff}a,'=b\n'=1,\"x,\"\"y\"\"\"\n");
        let mut rows = CsvRows::go_on(true);
        rows.add(["-2", ""]).unwrap();
        assert_eq!(rows.into_bytes().unwrap(), b"'-2,\n");
        let mut rows = CsvRows::begin(false, ["a"]).unwrap();
        rows.add(["=1"]).unwrap();
        assert_eq!(rows.into_bytes().unwrap(), b"a\n=1\n");
    }

    #[test]
    fn a_spreadsheet_is_csv() {
        assert_eq!(
            Format::of("csv", Some(true)),
            Ok(Format::Csv { spreadsheet: true })
        );
        assert_eq!(Format::of("jsonl", Some(false)), Ok(Format::JsonLines));
        assert!(Format::of("jsonl", Some(true)).is_err());
        assert!(Format::of("xlsx", None).is_err());
    }
}
