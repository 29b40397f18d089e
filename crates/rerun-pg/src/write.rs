//! The steps that writing transactions share.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};
use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::audit::{AuditDraft, ChainHead};
use rerun_core::campaign::{Campaign, Standing};
use rerun_core::change::Applied;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, ContentId, JobId, RunNumber, ScheduleId, UserId};
use rerun_core::message::Content;
use rerun_core::run::{MessageCounts, Run};
use rerun_diesel::error::Failure;
use rerun_diesel::row::audit::chain_hash;
use rerun_diesel::row::{CampaignColumns, CampaignRow, RunColumns, RunRow, savings};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::watch::{before_commit, wrote_entry};
use rerun_diesel::{campaign_columns, run_columns};
use uuid::Uuid;

use crate::schema::{campaigns, contents};

/// The most segments of a run or a group that one statement writes. More are written slice by slice in the
/// same transaction: the limit of time applies to each statement, and values are held for one slice only.
pub(crate) const SLICE: usize = 10_000;

/// A count for an `integer` column.
pub(crate) fn int(count: u32) -> Result<i32, StoreError> {
    i32::try_from(count).map_err(|error| StoreError::Backend(error.into()))
}

/// A number of rows that the database counted.
pub(crate) fn rows(count: i64) -> Result<u32, StoreError> {
    u32::try_from(count).map_err(|error| StoreError::Backend(error.into()))
}

/// Whether a transaction has begun.
pub(crate) fn in_transaction(conn: &mut PgConnection) -> Result<bool, Failure> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    Ok(status.transaction_depth()?.is_some())
}

/// Runs a writing transaction, or takes part in the one that has begun. It is taken back when nobody
/// waits for the job any more.
pub(crate) fn transaction<T>(
    conn: &mut PgConnection,
    job: impl FnOnce(&mut PgConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let job = |conn: &mut PgConnection| {
        let done = job(conn)?;
        before_commit().map_err(|silence| StoreError::Unavailable(silence.into()))?;
        Ok(done)
    };
    if in_transaction(conn)? {
        job(conn)
    } else {
        conn.transaction(job)
    }
}

/// The campaign and one of its runs, with the campaign's row locked: whoever writes to a campaign
/// holds this lock, and takes it first.
pub(crate) fn lock_campaign(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    run: RunNumber,
) -> Result<Option<(Campaign, Option<Run>)>, Failure> {
    let row = sql(concat!(
        "SELECT ",
        campaign_columns!(),
        " FROM campaigns c WHERE c.account_id = ? AND c.id = ? FOR UPDATE"
    ))
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .columns::<CampaignColumns>()
    .load::<CampaignRow>(conn)?
    .pop();
    let Some(row) = row else { return Ok(None) };
    // A statement of its own: one that waited for the lock would show the run as it was before.
    let run = sql(concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r WHERE r.account_id = ? AND r.campaign_id = ? AND r.number = ?"
    ))
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(run.get())
    .columns::<RunColumns>()
    .load::<RunRow>(conn)?
    .pop();
    Ok(Some((row.try_into()?, run.map(Run::try_from).transpose()?)))
}

/// Locks the row of a campaign that is still at the version of `seen`.
///
/// # Errors
/// [`StoreError::Conflict`] if it is not.
pub(crate) fn lock_unmoved(conn: &mut PgConnection, seen: &Campaign) -> Result<(), Failure> {
    let locked = campaigns::table
        .find((seen.account_id.as_uuid(), seen.id.as_uuid()))
        .filter(campaigns::version.eq(seen.version))
        .select(campaigns::id)
        .for_update()
        .get_result::<Uuid>(conn);
    locked.optional()?.ok_or(StoreError::Conflict)?;
    Ok(())
}

/// The current run of a campaign that is still at the version of `seen`, its row locked.
pub(crate) fn lock_current(conn: &mut PgConnection, seen: &Campaign) -> Result<Run, Failure> {
    lock_unmoved(conn, seen)?;
    let run = sql(concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r WHERE r.account_id = ? AND r.campaign_id = ? AND r.archived_at IS NULL"
    ))
    .bind::<Id, _>(seen.account_id.as_uuid())
    .bind::<Id, _>(seen.id.as_uuid())
    .columns::<RunColumns>()
    .load::<RunRow>(conn)?
    .pop();
    match run {
        Some(run) => Ok(run.try_into()?),
        None => Err(StoreError::Conflict.into()),
    }
}

/// A single number.
#[derive(QueryableByName)]
pub(crate) struct Value {
    #[diesel(sql_type = BigInt)]
    pub(crate) value: i64,
}

/// Writes what a change of messages came to: run, campaign, audit entry.
pub(crate) fn write_applied(
    conn: &mut PgConnection,
    campaign: &Campaign,
    applied: Applied,
    next_version: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let Applied {
        run,
        campaign_status,
        audit,
        ..
    } = applied;
    let MessageCounts {
        reused,
        generated,
        edited,
        suggested,
        generating,
        failed,
        pending,
        approved,
        rejected,
        published,
    } = run.counts;
    let mut update = sql(
        "WITH run AS (UPDATE runs SET reused = ?, generated = ?, edited = ?, suggested = ?, generating = ?, \
           failed = ?, pending = ?, approved = ?, rejected = ?, published = ?, status = ?, \
           error = ?, completed_at = ? WHERE account_id = ? AND campaign_id = ? AND number = ?) \
         UPDATE campaigns SET status = ?, version = version + ?, updated_at = ? \
         WHERE account_id = ? AND id = ?",
    );
    for count in [
        reused, generated, edited, suggested, generating, failed, pending, approved, rejected,
        published,
    ] {
        update = update.bind::<Integer, _>(int(count)?);
    }
    update
        .bind::<Text, _>(run.status.as_str())
        .bind::<Nullable<Text>, _>(run.error.as_deref())
        .bind::<Nullable<Time>, _>(run.completed_at)
        .bind::<Id, _>(campaign.account_id.as_uuid())
        .bind::<Id, _>(campaign.id.as_uuid())
        .bind::<Integer, _>(run.number.get())
        .bind::<Text, _>(campaign_status.as_str())
        .bind::<BigInt, _>(i64::from(next_version))
        .bind::<Time, _>(now)
        .bind::<Id, _>(campaign.account_id.as_uuid())
        .bind::<Id, _>(campaign.id.as_uuid())
        .execute(conn)?;
    match audit {
        Some(audit) => append_audit(conn, audit),
        None => Ok(()),
    }
}

/// The columns of a campaign that a change of its current run moves.
pub(crate) struct CampaignMove<'a> {
    pub(crate) campaign: &'a Campaign,
    pub(crate) standing: Standing,
    pub(crate) new_segments: i32,
    pub(crate) now: Timestamp,
}

/// Gives a campaign another current run, and the next version.
pub(crate) fn move_campaign(conn: &mut PgConnection, to: &CampaignMove<'_>) -> Result<(), Failure> {
    sql(
        "UPDATE campaigns SET status = ?, current_run_number = ?, last_run_number = ?, \
           last_segment_no = last_segment_no + ?, version = version + 1, updated_at = ? \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Text, _>(to.standing.status.as_str())
    .bind::<Nullable<Integer>, _>(to.standing.current_run.map(RunNumber::get))
    .bind::<Nullable<Integer>, _>(to.standing.last_run.map(RunNumber::get))
    .bind::<Integer, _>(to.new_segments)
    .bind::<Time, _>(to.now)
    .bind::<Id, _>(to.campaign.account_id.as_uuid())
    .bind::<Id, _>(to.campaign.id.as_uuid())
    .execute(conn)?;
    Ok(())
}

/// Adds content that a person wrote.
pub(crate) fn insert_content(
    conn: &mut PgConnection,
    campaign: &Campaign,
    id: ContentId,
    run: RunNumber,
    content: &Content,
    author: Uuid,
    now: Timestamp,
) -> Result<(), Failure> {
    diesel::insert_into(contents::table)
        .values((
            contents::account_id.eq(campaign.account_id.as_uuid()),
            contents::id.eq(id.as_uuid()),
            contents::campaign_id.eq(Some(campaign.id.as_uuid())),
            contents::run_number.eq(run.get()),
            contents::subject.eq(&content.subject),
            contents::body.eq(&content.body),
            contents::created_by.eq(Some(author)),
            contents::created_at.eq(now),
            contents::placeholder.eq(content.placeholder()),
        ))
        .execute(conn)?;
    Ok(())
}

/// Queues messages of a run that are to be generated.
pub(crate) fn queue_messages(
    conn: &mut PgConnection,
    (campaign, run): (&Campaign, RunNumber),
    messages: &[Uuid],
    now: Timestamp,
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    sql(
        "INSERT INTO generation_tasks (account_id, message_id, campaign_id, run_number, due_at) \
         SELECT ?, id, ?, ?, ? FROM unnest(?::uuid[]) AS messages(id)",
    )
    .planned_for(messages.len())
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run.get())
    .bind::<Time, _>(now)
    .bind::<Array<Id>, _>(messages)
    .execute(conn)?;
    Ok(())
}

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
}

/// Appends an entry to its account's chain. Last in a transaction: the head's lock, which all
/// writers of the account need, is held until the commit.
pub(crate) fn append_audit(conn: &mut PgConnection, audit: AuditDraft) -> Result<(), Failure> {
    let account = audit.account_id();
    let head = sql(
        "INSERT INTO audit_heads (account_id, seq, hash) VALUES (?, 0, ?) \
                    ON CONFLICT (account_id) DO UPDATE SET seq = audit_heads.seq \
                    RETURNING seq, hash",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Binary, _>(ChainHead::EMPTY.hash.as_slice())
    .get_result::<HeadRow>(conn)?;
    let head = ChainHead {
        seq: head.seq,
        hash: chain_hash(&head.hash)?,
    };
    let entry = audit.sealed(&head);
    sql(
        "WITH head AS (UPDATE audit_heads SET seq = ?, hash = ? WHERE account_id = ?) \
         INSERT INTO audit_entries (account_id, seq, id, action, campaign_id, run_number, \
           user_id, user_name, role_code, ip, request_id, details, created_at, hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<BigInt, _>(entry.seq)
    .bind::<Binary, _>(entry.hash.as_slice())
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(account.as_uuid())
    .bind::<BigInt, _>(entry.seq)
    .bind::<Id, _>(entry.id.as_uuid())
    .bind::<Text, _>(entry.action.as_str())
    .bind::<Nullable<Id>, _>(entry.campaign_id.map(CampaignId::as_uuid))
    .bind::<Nullable<Integer>, _>(entry.run_number.map(RunNumber::get))
    .bind::<Nullable<Id>, _>(entry.user_id.map(UserId::as_uuid))
    .bind::<Nullable<Text>, _>(entry.user_name.as_deref())
    .bind::<Nullable<Text>, _>(entry.role_code.as_deref())
    .bind::<Nullable<Text>, _>(entry.ip.as_deref())
    .bind::<Nullable<Text>, _>(entry.request_id.as_deref())
    .bind::<Text, _>(entry.details.as_str())
    .bind::<Time, _>(entry.created_at)
    .bind::<Binary, _>(entry.hash.as_slice())
    .execute(conn)?;
    wrote_entry();
    Ok(())
}

/// Adds a run that is current, for the group as it was at this version.
pub(crate) fn insert_run(
    conn: &mut PgConnection,
    campaign: &Campaign,
    run: &Run,
    group_version: i64,
    initiated_ip: Option<String>,
) -> Result<(), Failure> {
    let mut insert = sql(
        "INSERT INTO runs (account_id, campaign_id, number, job_uid, status, \
           synthesised, group_id, group_name, customer_count, resulting_status, initiated_by, \
           initiated_by_name, initiated_ip, schedule_id, previous_run_number, started_at, completed_at, segments_total, \
           segments_matched, segments_new, reused, generated, edited, suggested, generating, failed, \
           pending, approved, rejected, published, saved_customers, saved_prompt_tokens, \
           saved_completion_tokens, metered_messages, metered_prompt_tokens, \
           metered_completion_tokens, group_version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
           ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run.number.get())
    .bind::<Nullable<Id>, _>(run.job_uid.map(JobId::as_uuid))
    .bind::<Text, _>(run.status.as_str())
    .bind::<Bool, _>(run.synthesised)
    .bind::<Id, _>(run.group.id.as_uuid())
    .bind::<Text, _>(run.group.name.as_str())
    .bind::<BigInt, _>(run.customer_count)
    .bind::<Text, _>(run.resulting_status.as_str())
    .bind::<Nullable<Id>, _>(run.initiated_by.map(UserId::as_uuid))
    .bind::<Nullable<Text>, _>(run.initiated_by_name.as_ref().map(UserName::as_str))
    .bind::<Nullable<Text>, _>(initiated_ip)
    .bind::<Nullable<Id>, _>(run.schedule_id.map(ScheduleId::as_uuid))
    .bind::<Nullable<Integer>, _>(run.previous_run.map(RunNumber::get))
    .bind::<Time, _>(run.started_at)
    .bind::<Nullable<Time>, _>(run.completed_at);
    for count in [
        run.segments.total,
        run.segments.matched,
        run.segments.new,
        run.counts.reused,
        run.counts.generated,
        run.counts.edited,
        run.counts.suggested,
        run.counts.generating,
        run.counts.failed,
        run.counts.pending,
        run.counts.approved,
        run.counts.rejected,
        run.counts.published,
    ] {
        insert = insert.bind::<Integer, _>(int(count)?);
    }
    for count in savings(run) {
        insert = insert.bind::<BigInt, _>(count);
    }
    insert.bind::<BigInt, _>(group_version).execute(conn)?;
    Ok(())
}
