use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::Timestamp;
use crate::audit::Caller;
use crate::error::{Error, Invalid, StoreError};
use crate::ports::{IDEMPOTENCY_WINDOW, IdempotencyKey, IdempotencyStore, IdempotentResponse};
use crate::text;

/// An outcome, and whether it is the kept one of an earlier request with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// The outcome.
    pub outcome: T,
    /// Whether nothing was done, because the key had been used for the same request before.
    pub replayed: bool,
}

impl<T> Answered<T> {
    pub(super) const fn now(outcome: T) -> Self {
        Self {
            outcome,
            replayed: false,
        }
    }
}

/// A request's key with the hash of what it asks for.
pub(super) fn key(
    endpoint: &'static str,
    key: Option<&str>,
    request: &impl Serialize,
) -> Result<Option<IdempotencyKey>, Error> {
    let Some(key) = key else { return Ok(None) };
    text::check("idempotency-key", key)?;
    if key.is_empty() || key.chars().nth(255).is_some() {
        return Err(Invalid::new("`idempotency-key` must have 1 to 255 characters").into());
    }
    let request = serde_json::to_vec(request).map_err(backend)?;
    Ok(Some(IdempotencyKey {
        endpoint,
        key: key.to_owned(),
        fingerprint: Sha256::digest(request).into(),
    }))
}

/// The response that the key has had, if it has had one.
pub(super) async fn kept<T: DeserializeOwned>(
    store: &Arc<dyn IdempotencyStore>,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<Answered<T>>, Error> {
    let Some(key) = key else { return Ok(None) };
    let not_before = now - IDEMPOTENCY_WINDOW;
    let kept = store
        .find_response(caller.account_id, key.endpoint, &key.key, not_before)
        .await?;
    let Some(kept) = kept else { return Ok(None) };
    if kept.fingerprint != key.fingerprint {
        return Err(Error::IdempotencyKeyReused);
    }
    let outcome = serde_json::from_str(&kept.response).map_err(backend)?;
    Ok(Some(Answered {
        outcome,
        replayed: true,
    }))
}

/// The response to keep.
pub(super) fn keep(
    key: Option<&IdempotencyKey>,
    outcome: &impl Serialize,
) -> Result<Option<IdempotentResponse>, Error> {
    key.map(|key| {
        let response = serde_json::to_string(outcome).map_err(backend)?;
        Ok(IdempotentResponse {
            key: key.clone(),
            response,
        })
    })
    .transpose()
}

fn backend(error: serde_json::Error) -> Error {
    Error::Store(StoreError::Backend(error.into()))
}
