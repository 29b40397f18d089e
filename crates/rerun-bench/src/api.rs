//! The public API, as its users call it.

use std::net::SocketAddr;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::Connection;
use crate::{Failure, Outcome};

/// 2100-01-01: longer than any benchmark takes.
const FAR_FUTURE: u64 = 4_102_444_800;

/// What callers prove themselves with. The server is the benchmark's own, on an address that
/// nobody else reaches.
pub(crate) const JWT_SECRET: &str = "the-benchmark-signs-its-tokens-with-this";
pub(crate) const API_CODE: &str = "the-benchmark-is-allowed-in";

/// An account with a token.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    headers: String,
}

impl Account {
    pub(crate) fn new(id: Uuid) -> Outcome<Self> {
        let claims = json!({
            "account_id": id, "user_id": id, "role_code": "ADMIN", "exp": FAR_FUTURE,
        });
        let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key)?;
        let access = json!({ "api_access": true, "api_code": API_CODE });
        Ok(Self {
            id,
            headers: format!(
                "host: localhost\r\nauthorization: Bearer {token}\r\n\
                 x-auth-context: {access}\r\nx-ip: 127.0.0.1\r\n"
            ),
        })
    }

    /// The bytes of a call.
    pub(crate) fn request(&self, path: &str, body: &Value) -> Vec<u8> {
        self.raw_request(path, "application/json", body.to_string().as_bytes())
    }

    pub(crate) fn raw_request(&self, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
        let mut request = format!(
            "POST /v1/{path} HTTP/1.1\r\n{}content-type: {content_type}\r\n\
             content-length: {}\r\n\r\n",
            self.headers,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }
}

/// One connection to the API.
pub(crate) struct Api {
    connection: Connection,
}

impl Api {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        Ok(Self {
            connection: Connection::open(address)?,
        })
    }

    pub(crate) fn call(&mut self, account: &Account, path: &str, body: &Value) -> Outcome<Value> {
        let answer = self.connection.call(&account.request(path, body))?;
        Ok(serde_json::from_slice(answer)?)
    }

    pub(crate) fn import(&mut self, account: &Account, group: Uuid, csv: &[u8]) -> Outcome<()> {
        self.connection.call(&import(account, group, csv))?;
        Ok(())
    }
}

/// The bytes of an import.
pub(crate) fn import(account: &Account, group: Uuid, csv: &[u8]) -> Vec<u8> {
    let path = format!("customer-group/import?customer_group_id={group}");
    account.raw_request(&path, "text/csv", csv)
}

/// A field of an answer that is an id.
pub(crate) fn id(answer: &Value, field: &str) -> Outcome<Uuid> {
    let text = answer.get(field).and_then(Value::as_str);
    let id = text.and_then(|text| text.parse().ok());
    id.ok_or_else(|| Failure::from(format!("no `{field}` in {answer}")))
}

/// A field of an answer that is a text.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> Outcome<&'a str> {
    let text = answer.get(field).and_then(Value::as_str);
    text.ok_or_else(|| Failure::from(format!("no `{field}` in {answer}")))
}

/// The number of items of a list in an answer.
pub(crate) fn length(answer: &Value, field: &str) -> Outcome<usize> {
    let list = answer.get(field).and_then(Value::as_array);
    list.map(Vec::len)
        .ok_or_else(|| Failure::from(format!("no list `{field}` in {answer}")))
}
