use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::sqlite::Sqlite;
use rerun_core::Timestamp;
use rerun_core::campaign::Template;
use rerun_core::change::{self, Shift};
use rerun_core::error::StoreError;
use rerun_core::generation::{
    Example, GenerationBrief, GenerationTask, Metered, NearestMessage, Settled, SettledRun,
    TaskOutcome, TaskResult, TokenCounts,
};
use rerun_core::ids::{AccountId, CampaignId, LeaseId, MessageId};
use rerun_core::message::{Content, ReviewStatus, Source};
use rerun_core::ports::{CLOCK_TOLERANCE, GenerationQueue, LeaseTasks, SettleRun};
use rerun_core::run::RunStatus;
use rerun_diesel::error::Failure;
use rerun_diesel::row::{KeptValuesRow, NearestRow, ruled_segment_by, run_number, text};
use rerun_diesel::shared::renew;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{At, Id, Time, Uid};
use uuid::Uuid;

use crate::SqliteStore;
use crate::campaigns::find;
use crate::reviews::hex_list;
use crate::schema::{campaigns, contents, messages};
use crate::write::{unmoved, write_applied};

/// The condition that a row of `generation_tasks` is due. A lease is alive up to and including
/// the moment that it was taken until.
const DUE: &str = "due_at <= ? AND (lease_id IS NULL OR due_at < ?)";

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
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Bool)]
    ahead: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = campaigns, check_for_backend(Sqlite))]
struct BriefRow {
    template_subject: String,
    template_body: String,
    brief: Option<String>,
    segment_by: String,
    value_rules: Option<String>,
}

fn brief(
    conn: &mut SqliteConnection,
    account: Uuid,
    campaign: Uuid,
) -> Result<Arc<GenerationBrief>, Failure> {
    let row = campaigns::table
        .find((Uid(account), Uid(campaign)))
        .select(BriefRow::as_select())
        .get_result(conn)?;
    Ok(Arc::new(GenerationBrief {
        template: Template {
            subject: row.template_subject,
            body: row.template_body,
        },
        brief: row.brief,
        segment_by: ruled_segment_by(&row.segment_by, row.value_rules.as_deref())?,
    }))
}

/// Goes from account to account by an index, whatever number of tasks each has.
fn due_accounts(
    conn: &mut SqliteConnection,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<AccountRow>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "WITH RECURSIVE accounts AS ( \
           SELECT * FROM (SELECT account_id FROM generation_tasks WHERE account_id {follows} ? \
             ORDER BY account_id LIMIT 1) \
           UNION ALL SELECT (SELECT t.account_id FROM generation_tasks t \
             WHERE t.account_id > a.account_id ORDER BY t.account_id LIMIT 1) \
           FROM accounts a WHERE a.account_id IS NOT NULL), \
         looked AS (SELECT a.account_id, \
           EXISTS (SELECT 1 FROM generation_tasks t WHERE t.account_id = a.account_id \
              AND t.due_at <= ?) AS due, \
           EXISTS (SELECT 1 FROM generation_tasks t WHERE t.account_id = a.account_id \
              AND coalesce(t.set_at, t.due_at) > ?) AS ahead \
           FROM accounts a WHERE a.account_id IS NOT NULL) \
         SELECT account_id, ahead FROM looked WHERE due OR ahead LIMIT ?"
    );
    let rows = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(now)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<AccountRow>(conn)?;
    Ok(rows)
}

/// After the clock was set back: what was to wait waits for as long from now on.
fn move_times(
    conn: &mut SqliteConnection,
    accounts: Vec<Uuid>,
    now: Timestamp,
) -> Result<(), Failure> {
    for account in accounts {
        sql("UPDATE generation_tasks \
               SET due_at = ? + (due_at - coalesce(set_at, due_at)), set_at = ? \
             WHERE account_id = ? AND coalesce(set_at, due_at) > ?")
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Id, _>(account)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .execute(conn)?;
    }
    Ok(())
}

/// The account's due tasks, those that have been due longest first. It stops at the task whose values reach
/// the limit in bytes. Templates and briefs do not count here.
fn due(conn: &mut SqliteConnection, request: &LeaseTasks) -> Result<Vec<TaskRow>, Failure> {
    let statement = format!(
        "SELECT g.campaign_id, g.run_number, g.message_id, g.failed_attempts, g.put_off_ms, \
           coalesce(s.shared_key, s.key) AS key, s.attributes, s.value_types, \
           m.attributes AS own_attributes \
         FROM generation_tasks g \
         CROSS JOIN messages m ON m.account_id = g.account_id AND m.id = g.message_id \
         CROSS JOIN segments s ON s.account_id = m.account_id \
           AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
         WHERE g.account_id = ? AND {DUE} ORDER BY g.due_at, g.message_id LIMIT ?"
    );
    let found = sql(&statement)
        .bind::<Id, _>(request.account_id.as_uuid())
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now)
        .bind::<BigInt, _>(i64::from(request.limit))
        .load_iter::<TaskRow, DefaultLoadingMode>(conn)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in found {
        let row = row?;
        bytes += row.segment.bytes();
        rows.push(row);
        if bytes >= request.bytes {
            break;
        }
    }
    Ok(rows)
}

fn lease(
    conn: &mut SqliteConnection,
    request: &LeaseTasks,
) -> Result<Vec<GenerationTask>, Failure> {
    let account_id = request.account_id;
    let mut briefs: BTreeMap<Uuid, Arc<GenerationBrief>> = BTreeMap::new();
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for row in due(conn, request)? {
        if bytes >= request.bytes {
            break;
        }
        bytes += row.segment.bytes();
        let brief = if let Some(brief) = briefs.get(&row.campaign_id) {
            Arc::clone(brief)
        } else {
            let brief = brief(conn, account_id.as_uuid(), row.campaign_id)?;
            bytes += u64::try_from(brief.size()).unwrap_or(u64::MAX);
            briefs.insert(row.campaign_id, Arc::clone(&brief));
            brief
        };
        let negative = |column: &str, value: i64| {
            StoreError::corrupt(format!("generation_tasks.{column} is {value}"))
        };
        let failed_attempts = u32::try_from(row.failed_attempts)
            .map_err(|_negative| negative("failed_attempts", row.failed_attempts.into()))?;
        let put_off = u64::try_from(row.put_off_ms)
            .map_err(|_negative| negative("put_off_ms", row.put_off_ms))?;
        tasks.push(GenerationTask {
            account_id,
            campaign_id: CampaignId::new(row.campaign_id),
            run_number: run_number("generation_tasks", row.run_number)?,
            message_id: MessageId::new(row.message_id),
            failed_attempts,
            put_off: Duration::from_millis(put_off),
            attributes: brief.segment_by.shown(row.segment.try_into()?)?,
            example: None,
            brief,
        });
    }
    if tasks.is_empty() {
        return Ok(tasks);
    }
    let statement = format!(
        "UPDATE generation_tasks SET lease_id = ?, due_at = ?, set_at = ? \
         WHERE account_id = ? AND message_id IN ( \
           SELECT message_id FROM generation_tasks WHERE account_id = ? AND {DUE} \
           ORDER BY due_at, message_id LIMIT ?)"
    );
    sql(&statement)
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(request.until)
        .bind::<Time, _>(request.now)
        .bind::<Id, _>(account_id.as_uuid())
        .bind::<Id, _>(account_id.as_uuid())
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now)
        .bind::<BigInt, _>(i64::try_from(tasks.len()).unwrap_or(i64::MAX))
        .execute(conn)?;
    sql(
        "UPDATE runs SET status = ? WHERE status = ? AND account_id = ? \
           AND (campaign_id, number) IN ( \
             SELECT campaign_id, run_number FROM generation_tasks \
             WHERE lease_id = ? AND account_id = ?)",
    )
    .bind::<Text, _>(RunStatus::Processing.as_str())
    .bind::<Text, _>(RunStatus::Queued.as_str())
    .bind::<Id, _>(account_id.as_uuid())
    .bind::<Id, _>(request.lease.as_uuid())
    .bind::<Id, _>(account_id.as_uuid())
    .execute(conn)?;
    Ok(tasks)
}

fn examples(
    conn: &mut SqliteConnection,
    account: AccountId,
    messages: &[MessageId],
) -> Result<Vec<NearestMessage>, Failure> {
    let account = account.as_uuid();
    let longest = i32::try_from(Example::MAX_BYTES).unwrap_or(i32::MAX);
    let rows = sql(
        "SELECT m.id, coalesce(s.shared_key, s.key) AS key, s.attributes, s.value_types, \
           n.attributes AS own_attributes, substr(t.subject, 1, ?) AS subject, \
           substr(t.body, 1, ?) AS body \
         FROM json_each(?) AS w \
         CROSS JOIN messages m ON m.account_id = ? AND m.id = unhex(w.atom) \
         CROSS JOIN messages n ON n.account_id = ? \
           AND n.id = unhex(m.suggestion ->> '$.message_id', '-') \
           AND n.campaign_id = m.campaign_id \
         CROSS JOIN segments s ON s.account_id = ? AND s.campaign_id = n.campaign_id \
           AND s.no = n.segment_no \
         CROSS JOIN contents t ON t.account_id = ? AND t.id = n.content_id",
    )
    .bind::<Integer, _>(longest)
    .bind::<Integer, _>(longest)
    .bind::<Text, _>(hex_list(messages))
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .bind::<Id, _>(account)
    .load::<NearestRow>(conn)?;
    let nearest = rows.into_iter().map(NearestMessage::try_from);
    Ok(nearest.collect::<Result<_, _>>()?)
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
    /// What all calls used.
    used: TokenCounts,
    /// What those used whose content was stored.
    kept: Metered,
}

/// How a message waits in the queue again.
struct Again {
    at: Timestamp,
    /// Attempts that failed.
    failed: i32,
    /// How long it was put off.
    put_off: Duration,
}

impl Settling<'_> {
    /// Takes a message from the queue, or puts it back to be tried again, if the lease holds it.
    fn if_held(
        &mut self,
        conn: &mut SqliteConnection,
        result: &TaskResult,
        again: Option<Again>,
    ) -> Result<bool, Failure> {
        let held = "WHERE account_id = ? AND message_id = ? AND campaign_id = ? \
                    AND run_number = ? AND lease_id = ? AND due_at >= ?";
        let statement = match again {
            None => format!("DELETE FROM generation_tasks {held}"),
            Some(_) => format!(
                "UPDATE generation_tasks SET due_at = ?, set_at = ?, \
                   failed_attempts = failed_attempts + ?, put_off_ms = put_off_ms + ?, \
                   lease_id = NULL {held}"
            ),
        };
        let mut query = sql(&statement);
        if let Some(again) = again {
            let put_off = i64::try_from(again.put_off.as_millis()).unwrap_or(i64::MAX);
            query = query
                .bind::<Time, _>(again.at)
                .bind::<Time, _>(self.settle.now)
                .bind::<Integer, _>(again.failed)
                .bind::<BigInt, _>(put_off);
        }
        let changed = query
            .bind::<Id, _>(self.settle.account_id.as_uuid())
            .bind::<Id, _>(result.message_id.as_uuid())
            .bind::<Id, _>(self.settle.campaign_id.as_uuid())
            .bind::<Integer, _>(self.settle.run_number.get())
            .bind::<Id, _>(self.settle.lease.as_uuid())
            .bind::<Time, _>(self.settle.now)
            .execute(conn)?;
        if changed == 1
            && let Some(usage) = &result.usage
        {
            self.used = self.used.with(usage);
        }
        Ok(changed == 1)
    }

    fn take(&mut self, conn: &mut SqliteConnection, result: &TaskResult) -> Result<(), Failure> {
        match &result.outcome {
            TaskOutcome::RetryAt { at, .. } => {
                let again = Again {
                    at: *at,
                    failed: 1,
                    put_off: Duration::ZERO,
                };
                if self.if_held(conn, result, Some(again))? {
                    self.settled.retried += 1;
                }
            }
            TaskOutcome::PutOff { at, wait, .. } => {
                let again = Again {
                    at: *at,
                    failed: 0,
                    put_off: *wait,
                };
                if self.if_held(conn, result, Some(again))? {
                    self.settled.put_off += 1;
                }
            }
            TaskOutcome::Generated(content) => {
                if self.if_held(conn, result, None)? {
                    self.insert_content(conn, result, content)?;
                    if let Some(usage) = &result.usage {
                        self.kept = self.kept.with(usage);
                    }
                    let before = self.source(conn, result.message_id)?;
                    self.generated(conn, result)?;
                    self.shift(before, ReviewStatus::PendingReview, Source::Generated);
                    self.settled.generated += 1;
                }
            }
            TaskOutcome::Failed { error } => {
                if self.if_held(conn, result, None)? {
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

    fn insert_content(
        &self,
        conn: &mut SqliteConnection,
        result: &TaskResult,
        content: &Content,
    ) -> Result<(), Failure> {
        let usage = result.usage.as_ref();
        diesel::insert_into(contents::table)
            .values((
                contents::account_id.eq(Uid(self.settle.account_id.as_uuid())),
                contents::id.eq(Uid(result.content_id.as_uuid())),
                contents::campaign_id.eq(Uid(self.settle.campaign_id.as_uuid())),
                contents::run_number.eq(self.settle.run_number.get()),
                contents::subject.eq(&content.subject),
                contents::body.eq(&content.body),
                contents::created_at.eq(At(self.settle.now)),
                contents::placeholder.eq(content.placeholder()),
                contents::prompt_tokens.eq(usage.map(|usage| i64::from(usage.prompt_tokens))),
                contents::completion_tokens
                    .eq(usage.map(|usage| i64::from(usage.completion_tokens))),
                contents::model.eq(usage.and_then(|usage| usage.model.as_deref())),
            ))
            .execute(conn)?;
        Ok(())
    }

    /// Adds what the calls used to the run.
    fn add_usage(&self, conn: &mut SqliteConnection) -> Result<(), Failure> {
        if self.used.is_zero() {
            return Ok(());
        }
        let column = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
        sql("UPDATE runs SET prompt_tokens = prompt_tokens + ?, \
               completion_tokens = completion_tokens + ?, \
               metered_messages = metered_messages + ?, \
               metered_prompt_tokens = metered_prompt_tokens + ?, \
               metered_completion_tokens = metered_completion_tokens + ? \
             WHERE account_id = ? AND campaign_id = ? AND number = ?")
        .bind::<BigInt, _>(column(self.used.prompt_tokens))
        .bind::<BigInt, _>(column(self.used.completion_tokens))
        .bind::<BigInt, _>(column(self.kept.messages))
        .bind::<BigInt, _>(column(self.kept.tokens.prompt_tokens))
        .bind::<BigInt, _>(column(self.kept.tokens.completion_tokens))
        .bind::<Id, _>(self.settle.account_id.as_uuid())
        .bind::<Id, _>(self.settle.campaign_id.as_uuid())
        .bind::<Integer, _>(self.settle.run_number.get())
        .execute(conn)?;
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
        let source = messages::table
            .find((
                Uid(self.settle.account_id.as_uuid()),
                Uid(message.as_uuid()),
            ))
            .filter(messages::review_status.eq(ReviewStatus::Generating.as_str()))
            .select(messages::source)
            .get_result::<String>(conn);
        let source = source.optional()?.ok_or_else(|| {
            StoreError::corrupt(format!(
                "generation_tasks: {message} is not to be generated"
            ))
        })?;
        Ok(text("messages", "source", &source)?)
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

/// Stores results. Without `may_end` it returns `None` and stores nothing if they may be the last ones of
/// the run.
fn settle(
    conn: &mut SqliteConnection,
    settle: &SettleRun,
    may_end: bool,
) -> Result<Option<SettledRun>, Failure> {
    let campaign = find(conn, settle.account_id, settle.campaign_id)?
        .filter(|campaign| campaign.current_run == Some(settle.run_number));
    let Some(campaign) = campaign else {
        return Ok(Some(SettledRun::default()));
    };
    let run = unmoved(conn, &campaign)?;
    let left = usize::try_from(run.counts.generating).unwrap_or(usize::MAX);
    if !may_end && left <= settle.results.len() {
        return Ok(None);
    }
    let mut settling = Settling {
        settle,
        settled: Settled::default(),
        shifts: Vec::new(),
        last_error: None,
        used: TokenCounts::default(),
        kept: Metered::default(),
    };
    for result in &settle.results {
        settling.take(conn, result)?;
    }
    settling.add_usage(conn)?;
    let Settling {
        settled,
        shifts,
        last_error: mut error,
        ..
    } = settling;
    if shifts.is_empty() {
        return Ok(Some(SettledRun {
            settled,
            ended: None,
        }));
    }
    // Only the end of the run's generation says why its last message failed.
    let ended = left == shifts.len();
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
    let ended = applied.ended(&campaign);
    write_applied(conn, &campaign, applied, moved, settle.now)?;
    Ok(Some(SettledRun { settled, ended }))
}

fn count(changed: usize) -> u64 {
    u64::try_from(changed).unwrap_or(u64::MAX)
}

#[async_trait]
impl GenerationQueue for SqliteStore {
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        // The lease that follows would wait for them anyway, and then pass over an account for which they queue now.
        let found = self
            .read_after_writers(move |conn| due_accounts(conn, after, limit, now))
            .await?;
        let ahead: Vec<Uuid> = found
            .iter()
            .filter(|row| row.ahead)
            .map(|row| row.account_id)
            .collect();
        if !ahead.is_empty() {
            self.write(move |conn| move_times(conn, ahead, now)).await?;
        }
        Ok(found
            .into_iter()
            .map(|row| AccountId::new(row.account_id))
            .collect())
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        self.write_unsynced(move |conn| lease(conn, &request)).await
    }

    async fn examples(
        &self,
        account: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError> {
        self.readers
            .run(move |conn| examples(conn, account, &messages))
            .await
    }

    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |conn| renew(conn, "generation_tasks", lease, now, until))
            .await
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let held = sql("UPDATE generation_tasks \
                            SET lease_id = NULL, due_at = ?, set_at = NULL WHERE lease_id = ?")
            .bind::<Time, _>(now)
            .bind::<Id, _>(lease.as_uuid())
            .execute(conn)?;
            Ok(count(held))
        })
        .await
    }

    async fn settle(&self, results: SettleRun) -> Result<SettledRun, StoreError> {
        let results = Arc::new(results);
        let part = Arc::clone(&results);
        let stored = self.write_unsynced(move |conn| settle(conn, &part, false));
        if let Some(stored) = stored.await? {
            return Ok(stored);
        }
        let stored = self.write(move |conn| settle(conn, &results, true)).await?;
        Ok(stored.unwrap_or_default())
    }
}
