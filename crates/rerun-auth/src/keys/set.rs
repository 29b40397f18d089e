//! Reads public keys from a text.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::Asymmetric;

/// How public keys are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    /// Blocks of PEM (`PUBLIC KEY`; for RSA also `RSA PUBLIC KEY`). Every key counts for every
    /// token.
    Pem,
    /// A JSON web key set. A token names its key by `kid`; it need not when there is only one.
    Jwks,
}

/// Why keys cannot be used. The text never repeats what stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnfitKeys(String);

/// Keys that were read, ready to check signatures with.
pub(crate) struct KeySet {
    all: Arc<[DecodingKey]>,
    /// `None` where keys have no names.
    by_kid: Option<HashMap<String, Arc<[DecodingKey]>>>,
}

impl KeySet {
    /// The most keys without names: each may have to be tried for each token.
    const MAX_PEM_KEYS: usize = 8;

    pub(crate) fn read(
        text: &[u8],
        format: KeyFormat,
        algorithm: Asymmetric,
    ) -> Result<Self, UnfitKeys> {
        match format {
            KeyFormat::Pem => Self::pem(text, algorithm),
            KeyFormat::Jwks => Self::jwks(text, algorithm),
        }
        .map_err(UnfitKeys)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The keys that may have signed a token with this `kid`, or without one. A key that has no
    /// name is not taken for one that a token names.
    pub(crate) fn candidates(&self, kid: Option<&str>) -> Arc<[DecodingKey]> {
        match (&self.by_kid, kid) {
            (Some(by_kid), Some(kid)) => by_kid.get(kid).cloned().unwrap_or_default(),
            (Some(_), None) if self.all.len() != 1 => Arc::default(),
            (Some(_) | None, _) => Arc::clone(&self.all),
        }
    }

    fn pem(text: &[u8], algorithm: Asymmetric) -> Result<Self, String> {
        const BEGIN: &[u8] = b"-----BEGIN ";
        // Messages of the parser could repeat what they did not understand.
        let blocks = pem::parse_many(text)
            .ok()
            .ok_or("a PEM block in it is damaged")?;
        let begun = text
            .windows(BEGIN.len())
            .filter(|part| *part == BEGIN)
            .count();
        if blocks.is_empty() && begun == 0 {
            return Err("it holds no PEM block".to_owned());
        }
        // The parser leaves out a block without an end, as in a file that is just being written.
        if blocks.len() != begun {
            return Err("a PEM block in it has no end".to_owned());
        }
        if blocks.len() > Self::MAX_PEM_KEYS {
            let most = Self::MAX_PEM_KEYS;
            return Err(format!(
                "it holds {} keys, but tokens are tried with at most {most}: keys in a JWKS file \
                 are picked by their `kid`",
                blocks.len()
            ));
        }
        let keys = blocks.iter().zip(1..).map(|(block, number)| {
            pem_key(block, algorithm).map_err(|why| format!("PEM block {number} {why}"))
        });
        Ok(Self {
            all: keys.collect::<Result<_, _>>()?,
            by_kid: None,
        })
    }

    fn jwks(text: &[u8], algorithm: Asymmetric) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Value = serde_json::from_slice(text)
            .map_err(|error| format!("it is no JSON: line {}", error.line()))?;
        // A struct could also be read from an array.
        let set = Some(set).filter(Value::is_object);
        let set: Set = set
            .and_then(|set| serde_json::from_value(set).ok())
            .ok_or("it is no JWKS, which is an object with the list `keys`")?;
        let mut all = Vec::new();
        let mut by_kid = HashMap::new();
        let mut others = Vec::new();
        for (entry, number) in set.keys.into_iter().zip(1..) {
            let wrong = |why: &dyn fmt::Display| format!("key {number} {why}");
            let entry = Some(entry).filter(Value::is_object);
            let entry: Jwk = entry
                .and_then(|entry| serde_json::from_value(entry).ok())
                .ok_or_else(|| wrong(&"is no JSON web key"))?;
            if entry.d.is_some() {
                return Err(wrong(&PRIVATE));
            }
            if let Err(other) = entry.is_for(algorithm) {
                others.push(wrong(&other));
                continue;
            }
            let key = entry.key(algorithm).map_err(|why| wrong(&why))?;
            if let Some(kid) = entry.kid
                && by_kid.insert(kid, Arc::from([key.clone()])).is_some()
            {
                return Err(wrong(&"has the `kid` of another key"));
            }
            all.push(key);
        }
        if all.is_empty() {
            let name = algorithm.name();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!(": {}", others.join(", "))
            };
            return Err(format!("it holds no key for {name}{others}"));
        }
        if all.len() > 1 && by_kid.len() < all.len() {
            let name = algorithm.name();
            return Err(format!("of several keys for {name} one has no `kid`"));
        }
        Ok(Self {
            all: all.into(),
            by_kid: Some(by_kid),
        })
    }
}

/// What counts of a JSON web key. The private parts are there to be found.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

impl Jwk {
    /// Whether it is meant for signatures of the algorithm; else what it is instead. A set may
    /// hold keys for other purposes.
    fn is_for(&self, algorithm: Asymmetric) -> Result<(), &'static str> {
        let (kty, crv) = match algorithm {
            Asymmetric::Rs256 => ("RSA", None),
            Asymmetric::Es256 => ("EC", Some("P-256")),
            Asymmetric::EdDsa => ("OKP", Some("Ed25519")),
        };
        if self.kty != kty {
            return Err("is of another type");
        }
        if crv.is_some() && self.crv.as_deref() != crv {
            return Err("is on another curve");
        }
        if self.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err("is not for signatures");
        }
        let verify = |ops: &Vec<String>| ops.iter().any(|operation| operation == "verify");
        if !self.key_ops.as_ref().is_none_or(verify) {
            return Err("is not to verify with");
        }
        if self.alg.as_ref().is_some_and(|alg| alg != algorithm.name()) {
            return Err("is for another algorithm");
        }
        Ok(())
    }

    fn key(&self, algorithm: Asymmetric) -> Result<DecodingKey, String> {
        let missing = || "lacks a part".to_owned();
        let part = |part: &Option<String>| part.clone().ok_or_else(missing);
        let key = match algorithm {
            Asymmetric::Rs256 => DecodingKey::from_rsa_components(&part(&self.n)?, &part(&self.e)?),
            Asymmetric::Es256 => DecodingKey::from_ec_components(&part(&self.x)?, &part(&self.y)?),
            Asymmetric::EdDsa => DecodingKey::from_ed_components(&part(&self.x)?),
        };
        let key = key.ok().ok_or("is not base64url")?;
        match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let spki = RsaPublicKeyComponents { n, e }.as_der();
                prepared(spki.ok().ok_or("is damaged")?.as_ref(), algorithm)
            }
            // The lengths tell the parts apart.
            DecodingKeyKind::SecretOrDer(point) => match (algorithm, point.len()) {
                (Asymmetric::Es256, 65) | (Asymmetric::EdDsa, 32) => prepared(point, algorithm),
                _ => Err("is damaged".to_owned()),
            },
        }
    }
}

const PRIVATE: &str = "is a private key, which belongs to whoever makes the tokens: the server \
                       takes the public key alone";

fn pem_key(block: &pem::Pem, algorithm: Asymmetric) -> Result<DecodingKey, String> {
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => prepared(block.contents(), algorithm),
        "CERTIFICATE" => Err(
            "is a certificate: take the key out of it with `openssl x509 -pubkey -noout`"
                .to_owned(),
        ),
        tag if tag.ends_with("PRIVATE KEY") => Err(PRIVATE.to_owned()),
        _ => Err("is no public key".to_owned()),
    }
}

/// What a public key is for, told from its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa { bits: usize },
    P256,
    OtherCurve,
    Ed25519,
}

impl Kind {
    fn of(key: &[u8]) -> Option<Self> {
        if let Ok(rsa) = RsaPublicKey::from_der(key) {
            let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(&rsa).n;
            return Some(Self::Rsa {
                bits: bits(&modulus),
            });
        }
        let is = |algorithm: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, key).is_ok()
        };
        if is(&ECDSA_P256_SHA256_FIXED) {
            Some(Self::P256)
        } else if is(&ED25519) {
            Some(Self::Ed25519)
        } else if is(&ECDSA_P384_SHA384_FIXED)
            || is(&ECDSA_P521_SHA512_FIXED)
            || is(&ECDSA_P256K1_SHA256_FIXED)
        {
            Some(Self::OtherCurve)
        } else {
            None
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "an RSA key of {bits} bits"),
            Self::P256 => f.write_str("an EC key on P-256"),
            Self::OtherCurve => f.write_str("an EC key on another curve than P-256"),
            Self::Ed25519 => f.write_str("an Ed25519 key"),
        }
    }
}

/// The length of a number, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let zeros = significant
        .clone()
        .next()
        .map_or(0, |byte| byte.leading_zeros());
    (significant.count() * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

/// Makes a public key, as SPKI, PKCS #1 or a point, ready, if it is one that the algorithm takes
/// and that only its owner can sign for.
fn prepared(key: &[u8], algorithm: Asymmetric) -> Result<DecodingKey, String> {
    let kind = Kind::of(key).ok_or("is damaged, or of a kind that no algorithm here takes")?;
    match (algorithm, kind) {
        (Asymmetric::Rs256, Kind::Rsa { bits: 2048..=8192 }) => Ok(DecodingKey::from_rsa_der(key)),
        (Asymmetric::Rs256, Kind::Rsa { bits }) => Err(format!(
            "has {bits} bits, but RS256 takes RSA keys of 2048 to 8192 bits"
        )),
        (Asymmetric::Es256, Kind::P256) => Ok(DecodingKey::from_ec_der(key)),
        (Asymmetric::EdDsa, Kind::Ed25519) if anybody_signs_for(key) => {
            Err("is a point of small order, for which anybody can sign".to_owned())
        }
        (Asymmetric::EdDsa, Kind::Ed25519) => Ok(DecodingKey::from_ed_der(key)),
        (algorithm, kind) => {
            let takes = match algorithm {
                Asymmetric::Rs256 => "an RSA key",
                Asymmetric::Es256 => "an EC key on P-256",
                Asymmetric::EdDsa => "an Ed25519 key",
            };
            Err(format!("is {kind}, but {} takes {takes}", algorithm.name()))
        }
    }
}

/// Whether an Ed25519 key has small order. The library takes such a key, and then for one message
/// in eight, at least, the neutral element with zero as its signature.
fn anybody_signs_for(key: &[u8]) -> bool {
    let mut forged = [0; 64];
    forged[0] = 1;
    let forgeable = |message: u8| ED25519.verify_sig(key, &[message], &forged).is_ok();
    (0..=u8::MAX).any(forgeable)
}
