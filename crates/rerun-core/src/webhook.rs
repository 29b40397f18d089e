//! Webhooks: where other systems want their events to be sent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::AuditAction;
use crate::ids::{AccountId, CampaignId, WebhookId};
use crate::invalid::Invalid;
use crate::page::{Contents, text_bytes};
use crate::text;
use crate::timestamp::Timestamp;

pub use crate::status::{DisabledReason, WebhookStatus};

/// The number of a webhook's secret: 1, then one more with each rotation. The secret itself is
/// derived from it and is stored nowhere.
pub type SecretNumber = u32;

/// A secret that signs deliveries: `whsec_` and 32 bytes in Base64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the response that shows it and for signing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its account.
    pub account_id: AccountId,
    /// Its id.
    pub id: WebhookId,
    /// Where events are sent.
    pub url: String,
    /// The types of events that it gets, each once; `None` for all.
    pub types: Option<Vec<AuditAction>>,
    /// Only events about this campaign, if there is one.
    pub campaign_id: Option<CampaignId>,
    /// What it is for, in somebody's words.
    pub description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    pub ordered: bool,
    /// Why it gets no events; `None` while it is enabled.
    pub disabled: Option<DisabledReason>,
    /// Since when every attempt has failed; `None` when the last one did not.
    #[serde(with = "crate::timestamp::option")]
    pub failing_since: Option<Timestamp>,
    /// The number of its newest secret.
    pub secret_number: SecretNumber,
    /// Until when the previous secret signs too.
    #[serde(with = "crate::timestamp::option")]
    pub previous_secret_until: Option<Timestamp>,
    /// Goes up with every change that somebody makes, and when it is disabled.
    pub version: i64,
    /// When it was made.
    #[serde(with = "crate::timestamp")]
    pub created_at: Timestamp,
    /// When somebody changed it last, or when it was disabled.
    #[serde(with = "crate::timestamp")]
    pub updated_at: Timestamp,
}

impl Webhook {
    /// The longest description, in characters.
    pub const MAX_DESCRIPTION_LENGTH: usize = 1_000;

    /// The longest URL, in bytes.
    pub const MAX_URL_BYTES: usize = 2_000;

    /// The longest time that a rotation keeps the previous secret, in seconds.
    pub const MAX_KEEP_SECONDS: i64 = 604_800;

    /// How long a rotation keeps the previous secret by default, in seconds.
    pub const DEFAULT_KEEP_SECONDS: i64 = 86_400;

    /// Whether it gets events.
    #[must_use]
    pub const fn status(&self) -> WebhookStatus {
        if self.disabled.is_none() {
            WebhookStatus::Enabled
        } else {
            WebhookStatus::Disabled
        }
    }

    /// Whether it gets events of this type about this campaign.
    #[must_use]
    pub fn wants(&self, event_type: &str, campaign_id: Option<CampaignId>) -> bool {
        let typed = self.types.as_ref().is_none_or(|types| {
            types
                .iter()
                .any(|wanted_type| wanted_type.as_str() == event_type)
        });
        typed
            && self
                .campaign_id
                .is_none_or(|wanted| campaign_id == Some(wanted))
    }

    /// The numbers of the secrets that sign at `now`, newest first.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Vec<SecretNumber> {
        let mut numbers = vec![self.secret_number];
        let previous = self.previous_secret_until.filter(|until| now < *until);
        if previous.is_some() && self.secret_number > 1 {
            numbers.push(self.secret_number - 1);
        }
        numbers
    }

    /// Checks a description: one or more lines, not too long.
    ///
    /// # Errors
    /// [`Invalid`] for one that is too long or has control characters.
    pub fn check_description(description: &str) -> Result<(), Invalid> {
        text::check("description", description)?;
        if description
            .chars()
            .nth(Self::MAX_DESCRIPTION_LENGTH)
            .is_some()
        {
            return Err(Invalid::new(format!(
                "`description` must have at most {} characters",
                Self::MAX_DESCRIPTION_LENGTH
            )));
        }
        Ok(())
    }

    /// Checks what is known of a URL without looking at it: its length.
    ///
    /// # Errors
    /// [`Invalid`] for one that is too long or has control characters.
    pub fn check_url(url: &str) -> Result<(), Invalid> {
        text::check_one_line("url", url)?;
        if url.len() > Self::MAX_URL_BYTES {
            return Err(Invalid::new(format!(
                "`url` must have at most {} bytes",
                Self::MAX_URL_BYTES
            )));
        }
        Ok(())
    }
}

/// A webhook with how far it is. It is what is kept for the key of a request, too: it has the number
/// of a secret, never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookProgress {
    /// The webhook.
    pub webhook: Webhook,
    /// Every event up to this number is delivered or given up, or is not for this webhook.
    /// Replays do not count.
    pub delivered_sequence: i64,
    /// How many events wait to be delivered. More than
    /// [`MOST_PENDING`](crate::delivery::MOST_PENDING) wait in the log and do not count.
    pub pending: u64,
}

impl Contents for WebhookProgress {
    fn bytes(&self) -> usize {
        self.webhook.url.len() + text_bytes(self.webhook.description.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap()
    }

    fn webhook() -> Webhook {
        Webhook {
            account_id: AccountId::new(Uuid::from_u128(1)),
            id: WebhookId::new(Uuid::from_u128(2)),
            url: "https://example.com/hook".into(),
            types: None,
            campaign_id: None,
            description: None,
            ordered: false,
            disabled: None,
            failing_since: None,
            secret_number: 1,
            previous_secret_until: None,
            version: 1,
            created_at: at(),
            updated_at: at(),
        }
    }

    #[test]
    fn it_wants_its_types_and_its_campaign() {
        let (one, other) = (
            CampaignId::new(Uuid::from_u128(3)),
            CampaignId::new(Uuid::from_u128(4)),
        );
        let all = webhook();
        assert!(all.wants("run.failed", None) && all.wants("of.a.later.version", Some(one)));
        let narrow = Webhook {
            types: Some(vec![AuditAction::RunFailed]),
            campaign_id: Some(one),
            ..webhook()
        };
        assert!(narrow.wants("run.failed", Some(one)));
        assert!(!narrow.wants("run.failed", Some(other)));
        assert!(!narrow.wants("run.failed", None));
        assert!(!narrow.wants("run.completed", Some(one)));
    }

    #[test]
    fn a_secret_is_shown_only_where_it_is_asked_for() {
        let secret = WebhookSecret::new("whsec_1");
        assert_eq!(secret.expose(), "whsec_1");
        assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
    }

    #[test]
    fn a_url_and_a_description_are_bounded_and_have_no_control_characters() {
        let url = |bytes: usize| Webhook::check_url(&"u".repeat(bytes));
        assert!(url(2_000).is_ok());
        assert!(url(2_001).is_err() && url(3_000).is_err());
        assert!(Webhook::check_url("https://example.com/\n").is_err());
        let description = |text: &str| Webhook::check_description(text);
        assert!(description(&"ü".repeat(1_000)).is_ok());
        assert!(description(&"ü".repeat(1_001)).is_err());
        assert!(description("a\nb").is_ok());
        assert!(description("a\0b").is_err());
    }

    #[test]
    fn the_secret_before_signs_until_its_time() {
        assert_eq!(webhook().signing(at()), [1]);
        let rotated = Webhook {
            secret_number: 3,
            previous_secret_until: Some(at() + Duration::from_secs(1)),
            ..webhook()
        };
        assert_eq!(rotated.signing(at()), [3, 2]);
        assert_eq!(rotated.signing(at() + Duration::from_secs(1)), [3]);
        let first = Webhook {
            previous_secret_until: Some(at() + Duration::from_secs(1)),
            ..webhook()
        };
        assert_eq!(first.signing(at()), [1]);
    }

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        let shown = format!("{:?}", WebhookSecret::new("whsec_c2VjcmV0"));
        assert_eq!(shown, "WebhookSecret(..)");
    }
}
