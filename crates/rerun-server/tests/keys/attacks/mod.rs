//! What an attacker may send, for each algorithm and each source of keys. Each line of the tables
//! is refused with the text that the published API fixes. Requests that are right stand between
//! them, so that a server which refuses everything does not pass.

mod claims;
mod headers;
mod keys;
mod signatures;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kit::{
    ACCOUNT, AUDIENCE, ISSUER, Signer, claims, header, jwks, now, random, signer, unb64, with,
};
use crate::server::{API_CODE, Answer, Request, Server};

/// A server, and what an issuer of tokens for it has.
struct World {
    signer: Signer,
    /// Another key that the server trusts.
    second: Signer,
    /// Whether the server has names for its keys.
    named: bool,
    /// Text that everybody can know, which must be no secret.
    public: Vec<(&'static str, Vec<u8>)>,
    attacker: Signer,
}

/// What a request is, and what it is answered.
type Cases = Vec<(String, Request, Answer)>;
/// What a token is. All of these are refused.
type Tokens = Vec<(String, String)>;

impl World {
    fn kid(&self) -> Option<&'static str> {
        self.named.then_some("0")
    }

    fn header(&self) -> Value {
        header(self.signer.algorithm(), self.kid())
    }

    /// A token of the issuer with this header and these claims.
    fn token(&self, header: &Value, claims: &Value) -> String {
        self.signer.token(&header.to_string(), claims.to_string())
    }

    fn good(&self) -> String {
        self.token(&self.header(), &claims())
    }

    /// A token of the issuer with these claims, written just so.
    fn saying(&self, claims: impl AsRef<[u8]>) -> String {
        self.signer.token(&self.header().to_string(), claims)
    }

    fn headed(&self, header: &str) -> String {
        self.signer.token(header, claims().to_string())
    }
}

/// What a server must not refuse, however strict it is.
fn admitted(world: &World) -> Cases {
    let good = world.good();
    let mut cases: Cases = Vec::new();
    let mut token = |what: &str, token: String| {
        cases.push((what.to_owned(), Request::new(&token), Answer::Admitted));
    };
    let says = |changes: &[(&str, Value)]| world.token(&world.header(), &with(&claims(), changes));
    token("as usual", good.clone());
    token(
        "the audience among others",
        says(&[("aud", json!(["other", AUDIENCE]))]),
    );
    token(
        "a fraction of a second",
        says(&[("exp", json!(1e12 + 0.5))]),
    );
    token("the farthest expiry", says(&[("exp", json!(u64::MAX))]));
    token("not before now", says(&[("nbf", json!(now()))]));
    token(
        "claims that nobody knows",
        says(&[("sub", json!("x")), ("x", json!({ "y": null }))]),
    );
    token(
        "ids in capitals",
        says(&[("account_id", json!(ACCOUNT.to_uppercase()))]),
    );
    let pretty = serde_json::to_string_pretty(&claims()).unwrap();
    token("claims over several lines", world.saying(pretty));
    let more = with(
        &world.header(),
        &[("typ", json!("at+jwt")), ("x", json!(1))],
    );
    token("more in the header", world.token(&more, &claims()));
    // Somebody else's key does not matter when the signature is right.
    let jwk = with(
        &world.header(),
        &[("jwk", world.attacker.jwk()), ("jku", json!("http://x"))],
    );
    token(
        "a key in the header that is not used",
        world.token(&jwk, &claims()),
    );
    let second = header(world.signer.algorithm(), world.named.then_some("1")).to_string();
    token(
        "the other key",
        world.second.token(&second, claims().to_string()),
    );
    if !world.named {
        let unknown = with(&world.header(), &[("kid", json!("any"))]);
        token(
            "a kid that has no meaning here",
            world.token(&unknown, &claims()),
        );
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let mut request = Request::new("");
        request.authorization = vec![format!("{scheme} {good}").into_bytes()];
        cases.push((scheme.to_owned(), request, Answer::Admitted));
    }
    for ip in ["2001:db8::7", "::ffff:203.0.113.7", "::1", "0.0.0.0"] {
        let mut request = Request::new(&good);
        request.ip = vec![ip.as_bytes().to_vec()];
        cases.push((ip.to_owned(), request, Answer::Admitted));
    }
    let mut request = Request::new(&good);
    request.context = vec![
        format!(r#"{{ "x": [], "api_code": {API_CODE:?}, "api_access": true }}"#).into_bytes(),
    ];
    cases.push(("more in the context".to_owned(), request, Answer::Admitted));
    cases
}

fn refused(world: &World) -> Cases {
    let mut tokens = Vec::new();
    for table in [
        keys::algorithms,
        keys::key_headers,
        claims::times,
        claims::issuer_and_audience,
        claims::identities,
        claims::json_forms,
        signatures::signatures,
        signatures::shapes,
    ] {
        table(world, &mut tokens);
    }
    let mut cases: Cases = tokens
        .into_iter()
        .map(|(what, token)| (what, Request::new(&token), Answer::AuthError))
        .collect();
    headers::schemes(world, &mut cases);
    headers::contexts(world, &mut cases);
    headers::addresses(world, &mut cases);
    cases
}

/// Starts a server with two keys of the algorithm, and attacks it.
fn attack(algorithm: &str, named: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (signer, second, attacker) = (signer(algorithm), signer(algorithm), signer(algorithm));
    let file = folder.path().join("keys");
    let file = file.to_str().unwrap();
    let mut settings = vec![
        ("RERUN_JWT_ALGORITHM", algorithm),
        ("RERUN_JWT_ISSUER", ISSUER),
        ("RERUN_JWT_AUDIENCE", AUDIENCE),
    ];
    let secrets: Vec<String> = [&signer, &second]
        .iter()
        .filter_map(|signer| match signer {
            Signer::Secret(secret) => Some(String::from_utf8(secret.clone()).unwrap()),
            Signer::Rsa(_) | Signer::Ec(_) | Signer::Ed(_) => None,
        })
        .collect();
    let mut public = vec![
        ("no secret", Vec::new()),
        ("a usual secret", b"secret".to_vec()),
        ("the API code", API_CODE.as_bytes().to_vec()),
        ("the issuer", ISSUER.as_bytes().to_vec()),
        ("zeros", vec![0; 32]),
    ];
    if let [current, previous] = secrets.as_slice() {
        settings.push(("RERUN_JWT_SECRET", current));
        settings.push(("RERUN_JWT_SECRET_PREVIOUS", previous));
        public.push(("half of the secret", current.as_bytes()[..21].to_vec()));
        public.push(("both secrets", format!("{current}{previous}").into_bytes()));
        public.push(("a guessed secret", random(32)));
    } else {
        let text = if named {
            settings.push(("RERUN_JWT_JWKS_FILE", file));
            jwks(&[&signer, &second])
        } else {
            settings.push(("RERUN_JWT_PUBLIC_KEY_FILE", file));
            format!("{}{}", signer.pem(), second.pem())
        };
        std::fs::write(file, &text).unwrap();
        public.push(("the file", text.clone().into_bytes()));
        public.push(("the file, trimmed", text.trim().as_bytes().to_vec()));
        public.push(("the PEM", signer.pem().into_bytes()));
        public.push((
            "the PEM with line feeds",
            signer.pem().replace("\r\n", "\n").into_bytes(),
        ));
        public.push(("the PEM, trimmed", signer.pem().trim().as_bytes().to_vec()));
        public.push(("the SPKI", signer.spki()));
        public.push(("the JWK", signer.jwk().to_string().into_bytes()));
        public.push(("the JWKS", jwks(&[&signer]).into_bytes()));
        for part in ["n", "e", "x", "y"] {
            if let Some(value) = signer.jwk()[part].as_str() {
                public.push(("a part of the JWK", value.as_bytes().to_vec()));
                public.push(("the bytes of a part of the JWK", unb64(value)));
            }
        }
    }
    let server = Server::start(folder.path(), &settings);
    let world = World {
        signer,
        second,
        named,
        public,
        attacker,
    };
    let right = admitted(&world);
    let wrong = refused(&world);
    let distinct: BTreeSet<&str> = wrong.iter().map(|(what, ..)| what.as_str()).collect();
    assert!(distinct.len() > 400, "{}", distinct.len());

    let mut surprises = Vec::new();
    let mut send = |(what, request, expected): &(String, Request, Answer)| {
        let answer = server.send(request);
        if answer != *expected {
            surprises.push(format!("{what}: {expected:?} expected, {answer:?} found"));
        }
    };
    right.iter().for_each(&mut send);
    for part in wrong.chunks(50) {
        part.iter().for_each(&mut send);
        send(&right[0]);
    }
    right.iter().for_each(&mut send);
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));

    let log = server.end();
    assert!(log.contains("the token has expired"), "{log}");
    for secret in secrets.iter().map(String::as_str).chain([API_CODE]) {
        assert!(!log.contains(secret), "{log}");
    }
    let good = world.good();
    let (message, _) = good.rsplit_once('.').unwrap();
    let (_, payload) = message.split_once('.').unwrap();
    assert!(!log.contains(&payload[..40]), "{log}");
}

#[test]
fn secrets_of_hs256() {
    attack("HS256", false);
}

#[test]
fn pem_of_rs256() {
    attack("RS256", false);
}

#[test]
fn jwks_of_rs256() {
    attack("RS256", true);
}

#[test]
fn pem_of_es256() {
    attack("ES256", false);
}

#[test]
fn jwks_of_es256() {
    attack("ES256", true);
}

#[test]
fn pem_of_eddsa() {
    attack("EdDSA", false);
}

#[test]
fn jwks_of_eddsa() {
    attack("EdDSA", true);
}
