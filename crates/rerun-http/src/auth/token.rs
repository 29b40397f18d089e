use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

use super::WeakSetting;
use crate::extract::Object;

/// Why a token is not trusted: for the log, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(pub &'static str);

/// Whom a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account_id: AccountId,
    /// The person.
    pub user_id: UserId,
    /// The person's role, not empty.
    pub role_code: String,
}

/// Where the keys come from that signatures are checked with.
///
/// An implementation may change its keys while the server runs. Which algorithm a key is for is
/// the verifier's to say.
pub trait KeySource: Send + Sync {
    /// The key that a token names by its `kid`, or the only key for a token that names none.
    fn key(&self, kid: Option<&str>) -> Option<Arc<DecodingKey>>;
}

/// One key, whatever `kid` a token names.
#[derive(Clone)]
pub struct StaticKey(Arc<DecodingKey>);

impl StaticKey {
    /// The shortest secret, in bytes: the length of the signature that it makes.
    pub const MIN_SECRET_BYTES: usize = 32;

    /// The shared secret of HS256.
    ///
    /// # Errors
    /// [`WeakSetting::ShortSecret`].
    pub fn secret(secret: &SecretString) -> Result<Self, WeakSetting> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < Self::MIN_SECRET_BYTES {
            return Err(WeakSetting::ShortSecret {
                bytes: secret.len(),
            });
        }
        Ok(Self(Arc::new(DecodingKey::from_secret(secret))))
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey")
    }
}

impl KeySource for StaticKey {
    fn key(&self, _: Option<&str>) -> Option<Arc<DecodingKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// What a token must say besides whom it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// The `iss` that it must have; any when `None`.
    pub issuer: Option<String>,
    /// The `aud` that it must have, or have among others; any when `None`.
    pub audience: Option<String>,
    /// How far the clocks of issuer and server may be apart, in whole milliseconds.
    pub leeway: Duration,
}

/// Decides which tokens to trust.
pub struct TokenVerifier {
    keys: Arc<dyn KeySource>,
    validation: Validation,
    leeway_millis: i64,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("algorithms", &self.validation.algorithms)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    user_id: String,
    account_id: String,
    role_code: String,
    exp: NumericDate,
    nbf: Option<NumericDate>,
}

/// Milliseconds since 1970, from the seconds of a claim, which may have a fraction. What lies
/// beyond what an integer holds is as far away as one can say.
struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(seconds) = number.as_i64() {
            return Ok(Self(seconds.saturating_mul(1_000)));
        }
        let seconds = number
            .as_f64()
            .ok_or_else(|| de::Error::custom("no number of seconds"))?;
        let millis = match Duration::try_from_secs_f64(seconds) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) if seconds > 0.0 => i64::MAX,
            Err(_) => i64::MIN,
        };
        Ok(Self(millis))
    }
}

impl TokenVerifier {
    /// Trusts tokens that are signed with `algorithm` by a key of `keys`, whatever algorithm a
    /// token names itself.
    #[must_use]
    pub fn new(
        keys: Arc<dyn KeySource>,
        algorithm: Algorithm,
        rules: TokenRules,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut validation = Validation::new(algorithm);
        let mut required = Vec::new();
        if let Some(issuer) = rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        // Left on, a token for some audience would be refused where none is configured.
        validation.validate_aud = rules.audience.is_some();
        if let Some(audience) = rules.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        // The library reads the system's clock and takes a token in the second in which it
        // expires; times are checked here against the clock port.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let leeway_millis = i64::try_from(rules.leeway.as_millis()).unwrap_or(i64::MAX);
        Self {
            keys,
            validation,
            leeway_millis,
            clock,
        }
    }

    /// Whom a token names, if it is to be trusted.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn verify(&self, token: &str) -> Result<Identity, Untrusted> {
        let distrust = |why| move |_: jsonwebtoken::errors::Error| Untrusted(why);
        let header =
            jsonwebtoken::decode_header(token).map_err(distrust("the token is malformed"))?;
        if header.crit.is_some() {
            return Err(Untrusted("the token demands extensions that are not known"));
        }
        let key = self
            .keys
            .key(header.kid.as_deref())
            .ok_or(Untrusted("no key for the token"))?;
        let Object(claims) = jsonwebtoken::decode::<Object<Claims>>(token, &key, &self.validation)
            .map_err(distrust("the token's signature or claims are refused"))?
            .claims;
        let now = self.clock.now().timestamp_millis();
        if claims.exp.0.saturating_add(self.leeway_millis) <= now {
            return Err(Untrusted("the token has expired"));
        }
        if claims
            .nbf
            .is_some_and(|nbf| nbf.0 > now.saturating_add(self.leeway_millis))
        {
            return Err(Untrusted("the token is not valid yet"));
        }
        if claims.role_code.is_empty() || claims.role_code.contains('\0') {
            return Err(Untrusted("the token's role is none"));
        }
        Ok(Identity {
            account_id: AccountId::parse(&claims.account_id)
                .ok_or(Untrusted("the token's account is no UUID"))?,
            user_id: UserId::parse(&claims.user_id)
                .ok_or(Untrusted("the token's user is no UUID"))?,
            role_code: claims.role_code,
        })
    }
}
