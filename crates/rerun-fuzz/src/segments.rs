use std::collections::{BTreeMap, BTreeSet, HashMap};

use rerun_core::segment::{Attributes, SegmentBy, SegmentKey};
use rerun_core::text;
use unicode_normalization::UnicodeNormalization;

/// Field names with values, in the order in which they were listed.
type Listed = Vec<(String, Option<String>)>;
/// The same, as they are compared.
type Profile = BTreeMap<String, Option<String>>;

// Bytes that UTF-8 never has, so that names and values may hold whatever text there is.
const BETWEEN_PROFILES: u8 = 0xfd;
const BEFORE_VALUE: u8 = 0xfe;
const BETWEEN_FIELDS: u8 = 0xff;

fn listed(data: &[u8]) -> Listed {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = data.split(|byte| *byte == BETWEEN_FIELDS);
    fields
        .take(MOST_FIELDS)
        .map(|field| {
            let mut halves = field.splitn(2, |byte| *byte == BEFORE_VALUE);
            (
                halves.next().map(text).unwrap_or_default(),
                halves.next().map(text),
            )
        })
        .collect()
}

/// Fields after these are left out: a segmentation has fewer.
const MOST_FIELDS: usize = 12;

/// What is compared of a text, said with the definition of NFC alone.
fn compared(text: &str) -> Option<String> {
    let text: String = text.trim().nfc().collect();
    (!text.is_empty()).then_some(text)
}

fn profile(listed: &Listed) -> Profile {
    let fields = listed
        .iter()
        .filter_map(|(name, value)| Some((compared(name)?, value.as_deref().and_then(compared))));
    fields.collect()
}

fn pairs(profile: &Profile) -> impl Iterator<Item = (&str, Option<&str>)> {
    profile
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
}

fn key_of(listed: &Listed) -> SegmentKey {
    SegmentKey::of(
        listed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref())),
    )
}

/// A segmentation by these names is taken exactly when the published API takes it, and its order
/// of listing is forgotten.
fn segmentation(listed: &Listed) {
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    let normal: Vec<Option<String>> = names.iter().map(|name| compared(name)).collect();
    let distinct: BTreeSet<&str> = normal.iter().flatten().map(String::as_str).collect();
    let fits = |name: &Option<String>| {
        name.as_deref().is_some_and(|name| {
            !name.contains('\0') && name.chars().count() <= SegmentBy::MAX_FIELD_LENGTH
        })
    };
    let right = (1..=SegmentBy::MAX_FIELDS).contains(&names.len())
        && normal.iter().all(fits)
        && distinct.len() == names.len();
    let taken = SegmentBy::new(&names);
    assert_eq!(taken.is_ok(), right, "{taken:?}");
    let Ok(taken) = taken else {
        return;
    };
    assert!(taken.sorted().into_iter().eq(distinct.iter().copied()));
    let canonical: Vec<String> = serde_json::from_str(&taken.canonical()).unwrap();
    assert!(canonical.iter().eq(distinct.iter()));
    for turn in 1..names.len() {
        let mut turned = names.clone();
        turned.rotate_left(turn);
        let backwards: Vec<&str> = turned.iter().rev().copied().collect();
        for order in [turned, backwards] {
            let other = SegmentBy::new(&order).unwrap();
            assert_eq!(other.canonical(), taken.canonical());
            assert_eq!(other.sorted(), taken.sorted());
        }
    }
    let stored: SegmentBy = serde_json::from_str(&serde_json::to_string(&taken).unwrap()).unwrap();
    assert_eq!(stored, taken);
}

/// Fields that a careless key could take for these: what stands beside a border moves over it,
/// parts merge, and a value that is missing becomes one of the texts that look like it.
fn near(listed: &Listed) -> Vec<Listed> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Listed)| {
        let mut changed = listed.clone();
        change(&mut changed);
        all.push(changed);
    };
    for at in 0..listed.len() {
        with(&|fields| {
            fields.remove(at);
        });
        with(&|fields| fields.insert(at, fields[at].clone()));
        for text in ["", "null", "\0", " "] {
            with(&|fields| fields[at].1 = Some(text.to_owned()));
        }
        with(&|fields| fields[at].1 = None);
        with(&|fields| {
            let (name, value) = fields[at].clone();
            fields[at] = (value.unwrap_or_default(), Some(name));
        });
        with(&|fields| {
            let value = fields[at].1.take();
            fields[at].0 += value.as_deref().unwrap_or_default();
        });
        // What a key could put between its parts.
        for border in ["\0", "\u{1}"] {
            with(&|fields| {
                let value = fields[at].1.take();
                fields[at].0 += border;
                fields[at].0 += value.as_deref().unwrap_or_default();
            });
            with(&|fields| *fields[at].1.get_or_insert_default() += border);
        }
        with(&|fields| {
            if let Some(last) = fields[at].0.pop() {
                let value = fields[at].1.get_or_insert_default();
                value.insert(0, last);
            }
        });
        with(&|fields| {
            let value = fields[at].1.get_or_insert_default();
            if let Some(first) = value.chars().next() {
                value.remove(0);
                fields[at].0.push(first);
            }
        });
        with(&|fields| {
            if at + 1 < fields.len() {
                let (name, value) = fields.remove(at + 1);
                let kept = fields[at].1.get_or_insert_default();
                *kept += &name;
                *kept += value.as_deref().unwrap_or_default();
            }
        });
        with(&|fields| {
            if at + 1 < fields.len() {
                let value = fields[at].1.take();
                fields[at].1 = fields[at + 1].1.take();
                fields[at + 1].1 = value;
            }
        });
    }
    all
}

/// A key is equal exactly when its fields are, and everything made of a profile comes back.
fn one(listed: &Listed) {
    segmentation(listed);

    let key = key_of(listed);
    assert_eq!(SegmentKey::from_bytes(key.as_bytes()), Some(key));
    assert_eq!(SegmentKey::from_bytes(&key.as_bytes()[1..]), None);
    let text = key.to_string();
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(text.len() == 64 && text.bytes().all(digits), "{text}");
    assert_eq!(serde_json::to_value(key).unwrap(), text);
    let mut known = HashMap::from([(key, listed.clone())]);
    for other in near(listed) {
        let same = known.entry(key_of(&other)).or_insert_with(|| other.clone());
        assert_eq!(*same, other, "of one key");
    }

    let profile = profile(listed);
    let attributes = Attributes::new(pairs(&profile));
    assert_eq!(attributes.to_map().unwrap(), profile);
    let stored = Attributes::from_stored(attributes.as_json().to_owned());
    assert_eq!(stored, attributes);
    assert_eq!(
        serde_json::to_string(&attributes).unwrap(),
        serde_json::to_string(&profile).unwrap()
    );
    let names: Vec<&str> = profile.keys().map(String::as_str).collect();
    if let Ok(by) = SegmentBy::new(&names) {
        let segment = by.segment(|field| profile.get(field)?.as_deref(), 1);
        assert_eq!(segment.key, SegmentKey::of(pairs(&profile)));
        assert_eq!(segment.attributes, attributes);
    }

    for text in listed
        .iter()
        .flat_map(|(name, value)| [Some(name), value.as_ref()])
        .flatten()
    {
        let normal = text::normalise(text);
        assert_eq!(normal.as_deref(), compared(text).as_deref(), "{text:?}");
        let apart: String = text.nfd().collect();
        let padded = format!("\u{3000}\t{apart}\r\n\u{a0}");
        assert_eq!(text::normalise(&padded), normal, "{text:?} taken apart");
    }
}

/// Keys of segments are equal exactly when names and values are, in whatever order.
///
/// The input is two profiles with the byte FD between them. A profile is fields with FF between
/// them, a field is a name and, after FE, a value: without FE the customer has none.
pub fn segments(data: &[u8]) {
    let mut halves = data.splitn(2, |byte| *byte == BETWEEN_PROFILES);
    let [left, right] = [(); 2].map(|()| listed(halves.next().unwrap_or_default()));
    one(&left);
    one(&right);
    assert_eq!(key_of(&left) == key_of(&right), left == right);
    let [left, right] = [profile(&left), profile(&right)];
    assert_eq!(
        SegmentKey::of(pairs(&left)) == SegmentKey::of(pairs(&right)),
        left == right,
        "{left:?} and {right:?}"
    );
}
