//! Typed identifiers. Each is a newtype over a UUID, so that one kind cannot stand in for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }

            /// Reads the hyphenated form (36 characters, any case). Every other text is `None`:
            /// it names nothing that could exist.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 36 {
                    return None;
                }
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// The tenant. Everything belongs to exactly one account. The id is your service's own: no account
    /// has to be set up.
    AccountId
);
id!(
    /// A person (or service) that acts in an account.
    UserId
);
id!(
    /// A campaign.
    CampaignId
);
id!(
    /// A customer group.
    CustomerGroupId
);
id!(
    /// A message: the content for one segment in one run.
    MessageId
);
id!(
    /// A piece of content, which never changes once stored.
    ContentId
);
id!(
    /// The unique job of a run (`job_uid`).
    JobId
);
id!(
    /// An entry of the audit log.
    AuditEntryId
);
id!(
    /// A schedule.
    ScheduleId
);
id!(
    /// A lease on a batch of messages to generate, or of events to deliver.
    LeaseId
);
id!(
    /// A webhook.
    WebhookId
);

/// The number of a run within its campaign: from 1 to 2³¹−1, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i32")]
pub struct RunNumber(i32);

impl RunNumber {
    /// The first run of a campaign.
    pub const FIRST: Self = Self(1);

    /// `None` for a number that no run can have.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        i32::try_from(number).ok().filter(|n| *n >= 1).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The number after `last`, or the first one; `None` when 2³¹−1 runs have been.
    #[must_use]
    pub fn after(last: Option<Self>) -> Option<Self> {
        match last {
            None => Some(Self::FIRST),
            Some(Self(n)) => n.checked_add(1).map(Self),
        }
    }
}

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<RunNumber> for i32 {
    fn from(number: RunNumber) -> Self {
        number.0
    }
}

impl TryFrom<i64> for RunNumber {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("{number} is not a run number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let text = "0193ed20-7b3c-7000-8000-00000000002a";
        let id = CampaignId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(CampaignId::parse(&text.to_uppercase()), Some(id));
        for bad in [
            "",
            "x",
            &text[1..],
            &text.replace('-', ""),
            &format!("{{{text}}}"),
            "a\0",
        ] {
            assert_eq!(CampaignId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn run_numbers_are_positive_and_fit_31_bits() {
        for bad in [0, -1, 1 << 31, i64::MAX, i64::MIN] {
            assert_eq!(RunNumber::new(bad), None, "{bad}");
        }
        assert_eq!(
            RunNumber::new((1 << 31) - 1).map(RunNumber::get),
            Some(i32::MAX)
        );
        assert_eq!(RunNumber::after(None), Some(RunNumber::FIRST));
        assert_eq!(RunNumber::after(RunNumber::new(i32::MAX.into())), None);
    }
}
