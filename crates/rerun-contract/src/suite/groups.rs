//! Customer groups and imports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rerun_core::error::{Error, Invalid, StoreError};
use rerun_core::event::Event;
use rerun_core::group::{CustomerFile, CustomerRow, CustomerRows, Imported};
use rerun_core::ids::CustomerGroupId;
use rerun_core::page::CreatedKey;
use rerun_core::ports::{RenameGroup, Store};
use serde_json::Value;
use uuid::Uuid;

use crate::fixture::{
    ACCOUNT, Fixture, Row, all_at_once, author, caller, customer_file, every_large_page,
    every_page, page_of,
};

type Values = BTreeMap<String, Option<String>>;

fn values(pairs: &[(&str, Option<&str>)]) -> Values {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
        .collect()
}

/// What a merge came to, whatever rows it read.
#[derive(Debug)]
struct Merged {
    imported: u64,
    updated: u64,
    total: u64,
}

impl PartialEq<Merged> for Imported {
    fn eq(&self, other: &Merged) -> bool {
        let Merged {
            imported,
            updated,
            total,
        } = *other;
        self.removed == 0 && (self.imported, self.updated, self.total) == (imported, updated, total)
    }
}

const fn done(imported: u64, updated: u64, total: u64) -> Merged {
    Merged {
        imported,
        updated,
        total,
    }
}

/// What was written is what is read.
pub async fn a_group_comes_back_as_it_was_made<S: Store + 'static>(f: &Fixture<S>) {
    for name in ["Grüße 👩‍👩‍👧 \"quoted\" 'n' \\back\u{1}", &"ß".repeat(255), "a"] {
        let made = f.engine.groups.create(&caller(), name, None).await.unwrap();
        assert_eq!(made.outcome.name, name);
        assert_eq!(
            f.store.find_group(ACCOUNT, made.outcome.id).await.unwrap(),
            Some(made.outcome)
        );
    }
    f.check().await;
}

/// An id that names nothing finds nothing.
pub async fn an_unknown_group_is_not_found<S: Store + 'static>(f: &Fixture<S>) {
    let unknown = CustomerGroupId::new(Uuid::from_u128(7));
    assert_eq!(f.store.find_group(ACCOUNT, unknown).await.unwrap(), None);
    let import = f
        .try_import(&caller(), unknown, &["customer_ref"], &[&["C-1"]])
        .await;
    assert!(
        matches!(import, Err(Error::CustomerGroupNotFound)),
        "{import:?}"
    );
    assert_eq!(f.entries(ACCOUNT).await, []);
}

/// A group that is there already is not written over.
pub async fn a_groups_id_is_taken_once<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let before = f.snapshot(ACCOUNT).await;
    let mut twin = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    twin.name = "Twin".into();
    let audit = author(f, caller()).of(Event::GroupCreated {
        customer_group_id: twin.id,
        name: twin.name.clone(),
    });
    assert!(
        f.store.create_group(&twin, audit, None).await.is_err(),
        "a doubled id was accepted"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refused group");
}

/// A renaming that was decided for another name, or for no group of the account, changes nothing;
/// one that holds changes the name alone.
pub async fn a_group_gets_another_name_once<S: Store + 'static>(f: &Fixture<S>) {
    let id = f.group(&["DE"]).await;
    let before = f.store.find_group(ACCOUNT, id).await.unwrap().unwrap();
    let rename = |from: &str, to: &str| RenameGroup {
        account_id: ACCOUNT,
        group_id: id,
        from: from.to_owned(),
        to: to.to_owned(),
        at: before.updated_at,
        audit: Some(author(f, caller()).of(Event::GroupUpdated {
            customer_group_id: id,
            name: to.to_owned(),
        })),
        response: None,
    };
    let state = f.snapshot(ACCOUNT).await;
    let outdated = rename("Another", "Summer");
    let unknown = RenameGroup {
        group_id: CustomerGroupId::new(Uuid::from_u128(7)),
        ..rename(&before.name, "Summer")
    };
    for refused in [outdated, unknown] {
        let done = f.store.rename_group(refused).await;
        assert!(matches!(done, Err(StoreError::Conflict)), "{done:?}");
    }
    state.assert_same(&f.snapshot(ACCOUNT).await, "a refused renaming");
    f.seconds_later(1);
    let renamed = f.engine.groups.rename(&caller(), id, "Summer", None).await;
    let mut after = before;
    after.name = "Summer".into();
    assert_eq!(renamed.unwrap().outcome, after);
    assert_eq!(f.store.find_group(ACCOUNT, id).await.unwrap(), Some(after));
    f.check().await;
}

/// Newest first, every one once, also those made in one millisecond, and a group that is made
/// between two pages moves none of the others.
pub async fn groups_are_listed_newest_first<S: Store + 'static>(f: &Fixture<S>) {
    let mut made = Vec::new();
    for n in 0..9_u64 {
        if n % 3 == 0 {
            f.seconds_later(1);
        }
        made.push(f.empty_group(&format!("Group {n}")).await);
    }
    for limit in [1, 2, 4, 9, 100] {
        let listed = every_page(limit, async |page| {
            f.store.list_groups(ACCOUNT, page).await.unwrap()
        })
        .await;
        assert!(
            listed.is_sorted_by(|a, b| a.created_at >= b.created_at),
            "limit {limit}"
        );
        let mut ids: Vec<_> = listed.iter().map(|group| group.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, made, "limit {limit}: every group once");
    }
    let first = f
        .store
        .list_groups(ACCOUNT, page_of(4, None))
        .await
        .unwrap();
    f.seconds_later(1);
    let newer = f.empty_group("Newer").await;
    let rest = f
        .store
        .list_groups(ACCOUNT, page_of(100, first.next))
        .await
        .unwrap();
    let mut ids: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|group| group.id)
        .collect();
    assert!(
        !ids.contains(&newer),
        "a newer group comes before the pages that follow"
    );
    ids.sort_unstable();
    assert_eq!(ids, made, "every group once, though one came meanwhile");
    let start = f
        .store
        .list_groups(ACCOUNT, page_of(1, None))
        .await
        .unwrap();
    assert_eq!(start.items.first().map(|group| group.id), Some(newer));
}

/// However many fields groups have, a page of them is bounded.
pub async fn a_page_of_groups_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let names: Vec<String> = (0..2_000)
        .map(|n| format!("{n:04}{}", "\u{1f600}".repeat(250)))
        .collect();
    let fields = names.iter().map(String::as_str);
    let columns: Vec<&str> = ["customer_ref"].into_iter().chain(fields).collect();
    let row = vec!["x"; columns.len()];
    let mut made = Vec::new();
    for _ in 0..12 {
        f.seconds_later(1);
        let group = f.empty_group("Customers").await;
        f.import(group, &columns, &[&row]).await;
        made.push(group);
    }
    made.reverse();
    let groups = every_large_page(async |page| {
        let found = f.store.list_groups(ACCOUNT, page).await;
        found.unwrap()
    })
    .await;
    let ids: Vec<CustomerGroupId> = groups.iter().map(|group| group.id).collect();
    assert_eq!(ids, made);
}

/// A key that names no row is a place in the list all the same.
pub async fn a_list_goes_on_after_any_key<S: Store + 'static>(f: &Fixture<S>) {
    f.empty_group("Old").await;
    let old = f.now();
    f.seconds_later(10);
    f.empty_group("New").await;
    f.clock.set(old);
    f.seconds_later(5);
    let between = CreatedKey {
        created_at: f.now(),
        id: Uuid::from_u128(1),
    };
    let rest = f
        .store
        .list_groups(ACCOUNT, page_of(10, Some(between)))
        .await
        .unwrap();
    let names: Vec<&str> = rest.items.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["Old"]);
}

/// New, changed and unchanged customers are told apart.
pub async fn an_import_counts_what_it_did<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country", "tier"];
    f.seconds_later(5);
    let first = f
        .import(
            group,
            &columns,
            &[&["a", "DE", "gold"], &["b", "FR", ""], &["c", "", ""]],
        )
        .await;
    assert_eq!(first, done(3, 0, 3));
    let after_first = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(after_first.customer_count, 3);
    assert_eq!(after_first.updated_at, f.now(), "its customers changed now");
    assert!(after_first.created_at < after_first.updated_at);
    f.seconds_later(5);
    let second = f
        .import(
            group,
            &columns,
            &[&["a", "DE", "silver"], &["b", "FR", ""], &["d", "IT", ""]],
        )
        .await;
    assert_eq!(second, done(1, 1, 4));
    assert_eq!(
        f.segments(group, &["tier", "country"]).await,
        BTreeMap::from([
            (
                values(&[("country", Some("DE")), ("tier", Some("silver"))]),
                1
            ),
            (values(&[("country", Some("FR")), ("tier", None)]), 1),
            (values(&[("country", Some("IT")), ("tier", None)]), 1),
            (values(&[("country", None), ("tier", None)]), 1),
        ]),
    );
    f.check().await;
}

/// Fields are kept in the order in which imports brought them.
pub async fn a_group_keeps_the_names_of_its_fields<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let fields = async || {
        let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
        let listed = f.store.list_groups(ACCOUNT, page_of(9, None)).await;
        assert_eq!(listed.unwrap().items, std::slice::from_ref(&found));
        found.fields
    };
    assert_eq!(fields().await, Vec::<String>::new());
    f.import(group, &["tier", "customer_ref", "country"], &[])
        .await;
    assert_eq!(fields().await, ["tier", "country"], "nobody came");
    f.import(
        group,
        &["tier", "customer_ref", "country"],
        &[&["gold", "a", "DE"]],
    )
    .await;
    assert_eq!(fields().await, ["tier", "country"]);
    let before = f.entries(ACCOUNT).await.len();
    f.seconds_later(5);
    let columns = ["a \"b\"\\\u{1}", "customer_ref", "country", "Age"];
    let unchanged = f.import(group, &columns, &[&["", "a", "DE", ""]]).await;
    assert_eq!(unchanged, done(0, 0, 1));
    assert_eq!(fields().await, ["tier", "country", "a \"b\"\\\u{1}", "Age"]);
    assert_eq!(
        f.entries(ACCOUNT).await.len(),
        before + 1,
        "a field that came is a change"
    );
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(found.updated_at, f.now());
    f.try_replace(
        group,
        &["customer_ref", "Age", "tier"],
        &[&["a", "1", "gold"]],
    )
    .await
    .unwrap();
    assert_eq!(fields().await, ["Age", "tier"]);
    f.check().await;
}

/// After a replacement the group has the file's customers with the file's values.
pub async fn a_replacement_leaves_only_the_file<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country", "tier"];
    f.import(
        group,
        &columns,
        &[
            &["same", "DE", ""],
            &["loses", "FR", "gold"],
            &["changes", "IT", ""],
            &["goes", "ES", ""],
            &["goes too", "PT", "gold"],
        ],
    )
    .await;
    let other = f.group(&["DE"]).await;
    f.segments(group, &["country", "tier"]).await;
    f.seconds_later(5);
    let replaced = f
        .try_replace(
            group,
            &["country", "customer_ref"],
            &[
                &["PL", "comes"],
                &["AT", "changes"],
                &["FR", "loses"],
                &["DE", "same"],
            ],
        )
        .await
        .unwrap();
    let expected = Imported {
        rows: 4,
        imported: 1,
        updated: 2,
        removed: 2,
        duplicates: 0,
        total: 4,
    };
    assert_eq!(replaced, expected);
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!((found.customer_count, found.updated_at), (4, f.now()));
    assert_eq!(
        f.segments(group, &["country", "tier"]).await,
        ["PL", "AT", "FR", "DE"]
            .map(|country| (values(&[("country", Some(country)), ("tier", None)]), 1))
            .into(),
    );
    let entry = f.entries(ACCOUNT).await.pop().unwrap();
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    for (name, expected) in [
        ("rows", 4),
        ("imported", 1),
        ("updated", 2),
        ("removed", 2),
        ("duplicates", 0),
        ("total", 4),
    ] {
        assert_eq!(details[name], expected, "the audit entry's {name}");
    }
    assert_eq!(details["mode"], "replace");
    assert_eq!(
        f.segments(other, &["country"]).await,
        [(values(&[("country", Some("DE"))]), 1)].into(),
        "another group"
    );
    // All others go, and none comes.
    let one: [Row<'_>; 1] = [&["DE", "same"]];
    let replaced = f.try_replace(group, &["country", "customer_ref"], &one);
    let replaced = replaced.await.unwrap();
    assert_eq!(
        (replaced.imported, replaced.updated, replaced.removed),
        (0, 0, 3)
    );
    assert_eq!(replaced.total, 1);
    f.check().await;
}

/// The same values are the same whatever the order in which fields came into the group.
pub async fn a_replacement_compares_values_not_their_order<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    f.import(group, &["customer_ref", "b", "d"], &[&["x", "1", "2"]])
        .await;
    f.import(
        group,
        &["customer_ref", "c", "a"],
        &[&["x", "3", ""], &["y", "", ""]],
    )
    .await;
    f.seconds_later(5);
    let columns = ["a", "b", "c", "customer_ref", "d"];
    let rows: [Row<'_>; 2] = [&["", "", "", "y", ""], &["", "1", "3", "x", "2"]];
    let replaced = f.try_replace(group, &columns, &rows).await.unwrap();
    assert_eq!(
        (replaced.imported, replaced.updated, replaced.removed),
        (0, 0, 0)
    );
    let before = f.snapshot(ACCOUNT).await;
    f.seconds_later(5);
    f.try_replace(group, &columns, &rows).await.unwrap();
    before.assert_same(&f.snapshot(ACCOUNT).await, "the same file again");
    let fewer: [Row<'_>; 2] = [&["1", "y", ""], &["1", "x", "2"]];
    let replaced = f
        .try_replace(group, &["b", "customer_ref", "d"], &fewer)
        .await
        .unwrap();
    assert_eq!((replaced.updated, replaced.removed), (2, 0));
    f.check().await;
}

/// Nothing is emptied by accident.
pub async fn a_replacement_without_rows_is_refused<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    for group in [group, f.empty_group("Empty").await] {
        let before = f.snapshot(ACCOUNT).await;
        let refused = f
            .try_replace(group, &["customer_ref", "country"], &[])
            .await;
        let Err(Error::Invalid(invalid)) = refused else {
            panic!("not refused: {refused:?}")
        };
        assert!(invalid.to_string().contains("no rows"), "{invalid}");
        before.assert_same(&f.snapshot(ACCOUNT).await, "a refused import");
    }
}

/// Every row is read, and each after a customer's first is a duplicate.
pub async fn rows_of_one_customer_are_counted<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country"];
    let rows: [Row<'_>; 5] = [
        &["a", "DE"],
        &["b", "FR"],
        &["a", "IT"],
        &["a", "ES"],
        &["b", "FR"],
    ];
    let told = |done: Imported| (done.rows, done.imported, done.updated, done.duplicates);
    assert_eq!(told(f.import(group, &columns, &rows).await), (5, 2, 0, 3));
    assert_eq!(told(f.import(group, &columns, &rows).await), (5, 0, 0, 3));
    let replaced = f.try_replace(group, &columns, &rows[..3]).await.unwrap();
    assert_eq!(told(replaced), (3, 0, 1, 1));
    assert_eq!((replaced.removed, replaced.total), (0, 2));
    assert_eq!(
        f.segments(group, &["country"]).await,
        BTreeMap::from([
            (values(&[("country", Some("IT"))]), 1),
            (values(&[("country", Some("FR"))]), 1),
        ]),
    );
}

/// An import that changes nothing leaves no trace.
pub async fn an_unchanged_import_leaves_no_trace<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", ""]).await;
    let (before, version) = (f.snapshot(ACCOUNT).await, f.candidates(group, &["x"]).await);
    f.seconds_later(5);
    assert_eq!(
        f.import_countries(group, &["DE", "FR", ""]).await,
        done(0, 0, 3)
    );
    assert_eq!(
        f.import(group, &["customer_ref"], &[&["C-1"]]).await,
        done(0, 0, 3)
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "an import that changes nothing");
    assert_eq!(
        f.candidates(group, &["x"]).await,
        version,
        "the group's version"
    );
}

/// A file with only a header imports no customers. Its columns are fields of the group
/// all the same.
pub async fn an_import_without_rows_is_fine<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country"];
    let fields = async || {
        let found = f.store.find_group(ACCOUNT, group).await.unwrap();
        found.unwrap().fields
    };
    assert_eq!(f.import(group, &columns, &[]).await, done(0, 0, 0));
    assert_eq!(fields().await, ["country"]);
    let before = f.snapshot(ACCOUNT).await;
    assert_eq!(f.import(group, &columns, &[]).await, done(0, 0, 0));
    assert_eq!(f.import(group, &["customer_ref"], &[]).await, done(0, 0, 0));
    before.assert_same(&f.snapshot(ACCOUNT).await, "an import of nothing new");
    assert_eq!(
        f.import(group, &["customer_ref"], &[&["a"], &["b"]]).await,
        done(2, 0, 2)
    );
    assert_eq!(
        f.import(group, &["customer_ref", "tier"], &[]).await,
        done(0, 0, 2)
    );
    assert_eq!(fields().await, ["country", "tier"]);
    assert_eq!(
        f.segments(group, &["country"]).await,
        BTreeMap::from([(values(&[("country", None)]), 2)]),
    );
    f.check().await;
}

/// The columns of a file replace what customers had; other fields stay.
pub async fn columns_replace_and_other_fields_stay<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    f.import(
        group,
        &["customer_ref", "country", "tier"],
        &[&["a", "DE", "gold"]],
    )
    .await;
    let changed = f
        .import(group, &["tier", "customer_ref", "age"], &[&["", "a", "30"]])
        .await;
    assert_eq!(changed, done(0, 1, 1));
    assert_eq!(
        f.segments(group, &["country", "tier", "age"]).await,
        BTreeMap::from([(
            values(&[("country", Some("DE")), ("tier", None), ("age", Some("30"))]),
            1,
        )]),
    );
    let again = f
        .import(
            group,
            &["customer_ref", "tier", "unheard"],
            &[&["a", "", ""]],
        )
        .await;
    assert_eq!(
        again,
        done(0, 0, 1),
        "removing what is not there is no change"
    );
}

/// Of several rows with one reference only the last counts.
pub async fn the_last_row_of_a_customer_wins<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country"];
    let table: [Row<'_>; 4] = [&["a", "DE"], &["b", "FR"], &["a", "IT"], &["a", "ES"]];
    assert_eq!(f.import(group, &columns, &table).await, done(2, 0, 2));
    let spain_and_france = BTreeMap::from([
        (values(&[("country", Some("ES"))]), 1),
        (values(&[("country", Some("FR"))]), 1),
    ]);
    assert_eq!(f.segments(group, &["country"]).await, spain_and_france);
    let table: [Row<'_>; 3] = [&["a", "PL"], &["b", "FR"], &["a", "ES"]];
    assert_eq!(
        f.import(group, &columns, &table).await,
        done(0, 0, 2),
        "back to what it was"
    );
    let table: [Row<'_>; 3] = [&["b", ""], &["b", "AT"], &["b", ""]];
    assert_eq!(f.import(group, &columns, &table).await, done(0, 1, 2));
    assert_eq!(
        f.segments(group, &["country"]).await,
        BTreeMap::from([
            (values(&[("country", Some("ES"))]), 1),
            (values(&[("country", None)]), 1),
        ]),
    );
}

/// References are compared letter by letter, and no character in one is special.
pub async fn references_are_taken_literally<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let long = "x".repeat(CustomerRow::MAX_REFERENCE_BYTES);
    let references = [
        "a", "A", "ä", "\\N", "\\.", "\\t", "NULL", "null", "1", "01", "1.0", "%", "_", "a'b",
        "a\"b", "a,b", "a\tb", "a\nb", "a\\b", "a\u{1}b", "😀", "{}", "[]", "$1", "?", &long,
    ];
    let rows: Vec<[&str; 2]> = references.iter().map(|name| [*name, *name]).collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
    let total = u64::try_from(rows.len()).unwrap();
    let columns = ["customer_ref", "field"];
    assert_eq!(
        f.import(group, &columns, &rows).await,
        done(total, 0, total)
    );
    assert_eq!(f.import(group, &columns, &rows).await, done(0, 0, total));
    let expected: BTreeMap<Values, i64> = references
        .iter()
        .map(|name| (values(&[("field", Some(name))]), 1))
        .collect();
    assert_eq!(f.segments(group, &["field"]).await, expected);
}

/// Any text can name a field.
pub async fn field_names_are_taken_literally<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let names = [
        "a\"b",
        "a'b",
        "a.b",
        "$",
        "$.a",
        "$[0]",
        "a[0]",
        "[0]",
        "two words",
        "😀",
        "0",
        "1",
        "-1",
        "a\\b",
        "\\",
        "\"",
        "\"\"",
        "''",
        "null",
        "#",
        "*",
        "%",
        "a,b",
        "a:b",
        "{a}",
        "a\tb",
        "a\nb",
        "a\u{1}b",
        "É",
        "select",
        "?",
        "?1",
        "$1",
        "@",
        "Field",
        "field",
        "FIELD",
        "->",
        "->>",
        "/a",
        "~",
        "id",
        "fields",
        "customer_reference",
    ];
    let mut columns = vec!["customer_ref"];
    columns.extend(names);
    let numbered: Vec<String> = (0..names.len()).map(|n| format!("value {n}")).collect();
    let mut row = vec!["C-1"];
    row.extend(numbered.iter().map(String::as_str));
    assert_eq!(f.import(group, &columns, &[&row]).await, done(1, 0, 1));
    assert_eq!(f.import(group, &columns, &[&row]).await, done(0, 0, 1));
    for (name, value) in names.iter().zip(&numbered) {
        let expected = BTreeMap::from([(values(&[(*name, Some(value.as_str()))]), 1)]);
        assert_eq!(
            f.segments(group, &[name]).await,
            expected,
            "the field {name:?}"
        );
    }
    // Each is changed and removed alone: no name reaches into another field.
    for name in names {
        assert_eq!(
            f.import(group, &["customer_ref", name], &[&["C-1", ""]])
                .await,
            done(0, 1, 1)
        );
        let gone = BTreeMap::from([(values(&[(name, None)]), 1)]);
        assert_eq!(
            f.segments(group, &[name]).await,
            gone,
            "the field {name:?} removed"
        );
    }
}

/// A row that breaks a rule ends the import, and nothing of it stays.
pub async fn a_refused_row_changes_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let before = (
        f.snapshot(ACCOUNT).await,
        f.candidates(group, &["country"]).await,
    );
    for good in [0, 1, 2_500] {
        let rows: Vec<[String; 2]> = (0..good)
            .map(|n| [format!("C-{n}"), format!("country {n}")])
            .collect();
        let rows: Vec<[&str; 2]> = rows.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
        let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        let CustomerFile { fields, mode, rows } =
            customer_file(&["customer_ref", "country"], &rows);
        let pulled = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&pulled);
        let refused = std::iter::once_with(|| Err(Invalid::new("line 7: it is bad")));
        let never = std::iter::repeat_with(|| Err(Invalid::new("line 8: never pulled")));
        let rows: CustomerRows =
            Box::new(rows.chain(refused).chain(never.take(3)).inspect(move |_| {
                seen.fetch_add(1, Ordering::SeqCst);
            }));
        let file = CustomerFile { fields, mode, rows };
        let answer = f.engine.groups.import(&caller(), group, file, None).await;
        let Err(Error::Invalid(invalid)) = answer else {
            panic!("not refused: {answer:?}")
        };
        assert_eq!(invalid.to_string(), "line 7: it is bad");
        assert_eq!(
            pulled.load(Ordering::SeqCst),
            good + 1,
            "the import ended there"
        );
        let after = (
            f.snapshot(ACCOUNT).await,
            f.candidates(group, &["country"]).await,
        );
        before.0.assert_same(&after.0, "a refused import");
        assert_eq!(after.1, before.1, "a refused import: the segments");
    }
}

/// More rows than any batch or statement takes at once, with one customer's rows far apart.
pub async fn a_large_import_goes_through<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let table = |count: u32, tier: &str| {
        let mut rows: Vec<[String; 3]> = (0..count)
            .map(|n| {
                [
                    format!("C-{n:05}"),
                    format!("country {}", n % 7),
                    tier.to_owned(),
                ]
            })
            .collect();
        rows.push(["C-00000".into(), "country 9".into(), "last".into()]);
        rows
    };
    let import = async |rows: Vec<[String; 3]>| {
        let rows: Vec<[&str; 3]> = rows
            .iter()
            .map(|[a, b, c]| [a.as_str(), b.as_str(), c.as_str()])
            .collect();
        let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 3]>::as_slice).collect();
        f.import(group, &["customer_ref", "country", "tier"], &rows)
            .await
    };
    assert_eq!(import(table(6_000, "gold")).await, done(6_000, 0, 6_000));
    assert_eq!(import(table(6_000, "gold")).await, done(0, 0, 6_000));
    assert_eq!(
        import(table(7_000, "silver")).await,
        done(1_000, 5_999, 7_000)
    );
    let segments = f.segments(group, &["tier"]).await;
    assert_eq!(
        segments,
        BTreeMap::from([
            (values(&[("tier", Some("last"))]), 1),
            (values(&[("tier", Some("silver"))]), 6_999),
        ]),
    );
    // A replacement of all, of which some stay as they are, some change, some go and some come.
    let rows: Vec<[String; 3]> = (1_000..9_000)
        .map(|n| {
            let tier = if n < 2_000 { "silver" } else { "" };
            [
                tier.to_owned(),
                format!("C-{n:05}"),
                format!("country {}", n % 7),
            ]
        })
        .collect();
    let rows: Vec<[&str; 3]> = rows
        .iter()
        .map(|[a, b, c]| [a.as_str(), b.as_str(), c.as_str()])
        .collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 3]>::as_slice).collect();
    let columns = ["tier", "customer_ref", "country"];
    let replaced = f.try_replace(group, &columns, &rows).await.unwrap();
    let expected = Imported {
        rows: 8_000,
        imported: 2_000,
        updated: 5_000,
        removed: 1_000,
        duplicates: 0,
        total: 8_000,
    };
    assert_eq!(replaced, expected);
    assert_eq!(
        f.segments(group, &["tier"]).await,
        BTreeMap::from([
            (values(&[("tier", Some("silver"))]), 1_000),
            (values(&[("tier", None)]), 7_000),
        ]),
    );
    // And all but one go.
    let replaced = f.try_replace(group, &columns, &rows[..1]).await.unwrap();
    assert_eq!((replaced.removed, replaced.total), (7_999, 1));
    f.check().await;
}

/// Imports that run at once, over the same customers in different orders, all go through.
pub async fn imports_at_once_all_count<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let tasks: usize = 8;
    let answers = all_at_once(tasks, |task| {
        let engine = f.engine.clone();
        async move {
            let mut rows: Vec<[String; 2]> = (0..200)
                .map(|n| [format!("C-{n}"), format!("task {task}")])
                .collect();
            rows.push([format!("own of {task}"), String::new()]);
            rows.rotate_left(task * 25);
            if task % 2 == 1 {
                rows.reverse();
            }
            let rows: Vec<[&str; 2]> = rows.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
            let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            let file = customer_file(&["customer_ref", "task"], &rows);
            engine.groups.import(&caller(), group, file, None).await
        }
    })
    .await;
    let answers: Vec<Imported> = answers
        .into_iter()
        .map(|a| a.expect("every import").outcome)
        .collect();
    let total = 200 + u64::try_from(tasks).unwrap();
    assert_eq!(
        answers.iter().map(|done| done.imported).sum::<u64>(),
        total,
        "each came once"
    );
    assert_eq!(answers.iter().map(|done| done.total).max(), Some(total));
    assert_eq!(
        answers.iter().map(|done| done.updated).sum::<u64>(),
        200 * (u64::try_from(tasks).unwrap() - 1),
        "each task after the first changed all that they share",
    );
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(u64::try_from(found.customer_count), Ok(total));
    let segments = f.segments(group, &["task"]).await;
    let mut counts: Vec<i64> = segments.into_values().collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [8, 200],
        "one task's values won for all that they share"
    );
    f.check().await;
}
