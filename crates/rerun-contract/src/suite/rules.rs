//! How value rules make segments of a group, judged by an oracle that shares no code with them.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};
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

/// Values as exports have them, each with the form in which they are compared: trimmed and in NFC.
const VALUES: &[(&str, &str)] = &[
    ("", ""),
    (" \u{3000}\u{a0}", ""),
    ("a", "a"),
    (" A\u{2003}", "A"),
    ("de", "de"),
    ("DE", "DE"),
    ("De", "De"),
    ("California", "California"),
    ("CALIFORNIA", "CALIFORNIA"),
    ("CA", "CA"),
    ("ca", "ca"),
    ("New York", "New York"),
    ("new\u{a0}york", "new\u{a0}york"),
    ("NEW \u{3000}YORK", "NEW \u{3000}YORK"),
    ("new_york", "new_york"),
    ("New-York", "New-York"),
    ("new–york", "new–york"),
    ("new — york", "new — york"),
    ("new\tyork", "new\tyork"),
    ("N/A", "N/A"),
    ("n/a", "n/a"),
    ("not  set", "not  set"),
    ("Not Set", "Not Set"),
    ("not_set", "not_set"),
    ("-", "-"),
    ("--", "--"),
    ("_ –", "_ –"),
    ("-a", "-a"),
    ("_a", "_a"),
    ("Straße", "Straße"),
    ("STRASSE", "STRASSE"),
    ("STRAẞE", "STRAẞE"),
    ("İ", "İ"),
    ("i\u{307}", "i\u{307}"),
    ("I", "I"),
    ("e\u{301}", "é"),
    ("É", "É"),
    ("E\u{301}", "É"),
    ("ﬁ", "ﬁ"),
    ("FI", "FI"),
    ("\u{212b}", "Å"),
    ("å", "å"),
    ("Ａ", "Ａ"),
    ("ａ", "ａ"),
    ("36", "36"),
    ("036", "036"),
    ("+36", "+36"),
    ("36.0", "36.0"),
    ("36,0", "36,0"),
    ("３６", "３６"),
    ("term_36", "term_36"),
    ("-0", "-0"),
    ("0", "0"),
    ("1", "1"),
    ("0.1", "0.1"),
    ("0.10", "0.10"),
    ("0,1", "0,1"),
    ("0.09999999999999999999", "0.09999999999999999999"),
    ("25000", "25000"),
    ("25,000", "25,000"),
    ("25.000", "25.000"),
    ("24,999.99", "24,999.99"),
    ("24.999,99", "24.999,99"),
    ("0,001", "0,001"),
    ("1,00", "1,00"),
    ("1e3", "1e3"),
    (".5", ".5"),
    ("5.", "5."),
    ("true", "true"),
    ("TRUE", "TRUE"),
    ("Yes", "Yes"),
    ("n", "n"),
    ("low", "low"),
    ("high", "high"),
];

/// The folded form of the characters in [`VALUES`] whose folding is not that of ASCII.
const FOLDED: &[(char, &str)] = &[
    ('ß', "ss"),
    ('ẞ', "ss"),
    ('İ', "i\u{307}"),
    ('É', "é"),
    ('ﬁ', "fi"),
    ('Å', "å"),
    ('Ａ', "ａ"),
];

/// What the oracle makes of a value: its type and what it is compared by.
type Identity = (&'static str, String);

fn fold(text: &str) -> String {
    let mut folded = String::new();
    for c in text.chars() {
        match FOLDED.iter().find(|(upper, _)| *upper == c) {
            Some((_, lower)) => folded.push_str(lower),
            None => folded.push(c.to_ascii_lowercase()),
        }
    }
    folded
}

/// The text cut at blanks, its pieces joined by one space.
fn joined(text: &str, blank: &[char]) -> String {
    let mut text = text.to_owned();
    for c in blank {
        text = text.replace(*c, " ");
    }
    while text.contains("  ") {
        text = text.replace("  ", " ");
    }
    text
}

const BLANKS: &[char] = &[' ', '\t', '\u{a0}', '\u{3000}'];
const SEPARATORS: &[char] = &[' ', '\t', '\u{a0}', '\u{3000}', '_', '-', '–'];

/// A number in units of 10^-20, by long arithmetic on `i128`.
fn units(text: &str, decimal: char) -> Option<i128> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let other = if decimal == '.' { ',' } else { '.' };
    let parts: Vec<&str> = text.split(decimal).collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let groups: Vec<&str> = parts[0].split(other).collect();
    if groups.len() > 1 {
        let first = groups[0];
        if first.is_empty() || first.len() > 3 || first.starts_with('0') {
            return None;
        }
        if groups[1..].iter().any(|group| group.len() != 3) {
            return None;
        }
    }
    let whole = groups.concat();
    let mut digits = whole;
    let fraction = parts.get(1).copied().unwrap_or_default();
    digits.push_str(fraction);
    digits.push_str(&"0".repeat(20_usize.checked_sub(fraction.len())?));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i128>().ok().map(|units| sign * units)
}

fn shortest(units: i128) -> String {
    let unit = 10_i128.pow(20);
    let (whole, fraction) = (units.abs() / unit, units.abs() % unit);
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{fraction:020}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The rules of one field, straight from the JSON that declares them.
struct Oracle<'a>(&'a Value);

impl Oracle<'_> {
    fn has(&self, rule: &str) -> bool {
        let rules = self.0["normalise"].as_array();
        rules.is_some_and(|rules| rules.iter().any(|r| r == rule))
    }

    fn spelled(&self, text: &str) -> String {
        if self.has("collapse_spaces") {
            joined(text, BLANKS)
        } else {
            text.to_owned()
        }
    }

    fn key(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.has("casefold") {
            text = fold(&text);
        }
        if self.has("separators") && text.chars().any(|c| !SEPARATORS.contains(&c)) {
            text = joined(&text, SEPARATORS);
        }
        text
    }

    /// Identity and spelling of a normal value.
    fn value(&self, normal: &str) -> Option<(Identity, String)> {
        if normal.is_empty() {
            return None;
        }
        let mut text = self.spelled(normal);
        for null in self.0["null"].as_array().into_iter().flatten() {
            if fold(&self.spelled(null.as_str().unwrap().trim())) == fold(&text) {
                return None;
            }
        }
        for (from, target) in self.0["values"].as_object().into_iter().flatten() {
            if self.key(&self.spelled(from)) == self.key(&text) {
                target.as_str().unwrap().clone_into(&mut text);
                break;
            }
        }
        let decimal = if self.0["decimal"] == "," { ',' } else { '.' };
        match self.0["type"].as_str() {
            Some("boolean") => {
                let lower = text.to_lowercase();
                if ["true", "yes", "y", "1"].contains(&lower.as_str()) {
                    return Some((("boolean", "true".into()), "true".into()));
                }
                if ["false", "no", "n", "0"].contains(&lower.as_str()) {
                    return Some((("boolean", "false".into()), "false".into()));
                }
                Some((("text", text.clone()), text))
            }
            Some("number") => {
                let Some(number) = units(&text, decimal) else {
                    return Some((("text", text.clone()), text));
                };
                let Some(edges) = self.0["bins"].as_array() else {
                    let text = shortest(number);
                    return Some((("number", text.clone()), text));
                };
                let mut bin = 0;
                for edge in edges {
                    if units(&edge.to_string(), '.').unwrap() <= number {
                        bin += 1;
                    }
                }
                let label = self.0["labels"][bin].as_str().unwrap().to_owned();
                Some((("bin", label.clone()), label))
            }
            _ => Some((("text", self.key(&text)), text)),
        }
    }
}

fn oracle_segments(
    items: &Value,
    rows: &[Vec<(&'static str, &'static str)>],
) -> Vec<(BTreeMap<String, Option<String>>, i64)> {
    let items: Vec<Value> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            if item.is_string() {
                json!({ "field": item })
            } else {
                item.clone()
            }
        })
        .collect();
    let mut groups: HashMap<Vec<Option<Identity>>, i64> = HashMap::new();
    let mut spellings: HashMap<(usize, Identity), BTreeMap<String, i64>> = HashMap::new();
    for row in rows {
        let values: Vec<_> = items
            .iter()
            .zip(row)
            .map(|(item, (_, normal))| Oracle(item).value(normal))
            .collect();
        for (place, value) in values.iter().enumerate() {
            if let Some((identity, spelling)) = value {
                let counts = spellings.entry((place, identity.clone())).or_default();
                *counts.entry(spelling.clone()).or_default() += 1;
            }
        }
        let identities = values.into_iter().map(|value| Some(value?.0)).collect();
        *groups.entry(identities).or_default() += 1;
    }
    let shown = |place: usize, identity: &Identity| -> String {
        let item = &items[place];
        let targets = item["values"].as_object().into_iter().flatten();
        let mut targets: Vec<&str> = targets
            .map(|(_, target)| target.as_str().unwrap())
            .filter(|target| identity.0 == "text" && Oracle(item).key(target) == identity.1)
            .collect();
        targets.sort_unstable();
        if let Some(target) = targets.first() {
            return (*target).to_owned();
        }
        let counts = &spellings[&(place, identity.clone())];
        let most = counts.values().max().unwrap();
        counts
            .iter()
            .find(|(_, count)| *count == most)
            .unwrap()
            .0
            .clone()
    };
    let mut segments: Vec<_> = groups
        .iter()
        .map(|(identities, count)| {
            let attributes = identities.iter().enumerate().map(|(place, identity)| {
                let name = items[place]["field"].as_str().unwrap().to_owned();
                (
                    name,
                    identity.as_ref().map(|identity| shown(place, identity)),
                )
            });
            (attributes.collect(), *count)
        })
        .collect();
    segments.sort();
    segments
}

fn text_rules() -> impl Strategy<Value = Value> {
    let normalise = subsequence(vec!["collapse_spaces", "casefold", "separators"], 0..=3);
    let nulls = subsequence(vec!["N/A", "not set", "-", "0", " DE "], 0..=3);
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

fn item(name: &'static str) -> impl Strategy<Value = Value> {
    let ruled = prop_oneof![text_rules(), typed_rules()].prop_map(move |mut rules| {
        rules["field"] = json!(name);
        rules
    });
    prop_oneof![1 => Just(json!(name)), 6 => ruled]
}

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
                let expected = oracle_segments(&items, &rows);
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
