use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text};
use rerun_core::change::{MessageChange, Move, Selection, Shift};
use rerun_core::error::{StoreError, UnfilledPlaceholder};
use rerun_core::ids::{AccountId, CampaignId, ContentId, MessageId, UserId};
use rerun_core::message::MessageState;
use rerun_core::ports::{ChangeOutcome, ReviewStore};
use rerun_core::review::MessageRef;
use rerun_core::run::Run;
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row;
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::PgStore;
use crate::schema::messages;
use crate::write::{
    SLICE, Value, insert_content, lock_current, queue_messages, rows, transaction, write_applied,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = messages, check_for_backend(Pg))]
struct RefRow {
    id: Uuid,
    run_number: i32,
    content_id: Option<Uuid>,
    review_status: String,
    approval_stage: Option<i16>,
    edited_by: Option<Uuid>,
    approvals: String,
}

impl TryFrom<RefRow> for MessageRef {
    type Error = StoreError;

    fn try_from(row: RefRow) -> Result<Self, StoreError> {
        let status = row::text("messages", "review_status", &row.review_status)?;
        Ok(Self {
            id: MessageId::new(row.id),
            run_number: row::run_number("messages", row.run_number)?,
            content_id: row.content_id.map(ContentId::new),
            state: MessageState::from_columns(status, row.approval_stage)?,
            edited_by: row.edited_by.map(UserId::new),
            approved_by: row::approvers(&row.approvals)?,
        })
    }
}

#[async_trait]
impl ReviewStore for PgStore {
    async fn message_refs(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageRef>, StoreError> {
        self.db
            .run(move |conn| {
                let rows = messages::table
                    .filter(messages::account_id.eq(account.as_uuid()))
                    .filter(messages::campaign_id.eq(campaign.as_uuid()))
                    .filter(messages::id.eq_any(uuids(&ids)))
                    .select(RefRow::as_select())
                    .load(conn)?;
                Ok(rows
                    .into_iter()
                    .map(MessageRef::try_from)
                    .collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn change_messages(&self, change: MessageChange) -> Result<ChangeOutcome, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| change_messages(conn, &change)))
            .await
    }
}

fn uuids(ids: &[MessageId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.as_uuid()).collect()
}

fn change_messages(
    conn: &mut PgConnection,
    change: &MessageChange,
) -> Result<ChangeOutcome, Failure> {
    let run = lock_current(conn, &change.campaign)?;
    if !change.moves.is_empty()
        && change.needs_filled_content()
        && let Some(unfilled) = first_unfilled(conn, change, &run)?
    {
        return Ok(ChangeOutcome::Unfilled(unfilled));
    }
    if let Some(new) = &change.patch.new_content {
        insert_content(
            conn,
            &change.campaign,
            new.id,
            run.number,
            &new.content,
            new.author.as_uuid(),
            change.now,
        )?;
    }
    let shifts = move_messages(conn, change, &run)?;
    let applied = change.applied(run, &shifts)?;
    if let Selection::Ids(ids) = &change.selection
        && usize::try_from(applied.messages).ok() != Some(ids.len())
    {
        return Err(StoreError::Conflict.into());
    }
    let outcome = ChangeOutcome::Changed {
        messages: applied.messages,
        campaign_status: applied.campaign_status,
    };
    let account = change.campaign.account_id;
    keep_response(conn, account, applied.response.as_ref(), change.now)?;
    if applied.messages > 0 {
        write_applied(conn, &change.campaign, applied, true, change.now)?;
    }
    Ok(outcome)
}

#[derive(QueryableByName)]
struct ShiftRow {
    #[diesel(sql_type = Text)]
    from_status: String,
    #[diesel(sql_type = Text)]
    from_source: String,
    #[diesel(sql_type = Text)]
    to_status: String,
    #[diesel(sql_type = Text)]
    to_source: String,
    #[diesel(sql_type = BigInt)]
    messages: i64,
    /// Of messages that are to be queued.
    #[diesel(sql_type = Nullable<Array<Id>>)]
    ids: Option<Vec<Uuid>>,
}

impl TryFrom<ShiftRow> for Shift {
    type Error = StoreError;

    fn try_from(row: ShiftRow) -> Result<Self, StoreError> {
        Ok(Self {
            from: (
                row::text("messages", "review_status", &row.from_status)?,
                row::text("messages", "source", &row.from_source)?,
            ),
            to: (
                row::text("messages", "review_status", &row.to_status)?,
                row::text("messages", "source", &row.to_source)?,
            ),
            messages: rows(row.messages)?,
        })
    }
}

/// The condition on a row `m` that it is selected. [`bind_selection`] gives it its value.
fn selected(change: &MessageChange) -> &'static str {
    match &change.selection {
        Selection::Ids(_) => "AND m.id = ANY(?)",
        Selection::Every {
            not_edited_by,
            not_approved_by,
        } => match (not_edited_by, not_approved_by) {
            (None, None) => "",
            (Some(_), None) => "AND m.edited_by IS DISTINCT FROM ?",
            (None, Some(_)) => "AND strpos(m.approvals, ?) = 0",
            (Some(_), Some(_)) => {
                "AND m.edited_by IS DISTINCT FROM ? AND strpos(m.approvals, ?) = 0"
            }
        },
    }
}

fn bind_selection<'a>(query: Sql<'a, Pg>, change: &MessageChange) -> Sql<'a, Pg> {
    match &change.selection {
        Selection::Ids(ids) => query.bind::<Array<Id>, _>(uuids(ids)),
        Selection::Every {
            not_edited_by,
            not_approved_by,
        } => {
            let query = match not_edited_by {
                Some(user) => query.bind::<Id, _>(user.as_uuid()),
                None => query,
            };
            match not_approved_by {
                Some(user) => query.bind::<Text, _>(row::approval_by(*user)),
                None => query,
            }
        }
    }
}

#[derive(QueryableByName)]
struct UnfilledRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    placeholder: String,
}

/// The first message of a change whose content has a placeholder. It reads no texts.
fn first_unfilled(
    conn: &mut PgConnection,
    change: &MessageChange,
    run: &Run,
) -> Result<Option<UnfilledPlaceholder>, Failure> {
    let text = format!(
        "SELECT m.id, t.placeholder FROM messages m \
         JOIN (VALUES {}) AS v(from_status, from_stage) \
           ON m.review_status = v.from_status \
           AND m.approval_stage IS NOT DISTINCT FROM v.from_stage \
         JOIN contents t ON t.account_id = ? AND t.id = m.content_id \
           AND t.placeholder IS NOT NULL \
         WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ? {} \
         ORDER BY m.segment_no LIMIT 1",
        vec!["(?, ?)"; change.moves.len()].join(", "),
        selected(change)
    );
    let account = change.campaign.account_id.as_uuid();
    let mut query = sql(&text).planned_each_time();
    for step in &change.moves {
        query = bind_state(query, step.from);
    }
    let query = query
        .bind_times::<Id, _>(2, account)
        .bind::<Id, _>(change.campaign.id.as_uuid())
        .bind::<Integer, _>(run.number.get());
    let found = bind_selection(query, change)
        .load::<UnfilledRow>(conn)?
        .pop();
    Ok(found.map(|row| UnfilledPlaceholder {
        message_id: MessageId::new(row.id),
        placeholder: row.placeholder,
    }))
}

/// Gives two values a state.
fn bind_state(query: Sql<'_, Pg>, state: MessageState) -> Sql<'_, Pg> {
    query
        .bind::<Text, _>(state.status().as_str())
        .bind::<Nullable<SmallInt>, _>(state.stage().map(i16::from))
}

/// The messages of a run whose segments have numbers above the first and up to the second.
type Slice = (i32, i32);

/// The parts in which a change moves its messages, each by one statement: of a large run, slices of its
/// segments; else all messages (`None`).
fn slices(
    conn: &mut PgConnection,
    change: &MessageChange,
    run: &Run,
) -> Result<Vec<Option<Slice>>, Failure> {
    let large = usize::try_from(run.counts.total()).is_ok_and(|total| total > SLICE);
    if !large || matches!(change.selection, Selection::Ids(_)) {
        return Ok(vec![None]);
    }
    let text = format!(
        "SELECT segment_no::bigint AS value FROM (SELECT segment_no, \
           row_number() OVER (ORDER BY segment_no) AS place FROM messages \
           WHERE account_id = ? AND campaign_id = ? AND run_number = ?) m \
         WHERE place % {SLICE} = 0 ORDER BY segment_no"
    );
    let ends = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(change.campaign.account_id.as_uuid())
        .bind::<Id, _>(change.campaign.id.as_uuid())
        .bind::<Integer, _>(run.number.get())
        .load::<Value>(conn)?;
    let mut slices = Vec::new();
    let mut after = 0;
    for end in ends {
        let end = i32::try_from(end.value).map_err(|error| StoreError::Backend(error.into()))?;
        slices.push(Some((after, end)));
        after = end;
    }
    slices.push(Some((after, i32::MAX)));
    Ok(slices)
}

/// The one statement that moves every message of a slice, whatever its state was, and counts what it moved.
fn move_statement(change: &MessageChange, slice: Option<Slice>) -> String {
    let selected = selected(change);
    let of_slice = match slice {
        Some(_) => "AND m.segment_no > ? AND m.segment_no <= ?",
        None => "",
    };
    let states = format!(
        "(VALUES {}) AS v(from_status, from_stage, to_status, to_stage, approval)",
        vec!["(?, ?, ?, ?, ?)"; change.moves.len()].join(", ")
    );
    let matched = format!(
        "m.review_status = v.from_status AND m.approval_stage IS NOT DISTINCT FROM v.from_stage \
         AND m.account_id = ? AND m.campaign_id = ? AND m.run_number = ? {selected} {of_slice}"
    );
    let set = "review_status = v.to_status, approval_stage = v.to_stage, rejection_reason = ?, \
               error = NULL, updated_at = ?";
    let ids = if change.patch.queued {
        "array_agg(id)"
    } else {
        "NULL::uuid[]"
    };
    let moved = match change.patch.origin {
        // A message that gets other content gets another source as well: the one before is read first.
        Some(_) => format!(
            "moves AS (SELECT m.id, m.source AS from_source, v.* FROM messages m, {states} \
               WHERE {matched}), \
             moved AS (UPDATE messages m SET {set}, approvals = '[]', content_id = ?, edited_by = ?, \
               source = ?, reused_from_message_id = ?, reused_from_run_number = ? \
             FROM moves v WHERE m.account_id = ? AND m.id = v.id"
        ),
        None => format!(
            "moved AS (UPDATE messages m SET {set}, \
               approvals = CASE WHEN v.approval IS NULL THEN m.approvals \
                 WHEN m.approvals = '[]' THEN '[' || v.approval || ']' \
                 ELSE left(m.approvals, -1) || ',' || v.approval || ']' END \
             FROM (SELECT *, NULL::text AS from_source FROM {states}) v WHERE {matched}"
        ),
    };
    format!(
        "WITH {moved} RETURNING m.id, v.from_status, \
           coalesce(v.from_source, m.source) AS from_source, v.to_status, m.source AS to_source) \
         SELECT from_status, from_source, to_status, to_source, count(*) AS messages, {ids} AS ids \
         FROM moved GROUP BY 1, 2, 3, 4"
    )
}

fn move_messages(
    conn: &mut PgConnection,
    change: &MessageChange,
    run: &Run,
) -> Result<Vec<Shift>, Failure> {
    let mut shifts = Vec::new();
    if change.moves.is_empty() {
        return Ok(shifts);
    }
    for slice in slices(conn, change, run)? {
        for row in move_slice(conn, change, run, slice)? {
            shifts.push(row.try_into()?);
        }
    }
    Ok(shifts)
}

fn move_slice(
    conn: &mut PgConnection,
    change: &MessageChange,
    run: &Run,
    slice: Option<Slice>,
) -> Result<Vec<ShiftRow>, Failure> {
    let text = move_statement(change, slice);
    let query = sql(&text).planned_each_time();
    let query = if let Some(origin) = change.patch.origin {
        let reused = origin.reused_from;
        let query = bind_matched(bind_moves(query, &change.moves)?, change, run, slice);
        bind_set(query, change)
            .bind::<Id, _>(origin.content_id.as_uuid())
            .bind::<Nullable<Id>, _>(origin.edited_by.map(UserId::as_uuid))
            .bind::<Text, _>(origin.source.as_str())
            .bind::<Nullable<Id>, _>(reused.map(|from| from.message_id.as_uuid()))
            .bind::<Nullable<Integer>, _>(reused.map(|from| from.run_number.get()))
            .bind::<Id, _>(change.campaign.account_id.as_uuid())
    } else {
        let query = bind_moves(bind_set(query, change), &change.moves)?;
        bind_matched(query, change, run, slice)
    };
    let moved = query.load::<ShiftRow>(conn)?;
    if change.patch.queued {
        let ids: Vec<Uuid> = moved
            .iter()
            .flat_map(|row| row.ids.iter().flatten())
            .copied()
            .collect();
        queue_messages(conn, (&change.campaign, run.number), &ids, change.now)?;
    }
    Ok(moved)
}

fn bind_moves<'a>(mut query: Sql<'a, Pg>, moves: &[Move]) -> Result<Sql<'a, Pg>, StoreError> {
    for step in moves {
        let approval = step.approval.as_ref().map(serde_json::to_string);
        let approval = approval
            .transpose()
            .map_err(|error| StoreError::Backend(error.into()))?;
        query =
            bind_state(bind_state(query, step.from), step.to).bind::<Nullable<Text>, _>(approval);
    }
    Ok(query)
}

fn bind_matched<'a>(
    query: Sql<'a, Pg>,
    change: &MessageChange,
    run: &Run,
    slice: Option<Slice>,
) -> Sql<'a, Pg> {
    let query = query
        .bind::<Id, _>(change.campaign.account_id.as_uuid())
        .bind::<Id, _>(change.campaign.id.as_uuid())
        .bind::<Integer, _>(run.number.get());
    let query = bind_selection(query, change);
    match slice {
        None => query,
        Some((after, end)) => query.bind::<Integer, _>(after).bind::<Integer, _>(end),
    }
}

fn bind_set<'a>(query: Sql<'a, Pg>, change: &'a MessageChange) -> Sql<'a, Pg> {
    query
        .bind::<Nullable<Text>, _>(change.patch.rejection_reason.as_deref())
        .bind::<Time, _>(change.now)
}
