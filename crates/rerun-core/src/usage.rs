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

/// What generated content of a campaign used, as far as it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metered {
    /// How many generated contents have a usage.
    pub messages: u64,
    /// What they used.
    pub tokens: TokenCounts,
}

impl Metered {
    /// Adds what one content used.
    #[must_use]
    pub fn with(self, usage: &Usage) -> Self {
        Self {
            messages: self.messages.saturating_add(1),
            tokens: self.tokens.with(usage),
        }
    }

    /// Returns what this many contents use on average, rounded to whole tokens; nothing if no usage
    /// is known.
    #[must_use]
    pub fn mean_of(self, messages: u32) -> TokenCounts {
        let mean = |tokens: u64| {
            let known = u128::from(self.messages);
            let sum = u128::from(messages) * u128::from(tokens) + known / 2;
            u64::try_from(sum.checked_div(known).unwrap_or_default()).unwrap_or(u64::MAX)
        };
        TokenCounts {
            prompt_tokens: mean(self.tokens.prompt_tokens),
            completion_tokens: mean(self.tokens.completion_tokens),
        }
    }
}

/// What a run did not spend because it reused messages: as it was when the run started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// Messages that were neither generated nor reviewed.
    pub messages: u32,
    /// Customers of their segments.
    pub customers: i64,
    /// Tokens of generator calls that were not made: the mean of the campaign's generated contents
    /// for each message.
    pub tokens: TokenCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(prompt_tokens: u64, completion_tokens: u64) -> TokenCounts {
        TokenCounts {
            prompt_tokens,
            completion_tokens,
        }
    }

    #[test]
    fn what_calls_used_adds_up() {
        let used = |prompt_tokens, completion_tokens| Usage {
            prompt_tokens,
            completion_tokens,
            model: None,
        };
        let metered = Metered::default().with(&used(3, 0)).with(&used(4, 5));
        assert_eq!((metered.messages, metered.tokens), (2, tokens(7, 5)));
        assert!(tokens(0, 0).is_zero());
        assert!(!tokens(1, 0).is_zero() && !tokens(0, 1).is_zero());
    }

    #[test]
    fn the_mean_is_rounded_once_for_all_messages() {
        let metered = Metered {
            messages: 3,
            tokens: tokens(10, 100),
        };
        assert_eq!(metered.mean_of(2), tokens(7, 67));
        assert_eq!(metered.mean_of(0), tokens(0, 0));
        assert_eq!(Metered::default().mean_of(5), tokens(0, 0));
        let most = Metered {
            messages: 1,
            tokens: tokens(u64::MAX, 0),
        };
        assert_eq!(most.mean_of(2), tokens(u64::MAX, 0));
    }
}
