use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text};
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
use rerun_core::message::{MessageCommand, MessageState, ReviewStatus, Source};
use rerun_core::ports::{CLOCK_TOLERANCE, GenerationQueue, LeaseTasks, SettleRun};
use rerun_core::run::Run;
use rerun_diesel::error::Failure;
use rerun_diesel::row::{self, KeptValuesRow, NearestRow};
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::PgStore;
use crate::write::{lock_campaign, rows, transaction, write_applied};

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
        self.db
            .run(move |conn| due_accounts(conn, after, limit, now))
            .await
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        self.db
            .run(move |conn| {
                let tasks = take(conn, &request)?;
                if tasks.is_empty() {
                    return Ok(Vec::new());
                }
                begin_runs(conn, request.account_id, &tasks)?;
                with_briefs(conn, request.account_id, tasks)
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
        self.db
            .run(move |conn| {
                let held = sql("UPDATE generation_tasks SET due_at = ?, set_at = ? \
                                WHERE lease_id = ? AND due_at >= ?")
                .bind::<Time, _>(until)
                .bind::<Time, _>(now)
                .bind::<Id, _>(lease.as_uuid())
                .bind::<Time, _>(now)
                .execute(conn)?;
                Ok(count(held))
            })
            .await
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.db
            .run(move |conn| {
                let released = sql("UPDATE generation_tasks \
                                    SET lease_id = NULL, due_at = ?, set_at = NULL \
                                    WHERE lease_id = ?")
                .bind::<Time, _>(now)
                .bind::<Id, _>(lease.as_uuid())
                .execute(conn)?;
                Ok(count(released))
            })
            .await
    }

    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store_results(conn, &settle)))
            .await
    }
}

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Bool)]
    ahead: bool,
}

/// Goes from account to account by an index, whatever number of tasks each has. The subqueries are
/// limited, so that the planner cannot read all tasks at once to answer them.
fn due_accounts(
    conn: &mut PgConnection,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<AccountId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "WITH RECURSIVE accounts AS ( \
           (SELECT account_id FROM generation_tasks WHERE account_id {follows} ? \
            ORDER BY account_id LIMIT 1) \
           UNION ALL SELECT t.account_id FROM accounts a CROSS JOIN LATERAL ( \
             SELECT account_id FROM generation_tasks WHERE account_id > a.account_id \
             ORDER BY account_id LIMIT 1) t), \
         looked AS (SELECT a.account_id, \
           (SELECT true FROM generation_tasks t WHERE t.account_id = a.account_id \
              AND t.due_at <= ? LIMIT 1) AS due, \
           (SELECT true FROM generation_tasks t WHERE t.account_id = a.account_id \
              AND coalesce(t.set_at, t.due_at) > ? LIMIT 1) AS ahead FROM accounts a) \
         SELECT account_id, coalesce(ahead, false) AS ahead FROM looked \
         WHERE due OR ahead LIMIT ?"
    );
    let ahead_of = now + CLOCK_TOLERANCE;
    let rows = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(now)
        .bind::<Time, _>(ahead_of)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<AccountRow>(conn)?;
    for row in rows.iter().filter(|row| row.ahead) {
        // The clock was set back: what was to wait waits for as long from now on.
        sql("UPDATE generation_tasks \
               SET due_at = ?::timestamptz + (due_at - coalesce(set_at, due_at)), set_at = ? \
             WHERE account_id = ? AND coalesce(set_at, due_at) > ?")
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Id, _>(row.account_id)
        .bind::<Time, _>(ahead_of)
        .execute(conn)?;
    }
    Ok(rows
        .into_iter()
        .map(|row| AccountId::new(row.account_id))
        .collect())
}

/// One statement, so that the rows are locked for as short as can be; rows that another worker
/// is taking at this moment are passed over. The first task of each campaign counts with the
/// bytes of the campaign's brief.
fn take(conn: &mut PgConnection, request: &LeaseTasks) -> Result<Vec<TaskRow>, Failure> {
    let account = request.account_id.as_uuid();
    let tasks = sql(
        "WITH due AS MATERIALIZED (SELECT ctid AS place, campaign_id, run_number, message_id, \
               failed_attempts, put_off_ms, due_at FROM generation_tasks \
             WHERE account_id = ? AND due_at <= ? AND (lease_id IS NULL OR due_at < ?) \
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
         taken AS (UPDATE generation_tasks SET lease_id = ?, due_at = ?, set_at = ? \
           WHERE account_id = ? AND ctid = ANY(ARRAY(SELECT place FROM fitting))) \
         SELECT * FROM fitting ORDER BY due_at, message_id",
    )
    .bind::<Id, _>(account)
    .bind::<Time, _>(request.now)
    .bind::<Time, _>(request.now)
    .bind::<BigInt, _>(i64::from(request.limit))
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<BigInt, _>(i64::try_from(request.bytes).unwrap_or(i64::MAX))
    .bind::<Id, _>(request.lease.as_uuid())
    .bind::<Time, _>(request.until)
    .bind::<Time, _>(request.now)
    .bind::<Id, _>(account)
    .load::<TaskRow>(conn)?;
    Ok(tasks)
}

/// After the lease, not with it: a lease holds no lock while it waits for another.
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

fn with_briefs(
    conn: &mut PgConnection,
    account_id: AccountId,
    tasks: Vec<TaskRow>,
) -> Result<Vec<GenerationTask>, Failure> {
    let campaigns: BTreeSet<Uuid> = tasks.iter().map(|task| task.campaign_id).collect();
    let briefs = sql("SELECT c.* FROM unnest(?::uuid[]) AS w(id) \
         JOIN LATERAL (SELECT id, segment_by, value_rules, template_subject, template_body, brief \
           FROM campaigns WHERE account_id = ? AND id = w.id LIMIT 1) c ON true")
    .bind::<Array<Id>, _>(campaigns.into_iter().collect::<Vec<_>>())
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

fn store_results(conn: &mut PgConnection, settle: &SettleRun) -> Result<SettledRun, Failure> {
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
    let mut used = Used::default();
    let retried = wait_again(conn, settle, Again::Retry, &mut used)?;
    let put_off = wait_again(conn, settle, Again::PutOff, &mut used)?;
    let stored = store_generated(conn, settle, reviewed, &mut used)?;
    let failed = store_failed(conn, settle, given_up, &mut used)?;
    add_usage(conn, settle, &used)?;
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

/// The calls that results are of, as columns: prompt tokens, completion tokens, models.
type UsageColumns<'a> = (Vec<Option<i64>>, Vec<Option<i64>>, Vec<Option<&'a str>>);

fn usage_columns<'a>(results: impl Iterator<Item = &'a TaskResult>) -> UsageColumns<'a> {
    let mut columns = UsageColumns::default();
    for result in results {
        let usage = result.usage.as_ref();
        columns
            .0
            .push(usage.map(|usage| usage.prompt_tokens.into()));
        columns
            .1
            .push(usage.map(|usage| usage.completion_tokens.into()));
        columns
            .2
            .push(usage.and_then(|usage| usage.model.as_deref()));
    }
    columns
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
struct UsedRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    prompt_tokens: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    completion_tokens: Option<i64>,
}

impl UsedRow {
    fn add_to(&self, used: &mut TokenCounts) {
        let tokens = |tokens: Option<i64>| {
            tokens
                .and_then(|tokens| u64::try_from(tokens).ok())
                .unwrap_or_default()
        };
        used.prompt_tokens += tokens(self.prompt_tokens);
        used.completion_tokens += tokens(self.completion_tokens);
    }
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
    .planned_anew()
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
    used: &mut Used,
) -> Result<u32, Failure> {
    let (mut results, mut times, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for result in &settle.results {
        let (at, wait) = match (&result.outcome, why) {
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
        results.push(result);
        times.push(at);
        waits.push(wait);
    }
    if results.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = results.iter().map(|r| r.message_id.as_uuid()).collect();
    let (prompts, completions, _models) = usage_columns(results.into_iter());
    let waiting = sql(
        "UPDATE generation_tasks t SET lease_id = NULL, due_at = r.at, set_at = ?, \
           failed_attempts = t.failed_attempts + ?, put_off_ms = t.put_off_ms + r.wait \
         FROM unnest(?::uuid[], ?::timestamptz[], ?::bigint[], ?::bigint[], ?::bigint[]) \
           AS r(id, at, wait, prompt_tokens, completion_tokens) \
         WHERE t.account_id = ? AND t.message_id = r.id AND t.lease_id = ? AND t.due_at >= ? \
             AND t.campaign_id = ? AND t.run_number = ? \
         RETURNING r.prompt_tokens, r.completion_tokens",
    )
    .planned_anew()
    .bind::<Time, _>(settle.now)
    .bind::<Integer, _>(i32::from(why == Again::Retry))
    .bind::<Array<Id>, _>(ids)
    .bind::<Array<Time>, _>(times)
    .bind::<Array<BigInt>, _>(waits)
    .bind::<Array<Nullable<BigInt>>, _>(prompts)
    .bind::<Array<Nullable<BigInt>>, _>(completions)
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.lease.as_uuid())
    .bind::<Time, _>(settle.now)
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .load::<UsedRow>(conn)?;
    for row in &waiting {
        row.add_to(&mut used.all);
    }
    u32::try_from(waiting.len()).map_err(|error| StoreError::Backend(error.into()).into())
}

#[derive(QueryableByName)]
struct SourceRow {
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = BigInt)]
    messages: i64,
    /// How many of them have a usage.
    #[diesel(sql_type = BigInt)]
    metered: i64,
    #[diesel(embed)]
    used: UsedRow,
}

/// How many messages had which source. `kept` says whether what was made was stored.
fn by_source(
    counted: Vec<SourceRow>,
    kept: bool,
    used: &mut Used,
) -> Result<Vec<(Source, u32)>, Failure> {
    let source = |row: SourceRow| {
        row.used.add_to(&mut used.all);
        if kept {
            used.kept.messages += u64::try_from(row.metered).unwrap_or_default();
            row.used.add_to(&mut used.kept.tokens);
        }
        Ok((
            row::text("messages", "source", &row.source)?,
            rows(row.messages)?,
        ))
    };
    counted.into_iter().map(source).collect()
}

/// Of `results`, those whose task the lease still holds, with their messages; their tasks go. Task
/// and message are looked up by their whole keys, row by row: a planner that has not heard of a
/// new run's many tasks would go through all of a lease's for each result. The campaign's lock,
/// which is held, keeps the messages where they are; a task may move meanwhile, when its lease is
/// renewed, so it goes by its key.
const TAKEN: &str = "taken AS MATERIALIZED (SELECT r.*, m.message, m.source FROM results r \
       CROSS JOIN LATERAL (SELECT lease_id, due_at, campaign_id, run_number FROM generation_tasks \
         WHERE account_id = ? AND message_id = r.id LIMIT 1 FOR UPDATE) t \
       CROSS JOIN LATERAL (SELECT ctid AS message, source FROM messages \
         WHERE account_id = ? AND id = r.id LIMIT 1) m \
       WHERE t.lease_id = ? AND t.due_at >= ? AND t.campaign_id = ? AND t.run_number = ?), \
     gone AS (DELETE FROM generation_tasks WHERE account_id = ? \
       AND message_id = ANY(ARRAY(SELECT id FROM taken)))";

/// Gives [`TAKEN`] its values.
fn taken<'a>(query: Sql<'a, Pg>, settle: &SettleRun) -> Sql<'a, Pg> {
    query
        .bind::<Id, _>(settle.account_id.as_uuid())
        .bind::<Id, _>(settle.account_id.as_uuid())
        .bind::<Id, _>(settle.lease.as_uuid())
        .bind::<Time, _>(settle.now)
        .bind::<Id, _>(settle.campaign_id.as_uuid())
        .bind::<Integer, _>(settle.run_number.get())
        .bind::<Id, _>(settle.account_id.as_uuid())
}

fn store_generated(
    conn: &mut PgConnection,
    settle: &SettleRun,
    to: MessageState,
    used: &mut Used,
) -> Result<Vec<(Source, u32)>, Failure> {
    let (mut ids, mut contents) = (Vec::new(), Vec::new());
    let (mut subjects, mut bodies, mut placeholders) = (Vec::new(), Vec::new(), Vec::new());
    for result in &settle.results {
        if let TaskOutcome::Generated(content) = &result.outcome {
            ids.push(result.message_id.as_uuid());
            contents.push(result.content_id.as_uuid());
            subjects.push(content.subject.as_str());
            bodies.push(content.body.as_str());
            placeholders.push(content.placeholder());
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (account, now) = (settle.account_id.as_uuid(), settle.now);
    let made = |result: &&TaskResult| matches!(result.outcome, TaskOutcome::Generated(_));
    let (prompts, completions, models) = usage_columns(settle.results.iter().filter(made));
    let text = format!(
        "WITH results AS (SELECT DISTINCT ON (r.id) r.* FROM unnest(?::uuid[], ?::uuid[], \
           ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::text[]) \
           AS r(id, content_id, subject, body, placeholder, prompt_tokens, completion_tokens, \
             model)), {TAKEN}, \
         stored AS (INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, \
             created_at, placeholder, prompt_tokens, completion_tokens, model) \
           SELECT ?, content_id, ?, ?, subject, body, ?, placeholder, prompt_tokens, \
             completion_tokens, model FROM taken), \
         moved AS (UPDATE messages m SET content_id = taken.content_id, source = 'generated', \
             reused_from_message_id = NULL, reused_from_run_number = NULL, approvals = '[]', \
             edited_by = NULL, review_status = ?, approval_stage = ?, updated_at = ? \
           FROM taken WHERE m.ctid = taken.message) \
         SELECT source, count(*) AS messages, count(prompt_tokens) AS metered, \
           sum(prompt_tokens)::bigint AS prompt_tokens, \
           sum(completion_tokens)::bigint AS completion_tokens FROM taken GROUP BY source"
    );
    let query = sql(&text)
        .planned_for(ids.len())
        .bind::<Array<Id>, _>(ids)
        .bind::<Array<Id>, _>(contents)
        .bind::<Array<Text>, _>(subjects)
        .bind::<Array<Text>, _>(bodies)
        .bind::<Array<Nullable<Text>>, _>(placeholders)
        .bind::<Array<Nullable<BigInt>>, _>(prompts)
        .bind::<Array<Nullable<BigInt>>, _>(completions)
        .bind::<Array<Nullable<Text>>, _>(models);
    let counted = taken(query, settle)
        .bind::<Id, _>(account)
        .bind::<Id, _>(settle.campaign_id.as_uuid())
        .bind::<Integer, _>(settle.run_number.get())
        .bind::<Time, _>(now)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Nullable<diesel::sql_types::SmallInt>, _>(to.stage().map(i16::from))
        .bind::<Time, _>(now)
        .load::<SourceRow>(conn)?;
    by_source(counted, true, used)
}

fn store_failed(
    conn: &mut PgConnection,
    settle: &SettleRun,
    to: MessageState,
    used: &mut Used,
) -> Result<Vec<(Source, u32)>, Failure> {
    let failure = |result: &TaskResult| match &result.outcome {
        TaskOutcome::Failed { error } => Some((result.message_id.as_uuid(), error.clone())),
        TaskOutcome::Generated(_) | TaskOutcome::RetryAt { .. } | TaskOutcome::PutOff { .. } => {
            None
        }
    };
    let (ids, errors): (Vec<Uuid>, Vec<String>) = settle.results.iter().filter_map(failure).unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |result: &&TaskResult| matches!(result.outcome, TaskOutcome::Failed { .. });
    let (prompts, completions, _models) = usage_columns(settle.results.iter().filter(failed));
    let text = format!(
        "WITH results AS (SELECT DISTINCT ON (r.id) r.* \
           FROM unnest(?::uuid[], ?::text[], ?::bigint[], ?::bigint[]) \
           AS r(id, error, prompt_tokens, completion_tokens)), {TAKEN}, \
         moved AS (UPDATE messages m SET error = taken.error, review_status = ?, updated_at = ? \
           FROM taken WHERE m.ctid = taken.message) \
         SELECT source, count(*) AS messages, count(prompt_tokens) AS metered, \
           sum(prompt_tokens)::bigint AS prompt_tokens, \
           sum(completion_tokens)::bigint AS completion_tokens FROM taken GROUP BY source"
    );
    let query = sql(&text)
        .planned_for(ids.len())
        .bind::<Array<Id>, _>(ids)
        .bind::<Array<Text>, _>(errors)
        .bind::<Array<Nullable<BigInt>>, _>(prompts)
        .bind::<Array<Nullable<BigInt>>, _>(completions);
    let counted = taken(query, settle)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Time, _>(settle.now)
        .load::<SourceRow>(conn)?;
    by_source(counted, false, used)
}
