//! What a file is, by its first bytes.

/// The encoding of most files, as errors name it.
pub(crate) const UTF_8: &str = "UTF-8";
/// How many bytes are looked at.
pub(crate) const START_BYTES: usize = 8 << 10;

/// How the text of a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// The name for errors.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => UTF_8,
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
        }
    }
}

/// The byte order mark of UTF-8.
pub const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16_LE_MARK: &[u8] = b"\xff\xfe";
const UTF_16_BE_MARK: &[u8] = b"\xfe\xff";

/// First bytes that no text has, with what a file is that has them, and what to do with it.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip; send `content-encoding: gzip`"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "this is a spreadsheet workbook (xls); save it as CSV",
    ),
    (b"%PDF-", "this is a PDF; send the table as CSV"),
    (b"{\\rtf", "this is a document (RTF); send the table as CSV"),
    (b"PAR1\x15", "this is a Parquet file; send the table as CSV"),
    (
        b"SQLite format 3\0",
        "this is an SQLite database; send the table as CSV",
    ),
    (
        b"7z\xbc\xaf\x27\x1c",
        "this is an archive (7z); send the file in it",
    ),
    (
        b"Rar!\x1a\x07",
        "this is an archive (rar); send the file in it",
    ),
    (b"\xfd7zXZ\0", "xz; send it unpacked, or with gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd; send it unpacked, or with gzip"),
    (b"\x04\x22\x4d\x18", "lz4; send it unpacked, or with gzip"),
    (b"\x89PNG\r\n\x1a\n", "this is a picture (PNG)"),
    (b"\xff\xd8\xff", "this is a picture (JPEG)"),
    (b"GIF89a", "this is a picture (GIF)"),
    (b"\x7fELF", "this is a program"),
];

/// Names what begins with these bytes if it is certainly no JSON in UTF-8.
#[must_use]
pub fn not_json(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"\x1f\x8b") {
        return Some("this is gzip; send `content-encoding: gzip`");
    }
    if start.starts_with(UTF_16_LE_MARK) || start.starts_with(UTF_16_BE_MARK) {
        return Some("this is UTF-16");
    }
    match unmarked(start) {
        Some("UTF-32") => Some("this is UTF-32"),
        Some(_) => Some("this is UTF-16"),
        None => None,
    }
}

/// Names what begins with these bytes if it is certainly no text in UTF-8 or marked UTF-16.
fn foreign(start: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = SIGNATURES
        .iter()
        .find(|(bytes, _)| start.starts_with(bytes))
    {
        return Some(what);
    }
    // `BZh`, the size of a block, and the first six digits of pi.
    if start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY") {
        return Some("bzip2; send it unpacked, or with gzip");
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Some(zip(start));
    }
    if start.starts_with(b"\0\0\xfe\xff") || start.starts_with(b"\xff\xfe\0\0") {
        return Some("this is UTF-32; save it in UTF-8");
    }
    None
}

/// What is in a zip archive, by the names and the type that its start has in plain text.
fn zip(start: &[u8]) -> &'static str {
    let has = |what: &[u8]| start.windows(what.len()).any(|bytes| bytes == what);
    if has(b"opendocument.spreadsheet") {
        "this is a spreadsheet workbook (ods); save it as CSV"
    } else if has(b"opendocument") || has(b"word/") || has(b"ppt/") {
        "this is an office document; send the table as CSV"
    } else if has(b"xl/") || has(b"[Content_Types].xml") {
        "this is a spreadsheet workbook (xlsx); save it as CSV"
    } else {
        "this is an archive (zip); send the file in it"
    }
}

/// How a text without a byte order mark is encoded when it is wide: every second byte of ASCII
/// in UTF-16 is zero.
fn unmarked(start: &[u8]) -> Option<&'static str> {
    let is_wide = |size: usize, place: usize| {
        let units: Vec<_> = start.chunks_exact(size).take(16).collect();
        let ascii = |unit: &&&[u8]| {
            let mut bytes = unit.iter().enumerate();
            bytes.all(|(at, byte)| (*byte == 0) == (at != place))
        };
        // Names may have letters beyond ASCII.
        units.len() > 1 && units.iter().filter(ascii).count() * 4 >= units.len() * 3
    };
    if is_wide(4, 0) || is_wide(4, 3) {
        Some("UTF-32")
    } else if is_wide(2, 0) || is_wide(2, 1) {
        Some("UTF-16")
    } else {
        None
    }
}

/// What a text is that is no CSV, by how it begins.
fn markup(text: &[u8]) -> Option<&'static str> {
    let text = text.trim_ascii_start();
    let begins = |what: &str| {
        let start = text.get(..what.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(what.as_bytes()))
    };
    if ["<!doctype html", "<html", "<table", "<head", "<body"]
        .into_iter()
        .any(begins)
    {
        return Some("this is an HTML page; save the table as CSV");
    }
    if ["<?xml", "<!doctype"].into_iter().any(begins) {
        return Some("this is XML; send the table as CSV");
    }
    let (first, rest) = text.split_first()?;
    let next = rest.trim_ascii_start().first()?;
    let is_json = match first {
        b'{' => matches!(next, b'"' | b'}'),
        b'[' => matches!(next, b'{' | b'[' | b'"' | b']'),
        _ => false,
    };
    is_json.then_some("this is JSON; send the table as CSV")
}

/// The encoding of a CSV file, and how many bytes its byte order mark has.
///
/// # Errors
/// What the file is instead.
pub(crate) fn sniff(start: &[u8]) -> Result<(Encoding, usize), &'static str> {
    if let Some(what) = foreign(start) {
        return Err(what);
    }
    if start.starts_with(UTF_16_LE_MARK) {
        return Ok((Encoding::Utf16Le, UTF_16_LE_MARK.len()));
    }
    if start.starts_with(UTF_16_BE_MARK) {
        return Ok((Encoding::Utf16Be, UTF_16_BE_MARK.len()));
    }
    match unmarked(start) {
        Some("UTF-32") => return Err("this is UTF-32; save it in UTF-8"),
        Some(_) => {
            return Err("this is UTF-16 without a byte order mark; save it in UTF-8");
        }
        None => {}
    }
    let text = start.strip_prefix(UTF_8_MARK).unwrap_or(start);
    markup(text).map_or(Ok((Encoding::Utf8, start.len() - text.len())), Err)
}
