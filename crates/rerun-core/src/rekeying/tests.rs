use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::counting::Counting;

fn by(items: Value) -> SegmentBy {
    SegmentBy::declare(serde_json::from_value(items).unwrap()).unwrap()
}

fn plain() -> SegmentBy {
    by(json!(["a"]))
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
        types: None,
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

fn decide(from: &SegmentBy, to: &SegmentBy, known: &[KnownSegment]) -> Rekeying {
    let rekey = Rekey::new(from, to, known.to_vec()).unwrap();
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
        segment.types = Some(rekeyed.types.clone());
    }
    known
}

fn keys(known: &[KnownSegment]) -> Vec<(SegmentKey, Option<Displaced>)> {
    let keys = known.iter().map(|segment| (segment.key, segment.displaced));
    keys.collect()
}

fn displaced(known: &[KnownSegment]) -> Vec<Option<Displaced>> {
    known.iter().map(|segment| segment.displaced).collect()
}

#[test]
fn keys_follow_the_rules_and_go_back_with_them() {
    let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
    let old = [known(1, "DE", 1), known(2, "de", 1), known(3, "FR", 3)];
    let rekeying = decide(&plain(), &folded, &old);
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
    assert_eq!(
        decide(&folded, &folded, &new).segments,
        [],
        "nothing changes twice"
    );
    let back = decide(&folded, &plain(), &new);
    assert_eq!((back.before, back.after), (2, 3));
    assert_eq!(keys(&after(&new, &back)), keys(&old));
}

#[test]
fn different_texts_under_one_key_are_a_conflict() {
    let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
    let old = [known(1, "DE", 1), known(2, "de", 2), known(3, "De", 1)];
    let rekeying = decide(&plain(), &folded, &old);
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
    let again = decide(&folded, &folded, &new);
    assert_eq!(again.conflicts, rekeying.conflicts, "it is not settled yet");
    let back = after(&new, &decide(&folded, &plain(), &new));
    assert_eq!(keys(&back), keys(&old));

    // A message that was made for the key since then stands for it.
    let mut settled = new.clone();
    settled.push(KnownSegment {
        key: new[0].key,
        ..known(4, "DE", 9)
    });
    let again = decide(&folded, &folded, &settled);
    assert_eq!((again.conflicts, again.segments), (vec![], vec![]));
    // Once it parts from the others, each stands for its own key; those that stay behind it do not.
    let parted = after(&settled, &decide(&folded, &plain(), &settled));
    let behind = Some(Displaced::Conflict);
    assert_eq!(displaced(&parted), [behind, None, None, None]);
    assert_eq!(decide(&plain(), &plain(), &parted).segments, []);
}

#[test]
fn texts_are_compared_and_not_their_ids() {
    let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
    let old = vec![known(1, "DE", 1), known(2, "de", 2), known(3, "FR", 3)];
    let rekey = Rekey::new(&plain(), &folded, old).unwrap();
    assert_eq!(rekey.contents(), [content(1), content(2)]);
    let alike = vec![known(1, "DE", 1), known(2, "de", 1)];
    let alike = Rekey::new(&plain(), &folded, alike).unwrap();
    assert_eq!(alike.contents(), [], "they have one text");
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
    let rekeying = decide(&plain(), &folded, &old);
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
    let rekeying = decide(&plain(), &folded, &[approved, other]);
    assert_eq!((rekeying.before, rekeying.conflicts.len()), (0, 1));
}

#[test]
fn a_mapped_value_is_shown_as_its_target() {
    let mapped = by(json!([{"field": "a", "values": {"Germany": "DE"}}]));
    let old = [known(1, "DE", 1), known(2, "Germany", 2)];
    let conflict = &decide(&plain(), &mapped, &old).conflicts[0];
    assert_eq!(conflict.segment.attributes.as_json(), r#"{"a":"DE"}"#);
    let folded = json!([{"field": "a", "normalise": ["casefold"], "values": {"Germany": "DE"}}]);
    let old = [known(1, "de", 1), known(2, "dE", 2)];
    let conflict = &decide(&plain(), &by(folded), &old).conflicts[0];
    assert_eq!(conflict.segment.attributes.as_json(), r#"{"a":"DE"}"#);
}

/// The published segment of customers with this value of the field `a`.
fn made(rules: &SegmentBy, no: i32, value: &str) -> KnownSegment {
    let mut counting = Counting::new(rules, 10);
    counting.add([Some(value)], 1);
    let mut counted = counting.finish();
    let segment = counted.segments.pop().unwrap();
    assert_eq!(segment.key, rules.key([Some(value)]));
    KnownSegment {
        key: segment.key,
        attributes: segment.attributes,
        ..known(no, value, u128::try_from(no).unwrap())
    }
}

fn with(rules: &Value, more: Value) -> Value {
    let (mut rules, Value::Object(more)) = (rules.clone(), more) else {
        panic!("rules are objects")
    };
    rules.as_object_mut().unwrap().extend(more);
    rules
}

fn bins(labels: [&str; 2]) -> Value {
    json!({ "bins": [1000], "labels": labels })
}

/// A segment keeps meaning what the rules that made it said, whatever it is spelled like.
#[test]
fn an_attribute_is_what_its_rules_made_of_the_value() {
    let number = json!({ "field": "a", "type": "number" });
    let comma = json!({ "field": "a", "type": "number", "decimal": "," });
    let target = json!({ "field": "a", "values": { "N/A": "n. a." }, "null": ["n. a."] });
    let folded = json!({ "normalise": ["casefold"] });
    // A value under the first rules is this value under the other ones, or none.
    for (from, value, to, now) in [
        (json!("a"), "1.234", comma.clone(), Some("1234")),
        (json!("a"), "1,234", comma.clone(), Some("1,234")),
        (number.clone(), "1,000.5", comma.clone(), Some("1000,5")),
        (comma.clone(), "1000,5", number.clone(), Some("1000.5")),
        (
            comma.clone(),
            "24,125",
            with(&comma, bins(["low", "high"])),
            Some("24,125"),
        ),
        (
            comma.clone(),
            "1.000,5",
            with(&comma, bins(["low", "high"])),
            Some("1000,5"),
        ),
        (
            comma.clone(),
            "36.5",
            with(&comma, json!({ "null": ["x"] })),
            Some("36.5"),
        ),
        (comma.clone(), "36.5", number.clone(), Some("36.5")),
        (
            with(&number, bins(["low", "top"])),
            "low",
            with(&number, bins(["low", "high"])),
            Some("low"),
        ),
        (
            with(&number, bins(["low", "top"])),
            "5",
            with(&number, bins(["low", "high"])),
            Some("7"),
        ),
        (
            number.clone(),
            "low",
            with(&number, bins(["low", "high"])),
            Some("low"),
        ),
        (target.clone(), "N/A", with(&target, folded), Some("n/a")),
        (target.clone(), "N/A", target.clone(), Some("N/A")),
        (
            with(&number, json!({ "null": ["0"] })),
            "0.0",
            with(&number, json!({ "null": ["0", "x"] })),
            Some("0.0"),
        ),
        (
            json!("a"),
            "0",
            with(&number, json!({ "null": ["0"] })),
            Some("0"),
        ),
        // The range `2` is not the number 2.
        (
            with(&number, bins(["1", "2"])),
            "5000",
            number.clone(),
            None,
        ),
        (
            with(&number, bins(["1", "2"])),
            "5000",
            with(&number, bins(["low", "high"])),
            None,
        ),
        (
            with(&number, bins(["1", "0"])),
            "5000",
            json!({ "field": "a", "type": "boolean" }),
            None,
        ),
    ] {
        let what = format!("{from} {value} {to}");
        let (from, to) = (by(json!([from])), by(json!([to])));
        let old = [made(&from, 1, value)];
        let new = after(&old, &decide(&from, &to, &old));
        if let Some(now) = now {
            assert_eq!(new[0].key, to.key([Some(now)]), "{what}");
        } else {
            let keys = ["1", "2", "5000", "no", "yes"].map(|value| to.key([Some(value)]));
            assert!(!keys.contains(&new[0].key), "{what}");
        }
        // By way of no rules at all, and back to where it came from.
        let between = after(&new, &decide(&to, &plain(), &new));
        let again = after(&between, &decide(&plain(), &to, &between));
        assert_eq!(again[0].key, new[0].key, "{what}: again");
        let back = after(&again, &decide(&to, &from, &again));
        assert_eq!(back[0].key, old[0].key, "{what}: back");
    }
}

/// What is spelled alike is told apart by the key that it had, in each field on its own.
#[test]
fn types_are_read_from_the_key() {
    let rules = by(json!([
        { "field": "a", "type": "number", "decimal": "," },
        { "field": "b", "type": "number", "bins": [10], "labels": ["low", "high"] },
        { "field": "c", "type": "boolean" },
        "d",
    ]));
    let attributes = Attributes::new([
        ("a", Some("36.5")),
        ("b", Some("low")),
        ("c", Some("true")),
        ("d", None),
    ]);
    for (a, b, bytes) in [
        ("36.5", "low", [1, 1, 3, 0]),
        ("36,5", "low", [2, 1, 3, 0]),
        ("36.5", "5", [1, 4, 3, 0]),
        ("36,5", "5", [2, 4, 3, 0]),
    ] {
        let key = rules.key([Some(a), Some(b), Some("yes"), None]);
        let types = rules.types_of(&attributes, key).unwrap();
        assert_eq!(types.to_bytes(), bytes, "{a} {b}");
        assert_eq!(AttributeTypes::from_bytes(&bytes), Some(types.clone()));
        assert_eq!(rules.key_of_attributes(&attributes, &types).unwrap(), key);
    }
    for bad in [5, 0x10, 0x11 | 0x20] {
        assert_eq!(AttributeTypes::from_bytes(&[1, bad]), None, "{bad}");
    }
}

/// What the new rules say by themselves is not written.
#[test]
fn types_are_kept_once_the_rules_do_not_say_them() {
    let mapped = by(json!([{"field": "a", "values": {"N/A": "n. a."}, "null": ["n. a."]}]));
    let old = [made(&mapped, 1, "N/A"), made(&mapped, 2, "FR")];
    let same = by(json!([{"field": "a", "values": {"N/A": "n. a."}, "null": ["n. a.", "-"]}]));
    assert_eq!(decide(&mapped, &same, &old).segments, []);
    // A customer may have `n. a.` under these rules: the kept type says that it was another value.
    let rekeying = decide(&mapped, &plain(), &old);
    let [kept] = &rekeying.segments[..] else {
        panic!("{rekeying:?}")
    };
    assert_eq!((kept.no, kept.key), (1, old[0].key));
    assert_eq!(kept.types.to_bytes(), [0x11]);
    let new = after(&old, &rekeying);
    assert_eq!(decide(&plain(), &plain(), &new).segments, []);
    // What was read before reads the same by way of rules that wrote nothing.
    let back = after(&new, &decide(&plain(), &mapped, &new));
    assert_eq!(keys(&back), keys(&old));
}

/// A campaign whose values are in lower case has the keys of `casefold` already.
#[test]
fn segments_that_stay_are_not_written() {
    let folded = by(json!([{"field": "a", "normalise": ["casefold"]}]));
    let old: Vec<KnownSegment> = (1..=100)
        .map(|no| known(no, &format!("v{no}"), 1))
        .collect();
    assert_eq!(decide(&plain(), &folded, &old).segments, []);
    let upper = [&old[..], &[known(101, "UP", 1)]].concat();
    let written = decide(&plain(), &folded, &upper).segments;
    let numbers: Vec<i32> = written.iter().map(|segment| segment.no).collect();
    assert_eq!(numbers, [101]);
}

#[test]
fn conflicts_are_listed_until_they_fill_a_page() {
    let plain = by(json!(["a", "b"]));
    let folded = by(json!([{"field": "a", "normalise": ["casefold"]}, "b"]));
    // Sixty-four conflicts fill a page: each has two messages of 80 bytes, and its attributes.
    let attributes = r#"{"a":"a00","b":""}"#.len();
    let large = "x".repeat(MAX_PAGE_BYTES / 64 - attributes - 2 * 80);
    let pairs = (0..100).flat_map(|pair| {
        ["a", "A"].map(|letter| {
            let no = 2 * pair + i32::from(letter == "a");
            let value = format!("{letter}{pair:02}");
            let pairs = [("a", Some(value.as_str())), ("b", Some(&large))];
            KnownSegment {
                key: SegmentKey::of(pairs),
                attributes: Attributes::new(pairs),
                ..known(no, &value, u128::try_from(no).unwrap())
            }
        })
    });
    let rekeying = decide(&plain, &folded, &pairs.collect::<Vec<_>>());
    assert_eq!(rekeying.conflict_count, 100);
    let bytes: usize = rekeying.conflicts.iter().map(Contents::bytes).sum();
    assert_eq!((rekeying.conflicts.len(), bytes), (64, MAX_PAGE_BYTES));
    // The conflicts of most customers come first.
    assert_eq!(rekeying.conflicts[0].segment.customer_count, 198 + 199);
}
