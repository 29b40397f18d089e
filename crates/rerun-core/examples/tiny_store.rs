//! A launch and a rerun over a store of one's own, made as small as it can be.
//!
//! A use case asks only for the ports that it uses. [`Reruns`] needs three: this store has them for
//! one campaign, keeps everything in vectors, and leaves out what the story does not need: the
//! audit log, kept responses, generation and review. The crate `rerun-contract` has a whole store
//! in memory, and the suite that says whether a store of one's own is right.
//!
//! ```sh
//! cargo run -p rerun-core --example tiny_store
//! ```

#![expect(clippy::print_stdout, reason = "the example tells its story")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::actor::{Actor, Person};
use rerun_core::audit::AuditDraft;
use rerun_core::campaign::{
    ApprovalStages, Campaign, CampaignParts, CampaignStatus, Standing, Template,
};
use rerun_core::counting::{Counted, Counting};
use rerun_core::error::StoreError;
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{AccountId, CampaignId, ContentId, CustomerGroupId, RunNumber, UserId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::nearest::Suggestion;
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::plan::{PlannedSegment, ReuseCandidate, ReuseFrom, SegmentCandidate};
use rerun_core::ports::{
    CampaignContext, CampaignStore, CancelRun, CandidateQuery, Clock, DeleteCampaign, IdGenerator,
    IdempotencyStore, IdempotentResponse, ImportFailure, ImportedMessages, KeptResponse,
    RerunStore, SegmentCandidates, StartRun, UpdateCampaign, UpdateSegmentation, WantedGroup,
};
use rerun_core::rekeying::{KnownSegment, TextDigest};
use rerun_core::run::{MessageCounts, Run};
use rerun_core::segment::{Segment, SegmentBy, SegmentKey};
use rerun_core::survey::{Survey, ValueReport};
use rerun_core::usecases::{Host, RerunRequest, Reruns, Settings};
use uuid::Uuid;

/// One account's one campaign with its runs, and the groups that it can be taken to.
struct TinyStore(Mutex<State>);

struct State {
    campaign: Campaign,
    groups: BTreeMap<CustomerGroupId, (CustomerGroup, Vec<&'static str>)>,
    runs: BTreeMap<RunNumber, (Run, Vec<Message>)>,
}

/// A message: its id, its segment, and whether it is published.
type Message = (rerun_core::ids::MessageId, PlannedSegment, bool);

impl TinyStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands in for workers, reviewers and the publication.
    fn publish(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        let State { campaign, runs, .. } = &mut *state;
        if let Some((run, messages)) = campaign.current_run.and_then(|n| runs.get_mut(&n)) {
            for (_, _, published) in messages {
                *published = true;
            }
            let counts = MessageCounts::default()
                .add(ReviewStatus::Published, Source::Reused, run.counts.reused)
                .add(
                    ReviewStatus::Published,
                    Source::Generated,
                    run.counts.generated,
                );
            *run = run.clone().recounted(counts, now, None);
            *campaign = campaign.clone().with(|campaign| {
                campaign.status = counts.campaign_status();
                campaign.version += 1;
            })?;
        }
        Ok(())
    }
}

impl State {
    /// A decision holds only while the campaign is as it was decided on.
    fn check(&self, seen: &Campaign) -> Result<(), StoreError> {
        if (seen.id, seen.version) == (self.campaign.id, self.campaign.version) {
            Ok(())
        } else {
            Err(StoreError::Conflict)
        }
    }

    fn make_current(&mut self, standing: Standing) -> Result<(), StoreError> {
        self.campaign = self.campaign.clone().with(|campaign| {
            campaign.status = standing.status;
            campaign.current_run = standing.current_run;
            campaign.last_run = standing.last_run;
            campaign.version += 1;
        })?;
        Ok(())
    }

    fn segments(&self, group: CustomerGroupId, by: &SegmentBy) -> BTreeMap<SegmentKey, Segment> {
        let segments = self.counted(group, by).segments.into_iter();
        segments.map(|segment| (segment.key, segment)).collect()
    }

    /// Every customer has a country, and nothing else.
    fn counted(&self, group: CustomerGroupId, by: &SegmentBy) -> Counted {
        let mut counting = Counting::new(by, u32::MAX);
        let countries = self
            .groups
            .get(&group)
            .map(|(_, countries)| countries.as_slice());
        for country in countries.unwrap_or_default() {
            let value = |field| (field == "country").then_some(*country);
            counting.add(by.sorted().into_iter().map(value), 1);
        }
        counting.finish()
    }

    fn reusable(&self, key: SegmentKey, from: RunNumber) -> Option<ReuseCandidate> {
        let (_, messages) = self.runs.get(&from)?;
        let found = messages
            .iter()
            .find(|(_, segment, published)| *published && segment.key == key);
        let status = ReviewStatus::Published;
        found.map(|(id, ..)| ReuseCandidate {
            message_id: *id,
            run_number: from,
            status,
        })
    }
}

/// What the story does not need.
fn left_out() -> StoreError {
    StoreError::Backend("this store is too small for that".into())
}

#[async_trait]
impl CampaignStore for TinyStore {
    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError> {
        let state = self.state();
        if (account, campaign) != (state.campaign.account_id, state.campaign.id) {
            return Ok(None);
        }
        let group = match group {
            WantedGroup::None => None,
            WantedGroup::OfCampaign => Some(state.campaign.customer_group_id),
            WantedGroup::Named(id) => Some(id),
        };
        let current_run = state
            .campaign
            .current_run
            .and_then(|number| state.runs.get(&number));
        Ok(Some(CampaignContext {
            campaign: state.campaign.clone(),
            current_run: current_run.map(|(run, _)| run.clone()),
            group: group
                .and_then(|id| state.groups.get(&id))
                .map(|(group, _)| group.clone()),
        }))
    }

    async fn find_campaign(
        &self,
        _account: AccountId,
        _id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError> {
        Err(left_out())
    }

    async fn create_campaign(
        &self,
        _campaign: &Campaign,
        _audit: AuditDraft,
        _response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        Err(left_out())
    }

    async fn update_campaign(&self, _update: UpdateCampaign) -> Result<(), StoreError> {
        Err(left_out())
    }

    async fn known_segments(
        &self,
        _account: AccountId,
        _campaign: CampaignId,
    ) -> Result<Vec<KnownSegment>, StoreError> {
        Err(left_out())
    }

    async fn text_digests(
        &self,
        _account: AccountId,
        _campaign: CampaignId,
        _contents: Vec<ContentId>,
    ) -> Result<HashMap<ContentId, TextDigest>, StoreError> {
        Err(left_out())
    }

    async fn update_segmentation(&self, _update: UpdateSegmentation) -> Result<(), StoreError> {
        Err(left_out())
    }

    async fn count_messages(
        &self,
        _account: AccountId,
        _campaign: CampaignId,
    ) -> Result<u64, StoreError> {
        Err(left_out())
    }

    async fn delete_campaign(&self, _delete: DeleteCampaign) -> Result<(), StoreError> {
        Err(left_out())
    }

    async fn sweep_deleted(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn list_campaigns(
        &self,
        _account: AccountId,
        _status: Option<CampaignStatus>,
        _page: PageRequest<CreatedKey>,
    ) -> Result<Page<Campaign, CreatedKey>, StoreError> {
        Err(left_out())
    }

    async fn import_campaign(
        &self,
        _campaign: &Campaign,
        _run: Run,
        _messages: ImportedMessages,
        _audit: AuditDraft,
    ) -> Result<Run, ImportFailure> {
        Err(left_out().into())
    }
}

#[async_trait]
impl RerunStore for TinyStore {
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError> {
        let state = self.state();
        // This store looks in the current run alone, whatever the query allows.
        let current = query.reuse.map(|(_, current, _)| current);
        let candidate = |segment: Segment| SegmentCandidate {
            key: segment.key,
            customer_count: segment.customer_count,
            reusable: current.and_then(|current| state.reusable(segment.key, current)),
        };
        let Counted { segments, fields } = state.counted(query.group_id, &query.segment_by);
        let segments = segments.into_iter().map(candidate).collect();
        // Its groups never change, and so does their version.
        Ok(SegmentCandidates {
            group_version: 1,
            segments,
            fields,
        })
    }

    async fn valued_fields(
        &self,
        _account: AccountId,
        _group: CustomerGroupId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let has = |name: &String| name == "country";
        Ok(names.into_iter().filter(has).collect())
    }

    async fn segments(
        &self,
        _account: AccountId,
        group: CustomerGroupId,
        by: &SegmentBy,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<Segment>, StoreError> {
        let all = self.state().segments(group, by).into_values();
        Ok(all.filter(|segment| keys.contains(&segment.key)).collect())
    }

    async fn survey(
        &self,
        query: CandidateQuery,
        _group_version: i64,
    ) -> Result<Option<ValueReport>, StoreError> {
        let state = self.state();
        let mut survey = Survey::new(&query.segment_by);
        if let Some((_, current, _)) = query.reuse {
            // A message's segment is one of the group that its run was made for.
            for group in state.groups.keys() {
                for segment in state.counted(*group, &query.segment_by).segments {
                    if state.reusable(segment.key, current).is_some() {
                        survey.add_reusable(segment.values())?;
                    }
                }
            }
        }
        for segment in state.counted(query.group_id, &query.segment_by).segments {
            survey.add_segment(&segment)?;
        }
        Ok(Some(survey.finish()))
    }

    async fn suggestions(
        &self,
        _query: CandidateQuery,
        _group_version: i64,
        _keys: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, StoreError> {
        Ok(Some(HashMap::new()))
    }

    async fn start_run(&self, start: StartRun) -> Result<(), StoreError> {
        let mut state = self.state();
        state.check(&start.campaign)?;
        if let Some((previous, _)) = start.plan.previous_run.and_then(|n| state.runs.get_mut(&n)) {
            *previous = previous
                .clone()
                .with(|run| run.archived_at = Some(start.now))?;
        }
        let number = start.run.number;
        let messages = start.message_ids.into_iter().zip(start.plan.items);
        let messages = messages.map(|(id, segment)| (id, segment, false)).collect();
        state.make_current(start.standing)?;
        state.runs.insert(number, (start.run, messages));
        Ok(())
    }

    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError> {
        let mut state = self.state();
        state.check(&cancel.campaign)?;
        if let Some((previous, _)) = cancel.run.previous_run.and_then(|n| state.runs.get_mut(&n)) {
            *previous = previous.clone().with(|run| run.archived_at = None)?;
        }
        state.make_current(cancel.standing)?;
        if let Some((run, _)) = state.runs.get_mut(&cancel.run.number) {
            *run = cancel.run;
        }
        Ok(())
    }
}

#[async_trait]
impl IdempotencyStore for TinyStore {
    async fn find_response(
        &self,
        _account: AccountId,
        _key: &str,
        _not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError> {
        Ok(None)
    }

    async fn keep_response(
        &self,
        _account: AccountId,
        _response: IdempotentResponse,
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget_responses(&self, _before: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(12)
    }
}

struct Counter(AtomicU64);

impl IdGenerator for Counter {
    fn next(&self) -> Uuid {
        Uuid::from_u128(self.0.fetch_add(1, Ordering::Relaxed).into())
    }
}

fn actor(ids: &Counter) -> Actor {
    let person = Person {
        user_id: UserId::new(ids.next()),
        user_name: None,
        role_code: "ADMIN".into(),
        ip: None,
    };
    Actor::person(AccountId::new(ids.next()), person)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ids = Counter(AtomicU64::new(1));
    let actor = actor(&ids);
    let now = Noon.now();
    let group = |name: &str, countries: &[&'static str]| {
        let group = CustomerGroup {
            account_id: actor.account_id,
            id: CustomerGroupId::new(ids.next()),
            name: name.into(),
            customer_count: i64::try_from(countries.len()).unwrap_or(i64::MAX),
            fields: vec!["country".into()],
            created_at: now,
            updated_at: now,
        };
        (group.id, (group, countries.to_vec()))
    };
    let (winter, spring) = (
        group("Winter", &["DE", "DE", "FR"]),
        group("Spring", &["DE", "FR", "FR", "IT"]),
    );
    let campaign = Campaign::from_parts(CampaignParts {
        account_id: actor.account_id,
        id: CampaignId::new(ids.next()),
        name: "Offers".into(),
        customer_group_id: winter.0,
        segment_by: SegmentBy::new(&["country"])?,
        template: Template {
            subject: "Offers".into(),
            body: "For {{ country }}".into(),
        },
        brief: None,
        approval_stages: ApprovalStages::default(),
        distinct_reviewers: false,
        suggest_reruns: true,
        status: CampaignStatus::Draft,
        current_run: None,
        last_run: None,
        version: 1,
        created_by: UserId::new(ids.next()),
        created_at: now,
        updated_at: now,
    })?;
    let (campaign_id, new_group) = (campaign.id, spring.0);
    let groups = BTreeMap::from([winter, spring]);
    let store = Arc::new(TinyStore(Mutex::new(State {
        campaign,
        groups,
        runs: BTreeMap::new(),
    })));
    let host = Host::new(Noon, ids);
    let reruns = Reruns::new(
        store.clone(),
        store.clone(),
        store.clone(),
        host,
        Settings::default(),
    );

    let launched = reruns.launch(&actor, campaign_id, None).await?.outcome;
    println!(
        "Run {} for {}: {} segments, {} to generate. The campaign is `{}`.",
        launched.run_number,
        launched.customer_group.name,
        launched.segments.total,
        launched.segments.new,
        launched.campaign_status,
    );

    let request = RerunRequest {
        campaign: campaign_id,
        new_group: Some(new_group),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields: false,
    };
    match reruns.initiate(&actor, request, None).await {
        Ok(_) => return Err("an unpublished campaign was rerun".into()),
        Err(refusal) => println!("Too early for a rerun: {refusal}."),
    }

    store.publish(now)?;
    println!("Generated, reviewed and published.");

    let rerun = reruns.initiate(&actor, request, None).await?.outcome;
    println!(
        "Run {} for {}: {} segments, {} reused from run 1, {} to generate. The campaign is `{}`.",
        rerun.run_number,
        rerun.customer_group.name,
        rerun.segments.total,
        rerun.segments.matched,
        rerun.segments.new,
        rerun.campaign_status,
    );
    let archived = rerun.archived_messages;
    println!("{archived} messages of run 1 are archived.");

    let cancelled = reruns
        .cancel(&actor, campaign_id, Some("wrong group"), None)
        .await?
        .outcome;
    println!(
        "Run {} is taken back. The campaign is `{}` again.",
        cancelled.run_number, cancelled.campaign_status,
    );
    Ok(())
}
