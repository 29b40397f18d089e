//! Settings with which nothing may start.

use std::path::Path;

use crate::kit::{jwks, pem, random, signer};
use crate::server::rerun;

/// What the command says before it ends with the code for wrong settings, without having touched
/// a database.
fn refused(folder: &Path, command: &str, settings: &[(&str, &str)]) -> String {
    let mut settings = settings.to_vec();
    settings.push(("RERUN_API_CODE", "an API code"));
    let output = rerun(folder, &[command], &settings).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    assert!(!folder.join("rerun.db").exists());
    said
}

#[test]
fn keys_that_are_no_good_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let path = file.to_str().unwrap();
    let (rsa, ec) = (signer("RS256"), signer("ES256"));
    let secret = String::from_utf8(random(32)).unwrap();
    for (text, setting, expected) in [
        (
            rsa.pem(),
            "RERUN_JWT_PUBLIC_KEY_FILE",
            "an RSA key of 2048 bits, but ES256 takes",
        ),
        (
            jwks(&[&rsa]),
            "RERUN_JWT_JWKS_FILE",
            "no key for ES256: key 1 is of another type",
        ),
        (jwks(&[&ec]), "RERUN_JWT_PUBLIC_KEY_FILE", "no PEM block"),
        (ec.pem(), "RERUN_JWT_JWKS_FILE", "no JSON"),
        (
            pem("PRIVATE KEY", ec.pkcs8()),
            "RERUN_JWT_PUBLIC_KEY_FILE",
            "is a private key",
        ),
        (secret.clone(), "RERUN_JWT_JWKS_FILE", "no JSON"),
    ] {
        std::fs::write(&file, text).unwrap();
        let settings = [("RERUN_JWT_ALGORITHM", "ES256"), (setting, path)];
        let said = refused(folder.path(), "serve", &settings);
        assert!(said.contains(&format!("{setting} is {path:?}")), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&secret), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    let settings = [
        ("RERUN_JWT_ALGORITHM", "EdDSA"),
        ("RERUN_JWT_JWKS_FILE", path),
    ];
    let said = refused(folder.path(), "serve", &settings);
    assert!(said.contains("RERUN_JWT_JWKS_FILE is"), "{said}");
    assert!(said.contains("it cannot be read"), "{said}");
}

#[test]
fn settings_that_contradict_each_other_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let secret = String::from_utf8(random(32)).unwrap();
    let secret = ("RERUN_JWT_SECRET", secret.as_str());
    for (settings, expected) in [
        (vec![], "RERUN_JWT_SECRET is not set"),
        (
            vec![secret, ("RERUN_JWT_SECRET_PREVIOUS", "short")],
            "RERUN_JWT_SECRET_PREVIOUS must have at least 32 bytes",
        ),
        (
            vec![secret, ("RERUN_JWT_JWKS_FILE", "x")],
            "RERUN_JWT_JWKS_FILE is given, but RERUN_JWT_ALGORITHM is HS256",
        ),
        (
            vec![secret, ("RERUN_JWT_ALGORITHM", "RS256")],
            "RERUN_JWT_SECRET is given, but RERUN_JWT_ALGORITHM is RS256",
        ),
        (
            vec![secret, ("RERUN_JWT_ALGORITHM", "none")],
            "must be HS256, RS256, ES256 or EdDSA",
        ),
        (
            vec![secret, ("RERUN_JWT_LEEWAY_SECONDS", "3601")],
            "RERUN_JWT_LEEWAY_SECONDS is \"3601\"",
        ),
        (
            vec![secret, ("RERUN_ROLES", "publsh=ADMIN")],
            "`publsh` is none",
        ),
        (
            vec![("RERUN_JWT_ALGORITHM", "EdDSA")],
            "RERUN_JWT_PUBLIC_KEY_FILE or RERUN_JWT_JWKS_FILE",
        ),
    ] {
        let said = refused(folder.path(), "serve", &settings);
        assert!(said.contains(expected), "{settings:?}: {said}");
        assert!(!said.contains(secret.1), "{said}");
    }
}

#[test]
fn the_command_token_knows_only_hs256() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let settings = [
            ("RERUN_JWT_ALGORITHM", algorithm),
            ("RERUN_JWT_JWKS_FILE", "x"),
        ];
        let said = refused(folder.path(), "token", &settings);
        assert!(
            said.contains(&format!("RERUN_JWT_ALGORITHM is {algorithm}")),
            "{said}"
        );
        assert!(said.contains("signs with HS256 alone"), "{said}");
    }
}
