//! The body of a request: read piece by piece, decoded, and bounded.

use std::io::{self, BufRead, ErrorKind, Read};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, UPGRADE};
use actix_web::web::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Refusal};
use crate::headers::shown;
use crate::intake::Room;
use crate::json::from_json;

/// How many bytes are decoded at once.
const DECODED_BYTES: usize = 16 << 10;
/// What decoding holds: a window of 32 KiB, its tables, and a piece.
const DECODER_BYTES: usize = 64 << 10;
/// How much longer than what is in it a gzip may be: its frame, and blocks that are stored as
/// they are.
const GZIP_FRAME_BYTES: u64 = 64 << 10;

/// A body that is read piece by piece, up to a limit of bytes once they are decoded.
pub(crate) struct Body {
    payload: Payload,
    limit: u64,
    announced: Option<u64>,
    /// Bytes that have come.
    received: u64,
    /// Bytes that they were decoded to.
    decoded: u64,
    pause: Duration,
    gzip: Option<Gzip>,
    room: Room,
}

impl Body {
    /// The body of this request, of which nothing is read yet.
    pub(crate) fn new(
        request: &HttpRequest,
        payload: &mut Payload,
        limit: u64,
        pause: Duration,
        mut room: Room,
    ) -> Result<Self, Refusal> {
        refuse_upgrade(request)?;
        let gzip = if is_gzip(request)? {
            room.grow(DECODER_BYTES)?;
            Some(Gzip::default())
        } else {
            None
        };
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self {
            payload: payload.take(),
            limit,
            announced,
            received: 0,
            decoded: 0,
            pause,
            gzip,
            room,
        })
    }

    /// Counts bytes that are held beside the body among those in flight.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.room.grow(bytes)
    }

    const fn too_large(&self) -> Refusal {
        Refusal::PayloadTooLarge { limit: self.limit }
    }

    /// How many bytes may come.
    const fn most(&self) -> u64 {
        if self.gzip.is_some() {
            // Stored blocks have five bytes each, for at least 16 KiB.
            (self.limit + self.limit / 1_024).saturating_add(GZIP_FRAME_BYTES)
        } else {
            self.limit
        }
    }

    /// The next piece, decoded; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(gzip) = &mut self.gzip {
                match gzip.next() {
                    Ok(Decoded::Piece(piece)) => {
                        self.decoded += count(&piece);
                        if self.decoded > self.limit {
                            return Err(self.too_large().into());
                        }
                        return Ok(Some(piece));
                    }
                    Ok(Decoded::End) => return Ok(None),
                    Ok(Decoded::Hungry) => {}
                    Err(error) => {
                        let what = format!("the body cannot be decoded as gzip: {error}");
                        return Err(Refusal::Malformed(what).into());
                    }
                }
            }
            let piece = self.receive().await?;
            match (&mut self.gzip, piece) {
                (Some(gzip), piece) => gzip.feed(piece),
                (None, piece) => return Ok(piece),
            }
        }
    }

    /// The next piece as it comes.
    async fn receive(&mut self) -> Result<Option<Bytes>, ApiError> {
        let most = self.most();
        if self.announced.is_some_and(|announced| announced > most) {
            return Err(self.too_large().into());
        }
        let piece = tokio::time::timeout(self.pause, self.payload.next());
        let piece = piece.await.map_err(|_elapsed| {
            let pause = self.pause.as_secs_f64();
            Refusal::Malformed(format!(
                "the body could not be read: nothing came for {pause} s"
            ))
        })?;
        let Some(piece) = piece else {
            return Ok(None);
        };
        let piece = piece.map_err(|error| {
            Refusal::Malformed(format!("the body could not be read to its end: {error}"))
        })?;
        self.received += count(&piece);
        if self.received > most {
            Err(self.too_large().into())
        } else {
            Ok(Some(piece))
        }
    }

    /// The whole body. Memory is taken for what has come, whatever was announced.
    async fn bytes(&mut self) -> Result<Vec<u8>, ApiError> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            let needed = bytes.len() + piece.len();
            if needed > bytes.capacity() {
                let capacity = (bytes.capacity() * 2).clamp(needed, limit.max(needed));
                self.room.grow(capacity - bytes.capacity())?;
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The JSON object that the body is.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T, ApiError> {
        let bytes = self.bytes().await?;
        from_json(&bytes).map_err(|place| Refusal::Malformed(place).into())
    }
}

fn count(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

/// The server of HTTP takes everything after the head of such a request for its body, without
/// an end.
fn refuse_upgrade(request: &HttpRequest) -> Result<(), Refusal> {
    let mut upgrades = request.headers().get_all(UPGRADE);
    let is_websocket = upgrades.any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if is_websocket {
        return Err(Refusal::Malformed(
            "`upgrade: websocket` is not supported; send the request without this header".into(),
        ));
    }
    Ok(())
}

/// Whether the body is to be decoded.
fn is_gzip(request: &HttpRequest) -> Result<bool, Refusal> {
    let mut gzip = false;
    for value in request.headers().get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            let is_known = [b"gzip".as_slice(), b"x-gzip"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known));
            if !is_known || gzip {
                let encoding = shown(value.as_bytes());
                return Err(Refusal::UnsupportedEncoding { encoding });
            }
            gzip = true;
        }
    }
    Ok(gzip)
}

/// What came of the bytes that a decoder has been fed.
enum Decoded {
    Piece(Bytes),
    /// It needs more bytes.
    Hungry,
    /// The body has ended as it should.
    End,
}

/// Decodes gzip, of one member or several.
struct Gzip {
    member: GzDecoder<Feed>,
    /// Whether a member has ended.
    has_member: bool,
    /// Whether this one has.
    ended: bool,
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            member: GzDecoder::new(Feed::default()),
            has_member: false,
            ended: false,
        }
    }
}

impl Gzip {
    /// Adds a piece; `None` is the end.
    fn feed(&mut self, piece: Option<Bytes>) {
        let feed = self.member.get_mut();
        match piece {
            Some(piece) => feed.piece = piece,
            None => feed.ended = true,
        }
    }

    fn next(&mut self) -> io::Result<Decoded> {
        loop {
            match self.read() {
                Ok(Some(decoded)) => return Ok(decoded),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Decoded::Hungry),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(error.kind(), "it is cut off"));
                }
                Err(_) if self.has_member && self.member.header().is_none() => {
                    return Err(not_a_member());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes one step on: to a piece, to the end of a member, or to the start of the next.
    fn read(&mut self) -> io::Result<Option<Decoded>> {
        if self.ended {
            let feed = self.member.get_mut();
            match feed.fill_buf()? {
                [] => return Ok(Some(Decoded::End)),
                [0x1f, ..] => {}
                [..] => return Err(not_a_member()),
            }
            self.member = GzDecoder::new(std::mem::take(feed));
            self.ended = false;
        }
        let mut piece = vec![0; DECODED_BYTES];
        let length = self.member.read(&mut piece)?;
        if length == 0 {
            (self.has_member, self.ended) = (true, true);
            return Ok(None);
        }
        piece.truncate(length);
        Ok(Some(Decoded::Piece(piece.into())))
    }
}

/// Something else follows a member.
fn not_a_member() -> io::Error {
    let why = "after its end there are bytes that are not gzip";
    io::Error::new(ErrorKind::InvalidData, why)
}

/// The piece that a decoder reads next; without one it would have to wait.
#[derive(Default)]
struct Feed {
    piece: Bytes,
    ended: bool,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes of a body in pieces of this size.
    fn decoded(body: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let mut gzip = Gzip::default();
        let mut pieces = body.chunks(size);
        let mut all = Vec::new();
        loop {
            match gzip.next().map_err(|error| error.to_string())? {
                Decoded::Piece(piece) => all.extend_from_slice(&piece),
                Decoded::Hungry => gzip.feed(pieces.next().map(Bytes::copy_from_slice)),
                Decoded::End => return Ok(all),
            }
        }
    }

    #[test]
    fn gzip_is_decoded_in_whatever_pieces_it_comes() {
        let text = "customer_ref,country\n".repeat(2_000);
        let members = [gzip(b""), gzip(text.as_bytes()), gzip(b"x"), gzip(b"")].concat();
        for size in [1, 2, 3, 10, 1_000, members.len()] {
            let expected = format!("{text}x");
            assert_eq!(decoded(&members, size), Ok(expected.into_bytes()), "{size}");
        }
    }

    #[test]
    fn what_is_not_whole_gzip_is_an_error() {
        let whole = gzip(b"some text that is long enough");
        for end in 0..whole.len() {
            assert!(decoded(&whole[..end], 7).is_err(), "cut at {end}");
        }
        for (rest, said) in [
            (&b"x"[..], "bytes that are not gzip"),
            (b"\0", "bytes that are not gzip"),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", "bytes that are not gzip"),
            (b"no gzip at all", "bytes that are not gzip"),
            (b"\x1f", "cut off"),
            (b"\x1fno gzip at all", "bytes that are not gzip"),
            (&whole[..5], "cut off"),
            (&whole[..whole.len() - 1], "cut off"),
        ] {
            let body = [&whole, rest].concat();
            for size in [1, 7, body.len()] {
                let error = decoded(&body, size).unwrap_err();
                assert!(error.contains(said), "{rest:?} follows: {error}");
            }
        }
        let mut wrong = whole.clone();
        let sum = wrong.len() - 8;
        wrong[sum] ^= 1;
        assert!(decoded(&wrong, 7).is_err());
        assert!(decoded(b"{\"name\":\"g\"}", 7).is_err());
    }
}
