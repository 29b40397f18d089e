//! The audit log.

use rerun_core::audit::{AuditAction, AuditEntry, ChainHead};
use rerun_core::ids::CampaignId;
use rerun_core::message::Content;
use rerun_core::page::Limit;
use rerun_core::ports::{AuditFilter, EventFilter, IdGenerator, Store};
use rerun_core::usecases::Decision;

use crate::fixture::{
    ACCOUNT, CALLERS_NAME, Fixture, OTHER_ACCOUNT, all_at_once, caller, every_page, first_page,
    messages_from_elsewhere, new_campaign, page_of, run_number, stranger,
};

/// An account that nothing has happened in has an empty chain.
pub async fn an_empty_log_is_whole<S: Store + 'static>(f: &Fixture<S>) {
    assert_eq!(f.store.audit_head(ACCOUNT).await.unwrap(), ChainHead::EMPTY);
    assert_eq!(f.entries(ACCOUNT).await, []);
    assert_eq!(f.store.audit_accounts().await.unwrap(), []);
    let page = f
        .store
        .list_audit(ACCOUNT, AuditFilter::default(), first_page())
        .await;
    let page = page.unwrap().unwrap();
    assert_eq!((page.items, page.next), (vec![], None));
    assert_eq!(f.engine.audit.verify(ACCOUNT).await.unwrap(), Ok(0));
}

/// Every change writes exactly one entry, with who, where and what.
pub async fn every_change_writes_one_entry<S: Store + 'static>(f: &Fixture<S>) {
    let who = caller();
    let mut expected: Vec<(&str, Option<CampaignId>, Option<i64>)> = Vec::new();
    let group = f.group(&["DE", "FR"]).await;
    expected.push(("customer_group.created", None, None));
    expected.push(("customer_group.imported", None, None));
    let campaign = f.draft(group).await;
    let on = |run: i64| (Some(campaign), Some(run));
    expected.push(("campaign.created", Some(campaign), None));
    f.launch(campaign).await;
    expected.push(("campaign.launched", on(1).0, on(1).1));
    f.fail_generation("no").await;
    expected.push(("run.failed", on(1).0, on(1).1));
    f.engine.reviews.retry(&who, campaign, None).await.unwrap();
    expected.push(("rerun.retried", on(1).0, on(1).1));
    f.generate().await;
    expected.push(("run.completed", on(1).0, on(1).1));
    f.review_all(
        campaign,
        Decision::Reject {
            reason: "no".into(),
        },
    )
    .await;
    expected.push(("messages.rejected", on(1).0, on(1).1));
    let german = f.message(campaign, "DE").await.id;
    let french = f.message(campaign, "FR").await.id;
    let text = Content {
        subject: "By".into(),
        body: "hand".into(),
    };
    f.engine
        .reviews
        .edit(&who, campaign, Some(german), text, None)
        .await
        .unwrap();
    expected.push(("message.edited", on(1).0, on(1).1));
    f.engine
        .reviews
        .regenerate(&who, campaign, &[Some(french)], None)
        .await
        .unwrap();
    expected.push(("messages.regenerated", on(1).0, on(1).1));
    f.generate().await;
    expected.push(("run.completed", on(1).0, on(1).1));
    f.review_all(campaign, Decision::Approve).await;
    expected.push(("messages.approved", on(1).0, on(1).1));
    f.publish(campaign).await;
    expected.push(("campaign.published", on(1).0, on(1).1));
    f.rerun(campaign, group).await;
    expected.push(("rerun.initiated", on(2).0, on(2).1));
    f.cancel(campaign).await;
    expected.push(("rerun.cancelled", on(2).0, on(2).1));
    let messages = messages_from_elsewhere(f, &[Some("DE")]);
    let imported = f.import_campaign(group, messages).await.unwrap().0.id;
    expected.push(("campaign.created", Some(imported), Some(1)));
    let entries = f.entries(ACCOUNT).await;
    let found: Vec<_> = entries
        .iter()
        .map(|e| {
            let run = e.run_number.map(|run| i64::from(run.get()));
            (e.action.as_str(), e.campaign_id, run)
        })
        .collect();
    assert_eq!(found, expected);
    for entry in &entries {
        let system = entry.action.starts_with("run.");
        assert_eq!(
            entry.user_id,
            if system { None } else { who.user_id() },
            "{}",
            entry.action
        );
        assert_eq!(
            entry.user_name.as_deref(),
            (!system).then_some(CALLERS_NAME),
            "{}",
            entry.action
        );
        assert_eq!(
            entry.ip.as_deref(),
            (!system).then_some("192.0.2.7"),
            "{}",
            entry.action
        );
        assert_eq!(entry.role_code.is_some(), !system, "{}", entry.action);
        assert_eq!(entry.request_id.is_some(), !system, "{}", entry.action);
        let details: serde_json::Value = serde_json::from_str(&entry.details).unwrap();
        assert!(details.is_object(), "{details}");
    }
    let details =
        |at: usize| -> serde_json::Value { serde_json::from_str(&entries[at].details).unwrap() };
    assert_eq!(details(1)["imported"], 2, "completed by the store");
    assert_eq!(details(6)["after"], "Ready for review");
    assert_eq!(details(7)["messages"], 2, "completed by the store");
    f.check().await;
}

/// The log is a chain: numbered without gaps, each entry bound to the one before.
pub async fn the_chain_is_whole<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["ü \"q\" 'a' \\ \u{1} 😀"]).await;
    f.rerun(campaign, group).await;
    f.cancel(campaign).await;
    let entries = f.entries(ACCOUNT).await;
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
    let length = i64::try_from(entries.len()).unwrap();
    assert_eq!(numbers, (1..=length).collect::<Vec<_>>());
    let last = entries.last().unwrap();
    let head = f.store.audit_head(ACCOUNT).await.unwrap();
    assert_eq!(
        head,
        ChainHead {
            seq: length,
            hash: last.hash
        }
    );
    assert_eq!(f.engine.audit.verify(ACCOUNT).await.unwrap(), Ok(length));
    assert_eq!(f.store.audit_accounts().await.unwrap(), [ACCOUNT]);
    f.engine
        .groups
        .create(&stranger(), "Theirs", None)
        .await
        .unwrap();
    let mut accounts = [ACCOUNT, OTHER_ACCOUNT];
    accounts.sort_unstable();
    assert_eq!(f.store.audit_accounts().await.unwrap(), accounts);
    assert_eq!(f.engine.audit.verify(OTHER_ACCOUNT).await.unwrap(), Ok(1));
}

/// Parts of the chain are read from any number on.
pub async fn the_chain_is_read_in_parts<S: Store + 'static>(f: &Fixture<S>) {
    for n in 0..7 {
        f.empty_group(&format!("Group {n}")).await;
    }
    let read = async |after: i64, limit: u16| -> Vec<i64> {
        let found = f.store.audit_chain(ACCOUNT, after, limit).await.unwrap();
        found.iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(read(0, 3).await, [1, 2, 3]);
    assert_eq!(read(3, 3).await, [4, 5, 6]);
    assert_eq!(read(6, 3).await, [7]);
    assert_eq!(read(7, 3).await, Vec::<i64>::new());
    assert_eq!(read(-5, 2).await, [1, 2]);
}

/// Changes at once, of different kinds, take their places one after the other.
pub async fn the_chain_has_no_gaps_under_load<S: Store + 'static>(f: &Fixture<S>) {
    let campaigns = [f.published(&["DE"]).await, f.published(&["DE"]).await];
    let group = f.group(&["DE", "FR"]).await;
    let before = f.entries(ACCOUNT).await.len();
    let done = all_at_once(12, |task| {
        let engine = f.engine.clone();
        async move {
            let who = if task % 4 == 3 { stranger() } else { caller() };
            match task % 3 {
                0 => {
                    let campaign = campaigns[task / 3 % 2];
                    let request = rerun_core::usecases::RerunRequest {
                        campaign,
                        new_group: Some(group),
                        reuse_from: rerun_core::plan::ReuseFrom::CurrentRun,
                        allow_missing_fields: false,
                    };
                    engine.reruns.initiate(&who, request, None).await.is_ok()
                }
                1 => {
                    let new = new_campaign(group, &["country"]);
                    engine.campaigns.create(&who, new, None).await.is_ok()
                }
                _ => engine
                    .groups
                    .create(&who, "One of many", None)
                    .await
                    .is_ok(),
            }
        }
    })
    .await;
    let written = done.into_iter().filter(|done| *done).count();
    let after = f.entries(ACCOUNT).await.len() - before + f.entries(OTHER_ACCOUNT).await.len();
    assert_eq!(
        after, written,
        "one entry for each change that went through"
    );
    f.check().await;
}

/// The list, newest first, whole or narrowed, in pages of any size.
pub async fn entries_are_listed_newest_first<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let other = f.published(&["DE"]).await;
    let all = f.entries(ACCOUNT).await;
    let filters = [
        AuditFilter::default(),
        AuditFilter {
            campaign_id: Some(campaign),
            action: None,
        },
        AuditFilter {
            campaign_id: None,
            action: Some(AuditAction::CampaignLaunched),
        },
        AuditFilter {
            campaign_id: Some(other),
            action: Some(AuditAction::RunCompleted),
        },
        AuditFilter {
            campaign_id: Some(other),
            action: Some(AuditAction::RunFailed),
        },
    ];
    for filter in filters {
        let expected: Vec<&AuditEntry> = all
            .iter()
            .rev()
            .filter(|e| {
                filter
                    .campaign_id
                    .is_none_or(|id| e.campaign_id == Some(id))
            })
            .filter(|e| {
                filter
                    .action
                    .is_none_or(|action| e.action == action.as_str())
            })
            .collect();
        for limit in [1, 2, 5, 100] {
            let found = every_page(limit, async |page| {
                f.store
                    .list_audit(ACCOUNT, filter, page)
                    .await
                    .unwrap()
                    .unwrap()
            })
            .await;
            assert_eq!(
                found.iter().collect::<Vec<_>>(),
                expected,
                "{filter:?}, limit {limit}"
            );
        }
    }
    let page = page_of(2, None);
    let first = f
        .store
        .list_audit(ACCOUNT, filters[0], page)
        .await
        .unwrap()
        .unwrap();
    f.empty_group("Newer").await;
    let page = page_of(100, first.next);
    let rest = f
        .store
        .list_audit(ACCOUNT, filters[0], page)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        first.items.len() + rest.items.len(),
        all.len(),
        "a newer entry moves none"
    );
    let unknown = AuditFilter {
        campaign_id: Some(CampaignId::new(f.ids.next())),
        action: None,
    };
    assert_eq!(
        f.store
            .list_audit(ACCOUNT, unknown, first_page())
            .await
            .unwrap(),
        None
    );
    assert_eq!(f.campaign(campaign).await.current_run, Some(run_number(1)));
}

/// The numbers of events in parts of `limit`, with the number that each part ends with.
async fn events_in_parts<S: Store + 'static>(
    f: &Fixture<S>,
    filter: &EventFilter,
    limit: i64,
) -> Vec<i64> {
    let limit = Limit::new(limit).unwrap();
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let part = f.store.events(ACCOUNT, filter, after, limit).await;
        let part = part.unwrap().unwrap();
        assert!(part.events.len() <= limit.get().into());
        assert!(part.next_sequence >= after);
        read.extend(part.events.iter().map(|entry| entry.seq));
        if part.next_sequence == part.head_sequence {
            return read;
        }
        let last = part.events.last().map(|entry| entry.seq);
        assert_eq!(last, Some(part.next_sequence), "a part that is full");
        after = part.next_sequence;
    }
}

/// Events, oldest first, whole or narrowed, in parts of any size: each once.
pub async fn events_are_read_by_number<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let other = f.published(&["DE", "FR"]).await;
    let all = f.entries(ACCOUNT).await;
    let of = |campaign_id: Option<CampaignId>, types: &[AuditAction]| EventFilter {
        campaign_id,
        types: (!types.is_empty()).then(|| types.to_vec()),
    };
    let two = [AuditAction::CampaignLaunched, AuditAction::RunCompleted];
    for filter in [
        of(None, &[]),
        of(Some(campaign), &[]),
        of(None, &two[..1]),
        of(None, &two),
        of(Some(other), &two),
        of(Some(other), &[AuditAction::RunFailed]),
        of(None, &[AuditAction::RunFailed, AuditAction::RerunCancelled]),
    ] {
        let wanted = |entry: &&AuditEntry| {
            let of_type = |types: &Vec<AuditAction>| {
                types.iter().any(|action| action.as_str() == entry.action)
            };
            (filter.campaign_id.is_none() || entry.campaign_id == filter.campaign_id)
                && filter.types.as_ref().is_none_or(of_type)
        };
        let expected: Vec<i64> = all.iter().filter(wanted).map(|entry| entry.seq).collect();
        for limit in [1, 2, 3, 100] {
            let read = events_in_parts(f, &filter, limit).await;
            assert_eq!(read, expected, "{filter:?}, limit {limit}");
        }
    }
    let head = i64::try_from(all.len()).unwrap();
    let everything = EventFilter::default();
    let limit = Limit::new(100).unwrap();
    let read = f.store.events(ACCOUNT, &everything, 3, limit).await;
    let read = read.unwrap().unwrap();
    assert_eq!(read.events, all[3..]);
    assert_eq!((read.next_sequence, read.head_sequence), (head, head));
    for after in [head, head + 5, i64::MAX] {
        let read = f.store.events(ACCOUNT, &everything, after, limit).await;
        let read = read.unwrap().unwrap();
        assert_eq!(read.events, []);
        assert_eq!((read.next_sequence, read.head_sequence), (after, head));
    }
    let unknown = of(Some(CampaignId::new(f.ids.next())), &[]);
    let read = f.store.events(ACCOUNT, &unknown, 0, limit).await;
    assert_eq!(read.unwrap(), None);
}

/// The newest numbers of several accounts, read at once.
pub async fn heads_of_accounts_are_read_at_once<S: Store + 'static>(f: &Fixture<S>) {
    let both = [ACCOUNT, OTHER_ACCOUNT];
    assert_eq!(f.store.event_heads(&[]).await.unwrap(), []);
    assert_eq!(f.store.event_heads(&both).await.unwrap(), []);
    f.empty_group("One").await;
    f.empty_group("Two").await;
    f.engine
        .groups
        .create(&stranger(), "Theirs", None)
        .await
        .unwrap();
    let mut heads = f.store.event_heads(&both).await.unwrap();
    heads.sort_unstable();
    let mut expected = [(ACCOUNT, 2), (OTHER_ACCOUNT, 1)];
    expected.sort_unstable();
    assert_eq!(heads, expected);
    let one = f.store.event_heads(&both[..1]).await.unwrap();
    assert_eq!(one, [(ACCOUNT, 2)]);
}
