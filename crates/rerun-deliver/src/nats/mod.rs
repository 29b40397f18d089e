//! A stream of NATS JetStream as the broker of events.

mod address;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{Context, ContextBuilder, ErrorCode};
use async_nats::{ConnectOptions, header};
use async_trait::async_trait;
use rerun_core::feed::PublicEvent;
use rerun_core::ids::{AccountId, AuditEntryId};
use rerun_core::ports::{EventBroker, EventPublisher};
use rerun_core::publication::{PublishError, Published};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use crate::signature::cloud_event;
pub use address::{NatsServers, stream_name, subject_prefix};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long the server remembers ids, in a stream that is created here.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// The header with the number of an event.
const SEQUENCE: &str = "Rerun-Sequence";

/// Where events are published.
#[derive(Debug, Clone, PartialEq)]
pub struct NatsOptions {
    /// The servers.
    pub servers: NatsServers,
    /// A file with the JWT and the key of a user.
    pub credentials: Option<PathBuf>,
    /// The stream.
    pub stream: String,
    /// What subjects begin with.
    pub prefix: String,
    /// Whether to create the stream if it is not there.
    pub create_stream: bool,
}

/// Publishes events in a stream of NATS JetStream.
///
/// The last event of an account that the stream has says where to go on. Each event is published with
/// the number of the last message that its subject has, which the server compares: a copy that comes late,
/// from here or from another process, is refused, whatever the stream's duplicate window is.
///
/// It connects when it is needed. After any failure it makes a new connection, so that nothing of the one
/// before is sent later.
pub struct NatsBroker {
    options: NatsOptions,
    session: Mutex<Option<Session>>,
}

impl fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        f.debug_struct("NatsBroker")
            .field("options", options)
            .finish_non_exhaustive()
    }
}

/// A connection. It is not used again after something failed.
#[derive(Clone)]
struct Session {
    context: Context,
    stream: Stream<()>,
    failed: Arc<AtomicBool>,
}

/// The events of one account.
struct Publisher {
    session: Session,
    /// What the account's subjects begin with.
    prefix: String,
    stream: String,
    /// The number of the last message of each subject that is known.
    last: BTreeMap<String, u64>,
    /// Whether the stream has nothing of the account but what is known.
    complete: bool,
}

impl NatsBroker {
    /// Prepares the connection, but does not connect.
    #[must_use]
    pub fn new(options: NatsOptions) -> Self {
        Self {
            options,
            session: Mutex::default(),
        }
    }

    async fn session(&self) -> Result<Session, PublishError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && !session.failed.load(Ordering::Relaxed)
        {
            return Ok(session.clone());
        }
        // The connection that failed ends here.
        *current = None;
        let session = self.connect().await?;
        Ok(current.insert(session).clone())
    }

    async fn connect(&self) -> Result<Session, PublishError> {
        let servers = &self.options.servers;
        let unavailable =
            |what: String| PublishError::Unavailable(format!("NATS at {servers}: {what}"));
        let mut options = ConnectOptions::new()
            .name("rerun")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            // One round, which is over when the process has a new connection.
            .max_reconnects(servers.servers.len());
        if let Some(path) = &self.options.credentials {
            let read = tokio::fs::read_to_string(path).await;
            // Neither error repeats what is in the file.
            let text = read.map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
            options = options.credentials(&text).map_err(|_malformed| {
                unavailable(format!("{} is not a file with credentials", path.display()))
            })?;
        } else if let Some(secret) = &servers.secret {
            let secret = secret.expose_secret().to_owned();
            options = match &servers.user {
                Some(user) => options.user_and_password(user.clone(), secret),
                None => options.token(secret),
            };
        }
        let client = options
            .connect(servers.servers.as_slice())
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let context = ContextBuilder::new()
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .build(client);
        let name = &self.options.stream;
        if self.options.create_stream {
            let config = Config {
                name: name.clone(),
                subjects: vec![format!("{}.>", self.options.prefix)],
                storage: StorageType::File,
                duplicate_window: DUPLICATE_WINDOW,
                ..Config::default()
            };
            let created = context.get_or_create_stream(config).await;
            created.map_err(|error| unavailable(format!("stream {name}: {error}")))?;
        }
        let stream = context
            .get_stream_no_info(name)
            .await
            .map_err(|error| unavailable(format!("stream {name}: {error}")))?;
        tracing::info!(%servers, stream = name, "connected to NATS");
        Ok(Session {
            context,
            stream,
            failed: Arc::default(),
        })
    }
}

impl Session {
    /// The last message of a subject.
    async fn last(&self, name: &str, subject: &str) -> Result<Option<StreamMessage>, PublishError> {
        let found = self.stream.get_last_raw_message_by_subject(subject).await;
        let error = match found {
            Ok(message) => return Ok(Some(message)),
            Err(error) => error,
        };
        Err(match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            LastRawMessageErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                self.fails(format!(
                    "NATS has no stream {name}: create it, or set RERUN_NATS_CREATE_STREAM"
                ))
            }
            LastRawMessageErrorKind::JetStream(_)
            | LastRawMessageErrorKind::InvalidSubject
            | LastRawMessageErrorKind::Other => {
                self.fails(format!("stream {name} of NATS cannot be read: {error}"))
            }
        })
    }

    fn fails(&self, what: String) -> PublishError {
        self.failed.store(true, Ordering::Relaxed);
        PublishError::Unavailable(what)
    }
}

/// The event that a message of the stream is.
fn published(message: &StreamMessage) -> Option<Published> {
    let header = |name| message.headers.get(name).map(header::HeaderValue::as_str);
    let sequence = header(SEQUENCE)?.parse().ok()?;
    let event_id = AuditEntryId::parse(header("Nats-Msg-Id")?)?;
    Some(Published { sequence, event_id })
}

#[async_trait]
impl EventBroker for NatsBroker {
    fn stream(&self) -> &str {
        &self.options.stream
    }

    async fn take_over(
        &self,
        account: AccountId,
    ) -> Result<(Option<Published>, Box<dyn EventPublisher>), PublishError> {
        let session = self.session().await?;
        let NatsOptions { stream, prefix, .. } = &self.options;
        let prefix = format!("{prefix}.{account}");
        let message = session.last(stream, &format!("{prefix}.>")).await?;
        let mut publisher = Publisher {
            session,
            prefix,
            stream: stream.clone(),
            last: BTreeMap::new(),
            complete: message.is_none(),
        };
        let Some(message) = message else {
            return Ok((None, Box::new(publisher)));
        };
        let last = published(&message).ok_or_else(|| {
            let (subject, number) = (&message.subject, message.sequence);
            PublishError::Refused(format!(
                "message {number} of stream {stream}, {subject}, is from another program"
            ))
        })?;
        let subject = message.subject.to_string();
        publisher.last.insert(subject, message.sequence);
        Ok((Some(last), Box::new(publisher)))
    }
}

impl Publisher {
    /// The number of the last message of a subject; 0 for none.
    async fn last_of(&self, subject: &str) -> Result<u64, PublishError> {
        if let Some(number) = self.last.get(subject) {
            return Ok(*number);
        }
        if self.complete {
            return Ok(0);
        }
        let message = self.session.last(&self.stream, subject).await?;
        Ok(message.map_or(0, |message| message.sequence))
    }
}

#[async_trait]
impl EventPublisher for Publisher {
    async fn publish(&mut self, event: &PublicEvent) -> Result<(), PublishError> {
        let subject = format!("{}.{}", self.prefix, event.event_type);
        let last = self.last_of(&subject).await?;
        let payload = serde_json::to_vec(event)
            .map_err(|error| PublishError::Refused(format!("{}: {error}", event.id)))?;
        let mut message = PublishMessage::build()
            .payload(payload.into())
            .message_id(event.id.to_string())
            .expected_stream(&self.stream)
            .expected_last_subject_sequence(last)
            .header("content-type", "application/json")
            .header(SEQUENCE, event.sequence.to_string().as_str());
        for (name, value) in cloud_event(event) {
            message = message.header(name, value.as_str());
        }
        let sent = self.session.context.send_publish(subject.clone(), message);
        let acknowledged = match sent.await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        let error = match acknowledged {
            Ok(acknowledged) => {
                self.last.insert(subject, acknowledged.sequence);
                return Ok(());
            }
            Err(error) => error,
        };
        Err(match error.kind() {
            PublishErrorKind::WrongLastSequence => PublishError::Overtaken,
            PublishErrorKind::MaxPayloadExceeded => {
                PublishError::Refused(format!("{}: {error}", event.id))
            }
            PublishErrorKind::StreamNotFound => self.session.fails(format!(
                "no stream of NATS takes {subject}: add its subjects to stream {}",
                self.stream
            )),
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::Other => {
                let stream = &self.stream;
                self.session
                    .fails(format!("stream {stream} of NATS: {error}"))
            }
        })
    }
}
