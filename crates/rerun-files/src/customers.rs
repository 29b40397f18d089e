//! Customers from a CSV file, row by row. Memory grows with the longest row, which has a bound, and not
//! with the file.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::{Arc, OnceLock};

use rerun_core::error::Invalid;
use rerun_core::group::{CustomerRow, CustomerRows, ImportHeader};

use crate::decode::Text;
use crate::header::{self, CsvOptions};
use crate::records::{MAX_ROW_BYTES, Records, Stop};
use crate::sniff;

/// How many bytes are read from the file at once.
const BLOCK_BYTES: usize = 256 << 10;
/// How many bytes a header is looked for in.
const HEADER_BYTES: usize = MAX_ROW_BYTES + (64 << 10);

/// A file whose header row has been read.
pub struct CustomerCsv {
    /// The profile fields of the rows.
    pub fields: Vec<String>,
    /// The rows, for the store to pull.
    pub rows: CustomerRows,
    /// Holds the error, when the rows ended because the file could not be read.
    pub failure: Arc<OnceLock<io::Error>>,
}

/// The records of a file in whatever encoding and with whatever separator, its header among them.
///
/// # Errors
/// [`Stop`], when the start of the file is no CSV or cannot be read.
pub fn records<R: BufRead>(
    mut file: R,
    options: &CsvOptions,
) -> Result<Records<impl BufRead + use<R>>, Stop> {
    let mut start = Vec::new();
    // However short the pieces are that the file is read in, its start is seen whole.
    let most = u64::try_from(sniff::START_BYTES).unwrap_or(u64::MAX);
    file.by_ref().take(most).read_to_end(&mut start)?;
    let (encoding, mark) = sniff::sniff(&start).map_err(Invalid::new)?;
    start.drain(..mark);
    let mut text = Text::new(Cursor::new(start).chain(file), encoding);

    let mut start = Vec::new();
    let most = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    text.by_ref().take(most).read_to_end(&mut start)?;
    let layout = header::layout(&start, options)?;
    start.drain(..layout.skipped);
    let input = Cursor::new(start).chain(text);
    let encoding = encoding.name();
    Ok(Records::new(input, layout.separator, layout.line, encoding))
}

impl CustomerCsv {
    /// Reads the header row. It blocks.
    ///
    /// # Errors
    /// [`Stop`], when the file has no header that names customers, or cannot be read.
    pub fn open<R: Read + Send + 'static>(file: R, options: &CsvOptions) -> Result<Self, Stop> {
        let file = BufReader::with_capacity(BLOCK_BYTES, file);
        let mut records = records(file, options)?;
        let header = match records.record()? {
            Some(record) => ImportHeader::read(record.line, &options.ref_column, record.values),
            None => ImportHeader::read(1, &options.ref_column, []),
        }?;
        let failure = Arc::new(OnceLock::new());
        let fields = header.fields().to_vec();
        let rows = Rows {
            records,
            header,
            ended: false,
            failure: Arc::clone(&failure),
        };
        Ok(Self {
            fields,
            rows: Box::new(rows),
            failure,
        })
    }
}

/// The rows after the header, up to the first that is refused.
struct Rows<R> {
    records: Records<R>,
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
        let row = match self.records.record() {
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
