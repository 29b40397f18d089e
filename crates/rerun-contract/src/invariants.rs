//! Checks what must hold for an account's rows at every moment, read through the ports alone.

use std::collections::{BTreeMap, BTreeSet};

use rerun_core::audit::ChainCheck;
use rerun_core::campaign::CampaignStatus;
use rerun_core::message::{Content, Message, ReviewStatus, Source};
use rerun_core::run::{MessageCounts, Run, RunStatus};

use crate::snapshot::{CampaignSnapshot, Snapshot};

/// Panics, naming campaign, run or message, when an invariant does not hold.
pub fn check(snapshot: &Snapshot) {
    let mut chain = ChainCheck::default();
    for entry in &snapshot.entries {
        if let Err(broken) = chain.next(entry) {
            panic!("the audit log is broken: {broken}");
        }
    }
    for campaign in &snapshot.campaigns {
        check_campaign(campaign);
    }
}

fn check_campaign(all: &CampaignSnapshot) {
    let CampaignSnapshot {
        campaign,
        runs,
        messages,
    } = all;
    let id = campaign.id;
    let highest = runs.iter().map(|run| run.number).max();
    assert_eq!(
        campaign.last_run, highest,
        "campaign {id}: the last run's number"
    );
    let active: Vec<_> = runs
        .iter()
        .filter(|run| run.archived_at.is_none())
        .map(|run| run.number)
        .collect();
    let current: Vec<_> = campaign.current_run.into_iter().collect();
    assert_eq!(
        active, current,
        "campaign {id}: the runs that are not archived, and the current"
    );
    let mut numbers = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut texts = BTreeMap::new();
    for message in messages {
        let (number, key) = (message.segment_no, message.segment.key);
        let known = *keys.entry(number).or_insert(key);
        assert_eq!(
            known, key,
            "campaign {id}: segment number {number} names two segments"
        );
        // Rules that changed may have given two segments of older runs one key.
        let apart = campaign.segment_by.has_rules().then_some(number);
        let known = *numbers.entry((key, apart)).or_insert(number);
        assert_eq!(
            known, number,
            "campaign {id}: segment {key} has two numbers"
        );
        assert!(
            ids.insert(message.id),
            "campaign {id}: message {} is listed twice",
            message.id
        );
        check_message(all, message);
        if let Some(id) = message.content_id {
            let text = texts.entry(id).or_insert(&message.content);
            assert_eq!(
                *text, &message.content,
                "campaign {}: the content {id} has two texts",
                campaign.id
            );
        }
    }
    for run in runs {
        check_run(all, run);
    }
    check_status(all);
}

fn check_status(all: &CampaignSnapshot) {
    let CampaignSnapshot { campaign, .. } = all;
    let Some(current) = campaign.current_run else {
        assert_eq!(
            campaign.status,
            CampaignStatus::Draft,
            "campaign {}: without a current run",
            campaign.id
        );
        return;
    };
    let has = |status| {
        all.of_run(current)
            .any(|message| message.state.status() == status)
    };
    let every = |status| {
        all.of_run(current)
            .all(|message| message.state.status() == status)
    };
    let expected = if has(ReviewStatus::Generating) {
        CampaignStatus::Processing
    } else if has(ReviewStatus::GenerationFailed) {
        CampaignStatus::GenerationFailed
    } else if every(ReviewStatus::Published) {
        CampaignStatus::Published
    } else if every(ReviewStatus::Approved) {
        CampaignStatus::ReadyToPublish
    } else {
        CampaignStatus::ReadyForReview
    };
    assert_eq!(
        campaign.status, expected,
        "campaign {}: by its messages",
        campaign.id
    );
}

/// The counts of these messages.
#[must_use]
pub fn counted<'a>(messages: impl IntoIterator<Item = &'a Message>) -> MessageCounts {
    messages
        .into_iter()
        .fold(MessageCounts::default(), |counts, m| {
            counts.add(m.state.status(), m.source, 1)
        })
}

fn check_run(all: &CampaignSnapshot, run: &Run) {
    let at = format!("campaign {}, run {}", all.campaign.id, run.number);
    let mut keys = BTreeSet::new();
    let mut customers = 0;
    for message in all.of_run(run.number) {
        let key = message.segment.key;
        let number = all
            .campaign
            .segment_by
            .has_rules()
            .then_some(message.segment_no);
        assert!(
            keys.insert((key, number)),
            "{at}: two messages for the segment {key}"
        );
        customers += message.segment.customer_count;
        assert_eq!(
            message.archived_at, run.archived_at,
            "{at}: message {}",
            message.id
        );
    }
    assert_eq!(
        customers, run.customer_count,
        "{at}: customers of the segments"
    );
    assert_eq!(
        run.segments.total,
        run.segments.matched + run.segments.new,
        "{at}: segments"
    );
    assert_eq!(
        usize::try_from(run.segments.total),
        Ok(keys.len()),
        "{at}: messages"
    );
    assert_eq!(run.counts, counted(all.of_run(run.number)), "{at}: counts");
    let ended = matches!(
        run.status,
        RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled
    );
    assert_eq!(
        run.completed_at.is_some(),
        ended,
        "{at}: completed_at while {}",
        run.status
    );
    assert!(
        run.completed_at.is_none_or(|end| end >= run.started_at),
        "{at}: ends before it starts"
    );
    match run.status {
        RunStatus::Failed => assert!(run.counts.failed > 0 && run.error.is_some(), "{at}: failed"),
        RunStatus::Completed => assert!(run.error.is_none(), "{at}: completed with an error"),
        RunStatus::Queued | RunStatus::Processing => {
            assert!(
                run.counts.generating > 0,
                "{at}: {} with nothing to generate",
                run.status
            );
        }
        RunStatus::Cancelled => assert!(run.archived_at.is_some(), "{at}: cancelled, yet active"),
    }
}

fn check_message(all: &CampaignSnapshot, message: &Message) {
    let at = format!("campaign {}, message {}", all.campaign.id, message.id);
    let status = message.state.status();
    if let Some(stage) = message.state.stage() {
        let name = all.campaign.approval_stages.name(stage);
        assert!(name.is_some(), "{at}: the campaign has no stage {stage}");
    }
    let unmade = matches!(
        status,
        ReviewStatus::Generating | ReviewStatus::GenerationFailed
    );
    assert!(
        message.content.is_some() || unmade,
        "{at}: {status} without content"
    );
    assert_eq!(
        message.content.is_some(),
        message.provenance.is_some(),
        "{at}: provenance"
    );
    assert_eq!(
        message.content.is_some(),
        message.content_id.is_some(),
        "{at}: content_id"
    );
    let failed = status == ReviewStatus::GenerationFailed;
    assert_eq!(
        message.error.is_some(),
        failed,
        "{at}: an error while {status}"
    );
    let rejected = status == ReviewStatus::Rejected;
    assert_eq!(
        message.rejection_reason.is_some(),
        rejected,
        "{at}: a reason while {status}"
    );
    if status == ReviewStatus::Approved {
        let placeholder = message.content.as_ref().and_then(Content::placeholder);
        assert_eq!(placeholder, None, "{at}: approved with a placeholder");
    }
    let reused = matches!(message.source, Source::Reused | Source::Suggested);
    assert_eq!(
        message.reused_from.is_some(),
        reused,
        "{at}: reused_from of {}",
        message.source
    );
    let Some(from) = message.reused_from else {
        return;
    };
    let origin = all
        .messages
        .iter()
        .find(|other| other.id == from.message_id);
    let origin = origin.unwrap_or_else(|| panic!("{at}: reuses an unknown message"));
    assert_eq!(
        origin.run_number, from.run_number,
        "{at}: the run that it reuses from"
    );
    assert!(
        from.run_number < message.run_number,
        "{at}: reuses from a later run"
    );
    if message.source == Source::Reused {
        assert_eq!(
            origin.segment.key, message.segment.key,
            "{at}: reuses another segment's message"
        );
        assert_eq!(
            origin.provenance, message.provenance,
            "{at}: has another provenance"
        );
    }
    let status = origin.state.status();
    let cancelled = all
        .runs
        .iter()
        .any(|run| run.number == origin.run_number && run.status == RunStatus::Cancelled);
    assert!(
        status == ReviewStatus::Published || status == ReviewStatus::Approved && cancelled,
        "{at}: what it reuses is {status}"
    );
    assert_eq!(
        (&origin.content_id, &origin.content, &origin.content_model),
        (
            &message.content_id,
            &message.content,
            &message.content_model
        ),
        "{at}: has not the content that it reuses"
    );
}
