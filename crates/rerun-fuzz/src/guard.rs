use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rerun_auth::{Guard, StaticKey, TokenRules, TokenVerifier};
use rerun_contract::fixture::ACCOUNT;
use rerun_core::Timestamp;
use rerun_core::actor::{Person, UserName};
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::Clock;
use rerun_http::fuzzing::{Entrant, admit};
use secrecy::SecretString;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

const SECRET: &str = "a secret of at least thirty-two bytes";
const API_CODE: &str = "the-api-code";
/// 2026-11-23T09:00:00Z.
const NOW_SECONDS: i64 = 1_795_424_400;

/// The headers that the guard looks at, in the order in which it does.
const NAMES: [&str; 4] = ["authorization", "x-auth-context", "x-ip", "content-type"];

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp_millis(NOW_SECONDS * 1_000).unwrap()
    }
}

pub(crate) static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let key = StaticKey::secret(&SecretString::from(SECRET)).unwrap();
    let rules = TokenRules::default();
    let tokens = TokenVerifier::new(Arc::new(key), Algorithm::HS256, rules, Arc::new(Noon));
    Guard::new(tokens, SecretString::from(API_CODE)).unwrap()
});

static SIGNING: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_secret(SECRET.as_bytes()));

fn signature(message: &str) -> String {
    jsonwebtoken::crypto::sign(message.as_bytes(), &SIGNING, Algorithm::HS256).unwrap()
}

/// A token of these parts, whatever they are, with a good signature: no fuzzer could guess one.
fn signed(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = signature(&message);
    format!("{message}.{signature}")
}

/// In `Bearer HEADER|CLAIMS` what stands around the bar is signed.
fn authorization(value: &[u8]) -> Vec<u8> {
    let mut halves = value.splitn(2, |byte| *byte == b'|');
    let (Some(left), Some(claims)) = (halves.next(), halves.next()) else {
        return value.to_vec();
    };
    let scheme_ends = left.iter().position(|byte| *byte == b' ');
    let (scheme, header) = left.split_at(scheme_ends.map_or(0, |space| space + 1));
    [scheme, signed(header, claims).as_bytes()].concat()
}

fn good() -> [(&'static str, HeaderValue); 4] {
    let claims = format!(
        r#"{{"user_id":"0193ed20-7b3c-7000-8000-00000000000b","account_id":"{ACCOUNT}","role_code":"ADMIN","exp":{}}}"#,
        NOW_SECONDS + 60
    );
    let token = signed(br#"{"alg":"HS256","typ":"JWT"}"#, claims.as_bytes());
    let context = format!(r#"{{"api_access":true,"api_code":"{API_CODE}"}}"#);
    [
        ("authorization", format!("Bearer {token}")),
        ("x-auth-context", context),
        ("x-ip", "203.0.113.7".to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
    .map(|(name, value)| (name, HeaderValue::try_from(value).unwrap()))
}

/// Headers with which an account of the fixture is let in.
pub(crate) static GOOD: LazyLock<[(&'static str, HeaderValue); 4]> = LazyLock::new(good);

/// The headers of a request from lines of name, colon and value.
fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        let value = value.trim_ascii_start();
        let Ok(name) = HeaderName::from_bytes(name) else {
            continue;
        };
        let value = if name == "authorization" {
            authorization(value)
        } else {
            value.to_vec()
        };
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let values: Vec<_> = headers.get_all(name).collect();
    match values.as_slice() {
        [value] => Some(value.as_bytes()),
        _ => None,
    }
}

/// The fields of a JSON object, unread.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl Fields {
    fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    fn values(&self, name: &str) -> Vec<&RawValue> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| &**value).collect()
    }

    /// The value of a field that is there once.
    fn get<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Option<T> {
        match self.values(name).as_slice() {
            [value] => serde_json::from_str(value.get()).ok(),
            _ => None,
        }
    }

    /// Whether a field is not there, or null.
    fn lacks(&self, name: &str) -> bool {
        self.values(name).iter().all(|value| value.get() == "null")
    }

    fn are_all_among(&self, names: &[&str]) -> bool {
        self.0
            .iter()
            .all(|(name, _)| names.contains(&name.as_str()))
    }
}

/// Whom a token names by the rules of the published API, read another way than the guard does.
fn named(value: &[u8]) -> Option<(AccountId, Person)> {
    let value = str::from_utf8(value).ok()?;
    let (scheme, token) = value.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case("bearer ") {
        return None;
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, sealed] = parts.as_slice() else {
        return None;
    };
    if *sealed != signature(&format!("{header}.{claims}")) {
        return None;
    }
    // The library does not look at the encoding of fields that do not matter.
    let decode = |part| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
        Fields::read(String::from_utf8_lossy(&json).as_bytes())
    };
    let (header, claims) = (decode(header)?, decode(claims)?);
    if header.get::<String>("alg")? != "HS256" {
        return None;
    }
    if !header.lacks("crit") {
        return None;
    }
    let now: f64 = NOW_SECONDS.to_string().parse().unwrap();
    if claims.get::<f64>("exp")? <= now {
        return None;
    }
    if !claims.lacks("nbf") && claims.get::<f64>("nbf")? >= now + 0.001 {
        return None;
    }
    let role: String = claims.get("role_code")?;
    if role.is_empty() || role.contains('\0') {
        return None;
    }
    let account = AccountId::parse(&claims.get::<String>("account_id")?)?;
    let user = UserId::parse(&claims.get::<String>("user_id")?)?;
    let name = if claims.lacks("user_name") {
        None
    } else {
        Some(UserName::new(claims.get::<String>("user_name")?).ok()?)
    };
    let person = Person {
        user_id: user,
        user_name: name,
        role_code: role,
        ip: None,
    };
    Some((account, person))
}

fn api_access(value: &[u8]) -> bool {
    Fields::read(value).is_some_and(|context| {
        context.get("api_access") == Some(true)
            && context.get("api_code") == Some(API_CODE.to_owned())
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    str::from_utf8(value).ok()?.parse().ok()
}

fn media_type(value: &[u8], csv: bool) -> bool {
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    let (name, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let other_than_utf_8 = |parameter: &str| {
        let value = parameter.trim().strip_prefix("charset");
        let value = value.and_then(|rest| rest.trim().strip_prefix('='));
        value.is_some_and(|value| value.trim().trim_matches('"') != "utf-8")
    };
    let another_charset = parameters.split(';').any(other_than_utf_8);
    if csv {
        name.trim() == "text/csv" && !another_charset
    } else {
        name.trim() == "application/json"
    }
}

/// Headers that are all good, but for one, which is as it is in `headers`.
fn good_but_for(name: &str, headers: &HeaderMap, csv: bool) -> HeaderMap {
    let mut mixed = HeaderMap::new();
    for (known, value) in &*GOOD {
        let name_of = HeaderName::from_static(known);
        if *known == name {
            for value in headers.get_all(name) {
                mixed.append(name_of.clone(), value.clone());
            }
        } else if csv && *known == "content-type" {
            mixed.append(name_of, HeaderValue::from_static("text/csv"));
        } else {
            mixed.append(name_of, value.clone());
        }
    }
    mixed
}

/// The guard lets in exactly whom the headers prove.
///
/// The input is lines of header names and values. In the value of `authorization` a bar stands
/// for a token with a good signature: `Bearer HEADER|CLAIMS`.
pub fn guard(data: &[u8]) {
    let headers = headers(data);
    for csv in [false, true] {
        let answer = admit(&GUARD, &headers, csv);
        if let Ok(entrant) = &answer {
            check(entrant, &headers, csv);
        }
        // The first header that would be refused among good ones is why all are.
        let refused_alone = NAMES
            .iter()
            .find_map(|name| admit(&GUARD, &good_but_for(name, &headers, csv), csv).err());
        assert_eq!(answer.err(), refused_alone, "csv: {csv}");
    }
    both_ways(&headers);
}

fn check(entrant: &Entrant, headers: &HeaderMap, csv: bool) {
    let [token, context, address, content_type] =
        NAMES.map(|name| only(headers, name).expect("a header that is there once"));
    let (account_id, person) = named(token).expect("a token to be trusted");
    assert!(api_access(context), "x-auth-context");
    let expected = Entrant {
        account_id,
        person: Person {
            ip: Some(ip(address).expect("an address")),
            ..person
        },
    };
    assert_eq!(*entrant, expected);
    assert!(media_type(content_type, csv), "content-type");
}

/// What is right is not refused either, where that can be told without reading it like the guard.
fn both_ways(headers: &HeaderMap) {
    let passes = |name| admit(&GUARD, &good_but_for(name, headers, false), false).is_ok();
    let context = only(headers, "x-auth-context");
    if let Some(context) = context {
        assert_eq!(
            passes("x-auth-context"),
            api_access(context),
            "x-auth-context"
        );
    }
    if let Some(address) = only(headers, "x-ip") {
        assert_eq!(passes("x-ip"), ip(address).is_some(), "x-ip");
    }
    if let Some(token) = only(headers, "authorization") {
        let plain = plain_header(token);
        assert!(
            !plain || named(token).is_none() || passes("authorization"),
            "a good token is refused"
        );
    }
}

/// Whether a token's header says no more than its algorithm, and its claims no more than needed:
/// the library may refuse others by the types of claims that do not matter here.
fn plain_header(token: &[u8]) -> bool {
    let parts: Vec<_> = token.split(|byte| *byte == b'.').collect();
    let decode = |part: &[u8]| {
        let part = part.rsplit(|byte| *byte == b' ').next()?;
        Fields::read(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?)
    };
    let [header, claims, _] = parts.as_slice() else {
        return false;
    };
    decode(header).is_some_and(|header| header.are_all_among(&["alg"]))
        && decode(claims).is_some_and(|claims| {
            claims.are_all_among(&["user_id", "user_name", "account_id", "role_code", "exp"])
        })
}
