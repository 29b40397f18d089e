use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use rerun_core::Timestamp;
use rerun_core::actor::{Person, UserName};
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::Clock;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use rerun_wire::json::Object;

use crate::admitted::Admitted;
use crate::keys::KeySource;

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
    /// The person's name, if the token has it.
    pub user_name: Option<UserName>,
    /// The person's role, not empty.
    pub role_code: String,
}

impl Identity {
    /// The person that the token names, at this address.
    pub(crate) fn admitted_from(self, ip: IpAddr) -> Admitted {
        let Self {
            account_id,
            user_id,
            user_name,
            role_code,
        } = self;
        Admitted {
            account_id,
            person: Person {
                user_id,
                user_name,
                role_code,
                ip: Some(ip),
            },
        }
    }
}

/// A token that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Whom it names.
    pub identity: Identity,
    /// Its `exp`, to the millisecond.
    pub expires_at: Timestamp,
    /// Whole seconds until then; 0 when only the leeway is left.
    pub seconds_left: i64,
}

/// The last millisecond of the year 9999: a date beyond it has no RFC 3339 form.
const LAST_MILLIS: i64 = 253_402_300_799_999;

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
    issuer: Option<String>,
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

/// What a token says, before it is known whether it is to be trusted.
#[derive(Deserialize)]
pub(crate) struct Claims {
    user_id: String,
    account_id: String,
    #[serde(default, deserialize_with = "given")]
    user_name: Option<UserName>,
    role_code: String,
    exp: NumericDate,
    #[serde(default, deserialize_with = "given")]
    nbf: Option<NumericDate>,
    iss: Option<Value>,
    /// Which sign-in the token answers, if it answers one.
    pub(crate) nonce: Option<Value>,
    /// The client that the token was made for, where several may read it.
    pub(crate) azp: Option<Value>,
}

/// A claim that may be absent, but is not `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(claim: D) -> Result<Option<T>, D::Error> {
    T::deserialize(claim).map(Some)
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
        // Left on, a token for some audience would be refused where none is configured.
        validation.validate_aud = rules.audience.is_some();
        validation.required_spec_claims.clear();
        if let Some(audience) = rules.audience {
            validation.set_audience(&[audience]);
            validation.set_required_spec_claims(&["aud"]);
        }
        // The library reads the system's clock and takes a token in the second in which it
        // expires; times are checked here against the clock port.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let leeway_millis = i64::try_from(rules.leeway.as_millis()).unwrap_or(i64::MAX);
        Self {
            keys,
            validation,
            issuer: rules.issuer,
            leeway_millis,
            clock,
        }
    }

    /// Whom a token names, if it is to be trusted.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn verify(&self, token: &str) -> Result<Identity, Untrusted> {
        self.trusted(token).map(|trusted| trusted.identity)
    }

    /// Whom a token names and until when, if it is to be trusted.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn trusted(&self, token: &str) -> Result<Trusted, Untrusted> {
        self.check(self.claims(token)?)
    }

    /// What a token says that is signed with a known key, for the audience that it must have.
    pub(crate) fn claims(&self, token: &str) -> Result<Claims, Untrusted> {
        let malformed = |_: jsonwebtoken::errors::Error| Untrusted("the token is malformed");
        let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(Untrusted("the token demands extensions that are not known"));
        }
        let mut why = Untrusted("no key for the token");
        // `Object`, since a struct alone could also be read from an array.
        for key in &*self.keys.keys(header.kid.as_deref()) {
            match jsonwebtoken::decode::<Object<Claims>>(token, key, &self.validation) {
                Ok(signed) => return Ok(signed.claims.0),
                // Another key may have made it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                    why = Untrusted("the token is not signed with a known key");
                }
                Err(_) => return Err(Untrusted("the token's algorithm or claims are refused")),
            }
        }
        Err(why)
    }

    /// Judges the claims of a token that was signed with a known key.
    pub(crate) fn check(&self, claims: Claims) -> Result<Trusted, Untrusted> {
        // The library would take a list of issuers, too.
        if let Some(issuer) = &self.issuer
            && claims.iss.as_ref().and_then(Value::as_str) != Some(issuer)
        {
            return Err(Untrusted("the token is another issuer's"));
        }
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
        let identity = Identity {
            account_id: AccountId::parse(&claims.account_id)
                .ok_or(Untrusted("the token's account is no UUID"))?,
            user_id: UserId::parse(&claims.user_id)
                .ok_or(Untrusted("the token's user is no UUID"))?,
            user_name: claims.user_name,
            role_code: claims.role_code,
        };
        let until = claims.exp.0.min(LAST_MILLIS);
        Ok(Trusted {
            identity,
            expires_at: Timestamp::from_timestamp_millis(until).unwrap_or_default(),
            seconds_left: until.saturating_sub(now).max(0) / 1_000,
        })
    }
}
