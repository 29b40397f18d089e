//! Which keys the segments of a campaign have after its value rules changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::ids::{ContentId, MessageId, RunNumber};
use crate::message::Content;
use crate::page::{Contents, MAX_PAGE_BYTES};
use crate::rules::AttributeTypes;
use crate::segment::{Attributes, Segment, SegmentBy, SegmentKey};

/// Why a segment of a campaign is not the one that its key stands for when a rerun is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Displaced {
    /// Another segment with the same key stands for it; their texts are the same.
    Merged,
    /// Segments with different texts have the key, so that nothing is reused for it.
    Conflict,
}

/// The newest message of a segment that a rerun could reuse: a published one if there is one, else
/// one that was approved in a run that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovedMessage {
    /// The message.
    pub id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// Its content.
    pub content_id: ContentId,
    /// How many customers it was for.
    pub customer_count: i64,
    /// Whether it is published.
    pub published: bool,
}

/// A segment that runs of a campaign have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSegment {
    /// Its number in the campaign.
    pub no: i32,
    /// Its key.
    pub key: SegmentKey,
    /// Its values as they were approved.
    pub attributes: Attributes,
    /// What they are; `None` if the campaign's rules made them and did not change since.
    pub types: Option<AttributeTypes>,
    /// Why it does not stand for its key, if it does not.
    pub displaced: Option<Displaced>,
    /// The message that could be reused.
    pub message: Option<ApprovedMessage>,
}

/// What two texts are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextDigest([u8; 32]);

impl TextDigest {
    /// The digest of a content.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        let length = u64::try_from(content.subject.len()).unwrap_or(u64::MAX);
        let hash = Sha256::new()
            .chain_update(length.to_be_bytes())
            .chain_update(&content.subject)
            .chain_update(&content.body);
        Self(hash.finalize().into())
    }
}

/// A segment's new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// The segment's number in the campaign.
    pub no: i32,
    /// Its key.
    pub key: SegmentKey,
    /// Why it does not stand for its key, if it does not.
    pub displaced: Option<Displaced>,
    /// What its values are. It is kept, because the campaign's rules may not say it any more.
    pub types: AttributeTypes,
}

/// A message that a conflict names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictingMessage {
    /// The message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
}

/// Messages that have one key and different texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyConflict {
    /// The segment that they are for, with the customers of all of them.
    pub segment: Segment,
    /// The messages, the newest first.
    pub messages: Vec<ConflictingMessage>,
}

impl Contents for KeyConflict {
    fn bytes(&self) -> usize {
        /// A message in JSON, with its names.
        const MESSAGE: usize = 80;
        self.segment.bytes() + MESSAGE * self.messages.len()
    }
}

/// What became of the segments of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeying {
    /// How many keys the published segments had.
    pub before: u32,
    /// How many keys they have now.
    pub after: u32,
    /// How many keys different texts have.
    pub conflict_count: u32,
    /// The conflicts of most customers, at most [`Rekeying::MAX_CONFLICTS`] and as many as fill a
    /// page.
    pub conflicts: Vec<KeyConflict>,
    /// The segments that change, and those of which the new rules alone would say other types.
    pub segments: Vec<Rekeyed>,
}

type Known<'a> = (&'a KnownSegment, &'a AttributeTypes);

/// Decides on the keys of the segments that a campaign's runs have.
#[derive(Debug)]
pub struct Rekey<'a> {
    segment_by: &'a SegmentBy,
    known: Vec<KnownSegment>,
    /// What the values of each are.
    types: Vec<AttributeTypes>,
    /// The new key of each.
    keys: Vec<SegmentKey>,
    /// The places in `known` of the segments that may stand for a key, by that key.
    rivals: BTreeMap<SegmentKey, Vec<usize>>,
    /// What those that stay displaced are, by their place.
    displaced: HashMap<usize, Displaced>,
}

impl<'a> Rekey<'a> {
    /// Gives the segments of a campaign whose rules are `from` the keys that `to` makes of their
    /// values.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless attributes are an object of texts.
    pub fn new(
        from: &SegmentBy,
        to: &'a SegmentBy,
        known: Vec<KnownSegment>,
    ) -> Result<Self, StoreError> {
        let types = known.iter().map(|segment| match &segment.types {
            Some(types) => Ok(types.clone()),
            None => from.types_of(&segment.attributes, segment.key),
        });
        let types: Vec<AttributeTypes> = types.collect::<Result<_, StoreError>>()?;
        let keys = known
            .iter()
            .zip(&types)
            .map(|(segment, types)| to.key_of_attributes(&segment.attributes, types));
        let keys: Vec<SegmentKey> = keys.collect::<Result<_, _>>()?;
        let standing: HashMap<SegmentKey, SegmentKey> = known
            .iter()
            .zip(&keys)
            .filter(|(segment, _)| segment.displaced.is_none())
            .map(|(segment, key)| (segment.key, *key))
            .collect();
        let mut rivals: BTreeMap<SegmentKey, Vec<usize>> = BTreeMap::new();
        let mut displaced = HashMap::new();
        for (place, (segment, key)) in known.iter().zip(&keys).enumerate() {
            let stays = match (segment.displaced, standing.get(&segment.key)) {
                (None, _) | (Some(_), None) => None,
                // Another segment stands for its key, unless the two part now.
                (Some(displaced), Some(with)) => (with == key).then_some(displaced),
            };
            match stays {
                Some(stays) => {
                    displaced.insert(place, stays);
                }
                None => rivals.entry(*key).or_default().push(place),
            }
        }
        Ok(Self {
            segment_by: to,
            known,
            types,
            keys,
            rivals,
            displaced,
        })
    }

    /// Those of the segments that have a message which counts in a conflict: the published ones,
    /// or without any the approved ones.
    fn counting<'s>(&'s self, rivals: &'s [usize]) -> Vec<(Known<'s>, ApprovedMessage)> {
        let approved = || {
            rivals.iter().filter_map(|place| {
                let (segment, types) = (self.known.get(*place)?, self.types.get(*place)?);
                Some(((segment, types), segment.message?))
            })
        };
        let any_published = approved().any(|(_, message)| message.published);
        approved()
            .filter(|(_, message)| message.published || !any_published)
            .collect()
    }

    /// The contents whose texts decide whether there is a conflict.
    #[must_use]
    pub fn contents(&self) -> Vec<ContentId> {
        let mut contents = HashSet::new();
        for rivals in self.rivals.values().filter(|rivals| rivals.len() > 1) {
            let ids: HashSet<ContentId> = self
                .counting(rivals)
                .iter()
                .map(|(_, message)| message.content_id)
                .collect();
            if ids.len() > 1 {
                contents.extend(ids);
            }
        }
        let mut contents: Vec<ContentId> = contents.into_iter().collect();
        contents.sort_unstable();
        contents
    }

    /// Decides, given the digests of [`Rekey::contents`]. A content without one is like no other.
    ///
    /// # Errors
    /// As [`Rekey::new`].
    pub fn decide(
        mut self,
        digests: &HashMap<ContentId, TextDigest>,
    ) -> Result<Rekeying, StoreError> {
        let mut conflicts = Vec::new();
        let rivals = std::mem::take(&mut self.rivals);
        for (key, rivals) in &rivals {
            let counting = self.counting(rivals);
            let texts: HashSet<(Option<TextDigest>, Option<ContentId>)> = counting
                .iter()
                .map(|(_, message)| match digests.get(&message.content_id) {
                    Some(digest) => (Some(*digest), None),
                    None => (None, Some(message.content_id)),
                })
                .collect();
            if texts.len() > 1 {
                conflicts.push(self.conflict(*key, &counting)?);
                for place in rivals {
                    self.displaced.insert(*place, Displaced::Conflict);
                }
                continue;
            }
            let best = rivals.iter().max_by_key(|place| {
                let segment = self.known.get(**place);
                let message = segment.and_then(|segment| segment.message);
                let no = segment.map_or(i32::MAX, |segment| segment.no);
                (
                    message.map(|message| (message.published, message.run_number)),
                    std::cmp::Reverse(no),
                )
            });
            for place in rivals.iter().filter(|place| Some(*place) != best) {
                self.displaced.insert(*place, Displaced::Merged);
            }
        }
        let published = || {
            let known = self.known.iter().zip(&self.keys);
            known.filter(|(segment, _)| segment.message.is_some_and(|message| message.published))
        };
        let before: HashSet<SegmentKey> = published().map(|(segment, _)| segment.key).collect();
        let after: HashSet<SegmentKey> = published().map(|(_, key)| *key).collect();
        let conflict_count = count(conflicts.len());
        conflicts.sort_by_key(|conflict| {
            let segment = &conflict.segment;
            (std::cmp::Reverse(segment.customer_count), segment.key)
        });
        let mut bytes = 0;
        let listed = conflicts.iter().take(Rekeying::MAX_CONFLICTS);
        let listed = listed.take_while(|conflict| {
            let has_room = bytes < MAX_PAGE_BYTES;
            bytes += conflict.bytes();
            has_room
        });
        let listed = listed.count();
        conflicts.truncate(listed);
        let mut segments = Vec::new();
        let known = self.known.iter().zip(&self.keys).zip(&self.types);
        for (place, ((segment, key), types)) in known.enumerate() {
            let displaced = self.displaced.get(&place).copied();
            let changes = (segment.key, segment.displaced) != (*key, displaced);
            if changes || !self.says(segment, *key, types)? {
                segments.push(Rekeyed {
                    no: segment.no,
                    key: *key,
                    displaced,
                    types: types.clone(),
                });
            }
        }
        Ok(Rekeying {
            before: count(before.len()),
            after: count(after.len()),
            conflict_count,
            segments,
            conflicts,
        })
    }

    /// Whether the types of a segment's values are kept, or the new rules say them.
    fn says(
        &self,
        segment: &KnownSegment,
        key: SegmentKey,
        types: &AttributeTypes,
    ) -> Result<bool, StoreError> {
        if segment.types.is_some() {
            return Ok(true);
        }
        let said = self.segment_by.types_of(&segment.attributes, key)?;
        Ok(said == *types)
    }

    fn conflict(
        &self,
        key: SegmentKey,
        counting: &[(Known<'_>, ApprovedMessage)],
    ) -> Result<KeyConflict, StoreError> {
        let largest = counting.iter().max_by_key(|((segment, _), message)| {
            (message.customer_count, std::cmp::Reverse(segment.no))
        });
        let attributes = match largest {
            Some(((segment, types), _)) => {
                let segment_by = self.segment_by;
                segment_by.attributes_again(&segment.attributes, types)?
            }
            None => Attributes::new([]),
        };
        let mut messages: Vec<ConflictingMessage> = counting
            .iter()
            .map(|(_, message)| ConflictingMessage {
                message_id: message.id,
                run_number: message.run_number,
            })
            .collect();
        messages.sort_by_key(|message| (std::cmp::Reverse(message.run_number), message.message_id));
        messages.truncate(Rekeying::MAX_MESSAGES);
        Ok(KeyConflict {
            segment: Segment {
                key,
                attributes,
                customer_count: counting
                    .iter()
                    .map(|(_, message)| message.customer_count)
                    .sum(),
            },
            messages,
        })
    }
}

impl Rekeying {
    /// The most conflicts that are listed.
    pub const MAX_CONFLICTS: usize = 1_000;
    /// The most messages of a conflict that are listed.
    pub const MAX_MESSAGES: usize = 100;
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
