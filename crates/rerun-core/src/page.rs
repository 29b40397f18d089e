//! Paging by key: a page starts after the key of the last row of the page before, so that rows
//! added in between neither shift nor repeat a row, and a deep page costs as much as the first one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::Sha256;

use crate::ids;
use crate::ids::RunNumber;
use crate::invalid::Invalid;
use crate::timestamp::Timestamp;

/// How many rows a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// The largest page.
    pub const MAX: u16 = 10_000;
    /// One row.
    pub(crate) const ONE: Self = Self(1);

    /// # Errors
    /// [`Invalid`] outside 1 to [`Limit::MAX`].
    pub fn new(limit: i64) -> Result<Self, Invalid> {
        u16::try_from(limit)
            .ok()
            .filter(|n| (1..=Self::MAX).contains(n))
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`limit` must be from 1 to {}, not {limit}",
                    Self::MAX
                ))
            })
    }

    /// The number of rows.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(1000)
    }
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// The most rows to answer.
    pub limit: Limit,
    /// The key of the last row seen; `None` for the first page.
    pub after: Option<K>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<K>,
}

/// The contents of a page, in bytes of JSON: it ends early with the row that reaches this. The limit
/// bounds rows, and this what they hold. The first row is there in any case.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

/// How many bytes of contents a store reads for a page, at most, before the last two rows. It may
/// count texts as they are, without what JSON adds to them, and a little more than rows hold, such
/// as blanks between the parts of a stored list: so much more that a page never ends before it is
/// full.
pub const MAX_READ_BYTES: usize = MAX_PAGE_BYTES + MAX_PAGE_BYTES / 2;

/// What a row of a list holds.
pub trait Contents {
    /// The bytes of its texts in a response, where JSON escapes some characters. What every row
    /// has, such as ids and times, does not count.
    fn bytes(&self) -> usize;
}

/// Returns how many bytes a text has between its quotes in JSON: a control character may have six
/// in place of one.
pub(crate) fn json_bytes(text: &str) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.as_bytes().iter().map(escaped).sum()
}

/// The bytes of a text that may be missing.
pub(crate) fn text_bytes(text: Option<&String>) -> usize {
    text.map_or(0, |text| json_bytes(text))
}

/// The bytes of a list of names, with quotes and commas.
pub(crate) fn list_bytes(names: &[String]) -> usize {
    names.iter().map(|name| json_bytes(name) + 3).sum()
}

/// The rows that fill a page, with the one after them that shows that there is a next page.
///
/// # Errors
/// Those of the rows.
pub fn filling<T: Contents, E>(rows: impl IntoIterator<Item = Result<T, E>>) -> Result<Vec<T>, E> {
    let (mut read, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        let is_full = bytes >= MAX_PAGE_BYTES;
        bytes += row.bytes();
        read.push(row);
        if is_full {
            break;
        }
    }
    Ok(read)
}

/// A page that is being read, row by row.
#[derive(Debug)]
pub struct Filling<T> {
    rows: Vec<T>,
    limit: usize,
    bytes: usize,
    over: bool,
}

impl<T: Contents> Filling<T> {
    /// An empty page.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self {
            rows: Vec::new(),
            limit: limit.get().into(),
            bytes: 0,
            over: false,
        }
    }

    /// Takes rows in the order of the list until the page is full and a further row shows that
    /// there is a next page.
    ///
    /// # Errors
    /// Those of the rows.
    pub fn take<E>(&mut self, rows: impl IntoIterator<Item = Result<T, E>>) -> Result<(), E> {
        if self.over {
            return Ok(());
        }
        for row in rows {
            let row = row?;
            if self.rows.len() == self.limit || self.bytes >= MAX_PAGE_BYTES {
                self.over = true;
                break;
            }
            self.bytes += row.bytes();
            self.rows.push(row);
        }
        Ok(())
    }

    /// How many rows there may still be, with the one that shows that there is a next page.
    #[must_use]
    pub fn missing(&self) -> usize {
        if self.over {
            0
        } else {
            self.limit + 1 - self.rows.len()
        }
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The page.
    #[must_use]
    pub fn page<K>(self, key: impl Fn(&T) -> K) -> Page<T, K> {
        let next = if self.over {
            self.rows.last().map(key)
        } else {
            None
        };
        Page {
            items: self.rows,
            next,
        }
    }
}

impl<T: Contents, K> Page<T, K> {
    /// Makes a page of the rows that follow: as many as fit. A row more tells that there is a
    /// next page.
    #[must_use]
    pub fn from_surplus(
        rows: impl IntoIterator<Item = T>,
        limit: Limit,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let mut page = Filling::new(limit);
        let Ok(()) = page.take(rows.into_iter().map(Ok::<_, std::convert::Infallible>));
        page.page(key)
    }

    /// The same of rows that are read one by one: no more of them than it takes.
    ///
    /// # Errors
    /// Those of the rows.
    pub fn read<E>(
        rows: impl IntoIterator<Item = Result<T, E>>,
        limit: Limit,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, E> {
        let mut page = Filling::new(limit);
        page.take(rows)?;
        Ok(page.page(key))
    }
}

impl<T, K> Page<T, K> {
    /// The same page with each row turned into something else.
    #[must_use]
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U, K> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

/// Place of a row in a list that is sorted by creation, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct CreatedKey {
    /// When the row was made.
    #[serde(
        serialize_with = "chrono::serde::ts_milliseconds::serialize",
        deserialize_with = "possible_time"
    )]
    pub created_at: Timestamp,
    /// Its id, which tells rows of one millisecond apart.
    pub id: uuid::Uuid,
}

/// A time that every database can hold: nothing is older than the first year, or younger than the
/// last one that is written with four digits.
fn possible_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
    let millis = i64::deserialize(deserializer)?;
    YEARS
        .contains(&millis)
        .then(|| Timestamp::from_timestamp_millis(millis))
        .flatten()
        .ok_or_else(|| de::Error::custom("no time that a row can have"))
}

/// Place of a message among the messages of a campaign: newest run first, then by the number
/// that its segment has in the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct MessageKey {
    /// The message's run.
    pub run_number: RunNumber,
    /// The store's number of the segment within the campaign.
    pub segment_no: i32,
}

/// Place of a customer of a group: by the bytes of the reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct CustomerKey(pub String);

/// Place of an audit entry: its number in the account's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct AuditKey(pub i64);

/// With what cursors are sealed, so that nobody else can make one. Whoever shares it takes each
/// other's cursors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// This key.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A key from what only those know who are to share it.
    #[must_use]
    pub fn derived(secret: &[u8]) -> Self {
        Self(sealed(secret, &[b"rerun.cursor-key.1"]))
    }
}

impl Default for CursorKey {
    /// The key of everybody. With it a seal finds damage and mistakes, but no forger.
    fn default() -> Self {
        Self::derived(&[])
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

/// HMAC-SHA256 of parts whose borders count.
fn sealed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // A key of any length is taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// The list that a cursor belongs to. A cursor is good for its own list only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorScope<'a> {
    /// With what it is sealed.
    pub key: CursorKey,
    /// Name of the list.
    pub list: &'static str,
    /// The account that lists.
    pub account: ids::AccountId,
    /// What else the list was narrowed by: the campaign, a filter.
    pub narrowed_by: &'a str,
}

/// Half of the seal: nobody guesses it.
const SEAL_BYTES: usize = 16;

impl CursorScope<'_> {
    fn mac(&self, key: &[u8]) -> Hmac<Sha256> {
        let Self {
            key: with,
            list,
            account,
            narrowed_by,
        } = self;
        mac(
            &with.0,
            &[
                b"rerun.cursor.2",
                list.as_bytes(),
                account.as_uuid().as_bytes(),
                narrowed_by.as_bytes(),
                key,
            ],
        )
    }

    /// The opaque text for a key.
    ///
    /// # Errors
    /// When the key has no JSON form, which none of this crate's keys is without.
    pub fn encode<K: Serialize>(&self, key: &K) -> Result<String, serde_json::Error> {
        let mut bytes = serde_json::to_vec(key)?;
        let seal = self.mac(&bytes).finalize().into_bytes();
        bytes.splice(0..0, seal.into_iter().take(SEAL_BYTES));
        Ok(hex::encode(bytes))
    }

    /// The key behind a text that [`CursorScope::encode`] made for the same list.
    ///
    /// # Errors
    /// [`Invalid`] for any other text: a damaged cursor, or one of another list.
    pub fn decode<K: DeserializeOwned>(&self, cursor: &str) -> Result<K, Invalid> {
        // Capitals stand for the same digits, but no cursor is given out with them.
        let bytes = hex::decode(cursor)
            .ok()
            .filter(|bytes| hex::encode(bytes) == cursor)
            .unwrap_or_default();
        match bytes.split_at_checked(SEAL_BYTES) {
            // Compared in constant time.
            Some((seal, key)) if self.mac(key).verify_truncated_left(seal).is_ok() => {
                serde_json::from_slice(key).ok()
            }
            _ => None,
        }
        .ok_or_else(|| Invalid::new("`cursor` is damaged, or belongs to another list"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(narrowed_by: &str) -> CursorScope<'_> {
        CursorScope {
            key: CursorKey::derived(b"a secret"),
            list: "messages",
            account: ids::AccountId::new(uuid::Uuid::nil()),
            narrowed_by,
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let key = MessageKey {
            run_number: RunNumber::FIRST,
            segment_no: 7,
        };
        let cursor = scope("one").encode(&key).unwrap();
        assert_eq!(scope("one").decode::<MessageKey>(&cursor), Ok(key));
        assert!(scope("two").decode::<MessageKey>(&cursor).is_err());
        for at in 0..cursor.len() {
            let mut damaged = cursor.clone().into_bytes();
            damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(scope("one").decode::<MessageKey>(&damaged).is_err(), "{at}");
        }
        let capitals = cursor.to_uppercase();
        assert!(scope("one").decode::<MessageKey>(&capitals).is_err());
    }

    #[test]
    fn a_cursor_is_good_where_the_key_is_known() {
        let key = AuditKey(7);
        let ours = scope("one");
        let of = |secret: &[u8]| CursorScope {
            key: CursorKey::derived(secret),
            ..ours
        };
        let cursor = ours.encode(&key).unwrap();
        assert_eq!(of(b"a secret").decode::<AuditKey>(&cursor), Ok(key));
        for other in [&b"another"[..], b""] {
            assert!(of(other).decode::<AuditKey>(&cursor).is_err());
        }
        assert_eq!(format!("{:?}", ours.key), "CursorKey(..)");
        // As any implementation of HMAC-SHA256 computes it.
        assert_eq!(
            hex::encode(
                mac(b"Jefe", &[])
                    .chain_update(b"what do ya want for nothing?")
                    .finalize()
                    .into_bytes()
            ),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_sealed_time_that_no_row_can_have_is_refused() {
        for (millis, taken) in [
            (-210_866_803_200_001, false),
            (-62_135_596_800_001, false),
            (-62_135_596_800_000, true),
            (0, true),
            (253_402_300_799_999, true),
            (253_402_300_800_000, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let key = serde_json::json!({ "created_at": millis, "id": uuid::Uuid::nil() });
            let cursor = scope("one").encode(&key).unwrap();
            let read = scope("one").decode::<CreatedKey>(&cursor);
            assert_eq!(read.is_ok(), taken, "{millis}");
        }
    }

    #[test]
    fn limits_have_bounds() {
        for bad in [0, -1, 10_001, i64::MAX] {
            assert!(Limit::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Limit::new(10_000).unwrap().get(), 10_000);
    }

    #[test]
    fn texts_are_counted_as_json_has_them() {
        let every: String = (0..=0x100_u32).filter_map(char::from_u32).collect();
        for text in [&every, "", "plain", "\u{1f600}\u{7f}\u{85}\u{2028}/"] {
            let json = serde_json::Value::from(text).to_string();
            assert_eq!(json_bytes(text), json.len() - 2, "{json}");
        }
        let names = ["a\"".to_owned(), "\u{1}".to_owned()];
        let json = serde_json::json!(names).to_string();
        assert_eq!(list_bytes(&names), json.len() - 1);
    }

    impl Contents for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_page_that_fills_says_how_many_rows_it_misses() {
        let rows = |bytes: &[usize]| bytes.iter().copied().map(Ok::<_, ()>).collect::<Vec<_>>();
        let mut page = Filling::new(Limit::new(3).unwrap());
        assert!(page.is_empty());
        assert_eq!(page.missing(), 4);
        page.take(rows(&[1])).unwrap();
        assert!(!page.is_empty());
        assert_eq!(page.missing(), 3);
        page.take(rows(&[2, 3])).unwrap();
        assert_eq!(page.missing(), 1);
        page.take(rows(&[4])).unwrap();
        assert_eq!(page.missing(), 0);
        let page = page.page(|row| *row);
        assert_eq!((page.items, page.next), (vec![1, 2, 3], Some(3)));
        let mut full = Filling::new(Limit::new(3).unwrap());
        full.take(rows(&[MAX_PAGE_BYTES, 1])).unwrap();
        assert_eq!(full.missing(), 0);
    }

    #[test]
    fn a_surplus_row_tells_of_a_next_page() {
        let limit = Limit::new(2).unwrap();
        let page = Page::from_surplus(vec![1_usize, 2, 3], limit, |n| *n);
        assert_eq!((page.items, page.next), (vec![1, 2], Some(2)));
        let page = Page::from_surplus(vec![1_usize, 2], limit, |n| *n);
        assert_eq!((page.items, page.next), (vec![1, 2], None));
    }

    #[test]
    fn a_page_ends_with_the_row_that_reaches_its_bytes() {
        const MAX: usize = MAX_PAGE_BYTES;
        for (rows, fit) in [
            (vec![MAX - 1, 1, 1], 2),
            (vec![MAX - 1, 0, 1, 1], 3),
            (vec![MAX, 1], 1),
            (vec![5 * MAX, 1], 1),
            (vec![1, 5 * MAX, 1], 2),
            (vec![MAX - 1, MAX], 2),
            (vec![5 * MAX], 1),
        ] {
            let page = Page::from_surplus(rows.clone(), Limit::default(), |n| *n);
            assert_eq!(page.items, rows[..fit], "{rows:?}");
            let next = (fit < rows.len()).then(|| rows[fit - 1]);
            assert_eq!(page.next, next, "{rows:?}");
        }
    }

    #[test]
    fn rows_that_fill_a_page_have_one_more() {
        const MAX: usize = MAX_PAGE_BYTES;
        let rows = |sizes: &[usize]| {
            let rows = sizes.iter().map(|size| Ok::<_, Invalid>(*size));
            filling(rows).unwrap().len()
        };
        assert_eq!(rows(&[MAX, 1, 1]), 2);
        assert_eq!(rows(&[MAX - 1, 1, 1, 1]), 3);
        assert_eq!(rows(&[1, 1]), 2);
    }

    /// A store that reads row by row holds no more than the page and one row.
    #[test]
    fn no_more_rows_are_read_than_it_takes() {
        let mut read = 0;
        let rows = std::iter::repeat_with(|| {
            read += 1;
            Ok::<_, Invalid>(MAX_PAGE_BYTES / 4)
        });
        let page = Page::read(rows, Limit::default(), |n| *n).unwrap();
        assert_eq!((page.items.len(), page.next.is_some(), read), (4, true, 5));
    }

    proptest! {
        #[test]
        fn no_text_makes_decoding_panic(text in any::<String>()) {
            prop_assert!(scope("").decode::<AuditKey>(&text).is_err());
        }
    }
}
