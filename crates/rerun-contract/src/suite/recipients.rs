//! Who gets which message.

use rerun_core::error::{Error, StoreError};
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::{MessageOfRun, Store};
use rerun_core::usecases::{NewRules, RecipientRequest};
use serde_json::json;

use crate::fixture::{ACCOUNT, Fixture, caller, run_number, stranger};

pub(super) fn of_run(campaign: CampaignId, run: Option<RunNumber>) -> RecipientRequest {
    RecipientRequest {
        campaign,
        run,
        exclude_run: None,
        content: false,
    }
}

/// A list of which one half is from before a change would name the wrong messages.
pub async fn recipients_break_off_when_their_group_changes<S: Store + 'static>(f: &Fixture<S>) {
    let countries = vec!["DE"; 5_010];
    let group = f.group(&countries).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.finish(campaign).await;
    // The group of the current run could not be deleted.
    f.rerun(campaign, f.group(&["DE"]).await).await;
    f.finish(campaign).await;
    let groups = &f.engine.groups;
    for change in ["delete", "erase", "import", "delete the group"] {
        let run = of_run(campaign, Some(RunNumber::FIRST));
        let list = f.engine.recipients.list(&caller(), run).await;
        let mut list = list.unwrap();
        assert!(!list.next().await.unwrap().unwrap().is_empty());
        match change {
            "delete" => {
                let gone = ["C-5".to_owned()];
                let deleted = groups.delete_customers(&caller(), group, &gone, None).await;
                assert_eq!(deleted.unwrap().outcome.deleted_customers, 1);
            }
            "erase" => {
                groups.erase(&caller(), "C-6", None).await.unwrap();
            }
            "import" => {
                f.import_countries(group, &["FR"]).await;
            }
            _ => {
                groups.delete(&caller(), group, None).await.unwrap();
            }
        }
        let error = loop {
            match list.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{change}: the list just ends"),
                Err(error) => break error,
            }
        };
        let breaks_off = matches!(error, Error::Store(StoreError::Unavailable(_)));
        assert!(breaks_off, "{change}: {error}");
    }
}

/// Whether the group was changed since a run started does not depend on the clock; another name is no
/// change.
pub async fn a_change_in_the_instant_of_the_start_is_a_change<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let changed = async || {
        let audience = f
            .store
            .run_audience(ACCOUNT, campaign, RunNumber::FIRST)
            .await;
        audience.unwrap().unwrap().changed
    };
    assert!(!changed().await);
    f.seconds_later(1);
    f.import_countries(group, &["DE", "FR"]).await;
    let groups = &f.engine.groups;
    groups
        .rename(&caller(), group, "Summer", None)
        .await
        .unwrap();
    assert!(!changed().await, "the same customers under another name");
    f.clock.set(f.current_run(campaign).await.started_at);
    let gone = ["C-0".to_owned()];
    groups
        .delete_customers(&caller(), group, &gone, None)
        .await
        .unwrap();
    assert!(changed().await, "a customer less");
}

/// As the list of recipients says, for every run, before and after a change of the rules.
pub async fn a_customer_gets_what_the_list_says<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "de", "FR", "DE"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.finish(campaign).await;
    f.rerun(campaign, f.group(&["FR", "IT"]).await).await;
    f.finish(campaign).await;
    let recipients = &f.engine.recipients;
    let actor = caller();
    let agrees = async |what: &str| {
        for number in [None, Some(run_number(1)), Some(run_number(2))] {
            let list = recipients.list(&actor, of_run(campaign, number)).await;
            let mut list = list.unwrap();
            let all = list.next().await.unwrap().unwrap();
            assert!(all.len() > 1, "{what}");
            for listed in all {
                let reference = listed.customer_ref;
                let got = recipients.get(&actor, campaign, number, Some(&reference));
                let got = got.await.unwrap();
                let message = got.message.map(|message| message.id);
                assert_eq!(
                    (got.run, got.customer_ref, got.segment_key, message),
                    (list.run(), reference, listed.segment_key, listed.message),
                    "{what}"
                );
            }
        }
    };
    agrees("the rules of the runs").await;
    // A customer whose segment the run does not have, and one who is not there any more.
    f.import_countries(group, &["ES"]).await;
    let gone = ["C-3".to_owned()];
    let groups = &f.engine.groups;
    let deleted = groups.delete_customers(&actor, group, &gone, None).await;
    deleted.unwrap();
    let of_first = async |reference: Option<&str>| {
        let first = Some(run_number(1));
        recipients.get(&actor, campaign, first, reference).await
    };
    let new = of_first(Some("C-0")).await.unwrap();
    assert!(new.group_changed && new.message.is_none());
    agrees("a group that changed").await;
    for unknown in [Some("C-3"), Some("c-0"), None] {
        let refused = of_first(unknown).await;
        assert!(
            matches!(refused, Err(Error::CustomerNotFound)),
            "{unknown:?}"
        );
    }
    let rule = json!({ "field": "country", "normalise": ["casefold"] });
    let change = NewRules {
        campaign,
        segment_by: vec![serde_json::from_value(rule).unwrap()],
        dry_run: false,
    };
    let campaigns = &f.engine.campaigns;
    let changed = campaigns.update_segmentation(&actor, change, None).await;
    changed.unwrap();
    agrees("other rules").await;
    f.rerun(campaign, group).await;
    let message = recipients.get(&actor, campaign, None, Some("C-1")).await;
    let message = message.unwrap().message.unwrap();
    assert_eq!(message.run_number, run_number(3));
    agrees("a run by other rules").await;
    let which = MessageOfRun::Id(message.id);
    for (run, found) in [(2, None), (3, Some(message))] {
        let run = run_number(run);
        let read = f.store.message_of_run(ACCOUNT, campaign, run, which).await;
        assert_eq!(read.unwrap(), found);
    }
    let foreign = recipients
        .get(&stranger(), campaign, None, Some("C-1"))
        .await;
    assert!(matches!(foreign, Err(Error::CampaignNotFound)));
    f.cancel(campaign).await;
    groups.delete(&actor, group, None).await.unwrap();
    let refused = of_first(Some("C-1")).await;
    assert!(matches!(refused, Err(Error::CustomerGroupNotFound)));
}
