use async_trait::async_trait;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable};
use diesel::{RunQueryDsl, SqliteConnection};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber};
use rerun_core::outlook::{Due, RunSegment, Times};
use rerun_core::ports::{ChangedGroupQueue, NoteOutlook, TakeGroup, TakenGroup};
use rerun_diesel::changed_groups::{
    AGAIN_GROUP, AccountRow, CampaignIdRow, DROP_GROUP, FREE_GROUP, IS_AT_VERSION, NOTE_OUTLOOK,
    QUEUE_GROUP, RENEW_GROUP, RUN_SEGMENTS, RunSegmentRow, TakenRow, accounts_sql, published_sql,
    take_sql,
};
use rerun_diesel::error::Failure;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::SqliteStore;
use crate::write::{Value, append_audit};

/// Queues a group that an import changes.
pub(crate) fn queue_group(
    conn: &mut SqliteConnection,
    (account, group): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(), Failure> {
    let due = Due::after_import(now);
    sql(QUEUE_GROUP)
        .bind::<Id, _>(account)
        .bind::<Id, _>(group)
        .bind::<Time, _>(due.at)
        .bind::<Time, _>(due.latest)
        .execute(conn)?;
    Ok(())
}

fn accounts(
    conn: &mut SqliteConnection,
    after: Option<AccountId>,
    limit: u32,
    times: &Times,
) -> Result<Vec<AccountId>, Failure> {
    let text = accounts_sql(if after.is_some() { ">" } else { ">=" });
    let rows = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.due_horizon)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.lease_horizon)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<AccountRow>(conn)?;
    Ok(rows.into_iter().map(AccountId::from).collect())
}

fn take(conn: &mut SqliteConnection, request: TakeGroup) -> Result<Option<TakenGroup>, Failure> {
    let times = Times::at(request.now);
    let account = request.account_id.as_uuid();
    let row = sql(&take_sql(""))
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(times.lease_until)
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.due_horizon)
        .bind::<Time, _>(times.now)
        .bind::<Time, _>(times.lease_horizon)
        .load::<TakenRow>(conn)?
        .pop();
    Ok(row.map(|row| row.taken(request)))
}

fn renew(conn: &mut SqliteConnection, taken: &TakenGroup, now: Timestamp) -> Result<bool, Failure> {
    let renewed = sql(RENEW_GROUP)
        .bind::<Time, _>(Times::at(now).lease_until)
        .bind::<Id, _>(taken.account_id.as_uuid())
        .bind::<Id, _>(taken.group_id.as_uuid())
        .bind::<Id, _>(taken.lease.as_uuid())
        .execute(conn)?;
    Ok(renewed > 0)
}

fn leave(
    conn: &mut SqliteConnection,
    taken: &TakenGroup,
    again: Option<Timestamp>,
) -> Result<(), Failure> {
    let (account, group) = (taken.account_id.as_uuid(), taken.group_id.as_uuid());
    let ended = match again {
        None => sql(DROP_GROUP),
        Some(at) => sql(AGAIN_GROUP).bind::<Time, _>(at).bind::<Time, _>(at),
    };
    let ended = ended
        .bind::<Id, _>(account)
        .bind::<Id, _>(group)
        .bind::<Id, _>(taken.lease.as_uuid())
        .bind::<BigInt, _>(taken.imports)
        .execute(conn)?;
    if ended == 0 {
        sql(FREE_GROUP)
            .bind::<Id, _>(account)
            .bind::<Id, _>(group)
            .bind::<Id, _>(taken.lease.as_uuid())
            .execute(conn)?;
    }
    Ok(())
}

fn published(
    conn: &mut SqliteConnection,
    (account, group): (AccountId, CustomerGroupId),
    after: Option<CampaignId>,
    limit: u32,
) -> Result<Vec<CampaignId>, Failure> {
    let text = published_sql(if after.is_some() { ">" } else { ">=" });
    let rows = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .bind::<Id, _>(after.map_or(Uuid::nil(), CampaignId::as_uuid))
        .bind::<BigInt, _>(i64::from(limit))
        .load::<CampaignIdRow>(conn)?;
    Ok(rows.into_iter().map(CampaignId::from).collect())
}

fn segments_of(
    conn: &mut SqliteConnection,
    (account, campaign): (AccountId, CampaignId),
    run: RunNumber,
) -> Result<Vec<RunSegment>, Failure> {
    let rows = sql(RUN_SEGMENTS)
        .planned_anew()
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<Integer, _>(run.get())
        .load::<RunSegmentRow>(conn)?;
    let segments = rows.into_iter().map(RunSegment::try_from);
    Ok(segments.collect::<Result<_, _>>()?)
}

fn note(conn: &mut SqliteConnection, note: NoteOutlook) -> Result<bool, Failure> {
    let (account, id) = (
        note.campaign.account_id.as_uuid(),
        note.campaign.id.as_uuid(),
    );
    let digest = note.digest.as_ref().map(<[u8; 32]>::as_slice);
    let noted = sql(NOTE_OUTLOOK)
        .bind::<Nullable<Binary>, _>(digest)
        .bind::<Id, _>(account)
        .bind::<Id, _>(id)
        .bind::<BigInt, _>(note.campaign.version)
        .bind::<Nullable<Binary>, _>(digest)
        .execute(conn)?;
    if noted == 0 {
        let same = sql(IS_AT_VERSION)
            .bind::<Id, _>(account)
            .bind::<Id, _>(id)
            .bind::<BigInt, _>(note.campaign.version)
            .load::<Value>(conn)?;
        return if same.is_empty() {
            Err(StoreError::Conflict.into())
        } else {
            Ok(false)
        };
    }
    if let Some(audit) = note.audit {
        append_audit(conn, audit)?;
    }
    Ok(true)
}

#[async_trait]
impl ChangedGroupQueue for SqliteStore {
    async fn accounts_changed(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.readers
            .run(move |conn| accounts(conn, after, limit, &Times::at(now)))
            .await
    }

    async fn take_group(&self, request: TakeGroup) -> Result<Option<TakenGroup>, StoreError> {
        self.write(move |conn| take(conn, request)).await
    }

    async fn renew_group(&self, taken: TakenGroup, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |conn| renew(conn, &taken, now)).await
    }

    async fn leave_group(
        &self,
        taken: TakenGroup,
        again: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.write(move |conn| leave(conn, &taken, again)).await
    }

    async fn published_for(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        after: Option<CampaignId>,
        limit: u32,
    ) -> Result<Vec<CampaignId>, StoreError> {
        self.readers
            .run(move |conn| published(conn, (account, group), after, limit))
            .await
    }

    async fn run_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Vec<RunSegment>, StoreError> {
        self.readers
            .run(move |conn| segments_of(conn, (account, campaign), run))
            .await
    }

    async fn note_outlook(&self, outlook: NoteOutlook) -> Result<bool, StoreError> {
        self.write(move |conn| note(conn, outlook)).await
    }
}
