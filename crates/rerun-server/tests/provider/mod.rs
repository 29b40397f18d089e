//! An OpenID provider that tests start, and that goes wrong as they tell it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Form, Query, get, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rerun_core::ports::Clock as _;
use rerun_generate::SystemClock;
use serde_json::{Value, json};

/// The client that it knows.
pub(crate) const CLIENT: &str = "rerun-console";
pub(crate) const ACCOUNT: &str = "0193ed20-7b3c-7000-8000-00000000000a";
pub(crate) const USER: &str = "0193ed20-7b3c-7000-8000-00000000000c";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What it signs ID tokens with.
pub(crate) struct Key {
    kid: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// A new key for RS256 or ES256.
    pub(crate) fn new(kid: &'static str, algorithm: &str) -> Self {
        let pair = if algorithm == "RS256" {
            Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
        } else {
            Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        };
        Self { kid, pair }
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "use": "sig", "n": b64(public.n), "e": b64(public.e) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk
    }

    fn token(&self, claims: &Value) -> String {
        let algorithm = match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        };
        let header = json!({ "alg": algorithm, "kid": self.kid, "typ": "JWT" });
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let (random, bytes) = (SystemRandom::new(), message.as_bytes());
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{message}.{}", b64(signature))
    }
}

/// How it answers. Tests change that as they like.
pub(crate) struct Answers {
    /// Claims of ID tokens in place of the good ones; one that is `null` is left out.
    pub(crate) claims: Value,
    /// What signs.
    pub(crate) key: Key,
    /// The keys that it says it has.
    pub(crate) keys: Vec<Value>,
    /// What it answers in place of its own, by the last part of a path: a status, and a body or,
    /// for a redirect, an address. With the status 0 it never answers.
    pub(crate) trouble: HashMap<&'static str, (u16, String)>,
    /// How often each path was asked for, by its last part.
    pub(crate) asked: HashMap<&'static str, usize>,
    /// The codes and tokens that it gave out, and the verifiers that it got.
    pub(crate) secrets: Vec<String>,
    /// What the client has to prove itself with; without it the client is a public one.
    pub(crate) client_secret: Option<&'static str>,
    codes: HashMap<String, HashMap<String, String>>,
}

/// It ends with the test's process.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    answers: Arc<Mutex<Answers>>,
}

impl Provider {
    /// Starts one under a name of this machine.
    pub(crate) fn start(host: &str) -> Self {
        let key = Key::new("first", "ES256");
        let answers = Arc::new(Mutex::new(Answers {
            claims: json!({}),
            keys: vec![key.jwk()],
            key,
            trouble: HashMap::new(),
            asked: HashMap::new(),
            secrets: Vec::new(),
            client_secret: None,
            codes: HashMap::new(),
        }));
        let (tell, told) = mpsc::channel();
        let (shared, host) = (Arc::clone(&answers), host.to_owned());
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                let provider = Self {
                    issuer: format!("http://{host}:{port}"),
                    answers: shared,
                };
                let data = Data::new(provider.clone());
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(data.clone())
                        .route("/.well-known/openid-configuration", get().to(describe))
                        .route("/authorize", get().to(authorize))
                        .route("/token", post().to(token))
                        .route("/jwks", get().to(keys))
                })
                .workers(1)
                .disable_signals()
                .listen(listener)
                .unwrap()
                .run();
                tell.send(provider).unwrap();
                server.await.unwrap();
            });
        });
        told.recv().unwrap()
    }

    /// How it answers from now on.
    pub(crate) fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }

    /// Notes that a path was asked for; returns the trouble that it is in.
    async fn trouble(&self, path: &'static str) -> Option<HttpResponse> {
        let (status, body) = {
            let mut answers = self.answers();
            *answers.asked.entry(path).or_default() += 1;
            answers.trouble.get(path)?.clone()
        };
        if status == 0 {
            return std::future::pending().await;
        }
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = HttpResponse::build(status);
        if status.is_redirection() {
            response.insert_header(("location", body.as_str()));
        }
        Some(response.content_type("application/json").body(body))
    }
}

async fn describe(provider: Data<Provider>) -> HttpResponse {
    let issuer = &provider.issuer;
    let own = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    });
    let trouble = provider.trouble("openid-configuration").await;
    trouble.unwrap_or_else(|| HttpResponse::Ok().json(own))
}

/// A page where somebody signs in. The address that leads back is in a header, too.
async fn authorize(
    provider: Data<Provider>,
    query: Query<HashMap<String, String>>,
) -> HttpResponse {
    let query = query.into_inner();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("code_challenge_method", "S256"),
        ("tenant", "1"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
    let mut random = [0; 24];
    rand::fill(&mut random).unwrap();
    let code = b64(random);
    let back = format!(
        "{}?code={code}&state={}",
        query["redirect_uri"], query["state"]
    );
    let mut answers = provider.answers();
    answers.secrets.push(code.clone());
    answers.codes.insert(code, query);
    let page = format!(
        "<!doctype html><html lang=en><title>Login</title><h1>Login</h1><a href=\"{}\">Log in as Grace</a>",
        back.replace('&', "&amp;")
    );
    HttpResponse::Ok()
        .insert_header(("x-back", back))
        .content_type("text/html; charset=utf-8")
        .body(page)
}

async fn token(
    provider: Data<Provider>,
    request: HttpRequest,
    form: Form<HashMap<String, String>>,
) -> HttpResponse {
    if let Some(trouble) = provider.trouble("token").await {
        return trouble;
    }
    let mut answers = provider.answers();
    answers.secrets.push(form["code_verifier"].clone());
    let client = request.headers().get("authorization");
    let right_client = match answers.client_secret {
        Some(secret) => {
            let pair = STANDARD.encode(format!("{CLIENT}:{secret}"));
            client.is_some_and(|sent| *sent == *format!("Basic {pair}"))
                && !form.contains_key("client_id")
        }
        None => client.is_none() && form.get("client_id").is_some_and(|id| id == CLIENT),
    };
    if !right_client {
        return HttpResponse::Unauthorized().json(json!({ "error": "invalid_client" }));
    }
    // A code is good once.
    let authorized = answers.codes.remove(&form["code"]);
    let challenge = b64(digest(&SHA256, form["code_verifier"].as_bytes()));
    let right = |asked: &HashMap<String, String>| {
        form["grant_type"] == "authorization_code"
            && form["redirect_uri"] == asked["redirect_uri"]
            && challenge == asked["code_challenge"]
    };
    let Some(asked) = authorized.filter(right) else {
        return HttpResponse::BadRequest().json(json!({ "error": "invalid_grant" }));
    };
    let mut claims = json!({
        "iss": provider.issuer, "aud": CLIENT, "sub": "grace", "nonce": asked["nonce"],
        "exp": SystemClock.now().timestamp() + 3_600,
        "user_id": USER, "user_name": "Grace Hopper", "account_id": ACCOUNT, "role_code": "ADMIN",
    });
    for (name, value) in answers.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    let token = answers.key.token(&claims);
    answers.secrets.push(token.clone());
    HttpResponse::Ok()
        .json(json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }))
}

async fn keys(provider: Data<Provider>) -> HttpResponse {
    let trouble = provider.trouble("jwks").await;
    let own = || HttpResponse::Ok().json(json!({ "keys": provider.answers().keys }));
    trouble.unwrap_or_else(own)
}
