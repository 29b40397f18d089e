use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use jsonwebtoken::{Algorithm, Header};
use rerun_auth::{StaticKey, TokenRules, TokenVerifier, WeakSetting};
use rerun_core::ports::MockClock;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::testing::{
    ACCOUNT, API_CODE, Mocks, NOW_SECONDS, SECRET, USER, auth_context, bearer, claims, guard,
    request, token,
};

/// The guard is through when the body is looked at: it is malformed, which is the answer then.
const PASSED: (u16, &str) = (400, "malformed");
const AUTH: (u16, &str) = (403, "auth error");
const UNAUTHORIZED: (u16, &str) = (403, "Unauthorized");
const MEDIA: (u16, &str) = (415, "`application/json`");

const PATH: &str = "/v1/customer-group/list";

async fn check(what: &str, mocks: Mocks, request: TestRequest, expected: (u16, &str)) {
    let answer = mocks.call(request.set_payload("{")).await;
    let (status, code, message) = answer.error();
    let fixed = expected == AUTH || expected == UNAUTHORIZED;
    let said = if fixed {
        message == expected.1
    } else {
        message.contains(expected.1)
    };
    assert!(status == expected.0 && said, "{what}: {status} {message}");
    let expected_code = match expected {
        AUTH => "auth_error",
        UNAUTHORIZED => "unauthorized",
        MEDIA => "unsupported_media_type",
        _ => "invalid_request",
    };
    assert_eq!(code, expected_code, "{what}");
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[actix_web::test]
async fn claims_decide() {
    let cases = [
        ("all there", claims(), PASSED),
        (
            "upper case ids",
            with(&[("account_id", json!(ACCOUNT.to_uppercase()))]),
            PASSED,
        ),
        (
            "unknown claims",
            with(&[("sub", json!("x")), ("iat", json!(9))]),
            PASSED,
        ),
        (
            "an array of them all",
            json!([USER, ACCOUNT, "ADMIN", NOW_SECONDS + 60, null]),
            AUTH,
        ),
        ("no user", without("user_id"), AUTH),
        ("no account", without("account_id"), AUTH),
        ("no role", without("role_code"), AUTH),
        ("no exp", without("exp"), AUTH),
        ("user is no UUID", with(&[("user_id", json!("7"))]), AUTH),
        ("user is a number", with(&[("user_id", json!(7))]), AUTH),
        ("user is null", with(&[("user_id", Value::Null)]), AUTH),
        (
            "account is no UUID",
            with(&[("account_id", json!(""))]),
            AUTH,
        ),
        (
            "account in braces",
            with(&[("account_id", json!(format!("{{{ACCOUNT}}}")))]),
            AUTH,
        ),
        ("role is a number", with(&[("role_code", json!(1))]), AUTH),
        ("role is empty", with(&[("role_code", json!(""))]), AUTH),
        (
            "role holds a NUL",
            with(&[("role_code", json!("A\0"))]),
            AUTH,
        ),
        ("exp is now", with(&[("exp", json!(NOW_SECONDS))]), AUTH),
        (
            "exp is past",
            with(&[("exp", json!(NOW_SECONDS - 1))]),
            AUTH,
        ),
        (
            "exp is next",
            with(&[("exp", json!(NOW_SECONDS + 1))]),
            PASSED,
        ),
        (
            "exp is a fraction away",
            with(&[("exp", json!(1_795_424_400.5))]),
            PASSED,
        ),
        (
            "exp is a fraction ago",
            with(&[("exp", json!(1_795_424_399.5))]),
            AUTH,
        ),
        (
            "exp is text",
            with(&[("exp", json!((NOW_SECONDS + 60).to_string()))]),
            AUTH,
        ),
        ("exp is null", with(&[("exp", Value::Null)]), AUTH),
        ("exp is negative", with(&[("exp", json!(-1))]), AUTH),
        ("exp is huge", with(&[("exp", json!(u64::MAX))]), PASSED),
        ("exp is beyond all", with(&[("exp", json!(1e300))]), PASSED),
        ("exp is before all", with(&[("exp", json!(-1e300))]), AUTH),
        (
            "nbf is past",
            with(&[("nbf", json!(NOW_SECONDS - 1))]),
            PASSED,
        ),
        ("nbf is now", with(&[("nbf", json!(NOW_SECONDS))]), PASSED),
        (
            "nbf is next",
            with(&[("nbf", json!(NOW_SECONDS + 1))]),
            AUTH,
        ),
        ("nbf is text", with(&[("nbf", json!("soon"))]), AUTH),
        ("nbf is null", with(&[("nbf", Value::Null)]), AUTH),
        (
            "an array",
            json!([USER, ACCOUNT, "ADMIN", NOW_SECONDS + 60, NOW_SECONDS, "us"]),
            AUTH,
        ),
        (
            "some audience",
            with(&[("aud", json!("elsewhere"))]),
            PASSED,
        ),
        (
            "some audiences",
            with(&[("aud", json!(["a", "b"]))]),
            PASSED,
        ),
        ("some issuer", with(&[("iss", json!("anybody"))]), PASSED),
    ];
    for (what, claims, expected) in cases {
        let request = request(PATH).insert_header(("authorization", bearer(&claims)));
        check(what, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn issuer_audience_and_leeway_are_checked_when_configured() {
    let rules = TokenRules {
        issuer: Some("us".into()),
        audience: Some("rerun".into()),
        leeway: Duration::from_secs(5),
    };
    let of = |changes: &[(&str, Value)]| {
        let mut claims = with(&[("iss", json!("us")), ("aud", json!("rerun"))]);
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        claims
    };
    let cases = [
        ("both right", of(&[]), PASSED),
        (
            "among others",
            of(&[("aud", json!(["x", "rerun"]))]),
            PASSED,
        ),
        ("other issuer", of(&[("iss", json!("them"))]), AUTH),
        ("issuer null", of(&[("iss", Value::Null)]), AUTH),
        ("issuer in a list", of(&[("iss", json!(["us"]))]), AUTH),
        ("issuer a number", of(&[("iss", json!(1))]), AUTH),
        ("other audience", of(&[("aud", json!("x"))]), AUTH),
        ("other audiences", of(&[("aud", json!(["x"]))]), AUTH),
        ("no audience", of(&[("aud", Value::Null)]), AUTH),
        ("neither", claims(), AUTH),
        (
            "expired within leeway",
            of(&[("exp", json!(NOW_SECONDS - 4))]),
            PASSED,
        ),
        (
            "expired at leeway",
            of(&[("exp", json!(NOW_SECONDS - 5))]),
            AUTH,
        ),
        (
            "valid within leeway",
            of(&[("nbf", json!(NOW_SECONDS + 5))]),
            PASSED,
        ),
        (
            "valid after leeway",
            of(&[("nbf", json!(NOW_SECONDS + 6))]),
            AUTH,
        ),
    ];
    for (what, claims, expected) in cases {
        let mocks = Mocks {
            rules: rules.clone(),
            ..Mocks::default()
        };
        let request = request(PATH).insert_header(("authorization", bearer(&claims)));
        check(what, mocks, request, expected).await;
    }
}

/// `{"alg":"none"}` and `{"alg":"RS256","typ":"JWT"}` in base64url.
const ALG_NONE: &str = "eyJhbGciOiJub25lIn0";
const ALG_RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";

#[actix_web::test]
async fn the_token_is_taken_as_configured_and_whole() {
    let good = token(&Header::default(), &claims(), SECRET);
    let (_, body) = good.split_once('.').unwrap();
    let (payload, signature) = body.split_once('.').unwrap();
    let forged = with(&[("account_id", json!(USER))]);
    let forged = token(
        &Header::default(),
        &forged,
        "another secret of thirty-two bytes!!",
    );
    let hs512 = token(&Header::new(Algorithm::HS512), &claims(), SECRET);
    let demanding = Header {
        crit: Some(vec!["b64".into()]),
        ..Header::default()
    };
    let demanding = token(&demanding, &claims(), SECRET);
    let named = Header {
        kid: Some("any".into()),
        ..Header::default()
    };
    let named = token(&named, &claims(), SECRET);
    let cases = [
        ("as usual", format!("Bearer {good}"), PASSED),
        ("lower case", format!("bearer {good}"), PASSED),
        ("mixed case", format!("bEaReR {good}"), PASSED),
        ("a kid", format!("Bearer {named}"), PASSED),
        ("no scheme", good.clone(), AUTH),
        ("another scheme", format!("Basic {good}"), AUTH),
        ("scheme alone", "Bearer".into(), AUTH),
        ("no token", "Bearer ".into(), AUTH),
        ("two spaces", format!("Bearer  {good}"), AUTH),
        ("a tab", format!("Bearer\t{good}"), AUTH),
        ("two tokens", format!("Bearer {good} {good}"), AUTH),
        (
            "joined by a comma",
            format!("Bearer {good}, Bearer {good}"),
            AUTH,
        ),
        ("garbage", "Bearer x".into(), AUTH),
        ("garbage parts", "Bearer a.b.c".into(), AUTH),
        ("two parts", format!("Bearer {payload}.{signature}"), AUTH),
        ("four parts", format!("Bearer {good}.x"), AUTH),
        (
            "no signature",
            format!("Bearer {}", good.replace(signature, "")),
            AUTH,
        ),
        (
            "wrong signature",
            format!("Bearer {}", good.replace(signature, payload)),
            AUTH,
        ),
        ("another's signature", format!("Bearer {forged}"), AUTH),
        (
            "algorithm none",
            format!("Bearer {ALG_NONE}.{payload}."),
            AUTH,
        ),
        (
            "algorithm none, signed",
            format!("Bearer {ALG_NONE}.{payload}.{signature}"),
            AUTH,
        ),
        (
            "another family",
            format!("Bearer {ALG_RS256}.{payload}.{signature}"),
            AUTH,
        ),
        ("another length", format!("Bearer {hs512}"), AUTH),
        ("demands an extension", format!("Bearer {demanding}"), AUTH),
    ];
    for (what, value, expected) in cases {
        let request = request(PATH).insert_header(("authorization", value));
        check(what, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn the_api_must_be_allowed_and_the_code_be_right() {
    let cases = [
        ("as usual", auth_context(), PASSED),
        (
            "spaces and more fields",
            format!(r#" {{ "x": 1, {}"#, &auth_context()[1..]),
            PASSED,
        ),
        ("empty", String::new(), UNAUTHORIZED),
        ("no JSON", "true".into(), UNAUTHORIZED),
        ("broken JSON", "{".into(), UNAUTHORIZED),
        ("null", "null".into(), UNAUTHORIZED),
        ("an array", format!(r#"[true, "{API_CODE}"]"#), UNAUTHORIZED),
        (
            "more after it",
            format!("{} {{}}", auth_context()),
            UNAUTHORIZED,
        ),
        (
            "no access",
            json!({ "api_code": API_CODE }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "access false",
            json!({ "api_access": false, "api_code": API_CODE }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "access text",
            json!({ "api_access": "true", "api_code": API_CODE }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "access 1",
            json!({ "api_access": 1, "api_code": API_CODE }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "access null",
            json!({ "api_access": null, "api_code": API_CODE }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "no code",
            json!({ "api_access": true }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "code empty",
            json!({ "api_access": true, "api_code": "" }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "code null",
            json!({ "api_access": true, "api_code": null }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "code a number",
            json!({ "api_access": true, "api_code": 1 }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "other code",
            json!({ "api_access": true, "api_code": "The-api-code" }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "code and more",
            json!({ "api_access": true, "api_code": format!("{API_CODE}x") }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "start of the code",
            json!({ "api_access": true, "api_code": &API_CODE[..4] }).to_string(),
            UNAUTHORIZED,
        ),
        (
            "twice",
            format!(r#"{{"api_access":false,"api_access":true,"api_code":"{API_CODE}"}}"#),
            UNAUTHORIZED,
        ),
    ];
    for (what, value, expected) in cases {
        let request = request(PATH).insert_header(("x-auth-context", value));
        check(what, Mocks::default(), request, expected).await;
    }
    let mut unread = auth_context().into_bytes();
    unread.splice(1..1, *b"\"x\":\"\xff\",");
    let unread = HeaderValue::from_bytes(&unread).unwrap();
    let request = request(PATH).insert_header(("x-auth-context", unread));
    check("no UTF-8", Mocks::default(), request, UNAUTHORIZED).await;
}

#[actix_web::test]
async fn the_client_has_an_address() {
    for (value, expected) in [
        ("203.0.113.7", PASSED),
        ("2001:db8::1", PASSED),
        ("::ffff:203.0.113.7", PASSED),
        ("", UNAUTHORIZED),
        ("localhost", UNAUTHORIZED),
        ("203.0.113", UNAUTHORIZED),
        ("203.0.113.256", UNAUTHORIZED),
        ("203.0.113.7:80", UNAUTHORIZED),
        ("203.0.113.7, 203.0.113.8", UNAUTHORIZED),
        ("[2001:db8::1]", UNAUTHORIZED),
    ] {
        let request = request(PATH).insert_header(("x-ip", value));
        check(value, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn the_content_is_json() {
    for (value, expected) in [
        ("application/json", PASSED),
        ("Application/JSON", PASSED),
        ("application/json; charset=utf-8", PASSED),
        ("application/json ;charset=latin1", PASSED),
        ("application/json;", PASSED),
        ("", MEDIA),
        ("text/json", MEDIA),
        ("application/problem+json", MEDIA),
        ("application/jsonp", MEDIA),
        ("application/json, text/csv", MEDIA),
        ("text/csv", MEDIA),
        ("application/x-www-form-urlencoded", MEDIA),
    ] {
        let request = request(PATH).insert_header(("content-type", value));
        check(value, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn the_first_wrong_header_is_the_answer() {
    let bare = || TestRequest::post().uri(PATH);
    let authorization = ("authorization", bearer(&claims()));
    let context = ("x-auth-context", auth_context());
    let ip = ("x-ip", "203.0.113.7");
    let json = ("content-type", "application/json");
    let cases = [
        ("nothing", bare(), AUTH),
        (
            "all but the token",
            bare().insert_header(context.clone()).insert_header(ip),
            AUTH,
        ),
        (
            "the token",
            bare().insert_header(authorization.clone()),
            UNAUTHORIZED,
        ),
        (
            "token and address",
            bare()
                .insert_header(authorization.clone())
                .insert_header(ip)
                .insert_header(json),
            UNAUTHORIZED,
        ),
        (
            "token and context",
            bare()
                .insert_header(authorization.clone())
                .insert_header(context.clone()),
            UNAUTHORIZED,
        ),
        (
            "all but the content type",
            bare()
                .insert_header(authorization)
                .insert_header(context)
                .insert_header(ip),
            MEDIA,
        ),
        ("all", request(PATH), PASSED),
    ];
    for (what, request, expected) in cases {
        check(what, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn a_header_that_stands_there_twice_is_refused() {
    for (name, value, expected) in [
        ("authorization", bearer(&claims()), AUTH),
        ("x-auth-context", auth_context(), UNAUTHORIZED),
        ("x-ip", "203.0.113.7".into(), UNAUTHORIZED),
        ("content-type", "application/json".into(), MEDIA),
    ] {
        let request = request(PATH).append_header((name, value));
        check(name, Mocks::default(), request, expected).await;
    }
}

#[actix_web::test]
async fn bytes_that_are_no_text_are_refused() {
    let bytes = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    for (name, expected) in [
        ("authorization", AUTH),
        ("x-auth-context", UNAUTHORIZED),
        ("x-ip", UNAUTHORIZED),
        ("content-type", MEDIA),
    ] {
        let request = request(PATH).insert_header((name, bytes.clone()));
        check(name, Mocks::default(), request, expected).await;
    }
}

#[test]
fn weak_settings_are_refused_and_secrets_stay_secret() {
    let short = SecretString::from("x".repeat(31));
    let refused = StaticKey::secret(&short).unwrap_err();
    assert_eq!(refused, WeakSetting::ShortSecret { bytes: 31 });
    assert!(refused.to_string().contains("at least 32"));
    let long = SecretString::from("x".repeat(32));
    let second = StaticKey::secrets([&long, &short]).unwrap_err();
    assert_eq!(second, WeakSetting::ShortSecret { bytes: 31 });
    let guard = guard();
    let no_code = guard.clone().or_api_code(&SecretString::from(""));
    assert_eq!(no_code.map(drop), Err(WeakSetting::EmptyApiCode));
    let state = Mocks::default().state();
    let key = StaticKey::secret(&SecretString::from(SECRET)).unwrap();
    let (rules, clock) = (TokenRules::default(), Arc::new(MockClock::new()));
    let tokens = TokenVerifier::new(Arc::new(key), Algorithm::HS256, rules, clock);
    let shown = format!("{guard:?} {tokens:?} {:?}", **state);
    assert!(
        !shown.contains(API_CODE) && !shown.contains(SECRET),
        "{shown}"
    );
}
