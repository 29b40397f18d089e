//! UTF-16 as UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult};

use crate::sniff::Encoding;

/// How many bytes of UTF-8 are made at once.
const BLOCK_BYTES: usize = 64 << 10;
/// What stands in for what is not UTF-16: no byte of UTF-8, so that whoever reads the text finds
/// it, with its line.
const NO_TEXT: u8 = 0xff;

/// A file without its byte order mark, in UTF-8. A file in UTF-8 is passed on as it is.
pub(crate) struct Text<R> {
    input: R,
    transcoder: Option<Transcoder>,
}

struct Transcoder {
    decoder: Decoder,
    decoded: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
}

impl<R: BufRead> Text<R> {
    pub(super) fn new(input: R, encoding: Encoding) -> Self {
        let decoder = match encoding {
            Encoding::Utf8 => None,
            Encoding::Utf16Le => Some(encoding_rs::UTF_16LE),
            Encoding::Utf16Be => Some(encoding_rs::UTF_16BE),
        };
        let transcoder = decoder.map(|encoding| Transcoder {
            decoder: encoding.new_decoder_without_bom_handling(),
            decoded: vec![0; BLOCK_BYTES + 1],
            at: 0,
            filled: 0,
            ended: false,
        });
        Self { input, transcoder }
    }
}

impl Transcoder {
    /// Decodes until something has come of it, or the input has ended.
    fn fill(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        while self.at == self.filled && !self.ended {
            let piece = input.fill_buf()?;
            let last = piece.is_empty();
            // The last byte is kept free for the mark.
            let room = self.decoded.get_mut(..BLOCK_BYTES).unwrap_or_default();
            let (result, read, written) = self
                .decoder
                .decode_to_utf8_without_replacement(piece, room, last);
            input.consume(read);
            (self.at, self.filled) = (0, written);
            match result {
                DecoderResult::Malformed(..) => {
                    if let Some(mark) = self.decoded.get_mut(written) {
                        *mark = NO_TEXT;
                    }
                    self.filled += 1;
                }
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
            }
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Some(transcoder) = &mut self.transcoder else {
            return self.input.fill_buf();
        };
        transcoder.fill(&mut self.input)?;
        let Transcoder {
            decoded,
            at,
            filled,
            ..
        } = transcoder;
        Ok(decoded.get(*at..*filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        match &mut self.transcoder {
            Some(transcoder) => transcoder.at += count,
            None => self.input.consume(count),
        }
    }
}

impl<R: BufRead> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
