//! What is suggested for new segments, and what a person does with the suggestions.

use std::collections::BTreeMap;

use rerun_core::error::{Error, IllegalTransition};
use rerun_core::event::AuditAction;
use rerun_core::generation::Example;
use rerun_core::ids::{CampaignId, CustomerGroupId, MessageId};
use rerun_core::message::{Content, Message, MessageState, Source};
use rerun_core::nearest::{Evidence, Suggestion};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::Store;
use rerun_core::usecases::{Decision, PageQuery, RerunRequest, ReviewedMessages};

use crate::fixture::{ACCOUNT, Fixture, OTHER_ACCOUNT, caller};

async fn write<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    country: &str,
    body: &str,
) {
    let message = f.message(campaign, country).await;
    let content = Content {
        subject: "s".into(),
        body: body.into(),
    };
    let edit = f
        .engine
        .reviews
        .edit(&caller(), campaign, Some(message.id), content, None)
        .await;
    edit.unwrap();
}

/// A campaign that is published with these texts by country, for the number of customers of each.
pub(super) async fn published<S: Store + 'static>(
    f: &Fixture<S>,
    texts: &[(&str, usize, &str)],
) -> CampaignId {
    let customers = texts
        .iter()
        .flat_map(|(country, customers, _)| std::iter::repeat_n(*country, *customers));
    let customers: Vec<&str> = customers.collect();
    let group = f.group(&customers).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.generate().await;
    for (country, _, body) in texts {
        write(f, campaign, country, body).await;
    }
    f.approve(campaign).await;
    f.publish(campaign).await;
    campaign
}

fn read(message: &Message) -> Option<Suggestion> {
    message.suggestion.as_ref().map(|kept| kept.read().unwrap())
}

/// What a preview suggests, by country.
async fn previewed<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
    reuse_from: ReuseFrom,
) -> BTreeMap<String, Option<Suggestion>> {
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from,
        allow_missing_fields: false,
    };
    let preview = f
        .engine
        .reruns
        .preview(&caller(), request, &PageQuery::default())
        .await
        .unwrap();
    let items = preview.items.items.into_iter().map(|item| {
        let country = item.segment.attributes.to_map().unwrap().remove("country");
        (country.flatten().unwrap_or_default(), item.suggestion)
    });
    items.collect()
}

async fn adopt<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    message: &Message,
) -> Result<Message, Error> {
    let adopted = f
        .engine
        .reviews
        .adopt(
            &caller(),
            campaign,
            Some(message.id),
            message.content_id,
            None,
        )
        .await?;
    Ok(adopted.outcome.1)
}

/// A new segment is shown the nearest message that may be reused, with what the texts of approved
/// messages say, in the preview and, while it is not decided, on its message.
pub async fn the_nearest_message_is_suggested<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = published(
        f,
        &[
            ("DE", 1, "Hello DE"),
            ("FR", 3, "Hello FR"),
            ("IT", 2, "Ciao"),
        ],
    )
    .await;
    let bystander = published(f, &[("ES", 9, "Hola")]).await;
    let french = f.message(campaign, "FR").await;
    let group = f.group(&["DE", "ES", ""]).await;
    let suggestion = |to: Option<&str>| Suggestion {
        message_id: french.id,
        run_number: french.run_number,
        differs: vec![rerun_core::nearest::Difference {
            field: "country".into(),
            from: Some("FR".into()),
            to: to.map(str::to_owned),
        }],
        evidence: Evidence { pairs: 3, same: 1 },
        mentions: vec!["FR".into()],
    };
    for from in ReuseFrom::ALL.iter().copied() {
        let found = previewed(f, campaign, group, from).await;
        assert_eq!(found["DE"], None, "a matched segment needs none");
        assert_eq!(found["ES"], Some(suggestion(Some("ES"))), "{from}");
        assert_eq!(found[""], Some(suggestion(None)), "{from}");
    }

    f.rerun(campaign, group).await;
    let spanish = f.message(campaign, "ES").await;
    assert_eq!(spanish.state, MessageState::Generating);
    assert_eq!(read(&spanish), Some(suggestion(Some("ES"))));
    assert_eq!(read(&f.message(campaign, "DE").await), None);
    f.generate().await;
    assert_eq!(
        read(&f.message(campaign, "ES").await),
        Some(suggestion(Some("ES")))
    );
    f.approve(campaign).await;
    assert_eq!(read(&f.message(campaign, "ES").await), None);
    assert_eq!(f.campaign(bystander).await.current_run.unwrap().get(), 1);
    f.check().await;
}

/// A person takes the suggested content: the message waits for every stage again, and counts as
/// suggested. A text that speaks of the other segment, or that was not looked at, is not taken.
pub async fn a_suggestion_is_taken_by_a_person<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = published(f, &[("DE", 1, "Hello"), ("FR", 5, "Hello, you")]).await;
    let french = f.message(campaign, "FR").await;
    let group = f.group(&["DE", "ES", "ES", "IT"]).await;
    f.rerun(campaign, group).await;
    let spanish = f.message(campaign, "ES").await;
    let refused = adopt(f, campaign, &spanish).await.unwrap_err();
    assert!(matches!(refused, Error::ContentChanged(_)), "{refused}");
    f.generate().await;
    let german = f.message(campaign, "DE").await;
    let refused = adopt(f, campaign, &german).await.unwrap_err();
    assert!(matches!(refused, Error::IllegalTransition(_)), "{refused}");

    let spanish = f.message(campaign, "ES").await;
    let seen = spanish.clone();
    let seen = seen
        .with(|seen| seen.content_id = french.content_id)
        .unwrap();
    let refused = adopt(f, campaign, &seen).await.unwrap_err();
    assert!(
        matches!(refused, Error::ContentChanged(id) if id == spanish.id),
        "{refused}"
    );
    let before = f.entries(ACCOUNT).await.len();
    let adopted = adopt(f, campaign, &spanish).await.unwrap();
    let now = f.message(campaign, "ES").await;
    assert_eq!(adopted, now);
    assert_eq!(now.content, french.content);
    assert_eq!(now.content_id, french.content_id);
    assert_eq!(
        (now.state, now.source),
        (MessageState::PendingReview { stage: 0 }, Source::Suggested)
    );
    assert_eq!(now.reused_from.unwrap().message_id, french.id);
    assert_eq!(
        now.provenance.as_ref().unwrap().approvals.to_vec().unwrap(),
        []
    );
    let entries = f.entries(ACCOUNT).await;
    assert_eq!(entries.len(), before + 1);
    assert_eq!(
        entries.last().unwrap().action,
        AuditAction::MessageAdopted.as_str()
    );
    let counts = f.current_run(campaign).await.counts;
    assert_eq!(
        (counts.reused, counts.generated, counts.suggested),
        (1, 1, 1)
    );
    f.check().await;

    f.approve(campaign).await;
    let approved = f.message(campaign, "ES").await;
    let refused = adopt(f, campaign, &approved).await.unwrap_err();
    assert!(matches!(refused, Error::IllegalTransition(_)), "{refused}");
    f.publish(campaign).await;
    let refused = adopt(f, campaign, &french).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::IllegalTransition(IllegalTransition::Archived { .. })
        ),
        "{refused}"
    );
    // The next rerun reuses it like any other text. A message that adopted a suggestion can still be
    // edited and regenerated.
    let group = f.group(&["ES", "PT"]).await;
    let started = f.rerun(campaign, group).await;
    assert_eq!(started.segments.matched, 1);
    f.generate().await;
    let portuguese = f.message(campaign, "PT").await;
    let suggestion = read(&portuguese).unwrap();
    assert_eq!(suggestion.mentions, [""; 0]);
    adopt(f, campaign, &portuguese).await.unwrap();
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(portuguese.id)], None)
        .await
        .unwrap();
    f.generate().await;
    let again = f.message(campaign, "PT").await;
    assert_eq!((again.source, again.reused_from), (Source::Generated, None));
    adopt(f, campaign, &again).await.unwrap();
    write(f, campaign, "PT", "by hand").await;
    let edited = f.message(campaign, "PT").await;
    assert_eq!((edited.source, edited.reused_from), (Source::Edited, None));
    adopt(f, campaign, &edited).await.unwrap();
    let reject = Decision::Reject {
        reason: "no".into(),
    };
    let named = ReviewedMessages::Named(vec![Some(edited.id)]);
    f.engine
        .reviews
        .review(&caller(), campaign, &reject, &named, None, None)
        .await
        .unwrap();
    f.check().await;
}

/// A text that has the values of its own segment is not taken for another one.
pub async fn a_text_about_another_segment_is_not_taken<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = published(f, &[("France", 2, "Bonjour FRANCE!")]).await;
    let group = f.group(&["Spain"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    let spanish = f.message(campaign, "Spain").await;
    let before = f.entries(ACCOUNT).await.len();
    let refused = adopt(f, campaign, &spanish).await.unwrap_err();
    assert!(refused.to_string().contains("`France`"), "{refused}");
    assert!(
        matches!(
            &refused,
            Error::IllegalTransition(IllegalTransition::Mentions { values }) if values == &["France"]
        ),
        "{refused}"
    );
    assert_eq!(f.entries(ACCOUNT).await.len(), before);
    assert_eq!(f.message(campaign, "Spain").await, spanish);
}

/// A generator that takes examples gets the approved message that is suggested for a new one, with the
/// values of its segment. Nobody gets one of another account.
pub async fn a_suggested_message_is_an_example<S: Store + 'static>(f: &Fixture<S>) {
    let long = "€".repeat(Example::MAX_BYTES);
    let campaign = published(f, &[("DE", 1, "Hello DE"), ("FR", 3, &long)]).await;
    let french = f.message(campaign, "FR").await;
    let first = published(f, &[("PT", 1, "Olá")]).await;
    f.rerun(campaign, f.group(&["DE", "ES", "IT"]).await).await;
    let mut leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 2);
    assert!(leased.tasks.iter().all(|task| task.example.is_none()));
    let generation = &f.engine.generation;
    generation.add_examples(&mut leased).await.unwrap();
    let expected = Example::new(
        french.segment.attributes.clone(),
        Content {
            subject: "s".into(),
            body: long,
        },
    );
    assert!(expected.content.body.len() + 3 > Example::MAX_BYTES);
    for task in &leased.tasks {
        assert_eq!(task.example.as_ref(), Some(&expected));
    }

    let ids: Vec<MessageId> = leased.tasks.iter().map(|task| task.message_id).collect();
    let others = f.store.examples(OTHER_ACCOUNT, ids).await.unwrap();
    assert_eq!(others, []);
    let without = f.message(first, "PT").await.id;
    assert_eq!(f.store.examples(ACCOUNT, vec![without]).await.unwrap(), []);
    assert_eq!(f.store.examples(ACCOUNT, Vec::new()).await.unwrap(), []);
}
