use std::fmt::Debug;

use rerun_core::Timestamp;
use rerun_core::ids::{AccountId, RunNumber};
use rerun_core::page::{AuditKey, CreatedKey, CursorKey, CursorScope, CustomerKey, MessageKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(1));

const KEY: CursorKey = CursorKey::new([7; 32]);

const SCOPE: CursorScope<'_> = CursorScope {
    key: KEY,
    list: "messages",
    account: ACCOUNT,
    narrowed_by: "one",
};

/// Lists that are not [`SCOPE`]'s, though nearly.
const OTHERS: [CursorScope<'_>; 5] = [
    CursorScope {
        key: KEY,
        list: "message",
        account: ACCOUNT,
        narrowed_by: "sone",
    },
    CursorScope {
        key: KEY,
        list: "messages",
        account: AccountId::new(Uuid::from_u128(2)),
        narrowed_by: "one",
    },
    CursorScope {
        key: KEY,
        list: "messages",
        account: ACCOUNT,
        narrowed_by: "",
    },
    CursorScope {
        key: KEY,
        list: "messages",
        account: ACCOUNT,
        narrowed_by: "one1",
    },
    CursorScope {
        key: CursorKey::new([8; 32]),
        list: "messages",
        account: ACCOUNT,
        narrowed_by: "one",
    },
];

/// Whatever text is taken is the one that was given out.
fn taken<K: DeserializeOwned + Serialize + Debug>(text: &str) {
    if let Ok(key) = SCOPE.decode::<K>(text) {
        let given = SCOPE.encode(&key).unwrap();
        assert_eq!(given, text, "taken for {key:?}");
    }
}

/// A key that a cursor with a good seal holds can be given out again.
fn sealed<K: DeserializeOwned + Serialize + Debug + PartialEq>(json: &str) {
    let Ok(json) = serde_json::from_str::<&RawValue>(json) else {
        return;
    };
    let cursor = SCOPE.encode(&json).unwrap();
    if let Ok(key) = SCOPE.decode::<K>(&cursor) {
        let given = SCOPE.encode(&key).unwrap();
        assert_eq!(SCOPE.decode::<K>(&given).unwrap(), key);
    }
}

/// A key comes back from its own list's cursor, whole, and from no other.
fn round_trip<K: DeserializeOwned + Serialize + Debug + PartialEq>(key: &K, damage: &[u8]) {
    let cursor = SCOPE.encode(key).unwrap();
    assert_eq!(SCOPE.decode::<K>(&cursor).as_ref(), Ok(key));
    for other in OTHERS {
        assert!(other.decode::<K>(&cursor).is_err(), "{other:?}");
    }
    let damaged = damaged(&cursor, damage);
    let taken = SCOPE.decode::<K>(&damaged);
    assert_eq!(taken.is_ok(), damaged == cursor, "{damaged} for {cursor}");
}

/// The cursor after a mishap: what it is, where, and with which character.
fn damaged(cursor: &str, damage: &[u8]) -> String {
    let [how, place, with] = [0, 1, 2].map(|at| damage.get(at).copied().unwrap_or_default());
    let mut text: Vec<char> = cursor.chars().collect();
    let place = usize::from(place) % text.len();
    let other = (place + 1) % text.len();
    match how % 8 {
        0 => text[place] = char::from(with),
        1 => text[place] = text[place].to_ascii_uppercase(),
        2 => drop(text.remove(place)),
        3 => text.insert(place, char::from(with)),
        4 => text.swap(place, other),
        5 => text.truncate(place),
        6 => text.extend(cursor.chars().take(place)),
        _ => text = text.into_iter().skip(place).collect(),
    }
    text.into_iter().collect()
}

/// A cursor is taken exactly as it was given out, for its own list; every other text is refused.
///
/// The input is three bytes that say how a cursor is damaged, sixteen of the key that it is made
/// for, and a text: taken for a cursor, and for the key in one.
pub fn cursors(data: &[u8]) {
    let (damage, data) = data.split_at_checked(3).unwrap_or((data, &[]));
    let (key, text) = data.split_at_checked(16).unwrap_or((&[0; 16], data));
    let text = String::from_utf8_lossy(text);
    taken::<CreatedKey>(&text);
    taken::<MessageKey>(&text);
    taken::<AuditKey>(&text);
    taken::<CustomerKey>(&text);
    sealed::<CreatedKey>(&text);
    sealed::<MessageKey>(&text);
    sealed::<AuditKey>(&text);
    sealed::<CustomerKey>(&text);

    let id = Uuid::from_slice(key).unwrap();
    let (high, low) = id.as_u64_pair();
    let [high, low] = [high, low].map(u64::cast_signed);
    round_trip(&AuditKey(high), damage);
    round_trip(&CustomerKey(text.into_owned()), damage);
    // Up to the end of the last year of four digits.
    let millis = high.rem_euclid(253_402_300_800_000);
    if let Some(created_at) = Timestamp::from_timestamp_millis(millis) {
        round_trip(&CreatedKey { created_at, id }, damage);
    }
    // Halves of the lower number, which fit.
    let halves = [low >> 32, low << 32 >> 32];
    let [number, segment_no] = halves.map(|half| i32::try_from(half).unwrap());
    if let Some(run_number) = RunNumber::new(number.into()) {
        let key = MessageKey {
            run_number,
            segment_no,
        };
        round_trip(&key, damage);
    }
}
