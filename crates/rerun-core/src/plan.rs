//! The plan of a run: which segments reuse an approved message and which need a new one.
//!
//! Planning is a pure function of what a store read. The plan names what to reuse by id, so that
//! content never travels through the process.

use crate::campaign::Campaign;
use crate::counting::Counting;
use crate::error::{Action, Error, Invalid, StoreError};
use crate::group::CustomerGroup;
use crate::ids::{MessageId, RunNumber};
use crate::message::{ReusedFrom, ReviewStatus, Source};
use crate::missing_field::UnknownSegmentField;
use crate::run::{MessageCounts, Run, SegmentCounts};
use crate::segment::{FieldValues, SegmentBy, SegmentKey};
use crate::status::{CampaignStatus, wire_enum};
use crate::usage::{Metered, Saved};

wire_enum! {
    /// Where a rerun looks for messages to reuse.
    ReuseFrom {
        /// Messages that are published in the current run.
        CurrentRun => "current_run",
        /// Messages that are published in any run of the campaign; the newest wins.
        AnyRun => "any_run",
        /// Messages that are published in any run, or that passed every stage in a run that was
        /// cancelled; the newest wins.
        AnyApproved => "any_approved",
    }
}

impl ReuseFrom {
    /// The review statuses of the messages that may be reused.
    #[must_use]
    pub const fn statuses(self) -> &'static [ReviewStatus] {
        match self {
            Self::CurrentRun | Self::AnyRun => &[ReviewStatus::Published],
            Self::AnyApproved => &[ReviewStatus::Published, ReviewStatus::Approved],
        }
    }
}

/// A message that a store offers for reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseCandidate {
    /// The message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// Its review status: a published message is reused, and with [`ReuseFrom::AnyApproved`] an
    /// approved one. While its campaign is published, an approved message is one of a run that was
    /// cancelled.
    pub status: ReviewStatus,
}

/// A segment of the group that a run is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentCandidate {
    /// The segment.
    pub key: SegmentKey,
    /// Its customers.
    pub customer_count: i64,
    /// The message for the same segment in the runs that the rerun may reuse from, if there is
    /// one; the newest of several.
    pub reusable: Option<ReuseCandidate>,
}

/// A group as a run is planned for it.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// The group.
    pub group: &'a CustomerGroup,
    /// Its segments; with more than `limit`, at least one more.
    pub segments: &'a [SegmentCandidate],
    /// What its customers have in each field of the segmentation, in the order of
    /// [`SegmentBy::sorted`].
    pub fields: &'a [FieldValues],
    /// Whether fields that no customer has are allowed.
    pub allow_missing_fields: bool,
    /// The most segments that a run may have.
    pub limit: u32,
}

impl Audience<'_> {
    /// The fields in the order in which the segmentation lists them.
    fn fields<'a>(
        &self,
        segment_by: &'a SegmentBy,
    ) -> Result<Vec<(&'a String, FieldValues)>, StoreError> {
        let sorted = segment_by.sorted();
        let listed = segment_by.fields().iter().map(|name| {
            let place = sorted.binary_search(&name.as_str()).ok()?;
            Some((name, *self.fields.get(place)?))
        });
        let fields: Option<Vec<_>> = listed.collect();
        fields.ok_or_else(|| {
            StoreError::corrupt(format!(
                "segments by {} fields with the values of {}",
                sorted.len(),
                self.fields.len()
            ))
        })
    }

    /// Checks that some customer has each field of the segmentation, unless the group is empty
    /// or missing fields are meant.
    ///
    /// # Errors
    /// [`Error::UnknownSegmentField`].
    pub fn check_fields(&self, segment_by: &SegmentBy) -> Result<(), Error> {
        if self.allow_missing_fields || self.segments.is_empty() {
            return Ok(());
        }
        let fields = self.fields(segment_by)?;
        let unknown: Vec<String> = fields
            .into_iter()
            .filter(|(_, values)| values.customers == 0)
            .map(|(name, _)| name.clone())
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let group = self.group;
        let unknown = UnknownSegmentField::new(unknown, (group.id, &group.name), &group.fields);
        Err(Error::UnknownSegmentField(Box::new(unknown)))
    }

    /// Checks that a run can have these segments; returns how many there are.
    pub(crate) fn check(&self, segment_by: &SegmentBy) -> Result<u32, Error> {
        if self.segments.is_empty() {
            return Err(Error::EmptyCustomerGroup);
        }
        self.check_fields(segment_by)?;
        let limit = self.limit;
        let fields = self.fields(segment_by)?;
        if let Some((name, _)) = fields.iter().find(|(_, values)| values.too_many) {
            return Err(Error::TooManyValues {
                field: (*name).clone(),
                limit: Counting::most_combinations(limit),
            });
        }
        let total = u32::try_from(self.segments.len())
            .ok()
            .filter(|total| *total <= limit)
            .ok_or(Error::TooManySegments { limit })?;
        if let Some((name, _)) = fields.into_iter().find(|(_, values)| values.too_long) {
            return Err(Error::Invalid(Invalid::new(format!(
                "`segment_by`: some customer's value of `{name}` has more than {} characters; \
                 segment by fields with shorter values",
                SegmentBy::MAX_VALUE_LENGTH
            ))));
        }
        Ok(total)
    }
}

/// A field of the segmentation, with the customers that have no value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCoverage {
    /// The field.
    pub name: String,
    /// How many customers of the group have no value.
    pub customers_without_value: i64,
    /// How many customers have a value that could not be read as the field's type.
    pub unparsed: i64,
}

/// A segment of the group, with the message that it reuses when it is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSegment {
    /// The segment.
    pub key: SegmentKey,
    /// Its customers.
    pub customer_count: i64,
    /// The message whose content it reuses; `None` when the segment is new.
    pub reuses: Option<ReusedFrom>,
}

/// What a run will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// The number that the run takes.
    pub run_number: RunNumber,
    /// The run that is current now and will be archived.
    pub previous_run: Option<RunNumber>,
    /// How many messages of that run will be archived.
    pub archived_messages: u32,
    /// How the segments split.
    pub segments: SegmentCounts,
    /// The customers of all segments.
    pub customer_count: i64,
    /// The fields of the segmentation, in its order.
    pub fields: Vec<FieldCoverage>,
    /// The campaign's status when the run has been generated.
    pub resulting_status: CampaignStatus,
    /// Every segment of the group.
    pub items: Vec<PlannedSegment>,
}

impl RunPlan {
    /// What the run does not spend because it reuses messages, where the campaign's generated
    /// contents used this so far.
    #[must_use]
    pub fn saved(&self, metered: Metered) -> Saved {
        let matched = self.items.iter().filter(|item| item.reuses.is_some());
        Saved {
            messages: self.segments.matched,
            customers: matched.map(|item| item.customer_count).sum(),
            tokens: metered.mean_of(self.segments.matched),
        }
    }

    /// Plans the rerun of a published campaign.
    ///
    /// # Errors
    /// In this order: [`Error::CampaignNotPublished`], [`Error::MessagesNotPublished`],
    /// [`Error::EmptyCustomerGroup`], [`Error::UnknownSegmentField`],
    /// [`Error::TooManySegments`], [`Error::Invalid`] for a value that is too long.
    pub fn rerun(
        campaign: &Campaign,
        current: Option<&Run>,
        reuse_from: ReuseFrom,
        audience: &Audience<'_>,
    ) -> Result<Self, Error> {
        campaign.check_rerun(current)?;
        Self::new(campaign, current, Some(reuse_from), audience)
    }

    /// Plans the first run of a draft, in which every segment is new.
    ///
    /// # Errors
    /// In this order: [`Error::IllegalTransition`], [`Error::EmptyCustomerGroup`],
    /// [`Error::UnknownSegmentField`], [`Error::TooManySegments`], [`Error::Invalid`] for a
    /// value that is too long.
    pub fn launch(campaign: &Campaign, audience: &Audience<'_>) -> Result<Self, Error> {
        campaign.check(Action::Launch)?;
        Self::new(campaign, None, None, audience)
    }

    fn new(
        campaign: &Campaign,
        current: Option<&Run>,
        reuse_from: Option<ReuseFrom>,
        audience: &Audience<'_>,
    ) -> Result<Self, Error> {
        let total = audience.check(&campaign.segment_by)?;
        let current_number = current.map(|run| run.number);
        let reuses = |candidate: &SegmentCandidate| {
            let found = candidate.reusable?;
            let from = reuse_from?;
            let in_scope = match from {
                ReuseFrom::CurrentRun => Some(found.run_number) == current_number,
                ReuseFrom::AnyRun | ReuseFrom::AnyApproved => true,
            };
            (in_scope && from.statuses().contains(&found.status)).then_some(ReusedFrom {
                message_id: found.message_id,
                run_number: found.run_number,
            })
        };
        let mut matched = 0;
        let mut customer_count = 0;
        let items = audience
            .segments
            .iter()
            .map(|candidate| {
                let reuses = reuses(candidate);
                matched += u32::from(reuses.is_some());
                customer_count += candidate.customer_count;
                PlannedSegment {
                    key: candidate.key,
                    customer_count: candidate.customer_count,
                    reuses,
                }
            })
            .collect();
        let new = total - matched;
        let fields = audience.fields(&campaign.segment_by)?;
        Ok(Self {
            run_number: campaign.next_run()?,
            previous_run: current_number,
            archived_messages: current.map_or(0, |run| run.counts.total()),
            segments: SegmentCounts {
                total,
                matched,
                new,
            },
            customer_count,
            fields: fields
                .into_iter()
                .map(|(name, values)| FieldCoverage {
                    name: name.clone(),
                    customers_without_value: customer_count - values.customers,
                    unparsed: values.unparsed,
                })
                .collect(),
            resulting_status: if new == 0 {
                CampaignStatus::ReadyToPublish
            } else {
                CampaignStatus::ReadyForReview
            },
            items,
        })
    }

    /// The counts of the run's messages at its start: matched ones are approved, new ones are
    /// to be generated.
    #[must_use]
    pub fn counts(&self) -> MessageCounts {
        MessageCounts::default()
            .add(
                ReviewStatus::Approved,
                Source::Reused,
                self.segments.matched,
            )
            .add(
                ReviewStatus::Generating,
                Source::Generated,
                self.segments.new,
            )
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::campaign::{ApprovalStages, CampaignParts, Template};
    use crate::ids::{AccountId, CampaignId, CustomerGroupId, UserId};
    use crate::timestamp::Timestamp;

    fn draft(fields: &[&str]) -> Campaign {
        Campaign::from_parts(CampaignParts {
            account_id: AccountId::new(Uuid::nil()),
            id: CampaignId::new(Uuid::nil()),
            name: "c".into(),
            customer_group_id: CustomerGroupId::new(Uuid::nil()),
            segment_by: SegmentBy::new(fields).unwrap(),
            template: Template {
                subject: "s".into(),
                body: "b".into(),
            },
            brief: None,
            approval_stages: ApprovalStages::default(),
            distinct_reviewers: false,
            suggest_reruns: true,
            status: CampaignStatus::Draft,
            current_run: None,
            last_run: None,
            version: 1,
            created_by: UserId::new(Uuid::nil()),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        })
        .unwrap()
    }

    /// Plans a launch by `tier` and `country` of a group with these segments of five customers
    /// each, and these values of country and tier.
    fn plan(
        segments: u32,
        fields: [FieldValues; 2],
        allow_missing_fields: bool,
    ) -> Result<RunPlan, Error> {
        let group = CustomerGroup {
            account_id: AccountId::new(Uuid::nil()),
            id: CustomerGroupId::new(Uuid::nil()),
            name: "Spring".into(),
            customer_count: 5 * i64::from(segments),
            fields: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let candidate = |n: u32| SegmentCandidate {
            key: SegmentKey::of([("country", Some(n.to_string().as_str()))]),
            customer_count: 5,
            reusable: None,
        };
        let segments: Vec<_> = (0..segments).map(candidate).collect();
        let audience = Audience {
            group: &group,
            segments: &segments,
            fields: &fields,
            allow_missing_fields,
            limit: 2,
        };
        RunPlan::launch(&draft(&["tier", "country"]), &audience)
    }

    fn values(customers: i64, too_long: bool) -> FieldValues {
        FieldValues {
            customers,
            too_long,
            ..FieldValues::default()
        }
    }

    #[test]
    fn what_is_wrong_with_a_group_is_told_in_order() {
        let (long, none) = (values(5, true), values(0, false));
        assert!(matches!(
            plan(0, [none, none], false),
            Err(Error::EmptyCustomerGroup)
        ));
        assert!(matches!(
            plan(0, [none, none], true),
            Err(Error::EmptyCustomerGroup)
        ));
        let Err(Error::UnknownSegmentField(unknown)) = plan(3, [long, none], false) else {
            panic!("a field that nobody has comes before the limit");
        };
        assert_eq!(unknown.fields, ["tier"]);
        assert_eq!(unknown.group_name, "Spring");
        let Err(Error::UnknownSegmentField(unknown)) = plan(1, [none, none], false) else {
            panic!("both are missing");
        };
        assert_eq!(unknown.fields, ["tier", "country"]);
        let too_many = plan(3, [long, none], true);
        assert!(matches!(too_many, Err(Error::TooManySegments { limit: 2 })));
        let Err(Error::Invalid(invalid)) = plan(2, [long, none], true) else {
            panic!("a value that is too long is refused");
        };
        assert!(invalid.to_string().contains("`country`"), "{invalid}");
        plan(2, [values(1, false), none], true).unwrap();
        plan(2, [values(1, false), values(10, false)], false).unwrap();
    }

    #[test]
    fn a_plan_tells_who_has_no_value_in_the_order_of_the_segmentation() {
        let plan = plan(2, [values(10, false), values(3, false)], false).unwrap();
        let told: Vec<_> = plan
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.customers_without_value))
            .collect();
        assert_eq!(told, [("tier", 7), ("country", 0)]);
    }

    /// What a store gives for another number of fields is no rule of the caller's.
    #[test]
    fn a_store_that_counts_other_fields_is_corrupt() {
        let group = CustomerGroup {
            account_id: AccountId::new(Uuid::nil()),
            id: CustomerGroupId::new(Uuid::nil()),
            name: "Spring".into(),
            customer_count: 1,
            fields: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let segment = SegmentCandidate {
            key: SegmentKey::of([]),
            customer_count: 1,
            reusable: None,
        };
        let audience = Audience {
            group: &group,
            segments: &[segment],
            fields: &[values(1, false)],
            allow_missing_fields: false,
            limit: 2,
        };
        let planned = RunPlan::launch(&draft(&["tier", "country"]), &audience);
        assert!(matches!(planned, Err(Error::Store(StoreError::Corrupt(_)))));
    }
}
