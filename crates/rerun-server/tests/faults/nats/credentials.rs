//! Users of NATS that sign in with a JWT and a key, as a file with credentials has them.

use std::time::Duration;

use async_nats::{ConnectOptions, jetstream};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rerun_core::ports::Clock as _;
use rerun_generate::SystemClock;
use serde_json::{Value, json};

use super::{Nats, engine, events, is_the_chain, publisher};
use crate::wait::until;
use crate::world::{Store, World};

/// Whoever runs NATS: the servers trust the accounts that it signs.
struct Operator {
    key: KeyPair,
    account: KeyPair,
}

/// A user of the operator's account.
struct User {
    jwt: String,
    seed: String,
}

impl User {
    /// The text of a file with credentials.
    fn file(&self) -> String {
        let Self { jwt, seed } = self;
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A token in which `issuer` says of somebody what `nats` is.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = part(&json!({
        "jti": subject.public_key(), "iat": SystemClock.now().timestamp(), "name": "x",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    }));
    let signed = format!("{header}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Operator {
    fn new() -> Self {
        Self {
            key: KeyPair::new_operator(),
            account: KeyPair::new_account(),
        }
    }

    /// The settings of a server that knows the operator's accounts.
    fn configuration(&self) -> String {
        let of_the_server = KeyPair::new_account();
        let account = |key: &KeyPair, storage: i32| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
                "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage,
                "streams": storage, "consumer": storage,
            });
            let claims = json!({ "limits": limits, "type": "account", "version": 2 });
            format!("{}: {}", key.public_key(), token(&self.key, key, &claims))
        };
        format!(
            "operator: {}\nresolver: MEMORY\nsystem_account: {}\nresolver_preload: {{ {}, {} }}\n",
            token(
                &self.key,
                &self.key,
                &json!({ "type": "operator", "version": 2 })
            ),
            of_the_server.public_key(),
            account(&self.account, -1),
            account(&of_the_server, 0),
        )
    }

    /// A user who may publish and subscribe to these subjects.
    fn user(&self, publish: &[&str], subscribe: &[&str]) -> User {
        let key = KeyPair::new_user();
        let claims = json!({
            "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
            "pub": { "allow": publish }, "sub": { "allow": subscribe },
        });
        User {
            jwt: token(&self.account, &key, &claims),
            seed: key.seed().unwrap(),
        }
    }
}

/// The user may do what the documentation says is needed, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_credentials_signs_in() {
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    events(&engine, 2).await;
    let (operator, folder) = (Operator::new(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut nats = Nats::stopped();
    let configuration = file("nats.conf", operator.configuration());
    nats.arguments = vec!["-c", configuration.leak()];
    nats.start().await;
    let subjects = [
        "rerun.events.>",
        "$JS.API.STREAM.MSG.GET.rerun",
        "$JS.API.STREAM.INFO.rerun",
        "$JS.API.STREAM.CREATE.rerun",
    ];
    let user = operator.user(&subjects, &["_INBOX.>"]);
    let strange = Operator::new().user(&[">"], &[">"]);
    let settings = |credentials| {
        [
            ("RERUN_NATS_CREDENTIALS_FILE", credentials),
            ("RERUN_NATS_CREATE_STREAM", "true"),
            ("RERUN_LOG", "trace"),
        ]
    };

    // An account that the operator did not sign.
    let credentials = file("strange.creds", strange.file());
    let process = publisher(&world, &nats.url(), &settings(&credentials)).await;
    let said = ["no events are published now", "uthorization violation"];
    process.logs(&said).await;
    assert_eq!(process.lines_with(&strange.seed), 0);
    process.kill();

    let credentials = file("rerun.creds", user.file());
    let process = publisher(&world, &nats.url(), &settings(&credentials)).await;
    let reader = operator.user(&[">"], &[">"]);
    let client = ConnectOptions::with_credentials(&reader.file()).unwrap();
    let context = jetstream::new(client.connect(nats.url()).await.unwrap());
    let stream = until("the stream", async || {
        context.get_stream("rerun").await.ok()
    })
    .await;
    is_the_chain(&stream, &engine).await;
    assert_eq!(process.lines_with(&user.seed), 0);
    assert_eq!(process.terminate().await, Some(0));
}
