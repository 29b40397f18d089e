//! The keys that signatures of tokens are checked with.

mod file;
mod set;

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};

pub use file::{KeyFile, KeyFileError};
pub(crate) use set::KeySet;
pub use set::{KeyFormat, UnfitKeys};

use crate::weak::{MIN_SECRET_BYTES, WeakSetting};

/// Where the keys come from that signatures are checked with.
///
/// An implementation may change its keys while the server runs. Which algorithm a key is for is
/// the verifier's to say.
pub trait KeySource: Send + Sync {
    /// The keys of which one may have signed a token that names this `kid`, or none; empty when
    /// there is no such key.
    fn keys(&self, kid: Option<&str>) -> Arc<[DecodingKey]>;
}

/// An algorithm with public keys. Only who has the private key can make tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asymmetric {
    /// RSA of 2048 to 8192 bits, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on the curve P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Asymmetric {
    /// Each of them.
    pub(crate) const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name that it has in the `alg` of a token.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl From<Asymmetric> for Algorithm {
    fn from(algorithm: Asymmetric) -> Self {
        match algorithm {
            Asymmetric::Rs256 => Self::RS256,
            Asymmetric::Es256 => Self::ES256,
            Asymmetric::EdDsa => Self::EdDSA,
        }
    }
}

/// Shared secrets of HS256, whatever `kid` a token names: one, or two during a rotation.
#[derive(Clone)]
pub struct StaticKey(Arc<[DecodingKey]>);

impl StaticKey {
    /// The shortest secret, in bytes: the length of the signature that it makes.
    pub const MIN_SECRET_BYTES: usize = MIN_SECRET_BYTES;

    /// The one secret that counts.
    ///
    /// # Errors
    /// [`WeakSetting::ShortSecret`].
    pub fn secret(secret: &SecretString) -> Result<Self, WeakSetting> {
        Self::secrets([secret])
    }

    /// Secrets that all count.
    ///
    /// # Errors
    /// [`WeakSetting::ShortSecret`].
    pub fn secrets<'a>(
        secrets: impl IntoIterator<Item = &'a SecretString>,
    ) -> Result<Self, WeakSetting> {
        let key = |secret: &SecretString| {
            let secret = secret.expose_secret().as_bytes();
            if secret.len() < Self::MIN_SECRET_BYTES {
                return Err(WeakSetting::ShortSecret {
                    bytes: secret.len(),
                });
            }
            Ok(DecodingKey::from_secret(secret))
        };
        secrets
            .into_iter()
            .map(key)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey")
    }
}

impl KeySource for StaticKey {
    fn keys(&self, _: Option<&str>) -> Arc<[DecodingKey]> {
        Arc::clone(&self.0)
    }
}
