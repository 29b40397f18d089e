//! The headers of a delivery: those of Standard Webhooks and of `CloudEvents`.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rerun_core::Timestamp;
use rerun_core::delivery::Parcel;
use rerun_core::feed::PublicEvent;
use rerun_core::timestamp;
use rerun_core::webhook::WebhookSecret;

use crate::secrets::PREFIX;

/// Signs a delivery with each secret: the value of `webhook-signature`.
#[must_use]
pub fn sign(id: &str, seconds: i64, body: &[u8], secrets: &[WebhookSecret]) -> String {
    let signature = |secret: &WebhookSecret| {
        let key = secret.expose();
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        // Every secret that is derived can be decoded; another one is a key as it stands.
        let key = BASE64_STANDARD
            .decode(key)
            .unwrap_or_else(|_not_base64| key.into());
        let mut signed = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, &key));
        signed.update(format!("{id}.{seconds}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    };
    let signatures: Vec<String> = secrets.iter().map(signature).collect();
    signatures.join(" ")
}

/// The headers of `CloudEvents` in its binary mode, with their names in lower case. They are the same on
/// every way on which an event leaves.
#[must_use]
pub fn cloud_event(event: &PublicEvent) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", event.id.to_string()),
        ("ce-source", format!("/rerun/accounts/{}", event.account_id)),
        ("ce-type", event.event_type.clone()),
        ("ce-time", timestamp::format(event.timestamp)),
        // Texts of 19 digits sort as their numbers do.
        ("ce-sequence", format!("{:019}", event.sequence)),
    ];
    if let Some(campaign) = event.campaign_id() {
        headers.push(("ce-subject", format!("campaigns/{campaign}")));
    }
    headers
}

/// All headers that an attempt at `at` has because of its event.
#[must_use]
pub fn headers(
    parcel: &Parcel,
    body: &[u8],
    at: Timestamp,
    secrets: &[WebhookSecret],
) -> Vec<(&'static str, String)> {
    let (id, seconds) = (parcel.event.id.to_string(), at.timestamp());
    let signature = sign(&id, seconds, body, secrets);
    let mut headers = cloud_event(&parcel.event);
    headers.extend([
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
    ]);
    headers
}
