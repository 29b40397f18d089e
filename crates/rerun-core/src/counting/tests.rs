use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Counting;
use crate::segment::{SegmentBy, SegmentKey};

fn by(items: &Value) -> SegmentBy {
    SegmentBy::declare(serde_json::from_value(items.clone()).unwrap()).unwrap()
}

/// The segments of customers with these values of the one field of `item`, by attribute.
#[expect(clippy::needless_pass_by_value, reason = "shorter where it is called")]
fn counted(item: Value, values: &[&str]) -> Vec<(Option<String>, i64)> {
    let segment_by = by(&json!([item]));
    let mut counting = Counting::new(&segment_by, 1_000);
    for value in values {
        counting.add([(!value.is_empty()).then_some(*value)], 1);
    }
    let segments = counting.finish().segments;
    let mut counted: Vec<_> = segments
        .iter()
        .map(|segment| {
            let attributes = segment.attributes.to_map().unwrap();
            (
                attributes.into_values().next().unwrap(),
                segment.customer_count,
            )
        })
        .collect();
    counted.sort();
    counted
}

fn shown(counts: &[(&str, i64)]) -> Vec<(Option<String>, i64)> {
    let shown = counts
        .iter()
        .map(|(value, customers)| ((!value.is_empty()).then(|| (*value).to_owned()), *customers));
    shown.collect()
}

fn key(items: &Value, values: &[&str]) -> SegmentKey {
    let values = values
        .iter()
        .map(|value| (!value.is_empty()).then_some(*value));
    by(items).key(values)
}

#[test]
fn blanks_case_and_separators_make_no_difference_where_declared() {
    let values = [
        "New York",
        "new\u{a0}york",
        "NEW\u{3000} YORK",
        "new_york",
        "new – york",
        "NEW-YORK",
    ];
    let item = |rules: &[&str]| json!({ "field": "x", "normalise": rules });
    assert_eq!(counted(item(&[]), &values).len(), 6);
    assert_eq!(
        counted(item(&["collapse_spaces"]), &values),
        shown(&[
            ("NEW YORK", 1),
            ("NEW-YORK", 1),
            ("New York", 1),
            ("new york", 1),
            ("new – york", 1),
            ("new_york", 1)
        ])
    );
    assert_eq!(
        counted(item(&["casefold", "separators"]), &values),
        shown(&[("NEW-YORK", 6)]),
        "of equally common spellings the first in code-point order"
    );
    assert_eq!(
        counted(item(&["collapse_spaces", "casefold"]), &values),
        shown(&[
            ("NEW YORK", 3),
            ("NEW-YORK", 1),
            ("new – york", 1),
            ("new_york", 1)
        ])
    );
}

#[test]
fn case_folding_is_full() {
    let item = json!({ "field": "x", "normalise": ["casefold"] });
    assert_eq!(
        counted(
            item.clone(),
            &["Straße", "STRASSE", "STRAẞE", "strasse", "strasse"]
        ),
        shown(&[("strasse", 5)])
    );
    assert_eq!(counted(item.clone(), &["ﬁn", "FIN"]), shown(&[("FIN", 2)]));
    assert_eq!(counted(item.clone(), &["İ", "i\u{307}", "i"]).len(), 2);
    assert_eq!(counted(item, &["Όσος", "ΌΣΟΣ"]).len(), 1);
}

#[test]
fn a_value_of_separators_alone_stays_as_it_is() {
    let item = json!({ "field": "x", "normalise": ["separators"] });
    assert_eq!(
        counted(item, &["-", "--", "_", "- -", "a-b", "a_b"]),
        shown(&[("-", 1), ("- -", 1), ("--", 1), ("_", 1), ("a-b", 2)])
    );
}

#[test]
fn null_values_are_compared_without_case_and_never_after_separators() {
    let item =
        json!({ "field": "x", "normalise": ["separators"], "null": [" N/A", "not set", ""] });
    assert_eq!(
        counted(item, &["n/a", "N/A", "NOT SET", "not-set", ""]),
        shown(&[("", 4), ("not-set", 1)])
    );
    let item = json!({ "field": "x", "normalise": ["collapse_spaces"], "null": ["not  set"] });
    assert_eq!(
        counted(item, &["not set", "not\u{a0} set"]),
        shown(&[("", 2)])
    );
}

#[test]
fn a_map_takes_one_step_and_comes_after_null() {
    let item = json!({ "field": "x", "normalise": ["casefold"], "null": ["none"],
        "values": { "none": "A", "California": "CA", "calif.": "CA" } });
    assert_eq!(
        counted(
            item,
            &["california", "CALIF.", "ca", "ca", "Ca", "None", "Nevada"]
        ),
        shown(&[("", 1), ("CA", 5), ("Nevada", 1)])
    );
    let literal =
        json!({ "field": "x", "normalise": ["collapse_spaces"], "values": { "a": "b  c" } });
    assert_eq!(
        counted(literal, &["a", "b  c"]),
        shown(&[("b  c", 1), ("b c", 1)])
    );
}

#[test]
fn types_are_part_of_the_key() {
    let number = json!([{ "field": "x", "type": "number" }]);
    let boolean = json!([{ "field": "x", "type": "boolean" }]);
    let bins = json!([{ "field": "x", "type": "number", "bins": [10], "labels": ["36", "more"] }]);
    let folded = json!([{ "field": "x", "normalise": ["casefold"] }]);
    let text = json!(["x"]);
    assert_ne!(key(&number, &["36"]), key(&text, &["36"]));
    assert_ne!(key(&number, &["36"]), key(&bins, &["5"]));
    assert_ne!(key(&bins, &["5"]), key(&text, &["36"]));
    assert_ne!(key(&number, &["1"]), key(&boolean, &["1"]));
    assert_ne!(key(&boolean, &["true"]), key(&text, &["true"]));
    assert_eq!(key(&number, &["term"]), key(&text, &["term"]), "unparsed");
    assert_eq!(key(&number, &["036.0"]), key(&number, &["36"]));
    assert_eq!(key(&folded, &["DE"]), key(&text, &["de"]));
    assert_eq!(key(&number, &[""]), key(&text, &[""]));
    assert_eq!(key(&text, &["DE"]), SegmentKey::of([("x", Some("DE"))]));
}

#[test]
fn typed_values_are_shown_in_one_form() {
    let number = json!({ "field": "x", "type": "number", "null": ["-"] });
    assert_eq!(
        counted(
            number,
            &[
                "36",
                "036",
                "+36.0",
                "1,000.50",
                "-0",
                "0",
                "-",
                "３６",
                "36 months"
            ]
        ),
        shown(&[
            ("", 1),
            ("0", 2),
            ("1000.5", 1),
            ("36", 3),
            ("36 months", 1),
            ("３６", 1)
        ])
    );
    let boolean = json!({ "field": "x", "type": "boolean", "values": { "ja": "Yes" } });
    assert_eq!(
        counted(
            boolean,
            &["YES", "y", "1", "true", "ja", "No", "0", "maybe"]
        ),
        shown(&[("false", 2), ("maybe", 1), ("true", 5)])
    );
    let bins = json!({ "field": "x", "type": "number", "bins": [0.1, 25000],
        "labels": ["low", "middle", "high"] });
    assert_eq!(
        counted(
            bins,
            &[
                "-5",
                "0.0999999999999999999999",
                "0.1",
                "0.10",
                "24999.99",
                "25000",
                "low",
                "9e9"
            ]
        ),
        shown(&[
            ("9e9", 1),
            ("high", 1),
            ("low", 1),
            ("low", 2),
            ("middle", 3)
        ]),
        "a text that equals a label is a segment of its own"
    );
}

#[test]
fn the_commonest_spelling_is_that_of_the_whole_group() {
    let segment_by = by(&json!([{ "field": "a", "normalise": ["casefold"] }, "b"]));
    let mut counting = Counting::new(&segment_by, 10);
    counting.add([Some("De"), Some("1")], 3);
    counting.add([Some("DE"), Some("1")], 1);
    counting.add([Some("DE"), Some("2")], 5);
    counting.add([None, Some("2")], 2);
    let counted = counting.finish();
    let mut shown: Vec<_> = counted
        .segments
        .iter()
        .map(|segment| (segment.attributes.as_json(), segment.customer_count))
        .collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            ("{\"a\":\"DE\",\"b\":\"1\"}", 4),
            ("{\"a\":\"DE\",\"b\":\"2\"}", 5),
            ("{\"a\":null,\"b\":\"2\"}", 2)
        ]
    );
    let customers: Vec<i64> = counted.fields.iter().map(|field| field.customers).collect();
    assert_eq!(customers, [9, 11]);
}

#[test]
fn unparsed_values_and_nulls_are_counted_by_customers() {
    let segment_by = by(&json!([{ "field": "n", "type": "number", "null": ["-"] }]));
    let mut counting = Counting::new(&segment_by, 10);
    for (value, customers) in [("1", 5), ("one", 3), ("two", 4), ("-", 2)] {
        counting.add([Some(value)], customers);
    }
    let [field] = counting.finish().fields[..] else {
        panic!("one field")
    };
    assert_eq!(
        (field.customers, field.unparsed, field.too_many),
        (12, 7, false)
    );
}

#[test]
fn too_many_combinations_name_the_field_with_the_most_values() {
    let segment_by =
        by(&json!([{ "field": "b", "type": "number", "bins": [], "labels": ["all"] }, "a", "c"]));
    let mut counting = Counting::new(&segment_by, 2);
    for n in 0..20 {
        counting.add([Some("x"), Some(n.to_string().as_str()), Some("y")], 1);
    }
    counting.add([Some("x"), Some("0"), Some("z")], 1);
    let counted = counting.finish();
    let flags: Vec<bool> = counted.fields.iter().map(|field| field.too_many).collect();
    assert_eq!(flags, [false, true, false]);
    assert!(counted.is_too_much(2));
}

#[test]
fn counts_are_kept_under_rules_that_make_the_same_difference() {
    let canonical = |items: Value| by(&items).canonical();
    assert_eq!(canonical(json!(["b", "a"])), "[\"a\",\"b\"]");
    assert_eq!(
        canonical(json!([{ "field": "a", "normalise": [], "type": "text" }])),
        "[\"a\"]"
    );
    let one = canonical(
        json!([{ "field": "a", "null": ["x", "Y"], "normalise": ["casefold", "separators"] }, "b"]),
    );
    let other = canonical(
        json!(["b", { "field": "a", "null": ["y", "X", "x"], "normalise": ["separators", "casefold"] }]),
    );
    assert_eq!(one, other);
    assert!(
        one.starts_with("[\"a\",\"b\"] ") && one.len() < 100,
        "{one}"
    );
    assert_ne!(
        one,
        canonical(
            json!([{ "field": "a", "null": ["x"], "normalise": ["casefold", "separators"] }, "b"])
        )
    );
    assert_ne!(
        canonical(json!([{ "field": "a", "type": "number", "bins": [1], "labels": ["a", "b"] }])),
        canonical(json!([{ "field": "a", "type": "number", "bins": [1.5], "labels": ["a", "b"] }])),
    );
}

/// A customer's own key is that of the segment that counting puts the customer in.
#[test]
fn a_customers_key_is_its_segments() {
    let items = json!([{ "field": "b", "type": "number", "bins": [10], "labels": ["low", "high"] },
        { "field": "a", "normalise": ["casefold"], "values": { "x": "Y" } }]);
    let segment_by = by(&items);
    let mut keys: BTreeMap<SegmentKey, i64> = BTreeMap::new();
    let mut counting = Counting::new(&segment_by, 100);
    for values in [
        [Some("X"), Some("5")],
        [Some("y"), Some("9.99")],
        [None, Some("11")],
        [Some("y"), None],
        [Some("Y"), Some("low")],
    ] {
        counting.add(values, 2);
        *keys.entry(segment_by.key(values)).or_default() += 2;
    }
    let counted: BTreeMap<_, _> = counting
        .finish()
        .segments
        .into_iter()
        .map(|s| (s.key, s.customer_count))
        .collect();
    assert_eq!(counted, keys);
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_group_has_too_much_beyond_the_limit() {
    let by = SegmentBy::new(&["x"]).unwrap();
    let mut counting = Counting::new(&by, 2);
    counting.add([Some("a")], 1);
    counting.add([Some("b")], 1);
    let mut counted = counting.finish();
    assert!(!counted.is_too_much(2));
    assert!(counted.is_too_much(1));
    counted.fields[0].too_many = true;
    assert!(counted.is_too_much(2));
}
