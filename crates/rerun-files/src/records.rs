//! The records of a CSV file, read strictly.
//!
//! `csv` and `csv-core` read leniently: they take a quote inside an unquoted field for a
//! character, drop a quote that is never closed, and have no bound for the length of a record.

use std::io::{self, BufRead};

use rerun_core::error::Invalid;

/// The longest row, in bytes of the file as UTF-8: with its quotes and separators, without its
/// line end.
pub(super) const MAX_ROW_BYTES: usize = 1 << 20;
/// The most columns.
pub(super) const MAX_COLUMNS: usize = 10_000;
/// Ctrl-Z, with which some programs end a file.
const END_OF_FILE: u8 = 0x1a;

/// What stands between the values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
}

impl Separator {
    pub(super) const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// The separator that this character is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let [byte] = text.as_bytes() else {
            return None;
        };
        Self::ALL.into_iter().find(|known| known.byte() == *byte)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Comma => "a comma",
            Self::Semicolon => "a semicolon",
            Self::Tab => "a tab",
        }
    }
}

/// Why there are no more records.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The file breaks a rule.
    #[error(transparent)]
    Refused(#[from] Invalid),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Failed(#[from] io::Error),
}

pub(super) fn refused(line: u64, why: &str) -> Stop {
    Stop::Refused(Invalid::new(format!("line {line}: {why}")))
}

/// One record.
#[derive(Debug)]
pub struct Record<'a> {
    /// The line that it starts on, from 1.
    pub line: u64,
    /// Its values, each without its quotes.
    pub values: Vec<&'a str>,
}

/// Where in a record the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first byte of the record.
    Fresh,
    /// In a field of which only spaces have been read.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote between quotes: it closes them, or is the first of two.
    Quote,
    /// After the closing quote.
    Closed,
    /// After a Ctrl-Z that follows the closing quote: only the end of the file may come.
    Ended,
}

/// The record that is being read.
struct Row {
    separator: u8,
    /// Marks the bytes that end a run of an unquoted field.
    special: [bool; 256],
    place: Place,
    /// The line of the next byte.
    line: u64,
    /// The line that the record starts on.
    starts: u64,
    /// The line of the last opening quote.
    opened: u64,
    /// Whether the byte before was a CR that a LF may complete.
    after_cr: bool,
    /// The bytes of the record so far.
    bytes: usize,
    values: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    fn new(separator: Separator, line: u64) -> Self {
        let separator = separator.byte();
        let mut special = [false; 256];
        for byte in [separator, b'"', b'\r', b'\n'] {
            if let Some(mark) = special.get_mut(usize::from(byte)) {
                *mark = true;
            }
        }
        Self {
            separator,
            special,
            place: Place::Fresh,
            line,
            starts: line,
            opened: line,
            after_cr: false,
            bytes: 0,
            values: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.place = Place::Fresh;
        self.bytes = 0;
        self.values.clear();
        self.ends.clear();
    }

    fn is_special(&self, byte: u8) -> bool {
        self.special.get(usize::from(byte)) == Some(&true)
    }

    /// Takes in a piece of the file, up to the end of the record. Returns how many bytes it took,
    /// and whether the record has ended.
    fn feed(&mut self, piece: &[u8]) -> Result<(usize, bool), Stop> {
        let completes = self.place == Place::Fresh && self.after_cr && piece.starts_with(b"\n");
        let before = usize::from(completes);
        // Whatever pieces the file comes in, no more of it is looked at than a row may have.
        let most = before + MAX_ROW_BYTES.saturating_sub(self.bytes) + 1;
        let (taken, ended) = self.scan(piece.get(..most).unwrap_or(piece))?;
        self.bytes += taken - before - usize::from(ended);
        if self.bytes > MAX_ROW_BYTES {
            let why = format!("more than {MAX_ROW_BYTES} bytes; perhaps a quote is never closed");
            return Err(refused(self.starts, &why));
        }
        Ok((taken, ended))
    }

    fn scan(&mut self, piece: &[u8]) -> Result<(usize, bool), Stop> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            match self.place {
                Place::Fresh => {
                    let completes = self.after_cr && byte == b'\n';
                    self.after_cr = false;
                    if completes {
                        at += 1;
                    } else {
                        self.starts = self.line;
                        self.place = Place::Start;
                    }
                }
                Place::Start | Place::Plain => {
                    let rest = piece.get(at..).unwrap_or_default();
                    let run = rest.iter().position(|byte| self.is_special(*byte));
                    let run = rest.get(..run.unwrap_or(rest.len())).unwrap_or_default();
                    if !run.is_empty() {
                        if self.place == Place::Start && run.iter().any(|byte| *byte != b' ') {
                            self.place = Place::Plain;
                        }
                        self.values.extend_from_slice(run);
                        at += run.len();
                        continue;
                    }
                    at += 1;
                    if byte != b'"' {
                        if self.end_field(byte)? {
                            return Ok((at, true));
                        }
                    } else if self.place == Place::Start {
                        // The spaces before the quote are no part of the value.
                        self.values.truncate(self.field_start());
                        self.opened = self.line;
                        self.place = Place::Quoted;
                    } else {
                        let why = "a quote inside an unquoted field";
                        return Err(refused(self.line, why));
                    }
                }
                Place::Quoted => {
                    let rest = piece.get(at..).unwrap_or_default();
                    let closing = rest.iter().position(|byte| *byte == b'"');
                    let run = rest.get(..closing.unwrap_or(rest.len()));
                    let run = run.unwrap_or_default();
                    (self.line, self.after_cr) = lines(run, self.line, self.after_cr);
                    self.values.extend_from_slice(run);
                    at += run.len();
                    if closing.is_some() {
                        at += 1;
                        self.after_cr = false;
                        self.place = Place::Quote;
                    }
                }
                Place::Quote if byte == b'"' => {
                    self.values.push(b'"');
                    at += 1;
                    self.place = Place::Quoted;
                }
                Place::Quote | Place::Closed if byte == b' ' => {
                    at += 1;
                    self.place = Place::Closed;
                }
                Place::Quote | Place::Closed | Place::Ended if byte == END_OF_FILE => {
                    at += 1;
                    self.place = Place::Ended;
                }
                Place::Ended => return Err(refused(self.line, "text after a closing quote")),
                Place::Quote | Place::Closed => {
                    if !self.is_special(byte) || byte == b'"' {
                        return Err(refused(self.line, "text after a closing quote"));
                    }
                    at += 1;
                    if self.end_field(byte)? {
                        return Ok((at, true));
                    }
                }
            }
        }
        Ok((at, false))
    }

    /// Ends a field at its separator or line end. Returns whether the record ends, too.
    fn end_field(&mut self, byte: u8) -> Result<bool, Stop> {
        self.end()?;
        self.place = Place::Start;
        if byte == self.separator {
            return Ok(false);
        }
        self.line += 1;
        self.after_cr = byte == b'\r';
        Ok(true)
    }

    fn end(&mut self) -> Result<(), Stop> {
        if self.ends.len() == MAX_COLUMNS {
            let start = self.field_start();
            if is_blank(self.values.get(start..).unwrap_or_default()) {
                // It has no name, for the header has no more either.
                self.values.truncate(start);
                return Ok(());
            }
            let why = format!("more than {MAX_COLUMNS} values");
            return Err(refused(self.starts, &why));
        }
        self.ends.push(self.values.len());
        Ok(())
    }

    fn field_start(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Leaves out what a file may have at its end.
    fn end_file(&mut self) -> Result<(), Stop> {
        if self.place == Place::Plain {
            while self.values.len() > self.field_start() && self.values.ends_with(&[END_OF_FILE]) {
                self.values.pop();
            }
        }
        self.end()
    }

    /// Whether every value of the row is blank.
    fn is_blank(&self) -> bool {
        is_blank(&self.values)
    }
}

/// Whether a value has nothing but white space.
fn is_blank(value: &[u8]) -> bool {
    let is_text = |byte: &u8| byte.is_ascii() && !char::from(*byte).is_whitespace();
    !value.iter().any(is_text)
        && str::from_utf8(value).is_ok_and(|text| text.chars().all(char::is_whitespace))
}

/// The line after these bytes, and whether the last of them is a CR that a LF may complete.
fn lines(bytes: &[u8], mut line: u64, mut after_cr: bool) -> (u64, bool) {
    for byte in bytes {
        let completes = after_cr && *byte == b'\n';
        after_cr = *byte == b'\r';
        line += u64::from(after_cr || (*byte == b'\n' && !completes));
    }
    (line, after_cr)
}

/// The records of a file, with the lines that they start on. Lines end in LF, CRLF or CR. Rows
/// whose values are all blank are skipped.
pub struct Records<R> {
    input: R,
    row: Row,
    /// What the file is said to be when it is not.
    encoding: &'static str,
}

impl<R: BufRead> Records<R> {
    /// Reads from a text in UTF-8 whose first line is `line`. An error about its encoding names
    /// `encoding`.
    pub(super) fn new(input: R, separator: Separator, line: u64, encoding: &'static str) -> Self {
        Self {
            input,
            row: Row::new(separator, line),
            encoding,
        }
    }

    /// The next record; `None` at the end of the file.
    ///
    /// # Errors
    /// [`Stop`]; what comes after it cannot be read.
    pub fn record(&mut self) -> Result<Option<Record<'_>>, Stop> {
        loop {
            self.row.clear();
            loop {
                let piece = self.input.fill_buf()?;
                if piece.is_empty() {
                    match self.row.place {
                        Place::Fresh => return Ok(None),
                        Place::Quoted => {
                            return Err(refused(self.row.opened, "a quote is never closed"));
                        }
                        Place::Start
                        | Place::Plain
                        | Place::Quote
                        | Place::Closed
                        | Place::Ended => self.row.end_file()?,
                    }
                    break;
                }
                let (taken, ended) = self.row.feed(piece)?;
                self.input.consume(taken);
                if ended {
                    break;
                }
            }
            if !self.row.is_blank() {
                return self.values().map(Some);
            }
        }
    }

    fn values(&self) -> Result<Record<'_>, Stop> {
        let Row {
            values,
            ends,
            starts,
            ..
        } = &self.row;
        let text = str::from_utf8(values).map_err(|_where| self.not_text())?;
        let mut start = 0;
        let values = ends.iter().map(|end| {
            // The values stand one after another, so the whole can be UTF-8 without each being it.
            let value = text.get(start..*end).ok_or_else(|| self.not_text());
            start = *end;
            value
        });
        Ok(Record {
            line: *starts,
            values: values.collect::<Result<_, _>>()?,
        })
    }

    /// Why the record is refused when a value of it is not UTF-8.
    fn not_text(&self) -> Stop {
        let (mut line, mut start) = (self.row.starts, 0);
        for end in &self.row.ends {
            let value = self.row.values.get(start..*end).unwrap_or_default();
            let text = str::from_utf8(value).map_err(|error| error.valid_up_to());
            let readable = text.map_or_else(|end| value.get(..end), |_| Some(value));
            (line, _) = lines(readable.unwrap_or_default(), line, false);
            if text.is_err() {
                break;
            }
            start = *end;
        }
        let remedy = if self.encoding == crate::sniff::UTF_8 {
            "; save the file in UTF-8"
        } else {
            ""
        };
        refused(line, &format!("not {}{remedy}", self.encoding))
    }
}
