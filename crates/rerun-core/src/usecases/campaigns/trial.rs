//! Tries a template on a group before it is given to a campaign.

use std::cmp::Reverse;

use super::{Campaigns, check_texts};
use crate::actor::Actor;
use crate::campaign::Template;
use crate::error::{Error, Invalid};
use crate::ids::CustomerGroupId;
use crate::message::Content;
use crate::page::{Contents, MAX_PAGE_BYTES};
use crate::plan::Audience;
use crate::rules::FieldDeclaration;
use crate::segment::{Segment, SegmentBy};
use crate::usecases::naming_valued;

/// A template to try on a group, before there is a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateTrial {
    /// The group; `None` when the given id cannot name one.
    pub customer_group_id: Option<CustomerGroupId>,
    /// The fields that split the group into segments.
    pub segment_by: Vec<FieldDeclaration>,
    /// The template.
    pub template: Template,
    /// How many segments to show, 1 to 20; 5 when not given.
    pub limit: Option<i64>,
    /// Whether fields of `segment_by` that no customer of the group has are allowed.
    pub allow_missing_fields: bool,
}

/// What a template makes of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilledTemplate {
    /// How many segments the group has.
    pub segment_count: u32,
    /// The largest segments with their texts: as many as were asked for, or as fill a page.
    pub items: Vec<FilledSegment>,
}

/// A segment, and what a template makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledSegment {
    /// The segment.
    pub segment: Segment,
    /// The text.
    pub content: Content,
}

impl Contents for FilledSegment {
    fn bytes(&self) -> usize {
        self.segment.bytes() + self.content.bytes()
    }
}

/// How many segments a trial shows.
fn trial_limit(limit: Option<i64>) -> Result<usize, Invalid> {
    let limit = limit.map_or(Some(5), |limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=20).contains(limit))
        .ok_or_else(|| Invalid::new("`limit` must be 1 to 20"))
}

impl Campaigns {
    /// Fills a template for the group's largest segments, with the refusals of
    /// [`Campaigns::create`] and, for a group that is not empty, of a launch. The list ends early
    /// when its texts fill a page. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a segmentation, template or limit that breaks a rule;
    /// [`Error::CustomerGroupNotFound`]; [`Error::UnknownSegmentField`];
    /// [`Error::TooManySegments`]; [`Error::Invalid`] for a value to segment by that is too long
    /// and for a text that becomes too long; [`Error::Store`].
    pub async fn preview_template(
        &self,
        actor: &Actor,
        trial: TemplateTrial,
    ) -> Result<FilledTemplate, Error> {
        let segment_by = SegmentBy::declare(trial.segment_by)?;
        check_texts(&trial.template)?;
        self.templates.check(&trial.template, &segment_by)?;
        let limit = trial_limit(trial.limit)?;
        let group = self.group(actor, trial.customer_group_id).await?;
        if group.customer_count == 0 {
            return Ok(FilledTemplate::default());
        }
        let candidates = self.candidates(&segment_by, &group).await?;
        let audience = Audience {
            group: &group,
            segments: &candidates.segments,
            fields: &candidates.fields,
            allow_missing_fields: trial.allow_missing_fields,
            limit: self.settings.max_segments,
        };
        let checked = audience.check(&segment_by);
        naming_valued(&*self.segments, &group, checked).await?;
        let mut largest = candidates.segments;
        let segment_count = u32::try_from(largest.len()).unwrap_or(u32::MAX);
        largest.sort_by_key(|segment| (Reverse(segment.customer_count), segment.key));
        largest.truncate(limit);
        let keys = largest.iter().map(|segment| segment.key).collect();
        let mut segments = self
            .segments
            .segments(actor.account_id, group.id, &segment_by, keys)
            .await?;
        segments.sort_by_key(|segment| (Reverse(segment.customer_count), segment.key));
        // All of them are filled: a text that becomes too long is refused wherever it is.
        let (mut items, mut bytes) = (Vec::new(), 0);
        for segment in segments {
            let content = self
                .templates
                .fill(&trial.template, &segment_by, &segment.attributes)?;
            let item = FilledSegment { segment, content };
            if bytes < MAX_PAGE_BYTES {
                bytes += item.bytes();
                items.push(item);
            }
        }
        Ok(FilledTemplate {
            segment_count,
            items,
        })
    }
}
