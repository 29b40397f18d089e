use std::collections::BTreeSet;
use std::io::{self, BufRead, Cursor, Read};

use rerun_core::group::{CustomerRow, ImportHeader};
use rerun_core::text;
use rerun_files::{CsvOptions, CustomerCsv};

/// The records of a CSV file, each with the line that it starts on, up to the end or the first
/// that is refused; then why it is.
fn records(input: impl BufRead) -> (Vec<Record>, Option<String>) {
    let mut records = Vec::new();
    let mut csv = match rerun_files::records(input, &CsvOptions::default()) {
        Ok(csv) => csv,
        Err(stop) => return (records, Some(stop.to_string())),
    };
    loop {
        match csv.record() {
            Ok(Some(record)) => {
                let values = record.values.into_iter().map(str::to_owned).collect();
                records.push((record.line, values));
            }
            Ok(None) => return (records, None),
            Err(stop) => return (records, Some(stop.to_string())),
        }
    }
}

/// The profile fields that an import names, and its rows; or why header or row is refused.
fn import(file: impl Read + Send + 'static) -> Result<(Vec<String>, Vec<CustomerRow>), String> {
    let opened = CustomerCsv::open(file, &CsvOptions::default());
    let CustomerCsv { fields, rows, .. } = opened.map_err(|stop| stop.to_string())?;
    let rows: Result<_, _> = rows.collect();
    Ok((fields, rows.map_err(|invalid| invalid.to_string())?))
}

/// A longer file is split at this many positions, others for each length.
const MOST_SPLITS: usize = 64;

/// Ctrl-Z, with which some programs end a file. It is no part of the last value.
const END_OF_FILE: u8 = 0x1a;

/// A file that is read in the given pieces.
struct Pieces {
    data: Vec<u8>,
    at: usize,
    /// Where the pieces from here on end, the next one last.
    ends: Vec<usize>,
}

impl Pieces {
    fn new(data: &[u8], ends: impl DoubleEndedIterator<Item = usize>) -> Self {
        Self {
            data: data.to_vec(),
            at: 0,
            ends: ends.rev().collect(),
        }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ends.pop_if(|end| *end <= self.at);
        let end = self.ends.last().copied();
        Ok(&self.data[self.at..end.unwrap_or(self.data.len())])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        assert!(self.at <= self.data.len(), "more is taken than there is");
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

type Record = (u64, Vec<String>);

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Only spaces so far.
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes: it ends them, or is the first of two.
    Quote,
    /// After the quote that ends them.
    Closed,
    /// After a Ctrl-Z behind that quote.
    Ended,
}

/// The text of a file as bytes of UTF-8, with `FF` for what is no UTF-16, and its encoding.
fn text_of(file: &[u8]) -> (Vec<u8>, &'static str) {
    let (order, rest): (fn([u8; 2]) -> u16, _) = match file {
        [0xff, 0xfe, rest @ ..] => (u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => (u16::from_be_bytes, rest),
        _ => {
            let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
            return (text.to_vec(), "UTF-8; save the file in UTF-8");
        }
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let mut text = Vec::new();
    for character in char::decode_utf16(pairs.iter().copied().map(order)) {
        match character {
            Ok(character) => text.extend(character.to_string().as_bytes()),
            Err(_) => text.push(0xff),
        }
    }
    if !odd.is_empty() {
        text.push(0xff);
    }
    (text, "UTF-16")
}

/// How often a line ends in these bytes, of which a CR and a LF after it are one end.
fn line_ends(bytes: &[u8]) -> u64 {
    let mut ends = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let first_half = *byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        ends += u64::from(matches!(byte, b'\r' | b'\n') && !first_half);
    }
    ends
}

/// The records of a file as the published API tells them, read byte by byte.
fn model(file: &[u8]) -> (Vec<Record>, Option<String>) {
    let (text, encoding) = text_of(file);
    let line_of = |text: &[u8]| -> usize {
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        end.unwrap_or(text.len())
    };
    let first = &text[..line_of(&text)];
    let unquoted = first.strip_prefix(b"\"").unwrap_or(first);
    if unquoted.len() >= 4 && unquoted[..4].eq_ignore_ascii_case(b"sep=") {
        let value = String::from_utf8_lossy(&unquoted[4..]);
        if !value.contains(char::is_alphanumeric) {
            let named: BTreeSet<char> = value
                .chars()
                .filter(|char| !" \"".contains(*char))
                .collect();
            let separator = match Vec::from_iter(named)[..] {
                [','] => b',',
                [';'] => b';',
                ['\t'] => b'\t',
                _ => {
                    let why = "line 1: `sep=` must name a comma, a semicolon or a tab";
                    return (Vec::new(), Some(why.into()));
                }
            };
            let mut start = first.len();
            start += usize::from(text[start..].starts_with(b"\r\n"));
            start = (start + 1).min(text.len());
            return read(&text, start, separator, encoding);
        }
    }
    let mut rest = &text[..];
    while !rest.is_empty() && rest[..line_of(rest)].trim_ascii().is_empty() {
        rest = &rest[(line_of(rest) + 1).min(rest.len())..];
    }
    let header = &rest[..line_of(rest)];
    let count = |separator: u8| header.split(|byte| *byte == separator).count();
    let mut separators = [b',', b';', b'\t'];
    separators.sort_by_key(|separator| usize::MAX - count(*separator));
    let fits = |separator: &u8| {
        let (records, _) = read(&text, 0, *separator, encoding);
        let header = records.first().map(|(_, names)| names.as_slice());
        let mut names = header.unwrap_or_default().iter();
        names.any(|name| text::normalise(name).as_deref() == Some("customer_ref"))
    };
    let separator = separators.into_iter().find(fits).unwrap_or(separators[0]);
    read(&text, 0, separator, encoding)
}

/// The records from a place of the text on.
fn read(text: &[u8], start: usize, separator: u8, encoding: &str) -> (Vec<Record>, Option<String>) {
    let line = |at: usize| 1 + line_ends(&text[..at]);
    let mut records = Vec::new();
    let mut at = start;
    while at < text.len() {
        let starts = line(at);
        let mut state = State::Start;
        let (mut values, mut value, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut opened = starts;
        loop {
            let byte = text.get(at).copied();
            let refused = |line: u64, why: &str| Some(format!("line {line}: {why}"));
            let ends = matches!(byte, None | Some(b'\r' | b'\n')) || byte == Some(separator);
            state = match (state, byte) {
                (State::Quoted, None) => {
                    return (records, refused(opened, "a quote is never closed"));
                }
                (State::Quoted, Some(b'"')) => State::Quote,
                (State::Start, Some(b'"')) => {
                    value.clear();
                    opened = line(at);
                    State::Quoted
                }
                (State::Plain, Some(b'"')) => {
                    return (
                        records,
                        refused(line(at), "a quote inside an unquoted field"),
                    );
                }
                (State::Quoted, Some(byte)) | (State::Quote, Some(byte @ b'"')) => {
                    places.push((values.len(), value.len(), at));
                    value.push(byte);
                    State::Quoted
                }
                (State::Quote | State::Closed | State::Ended, Some(END_OF_FILE)) => State::Ended,
                (State::Ended, Some(_)) => {
                    return (records, refused(line(at), "text after a closing quote"));
                }
                (_, _) if ends => {
                    if byte.is_none() && state == State::Plain {
                        while value.ends_with(&[END_OF_FILE]) {
                            value.pop();
                        }
                    }
                    values.push(std::mem::take(&mut value));
                    at += 1;
                    if byte != Some(separator) {
                        break;
                    }
                    State::Start
                }
                (State::Quote | State::Closed, Some(b' ')) => State::Closed,
                (State::Quote | State::Closed | State::Ended, _) => {
                    return (records, refused(line(at), "text after a closing quote"));
                }
                (State::Start | State::Plain, byte) => {
                    let byte = byte.unwrap_or_default();
                    places.push((values.len(), value.len(), at));
                    value.push(byte);
                    if state == State::Start && byte == b' ' {
                        State::Start
                    } else {
                        State::Plain
                    }
                }
            };
            if !(ends && state == State::Start) {
                at += 1;
            }
        }
        if text.get(at.wrapping_sub(1)) == Some(&b'\r') && text.get(at) == Some(&b'\n') {
            at += 1;
        }
        if str::from_utf8(&values.concat()).is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        // The first value that is not text gives the line.
        for (number, value) in values.iter().enumerate() {
            if let Err(error) = str::from_utf8(value) {
                let before = error.valid_up_to();
                let place =
                    |(of, length, _): &&(usize, usize, usize)| (*of, *length) == (number, before);
                let at = places.iter().find(place).map_or(0, |(_, _, at)| *at);
                let why = format!("line {}: not {encoding}", line(at));
                return (records, Some(why));
            }
        }
        let texts = values
            .into_iter()
            .map(|value| String::from_utf8(value).unwrap());
        records.push((starts, texts.collect()));
    }
    (records, None)
}

/// The records by the `csv` crate, which has no notion of a quote that is never closed.
fn by_csv_crate(file: &[u8]) -> Vec<Vec<String>> {
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.has_headers(false).flexible(true).from_reader(file);
    let values =
        |record: csv::StringRecord| -> Vec<String> { record.iter().map(str::to_owned).collect() };
    let records = reader.into_records();
    let values = records.map(|record| values(record.unwrap()));
    values.filter(|values| holds_something(values)).collect()
}

fn holds_something(values: &[String]) -> bool {
    values.iter().any(|value| !value.trim().is_empty())
}

/// Whether the `csv` crate should read the same, if the file can be read at all: it knows one
/// separator and one encoding, and takes spaces around quotes for text.
fn is_plain(file: &[u8]) -> bool {
    let elsewhere = [b' ', b'\t', b';', END_OF_FILE];
    !file.iter().any(|byte| elsewhere.contains(byte))
        && !file.starts_with(b"\xff\xfe")
        && !file.starts_with(b"\xfe\xff")
        && !file
            .to_ascii_lowercase()
            .windows(4)
            .any(|four| four == b"sep=")
}

fn normal(value: Option<&str>) -> bool {
    value.is_none_or(|value| text::normalise(value).as_deref() == Some(value))
        && !value.is_some_and(|value| value.contains('\0'))
}

/// What an import comes to, by the records of the model.
fn expected(
    (records, refused): (Vec<Record>, Option<String>),
) -> Result<(Vec<String>, Vec<CustomerRow>), String> {
    let mut records = records.into_iter();
    let columns = records.next();
    if let (None, Some(refused)) = (&columns, &refused) {
        return Err(refused.clone());
    }
    let (line, columns) = columns.unwrap_or((1, Vec::new()));
    let columns = columns.iter().map(String::as_str);
    let header = ImportHeader::read(line, "customer_ref", columns);
    let header = header.map_err(|invalid| invalid.to_string())?;
    let rows = records.map(|(line, values)| header.row(line, values.iter().map(String::as_str)));
    let rows: Result<_, _> = rows.collect();
    let rows = rows.map_err(|invalid| invalid.to_string())?;
    match refused {
        Some(refused) => Err(refused),
        None => Ok((header.fields().to_vec(), rows)),
    }
}

fn written(fields: &[String], rows: &[CustomerRow]) -> Vec<u8> {
    let mut file = csv::Writer::from_writer(Vec::new());
    let header = fields.iter().map(String::as_str);
    file.write_record(std::iter::once("customer_ref").chain(header))
        .unwrap();
    for row in rows {
        let values = row
            .values
            .iter()
            .map(|value| value.as_deref().unwrap_or_default());
        let reference = row.customer_ref.as_str();
        file.write_record(std::iter::once(reference).chain(values))
            .unwrap();
    }
    file.into_inner().unwrap()
}

/// An import reads what is in the file, in whatever pieces it comes.
///
/// The input is the file.
pub fn csv(data: &[u8]) {
    let whole = records(Cursor::new(data));
    // What is no text is told by its first bytes, and not by a line.
    let is_foreign = whole
        .1
        .as_ref()
        .is_some_and(|why| !why.starts_with("line "));
    if is_foreign {
        assert!(whole.0.is_empty(), "{whole:?}");
    } else {
        assert_eq!(whole, model(data), "records, and the model's");
    }

    let step = data.len() / MOST_SPLITS + 1;
    for end in (1 + data.len() % step..data.len()).step_by(step) {
        let pieces = Pieces::new(data, [end].into_iter());
        assert_eq!(records(pieces), whole, "in two pieces, split at {end}");
    }
    for size in 1..=3 {
        let pieces = || Pieces::new(data, (size..data.len()).step_by(size));
        assert_eq!(records(pieces()), whole, "in pieces of {size}");
    }

    let strip = |(_, values): &Record| values.clone();
    if whole.1.is_none() && is_plain(data) {
        let values: Vec<_> = whole
            .0
            .iter()
            .map(strip)
            .filter(|values| holds_something(values))
            .collect();
        assert_eq!(values, by_csv_crate(data), "records, and the csv crate's");
    }

    let imported = import(Cursor::new(data.to_vec()));
    if is_foreign {
        assert_eq!(imported.err(), whole.1);
        return;
    }
    let pieces = Pieces::new(data, 1..data.len());
    assert_eq!(import(pieces), imported, "an import in pieces of 1");
    assert_eq!(
        imported.clone().map_err(|why| short(&why)),
        expected(whole).map_err(|why| short(&why)),
        "an import, and its records"
    );
    match imported {
        Ok((fields, rows)) => check(&fields, &rows),
        Err(why) => assert!(why.starts_with("line ") || why.contains("NUL"), "{why}"),
    }
}

/// What a client is told is cut when it is long.
fn short(why: &str) -> String {
    why.chars().take(400).collect()
}

fn check(fields: &[String], rows: &[CustomerRow]) {
    let distinct: BTreeSet<_> = fields.iter().collect();
    assert_eq!(distinct.len(), fields.len(), "a field is named twice");
    assert!(fields.iter().all(|field| normal(Some(field))), "{fields:?}");
    for row in rows {
        assert_eq!(row.values.len(), fields.len(), "{row:?}");
        assert!(normal(Some(&row.customer_ref)), "{row:?}");
        assert!(
            row.values.iter().all(|value| normal(value.as_deref())),
            "{row:?}"
        );
    }
    let again = import(Cursor::new(written(fields, rows)));
    assert_eq!(again, Ok((fields.to_vec(), rows.to_vec())), "written again");
}
