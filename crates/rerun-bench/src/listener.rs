//! A small HTTP/1.1 server that the measured server calls, with a thread for each connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::{Failure, Outcome};

/// Listens until the benchmark ends. `respond` gets the path and the body of a request, and returns the body of
/// the response. With `None` nothing is sent, and the connection stays open until the client closes it.
pub(crate) fn listen(
    respond: impl Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let respond = Arc::new(respond);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let respond = Arc::clone(&respond);
            // What breaks a connection is known on the other side.
            thread::spawn(move || serve(stream, &*respond));
        }
    });
    Ok(address)
}

fn serve(
    stream: TcpStream,
    respond: &(impl Fn(&str, &[u8]) -> Option<String> + ?Sized),
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = request(&mut stream)? {
        let Some(body) = respond(&path, &body) else {
            io::copy(&mut stream, &mut io::sink())?;
            return Ok(());
        };
        let length = body.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.get_mut().write_all(response.as_bytes())?;
    }
    Ok(())
}

/// The path and the body of the next request, if there is one.
fn request(stream: &mut BufReader<TcpStream>) -> Outcome<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line
        .split(' ')
        .nth(1)
        .ok_or_else(|| Failure::from("not a request line"))?
        .to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((path, body)))
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;
    use crate::http::Connection;

    fn echo(path: &str, body: &[u8]) -> Option<String> {
        let body = String::from_utf8_lossy(body);
        (path != "/silent").then(|| format!("{path} {body}"))
    }

    #[test]
    fn requests_of_a_connection_are_answered_one_after_the_other() {
        let mut connection = Connection::open(listen(echo).unwrap()).unwrap();
        for (request, body) in [
            (
                "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nfirst",
                "/a first",
            ),
            ("GET /b HTTP/1.1\r\nhost: here\r\n\r\n", "/b "),
        ] {
            assert_eq!(
                connection.call(request.as_bytes()).unwrap(),
                body.as_bytes()
            );
        }
    }

    #[test]
    fn what_is_not_answered_is_kept_until_the_other_side_ends() {
        let mut stream = TcpStream::connect(listen(echo).unwrap()).unwrap();
        stream
            .write_all(b"GET /silent HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty());
    }
}
