//! What rules that change make of values that were published before, and what a later group has in
//! common with them.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rerun_core::campaign::Template;
use rerun_core::ids::{CampaignId, CustomerGroupId, MessageId};
use rerun_core::message::{Content, Message, Source};
use rerun_core::nearest::Suggestion;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{MessageSelection, Store};
use rerun_core::segment::{Attributes, SegmentKey};
use rerun_core::usecases::{
    NewCampaign, PageQuery, Preview, RerunRequest, RunStarted, SegmentationUpdated,
};
use serde_json::{Value, json};

use super::rekeying::{declared, recipients, update};
use crate::fixture::{Fixture, Row, caller, new_campaign};
use crate::oracle::{
    Change, Counted, Published, Raw, Reported, VALUES, counted, declaration, key, text_of,
};

/// A group whose customers have these values of `x` and `y`.
async fn group_of<S: Store + 'static>(f: &Fixture<S>, rows: &[[&str; 2]]) -> CustomerGroupId {
    let group = f.empty_group("Customers").await;
    let refs: Vec<String> = (0..rows.len()).map(|n| format!("C-{n:03}")).collect();
    let rows = refs.iter().zip(rows);
    let rows: Vec<[&str; 3]> = rows.map(|(name, [x, y])| [name.as_str(), x, y]).collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 3]>::as_slice).collect();
    f.import(group, &["customer_ref", "x", "y"], &rows).await;
    group
}

async fn draft<S: Store + 'static>(
    f: &Fixture<S>,
    group: CustomerGroupId,
    rules: &Value,
) -> CampaignId {
    let new = NewCampaign {
        segment_by: declared(rules.clone()),
        allow_missing_fields: true,
        template: Template {
            subject: "Hello".into(),
            body: "To you".into(),
        },
        ..new_campaign(group, &[])
    };
    f.create(new).await
}

fn request(campaign: CampaignId, group: CustomerGroupId) -> RerunRequest {
    RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::AnyRun,
        allow_missing_fields: true,
    }
}

async fn preview<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
) -> Preview {
    let request = request(campaign, group);
    let page = PageQuery::default();
    let preview = f.engine.reruns.preview(&caller(), request, &page).await;
    preview.unwrap()
}

async fn initiate<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
) -> RunStarted {
    let request = request(campaign, group);
    let started = f.engine.reruns.initiate(&caller(), request, None).await;
    started.unwrap().outcome
}

fn shown(attributes: &Attributes) -> BTreeMap<String, Option<String>> {
    attributes.to_map().unwrap()
}

/// Gives new messages the texts of the oracle, and publishes the run.
async fn finish<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId) {
    let leased = f.lease(1_000).await;
    f.settle(&leased, |task| {
        Ok(Content {
            subject: "s".into(),
            body: text_of(&shown(&task.attributes)),
        })
    })
    .await;
    f.approve(campaign).await;
    f.publish(campaign).await;
}

/// The unseen values of each field, and how many values it has.
fn reported(preview: &Preview) -> Reported {
    let fields = preview.fields.iter().map(|field| {
        let unseen = field.values.unseen_values.iter().cloned();
        let unseen = unseen.map(|unseen| (unseen.value, unseen.customers, unseen.looks_like));
        (field.values.distinct, unseen.collect())
    });
    Reported {
        fields: fields.collect(),
        needless: preview.needless,
    }
}

fn changed(updated: &SegmentationUpdated) -> Change {
    let conflicts = updated.conflicts.iter().map(|conflict| {
        let segment = &conflict.segment;
        (
            segment.key,
            (conflict.messages.len(), segment.customer_count),
        )
    });
    Change {
        before: updated.segments_before,
        after: updated.segments_after,
        conflicts: conflicts.collect(),
    }
}

/// A campaign as a store has it beside the one of the oracle.
struct Story<'a, S> {
    f: &'a Fixture<S>,
    campaign: CampaignId,
    rules: Value,
    oracle: Published,
    /// What each run was when it was published, and the message of each customer.
    runs: Vec<(Vec<Message>, Vec<Option<MessageId>>)>,
}

impl<'a, S: Store + 'static> Story<'a, S> {
    async fn begin(f: &'a Fixture<S>, rules: Value, rows: &[Vec<Raw>]) -> Self {
        let group = Self::group(f, rows).await;
        let campaign = draft(f, group, &rules).await;
        f.launch(campaign).await;
        let mut story = Self {
            f,
            campaign,
            oracle: Published::new(rules.clone()),
            rules,
            runs: Vec::new(),
        };
        story.publish(rows).await;
        story
    }

    async fn group(f: &Fixture<S>, rows: &[Vec<Raw>]) -> CustomerGroupId {
        let rows: Vec<[&str; 2]> = rows.iter().map(|row| [row[0].0, row[1].0]).collect();
        group_of(f, &rows).await
    }

    fn counted(&self, rows: &[Vec<Raw>]) -> BTreeMap<SegmentKey, Counted> {
        let counted = counted(&self.rules, rows).into_iter();
        let counted = counted.map(|segment| (key(&self.rules, &segment.identities), segment));
        counted.collect()
    }

    async fn publish(&mut self, rows: &[Vec<Raw>]) {
        finish(self.f, self.campaign).await;
        let group: Vec<Counted> = self.counted(rows).into_values().collect();
        self.oracle.publish(&group);
        let run = i64::try_from(self.runs.len() + 1).unwrap();
        let messages = self.f.of_run(self.campaign, run).await;
        let sent = recipients(self.f, self.campaign, run).await;
        self.runs.push((messages, sent));
        self.check_runs().await;
    }

    /// Each run reads as it did, but for the keys, which are those of the rules of now.
    async fn check_runs(&self) {
        let keys = self.oracle.keys();
        let last = self.runs.len();
        for (place, (before, sent)) in self.runs.iter().enumerate() {
            let number = i64::try_from(place + 1).unwrap();
            let mut messages = self.f.of_run(self.campaign, number).await;
            for (message, before) in messages.iter_mut().zip(before) {
                let no = usize::try_from(message.segment_no).unwrap();
                assert_eq!(message.segment.key, keys[no - 1], "{}", self.rules);
                let as_before = message.clone().with(|message| {
                    message.segment.key = before.segment.key;
                    message.archived_at = before.archived_at;
                });
                *message = as_before.unwrap();
            }
            assert_eq!(&messages, before, "run {number} of {last}: {}", self.rules);
            let now = recipients(self.f, self.campaign, number).await;
            assert_eq!(&now, sent, "run {number} of {last}: {}", self.rules);
        }
    }

    async fn change(&mut self, rules: &Value) {
        let expected = self.oracle.change(rules.clone());
        for dry_run in [true, false] {
            let items = declared(rules.clone());
            let updated = update(self.f, self.campaign, items, dry_run).await;
            assert_eq!(changed(&updated), expected, "{} to {rules}", self.rules);
            let conflicts = u32::try_from(expected.conflicts.len());
            assert_eq!(Ok(updated.conflict_count), conflicts);
        }
        self.rules = rules.clone();
        self.check_runs().await;
    }

    fn check_suggestion(
        &self,
        suggestion: Option<&Suggestion>,
        segment: &Counted,
        messages: &[Message],
    ) {
        let nearest = self.oracle.nearest(segment);
        let Some(suggestion) = suggestion else {
            assert_eq!(nearest, BTreeMap::new(), "{}: {segment:?}", self.rules);
            return;
        };
        let mut messages = messages.iter();
        let message = messages.find(|message| message.id == suggestion.message_id);
        let message = message.unwrap();
        let differs = suggestion.differs.iter();
        let fields: Vec<String> = differs.map(|differs| differs.field.clone()).collect();
        assert_eq!(
            Some(&fields),
            nearest.get(&message.segment.key),
            "{}: {segment:?} and {suggestion:?}",
            self.rules
        );
        let from = shown(&message.segment.attributes);
        for differs in &suggestion.differs {
            assert_eq!(differs.from, from[&differs.field]);
            assert_eq!(differs.to, segment.attributes[&differs.field]);
        }
    }

    async fn rerun(&mut self, rows: &[Vec<Raw>]) {
        let group = Self::group(self.f, rows).await;
        let segments = self.counted(rows);
        let preview = preview(self.f, self.campaign, group).await;
        let counted: Vec<Counted> = segments.values().cloned().collect();
        assert_eq!(
            reported(&preview),
            self.oracle.report(&counted),
            "{}: {counted:?}",
            self.rules
        );
        let every = MessageSelection::EveryRun;
        let messages = self.f.messages(self.campaign, every).await;
        for item in &preview.items.items {
            let segment = &segments[&item.segment.key];
            let reused = self.oracle.reused(item.segment.key);
            assert_eq!(item.reuses.is_some(), reused.is_some(), "{}", self.rules);
            if reused.is_some() {
                assert_eq!(item.suggestion, None);
            } else {
                self.check_suggestion(item.suggestion.as_ref(), segment, &messages);
            }
        }
        initiate(self.f, self.campaign, group).await;
        let started = self.f.current(self.campaign).await;
        assert_eq!(started.len(), segments.len());
        for message in &started {
            let reused = self.oracle.reused(message.segment.key);
            let content = message.content.as_ref();
            assert_eq!(content.map(|content| content.body.as_str()), reused);
            assert_eq!(message.source == Source::Reused, reused.is_some());
        }
        self.publish(rows).await;
    }
}

/// Values are counted, published, given other rules, and met again: keys, conflicts, what is reused,
/// what a preview reports, and what old runs say are as an oracle has them.
pub async fn random_rules_give_segments_the_keys_of_the_oracle<S: Store + 'static>(f: &Fixture<S>) {
    let mut runner = TestRunner::deterministic();
    let rows = vec(vec(select(VALUES), 2), 4..24);
    let story = (vec(rows, 3), vec(declaration(), 5));
    for _ in 0..8 {
        let (rows, rules) = story.new_tree(&mut runner).unwrap().current();
        let mut story = Story::begin(f, rules[0].clone(), &rows[0]).await;
        story.change(&rules[1]).await;
        story.change(&rules[2]).await;
        story.rerun(&rows[1]).await;
        story.change(&rules[3]).await;
        story.change(&rules[0]).await;
        story.rerun(&rows[2]).await;
        story.change(&rules[4]).await;
        // Without rules, no two segments may have one key, and here some had other rules before.
        let folded = json!([{ "field": "x", "normalise": ["casefold"] }, "y"]);
        story.change(&folded).await;
    }
    f.check().await;
}

/// Rules, the values of `x` that are published, the rules that come then, and what a preview says of
/// the values of a group.
struct Reading {
    rules: Value,
    published: &'static [&'static str],
    then: Option<Value>,
    group: &'static [&'static str],
    distinct: u32,
    unseen: &'static [(&'static str, i64, Option<&'static str>)],
}

fn readings() -> [Reading; 5] {
    let comma = json!({ "field": "x", "type": "number", "decimal": "," });
    let number = json!({ "field": "x", "type": "number" });
    let targets = |normalise: &[&str]| {
        json!({ "field": "x", "values": { "N/A": "n. a." }, "null": ["n. a."],
            "normalise": normalise })
    };
    [
        // A text is read as a customer's value would be.
        Reading {
            rules: json!("x"),
            published: &["1.234"],
            then: Some(comma.clone()),
            group: &["1.234", "1,234", "1234"],
            distinct: 2,
            unseen: &[("1.234", 1, None)],
        },
        // A text that is spelled as a number is shown is not the number.
        Reading {
            rules: comma.clone(),
            published: &["36,5"],
            then: None,
            group: &["36.5", "36.5", "36,50"],
            distinct: 2,
            unseen: &[("36.5", 2, None)],
        },
        Reading {
            rules: comma,
            published: &["36.5"],
            then: Some(json!({ "field": "x", "type": "number", "decimal": ",", "null": ["-"] })),
            group: &["36.5", "36,5"],
            distinct: 2,
            unseen: &[("36.5", 1, None)],
        },
        // Nor is a range a number, whatever its name is.
        Reading {
            rules: json!({ "field": "x", "type": "number", "bins": [10], "labels": ["1", "2"] }),
            published: &["5", "50"],
            then: Some(number),
            group: &["2", "02", "3"],
            distinct: 2,
            unseen: &[("2", 2, None), ("3", 1, None)],
        },
        // What a map made is not null, though a customer's value would be.
        Reading {
            rules: targets(&[]),
            published: &["N/A"],
            then: Some(targets(&["casefold"])),
            group: &["n/a", "-"],
            distinct: 2,
            unseen: &[("-", 1, None)],
        },
    ]
}

async fn read<S: Store + 'static>(
    f: &Fixture<S>,
    reading: &Reading,
    y: [&str; 2],
) -> (CampaignId, CustomerGroupId) {
    let with =
        |values: &[&'static str], y| -> Vec<[&str; 2]> { values.iter().map(|x| [*x, y]).collect() };
    let group = group_of(f, &with(reading.published, y[0])).await;
    let campaign = draft(f, group, &json!([reading.rules, "y"])).await;
    f.launch(campaign).await;
    finish(f, campaign).await;
    if let Some(then) = &reading.then {
        update(f, campaign, declared(json!([then, "y"])), false).await;
    }
    (campaign, group_of(f, &with(reading.group, y[1])).await)
}

/// A value is seen if its key is that of an approved one, however both are spelled.
pub async fn a_preview_reads_values_as_keys_do<S: Store + 'static>(f: &Fixture<S>) {
    for reading in readings() {
        let (campaign, group) = read(f, &reading, ["same", "same"]).await;
        let preview = preview(f, campaign, group).await;
        let unseen = reading.unseen.iter().map(|(value, customers, looks)| {
            let looks = looks.map(str::to_owned);
            ((*value).to_owned(), *customers, looks)
        });
        let what = format!("{} then {:?}", reading.rules, reading.then);
        assert_eq!(
            reported(&preview).fields[0],
            (reading.distinct, unseen.collect()),
            "{what}"
        );
        let new = usize::try_from(preview.segments.new).unwrap();
        assert_eq!(new, reading.unseen.len(), "{what}");
    }
}

/// The nearest message differs in the fields whose keys differ, and in no other.
pub async fn the_nearest_message_is_found_as_keys_tell<S: Store + 'static>(f: &Fixture<S>) {
    for reading in readings() {
        let (campaign, group) = read(f, &reading, ["one", "other"]).await;
        let preview = preview(f, campaign, group).await;
        assert_eq!(preview.segments.matched, 0);
        let found = preview.items.items.iter().map(|item| {
            let suggestion = item.suggestion.as_ref().unwrap();
            suggestion.differs.len()
        });
        let mut found: Vec<usize> = found.collect();
        found.sort_unstable();
        let distinct = usize::try_from(reading.distinct).unwrap();
        let mut expected = vec![1; distinct - reading.unseen.len()];
        expected.resize(distinct, 2);
        assert_eq!(found, expected, "{} then {:?}", reading.rules, reading.then);
    }
}

/// A generator sees no value that a map or a range stands before now, neither of a segment that was
/// approved before, nor in an example.
pub async fn generators_see_what_the_rules_of_now_show<S: Store + 'static>(f: &Fixture<S>) {
    let group = group_of(f, &[["24987.65", "a"], ["CA", "b"]]).await;
    let campaign = draft(f, group, &json!(["x", "y"])).await;
    f.launch(campaign).await;
    finish(f, campaign).await;
    let rules = json!([
        { "field": "x", "type": "number", "bins": [25_000], "labels": ["less", "more"] }, "y",
    ]);
    update(f, campaign, declared(rules), false).await;
    let group = group_of(f, &[["3", "a"], ["4", "c"], ["5", "c"], ["CA", "d"]]).await;
    let started = initiate(f, campaign, group).await;
    assert_eq!((started.segments.matched, started.segments.new), (1, 2));
    let reused = f.current(campaign).await.into_iter();
    let reused = reused.filter(|message| message.source == Source::Reused);
    let reused = reused.map(|message| Some(message.id)).collect::<Vec<_>>();
    let who = caller();
    let again = f.engine.reviews.regenerate(&who, campaign, &reused, None);
    again.await.unwrap();

    let mut leased = f.lease(10).await;
    f.engine.generation.add_examples(&mut leased).await.unwrap();
    let tasks = leased.tasks.iter().map(|task| {
        let example = task.example.as_ref();
        let example = example.map(|example| example.attributes.as_json());
        (task.attributes.as_json(), example)
    });
    assert_eq!(
        tasks.collect::<BTreeMap<_, _>>(),
        BTreeMap::from([
            (r#"{"x":"less","y":"a"}"#, None),
            (r#"{"x":"less","y":"c"}"#, None),
            (r#"{"x":"CA","y":"d"}"#, Some(r#"{"x":"CA","y":"b"}"#)),
        ])
    );
    f.settle(&leased, |task| {
        Ok(Content {
            subject: "s".into(),
            body: task.attributes.as_json().to_owned(),
        })
    })
    .await;
    f.approve(campaign).await;
    f.publish(campaign).await;
    initiate(f, campaign, group_of(f, &[["5", "e"]]).await).await;
    let mut leased = f.lease(10).await;
    f.engine.generation.add_examples(&mut leased).await.unwrap();
    let example = leased.tasks[0].example.clone().unwrap();
    assert!(example.content.body.contains("less"), "{example:?}");
    f.check().await;
}
