//! How two runs of a campaign differ, segment by segment.

use crate::ids::MessageId;
use crate::page::Contents;
use crate::segment::Segment;
use crate::status::wire_enum;

wire_enum! {
    /// How a segment differs between two runs.
    DiffChange {
        /// Only the later run has it.
        Added => "added",
        /// Only the earlier run has it.
        Removed => "removed",
        /// Both have it, with the same content.
        KeptSame => "kept_same",
        /// Both have it, with different content.
        KeptChanged => "kept_changed",
    }
}

/// How many segments differ in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DiffCounts {
    /// [`DiffChange::Added`].
    pub added: i64,
    /// [`DiffChange::Removed`].
    pub removed: i64,
    /// [`DiffChange::KeptSame`].
    pub kept_same: i64,
    /// [`DiffChange::KeptChanged`].
    pub kept_changed: i64,
}

/// Place of a segment in a comparison of two runs, with the numbers of the whole comparison: they are counted
/// for the first page, since that reads both runs, and the other pages repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiffKey {
    /// The store's number of the segment within the campaign.
    pub segment_no: i32,
    /// The numbers of the whole comparison.
    pub counts: DiffCounts,
}

/// One segment in a comparison of two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffItem {
    /// The store's number of the segment within the campaign; orders the items.
    pub segment_no: i32,
    /// The segment, with the customers of the later run, or of the earlier when it was removed.
    pub segment: Segment,
    /// How it differs.
    pub change: DiffChange,
    /// Its message in the earlier run.
    pub from: Option<MessageId>,
    /// Its message in the later run.
    pub to: Option<MessageId>,
}

impl Contents for DiffItem {
    fn bytes(&self) -> usize {
        self.segment.bytes()
    }
}

impl DiffItem {
    /// The segment, of which at least one run has a message. `same_content` tells whether the
    /// contents of both are one: content is compared by identity.
    #[must_use]
    pub const fn new(
        segment_no: i32,
        segment: Segment,
        from: Option<MessageId>,
        to: Option<MessageId>,
        same_content: bool,
    ) -> Self {
        let change = match (from, to) {
            (None, _) => DiffChange::Added,
            (Some(_), None) => DiffChange::Removed,
            (Some(_), Some(_)) if same_content => DiffChange::KeptSame,
            (Some(_), Some(_)) => DiffChange::KeptChanged,
        };
        Self {
            segment_no,
            segment,
            change,
            from,
            to,
        }
    }

    /// Its place in a comparison with these numbers.
    #[must_use]
    pub const fn key(&self, counts: DiffCounts) -> DiffKey {
        DiffKey {
            segment_no: self.segment_no,
            counts,
        }
    }
}

impl DiffCounts {
    /// Counts one more segment.
    #[must_use]
    pub const fn with(mut self, change: DiffChange) -> Self {
        match change {
            DiffChange::Added => self.added += 1,
            DiffChange::Removed => self.removed += 1,
            DiffChange::KeptSame => self.kept_same += 1,
            DiffChange::KeptChanged => self.kept_changed += 1,
        }
        self
    }
}
