use async_trait::async_trait;
use diesel::sql_types::{BigInt, Integer, Nullable, SmallInt, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::change::{MessageChange, Move, Selection, Shift};
use rerun_core::error::{StoreError, UnfilledPlaceholder};
use rerun_core::ids::{AccountId, CampaignId, ContentId, MessageId, UserId};
use rerun_core::message::{MessageState, ReviewStatus, Source};
use rerun_core::ports::{ChangeOutcome, ReviewStore};
use rerun_core::review::MessageRef;
use rerun_core::run::Run;
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{self, run_number, text};
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::SqliteStore;
use crate::write::{insert_content, rows, unmoved, write_applied};

#[derive(QueryableByName)]
struct RefRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Integer)]
    run_number: i32,
    #[diesel(sql_type = Nullable<Id>)]
    content_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    review_status: String,
    #[diesel(sql_type = Nullable<SmallInt>)]
    approval_stage: Option<i16>,
    #[diesel(sql_type = Nullable<Id>)]
    edited_by: Option<Uuid>,
    #[diesel(sql_type = Text)]
    approvals: String,
}

impl TryFrom<RefRow> for MessageRef {
    type Error = StoreError;

    fn try_from(row: RefRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: MessageId::new(row.id),
            run_number: run_number("messages", row.run_number)?,
            content_id: row.content_id.map(ContentId::new),
            state: MessageState::from_columns(
                text("messages", "review_status", &row.review_status)?,
                row.approval_stage,
            )?,
            edited_by: row.edited_by.map(UserId::new),
            approved_by: row::approvers(&row.approvals)?,
        })
    }
}

/// Ids as a JSON array, which a statement takes apart by `json_each` and `unhex`.
pub(crate) fn hex_list(ids: &[MessageId]) -> String {
    let hex: Vec<String> = ids
        .iter()
        .map(|id| id.as_uuid().simple().to_string())
        .collect();
    serde_json::json!(hex).to_string()
}

#[derive(QueryableByName)]
struct StandingRow {
    #[diesel(sql_type = Text)]
    review_status: String,
    #[diesel(sql_type = Nullable<SmallInt>)]
    approval_stage: Option<i16>,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = BigInt)]
    messages: i64,
}

#[derive(QueryableByName)]
struct UnfilledRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    placeholder: String,
}

/// The condition on a row `messages` that it is of the run and selected, with its values.
struct Selected<'a> {
    change: &'a MessageChange,
    run: &'a Run,
    ids: Option<String>,
}

impl<'a> Selected<'a> {
    fn new(change: &'a MessageChange, run: &'a Run) -> Self {
        let ids = match &change.selection {
            Selection::Ids(ids) => Some(hex_list(ids)),
            Selection::Every { .. } => None,
        };
        Self { change, run, ids }
    }

    /// The table, read by its right index: SQLite would rather look through all messages of the
    /// account for those of a run.
    fn table(&self) -> &'static str {
        match self.change.selection {
            Selection::Ids(_) => "messages",
            Selection::Every { .. } => "messages INDEXED BY messages_one_per_segment",
        }
    }

    fn condition(&self) -> &'static str {
        match self.change.selection {
            // The plus keeps SQLite from reading the whole run for a few of its messages.
            Selection::Ids(_) => {
                "messages.account_id = ? AND +messages.campaign_id = ? \
                 AND +messages.run_number = ? \
                 AND messages.id IN (SELECT unhex(atom) FROM json_each(?))"
            }
            Selection::Every {
                not_edited_by,
                not_approved_by,
            } => match (not_edited_by, not_approved_by) {
                (None, None) => {
                    "messages.account_id = ? AND messages.campaign_id = ? \
                     AND messages.run_number = ?"
                }
                (Some(_), None) => {
                    "messages.account_id = ? AND messages.campaign_id = ? \
                     AND messages.run_number = ? AND messages.edited_by IS NOT ?"
                }
                (None, Some(_)) => {
                    "messages.account_id = ? AND messages.campaign_id = ? \
                     AND messages.run_number = ? AND instr(messages.approvals, ?) = 0"
                }
                (Some(_), Some(_)) => {
                    "messages.account_id = ? AND messages.campaign_id = ? \
                     AND messages.run_number = ? AND messages.edited_by IS NOT ? \
                     AND instr(messages.approvals, ?) = 0"
                }
            },
        }
    }

    fn bind<'q>(&'q self, query: Sql<'q, Sqlite>) -> Sql<'q, Sqlite> {
        let query = query
            .bind::<Id, _>(self.change.campaign.account_id.as_uuid())
            .bind::<Id, _>(self.change.campaign.id.as_uuid())
            .bind::<Integer, _>(self.run.number.get());
        match (&self.change.selection, &self.ids) {
            (
                Selection::Every {
                    not_edited_by,
                    not_approved_by,
                },
                _,
            ) => {
                let query = match not_edited_by {
                    Some(user) => query.bind::<Id, _>(user.as_uuid()),
                    None => query,
                };
                match not_approved_by {
                    Some(user) => query.bind::<Text, _>(row::approval_by(*user)),
                    None => query,
                }
            }
            (Selection::Ids(_), Some(ids)) => query.bind::<Text, _>(ids.as_str()),
            (Selection::Ids(_), None) => query,
        }
    }

    /// What will move, counted by status and source before and after. A named message that no
    /// move is for is a conflict.
    fn shifts(&self, conn: &mut SqliteConnection) -> Result<Vec<Shift>, Failure> {
        let statement = format!(
            "SELECT review_status, approval_stage, source, count(*) AS messages FROM {} \
             WHERE {} GROUP BY review_status, approval_stage, source",
            self.table(),
            self.condition()
        );
        let standings = self.bind(sql(&statement)).load::<StandingRow>(conn)?;
        let mut shifts = Vec::new();
        let mut found = 0;
        for row in standings {
            let status: ReviewStatus = text("messages", "review_status", &row.review_status)?;
            let state = MessageState::from_columns(status, row.approval_stage)?;
            let Some(moved) = self.change.moves.iter().find(|moved| moved.from == state) else {
                continue;
            };
            let source: Source = text("messages", "source", &row.source)?;
            let messages = rows(row.messages)?;
            found += row.messages;
            shifts.push(Shift {
                from: (status, source),
                to: (moved.to.status(), self.change.patch.source_after(source)),
                messages,
            });
        }
        match &self.change.selection {
            Selection::Ids(ids) if i64::try_from(ids.len()).ok() != Some(found) => {
                Err(StoreError::Conflict.into())
            }
            Selection::Ids(_) | Selection::Every { .. } => Ok(shifts),
        }
    }

    /// The first message of the change whose content has a placeholder. It reads no texts.
    fn first_unfilled(
        &self,
        conn: &mut SqliteConnection,
    ) -> Result<Option<UnfilledPlaceholder>, Failure> {
        let moves = moves_json(&self.change.moves)?;
        let statement = format!(
            "SELECT messages.id, t.placeholder FROM {} \
             CROSS JOIN json_each(?) AS moved \
               ON messages.review_status = moved.value ->> 'from' \
               AND messages.approval_stage IS moved.value ->> 'from_stage' \
             CROSS JOIN contents t INDEXED BY contents_unfilled \
               ON t.account_id = ? AND t.id = messages.content_id AND t.placeholder IS NOT NULL \
             WHERE {} ORDER BY messages.segment_no LIMIT 1",
            self.table(),
            self.condition()
        );
        let query = sql(&statement)
            .bind::<Text, _>(moves.as_str())
            .bind::<Id, _>(self.change.campaign.account_id.as_uuid());
        let found = self.bind(query).load::<UnfilledRow>(conn)?.pop();
        Ok(found.map(|row| UnfilledPlaceholder {
            message_id: MessageId::new(row.id),
            placeholder: row.placeholder,
        }))
    }

    /// Moves the rows.
    fn move_rows(&self, conn: &mut SqliteConnection) -> Result<(), Failure> {
        let MessageChange { patch, now, .. } = self.change;
        let moves = moves_json(&self.change.moves)?;
        if patch.queued {
            let statement = format!(
                "INSERT INTO generation_tasks \
                   (account_id, message_id, campaign_id, run_number, due_at) \
                 SELECT messages.account_id, messages.id, messages.campaign_id, \
                   messages.run_number, ? \
                 FROM {} CROSS JOIN json_each(?) AS moved \
                   ON messages.review_status = moved.value ->> 'from' \
                   AND messages.approval_stage IS moved.value ->> 'from_stage' \
                 WHERE {}",
                self.table(),
                self.condition()
            );
            let query = sql(&statement)
                .bind::<Time, _>(*now)
                .bind::<Text, _>(moves.as_str());
            self.bind(query).execute(conn)?;
        }
        let passes_stage = |moved: &Move| moved.approval.is_some();
        let origin = if patch.origin.is_some() {
            "content_id = ?, edited_by = ?, source = ?, reused_from_message_id = ?, \
             reused_from_run_number = ?, approvals = '[]',"
        } else if self.change.moves.iter().any(passes_stage) {
            "approvals = iif(moved.approval IS NULL, approvals, \
               json_insert(approvals, '$[#]', json(moved.approval))),"
        } else {
            ""
        };
        let statement = format!(
            "UPDATE {} SET {origin} rejection_reason = ?, review_status = moved.to_status, \
               approval_stage = moved.to_stage, error = NULL, updated_at = ? \
             FROM (SELECT value ->> 'from' AS from_status, value ->> 'from_stage' AS from_stage, \
                     value ->> 'to' AS to_status, value ->> 'to_stage' AS to_stage, \
                     value ->> 'approval' AS approval FROM json_each(?)) AS moved \
             WHERE messages.review_status = moved.from_status \
               AND messages.approval_stage IS moved.from_stage AND {}",
            self.table(),
            self.condition()
        );
        let mut query = sql(&statement);
        if let Some(origin) = patch.origin {
            let reused = origin.reused_from;
            query = query
                .bind::<Id, _>(origin.content_id.as_uuid())
                .bind::<Nullable<Id>, _>(origin.edited_by.map(UserId::as_uuid))
                .bind::<Text, _>(origin.source.as_str())
                .bind::<Nullable<Id>, _>(reused.map(|from| from.message_id.as_uuid()))
                .bind::<Nullable<Integer>, _>(reused.map(|from| from.run_number.get()));
        }
        let query = query
            .bind::<Nullable<Text>, _>(patch.rejection_reason.as_deref())
            .bind::<Time, _>(*now)
            .bind::<Text, _>(moves.as_str());
        self.bind(query).execute(conn)?;
        Ok(())
    }
}

/// The moves as a JSON array. Approvals are texts of JSON in it.
fn moves_json(moves: &[Move]) -> Result<String, StoreError> {
    let mut list = Vec::with_capacity(moves.len());
    for moved in moves {
        let approval = moved
            .approval
            .as_ref()
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| StoreError::Backend(error.into()))?;
        list.push(serde_json::json!({
            "from": moved.from.status().as_str(),
            "from_stage": moved.from.stage(),
            "to": moved.to.status().as_str(),
            "to_stage": moved.to.stage(),
            "approval": approval,
        }));
    }
    Ok(serde_json::Value::from(list).to_string())
}

fn change_messages(
    conn: &mut SqliteConnection,
    change: &MessageChange,
) -> Result<ChangeOutcome, Failure> {
    let account = change.campaign.account_id;
    let run = unmoved(conn, &change.campaign)?;
    let selected = Selected::new(change, &run);
    if change.needs_filled_content()
        && let Some(unfilled) = selected.first_unfilled(conn)?
    {
        return Ok(ChangeOutcome::Unfilled(unfilled));
    }
    let shifts = selected.shifts(conn)?;
    let applied = change.applied(run.clone(), &shifts)?;
    let outcome = ChangeOutcome::Changed {
        messages: applied.messages,
        campaign_status: applied.campaign_status,
    };
    keep_response(conn, account, applied.response.as_ref(), change.now)?;
    if applied.messages == 0 {
        return Ok(outcome);
    }
    if let Some(new) = &change.patch.new_content {
        insert_content(
            conn,
            &change.campaign,
            new.id,
            run.number,
            &new.content,
            Some(new.author),
            change.now,
        )?;
    }
    selected.move_rows(conn)?;
    write_applied(conn, &change.campaign, applied, true, change.now)?;
    Ok(outcome)
}

#[async_trait]
impl ReviewStore for SqliteStore {
    async fn message_refs(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageRef>, StoreError> {
        self.readers
            .run(move |conn| {
                let rows = sql(
                    "SELECT id, run_number, content_id, review_status, approval_stage, edited_by, \
                       approvals \
                     FROM messages WHERE account_id = ? AND +campaign_id = ? \
                       AND id IN (SELECT unhex(atom) FROM json_each(?))",
                )
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Text, _>(hex_list(&ids))
                .load::<RefRow>(conn)?;
                Ok(rows
                    .into_iter()
                    .map(MessageRef::try_from)
                    .collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn change_messages(&self, change: MessageChange) -> Result<ChangeOutcome, StoreError> {
        self.write(move |conn| change_messages(conn, &change)).await
    }
}
