//! What becomes of a campaign's published segments when its rules change, and of later groups.

use std::collections::{BTreeMap, BTreeSet};

use rerun_core::segment::SegmentKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    BLANKS, Counted, Identity, Oracle, SEPARATORS, field, fold, joined, objects, shortest, units,
};

type Attributes = BTreeMap<String, Option<String>>;

/// The key of a segment whose values are these, in the order of the declaration.
#[must_use]
pub fn key(items: &Value, identities: &[Option<Identity>]) -> SegmentKey {
    let items = objects(items);
    let named: BTreeMap<&str, &Option<Identity>> =
        items.iter().map(field).zip(identities).collect();
    let mut bytes = b"rerun.segment.1".to_vec();
    for (name, identity) in named {
        bytes.extend(u64::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
        let Some((kind, text)) = identity else {
            bytes.push(0);
            continue;
        };
        let kinds = ["text", "number", "boolean", "bin"];
        let kind = kinds.iter().position(|known| known == kind).unwrap();
        bytes.push(u8::try_from(kind + 1).unwrap());
        bytes.extend(u64::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    SegmentKey::from_bytes(&Sha256::digest(bytes)).unwrap()
}

/// The text of a new message with these attributes: one of a few, so that some are equal.
#[must_use]
pub fn text_of(attributes: &Attributes) -> String {
    let bytes = attributes
        .values()
        .flatten()
        .flat_map(|value| value.bytes());
    format!("Text {}", bytes.map(usize::from).sum::<usize>() % 3)
}

/// A value of a published segment.
#[derive(Debug, Clone)]
struct Meant {
    kind: &'static str,
    shown: String,
    /// Whether a customer's value that is spelled so was something else to the rules that made it.
    literal: bool,
}

/// A segment that runs of the campaign have.
#[derive(Debug, Clone)]
struct Known {
    attributes: Attributes,
    meant: Vec<Option<Meant>>,
    identities: Vec<Option<Identity>>,
    text: String,
    run: i64,
    customers: i64,
    /// Whether its message is reused for its key.
    stands: bool,
}

/// A campaign whose runs are all published.
#[derive(Debug, Clone)]
pub struct Published {
    items: Value,
    segments: Vec<Known>,
    runs: i64,
}

/// What a change of rules reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How many keys there were.
    pub before: u32,
    /// How many keys there are now.
    pub after: u32,
    /// How many messages and customers each conflict has.
    pub conflicts: BTreeMap<SegmentKey, (usize, i64)>,
}

/// A value that no message to reuse has, its customers, and the approved value that it looks like.
pub type Unseen = (String, i64, Option<String>);

/// What a preview reports about values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// For each field in the order of the declaration how many values there are, and those that are
    /// not seen.
    pub fields: Vec<(u32, Vec<Unseen>)>,
    /// How many new segments would be matched.
    pub needless: u32,
}

/// The keys of messages to reuse that are nearest to a segment, with the fields that differ.
pub type Nearest = BTreeMap<SegmentKey, Vec<String>>;

impl Meant {
    fn new(item: &Value, identity: &Identity, shown: &str) -> Self {
        let shown = shown.to_owned();
        let kind = identity.0;
        let meant = Self {
            kind,
            shown,
            literal: false,
        };
        let again = Oracle(item).value(&meant.customers_text(item));
        let literal = kind != "bin" && again.is_none_or(|(again, _)| again != *identity);
        Self { literal, ..meant }
    }

    /// How a customer would have the value.
    fn customers_text(&self, item: &Value) -> String {
        let decimal = Oracle(item).decimal();
        match self.kind {
            "number" if decimal == ',' => self.shown.replace('.', ","),
            _ => self.shown.clone(),
        }
    }

    /// What it is to these rules.
    fn identity(&self, item: &Value) -> Option<Identity> {
        let rules = Oracle(item);
        if self.kind == "bin" && rules.is_typed() {
            let labels = item["labels"].as_array();
            let stays = labels.is_some_and(|labels| labels.iter().any(|l| *l == *self.shown));
            let kind = if stays { "bin" } else { "text" };
            return Some((kind, self.shown.clone()));
        }
        let text = self.customers_text(item);
        if self.literal {
            Some(rules.typed(text).0)
        } else {
            Some(rules.value(&text)?.0)
        }
    }
}

/// The form of a value in which blanks, case, separators and the spelling of numbers are the same.
fn form(item: &Value, identity: &Identity, shown: &str) -> Identity {
    if identity.0 != "text" {
        return identity.clone();
    }
    let text = joined(shown, BLANKS);
    match units(&text, '.') {
        Some(number) if item["type"] != "number" => ("number", shortest(number)),
        _ if text.chars().all(|c| SEPARATORS.contains(&c)) => ("text", text),
        _ => ("text", joined(&fold(&text), SEPARATORS)),
    }
}

impl Published {
    /// A campaign with these rules, without a run.
    #[must_use]
    pub const fn new(items: Value) -> Self {
        Self {
            items,
            segments: Vec::new(),
            runs: 0,
        }
    }

    fn standing(&self) -> impl Iterator<Item = &Known> {
        self.segments.iter().filter(|segment| segment.stands)
    }

    /// The key of each segment, by their numbers from 1 on.
    #[must_use]
    pub fn keys(&self) -> Vec<SegmentKey> {
        let segments = self.segments.iter();
        segments
            .map(|segment| key(&self.items, &segment.identities))
            .collect()
    }

    /// The text that is reused for the segment with this key.
    #[must_use]
    pub fn reused(&self, wanted: SegmentKey) -> Option<&str> {
        let found = self
            .standing()
            .find(|s| key(&self.items, &s.identities) == wanted);
        found.map(|segment| segment.text.as_str())
    }

    /// Publishes a run for a group with these segments.
    pub fn publish(&mut self, group: &[Counted]) {
        self.runs += 1;
        let mut group = group.to_vec();
        group.sort_by_key(|segment| key(&self.items, &segment.identities));
        let items = objects(&self.items);
        for Counted {
            identities,
            attributes,
            customers,
        } in group
        {
            let run = self.runs;
            let mut standing = self.segments.iter_mut().filter(|segment| segment.stands);
            if let Some(known) = standing.find(|segment| segment.identities == identities) {
                (known.run, known.customers) = (run, customers);
                continue;
            }
            let meant = items.iter().zip(&identities).map(|(item, identity)| {
                let shown = attributes[field(item)].as_deref();
                Some(Meant::new(item, identity.as_ref()?, shown?))
            });
            self.segments.push(Known {
                meant: meant.collect(),
                text: text_of(&attributes),
                attributes,
                identities,
                run,
                customers,
                stands: true,
            });
        }
    }

    /// Changes the rules.
    pub fn change(&mut self, to: Value) -> Change {
        let items = objects(&to);
        let identities: Vec<Vec<Option<Identity>>> = self
            .segments
            .iter()
            .map(|segment| {
                let meant = segment.meant.iter().zip(&items);
                meant
                    .map(|(meant, item)| meant.as_ref()?.identity(item))
                    .collect()
            })
            .collect();
        let mut rivals: BTreeMap<SegmentKey, Vec<usize>> = BTreeMap::new();
        let mut stands = vec![false; self.segments.len()];
        for (place, segment) in self.segments.iter().enumerate() {
            let same = |other: usize| self.segments[other].identities == segment.identities;
            let before =
                (0..stands.len()).find(|other| self.segments[*other].stands && same(*other));
            // One that has lost its place stays behind the other while both have one key.
            let stays_behind = !segment.stands
                && before.is_some_and(|other| identities[other] == identities[place]);
            if !stays_behind {
                let key = key(&to, &identities[place]);
                rivals.entry(key).or_default().push(place);
            }
        }
        let mut conflicts = BTreeMap::new();
        for (key, rivals) in rivals {
            let segments = || rivals.iter().map(|place| &self.segments[*place]);
            let texts: BTreeSet<&str> = segments().map(|s| s.text.as_str()).collect();
            if texts.len() > 1 {
                let customers = segments().map(|s| s.customers).sum();
                conflicts.insert(key, (rivals.len(), customers));
                continue;
            }
            let newest = |place: &&usize| (self.segments[**place].run, std::cmp::Reverse(**place));
            stands[*rivals.iter().max_by_key(newest).unwrap()] = true;
        }
        let distinct = |items: &Value, all: Vec<&Vec<Option<Identity>>>| {
            let keys: BTreeSet<SegmentKey> = all.iter().map(|i| key(items, i)).collect();
            u32::try_from(keys.len()).unwrap()
        };
        let before = self.segments.iter().map(|segment| &segment.identities);
        let change = Change {
            before: distinct(&self.items, before.collect()),
            after: distinct(&to, identities.iter().collect()),
            conflicts,
        };
        for ((segment, identities), stands) in self.segments.iter_mut().zip(identities).zip(stands)
        {
            (segment.identities, segment.stands) = (identities, stands);
        }
        self.items = to;
        change
    }

    /// What a preview reports about the values of a group with these segments.
    #[must_use]
    pub fn report(&self, group: &[Counted]) -> Reported {
        let items = objects(&self.items);
        // For each field, what each unseen value looks like.
        let mut looks: Vec<BTreeMap<Identity, Identity>> = vec![BTreeMap::new(); items.len()];
        let fields = items.iter().enumerate().map(|(place, item)| {
            let mut alike: BTreeMap<Identity, (String, Identity)> = BTreeMap::new();
            let mut approved = BTreeSet::new();
            for known in self.standing() {
                if let Some(identity) = &known.identities[place] {
                    approved.insert(identity.clone());
                    let shown = known.attributes[field(item)].clone().unwrap();
                    let form = form(item, identity, &shown);
                    let seen = (shown, identity.clone());
                    let first = alike.entry(form).or_insert_with(|| seen.clone());
                    if seen < *first {
                        *first = seen;
                    }
                }
            }
            let mut values: BTreeMap<Identity, (String, i64)> = BTreeMap::new();
            for segment in group {
                if let Some(identity) = &segment.identities[place] {
                    let shown = segment.attributes[field(item)].clone().unwrap();
                    let value = values.entry(identity.clone()).or_insert((shown, 0));
                    value.1 += segment.customers;
                }
            }
            let distinct = u32::try_from(values.len()).unwrap();
            values.retain(|identity, _| !approved.contains(identity));
            let unseen = values.into_iter().map(|(identity, (shown, customers))| {
                let like = alike.get(&form(item, &identity, &shown));
                if let Some((_, like)) = like {
                    looks[place].insert(identity, like.clone());
                }
                (shown, customers, like.map(|(shown, _)| shown.clone()))
            });
            let mut unseen: Vec<Unseen> = unseen.collect();
            unseen.sort_by(|(one, customers, looks), (other, more, like)| {
                (more, one, looks).cmp(&(customers, other, like))
            });
            (distinct, unseen)
        });
        let fields = fields.collect();
        let has = |identities: &[Option<Identity>]| {
            self.standing().any(|known| known.identities == identities)
        };
        let needless = group.iter().filter(|segment| {
            let declared: Vec<_> = segment
                .identities
                .iter()
                .zip(&looks)
                .map(|(identity, looks)| {
                    let identity = identity.as_ref()?;
                    Some(looks.get(identity).unwrap_or(identity).clone())
                })
                .collect();
            !has(&segment.identities) && has(&declared)
        });
        Reported {
            needless: u32::try_from(needless.count()).unwrap(),
            fields,
        }
    }

    /// The messages that differ in the fewest fields from a segment that has none to reuse.
    #[must_use]
    pub fn nearest(&self, segment: &Counted) -> Nearest {
        let items = objects(&self.items);
        let differing = self.standing().map(|known| {
            let pairs = known.identities.iter().zip(&segment.identities);
            let differing = pairs.zip(&items).filter(|((one, other), _)| one != other);
            let fields = differing.map(|(_, item)| field(item).to_owned());
            (key(&self.items, &known.identities), fields.collect())
        });
        let mut nearest: Nearest = differing.collect();
        let fewest = nearest.values().map(Vec::len).min().unwrap_or_default();
        nearest.retain(|_, fields| fields.len() == fewest);
        nearest
    }
}
