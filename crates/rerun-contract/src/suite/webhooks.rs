//! Webhooks as their owners see them.

use rerun_core::audit::AuditAction;
use rerun_core::error::{Error, IllegalTransition, StoreError};
use rerun_core::ids::{CampaignId, WebhookId};
use rerun_core::ports::Store;
use rerun_core::usecases::{NewWebhook, PageQuery, ReplayRequest, Settings, WebhookChange};
use rerun_core::webhook::{DisabledReason, WebhookProgress, WebhookStatus};
use uuid::Uuid;

use crate::fixture::{ACCOUNT, Fixture, OTHER_ACCOUNT, caller, first_page, stranger};

/// A webhook for everything.
pub(super) fn to_anywhere() -> NewWebhook {
    NewWebhook {
        url: "https://receiver.example/hook".to_owned(),
        ..NewWebhook::default()
    }
}

pub(super) async fn created<S: Store + 'static>(
    f: &Fixture<S>,
    new: NewWebhook,
) -> WebhookProgress {
    let made = f.engine.webhooks.create(&caller(), new, None).await;
    made.expect("a webhook is created").outcome.webhook
}

pub(super) async fn changed<S: Store + 'static>(
    f: &Fixture<S>,
    id: WebhookId,
    change: WebhookChange,
) -> WebhookProgress {
    let changed = f.engine.webhooks.update(&caller(), id, change, None).await;
    changed.expect("the webhook is changed").outcome
}

pub(super) fn enabling(after: Option<i64>) -> WebhookChange {
    WebhookChange {
        status: Some(WebhookStatus::Enabled),
        after_sequence: after,
        ..WebhookChange::default()
    }
}

pub(super) fn disabling() -> WebhookChange {
    WebhookChange {
        status: Some(WebhookStatus::Disabled),
        ..WebhookChange::default()
    }
}

fn nobodys() -> WebhookId {
    WebhookId::new(Uuid::from_u128(77))
}

/// What was asked for is there, and the log says so without the URL.
pub async fn a_webhook_comes_back_as_it_was_made<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let new = NewWebhook {
        types: Some(vec![
            AuditAction::RunFailed,
            AuditAction::CampaignPublished,
            AuditAction::RunFailed,
        ]),
        campaign_id: Some(campaign),
        description: Some("for the data team".to_owned()),
        ordered: true,
        ..to_anywhere()
    };
    let made = created(f, new).await;
    let webhook = &made.webhook;
    assert_eq!(webhook.url, "https://receiver.example/hook");
    let types = [AuditAction::CampaignPublished, AuditAction::RunFailed];
    assert_eq!(webhook.types.as_deref(), Some(types.as_slice()));
    assert_eq!(webhook.campaign_id, Some(campaign));
    assert_eq!(webhook.description.as_deref(), Some("for the data team"));
    assert!(webhook.ordered && webhook.disabled.is_none() && webhook.failing_since.is_none());
    assert_eq!((webhook.created_at, webhook.updated_at), (f.now(), f.now()));
    let found = f.engine.webhooks.get(&caller(), webhook.id).await.unwrap();
    assert_eq!(found, made);
    let entry = f.entries(ACCOUNT).await.pop().unwrap();
    assert_eq!(entry.action, "webhook.created");
    assert_eq!(made.delivered_sequence, entry.seq, "from now on");
    assert!(!entry.details.contains("receiver"), "{}", entry.details);
    f.check().await;
}

/// A number beyond the log is the newest one.
pub async fn a_webhook_may_begin_in_the_past<S: Store + 'static>(f: &Fixture<S>) {
    f.published(&["DE"]).await;
    for (after, expected) in [(0, 0), (2, 2)] {
        let new = NewWebhook {
            after_sequence: Some(after),
            ..to_anywhere()
        };
        assert_eq!(created(f, new).await.delivered_sequence, expected);
    }
    let new = NewWebhook {
        after_sequence: Some(i64::MAX),
        ..to_anywhere()
    };
    let made = created(f, new).await;
    let newest = f.entries(ACCOUNT).await.len();
    assert_eq!(made.delivered_sequence, i64::try_from(newest).unwrap());
}

/// The newest comes first, page by page.
pub async fn webhooks_are_listed_newest_first<S: Store + 'static>(f: &Fixture<S>) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, created(f, to_anywhere()).await.webhook.id);
    }
    let mut listed = Vec::new();
    let mut page = PageQuery {
        limit: Some(2),
        cursor: None,
    };
    loop {
        let found = f.engine.webhooks.list(&caller(), &page).await.unwrap();
        listed.extend(found.items.iter().map(|progress| progress.webhook.id));
        match found.next_cursor {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, made);
}

/// The limit holds when many are made at once, and a deleted one makes room.
pub async fn an_account_has_so_many_webhooks<S: Store + 'static>(f: &Fixture<S>) {
    let settings = Settings {
        webhooks: 3,
        ..Settings::default()
    };
    let engine = f.engine_with(settings);
    let results = crate::fixture::all_at_once(8, |_| {
        let engine = engine.clone();
        async move { engine.webhooks.create(&caller(), to_anywhere(), None).await }
    })
    .await;
    let made: Vec<_> = results
        .iter()
        .filter_map(|made| made.as_ref().ok())
        .collect();
    assert_eq!(made.len(), 3);
    for refused in results.iter().filter_map(|made| made.as_ref().err()) {
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    }
    let other = engine
        .webhooks
        .create(&stranger(), to_anywhere(), None)
        .await;
    assert!(other.is_ok(), "another account has its own");
    let one = made[0].outcome.webhook.webhook.id;
    engine.webhooks.delete(&caller(), one, None).await.unwrap();
    let again = engine.webhooks.create(&caller(), to_anywhere(), None).await;
    assert!(again.is_ok());
    f.check().await;
}

/// What is refused writes nothing.
pub async fn a_refused_webhook_leaves_no_trace<S: Store + 'static>(f: &Fixture<S>) {
    let webhooks = &f.engine.webhooks;
    let nowhere = Some(CampaignId::new(Uuid::from_u128(5)));
    let foreign = NewWebhook {
        campaign_id: nowhere,
        url: "http://plain.example".to_owned(),
        ..NewWebhook::default()
    };
    let refused = webhooks.create(&caller(), foreign, None).await;
    assert!(
        matches!(refused, Err(Error::CampaignNotFound)),
        "{refused:?}"
    );
    for new in [
        NewWebhook {
            url: "http://plain.example".to_owned(),
            ..NewWebhook::default()
        },
        NewWebhook {
            url: format!("https://long.example/{}", "x".repeat(2_000)),
            ..NewWebhook::default()
        },
        NewWebhook {
            types: Some(Vec::new()),
            ..to_anywhere()
        },
        NewWebhook {
            after_sequence: Some(-1),
            ..to_anywhere()
        },
        NewWebhook {
            description: Some("x".repeat(1_001)),
            ..to_anywhere()
        },
    ] {
        let refused = webhooks.create(&caller(), new, None).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let found = f.store.list_webhooks(ACCOUNT, first_page()).await.unwrap();
    assert_eq!(found.items, []);
    assert_eq!(f.entries(ACCOUNT).await, []);
}

/// Each field changes, and what is as it was leaves no trace.
pub async fn a_webhook_is_changed_field_by_field<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = created(f, to_anywhere()).await.webhook.id;
    f.seconds_later(5);
    let change = WebhookChange {
        url: Some("https://elsewhere.example".to_owned()),
        types: Some(vec![AuditAction::RunFailed]),
        campaign_id: Some(Some(campaign)),
        description: Some("for us".to_owned()),
        ordered: Some(true),
        ..WebhookChange::default()
    };
    let webhook = changed(f, id, change.clone()).await.webhook;
    assert_eq!(webhook.url, "https://elsewhere.example");
    assert_eq!(webhook.types, Some(vec![AuditAction::RunFailed]));
    assert_eq!(webhook.campaign_id, Some(campaign));
    assert_eq!(webhook.description.as_deref(), Some("for us"));
    assert!(webhook.ordered);
    assert_eq!(webhook.updated_at, f.now());
    let entries = f.entries(ACCOUNT).await;
    let last = entries.last().unwrap();
    assert_eq!(last.action, "webhook.updated");
    assert!(!last.details.contains("elsewhere"), "{}", last.details);
    f.seconds_later(5);
    assert_eq!(changed(f, id, change).await.webhook, webhook);
    assert_eq!(f.entries(ACCOUNT).await.len(), entries.len());
    let bare = WebhookChange {
        types: Some(Vec::new()),
        campaign_id: Some(None),
        description: Some(String::new()),
        ..WebhookChange::default()
    };
    let webhook = changed(f, id, bare).await.webhook;
    assert_eq!(
        (webhook.types, webhook.campaign_id, webhook.description),
        (None, None, None)
    );
    let webhooks = &f.engine.webhooks;
    for nothing in [
        WebhookChange::default(),
        WebhookChange {
            after_sequence: Some(1),
            ..WebhookChange::default()
        },
    ] {
        let refused = webhooks.update(&caller(), id, nothing, None).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    f.check().await;
}

/// A webhook gets the events of a campaign that exists. One whose campaign was deleted can still be changed.
pub async fn a_webhook_is_given_campaigns_that_exist<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = created(f, to_anywhere()).await.webhook.id;
    let of = |campaign, description: &str| WebhookChange {
        campaign_id: Some(Some(campaign)),
        description: Some(description.to_owned()),
        ..WebhookChange::default()
    };
    let webhook = changed(f, id, of(campaign, "one")).await.webhook;
    let nowhere = CampaignId::new(Uuid::from_u128(5));
    let webhooks = &f.engine.webhooks;
    let refused = webhooks
        .update(&caller(), id, of(nowhere, "two"), None)
        .await;
    assert!(
        matches!(refused, Err(Error::CampaignNotFound)),
        "{refused:?}"
    );
    let found = webhooks.get(&caller(), id).await.unwrap().webhook;
    assert_eq!(found, webhook);
    let deleted = f.engine.campaigns.delete(&caller(), campaign, None).await;
    deleted.unwrap();
    let kept = changed(f, id, of(campaign, "two")).await.webhook;
    assert_eq!(
        (kept.campaign_id, kept.description.as_deref()),
        (Some(campaign), Some("two"))
    );
    f.check().await;
}

/// The newest secret signs, and for a while the one before.
pub async fn a_secret_is_rotated<S: Store + 'static>(f: &Fixture<S>) {
    let webhooks = &f.engine.webhooks;
    let made = webhooks.create(&caller(), to_anywhere(), None).await;
    let made = made.unwrap().outcome;
    let id = made.webhook.webhook.id;
    let rotated = webhooks
        .rotate_secret(&caller(), id, Some(60), Some("k"))
        .await;
    let rotated = rotated.unwrap().outcome;
    assert_ne!(rotated.secret, made.secret);
    let webhook = &rotated.webhook.webhook;
    assert_eq!(webhook.signing(f.now()), [2, 1]);
    f.seconds_later(60);
    assert_eq!(webhook.signing(f.now()), [2]);
    // Another rotation does not change what the key answers.
    webhooks
        .rotate_secret(&caller(), id, Some(0), None)
        .await
        .unwrap();
    let again = webhooks
        .rotate_secret(&caller(), id, Some(60), Some("k"))
        .await;
    let again = again.unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome.secret, rotated.secret);
    for seconds in [-1, 604_801] {
        let refused = webhooks
            .rotate_secret(&caller(), id, Some(seconds), None)
            .await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let actions: Vec<_> = f
        .entries(ACCOUNT)
        .await
        .into_iter()
        .map(|e| e.action)
        .collect();
    let rotation = "webhook.secret_rotated";
    assert_eq!(actions, ["webhook.created", rotation, rotation]);
}

/// The same key gives the same webhook and the same secret, which is stored nowhere.
pub async fn a_creation_with_a_key_happens_once<S: Store + 'static>(f: &Fixture<S>) {
    let webhooks = &f.engine.webhooks;
    let first = webhooks.create(&caller(), to_anywhere(), Some("key")).await;
    let first = first.unwrap();
    f.published(&["DE"]).await;
    let again = webhooks.create(&caller(), to_anywhere(), Some("key")).await;
    let again = again.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.outcome, first.outcome);
    let kept = f.store.find_response(ACCOUNT, "key", f.now()).await;
    let kept = kept.unwrap().unwrap().response;
    assert!(!kept.contains("whsec"), "{kept}");
    let found = f.store.list_webhooks(ACCOUNT, first_page()).await.unwrap();
    assert_eq!(found.items.len(), 1);
    let other = NewWebhook {
        ordered: true,
        ..to_anywhere()
    };
    let refused = webhooks.create(&caller(), other, Some("key")).await;
    assert!(matches!(refused, Err(Error::IdempotencyKeyReused)));
}

/// What was deleted is out of reach, and its key still answers.
pub async fn a_deleted_webhook_is_out_of_reach<S: Store + 'static>(f: &Fixture<S>) {
    let webhooks = &f.engine.webhooks;
    let made = created(f, to_anywhere()).await;
    let id = made.webhook.id;
    let gone = webhooks.delete(&caller(), id, Some("key")).await.unwrap();
    assert_eq!(gone.outcome, made);
    let again = webhooks.delete(&caller(), id, Some("key")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, made);
    let refused = webhooks.delete(&caller(), id, None).await;
    assert!(matches!(refused, Err(Error::WebhookNotFound)));
    let refused = webhooks.get(&caller(), id).await;
    assert!(matches!(refused, Err(Error::WebhookNotFound)));
    let refused = webhooks.update(&caller(), id, disabling(), None).await;
    assert!(matches!(refused, Err(Error::WebhookNotFound)));
    let found = f.store.list_webhooks(ACCOUNT, first_page()).await.unwrap();
    assert_eq!(found.items, []);
    let last = f.entries(ACCOUNT).await.pop().unwrap();
    assert_eq!(last.action, "webhook.deleted");
}

/// A change that was decided on another version is not written.
pub async fn a_webhook_changes_from_what_was_seen<S: Store + 'static>(f: &Fixture<S>) {
    let made = created(f, to_anywhere()).await;
    let id = made.webhook.id;
    let results = crate::fixture::all_at_once(6, |n| {
        let engine = f.engine.clone();
        async move {
            let change = WebhookChange {
                description: Some(format!("{n}")),
                ..WebhookChange::default()
            };
            engine.webhooks.update(&caller(), id, change, None).await
        }
    })
    .await;
    for changed in &results {
        assert!(
            matches!(
                changed,
                Ok(_) | Err(Error::Store(StoreError::Unavailable(_)))
            ),
            "{changed:?}"
        );
    }
    let written = results.iter().filter(|changed| changed.is_ok()).count();
    assert!(written > 0);
    // One entry for the creation, and one for each change that was written.
    assert_eq!(f.entries(ACCOUNT).await.len(), 1 + written);
    let version = f.engine.webhooks.get(&caller(), id).await.unwrap();
    assert_eq!(
        version.webhook.version,
        made.webhook.version + i64::try_from(written).unwrap()
    );
}

/// What another account's caller does with a webhook's id is as with one that nobody has.
pub async fn a_webhook_belongs_to_its_account<S: Store + 'static>(f: &Fixture<S>) {
    let made = created(f, to_anywhere()).await;
    let id = made.webhook.id;
    let before = f.entries(ACCOUNT).await;
    let webhooks = &f.engine.webhooks;
    let who = stranger();
    for id in [id, nobodys()] {
        let page = PageQuery::default();
        let range = ReplayRequest {
            from_sequence: Some(1),
            to_sequence: Some(1),
            failed: false,
        };
        let refusals = [
            webhooks.get(&who, id).await.map(drop),
            webhooks.update(&who, id, disabling(), None).await.map(drop),
            webhooks.delete(&who, id, None).await.map(drop),
            webhooks.rotate_secret(&who, id, None, None).await.map(drop),
            webhooks.test(&who, id).await.map(drop),
            webhooks.deliveries(&who, id, None, &page).await.map(drop),
            webhooks.replay(&who, id, range, None).await.map(drop),
        ];
        for refused in refusals {
            assert!(
                matches!(refused, Err(Error::WebhookNotFound)),
                "{refused:?}"
            );
        }
    }
    let found = f.store.list_webhooks(OTHER_ACCOUNT, first_page()).await;
    assert_eq!(found.unwrap().items, []);
    assert_eq!(f.entries(ACCOUNT).await, before);
    assert_eq!(f.engine.webhooks.get(&caller(), id).await.unwrap(), made);
}

/// Somebody can disable it, and the log says who.
pub async fn a_webhook_is_disabled_and_enabled<S: Store + 'static>(f: &Fixture<S>) {
    let id = created(f, to_anywhere()).await.webhook.id;
    let webhook = changed(f, id, disabling()).await.webhook;
    assert_eq!(webhook.disabled, Some(DisabledReason::Requested));
    let entry = f.entries(ACCOUNT).await.pop().unwrap();
    assert_eq!(entry.action, "webhook.updated");
    assert!(entry.details.contains("disabled"), "{}", entry.details);
    let range = ReplayRequest {
        from_sequence: Some(1),
        to_sequence: Some(1),
        failed: false,
    };
    let refused = f.engine.webhooks.replay(&caller(), id, range, None).await;
    assert!(
        matches!(
            refused,
            Err(Error::IllegalTransition(IllegalTransition::DisabledWebhook))
        ),
        "{refused:?}"
    );
    let webhook = changed(f, id, enabling(None)).await.webhook;
    assert_eq!(webhook.status(), WebhookStatus::Enabled);
    f.check().await;
}
