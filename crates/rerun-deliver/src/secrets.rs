//! Secrets of webhooks, derived from one setting.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rerun_core::error::Invalid;
use rerun_core::ids::{AccountId, WebhookId};
use rerun_core::ports::WebhookSecrets;
use rerun_core::webhook::{SecretNumber, WebhookSecret};
use secrecy::{ExposeSecret, SecretString};

/// What a webhook's secret starts with, by Standard Webhooks.
pub(crate) const PREFIX: &str = "whsec_";

/// Sets what is derived here apart from what anything else derives from the same secret.
const SALT: &[u8] = b"rerun webhook secret, version 1";

/// Derives each webhook's secret from the secret of the installation, so that none is stored: a copy
/// of the database signs nothing.
#[derive(Clone)]
pub struct DerivedSecrets {
    secret: Option<SecretString>,
}

impl fmt::Debug for DerivedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedSecrets(..)")
    }
}

impl DerivedSecrets {
    /// The least length of the installation's secret, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// From the secret of the installation. Without one, nothing can be derived.
    #[must_use]
    pub const fn new(secret: Option<SecretString>) -> Self {
        Self { secret }
    }

    /// Whether there is a secret to derive from.
    #[must_use]
    pub const fn can_sign(&self) -> bool {
        self.secret.is_some()
    }
}

impl WebhookSecrets for DerivedSecrets {
    fn secret(
        &self,
        account: AccountId,
        webhook: WebhookId,
        number: SecretNumber,
    ) -> Result<WebhookSecret, Invalid> {
        let Some(secret) = &self.secret else {
            return Err(Invalid::new(
                "webhooks need a secret of the installation, and this one has none: its operator \
                 can set RERUN_WEBHOOK_SECRET",
            ));
        };
        let (account, webhook) = (account.as_uuid(), webhook.as_uuid());
        let number = number.to_be_bytes();
        // Each has a fixed length, so that no two webhooks have the same parts together.
        let parts: [&[u8]; 3] = [account.as_bytes(), webhook.as_bytes(), &number];
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(secret.expose_secret().as_bytes());
        let mut derived = [0; 32];
        let filled = extracted
            .expand(&parts, HKDF_SHA256)
            .and_then(|output| output.fill(&mut derived));
        match filled {
            Ok(()) => {
                let encoded = BASE64_STANDARD.encode(derived);
                Ok(WebhookSecret::new(format!("{PREFIX}{encoded}")))
            }
            Err(unspecified) => Err(Invalid::new(format!(
                "the webhook's secret could not be derived: {unspecified}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn derived(secret: &str, account: u128, webhook: u128, number: u32) -> String {
        let secrets = DerivedSecrets::new(Some(secret.into()));
        let account = AccountId::new(Uuid::from_u128(account));
        let webhook = WebhookId::new(Uuid::from_u128(webhook));
        let secret = secrets.secret(account, webhook, number).unwrap();
        secret.expose().to_owned()
    }

    const SECRET: &str = "a secret of thirty-two bytes or more";

    /// Computed with Python's `hmac`. Every receiver has such secrets: they must never change.
    #[test]
    fn a_secret_stays_the_same_in_every_version() {
        assert_eq!(
            derived(SECRET, 1, 2, 1),
            "whsec_i8rUn74e9gF+fHeqkRKiC8c9ObXw9doAxALKNtoH0/I="
        );
        assert_eq!(
            derived(SECRET, 1, 2, 2),
            "whsec_WrZfPdG8PPdNB0kopgx/h/mqCdggoHLNknDDzw8lLX0="
        );
    }

    #[test]
    fn every_part_counts() {
        let mut all: Vec<String> = vec![
            derived(SECRET, 1, 2, 1),
            derived(SECRET, 1, 2, 2),
            derived(SECRET, 1, 3, 1),
            derived(SECRET, 2, 2, 1),
            derived(SECRET, 2, 1, 1),
            derived("another secret of thirty-two bytes or more", 1, 2, 1),
        ];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        for secret in all {
            let encoded = secret.strip_prefix(PREFIX).unwrap();
            assert_eq!(BASE64_STANDARD.decode(encoded).unwrap().len(), 32);
        }
    }

    #[test]
    fn without_a_secret_the_setting_is_named() {
        let (account, webhook) = (AccountId::new(Uuid::nil()), WebhookId::new(Uuid::nil()));
        let refused = DerivedSecrets::new(None).secret(account, webhook, 1);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("RERUN_WEBHOOK_SECRET"), "{refused}");
    }

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        let shown = format!("{:?}", DerivedSecrets::new(Some(SECRET.into())));
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
