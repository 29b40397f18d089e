//! Tokens that talk the server into another key or algorithm.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use serde_json::{Value, json};

use super::{Tokens, World};
use crate::kit::{Signer, b64, claims, header, mac, signer, with, without};

/// Names of algorithms that no server may be talked into.
pub(super) fn algorithms(world: &World, cases: &mut Tokens) {
    let good = world.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let payload = message.split('.').nth(1).unwrap();
    let odd = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!("none "),
        json!("\u{0}none"),
        json!(""),
        json!(null),
        json!(0),
        json!(["none"]),
        json!({ "alg": "none" }),
        json!("HS255"),
        json!("SHA256"),
        json!(world.signer.algorithm().to_lowercase()),
        json!(format!("{} ", world.signer.algorithm())),
        json!([world.signer.algorithm()]),
    ];
    for alg in odd {
        // In lower case `EdDSA` is another name, too.
        let header = with(&world.header(), &[("alg", alg.clone())]);
        let encoded = b64(header.to_string());
        cases.push((
            format!("alg {alg} unsigned"),
            format!("{encoded}.{payload}."),
        ));
        let kept = format!("{encoded}.{payload}.{signature}");
        cases.push((
            format!("alg {alg} with a signature of another header"),
            kept,
        ));
        cases.push((format!("alg {alg} signed"), world.token(&header, &claims())));
    }
    cases.push((
        "alg missing".into(),
        world.token(&without(&world.header(), "alg"), &claims()),
    ));
    let twice = |first: &str, second: &str| {
        let kid = world
            .kid()
            .map_or(String::new(), |kid| format!(r#","kid":"{kid}""#));
        world.headed(&format!(r#"{{"alg":"{first}","alg":"{second}"{kid}}}"#))
    };
    let right = world.signer.algorithm();
    cases.push(("alg twice, right last".into(), twice("none", right)));
    cases.push(("alg twice, right first".into(), twice(right, "none")));
    // Every other algorithm, signed with a key of the attacker's own.
    for other in ["HS256", "RS256", "ES256", "EdDSA"] {
        let theirs = signer(other);
        let header = header(other, world.kid()).to_string();
        let token = theirs.token(&header, claims().to_string());
        cases.push((format!("another's {other}"), token));
    }
    for other in [
        "HS384", "HS512", "RS384", "PS256", "ES384", "ES512", "ES256K", "Ed25519",
    ] {
        let header = with(&world.header(), &[("alg", json!(other))]);
        cases.push((
            format!("the signature of {right} under {other}"),
            world.token(&header, &claims()),
        ));
    }
    let under = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = with(&world.header(), &[("alg", json!(alg))]);
        let message = format!("{}.{payload}", b64(header.to_string()));
        format!("{message}.{}", b64(sign(message.as_bytes())))
    };
    match &world.signer {
        Signer::Secret(secret) => {
            for (alg, kind) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
                let key = hmac::Key::new(kind, secret);
                let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
                cases.push((format!("{alg} with the secret"), under(alg, &sign)));
                cases.push((format!("{alg} called HS256"), under("HS256", &sign)));
            }
        }
        Signer::Rsa(_) => {
            let others: [(&str, &'static dyn RsaEncoding); 3] = [
                ("RS384", &RSA_PKCS1_SHA384),
                ("RS512", &RSA_PKCS1_SHA512),
                ("PS256", &RSA_PSS_SHA256),
            ];
            for (alg, kind) in others {
                let sign = |message: &[u8]| world.signer.sign_rsa(kind, message);
                cases.push((format!("{alg} with the key"), under(alg, &sign)));
                cases.push((format!("{alg} called RS256"), under("RS256", &sign)));
            }
        }
        Signer::Ec(_) | Signer::Ed(_) => {}
    }
    // What everybody knows, as the secret of HS256.
    for (what, secret) in &world.public {
        let sign = |message: &[u8]| mac(secret, message);
        cases.push((format!("HS256 with {what}"), under("HS256", &sign)));
        cases.push((
            format!("HS256 with {what}, called {right}"),
            under(right, &sign),
        ));
    }
}

/// Headers that bring a key of their own, name one elsewhere, or demand something.
pub(super) fn key_headers(world: &World, cases: &mut Tokens) {
    let attacker = &world.attacker;
    let theirs = |header: &Value| attacker.token(&header.to_string(), claims().to_string());
    let url = "http://127.0.0.1:9/keys";
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jwk", json!("x")),
        ("jku", json!(url)),
        ("jku", json!("file:///dev/null")),
        ("x5u", json!(url)),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ] {
        let header = with(&world.header(), &[(name, value.clone())]);
        cases.push((format!("{name} {value}, another's key"), theirs(&header)));
        let nameless = without(&header, "kid");
        cases.push((
            format!("{name} {value}, another's key, no kid"),
            theirs(&nameless),
        ));
    }
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!([]),
        json!(["urn:example:must"]),
        json!("exp"),
        json!({}),
        json!(1),
    ] {
        let header = with(
            &world.header(),
            &[("crit", crit.clone()), ("b64", json!(false))],
        );
        cases.push((format!("crit {crit}"), world.token(&header, &claims())));
    }
    let long = "k".repeat(10_000);
    let kids = [
        json!("1"),
        json!("2"),
        json!(""),
        json!("0 "),
        json!("00"),
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("/etc/hostname"),
        json!("' OR '1'='1"),
        json!("0' UNION SELECT 'k' --"),
        json!("0\u{0}"),
        json!("0\n"),
        json!("| id"),
        json!("${jndi:ldap://127.0.0.1:9}"),
        json!(long),
        json!(0),
        json!(["0"]),
        json!({ "kid": "0" }),
        json!(true),
    ];
    for kid in kids {
        let header = with(&world.header(), &[("kid", kid.clone())]);
        let shown: String = kid.to_string().chars().take(40).collect();
        cases.push((format!("kid {shown}, another's key"), theirs(&header)));
        let message = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
        let empty = format!("{message}.{}", b64(mac(b"", message.as_bytes())));
        cases.push((format!("kid {shown}, empty secret"), empty));
        // Where keys have names, a wrong one is no key; elsewhere only its type counts.
        if world.named || !kid.is_string() {
            cases.push((
                format!("kid {shown}, right key"),
                world.token(&header, &claims()),
            ));
        }
    }
    if world.named {
        let nameless = without(&world.header(), "kid");
        cases.push((
            "no kid, several keys".into(),
            world.token(&nameless, &claims()),
        ));
        let of_other = header(world.signer.algorithm(), Some("1"));
        cases.push((
            "kid of the other key".into(),
            world.token(&of_other, &claims()),
        ));
    }
    let kid_twice = format!(
        r#"{{"alg":"{}","kid":"0","kid":"0"}}"#,
        world.signer.algorithm()
    );
    cases.push(("kid twice".into(), world.headed(&kid_twice)));
}
