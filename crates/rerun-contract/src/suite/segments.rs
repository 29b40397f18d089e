//! How groups fall into segments, and what a rerun could reuse for them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rerun_core::group::ImportHeader;
use rerun_core::ids::{CampaignId, CustomerGroupId};
use rerun_core::message::ReviewStatus;
use rerun_core::plan::{ReuseCandidate, ReuseFrom};
use rerun_core::ports::{CandidateQuery, MessageSelection, Store};
use rerun_core::segment::{FieldValues, Segment, SegmentBy, SegmentKey};

use crate::fixture::{ACCOUNT, Fixture, OTHER_ACCOUNT, Row, of_country, run_number};

/// Values that break a store that builds keys, paths or statements of text.
const NASTY_VALUES: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "b",
    "ab",
    "a b",
    "null",
    "NULL",
    "0",
    "1",
    "00",
    "1.0",
    "-1",
    "1e3",
    "true",
    "false",
    "{\"a\":1}",
    "[1]",
    "{}",
    "[]",
    "\"",
    "\"\"",
    "'",
    "''",
    "a'b",
    "a\"b",
    "\\",
    "\\\\",
    "\\n",
    "\\N",
    "\\.",
    "\\u0041",
    "|",
    "||",
    ":",
    ";",
    ",",
    "=",
    "/",
    "a|b",
    "b|a",
    "a,b",
    "$",
    "$.a",
    "$1",
    "?",
    "%",
    "_",
    "#",
    "--",
    "/*",
    ")",
    "(",
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "a\nb",
    "a\tb",
    "a\r\nb",
    "😀",
    "👩‍👩‍👧",
    "é",
    "e\u{301}",
    "\u{212b}",
    "Å",
    "ﬁ",
    "fi",
    "ß",
    "ss",
    "İ",
    "i\u{307}",
    "\u{200b}",
    "\u{feff}x",
    "\u{a0}a",
    "\u{ffff}",
    "𝄞",
];

/// Field names that break one that builds paths of them.
const NASTY_NAMES: &[&str] = &[
    "country", "tier", "a", "A", "b", "0", "1", "12", "-1", "$", "$.a", "$[0]", "a.b", "a[0]",
    "[0]", "#", "*", "a b", "\"", "\"a\"", "'", "a'b", "\\", "a\\b", "{a}", "a,b", "a:b", "|",
    "/a", "~1", "?", "?1", "%", "null", "select", "é", "Å", "😀", "a\nb", "a\tb", "\u{1}", "->>",
    "@", "key", "value",
];

#[derive(Debug)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn tables() -> impl Strategy<Value = Table> {
    let value = prop_oneof![
        3 => select(NASTY_VALUES).prop_map(str::to_owned),
        1 => (select(NASTY_VALUES), select(NASTY_VALUES)).prop_map(|(a, b)| format!("{a}{b}")),
        2 => Just(String::new()),
    ];
    (
        subsequence(NASTY_NAMES, 1..=8),
        proptest::collection::vec(proptest::collection::vec(value, 8), 0..60),
    )
        .prop_map(|(names, mut rows)| {
            let names = names.into_iter().rev();
            let mut columns: Vec<String> = names.map(str::to_owned).collect();
            for (n, row) in rows.iter_mut().enumerate() {
                row.truncate(columns.len());
                // Many customers share a segment.
                if n % 3 == 2 {
                    row.fill("a".into());
                }
                row.push(format!("C-{n}"));
            }
            columns.push("customer_ref".into());
            Table { columns, rows }
        })
}

/// The grouping as the domain defines it: equal when every normalised value is.
fn grouped(table: &Table, fields: &[&str]) -> BTreeMap<SegmentKey, Segment> {
    let header = ImportHeader::new(table.columns.iter().map(String::as_str)).unwrap();
    let segment_by = SegmentBy::new(fields).unwrap();
    let mut segments = BTreeMap::new();
    for row in &table.rows {
        let row = header.row(2, row.iter().map(String::as_str)).unwrap();
        let value = |name: &str| {
            let place = header.fields().iter().position(|field| field == name)?;
            row.values.get(place)?.as_deref()
        };
        let segment = segment_by.segment(value, 0);
        segments
            .entry(segment.key)
            .or_insert(segment)
            .customer_count += 1;
    }
    segments
}

async fn assert_grouped<S: Store + 'static>(
    f: &Fixture<S>,
    group: CustomerGroupId,
    fields: &[&str],
    expected: &BTreeMap<SegmentKey, Segment>,
) {
    let counted = f.candidates(group, fields).await.segments;
    let counted: Vec<_> = counted
        .iter()
        .map(|c| (c.key, c.customer_count, c.reusable))
        .collect();
    let wanted: Vec<_> = expected
        .values()
        .map(|s| (s.key, s.customer_count, None::<ReuseCandidate>))
        .collect();
    assert_eq!(counted, wanted, "segments by {fields:?}, ordered by key");
    let segment_by = SegmentBy::new(fields).unwrap();
    let keys = expected.keys().rev().copied().collect();
    let read = f
        .store
        .segments(ACCOUNT, group, &segment_by, keys)
        .await
        .unwrap();
    assert_eq!(
        read,
        expected.values().cloned().collect::<Vec<_>>(),
        "segments by {fields:?}"
    );
}

/// A store groups as the domain does, whatever fields and values hold.
pub async fn segments_are_grouped_as_the_domain_groups<S: Store + 'static>(f: &Fixture<S>) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..24 {
        let table = tables().new_tree(&mut runner).unwrap().current();
        let group = f.empty_group("Customers").await;
        let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
        let rows: Vec<Vec<&str>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(String::as_str).collect())
            .collect();
        let rows: Vec<Row<'_>> = rows.iter().map(Vec::as_slice).collect();
        f.import(group, &columns, &rows).await;
        let fields: Vec<&str> = columns
            .iter()
            .copied()
            .filter(|name| *name != "customer_ref")
            .collect();
        for count in 1..=fields.len() {
            let fields = &fields[..count];
            let expected = grouped(&table, fields);
            assert_grouped(f, group, fields, &expected).await;
            let reversed: Vec<&str> = fields.iter().rev().copied().collect();
            assert_grouped(f, group, &reversed, &expected).await;
        }
        // A field that no customer has, beside one that they have.
        assert_grouped(f, group, &["unheard of"], &grouped(&table, &["unheard of"])).await;
        let mixed = [fields[0], "unheard of"];
        assert_grouped(f, group, &mixed, &grouped(&table, &mixed)).await;
    }
}

/// Values that differ in nothing but what a separator or an escape could hide stay apart.
pub async fn values_of_two_fields_do_not_run_together<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let pairs = [
        ["a", "b"],
        ["ab", ""],
        ["", "ab"],
        ["a,", "b"],
        ["a", ",b"],
        ["a|b", ""],
        ["", "a|b"],
        ["a\u{1f}", "b"],
        ["a", "\u{1f}b"],
        ["\"a\"", "b"],
        ["a\",\"b", ""],
        ["null", ""],
        ["", "null"],
        ["", ""],
        ["a\\", "b"],
        ["a", "\\b"],
    ];
    let rows: Vec<[String; 3]> = pairs
        .iter()
        .enumerate()
        .map(|(n, [one, other])| [format!("C-{n}"), (*one).to_owned(), (*other).to_owned()])
        .collect();
    let rows: Vec<[&str; 3]> = rows
        .iter()
        .map(|[a, b, c]| [a.as_str(), b.as_str(), c.as_str()])
        .collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 3]>::as_slice).collect();
    f.import(group, &["customer_ref", "one", "two"], &rows)
        .await;
    let candidates = f.candidates(group, &["one", "two"]).await.segments;
    let keys: BTreeSet<SegmentKey> = candidates.iter().map(|candidate| candidate.key).collect();
    assert_eq!(
        keys.len(),
        pairs.len(),
        "every pair is a segment of its own"
    );
    assert!(
        candidates
            .iter()
            .all(|candidate| candidate.customer_count == 1)
    );
}

/// Kept counts follow the group, for every segmentation that was counted.
pub async fn counts_follow_the_group<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let empty = f.candidates(group, &["country"]).await;
    assert_eq!(empty.segments, []);
    let columns = ["customer_ref", "country", "tier"];
    f.import(group, &columns, &[&["a", "DE", "x"], &["b", "DE", "y"]])
        .await;
    let first = f.candidates(group, &["country"]).await;
    assert!(
        first.group_version > empty.group_version,
        "the version grows with a change"
    );
    assert_eq!(f.candidates(group, &["country"]).await, first, "read again");
    assert_eq!(f.candidates(group, &["tier"]).await.segments.len(), 2);
    assert_eq!(
        f.candidates(group, &["tier", "country"])
            .await
            .segments
            .len(),
        2
    );
    f.import(group, &columns, &[&["a", "DE", "x"]]).await;
    assert_eq!(
        f.candidates(group, &["country"]).await,
        first,
        "an unchanged import"
    );
    f.import(group, &columns, &[&["a", "FR", "y"]]).await;
    let second = f.candidates(group, &["country"]).await;
    assert!(
        second.group_version > first.group_version,
        "a changed customer"
    );
    let counts = |candidates: &rerun_core::ports::SegmentCandidates| -> Vec<i64> {
        candidates
            .segments
            .iter()
            .map(|segment| segment.customer_count)
            .collect()
    };
    assert_eq!(counts(&second), [1, 1]);
    let tiers = f.candidates(group, &["tier"]).await;
    assert_eq!(tiers.group_version, second.group_version);
    assert_eq!(counts(&tiers), [2]);
    f.import(group, &columns, &[&["c", "FR", "y"]]).await;
    let third = f.candidates(group, &["country", "tier"]).await;
    assert!(third.group_version > second.group_version, "a new customer");
    assert_eq!(counts(&third).iter().sum::<i64>(), 3);
    let other = f.group(&["DE"]).await;
    assert_eq!(
        counts(&f.candidates(other, &["country"]).await),
        [1],
        "another group's counts"
    );
}

/// With more segments than the limit, one more than the limit is answered: enough to refuse.
pub async fn one_segment_more_than_the_limit_is_answered<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["a", "b", "c", "d", "e", "e"]).await;
    for _ in 0..2 {
        for (limit, answered) in [(1, 2), (4, 5), (5, 5), (6, 5)] {
            let query = CandidateQuery {
                account_id: ACCOUNT,
                group_id: group,
                segment_by: SegmentBy::new(&["country"]).unwrap(),
                reuse: None,
                limit,
            };
            let found = f.store.segment_candidates(query).await.unwrap().segments;
            assert_eq!(found.len(), answered, "limit {limit}");
            assert!(
                found.is_sorted_by_key(|segment| segment.key),
                "ordered by key"
            );
        }
    }
}

/// Counts of a field's customers, without a value that is too long.
fn customers(counts: &[i64]) -> Vec<FieldValues> {
    let values = counts.iter().map(|customers| FieldValues {
        customers: *customers,
        ..FieldValues::default()
    });
    values.collect()
}

/// Counts tell how many customers have a value in each field, in the order of the fields' names,
/// and follow the group.
pub async fn fields_count_the_customers_with_a_value<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let fields = ["tier", "nobody", "country"];
    let found = f.candidates(group, &fields).await;
    assert_eq!(found.fields, customers(&[0, 0, 0]), "an empty group");
    let columns = ["customer_ref", "tier", "country", "nobody", "\"odd' name"];
    f.import(
        group,
        &columns,
        &[
            &["a", "gold", "DE", " ", "x"],
            &["b", "", "DE", "", ""],
            &["c", " ", "FR", "", "null"],
        ],
    )
    .await;
    for _ in 0..2 {
        let found = f.candidates(group, &fields).await;
        assert_eq!(found.fields, customers(&[3, 0, 1]), "country, nobody, tier");
        let found = f.candidates(group, &["\"odd' name"]).await;
        assert_eq!(found.fields, customers(&[2]));
        let found = f.candidates(group, &["Country"]).await;
        assert_eq!(found.fields, customers(&[0]), "names are case-sensitive");
    }
    f.import(
        group,
        &["customer_ref", "nobody"],
        &[&["d", "x"], &["a", ""]],
    )
    .await;
    for _ in 0..2 {
        let found = f.candidates(group, &fields).await;
        assert_eq!(found.fields, customers(&[3, 1, 1]));
    }
}

/// Of the named fields those that some customer has a value for now.
pub async fn fields_with_a_value_are_told<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let names = ["tier", "nobody", "country", "\"odd' name", "Country", ""];
    let valued = async || {
        let names = names.map(str::to_owned).to_vec();
        let found = f.store.valued_fields(ACCOUNT, group, names).await;
        let mut found = found.unwrap();
        found.sort_unstable();
        found
    };
    assert_eq!(valued().await, Vec::<String>::new(), "an empty group");
    let columns = ["customer_ref", "tier", "country", "nobody", "\"odd' name"];
    let rows: [Row<'_>; 3] = [
        &["a", "gold", "DE", " ", ""],
        &["b", "", "DE", "", ""],
        &["c", " ", "FR", "", "null"],
    ];
    f.import(group, &columns, &rows).await;
    assert_eq!(valued().await, ["\"odd' name", "country", "tier"]);
    f.import(group, &["customer_ref", "tier"], &[&["a", ""]])
        .await;
    assert_eq!(valued().await, ["\"odd' name", "country"]);
    let names = vec!["country".to_owned()];
    let foreign = f.store.valued_fields(OTHER_ACCOUNT, group, names).await;
    assert_eq!(foreign.unwrap(), Vec::<String>::new());
}

/// With more segments than the limit, whether anybody has a value is told all the same, even if
/// only one customer does.
pub async fn fields_are_told_with_too_many_segments<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let refs: Vec<String> = (0..300).map(|n| format!("C-{n}")).collect();
    let columns = ["customer_ref", "no", "one", "nobody"];
    for (place, last) in [(299, "last"), (0, "first")] {
        let rows: Vec<[&str; 4]> = refs
            .iter()
            .enumerate()
            .map(|(n, name)| [name.as_str(), name, if n == place { last } else { "" }, ""])
            .collect();
        let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 4]>::as_slice).collect();
        f.import(group, &columns, &rows).await;
        let query = CandidateQuery {
            account_id: ACCOUNT,
            group_id: group,
            segment_by: SegmentBy::new(&["one", "nobody", "no"]).unwrap(),
            reuse: None,
            limit: 5,
        };
        for _ in 0..2 {
            let found = f.store.segment_candidates(query.clone()).await.unwrap();
            assert_eq!(found.segments.len(), 6);
            let has: Vec<bool> = found
                .fields
                .iter()
                .map(|field| field.customers > 0)
                .collect();
            assert_eq!(has, [true, false, true], "no, nobody, one ({last})");
        }
    }
}

/// A value of more characters than the bound is told of, and is not told apart from others.
/// Characters count, not bytes; other fields may be as long as they like.
pub async fn values_that_are_too_long_are_told<S: Store + 'static>(f: &Fixture<S>) {
    let longest = SegmentBy::MAX_VALUE_LENGTH;
    let fits = [
        "x".repeat(longest),
        "😀".repeat(longest),
        "é".repeat(longest),
    ];
    let text = "t".repeat(50_000);
    let columns = ["customer_ref", "notes", "text"];
    let group = f.empty_group("Customers").await;
    f.import(
        group,
        &columns,
        &[
            &["a", &fits[0], &text],
            &["b", &fits[1], ""],
            &["c", &fits[2], ""],
            &["d", "", ""],
        ],
    )
    .await;
    for _ in 0..2 {
        let found = f.candidates(group, &["notes"]).await;
        assert_eq!(found.fields, customers(&[3]));
        assert_eq!(found.segments.len(), 4);
    }
    let [over, other] = ["😀".repeat(longest + 1), "y".repeat(60_000)];
    f.import(group, &columns, &[&["e", &over, ""], &["f", &other, ""]])
        .await;
    let segment_by = SegmentBy::new(&["notes"]).unwrap();
    let query = |limit| CandidateQuery {
        account_id: ACCOUNT,
        group_id: group,
        segment_by: segment_by.clone(),
        reuse: None,
        limit,
    };
    for limit in [5, 100, 5] {
        let found = f.store.segment_candidates(query(limit)).await.unwrap();
        let told = FieldValues {
            customers: 5,
            too_long: true,
            ..FieldValues::default()
        };
        assert_eq!(found.fields, [told], "limit {limit}");
        assert_eq!(found.segments.len(), 5, "both long values are one");
    }
    let found = f.candidates(group, &["text"]).await;
    assert!(found.fields[0].too_long);
    // It is shortened, and the group is as good as any.
    f.import(group, &columns, &[&["e", "x", ""], &["f", "x", ""]])
        .await;
    let found = f.candidates(group, &["notes"]).await;
    assert_eq!(found.fields, customers(&[5]));
}

/// Only the segments that are asked for are read, by key; one that is not there is left out.
pub async fn segments_are_read_by_key<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "FR", "IT"]).await;
    let segment_by = SegmentBy::new(&["country"]).unwrap();
    let segment = |country, count| segment_by.segment(|_| Some(country), count);
    let keys = vec![
        segment("FR", 0).key,
        segment("XX", 0).key,
        segment("DE", 0).key,
    ];
    for _ in 0..2 {
        let read = f
            .store
            .segments(ACCOUNT, group, &segment_by, keys.clone())
            .await
            .unwrap();
        let mut expected = vec![segment("DE", 1), segment("FR", 2)];
        expected.sort_by_key(|segment| segment.key);
        assert_eq!(read, expected);
    }
    assert_eq!(
        f.store
            .segments(ACCOUNT, group, &segment_by, Vec::new())
            .await
            .unwrap(),
        []
    );
}

async fn reusable<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
    from: ReuseFrom,
) -> BTreeMap<String, ReuseCandidate> {
    let segment_by = SegmentBy::new(&["country"]).unwrap();
    let current = f.campaign(campaign).await.current_run.unwrap();
    let query = CandidateQuery {
        account_id: ACCOUNT,
        group_id: group,
        segment_by: segment_by.clone(),
        reuse: Some((campaign, current, from)),
        limit: 1_000,
    };
    let found = f.store.segment_candidates(query).await.unwrap().segments;
    let keys = found.iter().map(|candidate| candidate.key).collect();
    let segments = f
        .store
        .segments(ACCOUNT, group, &segment_by, keys)
        .await
        .unwrap();
    let named = segments
        .iter()
        .zip(&found)
        .filter_map(|(segment, candidate)| {
            assert_eq!(segment.key, candidate.key);
            let country = segment
                .attributes
                .to_map()
                .unwrap()
                .remove("country")
                .flatten();
            Some((country.unwrap_or_default(), candidate.reusable?))
        });
    named.collect()
}

/// The current run's published messages are offered, or those of any run, the newest first; what
/// was never published is not, nor is what belongs to another campaign.
#[expect(clippy::too_many_lines, reason = "a story")]
pub async fn published_messages_are_offered_for_reuse<S: Store + 'static>(f: &Fixture<S>) {
    let everything = f.group(&["DE", "FR", "IT", "ES", ""]).await;
    let bystander = f.published(&["DE", "FR", "IT", "ES", ""]).await;
    let campaign = f.published(&["DE", "FR", ""]).await;
    let first = f.current(campaign).await;
    let of = |messages: &[rerun_core::message::Message], country: &str| {
        let country = (!country.is_empty()).then_some(country);
        let key = of_country(country, 0).key;
        let found = messages
            .iter()
            .find(|message| message.segment.key == key)
            .unwrap();
        ReuseCandidate {
            message_id: found.id,
            run_number: found.run_number,
            status: ReviewStatus::Published,
        }
    };
    let expected = |pairs: &[(&str, ReuseCandidate)]| -> BTreeMap<String, ReuseCandidate> {
        pairs
            .iter()
            .map(|(country, from)| ((*country).to_owned(), *from))
            .collect()
    };
    let run_1 = expected(&[
        ("DE", of(&first, "DE")),
        ("FR", of(&first, "FR")),
        ("", of(&first, "")),
    ]);
    for from in [ReuseFrom::CurrentRun, ReuseFrom::AnyRun] {
        assert_eq!(
            reusable(f, campaign, everything, from).await,
            run_1,
            "{from}"
        );
    }

    let group = f.group(&["DE", "IT"]).await;
    f.rerun(campaign, group).await;
    let unpublished = reusable(f, campaign, everything, ReuseFrom::CurrentRun).await;
    assert_eq!(
        unpublished,
        BTreeMap::new(),
        "nothing of run 2 is published yet"
    );
    assert_eq!(
        reusable(f, campaign, everything, ReuseFrom::AnyRun).await,
        run_1
    );
    f.finish(campaign).await;
    let second = f.current(campaign).await;
    assert_eq!(
        reusable(f, campaign, everything, ReuseFrom::CurrentRun).await,
        expected(&[("DE", of(&second, "DE")), ("IT", of(&second, "IT"))]),
    );
    let any = expected(&[
        ("DE", of(&second, "DE")),
        ("IT", of(&second, "IT")),
        ("FR", of(&first, "FR")),
        ("", of(&first, "")),
    ]);
    assert_eq!(
        reusable(f, campaign, everything, ReuseFrom::AnyRun).await,
        any
    );

    let group = f.group(&["DE", "ES"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    f.approve(campaign).await;
    f.cancel(campaign).await;
    assert_eq!(f.campaign(campaign).await.current_run, Some(run_number(2)));
    let after_cancel = reusable(f, campaign, everything, ReuseFrom::AnyRun).await;
    assert_eq!(
        after_cancel, any,
        "a cancelled run's messages are only offered when they are asked for"
    );
    let cancelled = f
        .messages(campaign, MessageSelection::Run(run_number(3)))
        .await;
    let approved = |country| ReuseCandidate {
        status: ReviewStatus::Approved,
        ..of(&cancelled, country)
    };
    let mut any_approved = any.clone();
    any_approved.extend(expected(&[("DE", approved("DE")), ("ES", approved("ES"))]));
    assert_eq!(
        reusable(f, campaign, everything, ReuseFrom::AnyApproved).await,
        any_approved
    );

    // What did not pass every stage is not offered, whatever run it is of.
    let group = f.group(&["DE", "FR", "PT"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    f.cancel(campaign).await;
    let with_pending = f.group(&["DE", "FR", "IT", "ES", "PT", ""]).await;
    let offered = reusable(f, campaign, with_pending, ReuseFrom::AnyApproved).await;
    assert_eq!(offered.get("PT"), None);
    assert_eq!(offered["ES"], approved("ES"));

    // It is what a rerun takes, and it is published with the run.
    let group = f.group(&["ES", "FR"]).await;
    let started = f
        .try_rerun(campaign, group, ReuseFrom::AnyApproved)
        .await
        .unwrap()
        .outcome;
    assert_eq!((started.segments.matched, started.segments.new), (2, 0));
    let spanish = f.message(campaign, "ES").await;
    let origin = of(&cancelled, "ES");
    let reused = spanish.reused_from.unwrap();
    assert_eq!(
        (reused.message_id, reused.run_number),
        (origin.message_id, run_number(3))
    );
    let of_cancelled = |m: &&rerun_core::message::Message| m.id == origin.message_id;
    assert_eq!(
        spanish.content,
        cancelled.iter().find(of_cancelled).unwrap().content
    );
    f.cancel(campaign).await;

    // What is offered from an old run is what a rerun takes.
    let group = f.group(&["FR", "DE"]).await;
    let started = f
        .try_rerun(campaign, group, ReuseFrom::AnyRun)
        .await
        .unwrap()
        .outcome;
    assert_eq!(started.segments.matched, 2);
    let french = f.message(campaign, "FR").await;
    let origin = f
        .messages(campaign, MessageSelection::Run(run_number(1)))
        .await;
    assert_eq!(
        french.reused_from.unwrap().message_id,
        of(&origin, "FR").message_id
    );
    assert_eq!(french.reused_from.unwrap().run_number, run_number(1));
    assert_eq!(f.campaign(bystander).await.current_run, Some(run_number(1)));
    f.check().await;
}
