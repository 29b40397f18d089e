//! Groups that imports changed: the statements, which are the same on both databases.

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber};
use rerun_core::outlook::{Due, RunSegment, Times};
use rerun_core::ports::{NoteOutlook, TakeGroup, TakenGroup};
use uuid::Uuid;

use crate::error::Failure;
use crate::row::segment_key;
use crate::shared::{Append, Look, Shared};
use crate::sql::sql;
use crate::types::{Id, Time};

/// Whether a group is due, and nobody has it under a lease: of [`Times`] `now`, `due_horizon`, `now` and
/// `lease_horizon`.
const CAN_BE_TAKEN: &str = "(due_at <= ? OR due_at > ?) \
     AND (lease_until IS NULL OR lease_until <= ? OR lease_until > ?)";

/// Queues a group that an import changes.
///
/// # Errors
/// [`Failure`].
pub fn queue<C: Shared>(
    conn: &mut C,
    (account, group): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(), Failure> {
    let due = Due::after_import(now);
    sql("INSERT INTO changed_groups \
           (account_id, group_id, imports, due_at, latest_at, attempts) VALUES (?, ?, 1, ?, ?, 0) \
         ON CONFLICT (account_id, group_id) DO UPDATE SET imports = changed_groups.imports + 1, \
           attempts = 0, \
           due_at = CASE WHEN changed_groups.lease_id IS NULL \
               AND changed_groups.latest_at < excluded.due_at \
             THEN changed_groups.latest_at ELSE excluded.due_at END, \
           latest_at = CASE WHEN changed_groups.lease_id IS NULL \
               AND changed_groups.latest_at < excluded.latest_at \
             THEN changed_groups.latest_at ELSE excluded.latest_at END")
    .bind::<Id, _>(account)
    .bind::<Id, _>(group)
    .bind::<Time, _>(due.at)
    .bind::<Time, _>(due.latest)
    .execute(conn)?;
    Ok(())
}

/// See [`accounts_changed`](rerun_core::ports::ChangedGroupQueue::accounts_changed).
///
/// # Errors
/// [`Failure`].
pub fn accounts<C: Shared>(
    conn: &mut C,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
    look: Look,
) -> Result<Vec<AccountId>, Failure> {
    let times = Times::at(now);
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = look(format!(
        "SELECT DISTINCT account_id FROM changed_groups \
         WHERE account_id {follows} ? AND {CAN_BE_TAKEN} ORDER BY account_id LIMIT ?"
    ));
    let accounts = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.due_horizon)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.lease_horizon)
        .bind::<BigInt, _>(i64::from(limit))
        .columns::<(Id,)>()
        .read(conn)?;
    Ok(accounts
        .into_iter()
        .map(|(id,): (Uuid,)| AccountId::new(id))
        .collect())
}

/// See [`take_group`](rerun_core::ports::ChangedGroupQueue::take_group).
///
/// # Errors
/// [`Failure`].
pub fn take<C: Shared>(conn: &mut C, request: TakeGroup) -> Result<Option<TakenGroup>, Failure> {
    let times = Times::at(request.now);
    let account = request.account_id.as_uuid();
    let text = format!(
        "UPDATE changed_groups SET lease_id = ?, lease_until = ?, attempts = attempts + 1 \
         WHERE account_id = ? AND group_id = (SELECT group_id FROM changed_groups \
           WHERE account_id = ? AND {CAN_BE_TAKEN} ORDER BY due_at, group_id LIMIT 1 {}) \
         RETURNING group_id, imports, attempts",
        C::TAKE_FREE
    );
    let taken = sql(&text)
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(times.lease_until)
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.due_horizon)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.lease_horizon)
        .columns::<(Id, BigInt, Integer)>()
        .read::<_, (Uuid, i64, i32)>(conn)?
        .pop();
    Ok(taken.map(|(group, imports, attempts)| TakenGroup {
        account_id: request.account_id,
        group_id: CustomerGroupId::new(group),
        lease: request.lease,
        imports,
        attempt: u32::try_from(attempts).unwrap_or(u32::MAX),
    }))
}

/// See [`renew_group`](rerun_core::ports::ChangedGroupQueue::renew_group).
///
/// # Errors
/// [`Failure`].
pub fn renew<C: Shared>(conn: &mut C, taken: &TakenGroup, now: Timestamp) -> Result<bool, Failure> {
    let renewed = sql("UPDATE changed_groups SET lease_until = ? \
                       WHERE account_id = ? AND group_id = ? AND lease_id = ?")
    .bind::<Time, _>(Times::at(now).lease_until)
    .bind::<Id, _>(taken.account_id.as_uuid())
    .bind::<Id, _>(taken.group_id.as_uuid())
    .bind::<Id, _>(taken.lease.as_uuid())
    .execute(conn)?;
    Ok(renewed > 0)
}

/// See [`leave_group`](rerun_core::ports::ChangedGroupQueue::leave_group).
///
/// # Errors
/// [`Failure`].
pub fn leave<C: Shared>(
    conn: &mut C,
    taken: &TakenGroup,
    again: Option<Timestamp>,
) -> Result<(), Failure> {
    let (account, group) = (taken.account_id.as_uuid(), taken.group_id.as_uuid());
    let ended = match again {
        None => sql("DELETE FROM changed_groups \
                     WHERE account_id = ? AND group_id = ? AND lease_id = ? AND imports = ?"),
        Some(at) => sql("UPDATE changed_groups \
             SET lease_id = NULL, lease_until = NULL, due_at = ?, latest_at = ? \
             WHERE account_id = ? AND group_id = ? AND lease_id = ? AND imports = ?")
        .bind::<Time, _>(at)
        .bind::<Time, _>(at),
    };
    let ended = ended
        .bind::<Id, _>(account)
        .bind::<Id, _>(group)
        .bind::<Id, _>(taken.lease.as_uuid())
        .bind::<BigInt, _>(taken.imports)
        .execute(conn)?;
    if ended == 0 {
        // It was imported into meanwhile.
        sql(
            "UPDATE changed_groups SET lease_id = NULL, lease_until = NULL \
             WHERE account_id = ? AND group_id = ? AND lease_id = ?",
        )
        .bind::<Id, _>(account)
        .bind::<Id, _>(group)
        .bind::<Id, _>(taken.lease.as_uuid())
        .execute(conn)?;
    }
    Ok(())
}

/// See [`published_for`](rerun_core::ports::ChangedGroupQueue::published_for).
///
/// # Errors
/// [`Failure`].
pub fn published<C: Shared>(
    conn: &mut C,
    (account, group): (AccountId, CustomerGroupId),
    after: Option<CampaignId>,
    limit: u32,
) -> Result<Vec<CampaignId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "SELECT r.campaign_id FROM runs r \
         JOIN campaigns c ON c.account_id = ? AND c.id = r.campaign_id \
         WHERE r.account_id = ? AND r.group_id = ? AND r.archived_at IS NULL \
           AND c.status = 'Published' AND c.suggest_reruns AND r.campaign_id {follows} ? \
         ORDER BY r.campaign_id LIMIT ?"
    );
    let campaigns = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .bind::<Id, _>(after.map_or(Uuid::nil(), CampaignId::as_uuid))
        .bind::<BigInt, _>(i64::from(limit))
        .columns::<(Id,)>()
        .read(conn)?;
    Ok(campaigns
        .into_iter()
        .map(|(id,): (Uuid,)| CampaignId::new(id))
        .collect())
}

/// See [`run_segments`](rerun_core::ports::ChangedGroupQueue::run_segments).
///
/// # Errors
/// [`Failure`].
pub fn run_segments<C: Shared>(
    conn: &mut C,
    (account, campaign): (AccountId, CampaignId),
    run: RunNumber,
) -> Result<Vec<RunSegment>, Failure> {
    let segments = sql(
        "SELECT COALESCE(s.shared_key, s.key), m.customer_count FROM messages m \
         JOIN segments s ON s.account_id = ? AND s.campaign_id = ? AND s.no = m.segment_no \
         WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ?",
    )
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(run.get())
    .columns::<(Binary, BigInt)>()
    .read::<_, (Vec<u8>, i64)>(conn)?;
    let segment = |(key, customer_count): (Vec<u8>, i64)| {
        let key = segment_key(&key)?;
        Ok(RunSegment {
            key,
            customer_count,
        })
    };
    segments.into_iter().map(segment).collect()
}

/// See [`note_outlook`](rerun_core::ports::ChangedGroupQueue::note_outlook).
///
/// # Errors
/// [`Failure`].
pub fn note<C: Shared>(
    conn: &mut C,
    note: NoteOutlook,
    append: Append<C>,
) -> Result<bool, Failure> {
    let account = note.campaign.account_id.as_uuid();
    let id = note.campaign.id.as_uuid();
    let digest = note.digest.as_ref().map(<[u8; 32]>::as_slice);
    let noted = sql("UPDATE campaigns SET suggested = ? \
         WHERE account_id = ? AND id = ? AND version = ? AND suggested IS DISTINCT FROM ?")
    .bind::<Nullable<Binary>, _>(digest)
    .bind::<Id, _>(account)
    .bind::<Id, _>(id)
    .bind::<BigInt, _>(note.campaign.version)
    .bind::<Nullable<Binary>, _>(digest)
    .execute(conn)?;
    if noted == 0 {
        let same = sql("SELECT version FROM campaigns \
                        WHERE account_id = ? AND id = ? AND version = ?")
        .bind::<Id, _>(account)
        .bind::<Id, _>(id)
        .bind::<BigInt, _>(note.campaign.version)
        .columns::<(BigInt,)>()
        .read::<_, (i64,)>(conn)?;
        return if same.is_empty() {
            Err(StoreError::Conflict.into())
        } else {
            Ok(false)
        };
    }
    if let Some(audit) = note.audit {
        append(conn, audit)?;
    }
    Ok(true)
}
