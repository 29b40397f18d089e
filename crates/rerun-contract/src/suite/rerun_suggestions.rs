//! The previews of reruns after an import: which campaigns are previewed, when, and what is
//! reported.

use std::time::Duration;

use rerun_core::audit::{AuditAction, AuditEntry};
use rerun_core::error::Error;
use rerun_core::event::{Event, SuggestedRerun};
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, LeaseId};
use rerun_core::outlook::{LATEST, LEASE, QUIET, RETRY, Shares};
use rerun_core::ports::{IdGenerator, NoteOutlook, Store, TakeGroup, TakenGroup};
use rerun_core::rules::FieldDeclaration;
use rerun_core::usecases::{CampaignChanges, NewCampaign, NewRules, PreviewedGroup};
use serde_json::{Value, json};

use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, assert_conflict, author, caller, customer_file, new_campaign,
    run_number, stranger,
};

/// Previews all that is due now.
async fn preview<S: Store + 'static>(f: &Fixture<S>) -> PreviewedGroup {
    let mut all = PreviewedGroup::default();
    for _ in 0..100 {
        let next = f.engine.rerun_suggestions.preview_next().await;
        let Some(one) = next.expect("groups are previewed") else {
            return all;
        };
        all.suggested += one.suggested;
        all.repeated += one.repeated;
        all.unchanged += one.unchanged;
        all.refused += one.refused;
        all.failed += one.failed;
    }
    panic!("there is always a group to preview");
}

/// Previews when nothing has been imported for long enough; returns how many reruns were suggested,
/// were suggested before, and would change nothing.
async fn quiet<S: Store + 'static>(f: &Fixture<S>) -> (u32, u32, u32) {
    f.clock.advance(QUIET);
    let all = preview(f).await;
    assert_eq!((all.refused, all.failed), (0, 0), "{all:?}");
    (all.suggested, all.repeated, all.unchanged)
}

async fn suggestions<S: Store + 'static>(f: &Fixture<S>, account: AccountId) -> Vec<AuditEntry> {
    let mut entries = f.entries(account).await;
    entries.retain(|entry| entry.action == AuditAction::RerunSuggested.as_str());
    entries
}

async fn group_of<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId) -> CustomerGroupId {
    f.current_run(campaign).await.group.id
}

/// Puts a table in place of the group's customers: one for each country.
async fn replace<S: Store + 'static>(f: &Fixture<S>, group: CustomerGroupId, countries: &[&str]) {
    let refs: Vec<String> = (0..countries.len()).map(|n| format!("C-{n}")).collect();
    let rows: Vec<[&str; 2]> = refs
        .iter()
        .zip(countries)
        .map(|(name, country)| [name.as_str(), *country])
        .collect();
    let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
    f.try_replace(group, &["customer_ref", "country"], &rows)
        .await
        .expect("an import goes through");
}

async fn take<S: Store + 'static>(f: &Fixture<S>) -> Option<TakenGroup> {
    let accounts = f.store.accounts_changed(None, 10, f.now()).await.unwrap();
    let request = TakeGroup {
        account_id: ACCOUNT,
        lease: LeaseId::new(f.ids.next()),
        now: f.now(),
    };
    let taken = f.store.take_group(request).await.unwrap();
    assert_eq!(accounts.contains(&ACCOUNT), taken.is_some());
    taken
}

/// Imports one after the other lead to one event, of numbers alone, by the system.
pub async fn imports_lead_to_one_suggestion<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "DE", "FR", "IT"]).await;
    let group = group_of(f, campaign).await;
    assert_eq!(quiet(f).await, (0, 0, 1), "the run's own segments");
    let before = f.campaign(campaign).await;
    replace(f, group, &["DE", "ES"]).await;
    f.seconds_later(5);
    replace(f, group, &["DE", "DE", "DE", "ES", "ES", "FR", "PT"]).await;
    f.seconds_later(9);
    assert!(preview(f).await.suggested == 0, "too soon");
    f.seconds_later(1);
    assert_eq!(preview(f).await.suggested, 1);
    assert_eq!(quiet(f).await, (0, 0, 0), "nothing is due any more");
    let entries = suggestions(f, ACCOUNT).await;
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(entry.campaign_id, Some(campaign));
    assert_eq!(entry.run_number, Some(run_number(1)));
    let who = (
        &entry.user_id,
        &entry.role_code,
        &entry.ip,
        &entry.request_id,
    );
    assert_eq!(who, (&None, &None, &None, &None));
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    let expected = json!({
        "customer_group_id": group,
        "segments": { "matched": 2, "new": 2, "gone": 1 },
        "customers": { "matched": 4, "new": 3, "gone": 1 },
    });
    assert_eq!(details, expected);
    assert_eq!(f.campaign(campaign).await, before, "the campaign stays");
    f.check().await;
}

/// Imports that do not end put the preview off, but not for longer than a minute.
pub async fn imports_without_end_are_previewed<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = group_of(f, campaign).await;
    quiet(f).await;
    let (mut suggested, start) = (0, f.now());
    let mut country = 0;
    while f.now() < start + LATEST {
        country += 1;
        replace(f, group, &["DE", &format!("new {country}")]).await;
        f.seconds_later(8);
        suggested += preview(f).await.suggested;
    }
    assert_eq!(suggested, 1, "once in that time");
    f.check().await;
}

/// The same is not suggested again, whatever else an import changes, until it is something else.
pub async fn a_suggestion_is_not_repeated<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = group_of(f, campaign).await;
    quiet(f).await;
    f.import_countries(group, &["DE", "FR"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0));
    let rows: [&[&str]; 1] = [&["C-0", "Ada"]];
    f.import(group, &["customer_ref", "name"], &rows).await;
    assert_eq!(quiet(f).await, (0, 1, 0), "a field that makes no segments");
    f.import(group, &["customer_ref", "name"], &rows).await;
    assert_eq!(quiet(f).await, (0, 0, 0), "an import that changes nothing");
    f.import_countries(group, &["DE", "FR", "FR"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0), "other numbers");
    replace(f, group, &["DE", "IT", "IT"]).await;
    assert_eq!(
        quiet(f).await,
        (1, 0, 0),
        "the same numbers, another segment"
    );
    replace(f, group, &["DE", "DE"]).await;
    assert_eq!(quiet(f).await, (0, 0, 1), "as the run has it");
    replace(f, group, &["DE", "IT", "IT"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0), "it was over, and is there again");
    f.rerun(campaign, group).await;
    f.finish(campaign).await;
    replace(f, group, &["DE"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0), "another run");
    let last = suggestions(f, ACCOUNT).await.pop().unwrap();
    assert_eq!(last.run_number, Some(run_number(2)));
    f.check().await;
}

/// A campaign is previewed if it is published, its current run has the group, and it wants that.
pub async fn who_wants_suggestions_gets_them<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let of_group = async |suggest_reruns| {
        let campaign = f
            .create(NewCampaign {
                suggest_reruns,
                ..new_campaign(group, &["country"])
            })
            .await;
        f.launch(campaign).await;
        f.finish(campaign).await;
        campaign
    };
    let wants = of_group(None).await;
    let silent = of_group(Some(false)).await;
    let moved = of_group(Some(true)).await;
    let elsewhere = f.group(&["DE"]).await;
    f.rerun(moved, elsewhere).await;
    f.finish(moved).await;
    let reviewed = f.draft(group).await;
    f.launch(reviewed).await;
    f.draft(group).await;
    quiet(f).await;
    f.import_countries(group, &["DE", "FR"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0));
    let named = |entries: Vec<AuditEntry>| -> Vec<Option<CampaignId>> {
        entries.iter().map(|entry| entry.campaign_id).collect()
    };
    assert_eq!(named(suggestions(f, ACCOUNT).await), [Some(wants)]);
    let changes = CampaignChanges {
        suggest_reruns: Some(true),
        ..CampaignChanges::default()
    };
    let campaigns = &f.engine.campaigns;
    campaigns
        .update(&caller(), silent, changes, None)
        .await
        .unwrap();
    let rows: [&[&str]; 1] = [&["C-0", "Ada"]];
    f.import(group, &["customer_ref", "name"], &rows).await;
    assert_eq!(quiet(f).await, (1, 1, 0));
    let found = named(suggestions(f, ACCOUNT).await);
    assert_eq!(found, [Some(wants), Some(silent)]);
    assert!(suggestions(f, OTHER_ACCOUNT).await.is_empty());
    f.check().await;
}

/// A rerun that would be refused is not suggested, and does not hold up other groups.
pub async fn a_refused_rerun_is_not_suggested<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = group_of(f, campaign).await;
    let other = f.published(&["DE"]).await;
    quiet(f).await;
    let rows: [&[&str]; 1] = [&["C-0", "gold"]];
    f.try_replace(group, &["customer_ref", "tier"], &rows)
        .await
        .unwrap();
    f.import_countries(group_of(f, other).await, &["DE", "FR"])
        .await;
    f.clock.advance(QUIET);
    let all = preview(f).await;
    assert_eq!((all.suggested, all.refused, all.failed), (1, 1, 0));
    assert_eq!(take(f).await, None, "it is not tried again");
    f.check().await;
}

/// Segments that other value rules made one are not gone.
pub async fn an_outlook_goes_by_the_rules_of_now<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "de", "FR"]).await;
    let group = group_of(f, campaign).await;
    quiet(f).await;
    let folded: Vec<FieldDeclaration> =
        serde_json::from_value(json!([{ "field": "country", "normalise": ["casefold"] }])).unwrap();
    let rules = NewRules {
        campaign,
        segment_by: folded,
        dry_run: false,
    };
    let campaigns = &f.engine.campaigns;
    let updated = campaigns.update_segmentation(&caller(), rules, None).await;
    assert_eq!(updated.unwrap().outcome.segments_after, 2);
    replace(f, group, &["De", "IT"]).await;
    assert_eq!(quiet(f).await, (1, 0, 0));
    let entry = suggestions(f, ACCOUNT).await.pop().unwrap();
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    assert_eq!(details["segments"]["gone"], 1, "FR alone");
    f.check().await;
}

/// A group is with one at a time. A preview that nobody ended is made again; an import meanwhile has
/// another one made.
pub async fn a_changed_group_is_taken_once<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    assert_eq!(take(f).await, None, "not yet");
    f.clock.advance(QUIET);
    let first = take(f).await.expect("it is due");
    assert_eq!(
        (first.group_id, first.imports, first.attempt),
        (group, 1, 1)
    );
    assert_eq!(take(f).await, None, "somebody has it");
    f.clock.advance(LEASE / 2);
    assert!(f.store.renew_group(first, f.now()).await.unwrap());
    let end = f.now() + LEASE;
    f.seconds_later(LEASE.as_secs() - 1);
    assert_eq!(take(f).await, None, "the lease was renewed");
    f.clock.set(end);
    let second = take(f).await.expect("the lease has ended");
    assert_eq!(second.attempt, 2);
    assert!(!f.store.renew_group(first, f.now()).await.unwrap());
    f.store.leave_group(first, None).await.unwrap();
    f.store.leave_group(first, Some(f.now())).await.unwrap();
    assert_eq!(take(f).await, None, "who lost it changes nothing");
    f.store
        .leave_group(second, Some(f.now() + RETRY))
        .await
        .unwrap();
    assert_eq!(take(f).await, None, "later");
    f.clock.advance(RETRY);
    let third = take(f).await.expect("it is tried again");
    assert_eq!(third.attempt, 3);
    f.import_countries(group, &["DE", "FR"]).await;
    f.store.leave_group(third, None).await.unwrap();
    assert_eq!(take(f).await, None, "not before the import's own time");
    f.clock.advance(QUIET);
    let fourth = take(f).await.expect("there was an import meanwhile");
    assert_eq!((fourth.imports, fourth.attempt), (2, 1));
    f.store.leave_group(fourth, None).await.unwrap();
    f.clock.advance(LEASE * 2);
    assert_eq!(take(f).await, None, "it is done with");
}

/// A preview that was broken off is given back at once.
pub async fn a_released_group_is_due_at_once<S: Store + 'static>(f: &Fixture<S>) {
    f.group(&["DE"]).await;
    f.clock.advance(QUIET);
    let taken = take(f).await.expect("it is due");
    f.store.leave_group(taken, Some(f.now())).await.unwrap();
    assert!(take(f).await.is_some());
    // What the use case has not taken it does not give back.
    f.engine.rerun_suggestions.release().await.unwrap();
    assert_eq!(take(f).await, None);
}

/// Neither a due time nor a lease waits for the clock to come back to where it was.
pub async fn previews_go_on_when_the_clock_goes_back<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let hour = Duration::from_hours(1);
    f.clock.set(f.now() - hour);
    assert!(take(f).await.is_some(), "the due time is an hour away");
    f.clock.set(f.now() - hour);
    let taken = take(f).await.expect("the lease ends in an hour");
    f.store.leave_group(taken, None).await.unwrap();
    f.import_countries(group, &["DE", "FR"]).await;
    f.clock.set(f.now() - hour);
    f.import_countries(group, &["DE", "FR", "IT"]).await;
    assert_eq!(take(f).await, None, "it is put off as ever");
    f.clock.advance(QUIET);
    assert!(take(f).await.is_some());
}

/// What was seen of a campaign that has moved on, or of another account's, is not written.
pub async fn a_stale_outlook_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let seen = f.campaign(campaign).await;
    let outlook = |who, campaign| {
        let shares = Shares {
            matched: 1,
            new: 1,
            gone: 0,
        };
        let event = Event::RerunSuggested(SuggestedRerun {
            campaign_id: seen.id,
            run_number: run_number(1),
            customer_group_id: seen.customer_group_id,
            segments: shares,
            customers: shares,
        });
        NoteOutlook {
            campaign,
            digest: Some([7; 32]),
            audit: Some(author(f, who).of(event)),
        }
    };
    let foreign = seen.clone();
    let foreign = foreign.with(|foreign| foreign.account_id = OTHER_ACCOUNT);
    let outlook_of_foreign = outlook(stranger(), foreign.unwrap());
    let noted = f.store.note_outlook(outlook_of_foreign).await;
    assert_conflict(noted, "another account's campaign");
    let stale = seen.clone().with(|stale| stale.version -= 1).unwrap();
    let noted = f.store.note_outlook(outlook(caller(), stale)).await;
    assert_conflict(noted, "an older version");
    assert!(suggestions(f, ACCOUNT).await.is_empty());
    for written in [true, false] {
        let noted = f.store.note_outlook(outlook(caller(), seen.clone())).await;
        assert_eq!(noted.unwrap(), written);
        assert_eq!(suggestions(f, ACCOUNT).await.len(), 1);
    }
    assert!(f.entries(OTHER_ACCOUNT).await.is_empty());
    f.check().await;
}

/// Accounts with due groups take turns, and nobody sees another's.
pub async fn accounts_take_turns_at_previews<S: Store + 'static>(f: &Fixture<S>) {
    for _ in 0..3 {
        f.group(&["DE"]).await;
    }
    let groups = &f.engine.groups;
    let foreign = groups.create(&stranger(), "Theirs", None).await.unwrap();
    let rows: [&[&str]; 1] = [&["C-0", "DE"]];
    let file = customer_file(&["customer_ref", "country"], &rows);
    let foreign = foreign.outcome.id;
    groups
        .import(&stranger(), foreign, file, None)
        .await
        .unwrap();
    f.clock.advance(QUIET);
    let both = f.store.accounts_changed(None, 10, f.now()).await.unwrap();
    assert_eq!(both, [ACCOUNT, OTHER_ACCOUNT]);
    let one = f.store.accounts_changed(None, 1, f.now()).await.unwrap();
    assert_eq!(one, [ACCOUNT]);
    let suggestions = &f.engine.rerun_suggestions;
    for _ in 0..2 {
        suggestions.preview_next().await.unwrap().unwrap();
    }
    let left = f.store.accounts_changed(None, 10, f.now()).await.unwrap();
    assert_eq!(left, [ACCOUNT], "the second turn was the other account's");
    let taken = take(f).await.unwrap();
    for who in [ACCOUNT, OTHER_ACCOUNT] {
        let campaigns = f.store.published_for(who, foreign, None, 10).await.unwrap();
        assert_eq!(campaigns, []);
    }
    let forged = TakenGroup {
        account_id: OTHER_ACCOUNT,
        ..taken
    };
    assert!(!f.store.renew_group(forged, f.now()).await.unwrap());
    f.store.leave_group(forged, None).await.unwrap();
    assert!(f.store.renew_group(taken, f.now()).await.unwrap());
}

/// Segments and campaigns are read by their own account alone.
pub async fn foreign_runs_have_no_segments<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = group_of(f, campaign).await;
    let (one, two) = (run_number(1), run_number(2));
    let read = async |who, run| {
        f.store
            .run_segments(who, campaign, run)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(read(ACCOUNT, one).await, 2);
    assert_eq!(read(ACCOUNT, two).await, 0);
    assert_eq!(read(OTHER_ACCOUNT, one).await, 0);
    let listed = async |who, after| f.store.published_for(who, group, after, 10).await.unwrap();
    assert_eq!(listed(ACCOUNT, None).await, [campaign]);
    assert_eq!(listed(ACCOUNT, Some(campaign)).await, []);
    assert_eq!(listed(OTHER_ACCOUNT, None).await, []);
    // Nobody's campaign is not there at all.
    let deleted = f.engine.campaigns.delete(&caller(), campaign, None).await;
    deleted.map_err(|error: Error| error.to_string()).unwrap();
    assert_eq!(listed(ACCOUNT, None).await, []);
}
