//! How a handler gets at a request: headers first, then the body, then the fields.

use actix_web::dev::Payload;
use actix_web::http::header::HeaderName;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;
use rerun_core::actor::Actor;
use rerun_core::error::{Error, Invalid};
use serde::de::DeserializeOwned;

use crate::body::Body;
use crate::error::{ApiError, Refusal};
use crate::intake::Room;
use crate::media_type::MediaType;
use crate::request_id::{RequestId, note_account};
use crate::state::State;
use rerun_auth::Admitted;

fn state(request: &HttpRequest) -> Result<&State, ApiError> {
    let missing = || ApiError::internal("the application was built without its state");
    request.app_data::<State>().ok_or_else(missing)
}

/// Lets a request in by its headers alone.
async fn admit(request: &HttpRequest, expected: MediaType) -> Result<Actor, ApiError> {
    let admitted = state(request)?.authenticator.authenticate(request).await?;
    expected.check(request.headers())?;
    let Admitted { account_id, person } = admitted;
    note_account(account_id);
    state(request)?
        .rate_limit
        .check(account_id)
        .map_err(|retry_after| Refusal::RateLimited { retry_after })?;
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone());
    let request_id = request_id.ok_or_else(|| ApiError::internal("the request has no id"))?;
    Ok(Actor::person(account_id, person).in_request(request_id))
}

/// A call with a JSON body. A handler can get at a body only through one of these types, whose
/// headers have been checked before anything of the body was read.
#[derive(Debug)]
pub(crate) struct JsonCall<T> {
    pub(crate) caller: Actor,
    pub(crate) body: T,
}

impl<T: DeserializeOwned + 'static> FromRequest for JsonCall<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = admit(&request, MediaType::Json).await?;
            let body = json_body(&request, &mut payload, &caller)?;
            Ok(Self {
                caller,
                body: body.json().await?,
            })
        })
    }
}

/// A [`JsonCall`] that may carry an `idempotency-key`. The header is checked before the body is
/// read, like every header.
#[derive(Debug)]
pub(crate) struct KeyedCall<T> {
    pub(crate) key: Option<String>,
    pub(crate) caller: Actor,
    pub(crate) body: T,
}

impl<T: DeserializeOwned + 'static> FromRequest for KeyedCall<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = admit(&request, MediaType::Json).await?;
            let key = idempotency_key(&request)?;
            let body = json_body(&request, &mut payload, &caller)?;
            Ok(Self {
                key,
                caller,
                body: body.json().await?,
            })
        })
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let name = HeaderName::from_static("idempotency-key");
    let mut values = request.headers().get_all(&name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Invalid::new("`idempotency-key` is given more than once").into());
    }
    let key = value
        .to_str()
        .ok()
        .filter(|key| key.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .filter(|key| key.trim() == *key);
    let key = key
        .filter(|key| (1..=255).contains(&key.len()))
        .ok_or_else(|| {
            Invalid::new("`idempotency-key` must have 1 to 255 printable ASCII characters")
        })?;
    Ok(Some(key.to_owned()))
}

/// A call with a CSV body, which has not been read yet.
pub(crate) struct CsvCall {
    /// Its place among the open imports, to be kept until the import has ended.
    pub(crate) place: Room,
    pub(crate) key: Option<String>,
    pub(crate) caller: Actor,
    pub(crate) body: Body,
}

impl FromRequest for CsvCall {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = admit(&request, MediaType::Csv).await?;
            let state = state(&request)?;
            let limit = state.limits.max_import_bytes;
            Ok(Self {
                key: idempotency_key(&request)?,
                place: state.intake.import(caller.account_id)?,
                body: body(&request, &mut payload, &caller, limit)?,
                caller,
            })
        })
    }
}

/// A body of at most this many bytes.
fn body(
    request: &HttpRequest,
    payload: &mut Payload,
    caller: &Actor,
    limit: u64,
) -> Result<Body, ApiError> {
    let state = state(request)?;
    let room = state.intake.body(caller.account_id)?;
    let pause = state.limits.body_timeout;
    Ok(Body::new(request, payload, limit, pause, room)?)
}

fn json_body(
    request: &HttpRequest,
    payload: &mut Payload,
    caller: &Actor,
) -> Result<Body, ApiError> {
    let limit = state(request)?.limits.max_body_bytes;
    body(request, payload, caller, limit)
}

/// Collects the names of required fields that are not there, so that one answer names them all.
#[derive(Debug, Default)]
pub(crate) struct Required {
    missing: Vec<&'static str>,
}

impl Required {
    /// A text, which must not be empty.
    pub(crate) fn text(&mut self, name: &'static str, value: Option<String>) -> String {
        self.value(name, value.filter(|text| !text.is_empty()))
    }

    /// A list, which must name something.
    pub(crate) fn list<T>(&mut self, name: &'static str, value: Option<Vec<T>>) -> Vec<T> {
        self.value(name, value.filter(|list| !list.is_empty()))
    }

    /// Any other value.
    pub(crate) fn value<T: Default>(&mut self, name: &'static str, value: Option<T>) -> T {
        if value.is_none() {
            self.missing.push(name);
        }
        value.unwrap_or_default()
    }

    /// # Errors
    /// [`Error::MissingFields`] naming every field that was missing.
    pub(crate) fn check(self) -> Result<(), Error> {
        if self.missing.is_empty() {
            Ok(())
        } else {
            Err(Error::MissingFields(self.missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use actix_web::error::PayloadError;
    use actix_web::web;
    use futures_util::stream;
    use serde::Deserialize;

    use super::*;
    use crate::json::from_json;
    use crate::testing::{Mocks, request};
    use crate::{Limits, RateLimit};
    use rerun_wire::json::{Integer, Object};

    const PATH: &str = "/v1/customer-group/create";

    #[derive(Debug, Deserialize)]
    struct Example {
        text: Option<String>,
        list: Option<Vec<String>>,
        number: Option<Integer>,
        flag: Option<bool>,
        nested: Option<Object<Nested>>,
    }

    #[derive(Debug, Deserialize)]
    struct Nested {
        inner: Option<String>,
    }

    fn refused(json: &str) -> String {
        from_json::<Example>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_absent_or_null_is_none_and_the_unknown_is_ignored() {
        for json in [
            "{}",
            " {\"text\":null,\"x\":[1,{\"y\":2}]}\n",
            r#"{"nested":null}"#,
        ] {
            let body: Example = from_json(json.as_bytes()).unwrap();
            assert!(body.text.is_none() && body.list.is_none() && body.flag.is_none());
            assert!(body.number.is_none() && body.nested.is_none());
        }
        let body: Example = from_json(br#"{"nested":{"inner":"x","y":1},"list":[]}"#).unwrap();
        assert_eq!(body.nested.unwrap().0.inner.as_deref(), Some("x"));
        assert_eq!(body.list, Some(Vec::new()));
    }

    #[test]
    fn an_error_says_where() {
        for (json, said) in [
            (
                "",
                "malformed JSON: EOF while parsing a value at line 1 column 0",
            ),
            ("{", "malformed JSON: EOF"),
            (
                "{} {}",
                "malformed JSON: trailing characters at line 1 column 4",
            ),
            ("{'a':1}", "malformed JSON"),
            (
                "null",
                "the body: invalid type: null, expected a JSON object",
            ),
            (
                "[]",
                "the body: invalid type: sequence, expected a JSON object",
            ),
            ("[null,null,null,null,null]", "expected a JSON object"),
            ("\"x\"", "expected a JSON object"),
            (
                r#"{"text":5}"#,
                "`text`: invalid type: integer `5`, expected a string at line 1",
            ),
            (r#"{"list":"x"}"#, "`list`: invalid type: string"),
            (
                r#"{"list":["a",null]}"#,
                "`list[1]`: invalid type: null, expected a string",
            ),
            (
                r#"{"number":"1"}"#,
                "`number`: invalid type: string \"1\", expected an integer",
            ),
            (
                r#"{"number":1.5}"#,
                "`number`: invalid type: floating point `1.5`",
            ),
            (
                r#"{"flag":1}"#,
                "`flag`: invalid type: integer `1`, expected a boolean",
            ),
            (r#"{"flag":"true"}"#, "`flag`: invalid type"),
            (
                r#"{"nested":["x"]}"#,
                "`nested`: invalid type: sequence, expected a JSON object",
            ),
            (
                r#"{"nested":{"inner":{}}}"#,
                "`nested.inner`: invalid type: map",
            ),
            (r#"{"text":"a","text":"b"}"#, "duplicate field `text`"),
            (r#"{"text":"\ud800"}"#, "malformed JSON"),
        ] {
            let error = refused(json);
            assert!(error.contains(said), "{json} said {error}");
        }
        for field in ["text", "unknown"] {
            let body = [b"{\"", field.as_bytes(), b"\":\"\xff\"}"].concat();
            let error = from_json::<Example>(&body).unwrap_err();
            assert!(error.contains("malformed JSON: invalid utf-8"), "{error}");
        }
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(from_json::<Example>(deep.as_bytes()).is_ok());
        assert!(refused(&deep[..100_000]).contains("malformed JSON"));
    }

    #[test]
    fn integers_beyond_64_bits_are_the_nearest_there_are() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("5.0", 5),
            ("-0.0", 0),
            ("1e3", 1_000),
            ("9007199254740993.0", 9_007_199_254_740_992),
            ("9223372036854775807", i64::MAX),
            ("18446744073709551615", i64::MAX),
            ("100000000000000000000", i64::MAX),
            ("-100000000000000000000", i64::MIN),
        ] {
            let body: Example = from_json(format!(r#"{{"number":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(body.number, Some(Integer(value)), "{text}");
        }
    }

    #[test]
    fn every_missing_field_is_named() {
        let mut required = Required::default();
        required.text("a", None);
        required.text("b", Some(String::new()));
        required.text("c", Some(" ".into()));
        required.value::<Vec<String>>("d", None);
        required.value::<Vec<String>>("e", Some(Vec::new()));
        required.list::<String>("f", None);
        required.list::<String>("g", Some(Vec::new()));
        required.list("h", Some(vec![""]));
        match required.check() {
            Err(Error::MissingFields(fields)) => assert_eq!(fields, ["a", "b", "d", "f", "g"]),
            other => panic!("{other:?}"),
        }
        assert!(Required::default().check().is_ok());
    }

    /// A body that cannot be read without notice.
    fn untouchable() -> Payload {
        let body = stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<web::Bytes, PayloadError>>> {
                panic!("the body was read")
            },
        );
        Payload::Stream {
            payload: Box::pin(body),
        }
    }

    #[actix_web::test]
    async fn nothing_of_a_body_is_read_before_the_headers_have_passed() {
        let mut long = request(PATH).app_data(Mocks::default().state());
        long = long.insert_header(("content-length", "3000000"));
        for (request, said) in [
            (
                request(PATH).insert_header(("authorization", "x")),
                "auth error",
            ),
            (
                request(PATH).insert_header(("x-auth-context", "x")),
                "unauthorized",
            ),
            (request(PATH).insert_header(("x-ip", "x")), "unauthorized"),
            (
                request(PATH).insert_header(("content-type", "x/y")),
                "content type",
            ),
            (long, "at most 2097152 bytes"),
        ] {
            let request = request.app_data(Mocks::default().state()).to_http_request();
            request.extensions_mut().insert(RequestId("r".into()));
            let call = JsonCall::<Example>::from_request(&request, &mut untouchable()).await;
            let error = call.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let request = request(PATH).insert_header(("idempotency-key", ""));
        let request = request.app_data(Mocks::default().state()).to_http_request();
        request.extensions_mut().insert(RequestId("r".into()));
        let call = KeyedCall::<Example>::from_request(&request, &mut untouchable()).await;
        assert!(call.unwrap_err().to_string().contains("`idempotency-key`"));
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
        let limits = Limits {
            max_body_bytes: 20,
            ..Limits::default()
        };
        for (body, too_large) in [
            ("{\"x\": 1}            ", false),
            ("{\"x\": 1}             ", true),
        ] {
            let mocks = || Mocks {
                limits,
                ..Mocks::default()
            };
            let expected = if too_large {
                (413, "payload_too_large")
            } else {
                (401, "missing_required_fields")
            };
            let announced = request(PATH).insert_header(("content-length", body.len()));
            for request in [request(PATH), announced] {
                let answer = mocks().call(request.set_payload(body)).await;
                let (status, code, _) = answer.error();
                assert_eq!((status, &*code), expected);
            }
        }
    }

    #[actix_web::test]
    async fn only_requests_that_are_let_in_count_for_the_limit() {
        let rate_limit = RateLimit::per_second(NonZeroU32::MIN);
        let mocks = || Mocks {
            rate_limit: rate_limit.clone(),
            ..Mocks::default()
        };
        let stranger = || request(PATH).insert_header(("x-auth-context", "x"));
        for _ in 0..3 {
            assert_eq!(mocks().call(stranger()).await.status, 403);
        }
        let first = mocks().call(request(PATH).set_payload("{}")).await;
        assert_eq!(first.error().1, "missing_required_fields");
        let second = mocks().call(request(PATH).set_payload("{}")).await;
        let (status, code, _) = second.error();
        assert_eq!((status, &*code), (429, "rate_limited"));
        assert_eq!(second.header("retry-after"), Some("1"));
        assert_eq!(mocks().call(stranger()).await.status, 403);
    }

    #[actix_web::test]
    async fn a_body_that_breaks_off_is_malformed() {
        let request = request(PATH)
            .app_data(Mocks::default().state())
            .to_http_request();
        request.extensions_mut().insert(RequestId("r".into()));
        let pieces = vec![
            Ok(web::Bytes::from("{")),
            Err(PayloadError::Incomplete(None)),
        ];
        let mut payload: Payload = Payload::Stream {
            payload: Box::pin(stream::iter(pieces)),
        };
        let call = JsonCall::<Example>::from_request(&request, &mut payload).await;
        let error = call.unwrap_err();
        assert!(
            matches!(error, ApiError::Refused(Refusal::Malformed(_))),
            "{error}"
        );
    }

    #[test]
    fn an_idempotency_key_is_short_printable_and_alone() {
        let longest = "k".repeat(255);
        let key = |values: &[&str]| {
            let mut request = request(PATH);
            for value in values {
                request = request.append_header(("idempotency-key", *value));
            }
            idempotency_key(&request.to_http_request()).map_err(|error| error.to_string())
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["k~!1"]), Ok(Some("k~!1".into())));
        assert_eq!(key(&[&longest]), Ok(Some(longest.clone())));
        assert!(key(&["a", "a"]).unwrap_err().contains("more than once"));
        assert_eq!(key(&["two  words"]), Ok(Some("two  words".into())));
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a\tb",
            "\u{e9}",
            &format!("{longest}k"),
        ] {
            let said = key(&[bad]).unwrap_err();
            assert!(said.contains("printable ASCII"), "{bad:?}: {said}");
        }
    }
}
