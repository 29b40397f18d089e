//! Reading runs, messages and comparisons.

use std::collections::{BTreeMap, BTreeSet};

use rerun_core::audit::AuditAction;
use rerun_core::campaign::CampaignStatus;
use rerun_core::diff::{DiffChange, DiffCounts, DiffItem, DiffKey};
use rerun_core::error::Error;
use rerun_core::generation::GenerationError;
use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::message::{Content, Message, ReviewStatus, Source};
use rerun_core::page::{Contents, MAX_PAGE_BYTES, MessageKey};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    AuditFilter, CustomerQuery, CustomerSelection, CustomerValues, Diff, IdGenerator,
    MessageFilter, MessageList, MessageSelection, Store,
};
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::{SegmentBy, ValueSearch};
use rerun_core::usecases::{
    Decision, NewRules, PageQuery, RecipientRequest, RerunRequest, ReviewedMessages,
};
use serde_json::json;

use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, Row, caller, every_large_page, every_page, first_page,
    generated, new_campaign, page_of, run_number,
};

async fn rerun_and_publish<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    countries: &[&str],
) {
    let group = f.group(countries).await;
    f.seconds_later(1);
    f.rerun(campaign, group).await;
    f.generate().await;
    f.approve(campaign).await;
    f.publish(campaign).await;
}

async fn list<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    which: MessageSelection,
    limit: i64,
    after: Option<MessageKey>,
) -> MessageList {
    f.store
        .messages(ACCOUNT, campaign, which, page_of(limit, after))
        .await
        .unwrap()
        .unwrap()
}

async fn diff<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    runs: (i64, i64),
    limit: i64,
    after: Option<DiffKey>,
) -> Diff {
    let (from, to) = (run_number(runs.0), run_number(runs.1));
    f.store
        .diff(ACCOUNT, campaign, from, to, page_of(limit, after))
        .await
        .unwrap()
        .unwrap()
}

/// The history, newest first, in pages of any size, with a run that comes between two pages.
pub async fn runs_are_paged_newest_first<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    for _ in 0..6 {
        rerun_and_publish(f, campaign, &["DE"]).await;
    }
    for limit in [1, 2, 3, 7, 100] {
        let runs = every_page(limit, async |page| {
            let history = f
                .store
                .history(ACCOUNT, campaign, page)
                .await
                .unwrap()
                .unwrap();
            let of_campaign = (history.status, history.current_run);
            assert_eq!(
                of_campaign,
                (CampaignStatus::Published, Some(run_number(7)))
            );
            history.runs
        })
        .await;
        let numbers: Vec<i32> = runs.iter().map(|run| run.number.get()).collect();
        assert_eq!(numbers, [7, 6, 5, 4, 3, 2, 1], "limit {limit}");
    }
    let first = f
        .store
        .history(ACCOUNT, campaign, page_of(3, None))
        .await
        .unwrap()
        .unwrap();
    rerun_and_publish(f, campaign, &["DE", "FR"]).await;
    let rest = f
        .store
        .history(ACCOUNT, campaign, page_of(9, first.runs.next))
        .await;
    let rest = rest.unwrap().unwrap();
    assert_eq!(
        rest.current_run,
        Some(run_number(8)),
        "the campaign as it is now"
    );
    let numbers: Vec<i32> = rest.runs.items.iter().map(|run| run.number.get()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let end = f
        .store
        .history(ACCOUNT, campaign, page_of(9, Some(run_number(1))))
        .await;
    assert_eq!(end.unwrap().unwrap().runs.items, [], "after the last");
    f.check().await;
}

/// A draft has a history without runs.
pub async fn a_draft_has_no_runs<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let campaign = f.draft(group).await;
    let history = f
        .store
        .history(ACCOUNT, campaign, first_page())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((history.runs.items, history.runs.next), (vec![], None));
    assert_eq!(
        (history.status, history.current_run),
        (CampaignStatus::Draft, None)
    );
    for which in [MessageSelection::CurrentRun, MessageSelection::EveryRun] {
        let found = list(f, campaign, which, 10, None).await;
        assert!(found.run_exists && found.messages.items.is_empty());
        assert_eq!(found.current_run, None);
        assert_eq!(
            found.approval_stages.names(),
            f.campaign(campaign).await.approval_stages.names()
        );
    }
    let found = list(
        f,
        campaign,
        MessageSelection::Run(RunNumber::FIRST),
        10,
        None,
    )
    .await;
    assert!(!found.run_exists, "run 1 has not been");
}

/// An id that names nothing finds nothing.
pub async fn an_unknown_campaign_has_no_history<S: Store + 'static>(f: &Fixture<S>) {
    let unknown = CampaignId::new(f.ids.next());
    assert_eq!(
        f.store
            .history(ACCOUNT, unknown, first_page())
            .await
            .unwrap(),
        None
    );
    let found = f
        .store
        .messages(ACCOUNT, unknown, MessageSelection::EveryRun, first_page())
        .await;
    assert_eq!(found.unwrap(), None);
    let (from, to) = (run_number(1), run_number(2));
    assert_eq!(
        f.store
            .diff(ACCOUNT, unknown, from, to, first_page())
            .await
            .unwrap(),
        None
    );
    let campaign = f.published(&["DE"]).await;
    let message = f.message(campaign, "DE").await;
    let other = f.published(&["DE"]).await;
    let unheard = MessageId::new(f.ids.next());
    for (campaign, id, expected) in [
        (campaign, message.id, Some(message.clone())),
        (campaign, unheard, None),
        (other, message.id, None),
        (unknown, message.id, None),
    ] {
        assert_eq!(
            f.store.find_message(ACCOUNT, campaign, id).await.unwrap(),
            expected
        );
    }
}

/// Every selection in pages of any size: every message once, in the list's order.
pub async fn messages_are_paged_in_order<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT", "ES", ""]).await;
    rerun_and_publish(f, campaign, &["DE", "PT", "FR"]).await;
    rerun_and_publish(f, campaign, &["AT", "DE", "PT", "IT"]).await;
    let group = f.group(&["NL", "DE"]).await;
    f.rerun(campaign, group).await;
    f.cancel(campaign).await;
    let lengths = BTreeMap::from([(1, 5), (2, 3), (3, 4), (4, 2)]);
    let order = |message: &Message| (std::cmp::Reverse(message.run_number), message.segment_no);
    for limit in [1, 2, 3, 5, 14, 100] {
        let read = async |which: MessageSelection| {
            every_page(limit, async |page| {
                let found = f.store.messages(ACCOUNT, campaign, which, page).await;
                found.unwrap().unwrap().messages
            })
            .await
        };
        let every = read(MessageSelection::EveryRun).await;
        assert_eq!(every.len(), 14, "limit {limit}");
        assert!(
            every.is_sorted_by(|a, b| order(a) < order(b)),
            "newest run first, each once"
        );
        let current = read(MessageSelection::CurrentRun).await;
        for (number, length) in &lengths {
            let run = read(MessageSelection::Run(run_number(*number))).await;
            assert_eq!(run.len(), *length, "run {number}, limit {limit}");
            let same: Vec<_> = every
                .iter()
                .filter(|m| m.run_number == run_number(*number))
                .cloned()
                .collect();
            assert_eq!(run, same, "run {number}, limit {limit}");
            if *number == 3 {
                assert_eq!(current, run, "run 3 is current again");
                assert!(current.iter().all(|message| message.archived_at.is_none()));
            } else {
                assert!(
                    run.iter().all(|message| message.archived_at.is_some()),
                    "run {number}"
                );
            }
        }
    }
    f.check().await;
}

/// What happens between two pages neither doubles nor hides a message.
pub async fn pages_of_messages_are_stable<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT", "ES"]).await;
    rerun_and_publish(f, campaign, &["DE", "FR", "IT"]).await;
    let whole = f.messages(campaign, MessageSelection::EveryRun).await;
    let ids = |messages: &[Message]| -> Vec<MessageId> { messages.iter().map(|m| m.id).collect() };
    let mut read = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = list(f, campaign, MessageSelection::EveryRun, 2, after)
            .await
            .messages;
        read.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
        if round < 2 {
            rerun_and_publish(f, campaign, &["DE", "NL", "PL"]).await;
        }
    }
    assert_eq!(
        ids(&read),
        ids(&whole),
        "a page goes on after its key, whatever came since"
    );
    let now = list(f, campaign, MessageSelection::CurrentRun, 100, None).await;
    assert_eq!(now.messages.items.len(), 3);
}

/// Every combination of filters returns the messages that match, in the order of the list, whatever
/// the size of the pages.
pub async fn filters_take_what_they_say<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "Österreich"]).await;
    let group = f.group(&["DE", "FR", "Österreich", "ES", "IT", "Peru", ""]);
    f.rerun(campaign, group.await).await;
    // One message is generated, one fails, and one still has its lease. Of the reused messages, one
    // is rejected and one is edited.
    let one = f.lease(1).await;
    f.settle(&one, |task| Ok(generated(task))).await;
    let one = f.lease(1).await;
    f.settle(&one, |_| Err(GenerationError::for_good("no")))
        .await;
    let id = async |country: &str| f.message(campaign, country).await.id;
    let reject = Decision::Reject { reason: "r".into() };
    let french = ReviewedMessages::Named(vec![Some(id("FR").await)]);
    let reviews = &f.engine.reviews;
    reviews
        .review(&caller(), campaign, &reject, &french, None, None)
        .await
        .unwrap();
    let content = Content {
        subject: "s".into(),
        body: "b".into(),
    };
    reviews
        .edit(&caller(), campaign, Some(id("DE").await), content, None)
        .await
        .unwrap();
    let searches = [
        None,
        Some("ÖSTER"),
        Some("e"),
        Some("country"),
        Some("null"),
    ];
    let sources = Source::ALL.iter().copied().map(Some);
    let sources: Vec<Option<Source>> = sources.chain([None]).collect();
    let statuses = ReviewStatus::ALL.iter().copied().map(Some);
    let statuses: Vec<Option<ReviewStatus>> = statuses.chain([None]).collect();
    let mut taken = 0;
    for which in [
        MessageSelection::CurrentRun,
        MessageSelection::Run(run_number(1)),
        MessageSelection::EveryRun,
    ] {
        let all = f.messages(campaign, which).await;
        for status in &statuses {
            for source in &sources {
                for stage in [None, Some(0), Some(1)] {
                    for search in searches {
                        let search = search.map(|text| ValueSearch::new("segment", text).unwrap());
                        let filter = MessageFilter {
                            status: *status,
                            stage,
                            source: *source,
                            segment: search,
                        };
                        let expected: Vec<&Message> = all
                            .iter()
                            .filter(|message| filter.takes(message).unwrap())
                            .collect();
                        taken += expected.len();
                        for limit in [1, 100] {
                            let found = every_page(limit, async |page| {
                                let filter = filter.clone();
                                let list = f
                                    .store
                                    .filtered_messages(ACCOUNT, campaign, which, filter, page);
                                list.await.unwrap().unwrap().messages
                            })
                            .await;
                            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(taken > 100, "{taken}");
    let filter = MessageFilter {
        status: Some(ReviewStatus::Published),
        ..MessageFilter::default()
    };
    let stranger = f.store.filtered_messages(
        OTHER_ACCOUNT,
        campaign,
        MessageSelection::EveryRun,
        filter.clone(),
        page_of(10, None),
    );
    assert_eq!(stranger.await.unwrap(), None);
    let unknown = MessageSelection::Run(run_number(9));
    let unknown = f
        .store
        .filtered_messages(ACCOUNT, campaign, unknown, filter, page_of(10, None));
    assert!(!unknown.await.unwrap().unwrap().run_exists);
}

/// A page far down the list is there as the first one is.
pub async fn deep_pages_are_reached<S: Store + 'static>(f: &Fixture<S>) {
    let names: Vec<String> = (0..120).map(|n| format!("country {n:03}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let campaign = f.published(&countries).await;
    let group = f.group(&countries[..3]).await;
    for _ in 0..40 {
        f.rerun(campaign, group).await;
        f.publish(campaign).await;
    }
    let messages = every_page(7, async |page| {
        let found = f
            .store
            .messages(ACCOUNT, campaign, MessageSelection::EveryRun, page)
            .await;
        found.unwrap().unwrap().messages
    })
    .await;
    assert_eq!(messages.len(), 120 + 3 * 40);
    assert_eq!(messages.last().unwrap().run_number, run_number(1));
    let runs = every_page(5, async |page| {
        f.store
            .history(ACCOUNT, campaign, page)
            .await
            .unwrap()
            .unwrap()
            .runs
    })
    .await;
    assert_eq!(runs.len(), 41);
    f.check().await;
}

/// However large messages are, a page of them is not.
pub async fn a_page_of_messages_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let names: Vec<String> = (0..40).map(|n| format!("country {n:02}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = f.group(&countries).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let leased = f.lease(1_000).await;
    f.settle(&leased, |_| {
        Ok(Content {
            subject: "Long".into(),
            body: "\u{20ac}".repeat(Content::MAX_BODY_LENGTH),
        })
    })
    .await;
    let mut expected = Vec::new();
    for which in [
        MessageSelection::CurrentRun,
        MessageSelection::Run(run_number(1)),
        MessageSelection::EveryRun,
    ] {
        let messages = every_large_page(async |page| {
            let found = f.store.messages(ACCOUNT, campaign, which, page).await;
            found.unwrap().unwrap().messages
        })
        .await;
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        assert_eq!(ids.len(), 40, "{which:?}");
        if expected.is_empty() {
            expected.clone_from(&ids);
        }
        assert_eq!(ids, expected, "{which:?}");
    }
    let request = RecipientRequest {
        campaign,
        run: None,
        content: true,
        exclude_run: None,
    };
    let mut list = f.engine.recipients.list(&caller(), request).await.unwrap();
    let mut recipients = Vec::new();
    while let Some(read) = list.next().await.unwrap() {
        let bodies = read.iter().map(|recipient| {
            let content = recipient.content.as_ref().unwrap();
            assert_eq!(content.body.chars().count(), Content::MAX_BODY_LENGTH);
            content.body.len()
        });
        let bytes: usize = bodies.sum();
        assert!(
            bytes < MAX_PAGE_BYTES + 3 * Content::MAX_BODY_LENGTH,
            "{bytes} bytes"
        );
        recipients.extend(read.into_iter().filter_map(|recipient| recipient.message));
    }
    expected.sort_unstable();
    recipients.sort_unstable();
    assert_eq!(recipients, expected);
}

/// Segments of eight long values: as a preview and as a comparison list them, and as the customers
/// of a list of recipients have them.
pub async fn a_page_of_segments_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    const FIELDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let group = f.empty_group("Customers").await;
    let references: Vec<String> = (0..500).map(|n| format!("{n:03}")).collect();
    let long = "\u{20ac}".repeat(990);
    let values: Vec<String> = references.iter().map(|it| format!("{it}{long}")).collect();
    let rows: Vec<[&str; 9]> = references
        .iter()
        .zip(&values)
        .map(|(reference, value)| {
            let mut row = [value.as_str(); 9];
            row[0] = reference;
            row
        })
        .collect();
    let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 9]>::as_slice).collect();
    let columns = [&["customer_ref"][..], &FIELDS].concat();
    f.import(group, &columns, &rows).await;
    let campaign = f.create(new_campaign(group, &FIELDS)).await;
    f.launch(campaign).await;
    f.finish(campaign).await;

    let mut query = PageQuery::default();
    let mut keys = Vec::new();
    let mut pages = 0;
    loop {
        let request = RerunRequest {
            campaign,
            new_group: Some(group),
            reuse_from: ReuseFrom::CurrentRun,
            allow_missing_fields: false,
        };
        let preview = f.engine.reruns.preview(&caller(), request, &query).await;
        let items = preview.unwrap().items;
        let bytes: usize = items.items.iter().map(Contents::bytes).sum();
        assert!(bytes < MAX_PAGE_BYTES + 100_000, "{bytes} bytes");
        assert!(items.items.iter().all(|item| item.reuses.is_some()));
        keys.extend(items.items.iter().map(|item| item.segment.key));
        pages += 1;
        query.cursor = items.next_cursor;
        if query.cursor.is_none() {
            break;
        }
        assert!(bytes >= MAX_PAGE_BYTES, "{bytes} bytes");
    }
    assert!(pages > 1 && keys.is_sorted(), "{pages} pages");
    assert_eq!(keys.len(), 500);

    let same = run_number(1);
    let items = every_large_page(async |page| {
        let found = f.store.diff(ACCOUNT, campaign, same, same, page).await;
        found.unwrap().unwrap().items
    })
    .await;
    assert_eq!(items.len(), 500);

    let read = async |with_attributes, page| {
        let read = f
            .store
            .run_messages(ACCOUNT, campaign, same, with_attributes, page);
        read.await.unwrap()
    };
    let messages = every_large_page(async |page| read(true, page).await).await;
    let numbers = messages.iter().map(|message| message.segment_no);
    assert!(numbers.is_sorted() && messages.len() == 500);
    assert!(messages.iter().all(|message| message.attributes.is_some()));
    let messages = every_page(200, async |page| read(false, page).await).await;
    assert_eq!(messages.len(), 500);
    assert!(messages.iter().all(|message| message.attributes.is_none()));

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = CustomerQuery {
            account_id: ACCOUNT,
            group_id: group,
            segment_by: SegmentBy::new(&FIELDS).unwrap(),
            excluded: None,
            which: CustomerSelection::After(after),
            limit: 1_000,
        };
        let read = f.store.customers(query).await.unwrap();
        let bytes: usize = read.customers.iter().map(CustomerValues::bytes).sum();
        assert!(bytes < MAX_PAGE_BYTES + 100_000, "{bytes} bytes");
        found.extend(read.customers.into_iter().map(|it| it.customer_ref));
        after = read.next;
        if after.is_none() {
            break;
        }
        assert!(bytes >= MAX_PAGE_BYTES, "{bytes} bytes");
    }
    assert_eq!(found, references);

    assert_eq!(sent_after_other_rules(f, campaign, FIELDS).await.len(), 500);
}

/// The messages that customers were sent, once the campaign has other rules.
async fn sent_after_other_rules<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    fields: [&str; 8],
) -> BTreeSet<MessageId> {
    let mut rules: Vec<FieldDeclaration> = fields.map(Into::into).into();
    rules[0] = serde_json::from_value(json!({ "field": "a", "null": ["-"] })).unwrap();
    let change = NewRules {
        campaign,
        segment_by: rules,
        dry_run: false,
    };
    let (caller, campaigns) = (caller(), &f.engine.campaigns);
    let changed = campaigns.update_segmentation(&caller, change, None).await;
    changed.unwrap();
    let request = RecipientRequest {
        campaign,
        run: None,
        content: false,
        exclude_run: None,
    };
    let mut list = f.engine.recipients.list(&caller, request).await.unwrap();
    let mut sent = BTreeSet::new();
    while let Some(read) = list.next().await.unwrap() {
        sent.extend(read.into_iter().filter_map(|recipient| recipient.message));
    }
    sent
}

/// Each run and each entry of a cancellation holds its reason.
pub async fn a_page_of_runs_and_entries_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    let reason = "\u{1f600}".repeat(2_000);
    let cancelled = 1_100;
    for _ in 0..cancelled {
        f.rerun(campaign, group).await;
        let reruns = &f.engine.reruns;
        let cancelled = reruns
            .cancel(&caller(), campaign, Some(&reason), None)
            .await;
        cancelled.unwrap();
    }
    let runs = every_large_page(async |page| {
        let found = f.store.history(ACCOUNT, campaign, page).await;
        found.unwrap().unwrap().runs
    })
    .await;
    assert_eq!(runs.len(), cancelled + 1);
    let filter = AuditFilter {
        campaign_id: None,
        action: Some(AuditAction::RerunCancelled),
    };
    let entries = every_large_page(async |page| {
        let found = f.store.list_audit(ACCOUNT, filter, page).await;
        found.unwrap().unwrap()
    })
    .await;
    assert_eq!(entries.len(), cancelled);
    // A check of the chain reads no more at once.
    let all = f.store.audit_head(ACCOUNT).await.unwrap().seq;
    let part = f.store.audit_chain(ACCOUNT, 0, 10_000).await.unwrap();
    let [before @ .., _, _] = part.as_slice() else {
        panic!("{} entries", part.len())
    };
    let bytes: usize = before.iter().map(Contents::bytes).sum();
    assert!(bytes < MAX_PAGE_BYTES, "{bytes} bytes");
    assert!(i64::try_from(part.len()).unwrap() < all, "of {all} entries");
    assert_eq!(f.engine.audit.verify(ACCOUNT).await.unwrap(), Ok(all));
}

/// Added, removed, kept with the same content, kept with another.
pub async fn a_diff_tells_what_changed<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT", "ES"]).await;
    let group = f.group(&["DE", "DE", "FR", "IT", "PT", ""]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    let french = f.message(campaign, "FR").await.id;
    let content = Content {
        subject: "New".into(),
        body: "words".into(),
    };
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(french), content, None)
        .await
        .unwrap();
    let italian = f.message(campaign, "IT").await.id;
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(italian)], None)
        .await
        .unwrap();
    f.finish(campaign).await;
    let expected = |country: &str| match country {
        "DE" => DiffChange::KeptSame,
        "FR" | "IT" => DiffChange::KeptChanged,
        "ES" => DiffChange::Removed,
        _ => DiffChange::Added,
    };
    let counts = DiffCounts {
        added: 2,
        removed: 1,
        kept_same: 1,
        kept_changed: 2,
    };
    let (earlier, later) = (f.of_run(campaign, 1).await, f.of_run(campaign, 2).await);
    let of = |messages: &[Message], item: &DiffItem| {
        let found = messages
            .iter()
            .find(|message| message.segment.key == item.segment.key);
        found.map(|message| (message.id, message.segment.clone()))
    };
    for limit in [1, 2, 3, 6, 100] {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let page = diff(f, campaign, (1, 2), limit, after).await;
            assert!(page.runs_exist);
            assert_eq!(
                page.counts, counts,
                "the whole comparison's numbers on every page"
            );
            items.extend(page.items.items);
            after = page.items.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(items.len(), 6, "limit {limit}");
        assert!(
            items.is_sorted_by(|a, b| a.segment_no < b.segment_no),
            "by segment number"
        );
        for item in items {
            let country = item
                .segment
                .attributes
                .to_map()
                .unwrap()
                .remove("country")
                .flatten();
            assert_eq!(
                item.change,
                expected(&country.unwrap_or_default()),
                "{item:?}"
            );
            let (from, to) = (of(&earlier, &item), of(&later, &item));
            assert_eq!(item.from, from.as_ref().map(|(id, _)| *id));
            assert_eq!(item.to, to.as_ref().map(|(id, _)| *id));
            assert_eq!(Some(item.segment), to.or(from).map(|(_, segment)| segment));
        }
    }
    let first = diff(f, campaign, (1, 2), 1, None).await.items.next.unwrap();
    let after = DiffKey {
        counts: DiffCounts::default(),
        ..first
    };
    let second = diff(f, campaign, (1, 2), 1, Some(after)).await;
    assert_eq!(second.counts, after.counts, "they are not counted again");
    let back = diff(f, campaign, (2, 1), 100, None).await;
    let mirrored = DiffCounts {
        added: counts.removed,
        removed: counts.added,
        ..counts
    };
    assert_eq!(back.counts, mirrored, "backwards");
}

/// A run does not differ from itself, whether its messages have content yet or not.
pub async fn a_run_does_not_differ_from_itself<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "ES"]).await;
    f.rerun(campaign, group).await;
    for run in [1, 2] {
        let same = diff(f, campaign, (run, run), 10, None).await;
        assert_eq!(
            same.counts,
            DiffCounts {
                kept_same: 2,
                ..DiffCounts::default()
            },
            "run {run}"
        );
        assert!(
            same.items
                .items
                .iter()
                .all(|item| item.change == DiffChange::KeptSame)
        );
    }
}

/// Far runs compare as near ones do, and an unknown run is told.
pub async fn any_two_runs_are_compared<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    rerun_and_publish(f, campaign, &["DE"]).await;
    rerun_and_publish(f, campaign, &["DE"]).await;
    let group = f.group(&["DE", "FR"]).await;
    f.try_rerun(campaign, group, ReuseFrom::AnyRun)
        .await
        .unwrap();
    let same = diff(f, campaign, (1, 4), 10, None).await;
    assert_eq!(
        same.counts,
        DiffCounts {
            kept_same: 2,
            ..DiffCounts::default()
        }
    );
    let removed = diff(f, campaign, (1, 3), 10, None).await;
    assert_eq!(
        removed.counts,
        DiffCounts {
            kept_same: 1,
            removed: 1,
            ..DiffCounts::default()
        }
    );
    for runs in [(1, 5), (5, 1), (6, 5)] {
        assert!(
            !diff(f, campaign, runs, 10, None).await.runs_exist,
            "{runs:?}"
        );
    }
}

/// A run's counts are what its messages are, after every kind of change.
pub async fn counts_follow_the_messages<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT"]).await;
    let group = f.group(&["DE", "FR", "ES", "PT", "NL"]).await;
    f.rerun(campaign, group).await;
    f.check().await;
    let leased = f.lease(2).await;
    f.settle(&leased, |task| Ok(generated(task))).await;
    f.check().await;
    let french = f.message(campaign, "FR").await.id;
    let content = Content {
        subject: "New".into(),
        body: "words".into(),
    };
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(french), content, None)
        .await
        .unwrap();
    f.check().await;
    f.fail_generation("no").await;
    f.check().await;
    f.review_all(
        campaign,
        Decision::Reject {
            reason: "no".into(),
        },
    )
    .await;
    f.check().await;
    f.engine
        .reviews
        .retry(&caller(), campaign, None)
        .await
        .unwrap();
    let german = f.message(campaign, "DE").await.id;
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(german)], None)
        .await
        .unwrap();
    f.check().await;
    let rejected: Vec<_> = f.current(campaign).await;
    let rejected: Vec<_> = rejected
        .iter()
        .filter(|m| m.state == rerun_core::message::MessageState::Rejected)
        .map(|m| Some(m.id))
        .collect();
    assert_eq!(rejected.len(), 3);
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &rejected, None)
        .await
        .unwrap();
    f.check().await;
    f.finish(campaign).await;
    let run = f.current_run(campaign).await;
    assert_eq!((run.counts.published, run.counts.generated), (5, 5));
    f.check().await;
}

/// A cursor of one list does not open another.
pub async fn cursors_belong_to_their_list<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT"]).await;
    let query = PageQuery {
        limit: Some(1),
        cursor: None,
    };
    let which = MessageSelection::CurrentRun;
    let first = f
        .engine
        .history
        .messages(&caller(), campaign, which, &query)
        .await
        .unwrap();
    let query = PageQuery {
        limit: Some(5),
        cursor: first.messages.next_cursor,
    };
    let rest = f
        .engine
        .history
        .messages(&caller(), campaign, which, &query)
        .await
        .unwrap();
    assert_eq!(rest.current_run, Some(run_number(1)));
    let rest = rest.messages;
    assert_eq!((rest.items.len(), rest.next_cursor), (2, None));
    let every = MessageSelection::EveryRun;
    let foreign = f
        .engine
        .history
        .messages(&caller(), campaign, every, &query)
        .await;
    assert!(matches!(foreign, Err(Error::Invalid(_))), "{foreign:?}");
}
