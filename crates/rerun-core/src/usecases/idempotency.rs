use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Host;
use crate::actor::Actor;
use crate::error::{Error, Invalid, StoreError};
use crate::ports::{IDEMPOTENCY_WINDOW, IdempotencyKey, IdempotencyStore};
use crate::text;

/// An outcome, and whether it is the kept one of an earlier request with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayable<T> {
    /// The outcome.
    pub outcome: T,
    /// Whether nothing was done, because the key had been used for the same request before.
    pub replayed: bool,
}

impl<T> Replayable<T> {
    pub(super) fn map<U>(self, outcome: impl FnOnce(T) -> U) -> Replayable<U> {
        Replayable {
            outcome: outcome(self.outcome),
            replayed: self.replayed,
        }
    }

    pub(super) fn try_map<U>(
        self,
        outcome: impl FnOnce(T) -> Result<U, StoreError>,
    ) -> Result<Replayable<U>, Error> {
        Ok(Replayable {
            outcome: outcome(self.outcome)?,
            replayed: self.replayed,
        })
    }
}

/// Does what a request asks for, once for each idempotency key of an account. Every use case that
/// writes goes through [`Once::run`].
#[derive(Clone)]
pub(super) struct Once {
    responses: Arc<dyn IdempotencyStore>,
    host: Host,
}

impl Once {
    pub(super) fn new(responses: Arc<dyn IdempotencyStore>, host: &Host) -> Self {
        Self {
            responses,
            host: host.clone(),
        }
    }

    /// Returns the outcome kept under `key`, or else that of `attempt`, which decides on fresh
    /// state and has a store keep the outcome under the key in the transaction that it belongs
    /// to. An attempt whose state moved meanwhile is made again.
    ///
    /// `request` is all that the outcome depends on besides the state of things, with defaults
    /// filled in: another one under the same key is refused.
    pub(super) async fn run<T, F>(
        &self,
        actor: &Actor,
        endpoint: &'static str,
        key: Option<&str>,
        request: &impl Serialize,
        attempt: impl Fn(Option<IdempotencyKey>) -> F,
    ) -> Result<Replayable<T>, Error>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<T, Error>>,
    {
        let key = new_key(endpoint, key, request)?;
        let mut conflicts = 0;
        loop {
            if let Some(kept) = self.kept(actor, key.as_ref()).await? {
                return Ok(kept);
            }
            match attempt(key.clone()).await {
                Ok(outcome) => {
                    return Ok(Replayable {
                        outcome,
                        replayed: false,
                    });
                }
                Err(Error::Store(error)) => self.host.decide_again(error, &mut conflicts).await?,
                // The request that got there first may have been this one's twin.
                Err(refusal) => {
                    let kept = self.kept(actor, key.as_ref()).await?;
                    return kept.ok_or(refusal);
                }
            }
        }
    }

    /// The outcome that the key has had, if it has had one.
    async fn kept<T: DeserializeOwned>(
        &self,
        actor: &Actor,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Replayable<T>>, Error> {
        let Some(key) = key else { return Ok(None) };
        let not_before = self.host.clock.now() - IDEMPOTENCY_WINDOW;
        let kept = self
            .responses
            .find_response(actor.account_id, &key.key, not_before)
            .await?;
        let Some(kept) = kept else { return Ok(None) };
        if kept.endpoint != key.endpoint || kept.fingerprint != key.fingerprint {
            return Err(Error::IdempotencyKeyReused);
        }
        let outcome = serde_json::from_str(&kept.response)
            .map_err(|error| StoreError::corrupt(format!("idempotency_keys: response: {error}")))?;
        Ok(Some(Replayable {
            outcome,
            replayed: true,
        }))
    }
}

/// A request's key with the hash of what it asks for.
fn new_key(
    endpoint: &'static str,
    key: Option<&str>,
    request: &impl Serialize,
) -> Result<Option<IdempotencyKey>, Error> {
    let Some(key) = key else { return Ok(None) };
    text::check("idempotency-key", key)?;
    if key.is_empty() || key.chars().nth(255).is_some() {
        return Err(Invalid::new("`idempotency-key` must have 1 to 255 characters").into());
    }
    let request = serde_json::to_vec(request).map_err(|e| StoreError::Backend(e.into()))?;
    Ok(Some(IdempotencyKey {
        endpoint,
        key: key.to_owned(),
        fingerprint: Sha256::digest(request).into(),
    }))
}
