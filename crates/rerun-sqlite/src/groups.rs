use async_trait::async_trait;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::audit::AuditDraft;
use rerun_core::error::StoreError;
use rerun_core::group::{
    CustomerFile, CustomerGroup, CustomerRow, CustomerRows, ImportMode, Imported,
};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{CustomerGroupStore, IdempotentResponse, ImportFailure};
use rerun_diesel::error::Failure;
use rerun_diesel::group_columns;
use rerun_diesel::row::{GroupColumns, GroupRow, json_list, names};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};

use crate::SqliteStore;
use crate::write::{Value, append_audit, keep_response};

/// Where the rows of an import wait until all of them have been read. `patch` is a JSON object
/// of the row's values by field name, null for an empty one.
pub(crate) const STAGING: &str = "CREATE TEMP TABLE staged_customers (\
       customer_ref TEXT NOT NULL PRIMARY KEY, patch TEXT NOT NULL) STRICT, WITHOUT ROWID;";

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

/// A file whose rows have been staged.
struct Staged {
    fields: Vec<String>,
    mode: ImportMode,
    rows: u64,
}

#[derive(QueryableByName)]
struct KnownRow {
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
    #[diesel(sql_type = Text)]
    fields: String,
}

fn merge(
    conn: &mut SqliteConnection,
    account: AccountId,
    group: CustomerGroupId,
    staged: &Staged,
    audit: AuditDraft,
) -> Result<Imported, Failure> {
    let known =
        sql("SELECT customer_count, fields FROM customer_groups WHERE account_id = ? AND id = ?")
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(group.as_uuid())
            .load::<KnownRow>(conn)?
            .pop();
    let Some(KnownRow {
        customer_count: before,
        fields: known,
    }) = known
    else {
        return Err(Failure::GroupNotFound);
    };
    let known = names("customer_groups", "fields", &known)?;
    // The plus has SQLite look up each staged customer in the group, not each of the group's among
    // the staged, of which there may be few. A stored profile is a text that json_patch has
    // written, so that equal values are equal texts.
    let update = match staged.mode {
        ImportMode::Merge => {
            "UPDATE customers SET profile = json_patch(customers.profile, s.patch) \
             FROM temp.staged_customers AS s \
             WHERE customers.account_id = ? AND customers.group_id = ? \
               AND customers.customer_ref = +s.customer_ref \
               AND json_patch(customers.profile, s.patch) <> customers.profile"
        }
        // The fields of a stored profile are in the order in which they came. Two profiles are
        // equal when one changes nothing in the other and they have equally many fields.
        ImportMode::Replace => {
            "UPDATE customers SET profile = json_patch('{}', s.patch) \
             FROM temp.staged_customers AS s \
             WHERE customers.account_id = ? AND customers.group_id = ? \
               AND customers.customer_ref = +s.customer_ref \
               AND (json_patch(customers.profile, s.patch) <> customers.profile \
                 OR (SELECT count(*) FROM json_each(customers.profile)) \
                   <> (SELECT count(*) FROM json_each(json_patch('{}', s.patch))))"
        }
    };
    let updated = if before == 0 {
        0
    } else {
        sql(update)
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(group.as_uuid())
            .execute(conn)?
    };
    let removed = if before == 0 || staged.mode == ImportMode::Merge {
        0
    } else {
        sql(
            "DELETE FROM customers WHERE account_id = ? AND group_id = ? \
               AND customer_ref NOT IN (SELECT customer_ref FROM temp.staged_customers)",
        )
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .execute(conn)?
    };
    let imported = sql(
        "INSERT INTO customers (account_id, group_id, customer_ref, profile) \
         SELECT ?, ?, s.customer_ref, json_patch('{}', s.patch) \
         FROM temp.staged_customers AS s WHERE true ORDER BY s.customer_ref \
         ON CONFLICT (account_id, group_id, customer_ref) DO NOTHING",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(group.as_uuid())
    .execute(conn)?;
    let distinct = sql("SELECT count(*) AS value FROM temp.staged_customers")
        .get_result::<Value>(conn)?
        .value;
    sql("DELETE FROM temp.staged_customers").execute(conn)?;
    let backend = |error: std::num::TryFromIntError| StoreError::Backend(error.into());
    let signed = |rows: usize| i64::try_from(rows).map_err(backend);
    let total = before + signed(imported)? - signed(removed)?;
    let distinct = u64::try_from(distinct).map_err(backend)?;
    let done = Imported {
        rows: staged.rows,
        imported: u64::try_from(imported).map_err(backend)?,
        updated: u64::try_from(updated).map_err(backend)?,
        removed: u64::try_from(removed).map_err(backend)?,
        duplicates: staged.rows.saturating_sub(distinct),
        total: u64::try_from(total).map_err(backend)?,
    };
    let fields = staged
        .mode
        .fields_after(&known, &staged.fields, staged.rows);
    if !done.changed() && fields == known {
        return Ok(done);
    }
    sql(
        "UPDATE customer_groups SET customer_count = ?, fields = ?, version = version + 1, \
           updated_at = ? \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<BigInt, _>(total)
    .bind::<Text, _>(json_list(&fields))
    .bind::<Time, _>(audit.created_at)
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(group.as_uuid())
    .execute(conn)?;
    sql("DELETE FROM segmentations WHERE account_id = ? AND group_id = ?")
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .execute(conn)?;
    append_audit(conn, done.audited(audit))?;
    Ok(done)
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
                    .load::<GroupRow>(conn)?
                    .into_iter()
                    .map(CustomerGroup::try_from)
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Page::from_surplus(groups, page.limit, |group| CreatedKey {
                    created_at: group.created_at,
                    id: group.id.as_uuid(),
                }))
            })
            .await
    }

    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        file: CustomerFile,
        audit: AuditDraft,
    ) -> Result<Imported, ImportFailure> {
        if self.find_group(account, id).await?.is_none() {
            return Err(ImportFailure::GroupNotFound);
        }
        self.import(
            move |conn| {
                let CustomerFile { fields, mode, rows } = file;
                let rows = stage(conn, &fields, rows)?;
                Ok(Staged { fields, mode, rows })
            },
            move |conn, staged| merge(conn, account, id, &staged, audit),
        )
        .await
    }
}
