//! The steps that writing transactions share.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
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
use rerun_diesel::row::{self, RunColumns, RunRow, json_list, savings};
use rerun_diesel::run_columns;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{At, Id, Time, Uid};
use rerun_diesel::watch::wrote_entry;
use uuid::Uuid;

use crate::schema::{audit_entries, audit_heads, campaigns, contents, segmentations};

/// A single number.
#[derive(QueryableByName)]
pub(crate) struct Value {
    #[diesel(sql_type = BigInt)]
    pub(crate) value: i64,
}

/// A count for an `integer` column of both databases.
pub(crate) fn int(count: u32) -> Result<i32, StoreError> {
    i32::try_from(count).map_err(|error| StoreError::Backend(error.into()))
}

/// A number of rows that the database counted.
pub(crate) fn rows(count: i64) -> Result<u32, StoreError> {
    u32::try_from(count).map_err(|error| StoreError::Backend(error.into()))
}

/// Ids as one blob of 16 bytes each, from which a statement takes the one at a place by `substr`.
pub(crate) fn packed(ids: impl IntoIterator<Item = Uuid>) -> Vec<u8> {
    ids.into_iter().flat_map(Uuid::into_bytes).collect()
}

/// Checks that a campaign is still at the version of `seen`.
///
/// # Errors
/// [`StoreError::Conflict`] if it is not.
pub(crate) fn check_unmoved(conn: &mut SqliteConnection, seen: &Campaign) -> Result<(), Failure> {
    let found = campaigns::table
        .find((Uid(seen.account_id.as_uuid()), Uid(seen.id.as_uuid())))
        .filter(campaigns::version.eq(seen.version))
        .select(campaigns::id)
        .get_result::<Uuid>(conn);
    found.optional()?.ok_or(StoreError::Conflict)?;
    Ok(())
}

/// The current run of a campaign that is still at the version of `seen`.
pub(crate) fn unmoved(conn: &mut SqliteConnection, seen: &Campaign) -> Result<Run, Failure> {
    let run = sql(concat!(
        "SELECT ",
        run_columns!(),
        " FROM campaigns c JOIN runs r ON r.account_id = c.account_id \
           AND r.campaign_id = c.id AND r.number = c.current_run_number \
         WHERE c.account_id = ? AND c.id = ? AND c.version = ?"
    ))
    .bind::<Id, _>(seen.account_id.as_uuid())
    .bind::<Id, _>(seen.id.as_uuid())
    .bind::<BigInt, _>(seen.version)
    .columns::<RunColumns>()
    .load::<RunRow>(conn)?
    .pop();
    match run {
        Some(run) => Ok(run.try_into()?),
        None => Err(StoreError::Conflict.into()),
    }
}

/// Adds a campaign. The run that it names as current must be there at the commit.
pub(crate) fn insert_campaign(
    conn: &mut SqliteConnection,
    campaign: &Campaign,
    last_segment_no: i32,
) -> Result<(), Failure> {
    diesel::insert_into(campaigns::table)
        .values((
            campaigns::account_id.eq(Uid(campaign.account_id.as_uuid())),
            campaigns::id.eq(Uid(campaign.id.as_uuid())),
            campaigns::name.eq(&campaign.name),
            campaigns::customer_group_id.eq(Uid(campaign.customer_group_id.as_uuid())),
            campaigns::segment_by.eq(json_list(campaign.segment_by.fields())),
            campaigns::value_rules.eq(campaign.segment_by.rules_json()),
            campaigns::approval_stages.eq(row::stages_json(&campaign.approval_stages)?),
            campaigns::distinct_reviewers.eq(campaign.distinct_reviewers),
            campaigns::suggest_reruns.eq(campaign.suggest_reruns),
            campaigns::template_subject.eq(&campaign.template.subject),
            campaigns::template_body.eq(&campaign.template.body),
            campaigns::brief.eq(campaign.brief.as_deref()),
            campaigns::status.eq(campaign.status.as_str()),
            campaigns::current_run_number.eq(campaign.current_run.map(RunNumber::get)),
            campaigns::last_run_number.eq(campaign.last_run.map(RunNumber::get)),
            campaigns::last_segment_no.eq(last_segment_no),
            campaigns::version.eq(campaign.version),
            campaigns::created_by.eq(Uid(campaign.created_by.as_uuid())),
            campaigns::created_at.eq(At(campaign.created_at)),
            campaigns::updated_at.eq(At(campaign.updated_at)),
        ))
        .execute(conn)?;
    Ok(())
}

/// Adds a run that is current.
pub(crate) fn insert_run(
    conn: &mut SqliteConnection,
    campaign: &Campaign,
    run: &Run,
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
           ?, ?, ?, ?, ?, ?, \
           (SELECT version FROM customer_groups WHERE account_id = ? AND id = ?))",
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
    insert
        .bind::<Id, _>(campaign.account_id.as_uuid())
        .bind::<Id, _>(run.group.id.as_uuid())
        .execute(conn)?;
    Ok(())
}

/// The columns of a campaign that a change of its current run moves.
pub(crate) struct CampaignMove<'a> {
    pub(crate) campaign: &'a Campaign,
    pub(crate) standing: Standing,
    pub(crate) new_segments: i32,
    pub(crate) now: Timestamp,
}

/// Gives a campaign another current run, and the next version.
pub(crate) fn move_campaign(
    conn: &mut SqliteConnection,
    to: &CampaignMove<'_>,
) -> Result<(), Failure> {
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

/// Writes what a change of messages came to: run, campaign, audit entry.
pub(crate) fn write_applied(
    conn: &mut SqliteConnection,
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
        "UPDATE runs SET reused = ?, generated = ?, edited = ?, suggested = ?, generating = ?, failed = ?, \
           pending = ?, approved = ?, rejected = ?, published = ?, status = ?, error = ?, \
           completed_at = ? WHERE account_id = ? AND campaign_id = ? AND number = ?",
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
        .execute(conn)?;
    sql(
        "UPDATE campaigns SET status = ?, version = version + ?, updated_at = ? \
         WHERE account_id = ? AND id = ?",
    )
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

/// Adds content; `author` is the person who wrote it, if one did.
pub(crate) fn insert_content(
    conn: &mut SqliteConnection,
    campaign: &Campaign,
    id: ContentId,
    run: RunNumber,
    content: &Content,
    author: Option<UserId>,
    now: Timestamp,
) -> Result<(), Failure> {
    diesel::insert_into(contents::table)
        .values((
            contents::account_id.eq(Uid(campaign.account_id.as_uuid())),
            contents::id.eq(Uid(id.as_uuid())),
            contents::campaign_id.eq(Uid(campaign.id.as_uuid())),
            contents::run_number.eq(run.get()),
            contents::subject.eq(&content.subject),
            contents::body.eq(&content.body),
            contents::created_by.eq(author.map(UserId::as_uuid)),
            contents::created_at.eq(At(now)),
            contents::placeholder.eq(content.placeholder()),
        ))
        .execute(conn)?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_heads, check_for_backend(Sqlite))]
struct HeadRow {
    seq: i64,
    hash: Vec<u8>,
}

/// The newest entry of an account's chain.
pub(crate) fn chain_head(
    conn: &mut SqliteConnection,
    account: AccountId,
) -> Result<ChainHead, Failure> {
    let head = audit_heads::table
        .find(Uid(account.as_uuid()))
        .select(HeadRow::as_select())
        .get_result(conn);
    match head.optional()? {
        Some(head) => Ok(ChainHead {
            seq: head.seq,
            hash: chain_hash(&head.hash)?,
        }),
        None => Ok(ChainHead::EMPTY),
    }
}

/// Appends an entry to its account's chain.
pub(crate) fn append_audit(conn: &mut SqliteConnection, audit: AuditDraft) -> Result<(), Failure> {
    let account = audit.account_id();
    let entry = audit.sealed(&chain_head(conn, account)?);
    diesel::insert_into(audit_entries::table)
        .values((
            audit_entries::account_id.eq(Uid(account.as_uuid())),
            audit_entries::seq.eq(entry.seq),
            audit_entries::id.eq(Uid(entry.id.as_uuid())),
            audit_entries::action.eq(&entry.action),
            audit_entries::campaign_id.eq(entry.campaign_id.map(CampaignId::as_uuid)),
            audit_entries::run_number.eq(entry.run_number.map(RunNumber::get)),
            audit_entries::user_id.eq(entry.user_id.map(UserId::as_uuid)),
            audit_entries::user_name.eq(entry.user_name.as_deref()),
            audit_entries::role_code.eq(entry.role_code.as_deref()),
            audit_entries::ip.eq(entry.ip.as_deref()),
            audit_entries::request_id.eq(entry.request_id.as_deref()),
            audit_entries::details.eq(&entry.details),
            audit_entries::created_at.eq(At(entry.created_at)),
            audit_entries::hash.eq(entry.hash.as_slice()),
        ))
        .execute(conn)?;
    sql(
        "INSERT INTO audit_heads (account_id, seq, hash) VALUES (?, ?, ?) \
         ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<BigInt, _>(entry.seq)
    .bind::<Binary, _>(entry.hash.as_slice())
    .execute(conn)?;
    wrote_entry();
    Ok(())
}

/// Drops the counts of segments that are kept for a group.
pub(crate) fn drop_counts(
    conn: &mut SqliteConnection,
    account: Uuid,
    group: Uuid,
) -> Result<(), Failure> {
    let kept = segmentations::table
        .filter(segmentations::account_id.eq(Uid(account)))
        .filter(segmentations::group_id.eq(Uid(group)));
    diesel::delete(kept).execute(conn)?;
    Ok(())
}
