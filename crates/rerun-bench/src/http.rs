//! A kept-alive HTTP/1.1 connection, on a thread that may block.
//!
//! Server, database and load share the same few cores: the load takes CPU time from the others. With
//! a thread for each connection, prepared request bytes, and just enough of the protocol to find the
//! end of a response, a request costs a few microseconds. A client library costs ten times as much.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Failure, Outcome};

/// Longer than any work takes: a server that hangs ends the benchmark.
const TIMEOUT: Duration = Duration::from_mins(10);

/// How much of a refusal is shown.
const SHOWN: usize = 500;

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            body: Vec::new(),
        })
    }

    /// Sends a request as it is and answers the body of a response with status 200.
    pub(crate) fn call(&mut self, request: &[u8]) -> Outcome<&[u8]> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let called = self.stream(request, |piece| body.extend_from_slice(piece));
        self.body = body;
        called?;
        Ok(&self.body)
    }

    /// The same, with the body in pieces as they come.
    pub(crate) fn stream(&mut self, request: &[u8], mut sink: impl FnMut(&[u8])) -> Outcome<()> {
        self.stream.get_mut().write_all(request)?;
        let (status, length) = self.head()?;
        let mut refusal = Vec::new();
        let mut take = |piece: &[u8]| {
            if status == 200 {
                sink(piece);
            } else if refusal.len() < SHOWN {
                refusal.extend_from_slice(piece);
            }
        };
        match length {
            Length::Known(length) => self.pieces(length, &mut take)?,
            Length::Chunked => loop {
                let line = self.line()?;
                let length = usize::from_str_radix(line.trim(), 16)?;
                self.pieces(length, &mut take)?;
                self.line()?;
                if length == 0 {
                    break;
                }
            },
        }
        if status == 200 {
            Ok(())
        } else {
            let request = String::from_utf8_lossy(request.get(..80).unwrap_or(request));
            let line = request.lines().next().unwrap_or_default().to_owned();
            let refusal = String::from_utf8_lossy(&refusal);
            Err(format!("{line} was answered with {status}: {refusal}").into())
        }
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(Failure::from("the server closed the connection"));
        }
        Ok(line)
    }

    fn head(&mut self) -> Outcome<(u16, Length)> {
        let status = self.line()?;
        let status: u16 = status
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| format!("not a status line: {status}"))?;
        let mut length = Length::Known(0);
        loop {
            let line = self.line()?;
            let line = line.trim_end();
            let Some((name, value)) = line.split_once(':') else {
                return Ok((status, length));
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
    }

    fn pieces(&mut self, length: usize, take: &mut impl FnMut(&[u8])) -> Outcome<()> {
        let mut left = length;
        while left > 0 {
            let piece = self.stream.fill_buf()?;
            if piece.is_empty() {
                return Err(Failure::from("the server broke off in the middle"));
            }
            let taken = piece.len().min(left);
            take(piece.get(..taken).unwrap_or_default());
            self.stream.consume(taken);
            left -= taken;
        }
        Ok(())
    }
}

/// Reads nothing but whether a path is answered with 200.
pub(crate) fn answers(address: SocketAddr, path: &str) -> bool {
    let ask = || -> Outcome<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        Connection::open(address)?.call(request.as_bytes())?;
        Ok(())
    };
    ask().is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A connection to somebody who answers every request with the next of these texts.
    fn answered_with(answers: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut request = [0; 1];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Connection::open(address).unwrap()
    }

    #[test]
    fn bodies_end_where_they_end() {
        let mut connection = answered_with(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast",
        ]);
        for body in ["first", "second", "", "last"] {
            assert_eq!(connection.call(b"?").unwrap(), body.as_bytes());
        }
    }

    #[test]
    fn a_refusal_is_an_error_that_shows_it() {
        let mut connection =
            answered_with(&["HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nwhy"]);
        let error = connection.call(b"?").unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("why"), "{error}");
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let mut connection = answered_with(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nwhy"]);
        assert!(connection.call(b"?").is_err());
    }
}
