//! The statuses of campaigns, runs and messages, with their fixed texts.

/// Declares an enum that travels as fixed strings: on the wire, in the database, in messages.
macro_rules! wire_enum {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The fixed text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::invalid::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::invalid::Invalid::new(format!("`{text}` is none of: {}", known.join(", ")))
                })
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// Where a campaign stands. With a current run it follows from that run's messages, see
    /// [`crate::run::MessageCounts::campaign_status`].
    CampaignStatus {
        /// No current run.
        Draft => "Draft",
        /// Messages of the current run are being generated.
        Processing => "Processing",
        /// Retries are used up for at least one message.
        GenerationFailed => "Generation failed",
        /// At least one message is not approved yet.
        ReadyForReview => "Ready for review",
        /// Every message of the current run is approved.
        ReadyToPublish => "Ready to publish",
        /// Every message of the current run is published.
        Published => "Published",
    }
}

wire_enum! {
    /// Where a run's generation stands.
    RunStatus {
        /// No worker has begun.
        Queued => "Queued",
        /// Messages are being generated.
        Processing => "Processing",
        /// Every message has content.
        Completed => "Completed",
        /// Generation ended and at least one message could not be made.
        Failed => "Failed",
        /// The run was taken back before it was published.
        Cancelled => "Cancelled",
    }
}

impl RunStatus {
    /// Whether the run has come to an end, so that `completed_at` is set.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Processing => false,
        }
    }
}

wire_enum! {
    /// A message's `review_status`.
    ReviewStatus {
        /// A generator is to make it, or is at it.
        Generating => "Generating",
        /// Every attempt to make it failed.
        GenerationFailed => "Generation failed",
        /// It waits for a reviewer, at one approval stage.
        PendingReview => "Pending review",
        /// It has passed every stage.
        Approved => "Approved",
        /// A reviewer refused it.
        Rejected => "Rejected",
        /// It is published.
        Published => "Published",
    }
}

wire_enum! {
    /// Where a message's content comes from.
    Source {
        /// A generator made it.
        Generated => "generated",
        /// It is the approved content of an earlier message.
        Reused => "reused",
        /// A person wrote it.
        Edited => "edited",
        /// A person took the suggested content of an approved message.
        Suggested => "suggested",
    }
}
wire_enum! {
    /// Whether a webhook gets events.
    WebhookStatus {
        /// It gets them.
        Enabled => "enabled",
        /// It gets none until somebody enables it.
        Disabled => "disabled",
    }
}

wire_enum! {
    /// Why a webhook is disabled.
    DisabledReason {
        /// Somebody disabled it.
        Requested => "requested",
        /// The receiver responded with 410.
        Gone => "gone",
        /// Nothing could be delivered for [`crate::delivery::PATIENCE`].
        Failing => "failing",
    }
}
