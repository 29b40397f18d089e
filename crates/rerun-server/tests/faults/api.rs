//! The server's API as a client sees it that expects the worst.

use std::sync::{Arc, RwLock};

use rerun_contract::fixture::ACCOUNT;
use serde_json::{Value, json};

use crate::wait::LIMIT;
use crate::world::{API_CODE, Server, World};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        retry_after: Option<String>,
        body: Value,
    },
    /// Nobody answered, or not to the end.
    Broken,
}

impl Reply {
    async fn of(response: Result<reqwest::Response, reqwest::Error>) -> Self {
        let Ok(response) = response else {
            return Self::Broken;
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|text| text.to_str().unwrap().to_owned());
        let Ok(body) = response.bytes().await else {
            return Self::Broken;
        };
        Self::Answer {
            status,
            retry_after,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    /// Whether the server said, as it should, that it has no database now. Panics when it said
    /// that in another way.
    pub(crate) fn is_unavailable(&self) -> bool {
        let Self::Answer {
            status: 503,
            retry_after,
            body,
        } = self
        else {
            return false;
        };
        let wait = retry_after.as_ref().map(|text| text.parse::<u32>());
        assert!(matches!(wait, Some(Ok(1..))), "{self:?}");
        assert_eq!(body["code"], "unavailable", "{self:?}");
        true
    }
}

/// Calls the server, wherever it is by now.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    token: String,
    address: Arc<RwLock<String>>,
}

impl Api {
    pub(crate) fn new(world: &World, server: &Server) -> Self {
        let api = Self::nowhere(world, &ACCOUNT.to_string());
        api.moved_to(server);
        api
    }

    /// Somebody of this account, who has to be told where a server is.
    pub(crate) fn nowhere(world: &World, account: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT);
        Self {
            http: http.build().unwrap(),
            token: world.token_of(account),
            address: Arc::default(),
        }
    }

    /// Somebody of another account.
    pub(crate) fn stranger(&self, world: &World) -> Self {
        Self {
            token: world.token_of("00000000-0000-4000-8000-0000000000aa"),
            ..self.clone()
        }
    }

    pub(crate) fn moved_to(&self, server: &Server) {
        self.talks_to(&server.address);
    }

    pub(crate) fn talks_to(&self, address: &str) {
        address.clone_into(&mut self.address.write().unwrap());
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address.read().unwrap())
    }

    /// `GET /health/ready`
    pub(crate) async fn ready(&self) -> Reply {
        Reply::of(self.http.get(self.url("health/ready")).send().await).await
    }

    fn request(&self, path: &str, media_type: &str, body: String) -> reqwest::RequestBuilder {
        let context = json!({ "api_access": true, "api_code": API_CODE }).to_string();
        self.http
            .post(self.url(&format!("v1/{path}")))
            .bearer_auth(&self.token)
            .header("x-auth-context", context)
            .header("x-ip", "192.0.2.1")
            .header("content-type", media_type)
            .body(body)
    }

    pub(crate) async fn send(&self, path: &str, media_type: &str, body: String) -> Reply {
        Reply::of(self.request(path, media_type, body).send().await).await
    }

    /// The same, so that it is done once however often it is sent with this key.
    pub(crate) async fn send_once(&self, key: &str, path: &str, kind: &str, body: String) -> Reply {
        let request = self.request(path, kind, body);
        Reply::of(request.header("idempotency-key", key).send().await).await
    }

    /// Reads a file to its end, and returns how many lines and bytes it has.
    #[cfg(target_os = "linux")]
    pub(crate) async fn file(&self, path: &str, body: Value) -> (usize, usize) {
        let request = self.request(path, "application/json", body.to_string());
        let mut response = request.send().await.unwrap().error_for_status().unwrap();
        let (mut lines, mut bytes) = (0, 0);
        while let Some(part) = response.chunk().await.unwrap() {
            lines += part.split(|byte| *byte == b'\n').count() - 1;
            bytes += part.len();
        }
        (lines, bytes)
    }

    /// Sends what must succeed.
    async fn must(&self, path: &str, media_type: &str, body: String) -> Value {
        match self.send(path, media_type, body).await {
            Reply::Answer {
                status: 200, body, ..
            } => body,
            reply @ (Reply::Answer { .. } | Reply::Broken) => panic!("{path}: {reply:?}"),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.must(path, "application/json", body.to_string()).await
    }

    pub(crate) async fn import(&self, group: &str, csv: String) -> Value {
        let path = format!("customer-group/import?customer_group_id={group}");
        self.must(&path, "text/csv", csv).await
    }

    /// Everything in the answer's `list`, page by page.
    pub(crate) async fn pages(&self, path: &str, mut body: Value, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let mut answer = self.post(path, body.clone()).await;
            let Value::Array(page) = answer[list].take() else {
                panic!("{path}: no {list} in {answer}");
            };
            all.extend(page);
            body["cursor"] = answer["next_cursor"].take();
            if body["cursor"].is_null() {
                return all;
            }
        }
    }
}
