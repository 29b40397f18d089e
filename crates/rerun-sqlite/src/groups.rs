use std::sync::Arc;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::sql_types::{BigInt, Text};
use diesel::{RunQueryDsl, SqliteConnection};
use rerun_core::audit::{AuditDraft, ImportAudit};
use rerun_core::error::StoreError;
use rerun_core::group::{CustomerFile, CustomerGroup, CustomerRow, CustomerRows, Imported};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{CustomerGroupStore, IdempotencyKey, IdempotentResponse, ImportFailure};
use rerun_diesel::error::Failure;
use rerun_diesel::group_columns;
use rerun_diesel::row::{GroupColumns, GroupRow, json_list};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};

use crate::SqliteStore;
use crate::editions::{Group, Staged, Writer};
use crate::write::{append_audit, check_key, keep_response};

/// How long the text of one batch of staged rows gets, in bytes, give or take a row.
const BATCH_BYTES: usize = 64 * 1024;

/// Turns rows into the text of JSON arrays `[customer_ref, patch]`.
struct Batch {
    /// The start of each value: a comma but for the first, the field's name and a colon.
    names: Vec<String>,
    text: String,
}

impl Batch {
    fn new(fields: &[String]) -> Self {
        let name = |(place, field): (usize, &String)| {
            let comma = if place == 0 { "" } else { "," };
            format!("{comma}{}:", json(field))
        };
        Self {
            names: fields.iter().enumerate().map(name).collect(),
            text: String::new(),
        }
    }

    fn push(&mut self, row: &CustomerRow) {
        self.text.push(if self.text.is_empty() { '[' } else { ',' });
        self.text.push('[');
        self.text.push_str(&json(&row.customer_ref));
        self.text.push_str(",{");
        for (name, value) in self.names.iter().zip(&row.values) {
            self.text.push_str(name);
            match value {
                Some(value) => self.text.push_str(&json(value)),
                None => self.text.push_str("null"),
            }
        }
        self.text.push_str("}]");
    }

    /// Stages what was pushed since the last time; of rows with one reference the last wins.
    fn stage(&mut self, conn: &mut SqliteConnection) -> Result<(), Failure> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.text.push(']');
        sql("INSERT INTO temp.staged_customers (customer_ref, patch) \
             SELECT value ->> 0, value -> 1 FROM json_each(?) WHERE true \
             ON CONFLICT (customer_ref) DO UPDATE SET patch = excluded.patch")
        .bind::<Text, _>(self.text.as_str())
        .execute(conn)?;
        self.text.clear();
        Ok(())
    }
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn stage(
    conn: &mut SqliteConnection,
    fields: &[String],
    rows: CustomerRows,
) -> Result<u64, Failure> {
    sql("DELETE FROM temp.staged_customers").execute(conn)?;
    let mut batch = Batch::new(fields);
    let mut read = 0;
    for row in rows {
        batch.push(&row?);
        read += 1;
        if batch.text.len() >= BATCH_BYTES {
            batch.stage(conn)?;
        }
    }
    batch.stage(conn)?;
    Ok(read)
}

#[async_trait]
impl CustomerGroupStore for SqliteStore {
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        let group = group.clone();
        self.write(move |conn| {
            sql("INSERT INTO customer_groups \
                   (account_id, id, name, fields, created_at, updated_at) \
                 VALUES (?, ?, ?, ?, ?, ?)")
            .bind::<Id, _>(group.account_id.as_uuid())
            .bind::<Id, _>(group.id.as_uuid())
            .bind::<Text, _>(group.name.as_str())
            .bind::<Text, _>(json_list(&group.fields))
            .bind::<Time, _>(group.created_at)
            .bind::<Time, _>(group.updated_at)
            .execute(conn)?;
            let (account, now) = (group.account_id, group.created_at);
            keep_response(conn, account, response.as_ref(), now)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError> {
        self.readers
            .run(move |conn| {
                let row = sql(concat!(
                    "SELECT ",
                    group_columns!(),
                    " FROM customer_groups g WHERE g.account_id = ? AND g.id = ?"
                ))
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(id.as_uuid())
                .columns::<GroupColumns>()
                .load::<GroupRow>(conn)?
                .pop();
                Ok(row.map(CustomerGroup::try_from).transpose()?)
            })
            .await
    }

    async fn list_groups(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<CustomerGroup, CreatedKey>, StoreError> {
        self.readers
            .run(move |conn| {
                let text = format!(
                    "SELECT {} FROM customer_groups g WHERE g.account_id = ? {} \
                     ORDER BY g.created_at DESC, g.id DESC LIMIT ?",
                    group_columns!(),
                    if page.after.is_some() {
                        "AND (g.created_at, g.id) < (?, ?)"
                    } else {
                        ""
                    },
                );
                let mut query = sql(&text).bind::<Id, _>(account.as_uuid());
                if let Some(after) = page.after {
                    query = query
                        .bind::<Time, _>(after.created_at)
                        .bind::<Id, _>(after.id);
                }
                let groups = query
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .columns::<GroupColumns>()
                    .load_iter::<GroupRow, DefaultLoadingMode>(conn)?
                    .map(|row| Ok::<_, Failure>(CustomerGroup::try_from(row?)?));
                Page::read(groups, page.limit, |group| CreatedKey {
                    created_at: group.created_at,
                    id: group.id.as_uuid(),
                })
            })
            .await
    }

    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        file: CustomerFile,
        audit: ImportAudit,
        key: Option<IdempotencyKey>,
    ) -> Result<Imported, ImportFailure> {
        if self.find_group(account, id).await?.is_none() {
            return Err(ImportFailure::GroupNotFound);
        }
        let turn = self.lanes.turn((account, id)).await;
        let turns = Arc::clone(&self.turns);
        self.run_import(move |conn| {
            let _until_it_ends = turn;
            let CustomerFile { fields, mode, rows } = file;
            check_key(conn, account, key.as_ref(), audit.at())?;
            let rows = stage(conn, &fields, rows)?;
            let staged = Staged {
                fields,
                mode,
                rows,
                key,
            };
            let mut writer = Writer {
                conn,
                turns: &turns,
            };
            writer.import(Group::new(account, id), &staged, &audit)
        })
        .await
    }
}
