use serde_json::json;

use super::*;
use crate::segment::SegmentBy;

#[test]
fn a_declaration_has_the_name_of_its_field() {
    let name = |item| -> String {
        let item: FieldDeclaration = serde_json::from_value(item).unwrap();
        item.name().to_owned()
    };
    assert_eq!(name(json!("country")), "country");
    assert_eq!(name(json!({ "field": "age", "type": "number" })), "age");
}

fn refused(item: serde_json::Value) -> String {
    let item: FieldDeclaration = serde_json::from_value(item).unwrap();
    SegmentBy::declare(vec!["country".into(), item])
        .unwrap_err()
        .to_string()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_rules_are_refused_with_their_place() {
    for (item, place, said) in [
        (json!({ "field": " " }), "segment_by", "must not be blank"),
        (json!({ "field": "country" }), "segment_by", "twice"),
        (
            json!({ "field": "a", "values": { "x y": "1", "X_y": "2" }, "normalise": ["casefold", "separators"] }),
            "segment_by[1].values",
            "`X_y` and `x y` are the same value after `normalise`",
        ),
        (
            json!({ "field": "a", "values": { "e\u{301}": "1", "é": "2" } }),
            "segment_by[1].values",
            "different targets",
        ),
        (
            json!({ "field": "a", "values": { "x": "" } }),
            "segment_by[1].values",
            "the target of `x` is empty",
        ),
        (
            json!({ "field": "a", "values": { "x": "\u{a0}" } }),
            "segment_by[1].values",
            "is empty",
        ),
        (
            json!({ "field": "a", "values": { "x": "y", "y": "z" } }),
            "segment_by[1].values",
            "the target of `x` is `y`, which has another target",
        ),
        (
            json!({ "field": "a", "values": { "x": "Y", "y": "z" }, "normalise": ["casefold"] }),
            "segment_by[1].values",
            "has another target",
        ),
        (
            json!({ "field": "a", "values": { "x": "a\0" } }),
            "segment_by[1].values.x",
            "NUL",
        ),
        (
            json!({ "field": "a", "null": ["-", "x".repeat(1_001)] }),
            "segment_by[1].null[1]",
            "at most 1000 characters",
        ),
        (
            json!({ "field": "a", "null": vec!["-"; 1_001] }),
            "segment_by[1].null",
            "at most 1000 items, not 1001",
        ),
        (
            json!({ "field": "a", "bins": [1], "labels": ["a", "b"] }),
            "segment_by[1].bins",
            "needs `\"type\": \"number\"`",
        ),
        (
            json!({ "field": "a", "type": "text", "bins": [1], "labels": ["a", "b"] }),
            "segment_by[1].bins",
            "needs",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [2, 1], "labels": ["a", "b", "c"] }),
            "segment_by[1].bins[1]",
            "must ascend",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [1, 1.0], "labels": ["a", "b", "c"] }),
            "segment_by[1].bins[1]",
            "must ascend",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [1], "labels": ["a"] }),
            "segment_by[1].labels",
            "must have 2 items, one more than `bins`; it has 1",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [1] }),
            "segment_by[1].labels",
            "it has 0",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [1], "labels": ["a", " a"] }),
            "segment_by[1].labels[1]",
            "two ranges have the label `a`",
        ),
        (
            json!({ "field": "a", "type": "number", "bins": [1], "labels": ["a", " "] }),
            "segment_by[1].labels[1]",
            "blank",
        ),
        (
            json!({ "field": "a", "type": "number", "labels": ["a"] }),
            "segment_by[1].labels",
            "needs `bins`",
        ),
        (
            json!({ "field": "a", "type": "number", "normalise": ["casefold"] }),
            "segment_by[1].normalise",
            "`casefold` is for texts only, and the type is `number`",
        ),
        (
            json!({ "field": "a", "type": "boolean", "normalise": ["collapse_spaces", "separators"] }),
            "segment_by[1].normalise",
            "`separators` is for texts only",
        ),
        (
            json!({ "field": "a", "decimal": "," }),
            "segment_by[1].decimal",
            "needs",
        ),
        (
            json!({ "field": "a", "type": "number", "decimal": ";" }),
            "segment_by[1].decimal",
            "must be `.` or `,`, not `;`",
        ),
    ] {
        let error = refused(item.clone());
        assert!(error.contains(place), "{item}: {error}");
        assert!(error.contains(said), "{item}: {error}");
    }
}

#[test]
fn what_cannot_be_a_rule_is_refused_when_it_is_read() {
    for (item, said) in [
        (
            json!({ "field": "a", "normalize": [] }),
            "unknown field `normalize`",
        ),
        (
            json!({ "field": "a", "normalise": ["trim"] }),
            "unknown variant `trim`",
        ),
        (
            json!({ "field": "a", "type": "date" }),
            "unknown variant `date`",
        ),
        (json!({ "field": "a", "bins": ["1"] }), "expected a number"),
        (json!({ "field": "a", "bins": [null] }), "expected a number"),
        (json!({ "field": "a", "bins": [[1]] }), "expected a number"),
        (
            json!({ "field": "a", "values": { "x": null } }),
            "expected a string",
        ),
        (
            json!({ "field": "a", "values": [] }),
            "expected an object of strings",
        ),
        (json!({ "normalise": [] }), "missing field `field`"),
        (json!(5), "expected a string or an object with `field`"),
        (json!(null), "expected a string or an object with `field`"),
        (json!(["a"]), "expected a string or an object with `field`"),
    ] {
        let error = serde_json::from_value::<FieldDeclaration>(item.clone()).unwrap_err();
        assert!(error.to_string().contains(said), "{item}: {error}");
    }
}

#[test]
fn rules_come_back_as_they_were_declared() {
    let declared = "[\"country\",{\"field\":\"income\",\"null\":[\"N/A\",\" - \"],\
        \"values\":{\"z\":\"1\",\"a\":\"2\"},\"type\":\"number\",\"decimal\":\".\",\
        \"bins\":[0.10,25000.0,1e5],\"labels\":[\"a\",\" b\",\"c\",\"d\"]},\
        {\"field\":\"x\",\"normalise\":[]}]";
    let items: Vec<FieldDeclaration> = serde_json::from_str(declared).unwrap();
    let taken = SegmentBy::declare(items).unwrap();
    assert_eq!(
        serde_json::to_string(taken.declared().as_ref()).unwrap(),
        declared
    );
    assert_eq!(taken.fields(), ["country", "income", "x"]);
    assert!(taken.has_rules());
    let plain = SegmentBy::declare(vec!["country".into()]).unwrap();
    assert!(!plain.has_rules());
    assert_eq!(plain, SegmentBy::new(&["country"]).unwrap());
}

/// One target for values that are equal, and a target that stays what it is, are no mistakes.
#[test]
fn harmless_maps_are_taken() {
    for item in [
        json!({ "field": "a", "values": { "x": "y", "X": "y" }, "normalise": ["casefold"] }),
        json!({ "field": "a", "values": { "California": "CA", "ca": "CA" }, "normalise": ["casefold"] }),
        json!({ "field": "a", "values": { " ": "CA" } }),
        json!({ "field": "a", "null": ["", " "], "values": {}, "normalise": ["casefold", "casefold"] }),
        json!({ "field": "a", "type": "number", "bins": [], "labels": ["all"] }),
    ] {
        let item: FieldDeclaration = serde_json::from_value(item).unwrap();
        SegmentBy::declare(vec![item]).unwrap();
    }
}

#[test]
fn an_edge_is_a_number() {
    let edge = |json: &str| serde_json::from_str::<Edge>(json);
    for (json, said) in [
        ("\"1\"", "invalid type: string, expected a number"),
        ("[1]", "invalid type: sequence, expected a number"),
        ("{}", "invalid type: map, expected a number"),
        ("null", "invalid type: null, expected a number"),
        ("true", "invalid type: boolean, expected a number"),
    ] {
        let refused = edge(json).unwrap_err().to_string();
        assert!(refused.starts_with(said), "{refused}");
    }
    assert_eq!(edge("-1.0").unwrap(), edge("-1.0").unwrap());
    assert_ne!(edge("-1.0").unwrap(), edge("-1").unwrap());
}
