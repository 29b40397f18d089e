//! What reruns did not spend because they reused messages.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use rerun_core::generation::Saved;

pub(super) struct Reused {
    messages: IntCounter,
    customers: IntCounter,
    tokens: IntCounterVec,
}

impl Reused {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let reused = Self {
            messages: IntCounter::new(
                "rerun_reuse_messages_total",
                "Messages that reruns reused, so that they were neither generated nor reviewed.",
            )?,
            customers: IntCounter::new(
                "rerun_reuse_customers_total",
                "Customers in the segments of the messages that reruns reused.",
            )?,
            tokens: IntCounterVec::new(
                Opts::new(
                    "rerun_reuse_tokens_total",
                    "Tokens that reruns saved because they reused messages: for each reused \
                     message, the mean tokens of a generated message of its campaign.",
                ),
                &["kind"],
            )?,
        };
        registry.register(Box::new(reused.messages.clone()))?;
        registry.register(Box::new(reused.customers.clone()))?;
        registry.register(Box::new(reused.tokens.clone()))?;
        // There at zero, so that a rate has a first value.
        reused.count(Saved::default());
        Ok(reused)
    }

    pub(super) fn count(&self, saved: Saved) {
        self.messages.inc_by(saved.messages.into());
        let customers = u64::try_from(saved.customers).unwrap_or_default();
        self.customers.inc_by(customers);
        for (kind, tokens) in [
            ("prompt", saved.tokens.prompt_tokens),
            ("completion", saved.tokens.completion_tokens),
        ] {
            self.tokens.with_label_values(&[kind]).inc_by(tokens);
        }
    }
}
