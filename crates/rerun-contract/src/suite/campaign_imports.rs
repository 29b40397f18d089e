//! Campaigns that are imported.

use rerun_core::campaign::CampaignStatus;
use rerun_core::error::{Error, Invalid};
use rerun_core::ids::MessageId;
use rerun_core::message::{Content, MessageState, Source};
use rerun_core::ports::{ImportedMessages, MessageSelection, Store};
use rerun_core::run::{MessageCounts, RunStatus, SegmentCounts};
use rerun_core::segment::SegmentBy;

use crate::fixture::{ACCOUNT, Fixture, caller, messages_from_elsewhere, new_campaign, run_number};

/// A campaign that was published elsewhere has a run 1 that nobody initiated.
pub async fn an_imported_campaign_has_a_synthesised_run<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let messages = messages_from_elsewhere(f, &[Some("DE"), None, Some("ü 'x' \"y\"")]);
    let (campaign, run) = f.import_campaign(group, messages.clone()).await.unwrap();
    assert_eq!(f.campaign(campaign.id).await, campaign);
    assert_eq!(campaign.status, CampaignStatus::Published);
    assert_eq!(
        run.segments,
        SegmentCounts {
            total: 3,
            matched: 0,
            new: 3
        }
    );
    assert_eq!(
        run.counts,
        MessageCounts {
            generated: 3,
            published: 3,
            ..MessageCounts::default()
        }
    );
    assert_eq!(run.customer_count, 15);
    assert!(run.synthesised && run.job_uid.is_none() && run.initiated_by.is_none());
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(f.current_run(campaign.id).await, run);
    assert_eq!(f.run(campaign.id, 1).await, run);
    let stored = f.current(campaign.id).await;
    assert_eq!(stored.len(), 3);
    for message in &messages {
        let found = stored
            .iter()
            .find(|stored| stored.id == message.id)
            .unwrap();
        assert_eq!(found.segment, message.segment);
        assert_eq!(found.content.as_ref(), Some(&message.content));
        assert_eq!(
            (found.state, found.source),
            (MessageState::Published, Source::Generated)
        );
        let provenance = found.provenance.as_ref().unwrap();
        assert_eq!(provenance.run_number, run_number(1));
        assert_eq!(provenance.approvals.to_vec().unwrap(), []);
    }
    assert_eq!(
        f.entries(ACCOUNT).await.len(),
        3,
        "group, customers, campaign"
    );
    f.check().await;
}

/// Such a campaign is rerun as any other.
pub async fn an_imported_campaign_can_be_rerun<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "FR"]).await;
    let messages = messages_from_elsewhere(f, &[Some("DE"), Some("IT")]);
    let (campaign, _) = f.import_campaign(group, messages.clone()).await.unwrap();
    let started = f.rerun(campaign.id, group).await;
    assert_eq!(started.run_number, run_number(2));
    assert_eq!(
        started.segments,
        SegmentCounts {
            total: 2,
            matched: 1,
            new: 1
        }
    );
    assert_eq!(started.archived_messages, 2);
    f.finish(campaign.id).await;
    let german = f.message(campaign.id, "DE").await;
    assert_eq!(german.source, Source::Reused);
    assert_eq!(german.reused_from.unwrap().message_id, messages[0].id);
    assert_eq!(german.content.as_ref(), Some(&messages[0].content));
    let first = f.run(campaign.id, 1).await;
    assert!(first.synthesised && first.archived_at.is_some());
    f.check().await;
}

/// Nothing of a refused import stays.
pub async fn a_refused_campaign_import_leaves_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let before = f.snapshot(ACCOUNT).await;
    let twice = messages_from_elsewhere(f, &[Some("DE"), Some("FR"), Some("DE")]);
    let refused = f.import_campaign(group, twice).await;
    assert!(
        matches!(refused, Err(Error::Invalid(_))),
        "two for one segment: {refused:?}"
    );
    let refused = f.import_campaign(group, Vec::new()).await;
    assert!(
        matches!(refused, Err(Error::Invalid(_))),
        "no message: {refused:?}"
    );
    let good = messages_from_elsewhere(f, &[Some("DE"), Some("FR")]);
    let rows = move |_: &SegmentBy| -> ImportedMessages {
        let bad = std::iter::once(Err(Invalid::new("line 4: it is bad")));
        Box::new(good.into_iter().map(Ok).chain(bad))
    };
    let refused = f
        .engine
        .campaigns
        .import(&caller(), new_campaign(group, &["country"]), rows)
        .await;
    let Err(Error::Invalid(invalid)) = refused else {
        panic!("a bad row: {refused:?}")
    };
    assert_eq!(invalid.to_string(), "line 4: it is bad");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refused import");
}

/// More messages than a statement takes at once.
pub async fn a_large_campaign_is_imported<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let names: Vec<String> = (0..3_000).map(|n| format!("country {n}")).collect();
    let countries: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
    let mut messages = messages_from_elsewhere(f, &countries);
    messages[2_999].content = Content {
        subject: "Last".into(),
        body: "x".repeat(200_000),
    };
    let last: MessageId = messages[2_999].id;
    let (campaign, run) = f.import_campaign(group, messages).await.unwrap();
    assert_eq!(run.counts.published, 3_000);
    let stored = f
        .messages(campaign.id, MessageSelection::Run(run.number))
        .await;
    assert_eq!(stored.len(), 3_000);
    let found = stored
        .into_iter()
        .find(|message| message.id == last)
        .unwrap();
    assert_eq!(found.content.clone().unwrap().body.len(), 200_000);
    f.check().await;
}
