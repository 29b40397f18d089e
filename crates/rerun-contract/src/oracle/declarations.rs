//! Random declarations of value rules.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::subsequence;
use serde_json::{Value, json};

fn text_rules() -> impl Strategy<Value = Value> {
    let normalise = subsequence(vec!["collapse_spaces", "casefold", "separators"], 0..=3);
    let nulls = subsequence(vec!["N/A", "not set", "-", "0", " DE ", "n. a."], 0..=3);
    let values = subsequence(
        vec![
            ("California", "CA"),
            ("N/A", "n. a."),
            ("new york", "NY"),
            ("strasse", "Str."),
            ("36", "thirty six"),
            ("é", "e\u{301}"),
        ],
        0..=5,
    );
    (normalise, nulls, values).prop_map(|(normalise, nulls, values)| {
        let values: serde_json::Map<String, Value> = values
            .into_iter()
            .map(|(from, to)| (from.to_owned(), json!(to.replace("e\u{301}", "é"))))
            .collect();
        json!({ "normalise": normalise, "null": nulls, "values": values })
    })
}

fn typed_rules() -> impl Strategy<Value = Value> {
    let nulls = subsequence(vec!["N/A", "0", "-"], 0..=2);
    let values = subsequence(
        vec![
            ("term_36", "36"),
            ("low", "0.1"),
            ("Yes", "1"),
            ("de", "nothing"),
        ],
        0..=3,
    );
    let kind = prop_oneof![
        Just(json!({ "type": "number" })),
        Just(json!({ "type": "number", "decimal": "," })),
        Just(
            json!({ "type": "number", "bins": [0.1, 36, 25_000], "labels": ["low", "some", "more", "high"] })
        ),
        Just(
            json!({ "type": "number", "decimal": ",", "bins": [36, 25_000], "labels": ["low", "36", "1.234"] })
        ),
        Just(json!({ "type": "boolean" })),
    ];
    (kind, nulls, values, any::<bool>()).prop_map(|(mut item, nulls, values, collapse)| {
        let values: serde_json::Map<String, Value> = values
            .into_iter()
            .map(|(from, to)| (from.to_owned(), json!(to)))
            .collect();
        item["null"] = json!(nulls);
        item["values"] = Value::Object(values);
        if collapse {
            item["normalise"] = json!(["collapse_spaces"]);
        }
        item
    })
}

/// A field of this name, with rules or without.
pub fn item(name: &'static str) -> impl Strategy<Value = Value> {
    let ruled = prop_oneof![text_rules(), typed_rules()].prop_map(move |mut rules| {
        rules["field"] = json!(name);
        rules
    });
    prop_oneof![1 => Just(json!(name)), 6 => ruled]
}

/// A declaration of the fields `x` and `y`.
pub fn declaration() -> impl Strategy<Value = Value> {
    (item("x"), item("y")).prop_map(|(x, y)| json!([x, y]))
}
