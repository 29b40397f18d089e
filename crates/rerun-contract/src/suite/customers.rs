//! Customers listed, deleted and erased, and groups that are deleted.

use rerun_core::error::Error;
use rerun_core::group::{Customer, DeletedCustomers, ImportMode, customer_digest};
use rerun_core::ids::CustomerGroupId;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{ListCustomers, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use super::recipients::of_run;
use crate::fixture::{
    ACCOUNT, Fixture, HeldFile, OTHER_ACCOUNT, Row, caller, every_large_page, every_page,
    new_campaign, page_of, stranger,
};

async fn refs<S: Store + 'static>(f: &Fixture<S>, group: CustomerGroupId) -> Vec<String> {
    let customers = listed(f, group, None, 10_000).await;
    customers.into_iter().map(|it| it.customer_ref).collect()
}

async fn listed<S: Store + 'static>(
    f: &Fixture<S>,
    group: CustomerGroupId,
    customer_refs: Option<&[&str]>,
    limit: i64,
) -> Vec<Customer> {
    let wanted = customer_refs.map(|refs| refs.iter().map(|&name| name.to_owned()).collect());
    every_page(limit, async |page| {
        let list = ListCustomers {
            account_id: ACCOUNT,
            group_id: group,
            customer_refs: wanted.clone(),
            page,
        };
        f.store.list_customers(list).await.unwrap()
    })
    .await
}

/// Checks the group's number of customers.
async fn has<S: Store + 'static>(f: &Fixture<S>, group: CustomerGroupId, customers: usize) {
    assert_eq!(refs(f, group).await.len(), customers);
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(usize::try_from(found.customer_count), Ok(customers));
    let counted: i64 = f.segments(group, &["country"]).await.into_values().sum();
    assert_eq!(usize::try_from(counted), Ok(customers), "kept counts");
}

/// By the bytes of the references, with all that a customer has, page by page.
pub async fn customers_are_listed_by_reference<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let columns = ["customer_ref", "country", "na\"me"];
    let rows: [Row<'_>; 6] = [
        &["b", "DE", ""],
        &["\u{e9}", "", "\u{1}\"\\"],
        &["B", "FR", "x"],
        &["a'; --", "", ""],
        &["a", "DE", "y"],
        &["\u{1f600}", "IT", ""],
    ];
    f.import(group, &columns, &rows).await;
    f.import(f.empty_group("Others").await, &columns, &rows)
        .await;
    let mut expected: Vec<Customer> = rows
        .iter()
        .map(|row| {
            let values = columns.iter().zip(*row).skip(1);
            Customer {
                customer_ref: row[0].to_owned(),
                profile: values
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            }
        })
        .collect();
    expected.sort_by(|one, other| one.customer_ref.cmp(&other.customer_ref));
    for limit in [1, 2, 5, 6, 7] {
        assert_eq!(listed(f, group, None, limit).await, expected, "{limit}");
    }
    let some = ["nobody", "\u{e9}", "B", "a'; --"];
    expected.retain(|customer| some.contains(&customer.customer_ref.as_str()));
    for limit in [1, 2, 3] {
        let found = listed(f, group, Some(&some), limit).await;
        assert_eq!(found, expected, "{limit}");
    }
    assert_eq!(listed(f, group, Some(&[]), 1).await, []);
    let unknown = CustomerGroupId::new(Uuid::from_u128(7));
    assert_eq!(listed(f, unknown, None, 1).await, []);
}

/// Large profiles make short pages.
pub async fn a_page_of_customers_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let value = "\u{e9}".repeat(400_000);
    let names: Vec<String> = (10..35).map(|n| format!("c-{n}")).collect();
    let rows: Vec<[&str; 2]> = names.iter().map(|name| [name.as_str(), &value]).collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
    f.import(group, &["customer_ref", "note"], &rows).await;
    let customers = every_large_page(async |page| {
        let list = ListCustomers {
            account_id: ACCOUNT,
            group_id: group,
            customer_refs: None,
            page,
        };
        f.store.list_customers(list).await.unwrap()
    })
    .await;
    let found: Vec<String> = customers.into_iter().map(|it| it.customer_ref).collect();
    assert_eq!(found, names);
}

/// Only the group that is named loses them. Its count and its kept counts of segments follow, and
/// unknown references do not count.
pub async fn deleted_customers_are_not_counted<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "DE", "FR", "IT"]).await;
    let other = f.group(&["DE"]).await;
    has(f, group, 4).await;
    f.seconds_later(1);
    let groups = &f.engine.groups;
    let texts = |refs: &[&str]| refs.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let gone = texts(&["C-0", " C-2 ", "C-0", "nobody", ""]);
    for replayed in [false, true] {
        let done = groups
            .delete_customers(&caller(), group, &gone, Some("k"))
            .await;
        let done = done.unwrap();
        let expected = DeletedCustomers {
            deleted_customers: 2,
            total: 2,
        };
        assert_eq!((done.outcome, done.replayed), (expected, replayed));
    }
    assert_eq!(refs(f, group).await, ["C-1", "C-3"]);
    has(f, group, 2).await;
    has(f, other, 1).await;
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(found.updated_at, f.now());
    let entries = f.entries(ACCOUNT).await;
    let last = entries.last().unwrap();
    assert_eq!(last.action, "customers.deleted");
    assert!(!last.details.contains("C-"), "{}", last.details);
    let before = f.snapshot(ACCOUNT).await;
    let none = groups
        .delete_customers(&caller(), group, &texts(&["C-0"]), None)
        .await;
    assert_eq!((none.unwrap().outcome.deleted_customers), 0);
    let strange = groups
        .delete_customers(&stranger(), group, &texts(&["C-1"]), None)
        .await;
    assert!(
        matches!(strange, Err(Error::CustomerGroupNotFound)),
        "{strange:?}"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "a deletion of nobody");
    has(f, group, 2).await;
    f.check().await;
}

/// Every group of the account loses the customer, and no other.
pub async fn an_erased_customer_is_in_no_group<S: Store + 'static>(f: &Fixture<S>) {
    let first = f.group(&["DE", "FR"]).await;
    let second = f.group(&["IT"]).await;
    let without = f.empty_group("Without").await;
    let theirs = f.engine.groups.create(&stranger(), "Theirs", None).await;
    let theirs = theirs.unwrap().outcome.id;
    let row: [Row<'_>; 1] = [&["C-0", "DE"]];
    let columns = ["customer_ref", "country"];
    f.try_import(&stranger(), theirs, &columns, &row)
        .await
        .unwrap();
    let campaign = f.published(&["DE", "FR"]).await;
    let messages = f.current(campaign).await;
    let group = f.campaign(campaign).await.customer_group_id;
    for (group, customers) in [(first, 2), (second, 1), (group, 2)] {
        has(f, group, customers).await;
    }
    let groups = &f.engine.groups;
    for replayed in [false, true] {
        let erased = groups.erase(&caller(), " C-0 ", Some("k")).await.unwrap();
        assert_eq!((erased.outcome, erased.replayed), (3, replayed));
    }
    for (group, customers) in [(first, 1), (second, 0), (without, 0), (group, 1)] {
        has(f, group, customers).await;
    }
    // What was sent stays as it was.
    assert_eq!(f.current(campaign).await, messages);
    let entries = f.entries(ACCOUNT).await;
    let last = entries.last().unwrap();
    assert_eq!(last.action, "customer.erased");
    let digest = customer_digest(ACCOUNT, "C-0").map(|byte| format!("{byte:02x}"));
    let digest = digest.concat();
    let details = json!({ "customer_sha256": digest, "erased_groups": 3 });
    assert_eq!(
        serde_json::from_str::<Value>(&last.details).unwrap(),
        details
    );
    let before = f.snapshot(ACCOUNT).await;
    for nobody in ["C-0", "", " ", &"x".repeat(1_001)] {
        let erased = groups.erase(&caller(), nobody, None).await;
        assert!(matches!(erased, Err(Error::CustomerNotFound)), "{erased:?}");
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "an erasure of nobody");
    let found = f.store.find_group(OTHER_ACCOUNT, theirs).await.unwrap();
    assert_eq!(found.unwrap().customer_count, 1);
    f.check().await;
}

/// A deleted group is nowhere but in the history, before and after its customers are swept.
pub async fn a_deleted_group_is_out_of_reach<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.campaign(campaign).await.customer_group_id;
    let next = f.group(&["DE"]).await;
    f.rerun(campaign, next).await;
    let messages = f.current(campaign).await;
    let first = f.run(campaign, 1).await;
    let groups = &f.engine.groups;
    for replayed in [false, true] {
        let deleted = groups.delete(&caller(), group, Some("k")).await.unwrap();
        assert_eq!((deleted.outcome, deleted.replayed), (2, replayed));
    }
    for _ in 0..2 {
        assert_eq!(f.store.find_group(ACCOUNT, group).await.unwrap(), None);
        let all = f
            .store
            .list_groups(ACCOUNT, page_of(10, None))
            .await
            .unwrap();
        let ids: Vec<_> = all.items.iter().map(|group| group.id).collect();
        assert_eq!(ids, [next]);
        let row: [Row<'_>; 1] = [&["C-9", "DE"]];
        let columns = ["customer_ref", "country"];
        let imported = f.try_import(&caller(), group, &columns, &row).await;
        let renamed = groups.rename(&caller(), group, "n", None).await.map(|_| ());
        let deleted = groups.delete(&caller(), group, None).await.map(|_| ());
        let gone = ["C-0".to_owned()];
        let fewer = groups.delete_customers(&caller(), group, &gone, None).await;
        let new = new_campaign(group, &["country"]);
        let draft = f.engine.campaigns.create(&caller(), new, None).await;
        for refused in [
            imported.map(|_| ()),
            renamed,
            deleted,
            fewer.map(|_| ()),
            draft.map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(Error::CustomerGroupNotFound)),
                "{refused:?}"
            );
        }
        // The history has what it had.
        assert_eq!(f.current(campaign).await, messages);
        assert_eq!(f.run(campaign, 1).await, first);
        f.check().await;
        f.engine.campaigns.sweep_deleted().await.unwrap();
    }
    assert!(!f.store.sweep_deleted().await.unwrap());
    // A customer that only the deleted group had is in no group.
    let erased = groups.erase(&caller(), "C-1", None).await;
    assert!(matches!(erased, Err(Error::CustomerNotFound)), "{erased:?}");
    let entries = f.entries(ACCOUNT).await;
    let deletions = entries
        .iter()
        .filter(|entry| entry.action == "customer_group.deleted");
    assert_eq!(deletions.count(), 1);
    // The run that was for it can become the current one again.
    f.cancel(campaign).await;
    f.check().await;
}

/// While a draft or a current run is for it.
pub async fn a_group_in_use_stays<S: Store + 'static>(f: &Fixture<S>) {
    let groups = &f.engine.groups;
    let group = f.group(&["DE", "FR"]).await;
    let in_use = async || {
        let before = f.snapshot(ACCOUNT).await;
        let refused = groups.delete(&caller(), group, None).await;
        assert!(matches!(refused, Err(Error::GroupInUse)), "{refused:?}");
        before.assert_same(&f.snapshot(ACCOUNT).await, "a refused deletion");
        let strange = groups.delete(&stranger(), group, None).await;
        assert!(
            matches!(strange, Err(Error::CustomerGroupNotFound)),
            "{strange:?}"
        );
    };
    let campaign = f.draft(group).await;
    in_use().await;
    f.launch(campaign).await;
    in_use().await;
    f.finish(campaign).await;
    in_use().await;
    let next = f.group(&["DE", "IT"]).await;
    f.rerun(campaign, next).await;
    let deleted = groups.delete(&caller(), group, None).await;
    assert_eq!(deleted.unwrap().outcome, 2);
    let refused = groups.delete(&caller(), next, None).await;
    assert!(matches!(refused, Err(Error::GroupInUse)), "{refused:?}");
    // A deleted campaign uses nothing.
    f.generate().await;
    f.engine
        .campaigns
        .delete(&caller(), campaign, None)
        .await
        .unwrap();
    let deleted = groups.delete(&caller(), next, None).await;
    assert_eq!(deleted.unwrap().outcome, 2);
    f.engine.campaigns.sweep_deleted().await.unwrap();
    f.check().await;
}

/// Of a deletion of a group and a rerun for it at once, one happens.
pub async fn a_deletion_and_a_rerun_for_the_group_exclude_each_other<S: Store + 'static>(
    f: &Fixture<S>,
) {
    let campaign = f.published(&["DE"]).await;
    for _ in 0..8 {
        let group = f.group(&["DE"]).await;
        let groups = f.engine.groups.clone();
        let delete = tokio::spawn(async move { groups.delete(&caller(), group, None).await });
        let rerun = f.try_rerun(campaign, group, ReuseFrom::CurrentRun).await;
        let deleted = delete.await.unwrap();
        assert!(deleted.is_ok() != rerun.is_ok(), "{deleted:?} {rerun:?}");
        if rerun.is_ok() {
            f.finish(campaign).await;
        }
        f.engine.campaigns.sweep_deleted().await.unwrap();
        f.check().await;
    }
}

/// Of a deletion of a group and a draft for it at once, one happens.
pub async fn a_deletion_and_a_draft_for_the_group_exclude_each_other<S: Store + 'static>(
    f: &Fixture<S>,
) {
    for _ in 0..8 {
        let group = f.group(&["DE"]).await;
        let groups = f.engine.groups.clone();
        let delete = tokio::spawn(async move { groups.delete(&caller(), group, None).await });
        let new = new_campaign(group, &["country"]);
        let draft = f.engine.campaigns.create(&caller(), new, None).await;
        let deleted = delete.await.unwrap();
        assert!(deleted.is_ok() != draft.is_ok(), "{deleted:?} {draft:?}");
        f.engine.campaigns.sweep_deleted().await.unwrap();
        f.check().await;
    }
}

/// Whatever comes first, the count is that of the customers.
pub async fn deletions_beside_an_import_are_counted<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "IT", "ES"]).await;
    for replace in [false, true] {
        let (mut file, mut held) = HeldFile::new(&["C-1", "new", "C-3"], "AT");
        if replace {
            file.mode = ImportMode::Replace;
        }
        let groups = f.engine.groups.clone();
        let import = tokio::spawn(async move { groups.import(&caller(), group, file, None).await });
        held.has_begun().await;
        let groups = &f.engine.groups;
        let gone = ["C-0".to_owned(), "C-1".to_owned()];
        let deleted = groups.delete_customers(&caller(), group, &gone, None).await;
        let deleted = deleted.unwrap().outcome.deleted_customers;
        assert_eq!(deleted, if replace { 1 } else { 2 });
        let erased = groups.erase(&caller(), "C-2", None).await;
        assert_eq!(erased.is_ok(), !replace, "{erased:?}");
        held.go_on();
        let imported = import.await.unwrap().unwrap().outcome;
        assert_eq!(imported.total, 3);
        assert_eq!(refs(f, group).await, ["C-1", "C-3", "new"]);
        has(f, group, 3).await;
        f.check().await;
    }
}

/// The import finds that the group is gone, and leaves nothing.
pub async fn a_group_is_deleted_while_it_is_imported<S: Store + 'static>(f: &Fixture<S>) {
    for customers in [&["DE", "FR"][..], &[]] {
        let group = f.empty_group("Customers").await;
        if !customers.is_empty() {
            f.import_countries(group, customers).await;
        }
        let (file, mut held) = HeldFile::new(&["a", "b"], "AT");
        let groups = f.engine.groups.clone();
        let import = tokio::spawn(async move { groups.import(&caller(), group, file, None).await });
        held.has_begun().await;
        let deleted = f.engine.groups.delete(&caller(), group, None).await;
        assert_eq!(
            usize::try_from(deleted.unwrap().outcome),
            Ok(customers.len())
        );
        held.go_on();
        let imported = import.await.unwrap();
        assert!(
            matches!(imported, Err(Error::CustomerGroupNotFound)),
            "{imported:?}"
        );
        f.engine.campaigns.sweep_deleted().await.unwrap();
        assert_eq!(refs(f, group).await, Vec::<String>::new());
        let erased = f.engine.groups.erase(&caller(), "a", None).await;
        assert!(matches!(erased, Err(Error::CustomerNotFound)), "{erased:?}");
        f.check().await;
    }
}

/// An import into a group goes on when a campaign of the group is deleted beside it.
pub async fn a_campaign_is_deleted_while_its_group_is_imported<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.current_run(campaign).await.group.id;
    let (file, mut held) = HeldFile::new(&["a", "b"], "AT");
    let groups = f.engine.groups.clone();
    let import = tokio::spawn(async move { groups.import(&caller(), group, file, None).await });
    held.has_begun().await;
    let campaigns = &f.engine.campaigns;
    let deleted = campaigns.delete(&caller(), campaign, None).await;
    assert_eq!(deleted.unwrap().outcome, 2);
    campaigns.sweep_deleted().await.unwrap();
    held.go_on();
    import.await.unwrap().unwrap();
    has(f, group, 4).await;
    assert_eq!(refs(f, group).await, ["C-0", "C-1", "a", "b"]);
    // What is made for the group afterwards counts what came.
    let next = f.create(new_campaign(group, &["country"])).await;
    f.launch(next).await;
    let countries = f.current(next).await.len();
    assert_eq!(countries, 3);
    f.check().await;
}

/// A deletion or an erasure beside the start of a rerun comes before or after it: the run has the
/// customers of one moment.
pub async fn a_deletion_beside_a_rerun_is_before_or_after_it<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    for erases in [false, true, false, true, false, true] {
        let group = f.group(&["DE", "FR", "IT"]).await;
        let groups = f.engine.groups.clone();
        let gone = ["C-2".to_owned()];
        let change = tokio::spawn(async move {
            if erases {
                let erased = groups.erase(&caller(), "C-2", None).await;
                erased.map(|erased| erased.outcome)
            } else {
                let deleted = groups.delete_customers(&caller(), group, &gone, None).await;
                deleted.map(|deleted| deleted.outcome.deleted_customers)
            }
        });
        let started = f.rerun(campaign, group).await;
        assert!(change.await.unwrap().unwrap() >= 1);
        let messages = f.current(campaign).await;
        let customers: i64 = messages.iter().map(|it| it.segment.customer_count).sum();
        assert!((2..=3).contains(&customers), "{customers}");
        assert_eq!(usize::try_from(customers), Ok(messages.len()));
        assert_eq!(i64::from(started.segments.total), customers);
        has(f, group, 2).await;
        f.finish(campaign).await;
        let run = of_run(campaign, None);
        let list = f.engine.recipients.list(&caller(), run).await;
        let mut list = list.unwrap();
        assert_eq!(list.group_changed(), customers == 3);
        let recipients = list.next().await.unwrap().unwrap();
        assert_eq!(recipients.len(), 2);
        assert!(recipients.iter().all(|it| it.message.is_some()));
        f.check().await;
    }
}
