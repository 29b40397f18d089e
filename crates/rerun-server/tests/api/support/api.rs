use std::io::Read as _;
use std::net::SocketAddr;

use flate2::bufread::MultiGzDecoder;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::header::HeaderMap;
use rerun_core::ports::{Clock, IdGenerator};
use rerun_generate::{SystemClock, UuidV7};
use serde_json::{Value, json};

use super::openapi::DOCUMENT;
use super::refusal::Refusal;
use super::server::{API_CODE, SECRET};

/// Where calls come from.
pub(crate) const IP: &str = "203.0.113.7";
/// The name in every token.
pub(crate) const NAME: &str = "Ada \"Å\" Lovelace";

/// A token with these claims, signed with this secret.
pub(crate) fn token(claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

/// Request headers, in order and as often as they are there.
#[derive(Debug, Clone)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn with(self, name: &str, value: impl Into<String>) -> Self {
        self.without(name).and(name, value)
    }

    pub(crate) fn and(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) address: SocketAddr,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) token: String,
}

impl Api {
    pub(crate) fn new(http: reqwest::Client, address: SocketAddr) -> Self {
        let (account, user) = (UuidV7.next().to_string(), UuidV7.next().to_string());
        let mut api = Self {
            http,
            address,
            account,
            user,
            token: String::new(),
        };
        api.token = token(&api.claims(), SECRET);
        api
    }

    /// Somebody else of the same account.
    pub(crate) fn colleague(&self) -> Self {
        let mut colleague = Self::new(self.http.clone(), self.address);
        colleague.account.clone_from(&self.account);
        colleague.token = token(&colleague.claims(), SECRET);
        colleague
    }

    /// Somebody else of the same account, in this role.
    pub(crate) fn colleague_as(&self, role: &str) -> Self {
        let mut colleague = self.colleague();
        let mut claims = colleague.claims();
        claims["role_code"] = json!(role);
        colleague.token = token(&claims, SECRET);
        colleague
    }

    /// Claims that are all right, for a week.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "user_id": self.user,
            "user_name": NAME,
            "account_id": self.account,
            "role_code": "ADMIN",
            "exp": SystemClock.now().timestamp() + 7 * 86_400,
        })
    }

    /// Headers that are all right.
    pub(crate) fn headers(&self) -> Headers {
        let context = json!({ "api_access": true, "api_code": API_CODE });
        let headers = [
            ("authorization", format!("Bearer {}", self.token)),
            ("x-auth-context", context.to_string()),
            ("x-ip", IP.to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Headers(
            headers
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        )
    }

    /// Sends, and checks the answer against the OpenAPI document.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &Headers,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let body = body.into();
        let mut sent = body.as_bytes().unwrap_or_default().to_vec();
        if headers.0.iter().any(|(name, _)| name == "content-encoding") {
            let mut text = Vec::new();
            if MultiGzDecoder::new(&sent[..])
                .read_to_end(&mut text)
                .is_ok()
            {
                sent = text;
            }
        }
        if let Some(unmarked) = sent.strip_prefix(b"\xef\xbb\xbf") {
            sent = unmarked.to_vec();
        }
        let mut request = self.http.request(method.clone(), url).body(body);
        for (name, value) in &headers.0 {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let answer = Answer {
            path: path.to_owned(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        };
        DOCUMENT.holds(&method, &sent, &answer);
        answer
    }

    /// Posts to `/v1/…`.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, &self.headers(), body).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &Headers, body: Value) -> Answer {
        let path = format!("/v1/{path}");
        let post = reqwest::Method::POST;
        self.send(post, &path, headers, body.to_string()).await
    }

    /// Posts with an idempotency key.
    pub(crate) async fn keyed(&self, key: &str, path: &str, body: Value) -> Answer {
        let headers = self.headers().with("idempotency-key", key);
        self.post_with(path, &headers, body).await
    }

    /// Posts what is to be answered; answers that.
    pub(crate) async fn ok(&self, path: &str, body: Value) -> Value {
        self.post(path, body).await.ok()
    }

    /// Posts what is to be refused.
    pub(crate) async fn refused(&self, path: &str, body: Value, refusal: &Refusal) {
        self.post(path, body).await.is(refusal);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let none = Headers(Vec::new());
        self.send(reqwest::Method::GET, path, &none, "").await
    }
}

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.path, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}: {}", self.path, self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// Whether it is the kept answer of an earlier request.
    pub(crate) fn replayed(&self) -> bool {
        self.header("idempotent-replay") == Some("true")
    }

    /// Checks that it is this refusal, to the letter, in the form that all errors have.
    #[track_caller]
    pub(crate) fn is(&self, refusal: &Refusal) {
        let mut body = self.in_form();
        let fields = body.as_object_mut().unwrap().remove("fields");
        match refusal.status {
            401 => assert!(fields.is_some(), "{}", self.text),
            // Which headers it names is a test of its own.
            403 => {}
            _ => assert_eq!(fields, None, "{}", self.text),
        }
        assert_eq!(
            body,
            json!({
                "status": refusal.status, "code": refusal.code, "message": refusal.message,
                "request_id": self.header("x-request-id"),
            }),
            "{}",
            self.path,
        );
    }

    /// Checks that required fields are missing, and which.
    #[track_caller]
    pub(crate) fn misses(&self, fields: &[&str]) {
        self.is(&super::refusal::MISSING_REQUIRED_FIELDS);
        assert_eq!(self.json()["fields"], json!(fields), "{}", self.path);
    }

    /// Checks that it is a refusal whose message is for people and says this.
    #[track_caller]
    pub(crate) fn says(&self, status: u16, code: &str, said: &str) {
        let body = self.in_form();
        assert_eq!(
            (self.status, &body["code"]),
            (status, &json!(code)),
            "{}: {body}",
            self.path
        );
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(said), "{}: {message}", self.path);
    }

    /// 400 `invalid_request`, saying this.
    #[track_caller]
    pub(crate) fn is_invalid(&self, said: &str) {
        self.says(400, "invalid_request", said);
    }

    /// 409 `invalid_transition`, saying exactly this.
    #[track_caller]
    pub(crate) fn conflicts(&self, said: &str) {
        self.says(409, "invalid_transition", said);
        assert_eq!(self.json()["message"], said);
    }

    #[track_caller]
    fn in_form(&self) -> Value {
        let body = self.json();
        assert_eq!(body["status"], self.status, "{}: {body}", self.path);
        assert_eq!(self.header("content-type"), Some("application/json"));
        let id = body["request_id"].as_str().unwrap();
        assert!(!id.is_empty(), "{body}");
        assert_eq!(self.header("x-request-id"), Some(id), "{}", self.path);
        body
    }
}
