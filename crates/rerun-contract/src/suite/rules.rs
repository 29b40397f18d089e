//! How value rules make segments of a group, judged by an oracle that shares no code with them.

use std::collections::BTreeMap;

use proptest::prelude::Strategy;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rerun_core::ids::CustomerGroupId;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{CandidateQuery, SegmentCandidates, Store};
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::{PageQuery, RerunRequest};
use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, Fixture, Row, caller};
use crate::oracle::{VALUES, counted, item};

fn declared(items: &Value) -> SegmentBy {
    let items: Vec<FieldDeclaration> = serde_json::from_value(items.clone()).unwrap();
    SegmentBy::declare(items).unwrap()
}

async fn candidates<S: Store + 'static>(
    f: &Fixture<S>,
    group: CustomerGroupId,
    segment_by: &SegmentBy,
    limit: u32,
) -> SegmentCandidates {
    let query = CandidateQuery {
        account_id: ACCOUNT,
        group_id: group,
        segment_by: segment_by.clone(),
        reuse: None,
        limit,
    };
    f.store.segment_candidates(query).await.unwrap()
}

async fn segments<S: Store + 'static>(
    f: &Fixture<S>,
    group: CustomerGroupId,
    segment_by: &SegmentBy,
) -> Vec<(BTreeMap<String, Option<String>>, i64)> {
    let found = candidates(f, group, segment_by, 100_000).await.segments;
    assert!(found.is_sorted_by_key(|segment| segment.key), "by key");
    let keys: Vec<_> = found.iter().map(|segment| segment.key).collect();
    let read = f
        .store
        .segments(ACCOUNT, group, segment_by, keys.clone())
        .await
        .unwrap();
    let read_keys: Vec<_> = read.iter().map(|segment| segment.key).collect();
    assert_eq!(read_keys, keys);
    let mut segments: Vec<_> = read
        .iter()
        .zip(&found)
        .map(|(segment, candidate)| {
            assert_eq!(segment.customer_count, candidate.customer_count);
            (segment.attributes.to_map().unwrap(), segment.customer_count)
        })
        .collect();
    segments.sort();
    segments
}

/// A store makes the segments that the rules say, whatever values and rules there are, when they
/// are counted and when they are read again.
pub async fn rules_make_the_segments_of_the_oracle<S: Store + 'static>(f: &Fixture<S>) {
    let mut runner = TestRunner::deterministic();
    let rows = proptest::collection::vec(proptest::collection::vec(select(VALUES), 3), 0..80);
    for _ in 0..16 {
        let rows = rows.new_tree(&mut runner).unwrap().current();
        let group = f.empty_group("Customers").await;
        let refs: Vec<String> = (0..rows.len()).map(|n| format!("C-{n}")).collect();
        let table: Vec<[&str; 4]> = refs
            .iter()
            .zip(&rows)
            .map(|(name, row)| [name.as_str(), row[0].0, row[1].0, row[2].0])
            .collect();
        let table: Vec<Row<'_>> = table.iter().map(<[&str; 4]>::as_slice).collect();
        f.import(group, &["customer_ref", "x", "y", "z"], &table)
            .await;
        for _ in 0..4 {
            let tree = (item("x"), item("y"), item("z"))
                .new_tree(&mut runner)
                .unwrap();
            let (x, y, z) = tree.current();
            for items in [json!([x, y, z]), json!([x])] {
                let expected = counted(&items, &rows).into_iter();
                let expected = expected.map(|segment| (segment.attributes, segment.customers));
                let mut expected: Vec<_> = expected.collect();
                expected.sort();
                let segment_by = declared(&items);
                for when in ["counted", "kept"] {
                    let found = segments(f, group, &segment_by).await;
                    assert_eq!(found, expected, "{when}: {items}");
                }
            }
        }
    }
}

/// Counts by rules do not stand in for counts by other rules, or by none, and follow the group.
pub async fn counts_by_rules_are_kept_apart<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "de", "de", "36", "36.0", "N/A"]).await;
    let plain = declared(&json!(["country"]));
    let folded = declared(&json!([{ "field": "country", "normalise": ["casefold"] }]));
    let number = declared(&json!([{ "field": "country", "type": "number", "null": ["n/a"] }]));
    for _ in 0..2 {
        assert_eq!(segments(f, group, &plain).await.len(), 5);
        assert_eq!(segments(f, group, &folded).await.len(), 4);
        assert_eq!(segments(f, group, &number).await.len(), 4);
        let found = candidates(f, group, &number, 100).await.fields;
        assert_eq!(
            (found[0].customers, found[0].unparsed),
            (5, 3),
            "DE, de and de are no numbers"
        );
        let found = candidates(f, group, &folded, 100).await.fields;
        assert_eq!((found[0].customers, found[0].unparsed), (6, 0));
    }
    f.import(group, &["customer_ref", "country"], &[&["new", "FR"]])
        .await;
    assert_eq!(segments(f, group, &folded).await.len(), 5);
}

/// Segments after the rules are limited, and so are combinations of values before them.
pub async fn rules_have_bounds<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let rows: Vec<[String; 3]> = (0..50)
        .map(|n| {
            [
                format!("C-{n}"),
                n.to_string(),
                if n == 0 {
                    "x".to_owned()
                } else {
                    String::new()
                },
            ]
        })
        .collect();
    let rows: Vec<[&str; 3]> = rows.iter().map(|[a, b, c]| [a.as_str(), b, c]).collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 3]>::as_slice).collect();
    f.import(group, &["customer_ref", "income", "other"], &rows)
        .await;
    let binned = declared(&json!([
        { "field": "income", "type": "number", "bins": [25], "labels": ["low", "high"] }, "other"
    ]));
    for _ in 0..2 {
        let fits = candidates(f, group, &binned, 5).await;
        assert_eq!(
            fits.segments.len(),
            3,
            "50 combinations are 10 for each segment"
        );
        assert!(!fits.fields.iter().any(|field| field.too_many));
        let too_many = candidates(f, group, &binned, 2).await;
        assert!(too_many.segments.len() > 2 || too_many.fields[0].too_many);
        let over = candidates(f, group, &binned, 4).await;
        if over.segments.len() <= 4 && !over.fields[0].too_many {
            // Kept counts are within the limit, however many combinations they were made of.
            assert_eq!(over.segments.len(), 3);
        }
        let has: Vec<bool> = over
            .fields
            .iter()
            .map(|field| field.customers > 0)
            .collect();
        assert_eq!(has, [true, true]);
    }
    let folded = declared(&json!([{ "field": "income", "normalise": ["casefold"] }]));
    let found = candidates(f, group, &folded, 4).await;
    let flags: Vec<bool> = found.fields.iter().map(|field| field.too_many).collect();
    assert_eq!(flags, [true], "50 combinations are more than 40");
}

/// A preview reports which values no reusable message has, what they look like, and what rules for
/// them would save; of the current run, or of any run.
pub async fn a_preview_tells_of_unseen_values<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["36", "New York", "old", ""]).await;
    f.published(&["term_36", "Nevada"]).await;
    let next = f.group(&["36", "New York"]).await;
    f.rerun(campaign, next).await;
    f.finish(campaign).await;
    let group = f
        .group(&[
            "36", "36", "036", "term_36", "term_36", "new_york", "OLD", "", "Nevada",
        ])
        .await;
    let preview = async |reuse_from| {
        let request = RerunRequest {
            campaign,
            new_group: Some(group),
            reuse_from,
            allow_missing_fields: false,
        };
        let page = PageQuery::default();
        let preview = f
            .engine
            .reruns
            .preview(&caller(), request, &page)
            .await
            .unwrap();
        let [field] = &preview.fields[..] else {
            panic!("one field")
        };
        assert_eq!(field.values.distinct, 6);
        assert_eq!(preview.single_customer_segments, 5);
        let unseen = field.values.unseen_values.iter();
        let unseen: Vec<(String, i64, Option<String>)> = unseen
            .map(|unseen| {
                (
                    unseen.value.clone(),
                    unseen.customers,
                    unseen.looks_like.clone(),
                )
            })
            .collect();
        (unseen, preview.needless, preview.segments.matched)
    };
    let unseen = |old: Option<&str>| -> Vec<(String, i64, Option<String>)> {
        [
            ("term_36", 2, None),
            ("036", 1, Some("36")),
            ("Nevada", 1, None),
            ("OLD", 1, old),
            ("new_york", 1, Some("New York")),
        ]
        .map(|(value, customers, looks)| (value.to_owned(), customers, looks.map(str::to_owned)))
        .to_vec()
    };
    for _ in 0..2 {
        assert_eq!(preview(ReuseFrom::CurrentRun).await, (unseen(None), 2, 1));
        assert_eq!(
            preview(ReuseFrom::AnyRun).await,
            (unseen(Some("old")), 3, 2)
        );
    }
}
