use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::campaign::Template;
use rerun_core::change::{Shift, generated};
use rerun_core::error::StoreError;
use rerun_core::generation::{GenerationBrief, GenerationTask, Settled, TaskOutcome, TaskResult};
use rerun_core::ids::{AccountId, CampaignId, LeaseId, MessageId};
use rerun_core::message::{MessageCommand, MessageState, ReviewStatus, Source};
use rerun_core::ports::{GenerationQueue, SettleRun};
use rerun_core::run::Run;
use rerun_core::segment::Attributes;
use rerun_diesel::error::Failure;
use rerun_diesel::row;
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::PgStore;
use crate::write::{lock_campaign, rows, transaction, write_applied};

#[derive(QueryableByName)]
struct TaskRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Id)]
    campaign_id: Uuid,
    #[diesel(sql_type = Integer)]
    run_number: i32,
    #[diesel(sql_type = Id)]
    message_id: Uuid,
    #[diesel(sql_type = Integer)]
    failed_attempts: i32,
    #[diesel(sql_type = Text)]
    attributes: String,
}

#[derive(QueryableByName)]
struct BriefRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    segment_by: String,
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
            segment_by: row::segment_by(&row.segment_by)?,
        })
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[async_trait]
impl GenerationQueue for PgStore {
    async fn lease(
        &self,
        lease: LeaseId,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<GenerationTask>, StoreError> {
        self.db
            .run(move |conn| {
                let tasks = take(conn, lease, limit, now, until)?;
                if tasks.is_empty() {
                    return Ok(Vec::new());
                }
                begin_runs(conn, &tasks)?;
                with_briefs(conn, tasks)
            })
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
                let held = sql("UPDATE generation_tasks SET due_at = ? \
                                WHERE lease_id = ? AND due_at >= ?")
                .bind::<Time, _>(until)
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
                let released = sql("UPDATE generation_tasks SET lease_id = NULL, due_at = ? \
                                    WHERE lease_id = ?")
                .bind::<Time, _>(now)
                .bind::<Id, _>(lease.as_uuid())
                .execute(conn)?;
                Ok(count(released))
            })
            .await
    }

    async fn settle(&self, settle: SettleRun) -> Result<Settled, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store_results(conn, &settle)))
            .await
    }
}

/// One statement, so that the rows are locked for as short as can be; rows that another worker
/// is taking at this moment are passed over.
fn take(
    conn: &mut PgConnection,
    lease: LeaseId,
    limit: u32,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<TaskRow>, Failure> {
    let tasks = sql(
        "WITH taken AS (UPDATE generation_tasks t SET lease_id = ?, due_at = ? \
           WHERE t.ctid = ANY(ARRAY(SELECT ctid FROM generation_tasks \
             WHERE due_at <= ? AND (lease_id IS NULL OR due_at < ?) \
             ORDER BY due_at, message_id LIMIT ? FOR UPDATE SKIP LOCKED)) \
           RETURNING t.account_id, t.campaign_id, t.run_number, t.message_id, t.failed_attempts) \
         SELECT taken.*, s.attributes FROM taken \
         JOIN LATERAL (SELECT segment_no FROM messages m WHERE m.account_id = taken.account_id \
           AND m.id = taken.message_id LIMIT 1) m ON true \
         JOIN LATERAL (SELECT attributes FROM segments s WHERE s.account_id = taken.account_id \
           AND s.campaign_id = taken.campaign_id AND s.no = m.segment_no LIMIT 1) s ON true \
         ORDER BY taken.message_id",
    )
    .bind::<Id, _>(lease.as_uuid())
    .bind::<Time, _>(until)
    .bind::<Time, _>(now)
    .bind::<Time, _>(now)
    .bind::<BigInt, _>(i64::from(limit))
    .load::<TaskRow>(conn)?;
    Ok(tasks)
}

/// After the lease, not with it: a lease holds no lock while it waits for another.
fn begin_runs(conn: &mut PgConnection, tasks: &[TaskRow]) -> Result<(), Failure> {
    let runs: BTreeSet<(Uuid, Uuid, i32)> = tasks
        .iter()
        .map(|task| (task.account_id, task.campaign_id, task.run_number))
        .collect();
    for (account, campaign, run) in runs {
        sql(
            "UPDATE runs SET status = 'Processing' WHERE account_id = ? AND campaign_id = ? \
               AND number = ? AND status = 'Queued'",
        )
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign)
        .bind::<Integer, _>(run)
        .execute(conn)?;
    }
    Ok(())
}

fn with_briefs(
    conn: &mut PgConnection,
    tasks: Vec<TaskRow>,
) -> Result<Vec<GenerationTask>, Failure> {
    let campaigns: BTreeSet<(Uuid, Uuid)> = tasks
        .iter()
        .map(|task| (task.account_id, task.campaign_id))
        .collect();
    let (accounts, ids): (Vec<Uuid>, Vec<Uuid>) = campaigns.into_iter().unzip();
    let briefs = sql(
        "SELECT c.* FROM unnest(?::uuid[], ?::uuid[]) AS w(account_id, id) \
         JOIN LATERAL (SELECT account_id, id, segment_by, template_subject, template_body, brief \
           FROM campaigns WHERE account_id = w.account_id AND id = w.id LIMIT 1) c ON true",
    )
    .bind::<Array<Id>, _>(accounts)
    .bind::<Array<Id>, _>(ids)
    .load::<BriefRow>(conn)?
    .into_iter()
    .map(|row| {
        Ok((
            (row.account_id, row.id),
            Arc::new(GenerationBrief::try_from(row)?),
        ))
    })
    .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
    let task = |row: TaskRow| {
        let brief = briefs
            .get(&(row.account_id, row.campaign_id))
            .ok_or_else(|| StoreError::corrupt("generation_tasks: a task without a campaign"))?;
        Ok(GenerationTask {
            account_id: AccountId::new(row.account_id),
            campaign_id: CampaignId::new(row.campaign_id),
            run_number: row::run_number("generation_tasks", row.run_number)?,
            message_id: MessageId::new(row.message_id),
            failed_attempts: u32::try_from(row.failed_attempts).unwrap_or_default(),
            attributes: Attributes::from_stored(row.attributes),
            brief: Arc::clone(brief),
        })
    };
    tasks.into_iter().map(task).collect()
}

fn store_results(conn: &mut PgConnection, settle: &SettleRun) -> Result<Settled, Failure> {
    let locked = lock_campaign(
        conn,
        settle.account_id,
        settle.campaign_id,
        settle.run_number,
    )?;
    let Some((campaign, Some(run))) = locked else {
        return Ok(Settled::default());
    };
    let stages = &campaign.approval_stages;
    let from = MessageState::Generating;
    let reviewed = from
        .apply(MessageCommand::Generated, stages)
        .map_err(illegal)?;
    let given_up = from
        .apply(MessageCommand::GenerationFailed, stages)
        .map_err(illegal)?;
    let retried = retry(conn, settle)?;
    let stored = store_generated(conn, settle, reviewed)?;
    let failed = store_failed(conn, settle, given_up)?;
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
        failed: sum(&failed),
    };
    if shifts.is_empty() {
        return Ok(settled);
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
    write_applied(conn, &campaign, applied, next_version, settle.now)?;
    Ok(settled)
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

fn retry(conn: &mut PgConnection, settle: &SettleRun) -> Result<u32, Failure> {
    let again = |result: &TaskResult| match &result.outcome {
        TaskOutcome::RetryAt { at, .. } => Some((result.message_id.as_uuid(), *at)),
        TaskOutcome::Generated(_) | TaskOutcome::Failed { .. } => None,
    };
    let (ids, times): (Vec<Uuid>, Vec<Timestamp>) = settle.results.iter().filter_map(again).unzip();
    if ids.is_empty() {
        return Ok(0);
    }
    let retried = sql(
        "UPDATE generation_tasks t SET lease_id = NULL, due_at = r.at, \
           failed_attempts = t.failed_attempts + 1 \
         FROM unnest(?::uuid[], ?::timestamptz[]) AS r(id, at) \
         WHERE t.account_id = ? AND t.message_id = r.id AND t.lease_id = ? AND t.due_at >= ? \
             AND t.campaign_id = ? AND t.run_number = ?",
    )
    .planned_anew()
    .bind::<Array<Id>, _>(ids)
    .bind::<Array<Time>, _>(times)
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.lease.as_uuid())
    .bind::<Time, _>(settle.now)
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .execute(conn)?;
    u32::try_from(retried).map_err(|error| StoreError::Backend(error.into()).into())
}

#[derive(QueryableByName)]
struct SourceRow {
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = BigInt)]
    messages: i64,
}

fn by_source(counted: Vec<SourceRow>) -> Result<Vec<(Source, u32)>, Failure> {
    let source = |row: SourceRow| {
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
    let text = format!(
        "WITH results AS (SELECT DISTINCT ON (r.id) r.* FROM unnest(?::uuid[], ?::uuid[], ?::text[], ?::text[], ?::text[]) \
           AS r(id, content_id, subject, body, placeholder)), {TAKEN}, \
         stored AS (INSERT INTO contents (account_id, id, run_number, subject, body, created_at, \
             placeholder) \
           SELECT ?, content_id, ?, subject, body, ?, placeholder FROM taken), \
         moved AS (UPDATE messages m SET content_id = taken.content_id, source = 'generated', \
             reused_from_message_id = NULL, reused_from_run_number = NULL, approvals = '[]', \
             edited_by = NULL, review_status = ?, approval_stage = ?, updated_at = ? \
           FROM taken WHERE m.ctid = taken.message) \
         SELECT source, count(*) AS messages FROM taken GROUP BY source"
    );
    let query = sql(&text)
        .planned_for(ids.len())
        .bind::<Array<Id>, _>(ids)
        .bind::<Array<Id>, _>(contents)
        .bind::<Array<Text>, _>(subjects)
        .bind::<Array<Text>, _>(bodies)
        .bind::<Array<Nullable<Text>>, _>(placeholders);
    let counted = taken(query, settle)
        .bind::<Id, _>(account)
        .bind::<Integer, _>(settle.run_number.get())
        .bind::<Time, _>(now)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Nullable<diesel::sql_types::SmallInt>, _>(to.stage().map(i16::from))
        .bind::<Time, _>(now)
        .load::<SourceRow>(conn)?;
    by_source(counted)
}

fn store_failed(
    conn: &mut PgConnection,
    settle: &SettleRun,
    to: MessageState,
) -> Result<Vec<(Source, u32)>, Failure> {
    let failure = |result: &TaskResult| match &result.outcome {
        TaskOutcome::Failed { error } => Some((result.message_id.as_uuid(), error.clone())),
        TaskOutcome::Generated(_) | TaskOutcome::RetryAt { .. } => None,
    };
    let (ids, errors): (Vec<Uuid>, Vec<String>) = settle.results.iter().filter_map(failure).unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "WITH results AS (SELECT DISTINCT ON (r.id) r.* FROM unnest(?::uuid[], ?::text[]) AS r(id, error)), {TAKEN}, \
         moved AS (UPDATE messages m SET error = taken.error, review_status = ?, updated_at = ? \
           FROM taken WHERE m.ctid = taken.message) \
         SELECT source, count(*) AS messages FROM taken GROUP BY source"
    );
    let query = sql(&text)
        .planned_for(ids.len())
        .bind::<Array<Id>, _>(ids)
        .bind::<Array<Text>, _>(errors);
    let counted = taken(query, settle)
        .bind::<Text, _>(to.status().as_str())
        .bind::<Time, _>(settle.now)
        .load::<SourceRow>(conn)?;
    by_source(counted)
}
