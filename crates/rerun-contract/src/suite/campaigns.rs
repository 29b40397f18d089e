//! Campaigns.

use rerun_core::campaign::{ApprovalStages, CampaignStatus, Stage, Template};
use rerun_core::error::Error;
use rerun_core::event::{CampaignUpdate, Event};
use rerun_core::generation::Settled;
use rerun_core::ids::{CampaignId, CustomerGroupId};
use rerun_core::page::{Contents, MAX_PAGE_BYTES};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{DeleteCampaign, MessageSelection, Store, UpdateCampaign};
use rerun_core::rules::FieldDeclaration;
use rerun_core::text;
use rerun_core::usecases::{
    CampaignChanges, FilledTemplate, NewCampaign, PageQuery, RecipientRequest, TemplateTrial,
};
use uuid::Uuid;

use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, assert_conflict, author, caller, every_large_page, every_page,
    generated, new_campaign, of_country, page_of, stranger,
};

/// What was written is what is read: texts as long and as odd as they may be.
pub async fn a_campaign_comes_back_as_it_was_made<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let plain = new_campaign(group, &["country"]);
    let odd = "👩‍👩‍👧 {{ x }} \"'\\\u{1}\r\n\t ß %s ?1 $1 \\N";
    let full = NewCampaign {
        name: "n".repeat(255),
        template: Template {
            subject: text::one_line(odd.into()),
            body: format!("{odd}{}", "b".repeat(190_000)),
        },
        brief: Some(format!("{odd}{}", "é".repeat(19_000))),
        approval_stages: Some(
            (0..16)
                .map(|n| format!("Stage '{n}' \"ü\"").into())
                .collect(),
        ),
        segment_by: ["z", "a", "0", "a b", "a.b", "É", "😀", "\"q\""]
            .map(FieldDeclaration::from)
            .to_vec(),
        ..plain.clone()
    };
    let empty_brief = NewCampaign {
        brief: Some(String::new()),
        ..plain.clone()
    };
    for new in [plain, full, empty_brief] {
        f.seconds_later(1);
        let made = f
            .engine
            .campaigns
            .create(&caller(), new, None)
            .await
            .unwrap();
        assert_eq!(made.outcome.status, CampaignStatus::Draft);
        let found = f
            .store
            .find_campaign(ACCOUNT, made.outcome.id)
            .await
            .unwrap();
        assert_eq!(found.as_ref(), Some(&made.outcome));
        assert_eq!(
            f.campaign(made.outcome.id).await.segment_by.fields(),
            made.outcome.segment_by.fields()
        );
    }
    f.check().await;
}

/// An update writes what it names and nothing else, with one entry, and once.
pub async fn an_update_is_stored_as_it_was_asked_for<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let before = f.campaign(campaign).await;
    let messages = f.current(campaign).await;
    f.seconds_later(1);
    let changes = CampaignChanges {
        name: Some(" \"Autumn\" ".into()),
        template: Some(Template {
            subject: "'S ?1".into(),
            body: "B\n😀".into(),
        }),
        brief: Some(String::new()),
        approval_stages: Some(
            ApprovalStages::declare(vec![Stage::of_roles("Legal", ["LAWYER"]), "Board".into()])
                .unwrap(),
        ),
        distinct_reviewers: Some(true),
        suggest_reruns: Some(false),
    };
    let campaigns = &f.engine.campaigns;
    for replayed in [false, true] {
        let updated = campaigns
            .update(&caller(), campaign, changes.clone(), Some("k"))
            .await
            .unwrap();
        assert_eq!(updated.replayed, replayed);
        let stored = f.campaign(campaign).await;
        assert_eq!(updated.outcome, stored);
        let expected = before.clone().with(|campaign| {
            campaign.name = "\"Autumn\"".into();
            campaign.template = changes.template.clone().unwrap();
            campaign.brief.clone_from(&changes.brief);
            campaign.approval_stages = changes.approval_stages.clone().unwrap();
            campaign.distinct_reviewers = true;
            campaign.suggest_reruns = false;
            campaign.version += 1;
            campaign.updated_at = f.now();
        });
        assert_eq!(stored, expected.unwrap());
    }
    assert_eq!(f.current(campaign).await, messages);
    let entries = f.entries(ACCOUNT).await;
    let updates = entries
        .iter()
        .filter(|entry| entry.action == "campaign.updated");
    let details: Vec<serde_json::Value> = updates
        .map(|entry| serde_json::from_str(&entry.details).unwrap())
        .collect();
    let [details] = details.as_slice() else {
        panic!("{details:?}");
    };
    let stages = serde_json::json!(changes.approval_stages);
    let expected = serde_json::json!({
        "changed": ["name", "template", "brief", "approval_stages", "distinct_reviewers", "suggest_reruns"],
        "name": "\"Autumn\"",
        "approval_stages": stages,
        "distinct_reviewers": true,
        "suggest_reruns": false,
    });
    assert_eq!(*details, expected);
    f.check().await;
}

/// A trial fills the template for the largest segments, as many as were asked for, or as fill a page.
pub async fn a_template_is_tried_on_the_largest_segments<S: Store + 'static>(f: &Fixture<S>) {
    let countries: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let customers = ["DE", "FR", "DE", "IT", "DE", "FR"].into_iter();
    let customers = customers.chain(countries.iter().map(String::as_str));
    let group = f.group(&customers.collect::<Vec<_>>()).await;
    let trial = |group, body: &str, limit| TemplateTrial {
        customer_group_id: Some(group),
        segment_by: vec!["country".into()],
        template: Template {
            subject: "s".into(),
            body: body.into(),
        },
        limit,
        allow_missing_fields: false,
    };
    let tried = async |trial| f.engine.campaigns.preview_template(&caller(), trial).await;
    let filled = tried(trial(group, "b", Some(2))).await.unwrap();
    assert_eq!(filled.segment_count, 23);
    let shown: Vec<_> = filled
        .items
        .iter()
        .map(|item| (item.segment.clone(), item.content.body.as_str()))
        .collect();
    let expected = [
        (of_country(Some("DE"), 3), "b"),
        (of_country(Some("FR"), 2), "b"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(tried(trial(group, "b", None)).await.unwrap().items.len(), 5);
    for limit in [0, 21, -1] {
        let refused = tried(trial(group, "b", Some(limit))).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{limit}");
    }
    let empty = f.empty_group("Nobody").await;
    let nothing = tried(trial(empty, "b", None)).await.unwrap();
    assert_eq!(nothing, FilledTemplate::default());
    // Eight texts fill a page. JSON has six bytes for each of these characters.
    let rest = MAX_PAGE_BYTES / 8 - filled.items[0].bytes() + "b".len();
    let body = "\u{1}".repeat(rest / 6) + &"b".repeat(rest % 6);
    let full = tried(trial(group, &body, Some(20))).await.unwrap();
    assert_eq!((full.segment_count, full.items.len()), (23, 8));
    assert_eq!(
        full.items.iter().map(Contents::bytes).sum::<usize>(),
        MAX_PAGE_BYTES
    );
}

/// A decision on a campaign that has moved on is made again; the store refuses it.
pub async fn a_stale_update_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let seen = f.campaign(campaign).await;
    let rename = CampaignChanges {
        name: Some("New".into()),
        ..CampaignChanges::default()
    };
    let campaigns = &f.engine.campaigns;
    let renamed = campaigns.update(&caller(), campaign, rename, None).await;
    renamed.unwrap();
    let before = f.snapshot(ACCOUNT).await;
    let foreign = f.campaign(campaign).await;
    let foreign = foreign.with(|campaign| campaign.account_id = OTHER_ACCOUNT);
    for (seen, actor) in [(seen, caller()), (foreign.unwrap(), stranger())] {
        let to = seen.clone().with(|to| {
            to.name = "Stale".into();
            to.version += 1;
        });
        let to = to.unwrap();
        let audit = author(f, actor).of(Event::CampaignUpdated(CampaignUpdate {
            segmentation: None,
            campaign_id: campaign,
            name: Some(to.name.clone()),
            template: false,
            brief: false,
            approval_stages: None,
            distinct_reviewers: None,
            suggest_reruns: None,
        }));
        let update = UpdateCampaign {
            campaign: seen,
            to,
            audit,
            response: None,
        };
        assert_conflict(f.store.update_campaign(update).await, "a stale update");
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "a stale update");
    assert!(f.entries(OTHER_ACCOUNT).await.is_empty());
}

/// Nothing of a deleted campaign can be reached, nothing else is touched, and it happens once.
pub async fn a_deleted_campaign_is_out_of_reach<S: Store + 'static>(f: &Fixture<S>) {
    let kept = f.published(&["DE", "FR"]).await;
    let others = f.current(kept).await;
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "IT"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    let message = f.message(campaign, "IT").await;
    let seen = f.campaign(campaign).await;
    let campaigns = &f.engine.campaigns;
    for replayed in [false, true] {
        let deleted = campaigns.delete(&caller(), campaign, Some("k")).await;
        let deleted = deleted.unwrap();
        assert_eq!((deleted.outcome, deleted.replayed), (4, replayed));
    }
    let stale = DeleteCampaign {
        audit: author(f, caller()).of(Event::CampaignDeleted {
            campaign_id: campaign,
            name: seen.name.clone(),
            before: seen.status,
            messages: 4,
        }),
        campaign: seen,
        response: None,
        now: f.now(),
    };
    assert_conflict(f.store.delete_campaign(stale).await, "a second deletion");
    for _ in 0..2 {
        assert_eq!(
            f.store.find_campaign(ACCOUNT, campaign).await.unwrap(),
            None
        );
        let found = f.store.find_message(ACCOUNT, campaign, message.id).await;
        assert_eq!(found.unwrap(), None);
        let page = page_of(10, None);
        let history = f.store.history(ACCOUNT, campaign, page).await.unwrap();
        assert_eq!(history, None);
        assert_eq!(f.current(kept).await, others);
        f.check().await;
        campaigns.sweep_deleted().await.unwrap();
    }
    assert!(!f.store.sweep_deleted().await.unwrap());
    let entries = f.entries(ACCOUNT).await;
    let deletions = entries
        .iter()
        .filter(|entry| entry.action == "campaign.deleted");
    assert_eq!(deletions.count(), 1);
    // The group and the other campaign live on.
    f.rerun(kept, group).await;
    f.finish(kept).await;
    f.check().await;
}

/// Of a deletion and a rerun at once, one is there.
pub async fn a_deletion_and_a_rerun_exclude_each_other<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "IT"]).await;
    for _ in 0..8 {
        let campaign = f.published(&["DE"]).await;
        let campaigns = f.engine.campaigns.clone();
        let delete = tokio::spawn(async move { campaigns.delete(&caller(), campaign, None).await });
        let rerun = f.try_rerun(campaign, group, ReuseFrom::CurrentRun).await;
        let deleted = delete.await.unwrap();
        assert!(deleted.is_ok() != rerun.is_ok(), "{deleted:?} {rerun:?}");
        f.generate().await;
        campaigns_swept(f).await;
        f.check().await;
    }
}

/// A worker may still hold messages of a rerun that was cancelled when its campaign is deleted.
pub async fn a_deleted_campaigns_late_results_are_dropped<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "IT", "FR"]).await;
    f.rerun(campaign, group).await;
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 2);
    let campaigns = &f.engine.campaigns;
    let early = campaigns.delete(&caller(), campaign, None).await;
    assert!(
        matches!(early, Err(Error::IllegalTransition(_))),
        "{early:?}"
    );
    f.cancel(campaign).await;
    let deleted = campaigns.delete(&caller(), campaign, None).await;
    deleted.unwrap();
    for _ in 0..2 {
        let before = f.snapshot(ACCOUNT).await;
        let late = f.settle(&leased, |task| Ok(generated(task))).await;
        assert_eq!(late, Settled::default());
        before.assert_same(&f.snapshot(ACCOUNT).await, "late results");
        assert_eq!(f.lease(10).await.tasks, []);
        f.check().await;
        campaigns_swept(f).await;
    }
}

/// A list that is being read ends with an error, and not as if that had been all.
pub async fn lists_of_a_deleted_campaign_do_not_just_end<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT"]).await;
    let engine = &f.engine;
    let which = MessageSelection::CurrentRun;
    let mut page = PageQuery {
        limit: Some(1),
        cursor: None,
    };
    let history = &engine.history;
    let first = history.messages(&caller(), campaign, which, &page).await;
    page.cursor = first.unwrap().messages.next_cursor;
    assert!(page.cursor.is_some());
    let request = RecipientRequest {
        campaign,
        run: None,
        exclude_run: None,
        content: true,
    };
    let recipients = engine.recipients.list(&caller(), request).await;
    let mut recipients = recipients.unwrap();
    engine
        .campaigns
        .delete(&caller(), campaign, None)
        .await
        .unwrap();
    let next = history.messages(&caller(), campaign, which, &page).await;
    assert!(matches!(next, Err(Error::CampaignNotFound)), "{next:?}");
    campaigns_swept(f).await;
    let next = recipients.next().await;
    assert!(matches!(next, Err(Error::MessageNotFound)), "{next:?}");
}

async fn campaigns_swept<S: Store + 'static>(f: &Fixture<S>) {
    f.engine.campaigns.sweep_deleted().await.unwrap();
}

/// An id that names nothing finds nothing.
pub async fn an_unknown_campaign_is_not_found<S: Store + 'static>(f: &Fixture<S>) {
    let unknown = CampaignId::new(Uuid::from_u128(7));
    assert_eq!(f.store.find_campaign(ACCOUNT, unknown).await.unwrap(), None);
    let group = CustomerGroupId::new(Uuid::from_u128(8));
    let made = f
        .engine
        .campaigns
        .create(&caller(), new_campaign(group, &["country"]), None)
        .await;
    assert!(
        matches!(made, Err(Error::CustomerGroupNotFound)),
        "{made:?}"
    );
}

/// A campaign that is there already is not written over.
pub async fn a_campaigns_id_is_taken_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let before = f.snapshot(ACCOUNT).await;
    let twin = f.campaign(campaign).await.with(|twin| {
        twin.name = "Twin".into();
        twin.status = CampaignStatus::Draft;
        twin.current_run = None;
        twin.last_run = None;
    });
    let twin = twin.unwrap();
    let audit = author(f, caller()).of(Event::CampaignCreated {
        campaign_id: twin.id,
        name: twin.name.clone(),
    });
    assert!(
        f.store.create_campaign(&twin, audit, None).await.is_err(),
        "a doubled id was accepted"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refused campaign");
}

/// Newest first, every one once, and with a status those alone that have it.
pub async fn campaigns_are_listed_by_status<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let mut made: Vec<(CampaignId, CampaignStatus)> = Vec::new();
    // `Processing` comes last, so that no other campaign's generation reaches it.
    for status in [
        CampaignStatus::Draft,
        CampaignStatus::GenerationFailed,
        CampaignStatus::ReadyForReview,
        CampaignStatus::ReadyToPublish,
        CampaignStatus::Published,
        CampaignStatus::Processing,
    ] {
        for _ in 0..2 {
            let campaign = f.draft(group).await;
            made.push((campaign, status));
            if status != CampaignStatus::Draft {
                f.launch(campaign).await;
            }
            match status {
                CampaignStatus::Draft | CampaignStatus::Processing => {}
                CampaignStatus::GenerationFailed => f.fail_generation("no").await,
                CampaignStatus::ReadyForReview => f.generate().await,
                CampaignStatus::ReadyToPublish => {
                    f.generate().await;
                    f.approve(campaign).await;
                }
                CampaignStatus::Published => f.finish(campaign).await,
            }
        }
    }
    for limit in [1, 3, 100] {
        for status in CampaignStatus::ALL {
            let listed = every_page(limit, async |page| {
                f.store
                    .list_campaigns(ACCOUNT, Some(*status), page)
                    .await
                    .unwrap()
            })
            .await;
            assert!(listed.is_sorted_by(|a, b| a.created_at >= b.created_at));
            let mut ids: Vec<_> = listed.iter().map(|campaign| campaign.id).collect();
            ids.sort_unstable();
            let have_it = made.iter().filter(|(_, made)| made == status);
            assert_eq!(
                ids,
                have_it.map(|(id, _)| *id).collect::<Vec<_>>(),
                "{status}"
            );
        }
        let all = every_page(limit, async |page| {
            f.store.list_campaigns(ACCOUNT, None, page).await.unwrap()
        })
        .await;
        assert!(
            all.is_sorted_by(|a, b| a.created_at >= b.created_at),
            "newest first"
        );
        let mut ids: Vec<_> = all.iter().map(|campaign| campaign.id).collect();
        ids.sort_unstable();
        assert_eq!(
            ids,
            made.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            "every one once"
        );
        for (id, status) in &made {
            let found = all.iter().find(|campaign| campaign.id == *id).unwrap();
            assert_eq!(found.status, *status);
            assert_eq!(
                Some(found),
                f.store.find_campaign(ACCOUNT, *id).await.unwrap().as_ref()
            );
        }
    }
    f.check().await;
}

/// However large templates are, a page of campaigns is not.
pub async fn a_page_of_campaigns_ends_at_its_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.empty_group("Customers").await;
    let mut made = Vec::new();
    for _ in 0..30 {
        let plain = new_campaign(group, &["country"]);
        let new = NewCampaign {
            template: Template {
                body: "\u{20ac}".repeat(199_000),
                ..plain.template.clone()
            },
            ..plain
        };
        f.seconds_later(1);
        made.push(f.create(new).await);
    }
    made.reverse();
    for status in [None, Some(CampaignStatus::Draft)] {
        let campaigns = every_large_page(async |page| {
            let found = f.store.list_campaigns(ACCOUNT, status, page).await;
            found.unwrap()
        })
        .await;
        let ids: Vec<CampaignId> = campaigns.iter().map(|campaign| campaign.id).collect();
        assert_eq!(ids, made, "{status:?}");
    }
}
