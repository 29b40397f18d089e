use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;

type Row = (&'static [&'static str], &'static str, i64, i64);

fn id(n: usize) -> MessageId {
    MessageId::new(Uuid::from_u128(u128::try_from(n).unwrap()))
}

fn attributes(by: &SegmentBy, values: &[&str]) -> Attributes {
    let named: BTreeMap<&str, Option<&str>> = by
        .fields()
        .iter()
        .map(String::as_str)
        .zip(
            values
                .iter()
                .map(|value| (!value.is_empty()).then_some(*value)),
        )
        .collect();
    Attributes::new(named)
}

/// The key is that of no values: each value has the type that it looks like.
fn segment(by: &SegmentBy, values: &[&str]) -> KeptValues {
    KeptValues {
        key: SegmentKey::of([("approved", None)]),
        attributes: attributes(by, values),
        types: None,
        own: None,
    }
}

/// What is suggested for one new segment. The approved messages have values, a body, customers and a
/// run, and their place from 1 as id.
fn suggest(by: &SegmentBy, approved: &[Row], new: &[&str]) -> Option<Suggestion> {
    let mut nearest = Nearest::new(by);
    for (place, (values, body, customers, run)) in approved.iter().enumerate() {
        let more = nearest.add_reusable(Reusable {
            message_id: id(place + 1),
            run_number: RunNumber::new(*run).unwrap(),
            customer_count: *customers,
            segment: &segment(by, values),
            content: &Content {
                subject: "s".into(),
                body: (*body).to_owned(),
            },
        });
        assert!(more.unwrap());
    }
    let key = SegmentKey::of([("new", None)]);
    let attributes = attributes(by, new);
    nearest.suggest([(key, &attributes)]).unwrap().remove(&key)
}

fn by(fields: &[&str]) -> SegmentBy {
    SegmentBy::new(fields).unwrap()
}

#[test]
fn the_fewest_differing_fields_come_first() {
    let by = by(&["tier", "country", "age"]);
    let approved: &[Row] = &[
        (&["gold", "DE", "old"], "x", 900, 3),
        (&["gold", "FR", "young"], "x", 1, 1),
        (&["silver", "IT", "old"], "x", 900, 3),
    ];
    let found = suggest(&by, approved, &["gold", "FR", "old"]).unwrap();
    assert_eq!(found.message_id, id(1), "one field, and the larger segment");
    assert_eq!(
        found.differs,
        [Difference {
            field: "country".into(),
            from: Some("DE".into()),
            to: Some("FR".into())
        }]
    );
    let found = suggest(&by, approved, &["bronze", "ES", "young"]).unwrap();
    assert_eq!(found.message_id, id(2));
    let fields: Vec<&str> = found.differs.iter().map(|d| d.field.as_str()).collect();
    assert_eq!(
        fields,
        ["tier", "country"],
        "in the order of the segmentation"
    );
    let found = suggest(&by, approved, &["", "", ""]).unwrap();
    assert_eq!(
        found.differs.len(),
        3,
        "the nearest may differ in every field"
    );
    assert_eq!(found.differs[0].to, None);
    assert_eq!(suggest(&by, &[], &["gold", "FR", "old"]), None);
}

#[test]
fn of_equals_the_field_that_mattered_least_wins() {
    let by = by(&["tier", "country"]);
    // Countries make another text, tiers do not.
    let approved: &[Row] = &[
        (&["gold", "DE"], "Guten Tag", 1, 1),
        (&["silver", "DE"], "Guten Tag", 1, 1),
        (&["gold", "FR"], "Bonjour", 500, 1),
        (&["silver", "FR"], "Bonjour", 500, 1),
        (&["bronze", "IT"], "Ciao", 9_000, 2),
    ];
    let found = suggest(&by, approved, &["bronze", "DE"]).unwrap();
    assert_eq!(found.message_id, id(1), "equal but for the id: the first");
    assert_eq!(found.evidence, Evidence { pairs: 2, same: 2 });
    let found = suggest(&by, approved, &["gold", "IT"]).unwrap();
    assert_eq!(found.message_id, id(5));
    // With both fields changed, the figures are those of the country.
    let found = suggest(&by, &approved[..4], &["bronze", "IT"]).unwrap();
    assert_eq!(found.message_id, id(3), "the larger segment");
    assert_eq!(found.evidence, Evidence { pairs: 2, same: 0 });
}

#[test]
fn of_fields_that_mattered_alike_the_figures_are_those_of_the_most_pairs() {
    let by = by(&["a", "b"]);
    let approved: &[Row] = &[
        (&["1", "1"], "x", 1, 1),
        (&["1", "2"], "x", 1, 1),
        (&["2", "1"], "x", 1, 1),
        (&["2", "2"], "x", 1, 1),
        (&["3", "1"], "x", 1, 1),
        (&["3", "2"], "x", 1, 1),
    ];
    let turned = approved.iter().map(|(values, body, customers, run)| {
        let values: &[&str] = Vec::leak(values.iter().rev().copied().collect());
        (values, *body, *customers, *run)
    });
    let turned: Vec<Row> = turned.collect();
    for approved in [approved, &turned] {
        let found = suggest(&by, approved, &["9", "9"]).unwrap();
        assert_eq!(found.evidence, Evidence { pairs: 6, same: 6 });
    }
}

#[test]
fn among_equals_the_larger_segment_then_the_newer_run_wins() {
    let by = by(&["a"]);
    let approved: &[Row] = &[
        (&["1"], "x", 5, 1),
        (&["2"], "x", 7, 1),
        (&["3"], "x", 7, 2),
        (&["4"], "x", 6, 3),
    ];
    assert_eq!(suggest(&by, approved, &["9"]).unwrap().message_id, id(3));
}

#[test]
fn values_themselves_are_masked() {
    let by = by(&["a"]);
    let evidence =
        |one: &'static str, text: &'static str, other: &'static str, next: &'static str| {
            let values = [[one], [other]].map(|value| &*Vec::leak(value.to_vec()));
            let approved: Vec<Row> = vec![(values[0], text, 1, 1), (values[1], next, 1, 1)];
            let found = suggest(&by, &approved, &["new"]).unwrap();
            assert_eq!(found.evidence.pairs, 1);
            found.evidence.same == 1
        };
    assert!(evidence(
        "gold",
        "Dear GOLD friend",
        "silver",
        "Dear Silver friend"
    ));
    assert!(!evidence(
        "gold",
        "Dear golden friend",
        "silver",
        "Dear silveren friend"
    ));
    assert!(!evidence(
        "gold",
        "Dear gold friend",
        "silver",
        "dear silver friend"
    ));
    assert!(evidence("Köln", "In KÖLN.", "Bonn", "In Bonn."));
    assert!(evidence("Straße", "Die STRASSE", "Allee", "Die Allee"));
    assert!(evidence("e\u{301}te\u{301}", "L'été!", "hiver", "L'hiver!"));
    assert!(evidence("New York", "to new york, now", "LA", "to la, now"));
    assert!(!evidence("", "Dear friend", "gold", "Dear gold friend"));
    assert!(evidence("", "Dear friend", "gold", "Dear friend"));
}

#[test]
fn mentions_are_whole_words_of_what_differs() {
    let by = by(&["tier", "country"]);
    let mentions = |body: &'static str| {
        let approved: &[Row] = &[(&["gold", "Île-de-France"], body, 1, 1)];
        suggest(&by, approved, &["silver", "Bretagne"])
            .unwrap()
            .mentions
    };
    assert_eq!(mentions("Golden days"), [""; 0]);
    assert_eq!(mentions("Marigold days"), [""; 0]);
    assert_eq!(mentions("GOLD, days"), ["gold"]);
    assert_eq!(
        mentions("in ÎLE-DE-FRANCE (gold)"),
        ["gold", "Île-de-France"]
    );
    assert_eq!(mentions("in France"), [""; 0]);
    // What is the same for both segments may be mentioned.
    let approved: &[Row] = &[(&["gold", "DE"], "gold in DE", 1, 1)];
    let found = suggest(&by, approved, &["silver", "DE"]).unwrap();
    assert_eq!(found.mentions, ["gold"]);
}

#[test]
fn values_are_compared_by_the_rules() {
    let items = json!([{ "field": "a", "normalise": ["casefold"] },
        { "field": "b", "type": "number", "bins": [10], "labels": ["low", "high"] }]);
    let by = SegmentBy::declare(serde_json::from_value(items).unwrap()).unwrap();
    let approved: &[Row] = &[(&["DE", "low"], "x", 1, 1), (&["FR", "high"], "x", 9, 1)];
    let found = suggest(&by, approved, &["de", "high"]).unwrap();
    assert_eq!(found.message_id, id(2));
    assert_eq!(found.differs[0].field, "a");
    let found = suggest(&by, approved, &["de", "unknown"]).unwrap();
    assert_eq!((found.message_id, found.differs.len()), (id(1), 1));
}

#[test]
fn values_are_the_same_but_for_the_fields_that_are_left_out() {
    let same = |one: &[Number], dropped| same_without(one, &[1, 2, 3], dropped);
    assert!(same(&[1, 2, 3], 0));
    assert!(same(&[1, 9, 3], bit(1)));
    assert!(!same(&[1, 9, 3], bit(0) | bit(2)));
    assert!(!same(&[9, 9, 3], bit(1)));
}

#[test]
fn messages_beyond_the_bytes_that_are_compared_are_left_out() {
    let by = by(&["a"]);
    let mut nearest = Nearest {
        text_bytes: Nearest::MAX_TEXT_BYTES - 3,
        ..Nearest::new(&by)
    };
    let mut add = |subject: &str, body: &str| {
        let message = Reusable {
            message_id: id(1),
            run_number: RunNumber::FIRST,
            customer_count: 1,
            segment: &segment(&by, &["1"]),
            content: &Content {
                subject: subject.into(),
                body: body.into(),
            },
        };
        nearest.add_reusable(message).unwrap()
    };
    assert!(add("s", "bb"), "as many as there may be");
    assert!(!add("s", ""));
}

#[test]
fn segments_beyond_the_bytes_that_suggestions_may_have_get_none() {
    let by = by(&["a"]);
    // The field's name, and a value of each segment.
    let each = 3;
    let mut nearest = Nearest {
        suggested_bytes: Nearest::MAX_BYTES - 2 * each,
        ..Nearest::new(&by)
    };
    let more = nearest.add_reusable(Reusable {
        message_id: id(1),
        run_number: RunNumber::FIRST,
        customer_count: 1,
        segment: &segment(&by, &["x"]),
        content: &Content {
            subject: "s".into(),
            body: "b".into(),
        },
    });
    assert!(more.unwrap());
    let new = ["1", "2", "3"].map(|value| {
        let key = SegmentKey::of([("a", Some(value))]);
        (key, attributes(&by, &[value]))
    });
    let segments = new.iter().map(|(key, attributes)| (*key, attributes));
    let found = nearest.suggest(segments).unwrap();
    assert_eq!(found.len(), 2);
    assert!(!found.contains_key(&new[2].0));
}

#[test]
fn a_suggestion_is_kept_and_sent_as_json_and_counts_what_its_texts_have_there() {
    let suggestion = Suggestion {
        message_id: id(1),
        run_number: RunNumber::FIRST,
        differs: vec![
            Difference {
                field: "tier".into(),
                from: Some("\"gold\"".into()),
                to: None,
            },
            Difference {
                field: "land".into(),
                from: Some("DE".into()),
                to: Some("FRA".into()),
            },
        ],
        evidence: Evidence { pairs: 2, same: 1 },
        mentions: vec!["DE".into(), "Köln".into()],
    };
    assert_eq!(suggestion.bytes(), (4 + 8 + 4) + (4 + 2 + 3) + 2 + 5);
    let json = json!({
        "message_id": id(1),
        "run_number": 1,
        "differs": [
            { "field": "tier", "from": "\"gold\"", "to": null },
            { "field": "land", "from": "DE", "to": "FRA" },
        ],
        "evidence": { "pairs": 2, "same": 1 },
        "mentions": ["DE", "Köln"],
    });
    let kept = KeptSuggestion::try_from(&suggestion).unwrap();
    let stored: serde_json::Value = serde_json::from_str(kept.as_json()).unwrap();
    assert_eq!(stored, json);
    let kept = KeptSuggestion::from_stored(kept.as_json().to_owned());
    assert_eq!(serde_json::to_value(&kept).unwrap(), json);
    assert_eq!(kept.read().unwrap(), suggestion);
    assert!(KeptSuggestion::from_stored("{}".into()).read().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Against a search of all pairs.
    #[test]
    fn the_nearest_of_all_is_found(
        approved in prop::collection::vec((prop::collection::vec(0..4_u8, 4), 0..3_u8, 1..4_i64, 1..3_i64), 1..25),
        new in prop::collection::vec(0..5_u8, 4),
    ) {
        let by = by(&["a", "b", "c", "d"]);
        let text = |values: &[u8]| -> Vec<String> {
            values.iter().map(|v| if *v == 0 { String::new() } else { format!("v{v}") }).collect()
        };
        let mut rows: BTreeMap<Vec<u8>, (u8, i64, i64)> = BTreeMap::new();
        for (values, body, customers, run) in approved {
            rows.insert(values, (body, customers, run));
        }
        rows.remove(&new);
        let rows: Vec<_> = rows.into_iter().collect();
        let mut nearest = Nearest::new(&by);
        for (place, (values, (body, customers, run))) in rows.iter().enumerate() {
            let texts = text(values);
            let values: Vec<&str> = texts.iter().map(String::as_str).collect();
            nearest.add_reusable(Reusable {
                message_id: id(place + 1),
                run_number: RunNumber::new(*run).unwrap(),
                customer_count: *customers,
                segment: &segment(&by, &values),
                content: &Content { subject: "s".into(), body: format!("body {body}") },
            }).unwrap();
        }
        let key = SegmentKey::of([("new", None)]);
        let texts = text(&new);
        let values: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = nearest.suggest([(key, &attributes(&by, &values))]).unwrap().remove(&key);

        let differing = |one: &[u8], other: &[u8]| -> Vec<usize> {
            (0..4).filter(|place| one[*place] != other[*place]).collect()
        };
        let share = |place: usize| -> (u64, u64) {
            let (mut pairs, mut same) = (0, 0);
            for (n, (one, (text, ..))) in rows.iter().enumerate() {
                for (other, (next, ..)) in &rows[n + 1..] {
                    if differing(one, other) == [place] {
                        pairs += 1;
                        same += u64::from(text == next);
                    }
                }
            }
            (pairs, same)
        };
        let shares: Vec<(u64, u64)> = (0..4).map(share).collect();
        let mattering = |fields: &[usize]| -> u128 {
            let least = fields.iter().map(|f| match shares[*f] {
                (0, _) => 0,
                (pairs, same) => u128::from(same) * (1 << 60) / u128::from(pairs),
            });
            u128::MAX - least.min().unwrap_or_default()
        };
        let best = rows.iter().enumerate().min_by_key(|(place, (values, (_, customers, run)))| {
            let differs = differing(values, &new);
            (differs.len(), mattering(&differs), Reverse(*customers), Reverse(*run), *place)
        });
        match (found, best) {
            (None, None) => {}
            (Some(found), Some((place, (values, _)))) => {
                prop_assert_eq!(found.message_id, id(place + 1));
                let differs = differing(values, &new);
                prop_assert_eq!(found.differs.len(), differs.len());
                let mut most = differs.iter().map(|f| shares[*f]);
                let evidence = (found.evidence.pairs, found.evidence.same);
                prop_assert!(most.any(|share| share == evidence), "{:?}", found);
            }
            (found, best) => prop_assert!(false, "{:?} {:?}", found, best),
        }
    }
}
