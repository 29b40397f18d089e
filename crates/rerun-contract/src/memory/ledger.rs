//! What a campaign in memory can do: the rows of its messages, their counts and its queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rerun_core::Timestamp;
use rerun_core::campaign::{Campaign, CampaignParts, Standing};
use rerun_core::change::{Applied, Move, Patch, Shift};
use rerun_core::error::StoreError;
use rerun_core::generation::{Settled, TaskOutcome};
use rerun_core::ids::{ContentId, LeaseId, MessageId, RunNumber, UserId};
use rerun_core::message::{
    Approvals, Content, Message, MessageCommand, MessageParts, MessageState, Provenance,
    ReviewStatus, Source,
};
use rerun_core::page::MessageKey;
use rerun_core::plan::{PlannedSegment, ReuseCandidate, ReuseFrom};
use rerun_core::ports::{CLOCK_TOLERANCE, ImportedMessage, SettleRun, StartRun};
use rerun_core::rekeying::{ApprovedMessage, KnownSegment, Rekeyed};
use rerun_core::run::{Run, RunParts};
use rerun_core::segment::{KeptValues, Segment, SegmentKey};

use super::{Ledger, Row, State, Text, Waiting, exists_already};

impl Row {
    /// The values of its segment, which are among these, with its own attributes.
    pub(super) fn kept(&self, values: &BTreeMap<i32, KeptValues>) -> Option<KeptValues> {
        let kept = values.get(&self.bare.segment_no)?.clone();
        let own = Some(&self.bare.segment.attributes);
        let own = own.filter(|own| **own != kept.attributes).cloned();
        Some(KeptValues { own, ..kept })
    }

    pub(super) fn message(&self, run: &Run) -> Result<Message, StoreError> {
        let provenance = match &self.text {
            None => None,
            Some(text) => Some(Provenance {
                run_number: text.made_in,
                approvals: Approvals::from_stored(
                    serde_json::to_string(&self.approvals)
                        .map_err(|e| StoreError::Backend(e.into()))?,
                ),
            }),
        };
        let suggestion = self.bare.suggestion.clone();
        Message::from_parts(MessageParts {
            suggestion: suggestion.filter(|_| self.bare.state.shows_suggestion()),
            content_id: self.text.as_ref().map(|text| text.id),
            content: self.text.as_ref().map(|text| text.content.clone()),
            content_model: self.text.as_ref().and_then(|text| text.model.clone()),
            provenance,
            archived_at: run.archived_at,
            ..self.bare.clone()
        })
    }

    pub(super) fn standing(&self) -> (ReviewStatus, Source) {
        (self.bare.state.status(), self.bare.source)
    }

    pub(super) fn placeholder(&self) -> Option<&str> {
        self.text.as_ref()?.content.placeholder()
    }

    pub(super) fn written_by(&self) -> Option<UserId> {
        self.text.as_ref().and_then(|text| text.written_by)
    }

    pub(super) fn key(&self) -> MessageKey {
        MessageKey {
            run_number: self.bare.run_number,
            segment_no: self.bare.segment_no,
        }
    }

    /// Generated content takes the place of what the message had.
    pub(super) fn write(&mut self, id: ContentId, content: Content, model: Option<String>) {
        self.text = Some(Arc::new(Text {
            id,
            content,
            made_in: self.bare.run_number,
            written_by: None,
            model,
        }));
        self.approvals = Vec::new();
        self.bare.source = Source::Generated;
        self.bare.reused_from = None;
    }

    /// `text` is the content of the patch's origin, if it has one.
    pub(super) fn follow(
        &mut self,
        moved: &Move,
        patch: &Patch,
        text: Option<&Arc<Text>>,
        now: Timestamp,
    ) -> Shift {
        let from = self.standing();
        self.bare.state = moved.to;
        self.bare.updated_at = now;
        self.bare
            .rejection_reason
            .clone_from(&patch.rejection_reason);
        self.bare.error = None;
        if let Some(origin) = patch.origin {
            self.text = text.cloned();
            self.approvals = Vec::new();
            self.bare.source = origin.source;
            self.bare.reused_from = origin.reused_from;
        }
        self.approvals.extend(moved.approval.clone());
        if patch.queued {
            self.waiting = Some(Waiting::at_once(now));
        }
        Shift {
            from,
            to: self.standing(),
            messages: 1,
        }
    }
}

impl Waiting {
    pub(super) fn at_once(now: Timestamp) -> Self {
        Self {
            due_at: now,
            set_at: None,
            failed_attempts: 0,
            put_off: Duration::ZERO,
            lease: None,
        }
    }

    /// When its times were set.
    pub(super) fn set_at(&self) -> Timestamp {
        self.set_at.unwrap_or(self.due_at)
    }

    /// After the clock was set back: what was to wait waits for as long from now on.
    pub(super) fn move_times(&mut self, now: Timestamp) {
        let set_at = self.set_at();
        if set_at > now + CLOCK_TOLERANCE {
            self.due_at = now + (self.due_at - set_at);
            if let Some((_, until)) = &mut self.lease {
                *until = now + (*until - set_at);
            }
            self.set_at = Some(now);
        }
    }

    pub(super) fn held_by(&self, lease: LeaseId, now: Timestamp) -> bool {
        self.lease
            .is_some_and(|(holder, until)| holder == lease && until >= now)
    }

    pub(super) fn again(&mut self, at: Timestamp, now: Timestamp) {
        self.due_at = at;
        self.set_at = Some(now);
        self.lease = None;
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due_at <= now && self.lease.is_none_or(|(_, until)| until < now)
    }

    /// When a lease ends without a result, its message is due from that moment.
    pub(super) fn due_since(&self) -> Timestamp {
        self.lease.map_or(self.due_at, |(_, until)| until)
    }
}

impl Ledger {
    pub(super) fn new(campaign: Campaign) -> Self {
        Self {
            campaign,
            runs: BTreeMap::new(),
            group_versions: BTreeMap::new(),
            segment_numbers: BTreeMap::new(),
            last_segment: 0,
            displaced: BTreeMap::new(),
            types: BTreeMap::new(),
            rules: BTreeMap::new(),
            rows: BTreeMap::new(),
            suggested: None,
        }
    }

    pub(super) fn waiting(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.rows
            .values_mut()
            .filter_map(|row| row.waiting.as_mut())
    }

    pub(super) fn current_run(&self) -> Option<Run> {
        self.campaign
            .current_run
            .and_then(|number| self.runs.get(&number))
            .cloned()
    }

    pub(super) fn run_of(&self, row: &Row) -> Result<&Run, StoreError> {
        let number = row.bare.run_number;
        let missing = || StoreError::corrupt(format!("messages: run {number} is missing"));
        self.runs.get(&number).ok_or_else(missing)
    }

    pub(super) fn segment_no(&mut self, key: SegmentKey) -> i32 {
        let last = &mut self.last_segment;
        let number = self.segment_numbers.entry(key).or_insert_with(|| {
            *last += 1;
            *last
        });
        *number
    }

    /// The newest message for each segment that may be reused.
    pub(super) fn reusable(
        &self,
        current: RunNumber,
        from: ReuseFrom,
    ) -> BTreeMap<SegmentKey, ReuseCandidate> {
        let mut newest: BTreeMap<SegmentKey, ReuseCandidate> = BTreeMap::new();
        let statuses = from.statuses();
        let approved = self.rows.values().filter(|row| {
            statuses.contains(&row.bare.state.status())
                && row.placeholder().is_none()
                && !self.displaced.contains_key(&row.bare.segment_no)
        });
        let in_scope = approved.filter(|row| match from {
            ReuseFrom::CurrentRun => row.bare.run_number == current,
            ReuseFrom::AnyRun | ReuseFrom::AnyApproved => true,
        });
        for row in in_scope {
            let candidate = ReuseCandidate {
                message_id: row.bare.id,
                run_number: row.bare.run_number,
                status: row.bare.state.status(),
            };
            let place = newest.entry(row.bare.segment.key).or_insert(candidate);
            if place.run_number < candidate.run_number {
                *place = candidate;
            }
        }
        newest
    }

    /// The values of segments by their numbers, as they were when the campaign had each first.
    pub(super) fn segment_values(&self) -> BTreeMap<i32, KeptValues> {
        let mut values = BTreeMap::new();
        for row in self.rows.values() {
            let Segment {
                key, attributes, ..
            } = &row.bare.segment;
            let no = row.bare.segment_no;
            values.entry(no).or_insert_with(|| KeptValues {
                key: *key,
                attributes: attributes.clone(),
                types: self.types.get(&no).cloned(),
                own: None,
            });
        }
        values
    }

    pub(super) fn known_segments(&self) -> Vec<KnownSegment> {
        let known = self.segment_values().into_iter().map(|(no, values)| {
            let segment = KnownSegment {
                no,
                key: values.key,
                attributes: values.attributes,
                types: values.types,
                displaced: self.displaced.get(&no).copied(),
                message: None,
            };
            (no, segment)
        });
        let mut known: BTreeMap<i32, KnownSegment> = known.collect();
        for row in self.rows.values() {
            let Some(segment) = known.get_mut(&row.bare.segment_no) else {
                continue;
            };
            let status = row.bare.state.status();
            let approved = ReuseFrom::AnyApproved.statuses().contains(&status);
            let text = row.text.as_ref().filter(|_| approved);
            if let Some(text) = text.filter(|_| row.placeholder().is_none()) {
                let message = ApprovedMessage {
                    id: row.bare.id,
                    run_number: row.bare.run_number,
                    content_id: text.id,
                    customer_count: row.bare.segment.customer_count,
                    published: status == ReviewStatus::Published,
                };
                let rank = |message: &ApprovedMessage| (message.published, message.run_number);
                if segment.message.as_ref().map(rank) < Some(rank(&message)) {
                    segment.message = Some(message);
                }
            }
        }
        known.into_values().collect()
    }

    pub(super) fn rekey(&mut self, segments: &[Rekeyed]) {
        for rekeyed in segments {
            self.segment_numbers.retain(|_, no| *no != rekeyed.no);
            self.types.insert(rekeyed.no, rekeyed.types.clone());
        }
        for rekeyed in segments {
            match rekeyed.displaced {
                None => {
                    self.displaced.remove(&rekeyed.no);
                    self.segment_numbers.insert(rekeyed.key, rekeyed.no);
                }
                Some(displaced) => {
                    self.displaced.insert(rekeyed.no, displaced);
                }
            }
            for row in self.rows.values_mut() {
                if row.bare.segment_no == rekeyed.no {
                    row.bare.segment.key = rekeyed.key;
                }
            }
        }
    }

    /// The row of a planned segment's message.
    pub(super) fn planned(
        &mut self,
        id: MessageId,
        item: &PlannedSegment,
        segment: Segment,
        start: &StartRun,
    ) -> Result<Row, StoreError> {
        let reused = match item.reuses {
            None => None,
            Some(from) => Some(
                self.rows
                    .get(&from.message_id)
                    .ok_or(StoreError::Conflict)?,
            ),
        };
        let text = reused.and_then(|row| row.text.clone());
        let approvals = reused.map(|row| row.approvals.clone()).unwrap_or_default();
        let waiting = item.reuses.is_none().then(|| Waiting::at_once(start.now));
        let (state, source) = match item.reuses {
            Some(_) => (MessageState::Approved, Source::Reused),
            None => (MessageState::Generating, Source::Generated),
        };
        // A message that is reused is shown with the values that it was approved with.
        let attributes = reused.map(|row| row.bare.segment.attributes.clone());
        let no = self.segment_no(item.key);
        let segment = Segment {
            customer_count: item.customer_count,
            attributes: attributes.unwrap_or(segment.attributes),
            ..segment
        };
        Ok(Row {
            bare: MessageParts {
                state,
                source,
                reused_from: item.reuses,
                suggestion: start.suggestions.get(&item.key).cloned(),
                ..MessageParts::generating(id, start.run.number, no, segment, start.now)
            },
            text,
            approvals,
            waiting,
        })
    }

    /// The row of a message that was published elsewhere.
    pub(super) fn imported(&mut self, imported: ImportedMessage, run: &Run) -> Row {
        let ImportedMessage {
            id,
            segment,
            content,
        } = imported;
        let no = self.segment_no(segment.key);
        let mut row = Row {
            bare: MessageParts {
                state: MessageState::Published,
                ..MessageParts::generating(id, run.number, no, segment, run.started_at)
            },
            text: None,
            approvals: Vec::new(),
            waiting: None,
        };
        row.write(ContentId::new(id.as_uuid()), content, None);
        row
    }

    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut CampaignParts),
    ) -> Result<(), StoreError> {
        self.campaign = self.campaign.clone().with(change)?;
        Ok(())
    }

    /// Changes a run, if the campaign has it.
    pub(super) fn change_run(
        &mut self,
        number: RunNumber,
        change: impl FnOnce(&mut RunParts),
    ) -> Result<(), StoreError> {
        if let Some(run) = self.runs.get_mut(&number) {
            *run = run.clone().with(change)?;
        }
        Ok(())
    }

    pub(super) fn become_current(
        &mut self,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(|campaign| {
            campaign.status = standing.status;
            campaign.current_run = standing.current_run;
            campaign.last_run = standing.last_run;
            campaign.version += 1;
            campaign.updated_at = now;
        })
    }

    /// The content that a patch gives to messages of the run.
    pub(super) fn origin(
        &self,
        patch: &Patch,
        run: RunNumber,
    ) -> Result<Option<Arc<Text>>, StoreError> {
        let Some(origin) = patch.origin else {
            return Ok(None);
        };
        let mut known = self.rows.values().filter_map(|row| row.text.as_ref());
        let known = known.find(|text| text.id == origin.content_id).cloned();
        match (known, &patch.new_content) {
            (Some(text), None) => Ok(Some(text)),
            (None, Some(new)) => Ok(Some(Arc::new(Text {
                id: new.id,
                content: new.content.clone(),
                made_in: run,
                written_by: origin.edited_by,
                model: None,
            }))),
            (None, None) => Err(StoreError::Conflict),
            (Some(_), Some(_)) => Err(exists_already("the content")),
        }
    }

    /// Writes what a change has come to; the audit entry is left for the account.
    pub(super) fn settle_down(
        &mut self,
        applied: &Applied,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.runs.insert(applied.run.number, applied.run.clone());
        self.change(|campaign| {
            campaign.status = applied.campaign_status;
            campaign.updated_at = now;
        })
    }

    /// Takes one result of a worker; `None` when the lease does not hold the message any more.
    pub(super) fn generated(
        &mut self,
        result: &rerun_core::generation::TaskResult,
        settle: &SettleRun,
        settled: &mut Settled,
    ) -> Result<Option<Shift>, StoreError> {
        let stages = self.campaign.approval_stages.clone();
        let held = self
            .rows
            .get_mut(&result.message_id)
            .filter(|row| row.bare.run_number == settle.run_number)
            .filter(|row| {
                row.waiting
                    .as_ref()
                    .is_some_and(|w| w.held_by(settle.lease, settle.now))
            });
        let Some(row) = held else { return Ok(None) };
        if let (Some(usage), Some(run)) = (&result.usage, self.runs.get_mut(&settle.run_number)) {
            *run = run.clone().with(|run| {
                run.usage = run.usage.with(usage);
                if matches!(result.outcome, TaskOutcome::Generated(_)) {
                    run.metered = run.metered.with(usage);
                }
            })?;
        }
        let from = row.standing();
        let command = match &result.outcome {
            TaskOutcome::RetryAt { at, .. } => {
                if let Some(waiting) = &mut row.waiting {
                    waiting.failed_attempts += 1;
                    waiting.again(*at, settle.now);
                }
                settled.retried += 1;
                return Ok(None);
            }
            TaskOutcome::PutOff { at, wait, .. } => {
                if let Some(waiting) = &mut row.waiting {
                    waiting.put_off += *wait;
                    waiting.again(*at, settle.now);
                }
                settled.put_off += 1;
                return Ok(None);
            }
            TaskOutcome::Generated(content) => {
                let model = result.usage.as_ref().and_then(|usage| usage.model.clone());
                row.write(result.content_id, content.clone(), model);
                settled.generated += 1;
                MessageCommand::Generated
            }
            TaskOutcome::Failed { error } => {
                row.bare.error = Some(error.clone());
                settled.failed += 1;
                MessageCommand::GenerationFailed
            }
        };
        row.waiting = None;
        row.bare.state = row
            .bare
            .state
            .apply(command, &stages)
            .map_err(|refusal| StoreError::corrupt(format!("queue: {refusal}")))?;
        row.bare.updated_at = settle.now;
        Ok(Some(Shift {
            from,
            to: row.standing(),
            messages: 1,
        }))
    }

    /// The error of the message of a run that was given up last.
    pub(super) fn last_error(&self, run: RunNumber) -> Option<String> {
        self.rows
            .values()
            .filter(|row| row.bare.run_number == run && row.bare.error.is_some())
            .max_by_key(|row| row.bare.updated_at)
            .and_then(|row| row.bare.error.clone())
    }
}

pub(super) fn same_text(one: &Row, other: &Row) -> bool {
    match (&one.text, &other.text) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

pub(super) fn waiting_rows(state: &mut State) -> impl Iterator<Item = &mut Waiting> {
    state
        .values_mut()
        .flat_map(|account| account.campaigns.values_mut())
        .flat_map(Ledger::waiting)
}
