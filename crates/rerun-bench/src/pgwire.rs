//! A connection to PostgreSQL that repeats one prepared statement, on a thread that may block.
//!
//! The floor is driven with it, as the server is with [`crate::http`]: the load costs as little as it
//! can. Values are returned as text, the format that `pgbench` and `psql` request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::sasl::{self, ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::{Failure, Outcome};

/// The first statement of each connection. By default PostgreSQL plans some prepared statements again
/// for each execution, and that costs more than the execution.
pub(crate) const PREPARATION: &str = "SET jit = off; SET plan_cache_mode = force_generic_plan";

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Repeater {
    stream: BufReader<Box<dyn Stream>>,
    /// One for each of the values, and the place of the next.
    requests: Vec<BytesMut>,
    next: usize,
    body: Vec<u8>,
}

impl Repeater {
    /// Connects and prepares a statement. It is executed with the texts of each of `values` in
    /// turn, from `first` on.
    pub(crate) fn open(
        config: &Config,
        statement: &str,
        values: &[Vec<String>],
        first: usize,
    ) -> Outcome<Self> {
        let mut repeater = Self {
            stream: BufReader::with_capacity(64 << 10, connect(config)?),
            requests: values.iter().map(execution).collect::<Outcome<_>>()?,
            next: first,
            body: Vec::new(),
        };
        repeater.log_in(config)?;
        let mut out = BytesMut::new();
        frontend::query(PREPARATION, &mut out)?;
        repeater.send(&out)?;
        repeater.answer()?;
        out.clear();
        frontend::parse("repeated", statement, [], &mut out)?;
        frontend::sync(&mut out);
        repeater.send(&out)?;
        repeater.answer()?;
        Ok(repeater)
    }

    /// Executes the statement and answers the number of rows.
    pub(crate) fn rows(&mut self) -> Outcome<usize> {
        let request = self
            .requests
            .get(self.next)
            .ok_or_else(|| Failure::from("a statement without values"))?;
        self.stream.get_mut().write_all(request)?;
        self.next = (self.next + 1) % self.requests.len();
        self.answer()
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads to the end of an answer; answers its number of rows.
    fn answer(&mut self) -> Outcome<usize> {
        let mut rows = 0;
        loop {
            let (tag, length) = self.header()?;
            match tag {
                b'D' => {
                    rows += 1;
                    self.skip(length)?;
                }
                b'E' => {
                    self.read(length)?;
                    return Err(self.refusal());
                }
                b'Z' => {
                    self.skip(length)?;
                    return Ok(rows);
                }
                _ => self.skip(length)?,
            }
        }
    }

    fn header(&mut self) -> Outcome<(u8, usize)> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let [tag, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        Ok((tag, length.saturating_sub(4)))
    }

    fn skip(&mut self, mut length: usize) -> Outcome<()> {
        while length > 0 {
            let there = self.stream.fill_buf()?.len().min(length);
            if there == 0 {
                return Err(Failure::from("the database closed the connection"));
            }
            self.stream.consume(there);
            length -= there;
        }
        Ok(())
    }

    fn read(&mut self, length: usize) -> io::Result<()> {
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)
    }

    /// The fields of an error are texts that end with a zero, each after a letter.
    fn refusal(&self) -> Failure {
        let fields = self.body.split(|byte| *byte == 0);
        let texts: Vec<_> = fields.map(String::from_utf8_lossy).collect();
        format!("the database refused: {}", texts.join(" ")).into()
    }

    fn log_in(&mut self, config: &Config) -> Outcome<()> {
        let user = config.get_user().unwrap_or("postgres");
        let database = config.get_dbname().unwrap_or(user);
        let password = config.get_password().unwrap_or_default();
        let mut out = BytesMut::new();
        frontend::startup_message([("user", user), ("database", database)], &mut out)?;
        self.send(&out)?;
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        loop {
            let (tag, length) = self.header()?;
            self.read(length)?;
            match tag {
                b'E' => return Err(self.refusal()),
                b'Z' => return Ok(()),
                b'R' => {}
                _ => continue,
            }
            let Some((code, data)) = self.body.split_first_chunk() else {
                return Err(Failure::from("a message of the database that is cut off"));
            };
            out.clear();
            match u32::from_be_bytes(*code) {
                0 => {}
                10 => {
                    frontend::sasl_initial_response(
                        sasl::SCRAM_SHA_256,
                        scram.message(),
                        &mut out,
                    )?;
                }
                11 => {
                    scram.update(data)?;
                    frontend::sasl_response(scram.message(), &mut out)?;
                }
                12 => scram.finish(data)?,
                other => {
                    return Err(format!("the database wants a login of kind {other}").into());
                }
            }
            self.send(&out)?;
        }
    }
}

/// The messages that execute the prepared statement with these values.
fn execution(values: &Vec<String>) -> Outcome<BytesMut> {
    let mut request = BytesMut::new();
    frontend::bind(
        "",
        "repeated",
        [0],
        values,
        |value, out| {
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        },
        [0],
        &mut request,
    )
    .map_err(|_invalid| Failure::from("a value that cannot be bound"))?;
    frontend::execute("", 0, &mut request)?;
    frontend::sync(&mut request);
    Ok(request)
}

fn connect(config: &Config) -> Outcome<Box<dyn Stream>> {
    let host = config.get_hosts().first();
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match host {
        Some(Host::Unix(folder)) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            Ok(Box::new(UnixStream::connect(path)?))
        }
        Some(Host::Tcp(name)) => {
            let stream = TcpStream::connect((name.as_str(), port))?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        None => Err(Failure::from("the database's URL names no host")),
    }
}
