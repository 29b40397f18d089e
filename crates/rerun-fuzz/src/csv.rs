use std::collections::BTreeSet;
use std::io::{self, BufRead, Cursor, Read};

use rerun_core::group::{CustomerRow, ImportHeader};
use rerun_core::text;
use rerun_http::fuzzing::{import, records};

/// A longer file is split at this many positions, others for each length.
const MOST_SPLITS: usize = 64;

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

#[derive(Clone, Copy)]
enum State {
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes: it ends them, or is the first of two.
    Quote,
}

/// The records of a file as the published API tells them, read byte by byte.
fn model(file: &[u8]) -> (Vec<Record>, Option<String>) {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut records = Vec::new();
    let (mut line, mut at) = (1, 0);
    loop {
        while let Some(b'\r' | b'\n') = file.get(at) {
            line += u64::from(file[at] == b'\n');
            at += 1;
        }
        if at == file.len() {
            return (records, None);
        }
        let starts = line;
        let refused = |why| Some(format!("line {starts}: {why}"));
        let (mut values, mut value) = (Vec::new(), Vec::new());
        let mut state = State::Start;
        loop {
            let byte = file.get(at).copied();
            at += 1;
            line += u64::from(byte == Some(b'\n'));
            state = match (state, byte) {
                (State::Quoted, None) => return (records, refused("a quote is never closed")),
                (State::Quoted, Some(b'"')) => State::Quote,
                (State::Start, Some(b'"')) => State::Quoted,
                (State::Quoted, Some(byte)) | (State::Quote, Some(byte @ b'"')) => {
                    value.push(byte);
                    State::Quoted
                }
                (_, None | Some(b'\r' | b'\n')) => {
                    values.push(value);
                    break;
                }
                (_, Some(b',')) => {
                    values.push(std::mem::take(&mut value));
                    State::Start
                }
                (_, Some(byte)) => {
                    value.push(byte);
                    State::Plain
                }
            };
        }
        at = at.min(file.len());
        let values: Result<Vec<_>, _> = values.into_iter().map(String::from_utf8).collect();
        match values {
            Ok(values) => records.push((starts, values)),
            Err(_) => return (records, refused("not UTF-8")),
        }
    }
}

/// The records by the `csv` crate, which has no notion of a quote that is never closed.
fn by_csv_crate(file: &[u8]) -> Vec<Vec<String>> {
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.has_headers(false).flexible(true).from_reader(file);
    let values = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
    let records = reader.into_records();
    records.map(|record| values(record.unwrap())).collect()
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
    let columns = columns.map_or(Vec::new(), |(_, columns)| columns);
    let header = ImportHeader::new(columns.iter().map(String::as_str));
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
    assert_eq!(whole, model(data), "records, and the model's");

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
    if whole.1.is_none() {
        let values: Vec<_> = whole.0.iter().map(strip).collect();
        assert_eq!(values, by_csv_crate(data), "records, and the csv crate's");
    }

    let imported = import(Cursor::new(data.to_vec()));
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
    assert_eq!(again, Ok((fields.to_vec(), rows.to_vec())), "written anew");
}
