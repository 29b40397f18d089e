//! Which separator a file has.

use std::io::Cursor;

use rerun_core::error::Invalid;
use rerun_core::segment::CUSTOMER_REF;
use rerun_core::text;

use crate::records::{Records, Separator, Stop, refused};
use crate::sniff::UTF_8;

/// What the caller says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// The column that holds the references.
    pub ref_column: String,
    /// What stands between values; else the file tells.
    pub separator: Option<Separator>,
}

impl CsvOptions {
    /// What tells these options from others, for an idempotency key.
    #[must_use]
    pub fn read_as(&self) -> String {
        let separator = self.separator.map(Separator::byte);
        serde_json::json!([self.ref_column, separator]).to_string()
    }
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            ref_column: CUSTOMER_REF.to_owned(),
            separator: None,
        }
    }
}

/// How a file is to be read after what comes before its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) separator: Separator,
    /// How many bytes come before.
    pub(super) skipped: usize,
    /// The first line after them.
    pub(super) line: u64,
}

/// Finds the separator, by what the caller names, by a first line `sep=;`, or by the header: it
/// is the one with which the header has the column of the reference. `start` is the start of the
/// file, with the whole header.
pub(super) fn layout(start: &[u8], options: &CsvOptions) -> Result<Layout, Stop> {
    let named = named(start)?;
    let (skipped, line) = named.map_or((0, 1), |(_, skipped)| (skipped, 2));
    let separator = match (options.separator, named) {
        (Some(wanted), Some((found, _))) if wanted != found => {
            return Err(Stop::Refused(Invalid::new(format!(
                "`delimiter` names {}, but line 1 of the file names {}",
                wanted.name(),
                found.name()
            ))));
        }
        (Some(separator), _) | (None, Some((separator, _))) => separator,
        (None, None) => fitting(start, &options.ref_column)?,
    };
    Ok(Layout {
        separator,
        skipped,
        line,
    })
}

/// The separator that a first line `sep=;` names, and how many bytes that line has. A program that
/// knows the line for a row like any other has quoted it, or filled it up with separators.
fn named(start: &[u8]) -> Result<Option<(Separator, usize)>, Stop> {
    let end = start.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let end = end.unwrap_or(start.len());
    let (line, rest) = start.split_at_checked(end).unwrap_or((start, &[]));
    let unquoted = line.strip_prefix(b"\"").unwrap_or(line);
    let Some((name, value)) = unquoted.split_at_checked(4) else {
        return Ok(None);
    };
    let value = String::from_utf8_lossy(value);
    if !name.eq_ignore_ascii_case(b"sep=") || value.contains(char::is_alphanumeric) {
        return Ok(None);
    }
    let mut named = value.chars().filter(|char| !matches!(char, ' ' | '"'));
    let first = named.next();
    let separator = first
        .filter(|first| named.all(|further| further == *first))
        .and_then(|first| Separator::parse(first.encode_utf8(&mut [0; 4])))
        .ok_or_else(|| refused(1, "`sep=` must name a comma, a semicolon or a tab"))?;
    let line_end = if rest.starts_with(b"\r\n") {
        2
    } else {
        rest.len().min(1)
    };
    Ok(Some((separator, end + line_end)))
}

/// The separator with which the header has the column. If none has, the one that the header has
/// most of, so that the error is about what was meant.
fn fitting(start: &[u8], ref_column: &str) -> Result<Separator, Stop> {
    let Some(ref_column) = text::normalise(ref_column) else {
        return Ok(Separator::Comma);
    };
    let header = start
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    let count = |separator: &Separator| {
        let separator = separator.byte();
        header.split(|byte| *byte == separator).count()
    };
    let mut likely = Separator::ALL;
    // Stable: a comma, where all are as many.
    likely.sort_by_key(|separator| std::cmp::Reverse(count(separator)));
    for separator in likely {
        let mut records = Records::new(Cursor::new(start), separator, 1, UTF_8);
        let fits = match records.record() {
            Ok(Some(header)) => header
                .values
                .iter()
                .any(|name| text::normalise(name).as_ref() == Some(&ref_column)),
            Ok(None) | Err(Stop::Refused(_)) => false,
            Err(failed @ Stop::Failed(_)) => return Err(failed),
        };
        if fits {
            return Ok(separator);
        }
    }
    let [first, ..] = likely;
    Ok(first)
}
