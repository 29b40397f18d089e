//! What a browser keeps while its user is at the provider.

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rerun_core::Timestamp;
use subtle::ConstantTimeEq as _;

/// A sign-in that was begun and is not finished yet.
///
/// The browser keeps it in a cookie: a random secret, and the second at which it ends. What the
/// provider and the address line get to see are hashes of that cookie, each with a label of its own.
/// So nothing is stored here, every server of an installation can finish what another one began, and
/// an answer that another browser asked for does not fit.
pub struct Attempt {
    cookie: String,
}

impl Attempt {
    /// How long somebody may take to sign in at the provider.
    pub(crate) const SECONDS: i64 = 600;
    const SECRET_BYTES: usize = 32;

    /// Begins a sign-in.
    pub(super) fn begin(now: Timestamp) -> Result<Self, Unspecified> {
        let mut secret = [0; Self::SECRET_BYTES];
        rand::fill(&mut secret)?;
        let until = now.timestamp().saturating_add(Self::SECONDS);
        Ok(Self {
            cookie: format!("{until}.{}", URL_SAFE_NO_PAD.encode(secret)),
        })
    }

    /// Returns the sign-in of this cookie, if it has not ended and an answer with this `state` is
    /// meant for it.
    pub(super) fn resume(cookie: &str, state: &str, now: Timestamp) -> Option<Self> {
        let attempt = Self {
            cookie: cookie.to_owned(),
        };
        let (until, _) = cookie.split_once('.')?;
        let until: i64 = until.parse().ok()?;
        let fits: bool = attempt.state().as_bytes().ct_eq(state.as_bytes()).into();
        (fits && until > now.timestamp()).then_some(attempt)
    }

    /// The value of the cookie.
    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// What the provider gives back beside its code.
    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    /// What the ID token must repeat.
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What only who began the sign-in can show with the code.
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// What the provider compares the verifier with.
    pub(super) fn challenge(&self) -> String {
        s256(&self.verifier())
    }

    /// 43 characters out of the cookie. Who knows one learns nothing of the cookie or of another.
    fn derived(&self, label: &str) -> String {
        let mut hash = Context::new(&SHA256);
        hash.update(label.as_bytes());
        hash.update(b"\0");
        hash.update(self.cookie.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finish())
    }
}

/// The method S256 of RFC 7636.
fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_timestamp_millis(1_795_424_400_000).unwrap()
    }

    #[test]
    fn an_attempt_is_resumed_by_its_own_state_until_it_ends() {
        let attempt = Attempt::begin(now()).unwrap();
        let (cookie, state) = (attempt.cookie(), attempt.state());
        let at = |seconds: i64| now() + std::time::Duration::from_secs(seconds.unsigned_abs());
        let resumed = |cookie: &str, state: &str, seconds: i64| {
            Attempt::resume(cookie, state, at(seconds)).is_some()
        };
        assert!(resumed(cookie, &state, 0) && resumed(cookie, &state, Attempt::SECONDS - 1));
        assert!(!resumed(cookie, &state, Attempt::SECONDS));
        let other = Attempt::begin(now()).unwrap();
        assert!(!resumed(cookie, &other.state(), 0) && !resumed(other.cookie(), &state, 0));
        for wrong in ["", "x", &state[1..], &attempt.nonce(), &attempt.verifier()] {
            assert!(!resumed(cookie, wrong, 0), "{wrong}");
        }
        // A cookie that is made to last longer is another one.
        let (_, secret) = cookie.split_once('.').unwrap();
        for wrong in [
            format!("99999999999.{secret}"),
            secret.to_owned(),
            "x.y".into(),
        ] {
            assert!(!resumed(&wrong, &state, 0), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_others_see_is_the_secret_or_like_another() {
        let attempt = Attempt::begin(now()).unwrap();
        let (_, secret) = attempt.cookie().split_once('.').unwrap();
        let shown = [
            attempt.state(),
            attempt.nonce(),
            attempt.challenge(),
            attempt.verifier(),
        ];
        for (number, one) in shown.iter().enumerate() {
            assert_eq!(one.len(), 43);
            assert!(one != secret && !shown[..number].contains(one), "{one}");
        }
    }

    /// The example of RFC 7636, appendix B.
    #[test]
    fn a_challenge_is_the_hash_of_the_verifier() {
        assert_eq!(
            s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
