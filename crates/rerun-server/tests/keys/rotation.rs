//! One key takes the place of another while requests go on.

use std::fs;
use std::time::Instant;

use crate::kit::{Signer, claims, header, jwks, random, signer};
use crate::server::{Answer, PATIENCE, Request, Server, context};

fn token(signer: &Signer, kid: Option<&str>) -> Request {
    let header = header(signer.algorithm(), kid).to_string();
    Request::new(&signer.token(&header, claims().to_string()))
}

/// Asks until the answer is this one.
fn until(server: &Server, request: &Request, answer: &Answer) {
    let start = Instant::now();
    while server.send(request) != *answer {
        assert!(start.elapsed() < PATIENCE, "{}", server.log());
    }
}

#[test]
fn public_keys_are_replaced_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.pem");
    let (old, new) = (signer("ES256"), signer("ES256"));
    fs::write(&file, old.pem()).unwrap();
    let settings = [
        ("RERUN_JWT_ALGORITHM", "ES256"),
        ("RERUN_JWT_PUBLIC_KEY_FILE", file.to_str().unwrap()),
    ];
    let server = Server::start(folder.path(), &settings);
    let (by_old, by_new) = (token(&old, None), token(&new, None));
    assert_eq!(server.send(&by_old), Answer::Admitted);
    assert_eq!(server.send(&by_new), Answer::AuthError);

    fs::write(&file, format!("{}{}", old.pem(), new.pem())).unwrap();
    until(&server, &by_new, &Answer::Admitted);
    assert_eq!(server.send(&by_old), Answer::Admitted);

    fs::write(&file, "no keys").unwrap();
    // Whoever asks meanwhile is admitted with the keys that there were.
    while !server.log().contains("the old ones stay") {
        assert_eq!(server.send(&by_old), Answer::Admitted);
    }

    fs::remove_file(&file).unwrap();
    while !server.log().contains("it cannot be read") {
        assert_eq!(server.send(&by_old), Answer::Admitted);
    }

    fs::write(&file, new.pem()).unwrap();
    until(&server, &by_old, &Answer::AuthError);
    assert_eq!(server.send(&by_new), Answer::Admitted);

    let log = server.end();
    assert_eq!(log.matches("the old ones stay").count(), 2, "{log}");
    assert_eq!(log.matches("took over changed keys").count(), 2, "{log}");
    assert!(!log.contains("no keys"), "{log}");
}

#[test]
fn a_key_set_is_replaced_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let next = folder.path().join("next.json");
    let (old, new) = (signer("RS256"), signer("RS256"));
    fs::write(&file, jwks(&[&old])).unwrap();
    let settings = [
        ("RERUN_JWT_ALGORITHM", "RS256"),
        ("RERUN_JWT_JWKS_FILE", file.to_str().unwrap()),
    ];
    let server = Server::start(folder.path(), &settings);
    let (by_old, by_new) = (token(&old, Some("0")), token(&new, Some("1")));
    assert_eq!(server.send(&by_old), Answer::Admitted);
    assert_eq!(server.send(&by_new), Answer::AuthError);
    // A token without a name is right as long as there is one key.
    assert_eq!(server.send(&token(&old, None)), Answer::Admitted);

    fs::write(&next, jwks(&[&old, &new])).unwrap();
    fs::rename(&next, &file).unwrap();
    until(&server, &by_new, &Answer::Admitted);
    assert_eq!(server.send(&by_old), Answer::Admitted);
    assert_eq!(server.send(&token(&old, None)), Answer::AuthError);
}

#[test]
fn two_secrets_and_two_codes_are_right_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let [new, old, other] = [(); 3].map(|()| random(32));
    // Secrets may be in files of their own.
    let (secret, code) = (folder.path().join("secret"), folder.path().join("code"));
    fs::write(&secret, &old).unwrap();
    fs::write(&code, "the code before\n").unwrap();
    let current = String::from_utf8(new.clone()).unwrap();
    let settings = [
        ("RERUN_JWT_SECRET", current.as_str()),
        ("RERUN_JWT_SECRET_PREVIOUS_FILE", secret.to_str().unwrap()),
        ("RERUN_API_CODE_PREVIOUS_FILE", code.to_str().unwrap()),
    ];
    let server = Server::start(folder.path(), &settings);
    let [new, old, other] = [new, old, other].map(|secret| token(&Signer::Secret(secret), None));
    assert_eq!(server.send(&new), Answer::Admitted);
    assert_eq!(server.send(&old), Answer::Admitted);
    assert_eq!(server.send(&other), Answer::AuthError);
    for (code, answer) in [
        ("the code before", Answer::Admitted),
        ("the code before\n", Answer::Unauthorized),
        ("the code", Answer::Unauthorized),
        ("an API codethe code before", Answer::Unauthorized),
        ("", Answer::Unauthorized),
    ] {
        let mut request = old.clone();
        request.context = vec![context(code)];
        assert_eq!(server.send(&request), answer, "{code}");
    }
    let log = server.end();
    assert!(
        !log.contains("the code before") && !log.contains(&current),
        "{log}"
    );

    // Without the previous ones only the current ones are left.
    let server = Server::start(folder.path(), &settings[..1]);
    assert_eq!(server.send(&new), Answer::Admitted);
    assert_eq!(server.send(&old), Answer::AuthError);
    let mut request = new;
    request.context = vec![context("the code before")];
    assert_eq!(server.send(&request), Answer::Unauthorized);
}
