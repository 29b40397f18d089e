//! Headers that are wrong around a good token.

use serde_json::json;

use super::{Cases, World};
use crate::kit::b64;
use crate::server::{API_CODE, Answer, Request, context};

/// What is wrong with the header around a good token.
pub(super) fn schemes(world: &World, cases: &mut Cases) {
    let good = world.good();
    let mut push = |what: &str, value: Vec<u8>, expected: Answer| {
        let mut request = Request::new("");
        request.authorization = vec![value];
        cases.push((format!("authorization {what}"), request, expected));
    };
    for value in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        good.clone(),
        format!("Bearer  {good}"),
        format!("Bearer\t{good}"),
        format!("Bearer \t{good}"),
        format!("Bearer{good}"),
        format!("Bearer:{good}"),
        format!("Bearer: {good}"),
        format!("Bearer={good}"),
        format!("\"Bearer\" {good}"),
        format!("Bearers {good}"),
        format!("Basic {good}"),
        format!("Basic {}", b64(format!("user:{good}"))),
        format!("Token {good}"),
        format!("JWT {good}"),
        format!("DPoP {good}"),
        format!("Bearer Bearer {good}"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good},{good}"),
        format!("Bearer {good}, Bearer {good}"),
        format!("Bearer token={good}"),
        format!("Bearer realm=\"x\" {good}"),
        format!("Basic dTpw, Bearer {good}"),
        format!("Bearer\u{a0}{good}"),
        format!("\u{ff22}earer {good}"),
        format!("Bearer {good}\u{200b}"),
        "Bearer null".into(),
        "Bearer undefined".into(),
        "Bearer true".into(),
    ] {
        let shown: String = value.replace(&good, "TOKEN").chars().take(40).collect();
        push(&format!("{shown:?}"), value.into_bytes(), Answer::AuthError);
    }
    push(
        "not UTF-8",
        format!("Bearer {good}")
            .into_bytes()
            .into_iter()
            .chain([0xff])
            .collect(),
        Answer::AuthError,
    );
    for (what, control) in [
        ("NUL", 0),
        ("a backspace", 8),
        ("an escape", 0x1b),
        ("DEL", 0x7f),
    ] {
        for value in [
            [b"Bearer ", good.as_bytes(), &[control]].concat(),
            [b"Bearer", &[control][..], good.as_bytes()].concat(),
        ] {
            push(
                &format!("with {what} at {}", value.len()),
                value,
                Answer::NoHttp,
            );
        }
    }
    push(
        "folded",
        format!("Bearer\r\n {good}").into_bytes(),
        Answer::NoHttp,
    );
    push(
        "with a bare line feed",
        format!("Bearer\n {good}").into_bytes(),
        Answer::NoHttp,
    );
    push(
        "of a megabyte",
        format!("Bearer {}", "a".repeat(1 << 20)).into_bytes(),
        Answer::NoHttp,
    );

    let line = |name: &str| format!("{name}: Bearer {good}").into_bytes();
    let bad = b"Bearer x".to_vec();
    let value = format!("Bearer {good}").into_bytes();
    for (what, values) in [
        ("missing", vec![]),
        ("twice, the same", vec![value.clone(), value.clone()]),
        ("twice, right first", vec![value.clone(), bad.clone()]),
        ("twice, right last", vec![bad, value.clone()]),
        ("twice, one empty", vec![Vec::new(), value]),
    ] {
        let mut request = Request::new("");
        request.authorization = values;
        cases.push((format!("authorization {what}"), request, Answer::AuthError));
    }
    for elsewhere in [
        "proxy-authorization",
        "x-authorization",
        "authorization-x",
        "x-forwarded-authorization",
        "x-auth-token",
        "cookie",
    ] {
        let mut request = Request::new("");
        request.authorization.clear();
        request.others.push(line(elsewhere));
        cases.push((
            format!("the token in {elsewhere}"),
            request,
            Answer::AuthError,
        ));
    }
    let mut request = Request::new("");
    request.authorization.clear();
    request.path = format!(
        "{}?access_token={good}&authorization=Bearer%20{good}",
        request.path
    );
    cases.push(("the token in the query".into(), request, Answer::AuthError));
    let mut request = Request::new(&good);
    request.others.push(line("AUTHORIZATION"));
    cases.push((
        "authorization twice, in capitals".into(),
        request,
        Answer::AuthError,
    ));
}

pub(super) fn contexts(world: &World, cases: &mut Cases) {
    let good = world.good();
    let right = String::from_utf8(context(API_CODE)).unwrap();
    let code = json!(API_CODE);
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let values = [
        String::new(),
        " ".into(),
        "null".into(),
        "true".into(),
        "1".into(),
        "{}".into(),
        "[]".into(),
        "\"\"".into(),
        API_CODE.into(),
        code.to_string(),
        json!([true, API_CODE]).to_string(),
        format!("[{right}]"),
        json!(right).to_string(),
        b64(&right),
        right.replace('"', "%22"),
        right.replace('"', "'"),
        json!({ "api_access": true }).to_string(),
        json!({ "api_code": API_CODE }).to_string(),
        json!({ "API_ACCESS": true, "API_CODE": API_CODE }).to_string(),
        json!({ "apiAccess": true, "apiCode": API_CODE }).to_string(),
        json!({ "context": { "api_access": true, "api_code": API_CODE } }).to_string(),
        format!(r#"{{"api_access":false,"api_access":true,"api_code":{code}}}"#),
        format!(r#"{{"api_access":true,"api_access":true,"api_code":{code}}}"#),
        format!(r#"{{"api_access":true,"api_code":"x","api_code":{code}}}"#),
        format!(r#"{{"api_access":true,"api_code":{code},"api_code":"x"}}"#),
        format!(r#"{{"api_access":true,"api_code":{code},"api\u005fcode":{code}}}"#),
        format!("{right}x"),
        format!("{right}{right}"),
        format!("{right},{right}"),
        format!("{right};"),
        format!("\u{feff}{right}"),
        format!("/**/{right}"),
        right[..right.len() - 1].to_owned(),
        right.replace('}', ",}"),
        format!(r#"{{"api_access":true,"api_code":{deep}}}"#),
        deep,
    ];
    let accesses = [
        json!(false),
        json!(null),
        json!("true"),
        json!("TRUE"),
        json!(""),
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!([true]),
        json!([]),
        json!({}),
        json!({ "api_access": true }),
    ];
    let codes = [
        json!(""),
        json!(null),
        json!(true),
        json!(0),
        json!([API_CODE]),
        json!({ "code": API_CODE }),
        json!(API_CODE.to_lowercase()),
        json!(API_CODE.to_uppercase()),
        json!(format!("{API_CODE} ")),
        json!(format!(" {API_CODE}")),
        json!(format!("{API_CODE}\u{0}")),
        json!(format!("{API_CODE}{API_CODE}")),
        json!(&API_CODE[..API_CODE.len() - 1]),
        json!(&API_CODE[1..]),
        json!(API_CODE.replace('A', "\u{410}")),
        json!("*"),
        json!("%"),
        json!("' OR '1'='1"),
        json!("c".repeat(20_000)),
    ];
    let accesses = accesses
        .iter()
        .map(|access| json!({ "api_access": access, "api_code": API_CODE }).to_string());
    let codes = codes
        .iter()
        .map(|code| json!({ "api_access": true, "api_code": code }).to_string());
    for value in values.into_iter().chain(accesses).chain(codes) {
        let mut request = Request::new(&good);
        let shown: String = value.chars().take(80).collect();
        request.context = vec![value.into_bytes()];
        cases.push((
            format!("x-auth-context {shown}"),
            request,
            Answer::Unauthorized,
        ));
    }
    let (right, bytes) = (
        right.into_bytes(),
        b"{\"api_access\":true,\"api_code\":\"\xff\"}".to_vec(),
    );
    for (what, values) in [
        ("missing", vec![]),
        ("not UTF-8", vec![bytes]),
        ("twice, the same", vec![right.clone(), right.clone()]),
        ("twice, right first", vec![right.clone(), b"{}".to_vec()]),
        ("twice, right last", vec![b"{}".to_vec(), right]),
    ] {
        let mut request = Request::new(&good);
        request.context = values;
        cases.push((
            format!("x-auth-context {what}"),
            request,
            Answer::Unauthorized,
        ));
    }
}

pub(super) fn addresses(world: &World, cases: &mut Cases) {
    let good = world.good();
    for value in [
        "",
        "unknown",
        "localhost",
        "_hidden",
        "203.0.113.7, 10.0.0.1",
        "203.0.113.7,10.0.0.1",
        "203.0.113.7 10.0.0.1",
        "203.0.113.7;10.0.0.1",
        "203.0.113.7:443",
        "203.0.113.7/32",
        "203.0.113.7.",
        "203.0.113",
        "203.0.113.7.1",
        "203.0.113.256",
        "203.0.113.-7",
        "203.0.113.7x",
        "203.0.113.07",
        "0203.0.0113.7",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "\u{ff12}03.0.113.7",
        "\"203.0.113.7\"",
        "for=203.0.113.7",
        "[::1]",
        "[::1]:443",
        "::1%lo",
        "fe80::1%25eth0",
        "fe80::1%1",
        "::1/128",
        ":::",
        "::1::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "g::",
        "::ffff:203.0.113.256",
        "::ffff:203.0.113.07",
        "2001:db8::203.0.113.7:1",
        "' OR 1=1 --",
        "<script>",
        "../../etc/passwd",
    ] {
        let mut request = Request::new(&good);
        request.ip = vec![value.as_bytes().to_vec()];
        cases.push((format!("x-ip {value}"), request, Answer::Unauthorized));
    }
    let right = b"203.0.113.7".to_vec();
    for (what, values) in [
        ("missing", vec![]),
        ("not UTF-8", vec![b"203.0.113.7\xff".to_vec()]),
        ("of 10,000 digits", vec![vec![b'1'; 10_000]]),
        ("twice, the same", vec![right.clone(), right.clone()]),
        (
            "twice, different",
            vec![right.clone(), b"10.0.0.1".to_vec()],
        ),
        ("twice, one empty", vec![right, Vec::new()]),
    ] {
        let mut request = Request::new(&good);
        request.ip = values;
        cases.push((format!("x-ip {what}"), request, Answer::Unauthorized));
    }
    let mut forwarded = Request::new(&good);
    forwarded.ip.clear();
    for header in [
        "x-forwarded-for: 203.0.113.7",
        "x-real-ip: 203.0.113.7",
        "forwarded: for=203.0.113.7",
        "x_ip: 203.0.113.7",
    ] {
        forwarded.others.push(header.as_bytes().to_vec());
    }
    cases.push((
        "x-ip in other headers".into(),
        forwarded,
        Answer::Unauthorized,
    ));
}
