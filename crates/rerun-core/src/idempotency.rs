//! Requests that carry an idempotency key, and the responses that are kept for them.

use serde::Serialize;

use crate::error::StoreError;

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the key was given to. The key belongs to the account: at another endpoint it is
    /// refused.
    pub endpoint: &'static str,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// Hash of the request: another one under the same key is refused.
    pub fingerprint: [u8; 32],
}

impl IdempotencyKey {
    /// The response to keep for a request that came to `outcome`.
    ///
    /// # Errors
    /// [`StoreError::Backend`] for an outcome that cannot be written as JSON, or is longer than
    /// [`IdempotentResponse::MAX_BYTES`].
    pub fn answered(&self, outcome: &impl Serialize) -> Result<IdempotentResponse, StoreError> {
        let response =
            serde_json::to_string(outcome).map_err(|error| StoreError::Backend(error.into()))?;
        if response.len() > IdempotentResponse::MAX_BYTES {
            return Err(StoreError::Backend(
                "the response is too long to be kept".into(),
            ));
        }
        Ok(IdempotentResponse {
            key: self.clone(),
            response,
        })
    }
}

/// A response to keep under its key, in the transaction that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentResponse {
    /// The key.
    pub key: IdempotencyKey,
    /// The outcome as JSON. It holds ids, numbers and names, never texts of messages or values of
    /// customers.
    pub response: String,
}

impl IdempotentResponse {
    /// The longest response in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_of_more_than_16_kib_is_not_kept() {
        let key = IdempotencyKey {
            endpoint: "here",
            key: "k".into(),
            fingerprint: [0; 32],
        };
        // As JSON it has quotes.
        let longest = "x".repeat(16 * 1024 - 2);
        let kept = key.answered(&longest).unwrap();
        assert_eq!(
            (kept.key, kept.response),
            (key.clone(), format!("\"{longest}\""))
        );
        assert!(key.answered(&"x".repeat(16 * 1024 - 1)).is_err());
        assert!(key.answered(&"x".repeat(16 * 1024)).is_err());
    }
}
