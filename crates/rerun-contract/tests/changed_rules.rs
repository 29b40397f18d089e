//! Rules that change, again and again, in the domain alone.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};
use proptest::sample::select;
use rerun_contract::oracle::{
    Counted, Published, Raw, Reported, VALUES, counted, declaration, key, text_of,
};
use rerun_core::counting::Counting;
use rerun_core::ids::{ContentId, MessageId, RunNumber};
use rerun_core::message::Content;
use rerun_core::nearest::{Nearest, Reusable};
use rerun_core::rekeying::{ApprovedMessage, KnownSegment, Rekey, TextDigest};
use rerun_core::segment::{Attributes, KeptValues, Segment, SegmentBy, SegmentKey};
use rerun_core::survey::Survey;
use serde_json::Value;
use uuid::Uuid;

fn declared(items: &Value) -> SegmentBy {
    SegmentBy::declare(serde_json::from_value(items.clone()).unwrap()).unwrap()
}

/// A campaign as the domain sees it.
struct Campaign {
    rules: SegmentBy,
    known: Vec<KnownSegment>,
    contents: HashMap<ContentId, Content>,
    /// The segments of each run with their keys at that time, and its rules.
    runs: Vec<(SegmentBy, Vec<(usize, SegmentKey)>)>,
}

fn values(segment: &KnownSegment) -> KeptValues {
    KeptValues {
        key: segment.key,
        attributes: segment.attributes.clone(),
        types: segment.types.clone(),
        own: None,
    }
}

impl Campaign {
    fn new(rules: SegmentBy) -> Self {
        Self {
            rules,
            known: Vec::new(),
            contents: HashMap::new(),
            runs: Vec::new(),
        }
    }

    /// Counts a group's segments, which must be those of the oracle.
    fn segments(&self, rows: &[Vec<Raw>], expected: &[Counted], items: &Value) -> Vec<Segment> {
        let mut counting = Counting::new(&self.rules, 1_000);
        for row in rows {
            counting.add(row.iter().map(|(_, n)| (!n.is_empty()).then_some(*n)), 1);
        }
        let segments = counting.finish().segments;
        let found = segments.iter().map(|segment| {
            let attributes = segment.attributes.to_map().unwrap();
            (segment.key, (attributes, segment.customer_count))
        });
        let expected = expected.iter().map(|segment| {
            let shown = (segment.attributes.clone(), segment.customers);
            (key(items, &segment.identities), shown)
        });
        assert_eq!(
            found.collect::<BTreeMap<_, _>>(),
            expected.collect::<BTreeMap<_, _>>(),
            "{items}"
        );
        segments
    }

    fn publish(&mut self, segments: &[Segment]) {
        let number = i64::try_from(self.runs.len() + 1).unwrap();
        let run_number = RunNumber::new(number).unwrap();
        let mut run = Vec::new();
        for segment in segments {
            let mut known = self.known.iter();
            let place =
                known.position(|known| known.displaced.is_none() && known.key == segment.key);
            let place = place.unwrap_or(self.known.len());
            if place == self.known.len() {
                let no = u128::try_from(place).unwrap();
                let content_id = ContentId::new(Uuid::from_u128(no));
                let body = text_of(&segment.attributes.to_map().unwrap());
                let subject = "s".into();
                self.contents.insert(content_id, Content { subject, body });
                self.known.push(KnownSegment {
                    no: i32::try_from(place + 1).unwrap(),
                    key: segment.key,
                    attributes: segment.attributes.clone(),
                    types: None,
                    displaced: None,
                    message: Some(ApprovedMessage {
                        id: MessageId::new(Uuid::from_u128(no)),
                        run_number,
                        content_id,
                        customer_count: 0,
                        published: true,
                    }),
                });
            }
            let message = self.known[place].message.as_mut().unwrap();
            (message.run_number, message.customer_count) = (run_number, segment.customer_count);
            run.push((place, segment.key));
        }
        self.runs.push((self.rules.clone(), run));
    }

    fn change(&mut self, items: &Value, oracle: &mut Published) {
        let rules = declared(items);
        let rekey = Rekey::new(&self.rules, &rules, self.known.clone()).unwrap();
        let digests = rekey.contents().into_iter();
        let digests = digests.map(|id| (id, TextDigest::of(&self.contents[&id])));
        let rekeying = rekey.decide(&digests.collect()).unwrap();
        let expected = oracle.change(items.clone());
        let conflicts = rekeying.conflicts.iter().map(|conflict| {
            let segment = &conflict.segment;
            (
                segment.key,
                (conflict.messages.len(), segment.customer_count),
            )
        });
        assert_eq!(conflicts.collect::<BTreeMap<_, _>>(), expected.conflicts);
        assert_eq!(
            (rekeying.before, rekeying.after),
            (expected.before, expected.after)
        );
        for rekeyed in rekeying.segments {
            let known = self.known.iter_mut().find(|known| known.no == rekeyed.no);
            let known = known.unwrap();
            known.key = rekeyed.key;
            known.displaced = rekeyed.displaced;
            known.types = Some(rekeyed.types);
        }
        self.rules = rules;
        let keys: Vec<SegmentKey> = self.known.iter().map(|known| known.key).collect();
        assert_eq!(keys, oracle.keys(), "{items}");
        for known in &self.known {
            let message = known.message.unwrap();
            let reused = oracle.reused(known.key);
            let text = self.contents[&message.content_id].body.as_str();
            assert!(
                known.displaced.is_some() || reused == Some(text),
                "{known:?}"
            );
            let stands = self.known.iter();
            let mut stands = stands.filter(|other| other.displaced.is_none());
            assert_eq!(stands.any(|other| other.key == known.key), reused.is_some());
        }
        let again = Rekey::new(&self.rules, &self.rules, self.known.clone()).unwrap();
        let digests = again.contents().into_iter();
        let digests = digests.map(|id| (id, TextDigest::of(&self.contents[&id])));
        let again = again.decide(&digests.collect()).unwrap();
        assert_eq!(again.segments, [], "the same rules change nothing: {items}");
        // Customers of a run find the messages that its rules gave them.
        for (rules, run) in &self.runs {
            for (place, key) in run {
                let known = &self.known[*place];
                let types = match &known.types {
                    Some(types) => types.clone(),
                    None => rules.types_of(&known.attributes, known.key).unwrap(),
                };
                let now = rules.key_of_attributes(&known.attributes, &types).unwrap();
                assert_eq!(now, *key, "{:?} of a run by {rules:?}", known.attributes);
            }
        }
    }

    fn standing(&self) -> impl Iterator<Item = &KnownSegment> {
        self.known.iter().filter(|known| known.displaced.is_none())
    }

    /// The order in which segments come must make no difference.
    fn compare(&self, segments: &[Segment], group: &[Counted], items: &Value, oracle: &Published) {
        let forwards: Vec<&KnownSegment> = self.standing().collect();
        let backwards = forwards.iter().rev().copied().collect();
        for reusable in [forwards, backwards] {
            let mut survey = Survey::new(&self.rules);
            let mut nearest = Nearest::new(&self.rules);
            for known in &reusable {
                let segment = values(known);
                survey.add_reusable(segment.values()).unwrap();
                let message = known.message.unwrap();
                let reusable = Reusable {
                    message_id: message.id,
                    run_number: message.run_number,
                    customer_count: message.customer_count,
                    segment: &segment,
                    content: &self.contents[&message.content_id],
                };
                assert!(nearest.add_reusable(reusable).unwrap());
            }
            for segment in segments {
                survey.add_segment(segment).unwrap();
            }
            let report = survey.finish();
            let fields = report.fields.into_iter().map(|field| {
                let unseen = field.unseen_values.into_iter();
                let unseen = unseen.map(|u| (u.value, u.customers, u.looks_like));
                (field.distinct, unseen.collect())
            });
            let reported = Reported {
                fields: fields.collect(),
                needless: report.needless,
            };
            assert_eq!(reported, oracle.report(group), "{items}");

            let new = segments
                .iter()
                .filter(|segment| oracle.reused(segment.key).is_none());
            let new: Vec<(SegmentKey, &Attributes)> = new
                .map(|segment| (segment.key, &segment.attributes))
                .collect();
            let found = nearest.suggest(new.iter().copied()).unwrap();
            for (new, _) in new {
                let mut counted = group.iter();
                let counted = counted.find(|c| key(items, &c.identities) == new).unwrap();
                let expected = oracle.nearest(counted);
                let Some(suggestion) = found.get(&new) else {
                    assert_eq!(expected, BTreeMap::new());
                    continue;
                };
                let mut standing = self.standing();
                let from = standing.find(|s| s.message.unwrap().id == suggestion.message_id);
                let differs = suggestion
                    .differs
                    .iter()
                    .map(|differs| differs.field.clone());
                assert_eq!(
                    Some(&differs.collect()),
                    expected.get(&from.unwrap().key),
                    "{items}: {suggestion:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Values are counted, published, given other rules some times, and met again.
    #[test]
    fn rules_change_as_the_oracle_says(
        first in declaration(),
        groups in vec((vec(vec(select(VALUES), 2), 1..16), vec(declaration(), 0..4)), 1..4),
    ) {
        let mut campaign = Campaign::new(declared(&first));
        let mut oracle = Published::new(first.clone());
        let mut items = first.clone();
        for (rows, changes) in groups {
            let group = counted(&items, &rows);
            let segments = campaign.segments(&rows, &group, &items);
            campaign.compare(&segments, &group, &items, &oracle);
            campaign.publish(&segments);
            oracle.publish(&group);
            for to in changes.into_iter().chain([first.clone()]) {
                campaign.change(&to, &mut oracle);
                items = to;
            }
        }
    }
}
