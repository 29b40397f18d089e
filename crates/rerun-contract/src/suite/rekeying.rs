//! What other value rules do to the messages that a campaign has.

use std::collections::{BTreeMap, HashSet};

use rerun_core::error::{Error, StoreError};
use rerun_core::ids::{CampaignId, CustomerGroupId};
use rerun_core::message::{Content, Message, ReviewStatus};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{MessageSelection, Store, UpdateSegmentation};
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::{
    NewCampaign, NewRules, PageQuery, RecipientRequest, SegmentationUpdated,
};
use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, Fixture, author, caller, generated, new_campaign, run_number};

pub(super) fn declared(rules: Value) -> Vec<FieldDeclaration> {
    serde_json::from_value(rules).unwrap()
}

fn folded() -> Vec<FieldDeclaration> {
    declared(json!([{ "field": "country", "normalise": ["casefold"] }]))
}

pub(super) async fn update<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    segment_by: Vec<FieldDeclaration>,
    dry_run: bool,
) -> SegmentationUpdated {
    let change = NewRules {
        campaign,
        segment_by,
        dry_run,
    };
    let caller = caller();
    let updated = f
        .engine
        .campaigns
        .update_segmentation(&caller, change, None);
    updated.await.unwrap().outcome
}

/// What each country of a group would reuse, and from which run.
async fn reused<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
    from: ReuseFrom,
) -> BTreeMap<String, Option<i32>> {
    let started = f.try_rerun(campaign, group, from).await.unwrap().outcome;
    let messages = f.current(campaign).await;
    assert_eq!(usize::try_from(started.segments.total), Ok(messages.len()));
    f.cancel(campaign).await;
    let runs = messages.iter().map(|message| {
        let country = message
            .segment
            .attributes
            .to_map()
            .unwrap()
            .remove("country");
        let reused = message.reused_from.map(|reused| reused.run_number.get());
        (country.flatten().unwrap_or_default(), reused)
    });
    runs.collect()
}

fn expected(pairs: &[(&str, Option<i32>)]) -> BTreeMap<String, Option<i32>> {
    let owned = pairs
        .iter()
        .map(|(country, run)| ((*country).to_owned(), *run));
    owned.collect()
}

/// Edits the message of a country, so that its text is one of its own.
async fn write<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId, country: &str) {
    let message = f.message(campaign, country).await;
    let content = Content {
        subject: "s".into(),
        body: format!("only for {country}"),
    };
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(message.id), content, None)
        .await
        .unwrap();
}

/// The published segments get the keys of the new rules, and go back with the old ones. Runs read as
/// before, but for the keys.
pub async fn segments_follow_other_rules<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "FR", ""]).await;
    let bystander = f.published(&["DE", "FR"]).await;
    let before = f.of_run(campaign, 1).await;
    let untouched = f.of_run(bystander, 1).await;
    let group = f.group(&["de", "De", "fr", "it", ""]).await;
    assert_eq!(
        reused(f, campaign, group, ReuseFrom::CurrentRun).await,
        expected(&[
            ("de", None),
            ("De", None),
            ("fr", None),
            ("it", None),
            ("", Some(1))
        ])
    );
    let entries = f.entries(ACCOUNT).await.len();
    let plain = f.campaign(campaign).await;
    f.seconds_later(1);

    let dry = update(f, campaign, folded(), true).await;
    assert_eq!((dry.segments_before, dry.segments_after), (3, 3));
    assert_eq!(
        f.entries(ACCOUNT).await.len(),
        entries,
        "a dry run writes nothing"
    );
    assert_eq!(f.campaign(campaign).await, plain);

    assert_eq!(update(f, campaign, folded(), false).await, dry);
    assert_eq!(f.entries(ACCOUNT).await.len(), entries + 1);
    let now = f.campaign(campaign).await;
    let expected_now = plain.with(|campaign| {
        campaign.segment_by = SegmentBy::declare(folded()).unwrap();
        campaign.version += 1;
        campaign.updated_at = f.now();
    });
    assert_eq!(now, expected_now.unwrap());
    let after = f.of_run(campaign, 1).await;
    let by_country = SegmentBy::new(&["country"]).unwrap();
    for (before, after) in before.iter().zip(&after) {
        let attributes = &before.segment.attributes;
        let types = by_country.types_of(attributes, before.segment.key).unwrap();
        assert_eq!(
            after.segment.key,
            now.segment_by
                .key_of_attributes(attributes, &types)
                .unwrap()
        );
        let same = after.clone();
        let same = same.with(|same| same.segment.key = before.segment.key);
        assert_eq!(same.unwrap(), *before);
    }
    assert_eq!(f.of_run(bystander, 1).await, untouched);
    // A reused message keeps the attributes that it was approved with.
    assert_eq!(
        reused(f, campaign, group, ReuseFrom::CurrentRun).await,
        expected(&[
            ("DE", Some(1)),
            ("FR", Some(1)),
            ("it", None),
            ("", Some(1))
        ])
    );

    let back = update(f, campaign, declared(json!(["country"])), false).await;
    assert_eq!((back.segments_before, back.segments_after), (3, 3));
    assert_eq!(f.of_run(campaign, 1).await, before);
    f.check().await;
}

/// Messages with one key and different texts are a conflict: nothing is reused for their segment,
/// from whatever run, until a message was made for it. Equal texts are no conflict.
pub async fn nothing_is_reused_in_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "de", "FR", "fr", "IT"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.generate().await;
    for country in ["DE", "de"] {
        write(f, campaign, country).await;
    }
    // The same words twice are the same text.
    for country in ["FR", "fr"] {
        let message = f.message(campaign, country).await;
        let content = Content {
            subject: "s".into(),
            body: "for the French".into(),
        };
        let edit = f
            .engine
            .reviews
            .edit(&caller(), campaign, Some(message.id), content, None)
            .await;
        edit.unwrap();
    }
    f.approve(campaign).await;
    f.publish(campaign).await;
    let run_1 = f.current(campaign).await;

    let updated = update(f, campaign, folded(), false).await;
    assert_eq!((updated.segments_before, updated.segments_after), (5, 3));
    let [conflict] = &updated.conflicts[..] else {
        panic!("{updated:?}")
    };
    assert_eq!(conflict.segment.customer_count, 2);
    let listed: Vec<_> = conflict.messages.iter().map(|m| m.message_id).collect();
    for country in ["DE", "de"] {
        let message = run_1.iter().find(|message| {
            let attributes = message.segment.attributes.to_map().unwrap();
            attributes["country"].as_deref() == Some(country)
        });
        let message = message.unwrap();
        assert!(listed.contains(&message.id), "{country}");
        let now = f.of_run(campaign, 1).await;
        let now = now.iter().find(|now| now.id == message.id).unwrap();
        assert_eq!(now.segment.key, conflict.segment.key);
    }
    assert_eq!(
        update(f, campaign, folded(), true).await,
        SegmentationUpdated {
            segments_before: 3,
            ..updated.clone()
        }
    );

    let next = f.group(&["De", "Fr", "it"]).await;
    for from in ReuseFrom::ALL.iter().copied() {
        let found = reused(f, campaign, next, from).await;
        assert_eq!(found.get("De"), Some(&None), "{from}: {found:?}");
        assert_eq!(
            found.values().filter(|run| run.is_some()).count(),
            2,
            "{from}"
        );
    }
    // Every run reads as before, and customers have the message that they were sent.
    let sent = recipients(f, campaign, 1).await;
    for message in &run_1 {
        let now = f
            .messages(campaign, MessageSelection::Run(run_number(1)))
            .await;
        let now = now.iter().find(|now| now.id == message.id).unwrap();
        assert_eq!(now.content, message.content);
        assert_eq!(now.segment.attributes, message.segment.attributes);
        assert!(sent.contains(&Some(message.id)), "{message:?}");
    }

    // What is published for the segment now settles it, in this run and in later ones.
    f.rerun(campaign, next).await;
    f.finish(campaign).await;
    let settled = f.current(campaign).await;
    assert!(
        settled
            .iter()
            .all(|m| m.state.status() == ReviewStatus::Published)
    );
    let run = settled[0].run_number.get();
    for from in ReuseFrom::ALL.iter().copied() {
        let found = reused(f, campaign, next, from).await;
        assert!(found.values().all(|from| *from >= Some(run)), "{found:?}");
    }
    assert_eq!(update(f, campaign, folded(), true).await.conflicts, []);
}

pub(super) async fn recipients<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    run: i64,
) -> Vec<Option<rerun_core::ids::MessageId>> {
    let request = RecipientRequest {
        campaign,
        run: Some(run_number(run)),
        content: false,
        exclude_run: None,
    };
    let mut list = f.engine.recipients.list(&caller(), request).await.unwrap();
    let mut found = Vec::new();
    while let Some(page) = list.next().await.unwrap() {
        found.extend(page.iter().map(|recipient| recipient.message));
    }
    found
}

/// A campaign's rules, those that come after them, and what each value of a later group reuses: the
/// message of a published value.
struct Story {
    rules: Value,
    published: &'static [&'static str],
    then: Vec<Value>,
    reused: &'static [(&'static str, Option<&'static str>)],
}

fn stories() -> Vec<Story> {
    let number = |more: Value| {
        let mut rules = json!({ "field": "country", "type": "number" });
        let rules_of = rules.as_object_mut().unwrap();
        rules_of.extend(more.as_object().unwrap().clone());
        rules
    };
    let comma = number(json!({ "decimal": "," }));
    let plain = json!("country");
    let targets = |normalise: &[&str]| {
        json!({ "field": "country", "values": { "N/A": "n. a." }, "null": ["n. a."],
                "normalise": normalise })
    };
    vec![
        Story {
            rules: plain.clone(),
            published: &["1.234"],
            then: vec![comma.clone()],
            reused: &[("1.234", Some("1.234")), ("1,234", None)],
        },
        Story {
            rules: comma.clone(),
            published: &["1.000,5", "24,125"],
            then: vec![number(
                json!({ "decimal": ",", "bins": [100, 20_000], "labels": ["a", "b", "c"] }),
            )],
            reused: &[
                ("5", Some("24,125")),
                ("500", Some("1.000,5")),
                ("24.125", None),
            ],
        },
        Story {
            rules: comma.clone(),
            published: &["36.5", "36,5"],
            then: vec![
                plain.clone(),
                comma,
                number(json!({ "decimal": ",", "null": ["x"] })),
            ],
            reused: &[("36.5", Some("36.5")), ("36,50", Some("36,5"))],
        },
        Story {
            rules: number(json!({ "bins": [10], "labels": ["low", "high"] })),
            published: &["5", "low"],
            then: vec![
                plain,
                number(json!({ "bins": [10], "labels": ["low", "top"] })),
            ],
            reused: &[("7", Some("5")), ("low", Some("low")), ("70", None)],
        },
        Story {
            rules: number(json!({ "bins": [10], "labels": ["1", "2"] })),
            published: &["5", "50"],
            then: vec![number(json!({ "bins": [10], "labels": ["a", "b"] }))],
            reused: &[("5", None), ("50", None)],
        },
        Story {
            rules: targets(&[]),
            published: &["N/A", ""],
            then: vec![targets(&["casefold"])],
            reused: &[("n/a", Some("N/A")), ("n. a.", Some(""))],
        },
    ]
}

/// A value stays what the rules made of it that its run was planned by, whatever it is spelled like:
/// no customer gets a message for another value, and the old run reads as before.
pub async fn values_stay_what_they_were<S: Store + 'static>(f: &Fixture<S>) {
    for Story {
        rules,
        published,
        then,
        reused,
    } in stories()
    {
        let what = rules.to_string();
        let new = NewCampaign {
            segment_by: declared(json!([rules])),
            ..new_campaign(f.group(published).await, &[])
        };
        let campaign = f.create(new).await;
        f.launch(campaign).await;
        f.finish(campaign).await;
        let sent = recipients(f, campaign, 1).await;
        let distinct: HashSet<_> = sent.iter().flatten().collect();
        assert_eq!(distinct.len(), published.len(), "{what}");
        for rules in then {
            update(f, campaign, declared(json!([rules])), false).await;
            assert_eq!(
                recipients(f, campaign, 1).await,
                sent,
                "{what}, then {rules}"
            );
        }
        let values: Vec<&str> = reused.iter().map(|(value, _)| *value).collect();
        f.rerun(campaign, f.group(&values).await).await;
        let messages = f.current(campaign).await;
        let got = recipients(f, campaign, 2).await;
        for ((value, expected), got) in reused.iter().zip(got) {
            let message = messages.iter().find(|message| Some(message.id) == got);
            let reused = message.unwrap().reused_from.map(|from| from.message_id);
            let place = expected.map(|value| published.iter().position(|other| *other == value));
            let expected = place.and_then(|place| sent[place.unwrap()]);
            assert_eq!(reused, expected, "{what}: {value}");
        }
        f.check().await;
    }
}

/// Keys may change places, and a cancelled run's segments get theirs too.
pub async fn keys_change_places<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["a", "b", "c"]).await;
    let group = f.group(&["a", "d", "d", "x"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    f.approve(campaign).await;
    f.cancel(campaign).await;
    let moved = json!([{ "field": "country", "values": { "a": "b1", "c": "d" } }]);
    update(f, campaign, declared(moved), false).await;
    // `c` has the key that `d` had, whose approved message gives way to the published one. What the
    // cancelled run reused was approved in it.
    let next = f.group(&["b1", "d", "x"]).await;
    assert_eq!(
        reused(f, campaign, next, ReuseFrom::AnyApproved).await,
        expected(&[("a", Some(2)), ("c", Some(1)), ("x", Some(2))])
    );
    update(f, campaign, declared(json!(["country"])), false).await;
    let next = f.group(&["a", "b", "c", "d", "x"]).await;
    assert_eq!(
        reused(f, campaign, next, ReuseFrom::AnyApproved).await,
        expected(&[
            ("a", Some(3)),
            ("b", Some(1)),
            ("c", Some(3)),
            ("d", Some(2)),
            ("x", Some(3)),
        ])
    );
    f.check().await;
}

/// Other fields are refused, and so is a campaign that is at work. A decision on an older version is
/// a conflict.
pub async fn rules_change_between_runs_only<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let actor = caller();
    let actor = &actor;
    let refused = |segment_by: Value| async {
        let change = NewRules {
            campaign,
            segment_by: declared(segment_by),
            dry_run: true,
        };
        let refused = f.engine.campaigns.update_segmentation(actor, change, None);
        refused.await.unwrap_err()
    };
    for fields in [json!(["tier"]), json!(["country", "tier"])] {
        let error = refused(fields).await;
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    let group = f.group(&["FR"]).await;
    f.rerun(campaign, group).await;
    let error = refused(json!([{ "field": "country", "normalise": ["casefold"] }])).await;
    assert!(matches!(error, Error::IllegalTransition(_)), "{error}");
    f.finish(campaign).await;

    let seen = f.campaign(campaign).await;
    let stale = seen.clone().with(|stale| stale.version -= 1).unwrap();
    let audit = f.entries(ACCOUNT).await.len();
    let update = UpdateSegmentation {
        to: stale.clone(),
        campaign: stale,
        segments: Vec::new(),
        audit: author(f, caller()).of(rerun_core::event::Event::CampaignCreated {
            campaign_id: campaign,
            name: "x".into(),
        }),
        response: None,
    };
    let conflict = f.store.update_segmentation(update).await;
    assert!(
        matches!(conflict, Err(StoreError::Conflict)),
        "{conflict:?}"
    );
    assert_eq!(f.entries(ACCOUNT).await.len(), audit);
    assert_eq!(f.campaign(campaign).await, seen);
}

/// A new message shows the values as its group spells them, also to generators, where the campaign
/// has had the segment before. A message that is reused shows those that it was approved with.
pub async fn a_new_message_is_spelled_as_its_group_is<S: Store + 'static>(f: &Fixture<S>) {
    let shown = |messages: Vec<Message>| -> Vec<String> {
        let mut shown: Vec<String> = messages
            .into_iter()
            .map(|message| message.segment.attributes.as_json().to_owned())
            .collect();
        shown.sort();
        shown
    };
    let country = |name: &str| format!("{{\"country\":\"{name}\"}}");
    let publish = async |campaign| {
        f.generate().await;
        f.approve(campaign).await;
        f.publish(campaign).await;
    };
    let group = f.group(&["de", "fr"]).await;
    let new = NewCampaign {
        segment_by: folded(),
        ..new_campaign(group, &[])
    };
    let campaign = f.create(new).await;
    f.launch(campaign).await;
    publish(campaign).await;
    f.rerun(campaign, f.group(&["FR"]).await).await;
    f.publish(campaign).await;

    let started = f
        .rerun(campaign, f.group(&["DE", "DE", "de", "FR"]).await)
        .await;
    assert_eq!((started.segments.matched, started.segments.new), (1, 1));
    let expected = [country("DE"), country("fr")];
    assert_eq!(shown(f.current(campaign).await), expected);
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks[0].attributes.as_json(), country("DE"));
    f.settle(&leased, |task| Ok(generated(task))).await;
    f.approve(campaign).await;
    f.publish(campaign).await;
    let old = shown(f.of_run(campaign, 1).await);
    assert_eq!(old, [country("de"), country("fr")], "archived");
    let page = PageQuery::default();
    let (who, from, to) = (caller(), run_number(1), run_number(3));
    let diff = f.engine.history.diff(&who, campaign, from, to, &page);
    let items = diff.await.unwrap().1.items.into_iter();
    let mut compared: Vec<String> = items
        .map(|item| item.segment.attributes.as_json().to_owned())
        .collect();
    compared.sort();
    assert_eq!(compared, expected);

    f.rerun(campaign, f.group(&["dE", "it"]).await).await;
    assert_eq!(
        shown(f.current(campaign).await),
        [country("DE"), country("it")]
    );
    let mut leased = f.lease(10).await;
    f.engine.generation.add_examples(&mut leased).await.unwrap();
    let example = leased.tasks[0].example.as_ref().unwrap();
    assert_eq!(example.attributes.as_json(), country("DE"));
    f.check().await;
}
