//! Keys of issuers, and tokens whose every byte is the test's own.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaEncoding, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rerun_core::ports::Clock;
use rerun_generate::SystemClock;
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "0193ed20-7b3c-7000-8000-00000000000a";
pub(crate) const USER: &str = "0193ed20-7b3c-7000-8000-00000000000b";
pub(crate) const ISSUER: &str = "https://issuer.example/";
pub(crate) const AUDIENCE: &str = "rerun";

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemClock.now().timestamp()
}

/// What signs.
pub(crate) enum Signer {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Makes a key for the algorithm of this name.
pub(crate) fn signer(algorithm: &str) -> Signer {
    match algorithm {
        "HS256" => Signer::Secret(random(32)),
        "RS256" => Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        "ES256" => Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        "EdDSA" => Signer::Ed(Ed25519KeyPair::generate().unwrap()),
        other => panic!("{other}"),
    }
}

/// Random printable bytes, so that they can be a setting.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).unwrap();
    b64(bytes).into_bytes()
}

/// HMAC with SHA-256.
pub(crate) fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

impl Signer {
    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => mac(secret, message),
            Self::Rsa(_) => self.sign_rsa(&RSA_PKCS1_SHA256, message),
            Self::Ec(key) => {
                let signature = key.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// An RSA signature of another kind.
    pub(crate) fn sign_rsa(&self, kind: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Self::Rsa(key) = self else {
            panic!("no RSA key");
        };
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(kind, &SystemRandom::new(), message, &mut signature)
            .unwrap();
        signature
    }

    /// The token of these texts.
    pub(crate) fn token(&self, header: &str, claims: impl AsRef<[u8]>) -> String {
        self.token_of(header, claims.as_ref())
    }

    fn token_of(&self, header: impl AsRef<[u8]>, claims: &[u8]) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }

    /// As [`Signer::token`], with a header that need not be text.
    pub(crate) fn token_of_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        self.token_of(header, claims)
    }

    /// The public key as SPKI.
    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Secret(_) => panic!("a secret has no public key"),
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// The private key as PKCS #8.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        match self {
            Self::Secret(secret) => secret.clone(),
            Self::Rsa(key) => key.as_der().unwrap().as_ref().to_vec(),
            Self::Ec(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
        }
    }

    /// The public key as a PEM block.
    pub(crate) fn pem(&self) -> String {
        pem("PUBLIC KEY", self.spki())
    }

    /// The public key as an entry of a JWKS, without optional members.
    pub(crate) fn jwk(&self) -> Value {
        match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": b64(secret) }),
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kty": "RSA", "n": b64(public.n), "e": b64(public.e) })
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Self::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key()) })
            }
        }
    }
}

pub(crate) fn pem(tag: &str, der: impl Into<Vec<u8>>) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

/// An object with these members changed; `null` stays a `null`.
pub(crate) fn with(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (name, value) in changes {
        object[*name] = value.clone();
    }
    object
}

pub(crate) fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name);
    object
}

/// Keys that are named `0`, `1` and so on.
pub(crate) fn jwks(signers: &[&Signer]) -> String {
    let keys = signers
        .iter()
        .zip(0..)
        .map(|(signer, number)| with(&signer.jwk(), &[("kid", json!(number.to_string()))]));
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

/// Claims that are all right for an hour.
pub(crate) fn claims() -> Value {
    json!({
        "user_id": USER,
        "account_id": ACCOUNT,
        "role_code": "ADMIN",
        "exp": now() + 3_600,
        "iss": ISSUER,
        "aud": AUDIENCE,
    })
}

/// A good header, naming a key if the server has names for keys.
pub(crate) fn header(algorithm: &str, kid: Option<&str>) -> Value {
    let header = json!({ "alg": algorithm, "typ": "JWT" });
    kid.map_or(header.clone(), |kid| with(&header, &[("kid", json!(kid))]))
}
