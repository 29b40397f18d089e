use std::net::SocketAddr;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

/// Why the story could not be told.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A header cannot be sent.
    #[error("a header cannot be sent: {0}")]
    Header(#[from] reqwest::header::InvalidHeaderValue),
    /// The server did not answer, or not what was expected.
    #[error("the response of the server was not as expected: {0}")]
    Request(#[from] reqwest::Error),
    /// The demo's customers could not be written.
    #[error("the demo's customers could not be written: {0}")]
    Customers(#[from] csv::Error),
    /// The server refused.
    #[error("{path} was refused with {status}: {body}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
        /// The answer.
        body: String,
    },
    /// The story took another turn.
    #[error("the demo did not go as expected: {0}")]
    Unexpected(&'static str),
}

/// Calls a server as a user of its API does.
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    /// For the server at `address`, with a token and the server's API code.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn new(
        address: SocketAddr,
        token: &str,
        api_code: &SecretString,
    ) -> Result<Self, DemoError> {
        let access =
            serde_json::json!({ "api_access": true, "api_code": api_code.expose_secret() });
        let headers = vec![
            (AUTHORIZATION.as_str(), format!("Bearer {token}")),
            ("x-auth-context", access.to_string()),
            ("x-ip", "127.0.0.1".to_owned()),
        ];
        let mut defaults = HeaderMap::new();
        for (name, value) in &headers {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            defaults.insert(HeaderName::from_static(name), value);
        }
        // A proxy from the environment cannot reach this machine.
        let http = reqwest::Client::builder()
            .default_headers(defaults)
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            base: format!("http://{address}/v1"),
            headers,
        })
    }

    /// Where the endpoints are.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The headers of every call with a JSON body, one on each line, as `curl -H @FILE` reads
    /// them.
    #[must_use]
    pub fn header_lines(&self) -> String {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        lines
            .chain(["content-type: application/json\n".to_owned()])
            .collect()
    }

    /// Calls an endpoint with a JSON body.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, DemoError> {
        self.call(path, "application/json", body.to_string().into())
            .await
    }

    /// Calls an endpoint with a CSV file.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn post_csv<T: DeserializeOwned>(
        &self,
        path: &str,
        csv: Vec<u8>,
    ) -> Result<T, DemoError> {
        self.call(path, "text/csv", csv.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &'static str,
        body: reqwest::Body,
    ) -> Result<T, DemoError> {
        let url = format!("{}/{path}", self.base);
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, content_type)
            .body(body);
        let response = request.send().await?;
        let status = response.status();
        if !status.is_success() {
            let path = path.to_owned();
            let body = response.text().await?;
            return Err(DemoError::Refused {
                path,
                status: status.as_u16(),
                body,
            });
        }
        Ok(response.json().await?)
    }
}
