use serde::{Deserialize, Serialize};

/// What a generator call used, as the language model's endpoint reported it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the response.
    pub completion_tokens: u32,
    /// The model that was used.
    pub model: Option<String>,
}

/// Tokens of several generator calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Tokens of the prompts.
    pub prompt_tokens: u64,
    /// Tokens of the responses.
    pub completion_tokens: u64,
}

impl TokenCounts {
    /// Adds what one call used.
    #[must_use]
    pub fn with(self, usage: &Usage) -> Self {
        Self {
            prompt_tokens: self
                .prompt_tokens
                .saturating_add(usage.prompt_tokens.into()),
            completion_tokens: self
                .completion_tokens
                .saturating_add(usage.completion_tokens.into()),
        }
    }

    /// Whether nothing was used.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.prompt_tokens == 0 && self.completion_tokens == 0
    }
}
