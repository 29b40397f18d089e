//! What reruns would change after imports.

use prometheus::{IntCounterVec, Opts, Registry};
use rerun_core::usecases::PreviewedGroup;

pub(super) struct Previews(IntCounterVec);

/// What became of each campaign, in the order of [`numbers`].
const OUTCOMES: [&str; 5] = ["suggested", "repeated", "unchanged", "refused", "failed"];

const fn numbers(previewed: &PreviewedGroup) -> [u32; 5] {
    [
        previewed.suggested,
        previewed.repeated,
        previewed.unchanged,
        previewed.refused,
        previewed.failed,
    ]
}

impl Previews {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let previews = IntCounterVec::new(
            Opts::new(
                "rerun_rerun_previews_total",
                "Campaigns whose rerun was previewed after an import, by the outcome: suggested \
                 (an event was written), repeated (the same was suggested before), unchanged (a \
                 rerun would change nothing), refused (a rerun would be refused), or failed (the \
                 preview is retried).",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(previews.clone()))?;
        // There at zero, so that a rate has a first value.
        for outcome in OUTCOMES {
            previews.with_label_values(&[outcome]);
        }
        Ok(Self(previews))
    }

    pub(super) fn count(&self, previewed: &PreviewedGroup) {
        for (outcome, number) in OUTCOMES.into_iter().zip(numbers(previewed)) {
            self.0.with_label_values(&[outcome]).inc_by(number.into());
        }
    }
}
