//! Files of public keys: which are taken, and what happens when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaPublicKeyComponents,
};
use rerun_auth::{Asymmetric, KeyFile, KeyFormat, KeySource, TokenRules, TokenVerifier};
use rerun_generate::SystemClock;
use serde_json::{Value, json};

use crate::kit::{Signer, b64, claims, header, jwks, pem, signer, with, without};

const ALGORITHMS: [Asymmetric; 3] = [Asymmetric::Rs256, Asymmetric::Es256, Asymmetric::EdDsa];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path(), text).unwrap();
    }

    fn open(&self, format: KeyFormat, algorithm: Asymmetric) -> Result<KeyFile, String> {
        let opened = KeyFile::open(&self.path(), format, algorithm);
        opened.map_err(|error| error.to_string())
    }
}

/// Why this text is no file of keys.
fn refusal(text: impl AsRef<[u8]>, format: KeyFormat, algorithm: Asymmetric) -> String {
    let folder = Folder::new();
    folder.write(text);
    folder.open(format, algorithm).map(drop).unwrap_err()
}

/// Checks tokens with the keys of a file, at which it looks each time.
struct Verifier(TokenVerifier);

impl Verifier {
    fn new(file: KeyFile, algorithm: Asymmetric) -> Self {
        Self(TokenVerifier::new(
            Arc::new(file.looking_every(Duration::ZERO)),
            algorithm.into(),
            TokenRules::default(),
            Arc::new(SystemClock),
        ))
    }

    fn trusts(&self, signer: &Signer, kid: Option<&str>) -> bool {
        let header = header(signer.algorithm(), kid).to_string();
        self.0
            .verify(&signer.token(&header, claims().to_string()))
            .is_ok()
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// An RSA public key of this length, of which nobody knows the private one.
fn rsa_of(bits: usize) -> (Vec<u8>, Value) {
    let mut n = vec![0xa5; bits / 8];
    n[0] |= 0x80;
    let e = vec![1, 0, 1];
    let jwk = json!({ "kty": "RSA", "n": b64(&n), "e": b64(&e) });
    let spki = RsaPublicKeyComponents { n, e }.as_der().unwrap();
    (spki.as_ref().to_vec(), jwk)
}

#[test]
fn every_pem_block_is_a_key_whatever_kid_a_token_names() {
    for algorithm in ALGORITHMS {
        let [one, two, other] = [(); 3].map(|()| signer(algorithm.name()));
        let folder = Folder::new();
        // Text between the blocks is a comment.
        folder.write(format!(
            "old\r\n{}new\n{}",
            one.pem(),
            two.pem().replace("\r\n", "\n")
        ));
        let verifier = Verifier::new(folder.open(KeyFormat::Pem, algorithm).unwrap(), algorithm);
        for kid in [None, Some("any")] {
            assert!(verifier.trusts(&one, kid) && verifier.trusts(&two, kid));
            assert!(!verifier.trusts(&other, kid));
        }
    }
}

#[test]
fn pkcs_1_is_a_form_of_rsa_keys() {
    let one = signer("RS256");
    let Signer::Rsa(key) = &one else {
        panic!("no RSA key");
    };
    let folder = Folder::new();
    folder.write(pem("RSA PUBLIC KEY", key.public_key().as_ref()));
    let algorithm = Asymmetric::Rs256;
    let verifier = Verifier::new(folder.open(KeyFormat::Pem, algorithm).unwrap(), algorithm);
    assert!(verifier.trusts(&one, None));
}

#[test]
fn a_key_of_a_set_is_picked_by_its_name() {
    for algorithm in ALGORITHMS {
        let [one, two] = [(); 2].map(|()| signer(algorithm.name()));
        let folder = Folder::new();
        folder.write(jwks(&[&one, &two]));
        let verifier = Verifier::new(folder.open(KeyFormat::Jwks, algorithm).unwrap(), algorithm);
        assert!(verifier.trusts(&one, Some("0")) && verifier.trusts(&two, Some("1")));
        for kid in [None, Some("1"), Some("2"), Some("")] {
            assert!(!verifier.trusts(&one, kid), "{kid:?}");
        }
    }
}

#[test]
fn the_only_key_of_a_set_needs_no_name() {
    let algorithm = Asymmetric::Es256;
    let one = signer("ES256");
    let folder = Folder::new();
    for (key, kid, trusted) in [
        (one.jwk(), None, true),
        (one.jwk(), Some("0"), false),
        (with(&one.jwk(), &[("kid", json!("0"))]), None, true),
        (with(&one.jwk(), &[("kid", json!("0"))]), Some("0"), true),
        (with(&one.jwk(), &[("kid", json!("0"))]), Some("1"), false),
    ] {
        // Keys that are for something else do not count.
        let others = [
            signer("RS256").jwk(),
            with(&signer("ES256").jwk(), &[("use", json!("enc"))]),
        ];
        folder.write(set(&[&[key.clone()][..], &others].concat()));
        let verifier = Verifier::new(folder.open(KeyFormat::Jwks, algorithm).unwrap(), algorithm);
        assert_eq!(verifier.trusts(&one, kid), trusted, "{key} {kid:?}");
    }
}

#[test]
fn keys_of_a_set_for_other_purposes_are_left_out() {
    for algorithm in ALGORITHMS {
        let name = algorithm.name();
        let (key, good) = (signer(name), signer(name));
        let named = with(&key.jwk(), &[("kid", json!("0"))]);
        let accepted = [
            with(&named, &[("use", json!("sig")), ("alg", json!(name))]),
            with(&named, &[("key_ops", json!(["verify"]))]),
            with(&named, &[("x5c", json!(["ignored"]))]),
        ];
        let mut left_out = vec![
            with(&named, &[("use", json!("enc"))]),
            with(&named, &[("use", json!("SIG"))]),
            with(&named, &[("use", json!(""))]),
            with(&named, &[("key_ops", json!(["encrypt"]))]),
            with(&named, &[("key_ops", json!([]))]),
            with(&named, &[("alg", json!("HS256"))]),
            with(&named, &[("alg", json!("none"))]),
            with(&named, &[("alg", json!("RS512"))]),
            with(&named, &[("alg", json!(name.to_lowercase()))]),
            with(
                &named,
                &[("kty", json!("oct")), ("k", json!(b64(key.spki())))],
            ),
            with(&named, &[("kty", json!("AKP"))]),
        ];
        if algorithm != Asymmetric::Rs256 {
            left_out.push(with(&named, &[("crv", json!("P-384"))]));
            left_out.push(without(&named, "crv"));
        }
        let good = with(&good.jwk(), &[("kid", json!("good"))]);
        let trusts = |entry: &Value| {
            let folder = Folder::new();
            folder.write(set(&[entry.clone(), good.clone()]));
            let file = folder.open(KeyFormat::Jwks, algorithm).unwrap();
            Verifier::new(file, algorithm).trusts(&key, Some("0"))
        };
        for entry in &accepted {
            assert!(trusts(entry), "{entry}");
        }
        for entry in &left_out {
            assert!(!trusts(entry), "{entry}");
            let said = refusal(set(std::slice::from_ref(entry)), KeyFormat::Jwks, algorithm);
            assert!(
                said.contains(&format!("no key for {name}: key 1 is")),
                "{entry}: {said}"
            );
        }
    }
}

#[test]
fn a_set_whose_keys_cannot_be_told_apart_is_refused() {
    let [one, two] = [(); 2].map(|()| signer("EdDSA").jwk());
    let named = |key: &Value| with(key, &[("kid", json!("k"))]);
    for (keys, expected) in [
        (
            vec![one.clone(), two.clone()],
            "of several keys for EdDSA one has no `kid`",
        ),
        (vec![named(&one), two.clone()], "one has no `kid`"),
        (
            vec![named(&one), named(&two)],
            "key 2 has the `kid` of another key",
        ),
    ] {
        let said = refusal(set(&keys), KeyFormat::Jwks, Asymmetric::EdDsa);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn weak_keys_are_refused() {
    for (bits, good) in [
        (1024, false),
        (2040, false),
        (2048, true),
        (8192, true),
        (8200, false),
    ] {
        let (spki, jwk) = rsa_of(bits);
        let folder = Folder::new();
        for (text, format) in [
            (pem("PUBLIC KEY", spki), KeyFormat::Pem),
            (set(&[jwk]), KeyFormat::Jwks),
        ] {
            folder.write(text);
            let opened = folder.open(format, Asymmetric::Rs256);
            assert_eq!(opened.is_ok(), good, "{bits} {opened:?}");
            if let Err(said) = opened {
                assert!(said.contains(&format!("has {bits} bits")), "{said}");
                assert!(said.contains("2048 to 8192"), "{said}");
            }
        }
    }
    // Points of order 1, 2, 4 and 8 of Ed25519.
    let order_8 = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut order_2 = [0xff; 32];
    (order_2[0], order_2[31]) = (0xec, 0x7f);
    for point in [neutral, order_2, [0; 32], order_8] {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(point) });
        let said = refusal(set(&[jwk]), KeyFormat::Jwks, Asymmetric::EdDsa);
        assert!(said.contains("small order"), "{point:x?}: {said}");
    }
}

#[test]
fn a_key_of_another_kind_is_named() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let p384 = pem("PUBLIC KEY", p384.public_key().as_der().unwrap().as_ref());
    let [rsa, ec, ed] = ["RS256", "ES256", "EdDSA"].map(|name| signer(name).pem());
    for (text, algorithm, expected) in [
        (
            &rsa,
            Asymmetric::Es256,
            "is an RSA key of 2048 bits, but ES256 takes an EC key on P-256",
        ),
        (
            &rsa,
            Asymmetric::EdDsa,
            "is an RSA key of 2048 bits, but EdDSA takes an Ed25519 key",
        ),
        (
            &ec,
            Asymmetric::Rs256,
            "is an EC key on P-256, but RS256 takes an RSA key",
        ),
        (&ec, Asymmetric::EdDsa, "is an EC key on P-256, but EdDSA"),
        (&ed, Asymmetric::Rs256, "is an Ed25519 key, but RS256"),
        (&ed, Asymmetric::Es256, "is an Ed25519 key, but ES256"),
        (
            &p384,
            Asymmetric::Es256,
            "is an EC key on another curve than P-256, but ES256",
        ),
    ] {
        let said = refusal(text, KeyFormat::Pem, algorithm);
        assert!(said.contains(&format!("PEM block 1 {expected}")), "{said}");
    }
    // One wrong key among good ones is not passed over.
    let said = refusal(format!("{ec}{rsa}"), KeyFormat::Pem, Asymmetric::Es256);
    assert!(said.contains("PEM block 2 is an RSA key"), "{said}");
}

#[test]
fn what_is_no_pem_of_public_keys_is_refused_without_its_text() {
    let key = signer("ES256");
    let public = key.pem();
    let secret = b64(key.pkcs8());
    let private = |tag: &str| pem(tag, key.pkcs8());
    let flat = |pem: &str| pem.replace(['\r', '\n'], "");
    for (text, expected) in [
        (String::new(), "no PEM block"),
        (secret.clone(), "no PEM block"),
        (private("PRIVATE KEY"), "PEM block 1 is a private key"),
        (private("EC PRIVATE KEY"), "is a private key"),
        (private("ENCRYPTED PRIVATE KEY"), "is a private key"),
        (
            format!("{public}{}", private("PRIVATE KEY")),
            "PEM block 2 is a private key",
        ),
        // A private key under the name of a public one.
        (private("PUBLIC KEY"), "is damaged"),
        (
            pem("CERTIFICATE", key.spki()),
            "openssl x509 -pubkey -noout",
        ),
        (pem("X9.42 DH PARAMETERS", key.spki()), "no public key"),
        (pem("PUBLIC KEY", *b""), "is damaged"),
        (pem("PUBLIC KEY", *b"-"), "is damaged"),
        (public[..public.len() - 12].to_owned(), "no end"),
        (format!("{public}{}", &public[..40]), "no end"),
        (
            public.replacen("END PUBLIC", "END PRIVATE", 1),
            "is damaged",
        ),
        (public.replacen('M', "!", 1), "is damaged"),
        (public.repeat(9), "at most 8"),
        (jwks(&[&key]), "no PEM block"),
    ] {
        let said = refusal(&text, KeyFormat::Pem, Asymmetric::Es256);
        assert!(said.contains(expected), "{text}: {said}");
        // Nothing of any length is repeated.
        let body = flat(&private("PRIVATE KEY"));
        let body = body.trim_start_matches(|c| c != '=' && c != 'M');
        assert!(
            !said.contains(&body[..8]) && !said.contains(&secret[..8]),
            "{said}"
        );
    }
    let eight = Folder::new();
    eight.write(public.repeat(8));
    assert!(eight.open(KeyFormat::Pem, Asymmetric::Es256).is_ok());
}

#[test]
fn what_is_no_set_of_public_keys_is_refused_without_its_text() {
    let key = signer("EdDSA");
    let jwk = key.jwk();
    let x = jwk["x"].as_str().unwrap();
    let entry = |changes: &[(&str, Value)]| set(&[with(&jwk, changes)]);
    let ec = signer("ES256").jwk();
    let (lists, objects) = ("[".repeat(300_000), "{\"keys\":".repeat(100_000));
    for (text, algorithm, expected) in [
        (lists.as_str(), Asymmetric::EdDsa, "no JSON: line 1"),
        (&objects, Asymmetric::EdDsa, "no JSON: line 1"),
        ("", Asymmetric::EdDsa, "no JSON: line 1"),
        (
            "{\"keys\":\n[\"hunter2\"",
            Asymmetric::EdDsa,
            "no JSON: line 2",
        ),
        (&key.pem(), Asymmetric::EdDsa, "no JSON"),
        ("[]", Asymmetric::EdDsa, "no JWKS"),
        ("[[]]", Asymmetric::EdDsa, "no JWKS"),
        ("{}", Asymmetric::EdDsa, "no JWKS"),
        (&jwk.to_string(), Asymmetric::EdDsa, "no JWKS"),
        ("{\"keys\":{}}", Asymmetric::EdDsa, "no JWKS"),
        ("{\"keys\":[]}", Asymmetric::EdDsa, "no key for EdDSA"),
        (
            "{\"keys\":[\"hunter2\"]}",
            Asymmetric::EdDsa,
            "key 1 is no JSON web key",
        ),
        (
            "{\"keys\":[{}]}",
            Asymmetric::EdDsa,
            "key 1 is no JSON web key",
        ),
        (
            &entry(&[("kid", json!(7))]),
            Asymmetric::EdDsa,
            "key 1 is no JSON web key",
        ),
        (
            &entry(&[("use", json!(["sig"]))]),
            Asymmetric::EdDsa,
            "key 1 is no JSON web key",
        ),
        (
            &entry(&[("d", json!("hunter2"))]),
            Asymmetric::EdDsa,
            "key 1 is a private key",
        ),
        (
            &set(&[jwk.clone(), json!({ "kty": "RSA", "d": "hunter2" })]),
            Asymmetric::EdDsa,
            "key 2 is a private key",
        ),
        (
            &set(&[without(&jwk, "x")]),
            Asymmetric::EdDsa,
            "lacks a part",
        ),
        (
            &entry(&[("x", Value::Null)]),
            Asymmetric::EdDsa,
            "lacks a part",
        ),
        (
            &entry(&[("x", json!("hunter2!"))]),
            Asymmetric::EdDsa,
            "not base64url",
        ),
        (
            &entry(&[("x", json!(format!("{x}=")))]),
            Asymmetric::EdDsa,
            "not base64url",
        ),
        (
            &entry(&[("x", json!(b64([7; 31])))]),
            Asymmetric::EdDsa,
            "is damaged",
        ),
        (&entry(&[("x", json!(""))]), Asymmetric::EdDsa, "is damaged"),
        (
            &set(&[without(&ec, "y")]),
            Asymmetric::Es256,
            "lacks a part",
        ),
        // Not on the curve.
        (
            &set(&[with(&ec, &[("y", ec["x"].clone())])]),
            Asymmetric::Es256,
            "is damaged",
        ),
        (
            &set(&[with(&ec, &[("x", json!(b64([0; 31])))])]),
            Asymmetric::Es256,
            "is damaged",
        ),
        (
            &set(&[json!({ "kty": "RSA", "n": "", "e": "AQAB" })]),
            Asymmetric::Rs256,
            "is damaged",
        ),
        (
            &set(&[with(&rsa_of(2048).1, &[("e", json!("AQ"))])]),
            Asymmetric::Rs256,
            "is damaged",
        ),
        (
            &set(&[with(&rsa_of(2048).1, &[("e", json!("AA"))])]),
            Asymmetric::Rs256,
            "is damaged",
        ),
    ] {
        let said = refusal(text, KeyFormat::Jwks, algorithm);
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file_of_keys() {
    let es256 = signer("ES256");
    let files = [
        (KeyFormat::Pem, es256.pem()),
        (KeyFormat::Jwks, jwks(&[&es256])),
    ];
    for (format, text) in files {
        let folder = Folder::new();
        folder.write(format!("\u{feff}{text}"));
        let file = folder.open(format, Asymmetric::Es256).unwrap();
        assert!(Verifier::new(file, Asymmetric::Es256).trusts(&es256, None));
        let wide: Vec<u8> = format!("\u{feff}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(
            refusal(wide, format, Asymmetric::Es256),
            "it is in UTF-16, and must be in UTF-8"
        );
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new();
    let open = |path: &Path| {
        let opened = KeyFile::open(path, KeyFormat::Pem, Asymmetric::EdDsa);
        opened.map(drop).unwrap_err().to_string()
    };
    assert!(open(&folder.path()).starts_with("it cannot be read: "));
    assert_eq!(open(folder.0.path()), "it is no file");
    assert_eq!(open(Path::new("/dev/null")), "it is no file");
    folder.write(vec![b'x'; (1 << 20) + 1]);
    assert_eq!(open(&folder.path()), "it has more than 1048576 bytes");
    folder.write(vec![b'x'; 1 << 20]);
    assert_eq!(open(&folder.path()), "it holds no PEM block");
}

#[test]
fn a_changed_file_counts_at_once_and_a_broken_one_not() {
    let algorithm = Asymmetric::EdDsa;
    for format in [KeyFormat::Pem, KeyFormat::Jwks] {
        let [old, new, newest] = [(); 3].map(|()| signer("EdDSA"));
        let text = |signer: &Signer| match format {
            KeyFormat::Pem => signer.pem(),
            KeyFormat::Jwks => jwks(&[signer]),
        };
        let folder = Folder::new();
        folder.write(text(&old));
        let verifier = Verifier::new(folder.open(format, algorithm).unwrap(), algorithm);
        let counts = |signer: &Signer| {
            [&old, &new, &newest].map(|one| verifier.trusts(one, None))
                == [&old, &new, &newest].map(|one| std::ptr::eq(one, signer))
        };
        assert!(counts(&old));

        // Written in place, of the same length, with the times of the file before.
        let times = fs::metadata(folder.path()).unwrap().modified().unwrap();
        folder.write(text(&new));
        let file = fs::File::options().write(true).open(folder.path()).unwrap();
        file.set_modified(times).unwrap();
        assert!(counts(&new));

        for broken in ["", "x", &text(&old)[..60], &pem("PRIVATE KEY", old.pkcs8())] {
            folder.write(broken);
            assert!(counts(&new), "{broken}");
        }
        fs::remove_file(folder.path()).unwrap();
        assert!(counts(&new));
        fs::create_dir(folder.path()).unwrap();
        assert!(counts(&new));
        fs::remove_dir(folder.path()).unwrap();

        // Another file is put in its place, as secrets of a cluster are.
        let next = folder.0.path().join("next");
        fs::write(&next, text(&newest)).unwrap();
        fs::rename(&next, folder.path()).unwrap();
        assert!(counts(&newest));
    }
}

#[test]
fn a_file_is_not_looked_at_before_its_time() {
    let [old, new] = [(); 2].map(|()| signer("EdDSA"));
    let folder = Folder::new();
    folder.write(old.pem());
    let keys = folder.open(KeyFormat::Pem, Asymmetric::EdDsa).unwrap();
    let keys = keys.looking_every(Duration::from_hours(1));
    let before = keys.keys(None);
    folder.write(format!("{}{}", old.pem(), new.pem()));
    assert_eq!(keys.keys(None).len(), 1);
    // Prepared once: the very same keys, not others that are equal.
    assert!(Arc::ptr_eq(&before, &keys.keys(None)));
    let keys = keys.looking_every(Duration::ZERO);
    assert_eq!(keys.keys(None).len(), 2);
}
