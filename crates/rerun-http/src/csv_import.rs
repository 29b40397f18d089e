//! Reads an import. The body goes to an unnamed file first, so that a slow client holds neither a
//! connection nor a transaction, and then row by row from that file into the store. Memory grows
//! with the longest row, which has a bound, and not with the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek, Write};
use std::sync::{Arc, OnceLock};

use csv_core::ReadRecordResult;
use rerun_core::error::{Error, Invalid, StoreError};
use rerun_core::group::{CustomerRow, CustomerRows, ImportHeader};
use tokio::task::spawn_blocking;

use crate::error::ApiError;
use crate::extract::Body;

/// The longest row, in bytes of its values.
const MAX_ROW_BYTES: usize = 1 << 20;
/// The most columns.
const MAX_COLUMNS: usize = 10_000;
/// How many bytes are written to the file at once, and read from it.
const BLOCK_BYTES: usize = 256 << 10;

/// Writes a body to an unnamed file and goes back to its start.
pub(crate) async fn spool(mut body: Body) -> Result<File, ApiError> {
    let mut file = spawn_blocking(tempfile::tempfile)
        .await
        .map_err(ApiError::internal)?
        .map_err(spool_failed)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while let Some(piece) = body.next().await? {
        block.extend_from_slice(&piece);
        if block.len() >= BLOCK_BYTES {
            (file, block) = write(file, block).await?;
        }
    }
    let (mut file, _) = write(file, block).await?;
    file.rewind().map_err(ApiError::internal)?;
    Ok(file)
}

async fn write(mut file: File, mut block: Vec<u8>) -> Result<(File, Vec<u8>), ApiError> {
    let written = spawn_blocking(move || {
        file.write_all(&block)?;
        block.clear();
        Ok::<_, io::Error>((file, block))
    });
    written
        .await
        .map_err(ApiError::internal)?
        .map_err(spool_failed)
}

/// A disk without room, or that cannot be written, passes or is mended; nothing is lost by it.
fn spool_failed(error: io::Error) -> ApiError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let passing = [StorageFull, QuotaExceeded, FileTooLarge, ReadOnlyFilesystem];
    if passing.contains(&error.kind()) {
        Error::Store(StoreError::Unavailable(error.into())).into()
    } else {
        ApiError::internal(error)
    }
}

/// An import whose header row has been read.
pub(crate) struct Import {
    /// The profile fields of the rows.
    pub(crate) fields: Vec<String>,
    /// The rows, for the store to pull.
    pub(crate) rows: CustomerRows,
    /// Holds the error, when the rows ended because the file could not be read.
    pub(crate) failure: Arc<OnceLock<io::Error>>,
}

/// Reads the header row. It blocks.
pub(crate) fn open<R: Read + Send + 'static>(file: R) -> Result<Import, ApiError> {
    let file = BufReader::with_capacity(BLOCK_BYTES, file);
    let mut csv = Csv::new(file).map_err(ApiError::internal)?;
    let header = match csv.record() {
        Ok(Some(record)) => ImportHeader::new(record.values),
        Ok(None) => ImportHeader::new([]),
        Err(Stop::Refused(invalid)) => Err(invalid),
        Err(Stop::Failed(error)) => return Err(ApiError::internal(error)),
    }?;
    let failure = Arc::new(OnceLock::new());
    let fields = header.fields().to_vec();
    let rows = Rows {
        csv,
        header,
        ended: false,
        failure: Arc::clone(&failure),
    };
    Ok(Import {
        fields,
        rows: Box::new(rows),
        failure,
    })
}

/// The rows after the header, up to the first that is refused.
struct Rows<R> {
    csv: Csv<R>,
    header: ImportHeader,
    ended: bool,
    failure: Arc<OnceLock<io::Error>>,
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<CustomerRow, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = match self.csv.record() {
            Ok(Some(record)) => self.header.row(record.line, record.values.into_iter()),
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(Stop::Refused(invalid)) => Err(invalid),
            Err(Stop::Failed(error)) => {
                // The rows can only be refused; whoever started the import looks here first.
                let _ = self.failure.set(error);
                Err(Invalid::new("the file could not be read"))
            }
        };
        self.ended = row.is_err();
        Some(row)
    }
}

pub(crate) enum Stop {
    Refused(Invalid),
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

pub(crate) struct Record<'a> {
    /// The line that it starts on, from 1.
    pub(crate) line: u64,
    pub(crate) values: Vec<&'a str>,
}

/// The records of a CSV file with the lines that they start on. A byte order mark at the start
/// of the file is skipped, and so are blank lines.
///
/// The parser of `csv-core` is driven by hand: the reader of `csv` takes a quote that is never
/// closed for the end of a record, counts the blank lines before a record as part of it, and
/// has no bound for the length of one.
pub(crate) struct Csv<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    parser: csv_core::Reader,
    /// The line of the next byte.
    line: u64,
    values: Vec<u8>,
    ends: Vec<usize>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn line_feeds(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

impl<R: BufRead> Csv<R> {
    pub(crate) fn new(mut input: R) -> io::Result<Self> {
        // However short the pieces are that the file is read in, the mark is seen whole.
        let mut start = Vec::new();
        input.by_ref().take(3).read_to_end(&mut start)?;
        if start == BYTE_ORDER_MARK {
            start.clear();
        }
        let (mut values, mut ends) = (vec![0; 1 << 10], vec![0; 1 << 6]);
        // The parser takes a mark off the first piece that it gets, wherever in the file that is:
        // after a blank line of its own it does not.
        let mut parser = csv_core::Reader::new();
        parser.read_record(b"\n", &mut values, &mut ends);
        Ok(Self {
            input: Cursor::new(start).chain(input),
            parser,
            line: 1,
            values,
            ends,
        })
    }

    /// Skips what is left of line ends; answers whether anything comes after.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let input = self.input.fill_buf()?;
            let Some(blank) = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
                let all = input.len();
                self.line += line_feeds(input);
                self.input.consume(all);
                if all == 0 {
                    return Ok(false);
                }
                continue;
            };
            self.line += line_feeds(input.get(..blank).unwrap_or_default());
            self.input.consume(blank);
            return Ok(true);
        }
    }

    pub(crate) fn record(&mut self) -> Result<Option<Record<'_>>, Stop> {
        if !self.skip_blank_lines()? {
            return Ok(None);
        }
        let line = self.line;
        let refused = |why: &str| Stop::Refused(Invalid::new(format!("line {line}: {why}")));
        let (mut written, mut ended) = (0, 0);
        loop {
            let input = self.input.fill_buf()?;
            // At the end of the file a line end is put in. It ends any record but one in which a
            // quote is open: there it is one more character of a value.
            let at_end = input.is_empty();
            let (result, read, wrote, ends) = self.parser.read_record(
                if at_end { b"\n" } else { input },
                self.values.get_mut(written..).unwrap_or_default(),
                self.ends.get_mut(ended..).unwrap_or_default(),
            );
            if !at_end {
                self.line += line_feeds(input.get(..read).unwrap_or_default());
                self.input.consume(read);
            }
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty if at_end => {
                    return Err(refused("a quote is never closed"));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.values.len() < MAX_ROW_BYTES => {
                    self.values.resize(self.values.len() * 2, 0);
                }
                ReadRecordResult::OutputFull => {
                    return Err(refused(&format!(
                        "more than {MAX_ROW_BYTES} bytes; perhaps a quote is never closed"
                    )));
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMNS => {
                    self.ends.resize((self.ends.len() * 2).min(MAX_COLUMNS), 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(refused(&format!("more than {MAX_COLUMNS} values")));
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        let values = self
            .values
            .get(..written)
            .and_then(|bytes| str::from_utf8(bytes).ok());
        let values = values.ok_or_else(|| refused("not UTF-8"))?;
        let mut start = 0;
        let values = self.ends.iter().take(ended).map(|end| {
            // The values stand one after another, so the whole can be UTF-8 without each being it.
            let value = values.get(start..*end);
            start = *end;
            value.ok_or_else(|| refused("not UTF-8"))
        });
        Ok(Some(Record {
            line,
            values: values.collect::<Result<_, _>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an import of these bytes comes to: each customer with its values, or the refusal.
    fn import(file: &'static [u8]) -> Result<(Vec<String>, Vec<String>), String> {
        let Import { fields, rows, .. } = open(file).map_err(|error| error.to_string())?;
        let rows = rows.map(|row| {
            let row = row.map_err(|invalid| invalid.to_string())?;
            let values = row
                .values
                .iter()
                .map(|value| value.as_deref().unwrap_or("-"));
            Ok(format!(
                "{}:{}",
                row.customer_ref,
                values.collect::<Vec<_>>().join(",")
            ))
        });
        Ok((fields, rows.collect::<Result<_, String>>()?))
    }

    fn rows(file: &'static [u8]) -> Vec<String> {
        import(file).unwrap().1
    }

    #[test]
    fn rows_are_read_however_they_are_written() {
        let expected = ["a:DE,gold", "b:FR,-"];
        for file in [
            &b"customer_ref,country,tier\na,DE,gold\nb,FR,\n"[..],
            b"customer_ref,country,tier\na,DE,gold\nb,FR,",
            b"customer_ref,country,tier\r\na,DE,gold\r\nb,FR,\r\n",
            b"\xef\xbb\xbfcustomer_ref,country,tier\na,DE,gold\nb,FR,\n",
            b"\n\r\n\ncustomer_ref,country,tier\n\n\na,DE,gold\n\r\n\r\nb,FR,\n\n",
            b"\"customer_ref\",\"country\",tier\n\"a\",\"DE\",\"gold\"\n b , FR ,\" \"",
            b"country,customer_ref,tier\nDE,a,gold\nFR,b,\n",
        ] {
            let (fields, rows) = import(file).unwrap();
            assert_eq!(
                (fields, rows),
                (
                    vec!["country".into(), "tier".into()],
                    expected.map(Into::into).to_vec()
                ),
                "{file:?}"
            );
        }
    }

    #[test]
    fn quotes_hold_separators_line_ends_and_quotes() {
        assert_eq!(
            rows(b"customer_ref,note\na,\"x,y\"\nb,\"two\r\nlines\"\nc,\"say \"\"hi\"\"\"\n"),
            ["a:x,y", "b:two\r\nlines", "c:say \"hi\""],
        );
    }

    #[test]
    fn a_header_alone_is_an_import_of_nobody() {
        assert_eq!(rows(b"customer_ref"), Vec::<String>::new());
        assert_eq!(rows(b"customer_ref,country\n"), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (file, said) in [
            (&b""[..], "line 1: the header has no column `customer_ref`"),
            (
                b"\xef\xbb\xbf",
                "line 1: the header has no column `customer_ref`",
            ),
            (b"\n\n", "line 1: the header has no column"),
            (
                b"country\nDE\n",
                "line 1: the header has no column `customer_ref`",
            ),
            (b"customer_ref,a,a\n", "line 1: the header names `a` twice"),
            (
                b"customer_ref,\nx,y\n",
                "line 1: column 2 of the header has no name",
            ),
            (
                b"customer_ref,\"a\nx,y\n",
                "line 1: a quote is never closed",
            ),
            (b"customer_ref,a\xff\nx,y\n", "line 1: not UTF-8"),
            (
                b"customer_ref,a\nx,y\nz\n",
                "line 3: 1 values where the header has 2",
            ),
            (
                b"customer_ref,a\nx,y\nz,1,2\n",
                "line 3: 3 values where the header has 2",
            ),
            (b"customer_ref,a\r\nx,y\r\n\r\nz\r\n", "line 4: 1 values"),
            (b"customer_ref,a\nx,\"1\n2\n3\"\n\nz\n", "line 6: 1 values"),
            (
                b"customer_ref,a\r\nx,\"1\r\n2\"\r\nz\r\n",
                "line 4: 1 values",
            ),
            (b"customer_ref,a\n ,y\n", "line 2: `customer_ref` is blank"),
            (b"customer_ref,a\n,y\n", "line 2: `customer_ref` is blank"),
            (b"customer_ref\n  \n", "line 2: `customer_ref` is blank"),
            (
                b"customer_ref,a\nx,y\nz,\"open\n",
                "line 3: a quote is never closed",
            ),
            (
                b"customer_ref,a\nx,y\nz,\"open",
                "line 3: a quote is never closed",
            ),
            (
                b"customer_ref,a\nx,y\nz,\"",
                "line 3: a quote is never closed",
            ),
            (
                b"customer_ref,a\nx,\"y\nz,1\nw,2\n",
                "line 2: a quote is never closed",
            ),
            (
                b"customer_ref,a\nx,\"y\"\"\n",
                "line 2: a quote is never closed",
            ),
            (b"customer_ref,a\nx,\xff\n", "line 2: not UTF-8"),
            (b"customer_ref,a\nx\xc3,\xa9y\n", "line 2: not UTF-8"),
            (b"customer_ref,a\nx,y\0\n", "line 2: column 2 holds a NUL"),
            (b"customer_ref\nx\n\0\n", "line 3: column 1 holds a NUL"),
        ] {
            let error = import(file).unwrap_err();
            assert!(
                error.contains(said),
                "{:?} said {error}",
                String::from_utf8_lossy(file)
            );
        }
    }

    #[test]
    fn a_closed_quote_at_the_end_of_the_file_is_no_open_one() {
        assert_eq!(rows(b"customer_ref,a\nx,\"y\""), ["x:y"]);
        assert_eq!(rows(b"customer_ref,a\nx,\"\""), ["x:-"]);
        assert_eq!(rows(b"customer_ref,a\nx,\"y\"\"\""), ["x:y\""]);
    }

    #[test]
    fn every_split_of_the_input_reads_the_same() {
        let file = b"\xef\xbb\xbfcustomer_ref,a\r\n\r\nx,\"1\r\n\"\"2\"\"\"\r\n\n\xc3\xa9,y\r\nz";
        for size in 1..=file.len() {
            let mut csv = Csv::new(BufReader::with_capacity(size, &file[..])).unwrap();
            let mut seen = Vec::new();
            while let Ok(Some(record)) = csv.record() {
                seen.push((record.line, record.values.join("|")));
            }
            let expected = [
                (1, "customer_ref|a"),
                (3, "x|1\r\n\"2\""),
                (6, "é|y"),
                (7, "z"),
            ];
            assert_eq!(
                seen,
                expected.map(|(line, text)| (line, text.to_owned())),
                "{size}"
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_of_the_file_alone() {
        for file in [
            &b"\n\xef\xbb\xbfcustomer_ref\nx\n"[..],
            b"\xef\xbb\xbf\xef\xbb\xbfcustomer_ref\nx\n",
        ] {
            let error = import(file).unwrap_err();
            assert!(error.contains("no column `customer_ref`"), "{error}");
        }
        assert_eq!(
            rows(b"\xef\xbb\xbf\ncustomer_ref\n\xef\xbb\xbfx\n"),
            ["\u{feff}x:"]
        );
    }

    #[test]
    fn rows_have_bounds() {
        let long = [b"customer_ref,a\nx,\"".as_slice(), &vec![b'y'; 3 << 20]].concat();
        let error = import(long.leak()).unwrap_err();
        assert!(error.contains("line 2: more than 1048576 bytes"), "{error}");
        let wide = [b"customer_ref".as_slice(), &b",a".repeat(MAX_COLUMNS)].concat();
        let error = import(wide.leak()).unwrap_err();
        assert!(error.contains("line 1: more than 10000 values"), "{error}");
        let fits = [b"customer_ref,a\nx,".as_slice(), &vec![b'y'; 1_000_000]].concat();
        assert_eq!(rows(fits.leak()).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_fault_of_the_rows() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("disk"));
                }
                let text = b"customer_ref\nx\ny";
                buffer[..text.len()].copy_from_slice(text);
                Ok(text.len())
            }
        }
        let Import { rows, failure, .. } = open(Broken(false)).unwrap_or_else(|_| panic!("header"));
        let rows: Vec<_> = rows.collect();
        assert_eq!((rows.len(), rows.last().unwrap().is_err()), (2, true));
        assert_eq!(failure.get().unwrap().to_string(), "disk");
    }
}
