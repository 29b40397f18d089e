//! The command, started for a test, and requests to it whose every byte is the test's own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

pub(crate) const API_CODE: &str = "an API code";
/// The longest that anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command in a folder of its own, with no settings but these.
pub(crate) fn rerun(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rerun-http"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RERUN_") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .envs(settings.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// A server that is killed when the test ends.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it over a file in `folder`.
    pub(crate) fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = rerun(folder, &["serve", "--bind", "127.0.0.1:0"], settings);
        command
            .env("RERUN_API_CODE", API_CODE)
            .env("RERUN_WORKERS", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {log}"));
            let line = line.unwrap();
            log.push_str(&line);
            log.push('\n');
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let address = rest.split(' ').next().unwrap_or_default();
                break address.trim().parse().unwrap();
            }
        };
        let log = Arc::new(Mutex::new(log));
        let reader = {
            let log = Arc::clone(&log);
            // A log that nobody reads would stop the server.
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            })
        };
        Self {
            child,
            address,
            log,
            reader: Some(reader),
        }
    }

    /// What it has logged up to now.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it; answers the whole log.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = request.head();
        // The server may have answered and gone before it has read everything.
        let _cut = stream.write_all(&head);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{answer:?}");
        }
        Answer::of(&answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Values of headers, in the order in which they are sent.
pub(crate) type Values = Vec<Vec<u8>>;

/// A request for a list, with the body `{}`.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Values,
    pub(crate) context: Values,
    pub(crate) ip: Values,
    /// Whole lines.
    pub(crate) others: Values,
    pub(crate) content_type: &'static str,
}

impl Request {
    /// One that is right, if the token is.
    pub(crate) fn new(token: &str) -> Self {
        Self {
            path: "/v1/customer-group/list".to_owned(),
            authorization: vec![format!("Bearer {token}").into_bytes()],
            context: vec![context(API_CODE)],
            ip: vec![b"203.0.113.7".to_vec()],
            others: Vec::new(),
            content_type: "application/json",
        }
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: server\r\nconnection: close\r\ncontent-length: 2\r\n\
             content-type: {}\r\n",
            self.path, self.content_type
        )
        .into_bytes();
        for (name, values) in [
            ("authorization", &self.authorization),
            ("x-auth-context", &self.context),
            ("x-ip", &self.ip),
        ] {
            for value in values {
                head.extend_from_slice(name.as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value);
                head.extend_from_slice(b"\r\n");
            }
        }
        for line in &self.others {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n{}");
        head
    }
}

/// A good `x-auth-context`.
pub(crate) fn context(code: &str) -> Vec<u8> {
    serde_json::json!({ "api_access": true, "api_code": code })
        .to_string()
        .into_bytes()
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200.
    Admitted,
    /// 403 because of the token.
    AuthError,
    /// 403 because of anything else.
    Unauthorized,
    /// 415: all that comes before the content type is right.
    MediaType,
    /// Refused as no HTTP, before anybody looked at headers; the connection may be cut before the
    /// answer is through.
    NoHttp,
    /// Anything else.
    Other(String),
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match (status, body["code"].as_str(), body["message"].as_str()) {
            ("200", None, None) => Self::Admitted,
            ("403", Some("auth_error"), Some("auth error")) => Self::AuthError,
            ("403", Some("unauthorized"), Some("Unauthorized")) => Self::Unauthorized,
            ("415", Some("unsupported_media_type"), Some(_)) => Self::MediaType,
            ("400" | "431", None, None) if body.is_null() => Self::NoHttp,
            _ if bytes.is_empty() => Self::NoHttp,
            _ => Self::Other(text.into_owned()),
        }
    }
}
