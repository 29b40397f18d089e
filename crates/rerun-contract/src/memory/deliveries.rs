//! Deliveries of events to webhooks.

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::actor::Actor;
use rerun_core::audit::{AuditEntry, Authorship};
use rerun_core::delivery::{
    Attempt, Delivery, DeliveryState, MAX_ATTEMPTS, MOST_AT_ONCE, MOST_PENDING, SendError, Verdict,
    disables,
};
use rerun_core::error::StoreError;
use rerun_core::event::Event;
use rerun_core::ids::{AccountId, LeaseId, WebhookId};
use rerun_core::page::{Page, PageRequest};
use rerun_core::ports::{
    Backlog, CLOCK_TOLERANCE, DeliveryBacklog, DeliveryGauge, DeliveryKey, DeliveryQueue, FanOut,
    FannedOut, LeaseDeliveries, LeasedDelivery, Replay, ReplayDeliveries, SettleDelivery,
    SettledDelivery,
};

use super::{Account, Hook, MemoryStore, Queued, State, counted, page};

impl Queued {
    fn new(replayed: bool, now: Timestamp) -> Self {
        Self {
            state: DeliveryState::Pending,
            replayed,
            attempts: 0,
            due_at: Some(now),
            set_at: None,
            lease: None,
            ended_at: None,
            log: Vec::new(),
        }
    }

    fn again(&mut self, replayed: bool, now: Timestamp) {
        self.replayed = replayed && (self.replayed || self.state != DeliveryState::Pending);
        self.state = DeliveryState::Pending;
        self.attempts = 0;
        self.due_at = Some(now);
        self.set_at = None;
        self.ended_at = None;
    }

    pub(super) fn end(&mut self, state: DeliveryState, now: Timestamp) {
        self.state = state;
        self.due_at = None;
        self.set_at = None;
        self.lease = None;
        self.ended_at = Some(now);
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due_at
            .is_some_and(|due_at| due_at <= now && (self.lease.is_none() || due_at < now))
    }

    fn is_held(&self, now: Timestamp) -> bool {
        self.lease.is_some() && self.due_at.is_some_and(|until| until >= now)
    }

    fn held_by(&self, lease: LeaseId, now: Timestamp) -> bool {
        self.lease == Some(lease) && self.is_held(now)
    }

    fn set_at(&self) -> Option<Timestamp> {
        self.set_at.or(self.due_at)
    }
}

impl Hook {
    /// Queues the entries after a number and up to another that the webhook wants.
    fn queue(
        &mut self,
        entries: &[AuditEntry],
        replayed: bool,
        (after, up_to): (i64, i64),
        now: Timestamp,
    ) -> usize {
        let mut queued = 0;
        for entry in entries {
            if entry.seq <= after || entry.seq > up_to || !self.wants(entry) {
                continue;
            }
            match self.queue.get_mut(&entry.seq) {
                Some(known) if known.lease.is_some() => continue,
                Some(known) => known.again(replayed, now),
                None => {
                    self.queue.insert(entry.seq, Queued::new(replayed, now));
                }
            }
            queued += 1;
        }
        queued
    }

    fn wants(&self, entry: &AuditEntry) -> bool {
        self.webhook.wants(&entry.action, entry.campaign_id)
    }

    /// Notes the attempts of which nobody said how they ended, and gives up what has had all of
    /// its attempts.
    fn interrupted(&mut self, now: Timestamp) {
        for queued in self.queue.values_mut() {
            let Some(until) = queued.due_at.filter(|until| *until < now) else {
                continue;
            };
            if queued.lease.take().is_none() {
                continue;
            }
            queued.log.push(Attempt {
                at: until,
                status: None,
                duration: std::time::Duration::ZERO,
                error: Some(SendError::Interrupted),
            });
            if queued.attempts >= MAX_ATTEMPTS {
                queued.end(DeliveryState::Failed, now);
            }
        }
    }

    /// The numbers of what can be taken now, the longest due first.
    fn takeable(&self, now: Timestamp) -> Vec<i64> {
        let on_their_way = self.queue.values().filter(|q| q.is_held(now)).count();
        let mut waiting: Vec<(&i64, &Queued)> = self
            .queue
            .iter()
            .filter(|(_, queued)| queued.state == DeliveryState::Pending)
            .collect();
        let most = if self.webhook.ordered {
            waiting.truncate(1);
            1
        } else {
            usize::try_from(MOST_AT_ONCE).unwrap_or(usize::MAX)
        };
        waiting.retain(|(_, queued)| queued.is_due(now));
        waiting.sort_by_key(|(sequence, queued)| (queued.due_at, **sequence));
        let free = waiting.into_iter().take(most.saturating_sub(on_their_way));
        free.map(|(sequence, _)| *sequence).collect()
    }
}

fn all_queued(state: &mut State) -> impl Iterator<Item = &mut Queued> {
    state
        .values_mut()
        .flat_map(|account| account.webhooks.values_mut())
        .flat_map(|hook| hook.queue.values_mut())
}

/// The first `limit` accounts after a given one that meet a condition.
fn accounts<'a>(
    state: impl Iterator<Item = (&'a AccountId, &'a Account)>,
    after: Option<AccountId>,
    limit: u32,
    meets: impl Fn(&Account) -> bool,
) -> Vec<AccountId> {
    let later = state.filter(|(id, _)| after.is_none_or(|after| **id > after));
    let met = later.filter(|(_, account)| meets(account));
    met.map(|(id, _)| *id)
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect()
}

#[async_trait]
impl DeliveryQueue for MemoryStore {
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        let state = self.lock();
        Ok(accounts(state.iter(), after, limit, |account| {
            let mut hooks = account.webhooks.values();
            hooks.any(|hook| hook.webhook.disabled.is_none() && hook.cursor < account.head.seq)
        }))
    }

    async fn fan_out(&self, request: FanOut) -> Result<FannedOut, StoreError> {
        self.write_account(request.account_id, |account| {
            let head = account.head.seq;
            let mut fanned_out = FannedOut::default();
            for hook in account.webhooks.values_mut() {
                let is_full = hook.progress().pending >= u64::from(MOST_PENDING);
                if hook.webhook.disabled.is_some() || hook.cursor >= head || is_full {
                    continue;
                }
                let up_to = head.min(hook.cursor + i64::from(request.entries));
                let range = (hook.cursor, up_to);
                let queued = hook.queue(&account.entries, false, range, request.now);
                hook.cursor = up_to;
                fanned_out.queued += counted(queued)?;
                fanned_out.more |= up_to < head;
            }
            Ok(fanned_out)
        })
    }

    async fn accounts_due(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let ahead_of = now + CLOCK_TOLERANCE;
        self.write(|state| {
            let found = accounts(state.iter(), after, limit, |account| {
                let hooks = account.webhooks.values();
                let mut queued = hooks.flat_map(|hook| hook.queue.values());
                queued.any(|queued| {
                    queued.due_at.is_some_and(|due_at| due_at <= now)
                        || queued.set_at().is_some_and(|set_at| set_at > ahead_of)
                })
            });
            for id in &found {
                let hooks = state.get_mut(id).into_iter();
                let hooks = hooks.flat_map(|account| account.webhooks.values_mut());
                for queued in hooks.flat_map(|hook| hook.queue.values_mut()) {
                    if let (Some(due_at), Some(set_at)) = (queued.due_at, queued.set_at())
                        && set_at > ahead_of
                    {
                        queued.due_at = Some(now + (due_at - set_at));
                        queued.set_at = Some(now);
                    }
                }
            }
            Ok(found)
        })
    }

    async fn lease_deliveries(
        &self,
        request: LeaseDeliveries,
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        let now = request.now;
        self.write_account(request.account_id, |account| {
            let mut leased = Vec::new();
            let Account {
                webhooks, entries, ..
            } = account;
            let mut hooks: Vec<&mut Hook> = webhooks
                .values_mut()
                .filter(|hook| hook.webhook.disabled.is_none())
                .collect();
            hooks.sort_by_key(|hook| hook.queue.values().filter_map(|q| q.due_at).min());
            for hook in hooks {
                hook.interrupted(now);
                for sequence in hook.takeable(now) {
                    if leased.len() >= usize::try_from(request.limit).unwrap_or(usize::MAX) {
                        break;
                    }
                    let Some(queued) = hook.queue.get_mut(&sequence) else {
                        continue;
                    };
                    queued.lease = Some(request.lease);
                    queued.due_at = Some(request.until);
                    queued.set_at = Some(now);
                    queued.attempts += 1;
                    let entry = entries.iter().find(|entry| entry.seq == sequence);
                    leased.push(LeasedDelivery {
                        webhook_id: hook.webhook.id,
                        url: hook.webhook.url.clone(),
                        secrets: hook.webhook.signing(now),
                        entry: entry
                            .ok_or_else(|| StoreError::corrupt("a delivery without an entry"))?
                            .clone(),
                        attempt: queued.attempts,
                    });
                }
            }
            Ok(leased)
        })
    }

    async fn renew_deliveries(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut held = 0;
            for queued in all_queued(state).filter(|queued| queued.held_by(lease, now)) {
                queued.due_at = Some(until);
                queued.set_at = Some(now);
                held += 1;
            }
            Ok(held)
        })
    }

    async fn release_deliveries(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut held = 0;
            for queued in all_queued(state).filter(|queued| queued.lease == Some(lease)) {
                queued.lease = None;
                queued.due_at = Some(now);
                queued.set_at = None;
                queued.attempts -= 1;
                held += 1;
            }
            Ok(held)
        })
    }

    async fn settle_delivery(&self, settle: SettleDelivery) -> Result<SettledDelivery, StoreError> {
        self.write_account(settle.account_id, |account| {
            let now = settle.now;
            let Some(hook) = account.webhooks.get_mut(&settle.webhook_id) else {
                return Ok(SettledDelivery::default());
            };
            let held = hook.queue.get_mut(&settle.sequence);
            let Some(queued) = held.filter(|queued| queued.held_by(settle.lease, now)) else {
                return Ok(SettledDelivery::default());
            };
            queued.log.push(settle.attempt);
            let again = match settle.verdict {
                Verdict::Delivered => {
                    queued.end(DeliveryState::Delivered, now);
                    None
                }
                Verdict::Failed => {
                    queued.end(DeliveryState::Failed, now);
                    None
                }
                Verdict::RetryAt(at) => Some(at),
                Verdict::Gone => Some(now),
            };
            if again.is_some() {
                queued.due_at = again;
                queued.set_at = Some(now);
                queued.lease = None;
            }
            let since = hook.webhook.failing_since;
            hook.webhook.failing_since = if settle.verdict == Verdict::Delivered {
                None
            } else {
                since.or(Some(settle.attempt.at))
            };
            let reason = disables(settle.verdict, since, now);
            let disabled = reason.filter(|_reason| hook.webhook.disabled.is_none());
            if let Some(reason) = disabled {
                hook.webhook.disabled = Some(reason);
                hook.webhook.version += 1;
                hook.webhook.updated_at = now;
                hook.park();
                let author = Authorship {
                    entry_id: settle.audit_id,
                    actor: Actor::system(settle.account_id),
                    at: now,
                };
                account.record(author.of(Event::WebhookDisabled {
                    webhook_id: settle.webhook_id,
                    reason,
                }));
            }
            Ok(SettledDelivery {
                counted: true,
                disabled,
            })
        })
    }

    async fn list_deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        request: PageRequest<DeliveryKey>,
    ) -> Result<Page<Delivery, DeliveryKey>, StoreError> {
        let found: Vec<Delivery> = self.read(account, |account| {
            let queue = account.webhooks.get(&webhook).map(|hook| &hook.queue);
            let queue = queue.into_iter().flatten().rev();
            let listed = queue.filter(|(_, queued)| state.is_none_or(|of| queued.state == of));
            listed
                .filter_map(|(sequence, queued)| {
                    let entry = account.entries.iter().find(|e| e.seq == *sequence)?;
                    Some(Delivery {
                        event_id: entry.id,
                        event_type: entry.action.clone(),
                        sequence: *sequence,
                        state: queued.state,
                        attempts: queued.log.clone(),
                        next_attempt_at: queued.due_at,
                    })
                })
                .collect()
        });
        let key = |delivery: &Delivery| DeliveryKey(delivery.sequence);
        Ok(page(found, &request, key, |one, other| one.0 < other.0))
    }

    async fn replay_deliveries(
        &self,
        request: ReplayDeliveries,
    ) -> Result<Option<u32>, StoreError> {
        self.write_account(request.account_id, |account| {
            let hook = account.webhooks.get_mut(&request.webhook_id);
            let hook = hook
                .filter(|hook| hook.webhook.disabled.is_none())
                .ok_or(StoreError::Conflict)?;
            let most = usize::try_from(request.most).unwrap_or(usize::MAX);
            let queued = match request.what {
                Replay::Range { from, to } => {
                    let (after, up_to) = (from.saturating_sub(1), to.min(hook.cursor));
                    let in_range = |entry: &&AuditEntry| entry.seq > after && entry.seq <= up_to;
                    let wanted = account.entries.iter().filter(in_range);
                    if wanted.filter(|entry| hook.wants(entry)).count() > most {
                        return Ok(None);
                    }
                    hook.queue(&account.entries, true, (after, up_to), request.now)
                }
                Replay::Failed => {
                    let failed = |queued: &&mut Queued| queued.state == DeliveryState::Failed;
                    if hook.queue.values_mut().filter(failed).count() > most {
                        return Ok(None);
                    }
                    let mut again = 0;
                    for queued in hook.queue.values_mut().filter(failed) {
                        queued.again(true, request.now);
                        again += 1;
                    }
                    again
                }
            };
            let queued =
                u32::try_from(queued).map_err(|error| StoreError::Backend(error.into()))?;
            let key = request.key.as_ref();
            let response = key.map(|key| key.answered(&queued)).transpose()?;
            account.keep(response, request.now)?;
            Ok(Some(queued))
        })
    }

    async fn sweep_deliveries(&self, before: Timestamp, _limit: u32) -> Result<u64, StoreError> {
        self.write(|state| {
            let hooks = state
                .values_mut()
                .flat_map(|account| account.webhooks.values_mut());
            let mut swept = 0;
            for hook in hooks {
                let had = hook.queue.len();
                hook.queue
                    .retain(|_, queued| queued.ended_at.is_none_or(|at| at >= before));
                swept += had - hook.queue.len();
                for queued in hook.queue.values_mut() {
                    let had = queued.log.len();
                    queued.log.retain(|attempt| attempt.at >= before);
                    swept += had - queued.log.len();
                }
            }
            counted(swept)
        })
    }
}

#[async_trait]
impl DeliveryGauge for MemoryStore {
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError> {
        let state = self.lock();
        let hooks: Vec<&Hook> = state
            .values()
            .flat_map(|account| account.webhooks.values())
            .collect();
        let queued = hooks.iter().flat_map(|hook| hook.queue.values());
        let waiting: Vec<&Queued> = queued.filter(|q| q.due_at.is_some()).collect();
        let due = waiting.iter().filter(|queued| queued.is_due(now));
        let disabled = hooks.iter().filter(|hook| hook.webhook.disabled.is_some());
        Ok(DeliveryBacklog {
            pending: counted(waiting.len())?.min(Backlog::MOST_COUNTED.into()),
            due_since: due.filter_map(|queued| queued.due_at).min(),
            disabled: counted(disabled.count())?,
        })
    }
}
