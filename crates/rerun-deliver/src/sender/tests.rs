use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rerun_core::Timestamp;
use rerun_core::feed::PublicEvent;
use rerun_core::ids::{AccountId, AuditEntryId, LeaseId, WebhookId};
use rerun_core::system::SystemClock;
use serde_json::{Map, Value, json};
use standardwebhooks::Webhook as Verifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;
use crate::secrets::DerivedSecrets;
use crate::target::{AllowedNetworks, LookUp, TargetRules};

fn secrets() -> DerivedSecrets {
    DerivedSecrets::new(Some("a secret of thirty-two bytes or more".into()))
}

/// Every name means this machine.
struct Here;

#[async_trait]
impl LookUp for Here {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 1].into()])
    }
}

fn sender_with(networks: &str, secrets: DerivedSecrets) -> HttpSender {
    let rules = TargetRules {
        allow_http: true,
        allow_networks: AllowedNetworks::parse(networks).unwrap(),
    };
    let targets = Targets::with_look_up(rules, Arc::new(Here));
    let patience = Duration::from_millis(1_500);
    HttpSender::new(targets, Arc::new(secrets), Arc::new(SystemClock), patience).unwrap()
}

fn sender() -> HttpSender {
    sender_with("127.0.0.0/8", secrets())
}

fn parcel(url: &str) -> Parcel {
    let campaign = Uuid::from_u128(5);
    let account_id = AccountId::new(Uuid::from_u128(1));
    let data: Value =
        json!({ "campaign_id": campaign, "name": "Fr\u{fc}hling \u{1f337}", "actor": null });
    let data: Map<String, Value> = data.as_object().unwrap().clone();
    Parcel {
        account_id,
        webhook_id: WebhookId::new(Uuid::from_u128(2)),
        lease: LeaseId::new(Uuid::from_u128(3)),
        url: url.to_owned(),
        secrets: vec![2, 1],
        event: PublicEvent {
            id: AuditEntryId::new(Uuid::from_u128(4)),
            event_type: "campaign.created".to_owned(),
            timestamp: Timestamp::from_timestamp_millis(1_767_225_600_123).unwrap(),
            sequence: 42,
            account_id,
            data,
        },
        attempt: 1,
    }
}

/// A receiver that responds to each connection with the same bytes, and then with `endless` ones.
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How many bytes of endless responses left the receiver.
    endless: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start(response: &str, endless: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (seen, response) = (Arc::clone(&requests), response.to_owned());
        let sent: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, response) = (Arc::clone(&seen), response.clone());
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    seen.lock().unwrap().push(request);
                    let mut written = stream.write_all(response.as_bytes()).await;
                    while endless && written.is_ok() {
                        written = stream.write_all(&[b'x'; 16 << 10]).await;
                        count.fetch_add(16 << 10, Ordering::SeqCst);
                    }
                    // The other side ends the connection.
                    let _ended = stream.read(&mut [0; 1]).await;
                });
            }
        });
        Self {
            address,
            requests,
            endless: sent,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.address)
    }

    fn request(&self) -> (HeaderMap, Vec<u8>, String) {
        let request = self.requests.lock().unwrap().remove(0);
        let end = request
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(request[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::try_from(name).unwrap(), value)
        });
        (headers.collect(), request[end + 4..].to_vec(), first)
    }
}

/// A receiver that knows no TLS.
async fn without_tls() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4_096];
        let _length = stream.read(&mut hello).await.unwrap();
        let refused = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(refused).await.unwrap();
        let _ended = stream.read(&mut hello).await;
    });
    address
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let length = stream.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            assert!(length > 0, "{text}");
            continue;
        };
        let declared = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let declared: usize = declared.unwrap().parse().unwrap();
        if request.len() == head.len() + 4 + declared {
            return request;
        }
    }
}

#[tokio::test]
async fn a_delivery_is_signed_as_the_official_library_verifies_it() {
    let receiver = Receiver::start("HTTP/1.1 204 No Content\r\n\r\n", false).await;
    let parcel = parcel(&receiver.url());
    let outcome = sender().send(&parcel).await;
    assert!(outcome.is_delivered(), "{outcome:?}");
    let (headers, body, first) = receiver.request();
    assert_eq!(first, "POST /hook?key=1 HTTP/1.1");
    let header = |name: &str| headers[name].to_str().unwrap();
    // During a rotation a receiver may have either secret.
    for number in [1, 2] {
        let secret = secrets()
            .secret(parcel.account_id, parcel.webhook_id, number)
            .unwrap();
        let verifier = Verifier::new(secret.expose()).unwrap();

        verifier.verify(&body, &headers).unwrap();
        let mut changed = body.clone();
        changed[10] ^= 1;
        assert!(verifier.verify(&changed, &headers).is_err());
    }
    let other = secrets()
        .secret(parcel.account_id, parcel.webhook_id, 3)
        .unwrap();
    let other = signature::sign("x", 1, &body, &[other]);
    assert!(!header("webhook-signature").contains(&other));
    assert_eq!(header("webhook-signature").split(' ').count(), 2);
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!(parcel.event)
    );
}

#[tokio::test]
async fn a_delivery_has_the_headers_of_cloud_events() {
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await;
    sender().send(&parcel(&receiver.url())).await;
    let (headers, _, _) = receiver.request();
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", "00000000-0000-0000-0000-000000000004"),
        ("ce-specversion", "1.0"),
        ("ce-id", "00000000-0000-0000-0000-000000000004"),
        (
            "ce-source",
            "/rerun/accounts/00000000-0000-0000-0000-000000000001",
        ),
        ("ce-type", "campaign.created"),
        ("ce-time", "2026-01-01T00:00:00.123Z"),
        (
            "ce-subject",
            "campaigns/00000000-0000-0000-0000-000000000005",
        ),
        ("ce-sequence", "0000000000000000042"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let mut about_no_campaign = parcel(&receiver.url());
    about_no_campaign.event.data.remove("campaign_id");
    sender().send(&about_no_campaign).await;
    assert!(!receiver.request().0.contains_key("ce-subject"));
}

#[tokio::test]
async fn a_response_is_its_status() {
    for (response, status, asked) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, None),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410, None),
        (
            "HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
            503,
            Some(120),
        ),
        (
            "HTTP/1.1 429 Busy\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n",
            429,
            None,
        ),
        // A body that breaks off, or that is not what the headers say.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
            200,
            None,
        ),
        (
            "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            500,
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
            200,
            None,
        ),
    ] {
        let receiver = Receiver::start(response, false).await;
        let outcome = sender().send(&parcel(&receiver.url())).await;
        let expected = Response {
            status,
            retry_after: asked.map(Duration::from_secs),
        };
        assert_eq!(outcome.response, Ok(expected), "{response}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inside = Receiver::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
    for status in [301, 302, 303, 307, 308] {
        let to = inside.url();
        let response =
            format!("HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::start(&response, false).await;
        let outcome = sender().send(&parcel(&receiver.url())).await;
        assert_eq!(outcome.response.map(|response| response.status), Ok(status));
    }
    assert!(inside.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_without_an_end_is_judged_by_its_status() {
    for (head, endless) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", false),
    ] {
        let receiver = Receiver::start(head, endless).await;
        let outcome = sender().send(&parcel(&receiver.url())).await;
        assert!(outcome.is_delivered(), "{head}: {outcome:?}");
        assert!(
            outcome.duration < Duration::from_millis(1_400),
            "{outcome:?}"
        );
    }
}

/// A receiver must not have the sender read gigabytes. What the operating system buffers on the way is
/// some megabytes.
#[tokio::test]
async fn a_small_part_of_a_long_response_is_read() {
    assert_eq!(MAX_RESPONSE_BYTES, 64 << 10);
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\n\r\n", true).await;
    let outcome = sender().send(&parcel(&receiver.url())).await;
    assert!(outcome.is_delivered(), "{outcome:?}");
    let sent = receiver.endless.load(Ordering::SeqCst);
    assert!(sent < 16 << 20, "{sent} bytes");
    // The rest of the second that a response may take is not used.
    assert!(outcome.duration < BODY_PATIENCE, "{outcome:?}");
}

#[tokio::test]
async fn the_reason_is_reported_when_no_response_comes() {
    let silent = Receiver::start("", false).await;
    let garbage = Receiver::start("SSH-2.0-OpenSSH_9.2\r\n\r\n", false).await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let tls = format!("https://{}/", without_tls().await);
    for (url, why) in [
        (silent.url(), SendError::TimedOut),
        (garbage.url(), SendError::Broken),
        (format!("http://{closed}/"), SendError::NotConnected),
        (tls, SendError::Tls),
        ("http://10.0.0.1/".to_owned(), SendError::NotAllowed),
        ("ftp://example.com/".to_owned(), SendError::NotAllowed),
    ] {
        let outcome = sender().send(&parcel(&url)).await;
        assert_eq!(outcome.response, Err(why), "{url}");
    }
    // The name has an address that is not allowed: nothing is connected to.
    let port = silent.address.port();
    let named = parcel(&format!("http://inside.example.com:{port}/"));
    let outcome = sender_with("10.0.0.0/8", secrets()).send(&named).await;
    assert_eq!(outcome.response, Err(SendError::NotAllowed));
    let unsigned = sender_with("127.0.0.0/8", DerivedSecrets::new(None));
    let outcome = unsigned.send(&parcel(&silent.url())).await;
    assert_eq!(outcome.response, Err(SendError::NotSigned));
}

#[tokio::test]
async fn a_name_that_is_allowed_is_connected_to_at_its_checked_address() {
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
    let url = format!("http://receiver.example.com:{}/", receiver.address.port());
    assert!(sender().send(&parcel(&url)).await.is_delivered());
    let (headers, _, _) = receiver.request();
    let host = format!("receiver.example.com:{}", receiver.address.port());
    assert_eq!(headers["host"], host.as_str());
}
