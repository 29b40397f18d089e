use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::Headers;

/// A connection on which every byte is the test's own, for what no HTTP client would send.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    /// Sends the head of a POST.
    pub(crate) fn post(address: SocketAddr, path: &str, headers: &Headers) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in &headers.0 {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        let mut raw = Self(BufReader::new(stream));
        raw.send(head.as_bytes());
        raw
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a chunk of a body that is sent in chunks; an empty one ends it.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.send(bytes);
        self.send(b"\r\n");
    }

    /// Goes away without reading an answer.
    pub(crate) fn hang_up(self) {
        // The server may have gone first.
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }

    /// Waits until the server has closed the connection, whatever it says before.
    pub(crate) fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset closes it, too; only silence does not.
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }

    /// The status and the JSON body of the answer.
    pub(crate) fn answer(mut self) -> (u16, Value) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}
