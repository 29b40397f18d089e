//! Which keys the segments of a campaign have after its value rules changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::ids::{ContentId, MessageId, RunNumber};
use crate::message::Content;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekeyed {
    /// The segment's number in the campaign.
    pub no: i32,
    /// Its key.
    pub key: SegmentKey,
    /// Why it does not stand for its key, if it does not.
    pub displaced: Option<Displaced>,
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

/// What became of the segments of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeying {
    /// How many keys the published segments had.
    pub before: u32,
    /// How many keys they have now.
    pub after: u32,
    /// How many keys different texts have.
    pub conflict_count: u32,
    /// The conflicts of most customers, at most [`Rekeying::MAX_CONFLICTS`].
    pub conflicts: Vec<KeyConflict>,
    /// The segments that change.
    pub segments: Vec<Rekeyed>,
}

/// Decides on the keys of the segments that a campaign's runs have.
#[derive(Debug)]
pub struct Rekey<'a> {
    segment_by: &'a SegmentBy,
    known: Vec<KnownSegment>,
    /// The new key of each.
    keys: Vec<SegmentKey>,
    /// The places in `known` of the segments that may stand for a key, by that key.
    rivals: BTreeMap<SegmentKey, Vec<usize>>,
    /// What those that stay displaced are, by their place.
    displaced: HashMap<usize, Displaced>,
}

impl<'a> Rekey<'a> {
    /// Gives the segments the keys that `segment_by` makes of their values.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless attributes are an object of texts.
    pub fn new(segment_by: &'a SegmentBy, known: Vec<KnownSegment>) -> Result<Self, StoreError> {
        let keys = known
            .iter()
            .map(|segment| segment_by.key_of_attributes(&segment.attributes));
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
                // A message was made for its key since then.
                (Some(Displaced::Conflict), Some(_)) => Some(Displaced::Conflict),
                // Unless it parts from the segment that stands for it.
                (Some(Displaced::Merged), Some(with)) => (with == key).then_some(Displaced::Merged),
            };
            match stays {
                Some(stays) => {
                    displaced.insert(place, stays);
                }
                None => rivals.entry(*key).or_default().push(place),
            }
        }
        Ok(Self {
            segment_by,
            known,
            keys,
            rivals,
            displaced,
        })
    }

    /// Those of the segments that have a message which counts in a conflict: the published ones,
    /// or without any the approved ones.
    fn counting<'s>(&'s self, rivals: &'s [usize]) -> Vec<(&'s KnownSegment, ApprovedMessage)> {
        let approved = || {
            let known = rivals.iter().filter_map(|place| self.known.get(*place));
            known.filter_map(|segment| Some((segment, segment.message?)))
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
        conflicts.truncate(Rekeying::MAX_CONFLICTS);
        let now = self
            .known
            .iter()
            .zip(&self.keys)
            .enumerate()
            .map(|(place, (segment, key))| {
                let displaced = self.displaced.get(&place).copied();
                let changes = (segment.key, segment.displaced) != (*key, displaced);
                changes.then_some(Rekeyed {
                    no: segment.no,
                    key: *key,
                    displaced,
                })
            });
        Ok(Rekeying {
            before: count(before.len()),
            after: count(after.len()),
            conflict_count,
            segments: now.flatten().collect(),
            conflicts,
        })
    }

    fn conflict(
        &self,
        key: SegmentKey,
        counting: &[(&KnownSegment, ApprovedMessage)],
    ) -> Result<KeyConflict, StoreError> {
        let largest = counting.iter().max_by_key(|(segment, message)| {
            (message.customer_count, std::cmp::Reverse(segment.no))
        });
        let attributes = match largest {
            Some((segment, _)) => self.segment_by.attributes_again(&segment.attributes)?,
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
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn by(items: Value) -> SegmentBy {
        SegmentBy::declare(serde_json::from_value(items).unwrap()).unwrap()
    }

    fn content(n: u128) -> ContentId {
        ContentId::new(Uuid::from_u128(n))
    }

    /// A published segment of run 1 of the one field `a`, with the number as its content.
    fn known(no: i32, value: &str, text: u128) -> KnownSegment {
        KnownSegment {
            no,
            key: SegmentKey::of([("a", Some(value))]),
            attributes: Attributes::new([("a", Some(value))]),
            displaced: None,
            message: Some(ApprovedMessage {
                id: MessageId::new(Uuid::from_u128(100 + u128::try_from(no).unwrap())),
                run_number: RunNumber::FIRST,
                content_id: content(text),
                customer_count: i64::from(no),
                published: true,
            }),
        }
    }

    fn decide(segment_by: &SegmentBy, known: &[KnownSegment]) -> Rekeying {
        let rekey = Rekey::new(segment_by, known.to_vec()).unwrap();
        rekey.decide(&HashMap::new()).unwrap()
    }

    /// The segments after a decision.
    fn after(known: &[KnownSegment], rekeying: &Rekeying) -> Vec<KnownSegment> {
        let mut known = known.to_vec();
        for rekeyed in &rekeying.segments {
            let segment = known.iter_mut().find(|segment| segment.no == rekeyed.no);
            let segment = segment.unwrap();
            segment.key = rekeyed.key;
            segment.displaced = rekeyed.displaced;
        }
        known
    }

    fn displaced(known: &[KnownSegment]) -> Vec<Option<Displaced>> {
        known.iter().map(|segment| segment.displaced).collect()
    }

    #[test]
    fn keys_follow_the_rules_and_go_back_with_them() {
        let (plain, folded) = (
            by(json!(["a"])),
            by(json!([{"field": "a", "normalise": ["casefold"]}])),
        );
        let old = [known(1, "DE", 1), known(2, "de", 1), known(3, "FR", 3)];
        let rekeying = decide(&folded, &old);
        assert_eq!((rekeying.before, rekeying.after), (3, 2));
        assert_eq!(rekeying.conflicts, []);
        let new = after(&old, &rekeying);
        assert_eq!(
            displaced(&new),
            [None, Some(Displaced::Merged), None],
            "equal texts are no conflict"
        );
        assert_eq!(new[0].key, new[1].key);
        assert_eq!(new[2].key, SegmentKey::of([("a", Some("fr"))]));
        assert_eq!(decide(&folded, &new).segments, [], "nothing changes twice");
        let back = decide(&plain, &new);
        assert_eq!((back.before, back.after), (2, 3));
        assert_eq!(after(&new, &back), old);
    }

    #[test]
    fn different_texts_under_one_key_are_a_conflict() {
        let (plain, folded) = (
            by(json!(["a"])),
            by(json!([{"field": "a", "normalise": ["casefold"]}])),
        );
        let old = [known(1, "DE", 1), known(2, "de", 2), known(3, "De", 1)];
        let rekeying = decide(&folded, &old);
        assert_eq!((rekeying.before, rekeying.after), (3, 1));
        let [conflict] = &rekeying.conflicts[..] else {
            panic!("{rekeying:?}")
        };
        assert_eq!(conflict.segment.key, SegmentKey::of([("a", Some("de"))]));
        assert_eq!(conflict.segment.attributes.as_json(), r#"{"a":"De"}"#);
        assert_eq!(conflict.segment.customer_count, 6);
        assert_eq!(conflict.messages.len(), 3);
        let new = after(&old, &rekeying);
        assert_eq!(displaced(&new), [Some(Displaced::Conflict); 3]);
        let again = decide(&folded, &new);
        assert_eq!(again.conflicts, rekeying.conflicts, "it is not settled yet");
        assert_eq!(after(&new, &decide(&plain, &new)), old);

        // A message that was made for the key since then stands for it.
        let mut settled = new.clone();
        settled.push(KnownSegment {
            key: new[0].key,
            ..known(4, "DE", 9)
        });
        let again = decide(&folded, &settled);
        assert_eq!((again.conflicts, again.segments), (vec![], vec![]));
    }

    #[test]
    fn texts_are_compared_and_not_their_ids() {
        let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
        let old = vec![known(1, "DE", 1), known(2, "de", 2), known(3, "FR", 3)];
        let rekey = Rekey::new(&folded, old).unwrap();
        assert_eq!(rekey.contents(), [content(1), content(2)]);
        let digest = |body: &str| {
            TextDigest::of(&Content {
                subject: "s".into(),
                body: body.into(),
            })
        };
        let digests = HashMap::from([(content(1), digest("b")), (content(2), digest("b"))]);
        assert_eq!(rekey.decide(&digests).unwrap().conflicts, []);
        assert_ne!(digest("b"), digest("c"));
    }

    #[test]
    fn an_approved_message_gives_way_to_a_published_one() {
        let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
        let mut approved = known(1, "de", 1);
        approved.message.as_mut().unwrap().published = false;
        let old = [approved.clone(), known(2, "DE", 2)];
        let rekeying = decide(&folded, &old);
        assert_eq!((rekeying.before, rekeying.after), (1, 1));
        assert_eq!(rekeying.conflicts, []);
        assert_eq!(
            displaced(&after(&old, &rekeying)),
            [Some(Displaced::Merged), None]
        );
        let mut other = approved.clone();
        other.no = 2;
        other.attributes = Attributes::new([("a", Some("De"))]);
        other.message.as_mut().unwrap().content_id = content(7);
        let rekeying = decide(&folded, &[approved, other]);
        assert_eq!((rekeying.before, rekeying.conflicts.len()), (0, 1));
    }

    #[test]
    fn a_mapped_value_is_shown_as_its_target() {
        let mapped = by(json!([{"field": "a", "values": {"Germany": "DE"}}]));
        let old = [known(1, "DE", 1), known(2, "Germany", 2)];
        let conflict = &decide(&mapped, &old).conflicts[0];
        assert_eq!(conflict.segment.attributes.as_json(), r#"{"a":"DE"}"#);
    }
}
