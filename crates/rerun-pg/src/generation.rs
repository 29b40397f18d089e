use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::campaign::Template;
use rerun_core::change::{Shift, generated};
use rerun_core::error::StoreError;
use rerun_core::generation::{
    Example, GenerationBrief, GenerationTask, Metered, NearestMessage, Settled, SettledRun,
    TaskOutcome, TaskResult, TokenCounts,
};
use rerun_core::ids::{AccountId, CampaignId, LeaseId, MessageId};
use rerun_core::message::{Content, MessageCommand, MessageState, ReviewStatus, Source};
use rerun_core::ports::{GenerationQueue, LeaseTasks, SettleRun};
use rerun_core::run::Run;
use rerun_diesel::error::Failure;
use rerun_diesel::row::{self, KeptValuesRow, NearestRow};
use rerun_diesel::shared::renew;
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::PgStore;
use crate::due::{Place, Queue};
use crate::places::Places;
use crate::write::{Value, lock_campaign, transaction, write_applied};

#[derive(QueryableByName)]
struct TaskRow {
    #[diesel(sql_type = Id)]
    campaign_id: Uuid,
    #[diesel(sql_type = Integer)]
    run_number: i32,
    #[diesel(sql_type = Id)]
    message_id: Uuid,
    #[diesel(sql_type = Integer)]
    failed_attempts: i32,
    #[diesel(sql_type = BigInt)]
    put_off_ms: i64,
    #[diesel(sql_type = Time)]
    due_at: Timestamp,
    #[diesel(embed)]
    segment: KeptValuesRow,
}

#[derive(QueryableByName)]
struct BriefRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    segment_by: String,
    #[diesel(sql_type = Nullable<Text>)]
    value_rules: Option<String>,
    #[diesel(sql_type = Text)]
    template_subject: String,
    #[diesel(sql_type = Text)]
    template_body: String,
    #[diesel(sql_type = Nullable<Text>)]
    brief: Option<String>,
}

impl TryFrom<BriefRow> for GenerationBrief {
    type Error = StoreError;

    fn try_from(row: BriefRow) -> Result<Self, StoreError> {
        Ok(Self {
            template: Template {
                subject: row.template_subject,
                body: row.template_body,
            },
            brief: row.brief,
            segment_by: row::ruled_segment_by(&row.segment_by, row.value_rules.as_deref())?,
        })
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[async_trait]
impl GenerationQueue for PgStore {
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let taken = self.taken.clone();
        self.accounts(limit, move |conn, reach| {
            QUEUE.due_accounts(conn, reach, after, limit, now, Some((&taken, "message_id")))
        })
        .await
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        let (account, places) = (request.account_id, self.places());
        let (limit, behind) = (request.limit, self.taken.place(account));
        let (tasks, from_beginning) = self
            .db
            .run(move |conn| {
                if behind.is_some() {
                    let tasks = take(conn, &request, behind, places)?;
                    if !tasks.is_empty() {
                        return Ok((tasks, false));
                    }
                }
                Ok((take(conn, &request, None, places)?, true))
            })
            .await?;
        let has_more = count(tasks.len()) >= u64::from(limit);
        let last = tasks.last().filter(|_| has_more);
        let place = last.map(|task| (task.due_at, task.message_id));
        self.taken.reach(account, place, from_beginning);
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        // A job of its own: a lease holds no lock while it waits for another, and behind a pooler a job is
        // a transaction.
        self.db
            .run(move |conn| {
                begin_runs(conn, account, &tasks)?;
                with_briefs(conn, account, tasks)
            })
            .await
    }

    async fn examples(
        &self,
        account: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError> {
        self.db
            .run(move |conn| examples(conn, account, &messages))
            .await
    }

    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.tried(
            move |conn| renew(conn, "generation_tasks", lease, now, until),
            move |conn| renew_by_part(conn, lease, now, until),
        )
        .await
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        let released = self
            .db
            .run(move |conn| {
                let released = sql("UPDATE generation_tasks \
                                    SET lease_id = NULL, due_at = ?, set_at = NULL \
                                    WHERE lease_id = ?")
                .bind::<Time, _>(now)
                .bind::<Id, _>(lease.as_uuid())
                .execute(conn)?;
                Ok(count(released))
            })
            .await;
        self.taken.forget();
        released
    }

    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError> {
        let places = self.places();
        self.db
            .run(move |conn| transaction(conn, |conn| store_results(conn, &settle, places)))
            .await
    }
}

/// Renews in those parts of a distributed table whose server answers.
fn renew_by_part(
    conn: &mut PgConnection,
    lease: LeaseId,
    now: Timestamp,
    until: Timestamp,
) -> Result<u64, Failure> {
    let held = sql(
        "SELECT coalesce(sum(CASE WHEN success THEN result::bigint END), 0)::bigint AS value \
         FROM run_command_on_shards('generation_tasks', format('WITH held AS (UPDATE %%s \
           SET due_at = %L, set_at = %L WHERE lease_id = %L AND due_at >= %L RETURNING 1) \
         SELECT count(*) FROM held', ?, ?, ?, ?))",
    )
    .bind::<Time, _>(until)
    .bind::<Time, _>(now)
    .bind::<Id, _>(lease.as_uuid())
    .bind::<Time, _>(now)
    .get_result::<Value>(conn)?;
    Ok(u64::try_from(held.value).unwrap_or_default())
}

/// A task belongs to a run that has not ended.
const QUEUE: Queue = Queue {
    table: "generation_tasks",
    accounts: ("runs", "completed_at IS NULL"),
};

/// One statement, so that the rows are locked for as short as can be; rows that another worker
/// is taking at this moment are passed over. They are found again by their places alone, see [`held`].
/// `behind` a place, if one is given. The first task of each campaign counts with the bytes of the campaign's brief.
fn take(
    conn: &mut PgConnection,
    request: &LeaseTasks,
    behind: Option<Place>,
    places: Places,
) -> Result<Vec<TaskRow>, Failure> {
    let account = request.account_id.as_uuid();
    let text = format!(
        "WITH due AS MATERIALIZED (SELECT ctid AS place, campaign_id, run_number, message_id, \
               failed_attempts, put_off_ms, due_at FROM generation_tasks \
             WHERE account_id = ? AND due_at <= ? AND (lease_id IS NULL OR due_at < ?) \
               AND (due_at, message_id) > (coalesce(?, '-infinity'), ?) \
             ORDER BY due_at, message_id LIMIT ? FOR UPDATE SKIP LOCKED), \
         numbered AS (SELECT due.*, row_number() OVER (PARTITION BY campaign_id \
             ORDER BY due_at, message_id) AS nth FROM due), \
         sized AS (SELECT n.*, s.*, m.own_attributes, \
               octet_length(coalesce(m.own_attributes, s.attributes)) + coalesce(c.bytes, 0) \
               AS bytes FROM numbered n \
           CROSS JOIN LATERAL (SELECT segment_no, attributes AS own_attributes FROM messages \
             WHERE account_id = ? AND id = n.message_id LIMIT 1) m \
           CROSS JOIN LATERAL (SELECT coalesce(shared_key, key) AS key, attributes, value_types \
             FROM segments WHERE account_id = ? AND campaign_id = n.campaign_id \
               AND no = m.segment_no LIMIT 1) s \
           LEFT JOIN LATERAL (SELECT octet_length(template_subject) \
               + octet_length(template_body) + coalesce(octet_length(brief), 0) AS bytes \
             FROM campaigns WHERE account_id = ? AND id = n.campaign_id AND n.nth = 1 LIMIT 1) c \
             ON true), \
         summed AS (SELECT sized.*, sum(bytes) OVER (ORDER BY due_at, message_id \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - bytes AS before FROM sized), \
         fitting AS MATERIALIZED (SELECT * FROM summed WHERE before < ?), \
         taken AS (UPDATE generation_tasks t SET lease_id = ?, due_at = ?, set_at = ? \
           WHERE t.ctid = ANY(ARRAY(SELECT place FROM fitting)){}) \
         SELECT * FROM fitting ORDER BY due_at, message_id",
        places.condition("t")
    );
    let statement = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now)
        .bind::<Nullable<Time>, _>(behind.map(|(due_at, _)| due_at))
        .bind::<Id, _>(behind.map_or(Uuid::nil(), |(_, id)| id))
        .bind::<BigInt, _>(i64::from(request.limit))
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<BigInt, _>(i64::try_from(request.bytes).unwrap_or(i64::MAX))
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(request.until)
        .bind::<Time, _>(request.now);
    let statement = places.bind(statement, request.account_id);
    Ok(statement.load::<TaskRow>(conn)?)
}

fn begin_runs(
    conn: &mut PgConnection,
    account: AccountId,
    tasks: &[TaskRow],
) -> Result<(), Failure> {
    let runs: BTreeSet<(Uuid, i32)> = tasks
        .iter()
        .map(|task| (task.campaign_id, task.run_number))
        .collect();
    for (campaign, run) in runs {
        sql(
            "UPDATE runs SET status = 'Processing' WHERE account_id = ? AND campaign_id = ? \
               AND number = ? AND status = 'Queued'",
        )
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign)
        .bind::<Integer, _>(run)
        .execute(conn)?;
    }
    Ok(())
}

/// For so many campaigns the statement stays prepared: for each number there is one.
const USUAL_CAMPAIGNS: usize = 8;

fn with_briefs(
    conn: &mut PgConnection,
    account_id: AccountId,
    tasks: Vec<TaskRow>,
) -> Result<Vec<GenerationTask>, Failure> {
    let campaigns: BTreeSet<Uuid> = tasks.iter().map(|task| task.campaign_id).collect();
    let text = format!(
        "SELECT c.* FROM (VALUES {}) AS w(id) \
         JOIN LATERAL (SELECT id, segment_by, value_rules, template_subject, template_body, brief \
           FROM campaigns WHERE account_id = ? AND id = w.id LIMIT 1) c ON true",
        vec!["(?)"; campaigns.len()].join(", ")
    );
    // A lease is for few campaigns, most of the time.
    let mut statement = if campaigns.len() <= USUAL_CAMPAIGNS {
        sql(&text)
    } else {
        sql(&text).planned_each_time()
    };
    for campaign in campaigns {
        statement = statement.bind::<Id, _>(campaign);
    }
    let briefs = statement
        .bind::<Id, _>(account_id.as_uuid())
        .load::<BriefRow>(conn)?
        .into_iter()
        .map(|row| Ok((row.id, Arc::new(GenerationBrief::try_from(row)?))))
        .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
    let task = |row: TaskRow| {
        let brief = briefs
            .get(&row.campaign_id)
            .ok_or_else(|| StoreError::corrupt("generation_tasks: a task without a campaign"))?;
        Ok(GenerationTask {
            account_id,
            campaign_id: CampaignId::new(row.campaign_id),
            run_number: row::run_number("generation_tasks", row.run_number)?,
            message_id: MessageId::new(row.message_id),
            failed_attempts: u32::try_from(row.failed_attempts).unwrap_or_default(),
            put_off: Duration::from_millis(u64::try_from(row.put_off_ms).unwrap_or_default()),
            attributes: brief.segment_by.shown(row.segment.try_into()?)?,
            example: None,
            brief: Arc::clone(brief),
        })
    };
    tasks.into_iter().map(task).collect()
}

/// By keys, row by row: messages of a batch are few, and a campaign has many.
fn examples(
    conn: &mut PgConnection,
    account: AccountId,
    messages: &[MessageId],
) -> Result<Vec<NearestMessage>, Failure> {
    let account = account.as_uuid();
    let longest = i32::try_from(Example::MAX_BYTES).unwrap_or(i32::MAX);
    let rows = sql("SELECT w.id, s.*, n.own_attributes, left(t.subject, ?) AS subject, \
           left(t.body, ?) AS body \
         FROM unnest(?::uuid[]) AS w(id) \
         CROSS JOIN LATERAL (SELECT campaign_id, (suggestion::json ->> 'message_id')::uuid AS nearest \
           FROM messages WHERE account_id = ? AND id = w.id AND suggestion IS NOT NULL LIMIT 1) m \
         CROSS JOIN LATERAL (SELECT segment_no, content_id, attributes AS own_attributes FROM messages \
           WHERE account_id = ? AND id = m.nearest AND campaign_id = m.campaign_id LIMIT 1) n \
         CROSS JOIN LATERAL (SELECT coalesce(shared_key, key) AS key, attributes, value_types \
           FROM segments WHERE account_id = ? AND campaign_id = m.campaign_id AND no = n.segment_no LIMIT 1) s \
         CROSS JOIN LATERAL (SELECT subject, body FROM contents \
           WHERE account_id = ? AND id = n.content_id LIMIT 1) t")
    .bind::<Integer, _>(longest)
    .bind::<Integer, _>(longest)
    .bind::<Array<Id>, _>(messages.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .load::<NearestRow>(conn)?;
    let nearest = rows.into_iter().map(NearestMessage::try_from);
    Ok(nearest.collect::<Result<_, _>>()?)
}

/// A result whose task the lease still holds, and where the task and the message are.
struct Held<'a> {
    result: &'a TaskResult,
    /// A physical place (`ctid`) in `generation_tasks`. The transaction has locked the row, so that it
    /// stays there.
    task: String,
    /// The same in `messages`, by the campaign's lock.
    message: String,
    source: Source,
}

#[derive(QueryableByName)]
struct HeldRow {
    #[diesel(sql_type = BigInt)]
    nth: i64,
    #[diesel(sql_type = Text)]
    task: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Text)]
    source: String,
}

/// Finds the tasks that the lease still holds, and locks them. They are looked up by their whole
/// keys, row by row; what follows goes by places alone. With any other condition, a planner that has
/// not heard of a new run's many tasks reads all of the account's. It is a statement of its own: one
/// that waited for a lock would look for the task at the place that it had before.
fn held<'a>(conn: &mut PgConnection, settle: &'a SettleRun) -> Result<Vec<Held<'a>>, Failure> {
    let mut seen = BTreeSet::new();
    let results: Vec<&TaskResult> = settle
        .results
        .iter()
        .filter(|result| seen.insert(result.message_id))
        .collect();
    if results.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = results.iter().map(|r| r.message_id.as_uuid()).collect();
    let rows = sql(
        "SELECT r.nth, t.place::text AS task, m.place::text AS message, m.source \
         FROM unnest(?::uuid[]) WITH ORDINALITY AS r(id, nth) \
         CROSS JOIN LATERAL (SELECT ctid AS place, lease_id, due_at, campaign_id, run_number \
           FROM generation_tasks WHERE account_id = ? AND message_id = r.id LIMIT 1 FOR UPDATE) t \
         CROSS JOIN LATERAL (SELECT ctid AS place, source FROM messages \
           WHERE account_id = ? AND id = r.id LIMIT 1) m \
         WHERE t.lease_id = ? AND t.due_at >= ? AND t.campaign_id = ? AND t.run_number = ?",
    )
    .planned_for(ids.len())
    .bind::<Array<Id>, _>(ids)
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.lease.as_uuid())
    .bind::<Time, _>(settle.now)
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .load::<HeldRow>(conn)?;
    let held = rows.into_iter().filter_map(|row| {
        // The first is number 1.
        let nth = usize::try_from(row.nth).ok()?.checked_sub(1)?;
        let result = *results.get(nth)?;
        let source = row::text("messages", "source", &row.source);
        Some(source.map(|source| Held {
            result,
            task: row.task,
            message: row.message,
            source,
        }))
    });
    Ok(held.collect::<Result<_, StoreError>>()?)
}

fn store_results(
    conn: &mut PgConnection,
    settle: &SettleRun,
    places: Places,
) -> Result<SettledRun, Failure> {
    let locked = lock_campaign(
        conn,
        settle.account_id,
        settle.campaign_id,
        settle.run_number,
    )?;
    let Some((campaign, Some(run))) = locked else {
        return Ok(SettledRun::default());
    };
    let stages = &campaign.approval_stages;
    let from = MessageState::Generating;
    let reviewed = from
        .apply(MessageCommand::Generated, stages)
        .map_err(illegal)?;
    let given_up = from
        .apply(MessageCommand::GenerationFailed, stages)
        .map_err(illegal)?;
    let held = held(conn, settle)?;
    let retried = wait_again(conn, settle, Again::Retry, &held, places)?;
    let put_off = wait_again(conn, settle, Again::PutOff, &held, places)?;
    let stored = store_generated(conn, settle, reviewed, &held, places)?;
    let failed = store_failed(conn, settle, given_up, &held, places)?;
    add_usage(conn, settle, &Used::of(&held))?;
    let shift = |(source, messages): &(Source, u32), to: (ReviewStatus, Source)| Shift {
        from: (ReviewStatus::Generating, *source),
        to,
        messages: *messages,
    };
    let mut shifts = Vec::new();
    shifts.extend(
        stored
            .iter()
            .map(|n| shift(n, (reviewed.status(), Source::Generated))),
    );
    shifts.extend(failed.iter().map(|n| shift(n, (given_up.status(), n.0))));
    let sum = |counted: &[(Source, u32)]| counted.iter().map(|(_, messages)| messages).sum();
    let settled = Settled {
        generated: sum(&stored),
        retried,
        put_off,
        failed: sum(&failed),
    };
    if shifts.is_empty() {
        return Ok(SettledRun {
            settled,
            ended: None,
        });
    }
    let error = last_error(conn, settle, &run, &shifts)?;
    let applied = generated(
        &campaign,
        run,
        &shifts,
        error.as_deref(),
        settle.audit_id,
        settle.now,
    )?;
    let next_version = applied.campaign_status != campaign.status;
    let ended = applied.ended(&campaign);
    write_applied(conn, &campaign, applied, next_version, settle.now)?;
    Ok(SettledRun { settled, ended })
}

/// What calls used.
#[derive(Default)]
struct Used {
    /// All of them.
    all: TokenCounts,
    /// Those whose content was stored.
    kept: Metered,
}

impl Used {
    fn of(held: &[Held<'_>]) -> Self {
        let mut used = Self::default();
        for held in held {
            if let Some(usage) = &held.result.usage {
                used.all = used.all.with(usage);
                if matches!(held.result.outcome, TaskOutcome::Generated(_)) {
                    used.kept = used.kept.with(usage);
                }
            }
        }
        used
    }
}

/// Adds what calls used to the run, whose campaign is locked.
fn add_usage(conn: &mut PgConnection, settle: &SettleRun, used: &Used) -> Result<(), Failure> {
    if used.all.is_zero() {
        return Ok(());
    }
    let column = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
    sql("UPDATE runs SET prompt_tokens = prompt_tokens + ?, \
           completion_tokens = completion_tokens + ?, metered_messages = metered_messages + ?, \
           metered_prompt_tokens = metered_prompt_tokens + ?, \
           metered_completion_tokens = metered_completion_tokens + ? \
         WHERE account_id = ? AND campaign_id = ? AND number = ?")
    .bind::<BigInt, _>(column(used.all.prompt_tokens))
    .bind::<BigInt, _>(column(used.all.completion_tokens))
    .bind::<BigInt, _>(column(used.kept.messages))
    .bind::<BigInt, _>(column(used.kept.tokens.prompt_tokens))
    .bind::<BigInt, _>(column(used.kept.tokens.completion_tokens))
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .execute(conn)?;
    Ok(())
}

/// Why a message waits in the queue again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// An attempt failed.
    Retry,
    /// It was put off.
    PutOff,
}

#[derive(QueryableByName)]
struct ErrorRow {
    #[diesel(sql_type = Text)]
    error: String,
}

/// The error of the message that was given up last, when these results end the run.
fn last_error(
    conn: &mut PgConnection,
    settle: &SettleRun,
    run: &Run,
    shifts: &[Shift],
) -> Result<Option<String>, Failure> {
    let settled: u32 = shifts.iter().map(|shift| shift.messages).sum();
    if run.counts.generating > settled {
        return Ok(None);
    }
    let row = sql(
        "SELECT error FROM messages WHERE account_id = ? AND campaign_id = ? \
           AND run_number = ? AND error IS NOT NULL ORDER BY updated_at DESC, id DESC LIMIT 1",
    )
    .planned_each_time()
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .load::<ErrorRow>(conn)?
    .pop();
    Ok(row.map(|row| row.error))
}

fn illegal(error: rerun_core::error::IllegalTransition) -> StoreError {
    StoreError::Backend(error.into())
}

fn wait_again(
    conn: &mut PgConnection,
    settle: &SettleRun,
    why: Again,
    held: &[Held<'_>],
    places: Places,
) -> Result<u32, Failure> {
    let (mut tasks, mut times, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for held in held {
        let (at, wait) = match (&held.result.outcome, why) {
            (TaskOutcome::RetryAt { at, .. }, Again::Retry) => (*at, 0),
            (TaskOutcome::PutOff { at, wait, .. }, Again::PutOff) => {
                (*at, i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
            }
            (
                TaskOutcome::Generated(_)
                | TaskOutcome::RetryAt { .. }
                | TaskOutcome::PutOff { .. }
                | TaskOutcome::Failed { .. },
                _,
            ) => continue,
        };
        tasks.push(held.task.as_str());
        times.push(at);
        waits.push(wait);
    }
    let waiting = tasks.len();
    if waiting > 0 {
        let text = format!(
            "UPDATE generation_tasks t SET lease_id = NULL, due_at = r.at, set_at = ?, \
               failed_attempts = t.failed_attempts + ?, put_off_ms = t.put_off_ms + r.wait \
             FROM unnest(?::text[]::tid[], ?::timestamptz[], ?::bigint[]) AS r(task, at, wait) \
             WHERE t.ctid = r.task{}",
            places.condition("t")
        );
        let statement = sql(&text)
            .planned_for(waiting)
            .bind::<Time, _>(settle.now)
            .bind::<Integer, _>(i32::from(why == Again::Retry))
            .bind::<Array<Text>, _>(tasks)
            .bind::<Array<Time>, _>(times)
            .bind::<Array<BigInt>, _>(waits);
        let put_back = places.bind(statement, settle.account_id).execute(conn)?;
        all_stored(put_back, waiting)?;
    }
    u32::try_from(waiting).map_err(|error| StoreError::Backend(error.into()).into())
}

/// Places are of rows that the transaction has locked.
fn all_stored(stored: usize, held: usize) -> Result<(), Failure> {
    if stored == held {
        Ok(())
    } else {
        Err(StoreError::corrupt("generation_tasks: a row that was locked has moved").into())
    }
}

/// How many of the messages had which source.
fn by_source<'a>(held: impl Iterator<Item = &'a Held<'a>>) -> Vec<(Source, u32)> {
    let mut counted: Vec<(Source, u32)> = Vec::new();
    for Held { source, .. } in held {
        match counted.iter_mut().find(|(known, _)| known == source) {
            Some((_, messages)) => *messages += 1,
            None => counted.push((*source, 1)),
        }
    }
    counted
}

/// Results with the places of their messages.
const RESULTS: &str = "WITH results AS (SELECT * FROM unnest(?::text[]::tid[], ?::uuid[], ?::text[], ?::text[], \
     ?::text[], ?::bigint[], ?::bigint[], ?::text[]) \
     AS r(message, content_id, subject, body, placeholder, prompt_tokens, completion_tokens, model))";

/// Where tables are distributed, this is sent as a statement of its own.
const CONTENTS: &str = "INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, \
       created_at, placeholder, prompt_tokens, completion_tokens, model) \
     SELECT ?, content_id, ?, ?, subject, body, ?, placeholder, prompt_tokens, completion_tokens, \
       model FROM results";

/// Gives [`CONTENTS`] its values.
fn bind_run<'a>(statement: Sql<'a, Pg>, settle: &SettleRun) -> Sql<'a, Pg> {
    statement
        .bind::<Id, _>(settle.account_id.as_uuid())
        .bind::<Id, _>(settle.campaign_id.as_uuid())
        .bind::<Integer, _>(settle.run_number.get())
        .bind::<Time, _>(settle.now)
}

fn store_generated(
    conn: &mut PgConnection,
    settle: &SettleRun,
    to: MessageState,
    held: &[Held<'_>],
    places: Places,
) -> Result<Vec<(Source, u32)>, Failure> {
    let generated: Vec<(&Held<'_>, &Content)> = held
        .iter()
        .filter_map(|held| match &held.result.outcome {
            TaskOutcome::Generated(content) => Some((held, content)),
            TaskOutcome::RetryAt { .. }
            | TaskOutcome::PutOff { .. }
            | TaskOutcome::Failed { .. } => None,
        })
        .collect();
    if generated.is_empty() {
        return Ok(Vec::new());
    }
    let (mut tasks, mut messages, mut contents) = (Vec::new(), Vec::new(), Vec::new());
    let (mut subjects, mut bodies, mut placeholders) = (Vec::new(), Vec::new(), Vec::new());
    let (mut prompts, mut completions, mut models) = (Vec::new(), Vec::new(), Vec::new());
    for (held, content) in &generated {
        tasks.push(held.task.as_str());
        messages.push(held.message.as_str());
        contents.push(held.result.content_id.as_uuid());
        subjects.push(content.subject.as_str());
        bodies.push(content.body.as_str());
        placeholders.push(content.placeholder());
        let usage = held.result.usage.as_ref();
        prompts.push(usage.map(|usage| i64::from(usage.prompt_tokens)));
        completions.push(usage.map(|usage| i64::from(usage.completion_tokens)));
        models.push(usage.and_then(|usage| usage.model.as_deref()));
    }
    let now = settle.now;
    let bind_results = |text| {
        sql(text)
            .planned_for(generated.len())
            .bind::<Array<Text>, _>(&messages)
            .bind::<Array<Id>, _>(&contents)
            .bind::<Array<Text>, _>(&subjects)
            .bind::<Array<Text>, _>(&bodies)
            .bind::<Array<Nullable<Text>>, _>(&placeholders)
            .bind::<Array<Nullable<BigInt>>, _>(&prompts)
            .bind::<Array<Nullable<BigInt>>, _>(&completions)
            .bind::<Array<Nullable<Text>>, _>(&models)
    };
    let moves = format!(
        "gone AS (DELETE FROM generation_tasks t WHERE t.ctid = ANY(?::text[]::tid[]){}) \
         UPDATE messages m SET content_id = results.content_id, source = 'generated', \
           reused_from_message_id = NULL, reused_from_run_number = NULL, approvals = '[]', \
           edited_by = NULL, review_status = ?, approval_stage = ?, updated_at = ? \
         FROM results WHERE m.ctid = results.message{}",
        places.condition("t"),
        places.condition("m")
    );
    let (apart, text);
    let statement = match places {
        Places::Alone => {
            text = format!("{RESULTS}, stored AS ({CONTENTS}), {moves}");
            bind_run(bind_results(&text), settle)
        }
        Places::OfAccount => {
            apart = format!("{RESULTS} {CONTENTS}");
            bind_run(bind_results(&apart), settle).execute(conn)?;
            text = format!("{RESULTS}, {moves}");
            bind_results(&text)
        }
    };
    let statement = places
        .bind(statement.bind::<Array<Text>, _>(tasks), settle.account_id)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Nullable<SmallInt>, _>(to.stage().map(i16::from))
        .bind::<Time, _>(now);
    let stored = places.bind(statement, settle.account_id).execute(conn)?;
    all_stored(stored, generated.len())?;
    Ok(by_source(generated.into_iter().map(|(held, _)| held)))
}

fn store_failed(
    conn: &mut PgConnection,
    settle: &SettleRun,
    to: MessageState,
    held: &[Held<'_>],
    places: Places,
) -> Result<Vec<(Source, u32)>, Failure> {
    let failed: Vec<(&Held<'_>, &str)> = held
        .iter()
        .filter_map(|held| match &held.result.outcome {
            TaskOutcome::Failed { error } => Some((held, error.as_str())),
            TaskOutcome::Generated(_)
            | TaskOutcome::RetryAt { .. }
            | TaskOutcome::PutOff { .. } => None,
        })
        .collect();
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let (messages, errors): (Vec<&str>, Vec<&str>) = failed
        .iter()
        .map(|(held, error)| (held.message.as_str(), *error))
        .unzip();
    let tasks: Vec<&str> = failed.iter().map(|(held, _)| held.task.as_str()).collect();
    let text = format!(
        "WITH gone AS (DELETE FROM generation_tasks t WHERE t.ctid = ANY(?::text[]::tid[]){}) \
         UPDATE messages m SET error = r.error, review_status = ?, updated_at = ? \
         FROM unnest(?::text[]::tid[], ?::text[]) AS r(message, error) WHERE m.ctid = r.message{}",
        places.condition("t"),
        places.condition("m")
    );
    let statement = sql(&text)
        .planned_for(failed.len())
        .bind::<Array<Text>, _>(tasks);
    let statement = places
        .bind(statement, settle.account_id)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Time, _>(settle.now)
        .bind::<Array<Text>, _>(messages)
        .bind::<Array<Text>, _>(errors);
    let stored = places.bind(statement, settle.account_id).execute(conn)?;
    all_stored(stored, failed.len())?;
    Ok(by_source(failed.into_iter().map(|(held, _)| held)))
}
