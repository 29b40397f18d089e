//! Tokens that are signed by the issuer, and say what they must not.

use serde_json::{Value, json};

use super::{Tokens, World};
use crate::kit::{ACCOUNT, AUDIENCE, ISSUER, USER, claims, now, with, without};

/// The claims as text, with more members in front that a careless reader could take instead.
fn claims_and(members: &str) -> String {
    format!("{{{members},{}", &claims().to_string()[1..])
}

pub(super) fn times(world: &World, cases: &mut Tokens) {
    let says = |name: &str, value: &str| {
        world.saying(claims_without_and(name, &format!(r#""{name}":{value}"#)))
    };
    let now = now();
    let past = [
        (now - 1).to_string(),
        (now - 3_600).to_string(),
        format!("{}.5", now - 2),
        "0".into(),
        "-1".into(),
        "-9223372036854775808".into(),
        "-1e300".into(),
        format!("-{}", now + 3_600),
    ];
    let none = [
        format!("\"{}\"", now + 3_600),
        "\"never\"".into(),
        "\"\"".into(),
        "null".into(),
        "true".into(),
        "[]".into(),
        format!("[{}]", now + 3_600),
        "{}".into(),
        "1e999".into(),
        "NaN".into(),
        "Infinity".into(),
        "0x7fffffff".into(),
        format!("+{}", now + 3_600),
        format!("0{}", now + 3_600),
    ];
    for exp in past.iter().chain(&none) {
        cases.push((format!("exp {exp}"), says("exp", exp)));
    }
    cases.push((
        "exp missing".into(),
        world.token(&world.header(), &without(&claims(), "exp")),
    ));
    let future = [
        (now + 3_600).to_string(),
        format!("{}.5", now + 3_600),
        u64::MAX.to_string(),
        "1e300".into(),
    ];
    for nbf in future.iter().chain(&none) {
        cases.push((format!("nbf {nbf}"), says("nbf", nbf)));
    }
    for (name, members) in [
        ("exp twice", format!(r#""exp":{}"#, now - 60)),
        ("nbf twice", format!(r#""nbf":{now},"nbf":{}"#, now - 60)),
    ] {
        cases.push((name.into(), world.saying(claims_and(&members))));
    }
}

fn claims_without_and(name: &str, member: &str) -> String {
    let rest = without(&claims(), name).to_string();
    format!("{{{member},{}", &rest[1..])
}

pub(super) fn issuer_and_audience(world: &World, cases: &mut Tokens) {
    let common = |right: &str| {
        vec![
            Value::Null,
            json!(""),
            json!("*"),
            json!(right.to_uppercase()),
            json!(format!(" {right}")),
            json!(format!("{right}/")),
            json!(&right[..right.len() - 1]),
            json!(format!("{right}\u{0}")),
            json!(7),
            json!(true),
            json!({ right: right }),
            json!([]),
            json!([[right]]),
            json!([right, 7]),
        ]
    };
    for (name, right, more) in [
        (
            "iss",
            ISSUER,
            vec![json!([ISSUER]), json!([ISSUER, "other"])],
        ),
        ("aud", AUDIENCE, vec![json!(["other", "another"])]),
    ] {
        for value in common(right).into_iter().chain(more) {
            let token = world.token(&world.header(), &with(&claims(), &[(name, value.clone())]));
            cases.push((format!("{name} {value}"), token));
        }
        let token = world.token(&world.header(), &without(&claims(), name));
        cases.push((format!("{name} missing"), token));
        for (order, members) in [("first", "\"x\""), ("same", &json!(right).to_string())] {
            let token = world.saying(claims_and(&format!(r#""{name}":{members}"#)));
            cases.push((format!("{name} twice, {order}"), token));
        }
    }
}

pub(super) fn identities(world: &World, cases: &mut Tokens) {
    let mut push = |name: &str, value: Value| {
        let token = world.token(&world.header(), &with(&claims(), &[(name, value.clone())]));
        cases.push((format!("{name} {value}"), token));
    };
    for (name, right) in [
        ("user_id", USER),
        ("account_id", ACCOUNT),
        ("role_code", "ADMIN"),
    ] {
        for value in [
            Value::Null,
            json!(7),
            json!(-1.5),
            json!(true),
            json!([]),
            json!([right]),
            json!({}),
            json!({ name: right }),
            json!(""),
            json!(format!("{right}\u{0}")),
        ] {
            push(name, value);
        }
    }
    for name in ["user_id", "account_id"] {
        for value in [
            ACCOUNT.replace('-', ""),
            ACCOUNT.replace('-', "_"),
            format!("{{{ACCOUNT}}}"),
            format!("urn:uuid:{ACCOUNT}"),
            format!(" {ACCOUNT}"),
            format!("{ACCOUNT} "),
            format!("{ACCOUNT}\n"),
            ACCOUNT[1..].to_owned(),
            format!("{ACCOUNT}0"),
            ACCOUNT.replace('a', "g"),
            ACCOUNT.replace('0', "\u{ff10}"),
            "0".repeat(36),
            "*".to_owned(),
            "' OR 1=1 --".to_owned(),
        ] {
            push(name, json!(value));
        }
    }
    for name in ["user_id", "account_id", "role_code"] {
        let token = world.token(&world.header(), &without(&claims(), name));
        cases.push((format!("{name} missing"), token));
        let twice = format!(r#""{name}":{}"#, claims()[name]);
        cases.push((format!("{name} twice"), world.saying(claims_and(&twice))));
        let other = format!(r#""{name}":"0193ed20-7b3c-7000-8000-0000000000ff""#);
        cases.push((
            format!("{name} twice, another"),
            world.saying(claims_and(&other)),
        ));
        let escaped = twice.replace(name, &name.replace('_', "\\u005f"));
        cases.push((
            format!("{name} twice, escaped"),
            world.saying(claims_and(&escaped)),
        ));
        let token = world.token(&world.header(), &{
            let mut claims = without(&claims(), name);
            claims[name.to_uppercase()] = json!(USER);
            claims
        });
        cases.push((format!("{name} in capitals"), token));
    }
}

/// Claims and headers that are no JSON objects.
pub(super) fn json_forms(world: &World, cases: &mut Tokens) {
    let good = claims().to_string();
    let quoted = json!(good).to_string();
    let deep = format!(r#"{{"iss":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let texts = [
        ("empty", String::new()),
        ("an empty object", "{}".into()),
        ("null", "null".into()),
        ("a number", "7".into()),
        ("a text", quoted),
        (
            "an array of the values",
            json!([USER, ACCOUNT, "ADMIN", now() + 60, 0, ISSUER]).to_string(),
        ),
        ("an array around it", format!("[{good}]")),
        ("an object around it", format!(r#"{{"claims":{good}}}"#)),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("garbage after it", format!("{good}x")),
        ("another after it", format!("{good}{good}")),
        ("NUL after it", format!("{good}\u{0}")),
        ("not closed", good[..good.len() - 1].to_owned()),
        (
            "a comma too many",
            format!("{},}}", &good[..good.len() - 1]),
        ),
        ("single quotes", good.replace('"', "'")),
        ("a comment", format!("/* */{good}")),
        ("nested too deep", deep),
        ("not base64 inside", "eyJ9".into()),
    ];
    for (what, text) in &texts {
        cases.push((format!("claims {what}"), world.saying(text)));
    }
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    cases.push(("claims in UTF-16".into(), world.saying(wide)));
    let broken = good.replace("ADMIN", "AD\u{1}IN").into_bytes();
    let broken: Vec<u8> = broken
        .into_iter()
        .map(|byte| if byte == 1 { 0xff } else { byte })
        .collect();
    cases.push(("claims not UTF-8".into(), world.saying(broken)));

    let header = world.header().to_string();
    for (what, text) in [
        ("empty", Vec::new()),
        ("null", b"null".to_vec()),
        ("a text", json!(header).to_string().into_bytes()),
        (
            "an array",
            json!(["JWT", world.signer.algorithm()])
                .to_string()
                .into_bytes(),
        ),
        ("an array around it", format!("[{header}]").into_bytes()),
        (
            "a byte order mark",
            format!("\u{feff}{header}").into_bytes(),
        ),
        ("garbage after it", format!("{header}x").into_bytes()),
        ("not UTF-8", [header.as_bytes(), b"\xff"].concat()),
        ("single quotes", header.replace('"', "'").into_bytes()),
        ("nested too deep", {
            let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
            format!(r#"{{"x":{nested},{}"#, &header[1..]).into_bytes()
        }),
    ] {
        let token = world.signer.token_of_bytes(&text, good.as_bytes());
        cases.push((format!("header {what}"), token));
    }
}
