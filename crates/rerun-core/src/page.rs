//! Paging by key: a page starts after the key of the last row of the page before, so that rows
//! added meanwhile neither shift nor double one, and a deep page costs what the first one does.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::Invalid;
use crate::ids::RunNumber;
use crate::{Timestamp, ids};

/// How many rows a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// The largest page.
    pub const MAX: u16 = 10_000;

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

/// The contents of a page, in bytes: it ends early with the row that reaches this. The limit
/// bounds rows, and this what they hold. The first row is there in any case.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

/// How many bytes of contents a store reads for a page, at most, before the last two rows. It may
/// count a little more than rows hold, such as blanks between the parts of a stored list: so much
/// more that a page never ends before it is full.
pub const MAX_READ_BYTES: usize = MAX_PAGE_BYTES + MAX_PAGE_BYTES / 2;

/// What a row of a list holds.
pub trait Contents {
    /// The bytes of its texts. What every row has, such as ids and times, does not count.
    fn bytes(&self) -> usize;
}

/// The bytes of a text that may be missing.
pub(crate) fn text_bytes(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
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
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub created_at: Timestamp,
    /// Its id, which tells rows of one millisecond apart.
    pub id: uuid::Uuid,
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

/// Place of an audit entry: its number in the account's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct AuditKey(pub i64);

/// The list that a cursor belongs to. A cursor is good for its own list only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorScope<'a> {
    /// Name of the list.
    pub list: &'static str,
    /// The account that lists.
    pub account: ids::AccountId,
    /// What else the list was narrowed by: the campaign, a filter.
    pub narrowed_by: &'a str,
}

/// So many that damage is never taken for a good cursor by chance.
const SEAL_BYTES: usize = 8;

impl CursorScope<'_> {
    fn seal(&self, key: &[u8]) -> [u8; SEAL_BYTES] {
        let mut hash = Sha256::new_with_prefix("rerun.cursor.1");
        for part in [
            self.list.as_bytes(),
            self.account.as_uuid().as_bytes(),
            self.narrowed_by.as_bytes(),
            key,
        ] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let (seal, _) = hash.split_first_chunk().unwrap_or((&[0; SEAL_BYTES], &[]));
        *seal
    }

    /// The opaque text for a key.
    ///
    /// # Errors
    /// When the key has no JSON form, which none of this crate's keys is without.
    pub fn encode<K: Serialize>(&self, key: &K) -> Result<String, serde_json::Error> {
        let mut bytes = serde_json::to_vec(key)?;
        bytes.splice(0..0, self.seal(&bytes));
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
            Some((seal, key)) if seal == self.seal(key) => serde_json::from_slice(key).ok(),
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
    fn limits_have_bounds() {
        for bad in [0, -1, 10_001, i64::MAX] {
            assert!(Limit::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Limit::new(10_000).unwrap().get(), 10_000);
    }

    impl Contents for usize {
        fn bytes(&self) -> usize {
            *self
        }
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
        let rows = |sizes: &[usize]| {
            let rows = sizes.iter().map(|size| Ok::<_, Invalid>(*size));
            filling(rows).unwrap().len()
        };
        const MAX: usize = MAX_PAGE_BYTES;
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
