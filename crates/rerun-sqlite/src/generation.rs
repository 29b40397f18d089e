use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::Timestamp;
use rerun_core::campaign::Template;
use rerun_core::change::{self, Shift};
use rerun_core::error::StoreError;
use rerun_core::generation::{GenerationBrief, GenerationTask, Settled, TaskOutcome, TaskResult};
use rerun_core::ids::{AccountId, CampaignId, LeaseId, MessageId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::ports::{GenerationQueue, SettleRun};
use rerun_core::run::RunStatus;
use rerun_core::segment::Attributes;
use rerun_diesel::error::Failure;
use rerun_diesel::row::{run_number, segment_by, text};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::SqliteStore;
use crate::campaigns::find;
use crate::write::{Value, insert_content, unmoved, write_applied};

/// The condition that a row of `generation_tasks` is due. A lease is alive up to and including
/// the moment that it was taken until.
const DUE: &str = "due_at <= ? AND (lease_id IS NULL OR due_at < ?)";

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
    #[diesel(sql_type = Text)]
    template_subject: String,
    #[diesel(sql_type = Text)]
    template_body: String,
    #[diesel(sql_type = Nullable<Text>)]
    brief: Option<String>,
    #[diesel(sql_type = Text)]
    segment_by: String,
}

fn brief(
    conn: &mut SqliteConnection,
    account: Uuid,
    campaign: Uuid,
) -> Result<Arc<GenerationBrief>, Failure> {
    let row = sql(
        "SELECT template_subject, template_body, brief, segment_by FROM campaigns \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign)
    .get_result::<BriefRow>(conn)?;
    Ok(Arc::new(GenerationBrief {
        template: Template {
            subject: row.template_subject,
            body: row.template_body,
        },
        brief: row.brief,
        segment_by: segment_by(&row.segment_by)?,
    }))
}

fn lease(
    conn: &mut SqliteConnection,
    lease: LeaseId,
    limit: u32,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<GenerationTask>, Failure> {
    let statement = format!(
        "SELECT g.account_id, g.campaign_id, g.run_number, g.message_id, g.failed_attempts, \
           s.attributes \
         FROM generation_tasks g \
         CROSS JOIN messages m ON m.account_id = g.account_id AND m.id = g.message_id \
         CROSS JOIN segments s ON s.account_id = m.account_id \
           AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
         WHERE {DUE} ORDER BY g.due_at, g.message_id LIMIT ?"
    );
    let rows = sql(&statement)
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<TaskRow>(conn)?;
    let mut briefs: BTreeMap<(Uuid, Uuid), Arc<GenerationBrief>> = BTreeMap::new();
    let mut tasks = Vec::with_capacity(rows.len());
    for row in rows {
        let campaign = (row.account_id, row.campaign_id);
        let brief = if let Some(brief) = briefs.get(&campaign) {
            Arc::clone(brief)
        } else {
            let brief = brief(conn, row.account_id, row.campaign_id)?;
            briefs.insert(campaign, Arc::clone(&brief));
            brief
        };
        let failed_attempts = u32::try_from(row.failed_attempts).map_err(|_negative| {
            StoreError::corrupt(format!(
                "generation_tasks.failed_attempts is {}",
                row.failed_attempts
            ))
        })?;
        tasks.push(GenerationTask {
            account_id: AccountId::new(row.account_id),
            campaign_id: CampaignId::new(row.campaign_id),
            run_number: run_number("generation_tasks", row.run_number)?,
            message_id: MessageId::new(row.message_id),
            failed_attempts,
            attributes: Attributes::from_stored(row.attributes),
            brief,
        });
    }
    let statement = format!(
        "UPDATE generation_tasks SET lease_id = ?, due_at = ? \
         WHERE (account_id, message_id) IN ( \
           SELECT account_id, message_id FROM generation_tasks WHERE {DUE} \
           ORDER BY due_at, message_id LIMIT ?)"
    );
    sql(&statement)
        .bind::<Id, _>(lease.as_uuid())
        .bind::<Time, _>(until)
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<BigInt, _>(i64::from(limit))
        .execute(conn)?;
    sql(
        "UPDATE runs SET status = ? WHERE status = ? AND (account_id, campaign_id, number) IN ( \
           SELECT account_id, campaign_id, run_number FROM generation_tasks WHERE lease_id = ?)",
    )
    .bind::<Text, _>(RunStatus::Processing.as_str())
    .bind::<Text, _>(RunStatus::Queued.as_str())
    .bind::<Id, _>(lease.as_uuid())
    .execute(conn)?;
    Ok(tasks)
}

#[derive(QueryableByName)]
struct SourceRow {
    #[diesel(sql_type = Text)]
    source: String,
}

#[derive(QueryableByName)]
struct ErrorRow {
    #[diesel(sql_type = Text)]
    error: String,
}

/// A worker's results on their way into the database.
struct Settling<'a> {
    settle: &'a SettleRun,
    settled: Settled,
    shifts: Vec<Shift>,
    last_error: Option<String>,
}

impl Settling<'_> {
    /// Takes a message from the queue, or puts it back to be tried again, if the lease holds it.
    fn if_held(
        &self,
        conn: &mut SqliteConnection,
        message: MessageId,
        again_at: Option<Timestamp>,
    ) -> Result<bool, Failure> {
        let held = "WHERE account_id = ? AND message_id = ? AND campaign_id = ? \
                    AND run_number = ? AND lease_id = ? AND due_at >= ?";
        let statement = match again_at {
            None => format!("DELETE FROM generation_tasks {held}"),
            Some(_) => format!(
                "UPDATE generation_tasks SET due_at = ?, failed_attempts = failed_attempts + 1, \
                   lease_id = NULL {held}"
            ),
        };
        let mut query = sql(&statement);
        if let Some(at) = again_at {
            query = query.bind::<Time, _>(at);
        }
        let changed = query
            .bind::<Id, _>(self.settle.account_id.as_uuid())
            .bind::<Id, _>(message.as_uuid())
            .bind::<Id, _>(self.settle.campaign_id.as_uuid())
            .bind::<Integer, _>(self.settle.run_number.get())
            .bind::<Id, _>(self.settle.lease.as_uuid())
            .bind::<Time, _>(self.settle.now)
            .execute(conn)?;
        Ok(changed == 1)
    }

    fn take(&mut self, conn: &mut SqliteConnection, result: &TaskResult) -> Result<(), Failure> {
        match &result.outcome {
            TaskOutcome::RetryAt { at, .. } => {
                if self.if_held(conn, result.message_id, Some(*at))? {
                    self.settled.retried += 1;
                }
            }
            TaskOutcome::Generated(content) => {
                if self.if_held(conn, result.message_id, None)? {
                    insert_content(
                        conn,
                        self.settle.account_id,
                        result.content_id,
                        self.settle.run_number,
                        content,
                        None,
                        self.settle.now,
                    )?;
                    let before = self.source(conn, result.message_id)?;
                    self.generated(conn, result)?;
                    self.shift(before, ReviewStatus::PendingReview, Source::Generated);
                    self.settled.generated += 1;
                }
            }
            TaskOutcome::Failed { error } => {
                if self.if_held(conn, result.message_id, None)? {
                    let before = self.source(conn, result.message_id)?;
                    self.failed(conn, result.message_id, error)?;
                    self.shift(before, ReviewStatus::GenerationFailed, before);
                    self.settled.failed += 1;
                    self.last_error = Some(error.clone());
                }
            }
        }
        Ok(())
    }

    fn shift(&mut self, before: Source, status: ReviewStatus, source: Source) {
        self.shifts.push(Shift {
            from: (ReviewStatus::Generating, before),
            to: (status, source),
            messages: 1,
        });
    }

    /// The source of a message that is to be generated.
    fn source(&self, conn: &mut SqliteConnection, message: MessageId) -> Result<Source, Failure> {
        let row = sql(
            "SELECT source FROM messages WHERE account_id = ? AND id = ? AND review_status = ?",
        )
        .bind::<Id, _>(self.settle.account_id.as_uuid())
        .bind::<Id, _>(message.as_uuid())
        .bind::<Text, _>(ReviewStatus::Generating.as_str())
        .load::<SourceRow>(conn)?
        .pop()
        .ok_or_else(|| {
            StoreError::corrupt(format!(
                "generation_tasks: {message} is not to be generated"
            ))
        })?;
        Ok(text("messages", "source", &row.source)?)
    }

    fn generated(&self, conn: &mut SqliteConnection, result: &TaskResult) -> Result<(), Failure> {
        sql(
            "UPDATE messages SET content_id = ?, review_status = ?, approval_stage = 0, \
               source = ?, reused_from_message_id = NULL, reused_from_run_number = NULL, \
               approvals = '[]', edited_by = NULL, updated_at = ? \
             WHERE account_id = ? AND id = ?",
        )
        .bind::<Id, _>(result.content_id.as_uuid())
        .bind::<Text, _>(ReviewStatus::PendingReview.as_str())
        .bind::<Text, _>(Source::Generated.as_str())
        .bind::<Time, _>(self.settle.now)
        .bind::<Id, _>(self.settle.account_id.as_uuid())
        .bind::<Id, _>(result.message_id.as_uuid())
        .execute(conn)?;
        Ok(())
    }

    fn failed(
        &self,
        conn: &mut SqliteConnection,
        message: MessageId,
        error: &str,
    ) -> Result<(), Failure> {
        sql(
            "UPDATE messages SET review_status = ?, error = ?, updated_at = ? \
             WHERE account_id = ? AND id = ?",
        )
        .bind::<Text, _>(ReviewStatus::GenerationFailed.as_str())
        .bind::<Text, _>(error)
        .bind::<Time, _>(self.settle.now)
        .bind::<Id, _>(self.settle.account_id.as_uuid())
        .bind::<Id, _>(message.as_uuid())
        .execute(conn)?;
        Ok(())
    }
}

/// The error of the message of a run that was given up last.
fn last_error(conn: &mut SqliteConnection, settle: &SettleRun) -> Result<Option<String>, Failure> {
    let row = sql(
        "SELECT error FROM messages INDEXED BY messages_one_per_segment \
         WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND error IS NOT NULL \
         ORDER BY updated_at DESC LIMIT 1",
    )
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.campaign_id.as_uuid())
    .bind::<Integer, _>(settle.run_number.get())
    .load::<ErrorRow>(conn)?
    .pop();
    Ok(row.map(|row| row.error))
}

fn settle(conn: &mut SqliteConnection, settle: &SettleRun) -> Result<Settled, Failure> {
    let campaign = find(conn, settle.account_id, settle.campaign_id)?
        .filter(|campaign| campaign.current_run == Some(settle.run_number));
    let Some(campaign) = campaign else {
        return Ok(Settled::default());
    };
    let run = unmoved(conn, &campaign)?;
    let mut settling = Settling {
        settle,
        settled: Settled::default(),
        shifts: Vec::new(),
        last_error: None,
    };
    for result in &settle.results {
        settling.take(conn, result)?;
    }
    let Settling {
        settled,
        shifts,
        last_error: mut error,
        ..
    } = settling;
    if shifts.is_empty() {
        return Ok(settled);
    }
    // Only the end of the run's generation says why its last message failed.
    let ended = usize::try_from(run.counts.generating).ok() == Some(shifts.len());
    if ended && error.is_none() {
        error = last_error(conn, settle)?;
    }
    let applied = change::generated(
        &campaign,
        run,
        &shifts,
        error.as_deref(),
        settle.audit_id,
        settle.now,
    )?;
    let moved = applied.campaign_status != campaign.status;
    write_applied(conn, &campaign, applied, moved, settle.now)?;
    Ok(settled)
}

fn count(changed: usize) -> u64 {
    u64::try_from(changed).unwrap_or(u64::MAX)
}

#[async_trait]
impl GenerationQueue for SqliteStore {
    async fn lease(
        &self,
        lease_id: LeaseId,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<GenerationTask>, StoreError> {
        // Idle workers ask often; they need not take turns with those who write.
        let due = self.readers.run(move |conn| {
            let statement = format!("SELECT 1 AS value FROM generation_tasks WHERE {DUE} LIMIT 1");
            let found = sql(&statement)
                .bind::<Time, _>(now)
                .bind::<Time, _>(now)
                .load::<Value>(conn)?;
            Ok(!found.is_empty())
        });
        if !due.await? {
            return Ok(Vec::new());
        }
        self.write(move |conn| lease(conn, lease_id, limit, now, until))
            .await
    }

    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let held =
                sql("UPDATE generation_tasks SET due_at = ? WHERE lease_id = ? AND due_at >= ?")
                    .bind::<Time, _>(until)
                    .bind::<Id, _>(lease.as_uuid())
                    .bind::<Time, _>(now)
                    .execute(conn)?;
            Ok(count(held))
        })
        .await
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let held = sql("UPDATE generation_tasks SET lease_id = NULL, due_at = ? \
                            WHERE lease_id = ?")
            .bind::<Time, _>(now)
            .bind::<Id, _>(lease.as_uuid())
            .execute(conn)?;
            Ok(count(held))
        })
        .await
    }

    async fn settle(&self, results: SettleRun) -> Result<Settled, StoreError> {
        self.write(move |conn| settle(conn, &results)).await
    }
}
