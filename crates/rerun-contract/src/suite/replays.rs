//! A repeated request gets the outcome of the first one, although the store does not keep all of it, and whatever
//! has changed since.

use rerun_core::campaign::{ApprovalStages, Template};
use rerun_core::ids::CampaignId;
use rerun_core::message::{Content, Message};
use rerun_core::ports::Store;
use rerun_core::usecases::{CampaignChanges, Decision, Replayable, ReviewedMessages};

use super::suggestions::published;
use crate::fixture::{ACCOUNT, Fixture, caller};

fn changes(name: &str, body: &str, both: bool) -> CampaignChanges {
    CampaignChanges {
        name: Some(name.into()),
        template: Some(Template {
            subject: "s".into(),
            body: body.into(),
        }),
        brief: Some(body.into()),
        approval_stages: Some(ApprovalStages::new(&[name]).unwrap()),
        distinct_reviewers: Some(both),
        suggest_reruns: Some(both),
    }
}

/// An update is repeated after another update and a rerun.
pub async fn an_update_is_replayed_as_it_was<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let campaigns = &f.engine.campaigns;
    let update = async |changes: CampaignChanges, key| {
        let updated = campaigns
            .update(&caller(), campaign, changes, Some(key))
            .await;
        updated.unwrap()
    };
    f.seconds_later(1);
    let first = update(changes("One", "one", true), "first").await;
    assert_eq!(first.outcome, f.campaign(campaign).await);
    f.seconds_later(1);
    update(changes("Two", "two", false), "second").await;
    let group = f.group(&["DE", "FR"]).await;
    f.rerun(campaign, group).await;
    let again = update(changes("One", "one", true), "first").await;
    assert!(again.replayed);
    let now = f.campaign(campaign).await;
    let known = first.outcome.with(|known| {
        known.version = now.version;
        known.last_run = now.last_run;
    });
    assert_eq!(again.outcome, known.unwrap());

    // What a request does not name is as it is now.
    let rename = CampaignChanges {
        name: Some("Three".into()),
        ..CampaignChanges::default()
    };
    f.finish(campaign).await;
    let renamed = update(rename.clone(), "third").await;
    f.seconds_later(1);
    update(changes("Four", "four", true), "fourth").await;
    let again = update(rename, "third").await;
    let now = f.campaign(campaign).await;
    let known = renamed.outcome.with(|known| {
        known.version = now.version;
        known.template = now.template.clone();
        known.brief.clone_from(&now.brief);
    });
    assert_eq!(again.outcome, known.unwrap());
}

/// A renaming is repeated after an import and another renaming.
pub async fn a_renaming_is_replayed_as_it_was<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let rename = async |name: &str, key| {
        let renamed = f
            .engine
            .groups
            .rename(&caller(), group, name, Some(key))
            .await;
        renamed.unwrap()
    };
    let first = rename("Summer", "first").await;
    f.seconds_later(1);
    let columns = ["customer_ref", "tier"];
    f.import(group, &columns, &[&["x", "gold"], &["y", "gold"]])
        .await;
    rename("Autumn", "second").await;
    let now = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_ne!(now.fields, first.outcome.fields);
    assert_ne!(now.customer_count, first.outcome.customer_count);
    let again = rename("Summer", "first").await;
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
}

async fn reject<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId, message: &Message) {
    let which = ReviewedMessages::Named(vec![Some(message.id)]);
    let decision = Decision::Reject {
        reason: "Not like this".into(),
    };
    let rejected = f
        .engine
        .reviews
        .review(&caller(), campaign, &decision, &which, None, None)
        .await;
    rejected.unwrap();
}

/// An adoption and an edit are repeated after the message was rejected, and after each other.
pub async fn an_adoption_is_replayed_as_it_was<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = published(f, &[("DE", 1, "Hello"), ("FR", 5, "Hello, you")]).await;
    let group = f.group(&["DE", "ES"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    let spanish = f.message(campaign, "ES").await;
    let reviews = &f.engine.reviews;
    let edit = async || {
        let content = Content {
            subject: "By hand".into(),
            body: "Hola".into(),
        };
        let edited = reviews
            .edit(&caller(), campaign, Some(spanish.id), content, Some("edit"))
            .await;
        edited.unwrap()
    };
    let adopt = async |seen: &Message| -> Replayable<_> {
        let (message, content) = (Some(seen.id), seen.content_id);
        let adopted = reviews
            .adopt(&caller(), campaign, message, content, Some("adopt"))
            .await;
        adopted.unwrap()
    };
    f.seconds_later(1);
    let edited = edit().await;
    let seen = f.message(campaign, "ES").await;
    assert_eq!(edited.outcome.1, seen);
    f.seconds_later(1);
    let adopted = adopt(&seen).await;
    assert_eq!(adopted.outcome.1, f.message(campaign, "ES").await);
    assert_ne!(adopted.outcome.1.reused_from, None);

    let again = edit().await;
    assert!(again.replayed);
    assert_eq!(again.outcome, edited.outcome);
    f.seconds_later(1);
    reject(f, campaign, &spanish).await;
    for (again, first) in [(edit().await, &edited), (adopt(&seen).await, &adopted)] {
        assert!(again.replayed);
        let (stages, message) = again.outcome;
        let (as_then, then) = &first.outcome;
        assert_eq!(&stages, as_then);
        // What is suggested is shown while the message waits.
        let shown = message.with(|message| message.suggestion.clone_from(&then.suggestion));
        assert_eq!(shown.unwrap(), *then);
    }
    let content = Content {
        subject: "Again by hand".into(),
        body: "Buenas".into(),
    };
    let other = reviews
        .edit(&caller(), campaign, Some(spanish.id), content, None)
        .await;
    other.unwrap();
    let again = adopt(&seen).await;
    assert_eq!(again.outcome, adopted.outcome);
}
