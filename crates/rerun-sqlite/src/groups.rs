use std::sync::Arc;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use rerun_core::audit::{AuditDraft, ImportAudit};
use rerun_core::error::StoreError;
use rerun_core::group::{
    Customer, CustomerFile, CustomerGroup, CustomerRow, CustomerRows, DeletedCustomers, Imported,
};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::page::{CreatedKey, CustomerKey, Page, PageRequest};
use rerun_core::ports::{
    CustomerGroupStore, DeleteCustomers, DeleteGroup, EraseCustomer, GroupDeletion, IdempotencyKey,
    IdempotentResponse, ImportFailure, ListCustomers, RenameGroup,
};
use rerun_core::timestamp::Timestamp;
use rerun_diesel::error::Failure;
use rerun_diesel::group_columns;
use rerun_diesel::responses::{check_key, keep_response};
use rerun_diesel::row::{GroupColumns, GroupRow, customer, json_list};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{At, Id, Time, Uid};
use uuid::Uuid;

use crate::SqliteStore;
use crate::editions::{Group, Staged, Writer, leave_edition};
use crate::schema::{customer_groups, customers};
use crate::write::{Value, append_audit, drop_counts};

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
            diesel::insert_into(customer_groups::table)
                .values((
                    customer_groups::account_id.eq(Uid(group.account_id.as_uuid())),
                    customer_groups::id.eq(Uid(group.id.as_uuid())),
                    customer_groups::name.eq(group.name),
                    customer_groups::fields.eq(json_list(&group.fields)),
                    customer_groups::created_at.eq(At(group.created_at)),
                    customer_groups::updated_at.eq(At(group.updated_at)),
                ))
                .execute(conn)?;
            let (account, now) = (group.account_id, group.created_at);
            keep_response(conn, account, response.as_ref(), now)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn rename_group(&self, rename: RenameGroup) -> Result<(), StoreError> {
        self.write(move |conn| {
            let renamed = sql("UPDATE customer_groups SET name = ? \
                 WHERE account_id = ? AND id = ? AND name = ? AND deleted_at IS NULL")
            .bind::<Text, _>(rename.to.as_str())
            .bind::<Id, _>(rename.account_id.as_uuid())
            .bind::<Id, _>(rename.group_id.as_uuid())
            .bind::<Text, _>(rename.from.as_str())
            .execute(conn)?;
            if renamed == 0 {
                return Err(StoreError::Conflict.into());
            }
            let (account, response) = (rename.account_id, rename.response.as_ref());
            keep_response(conn, account, response, rename.at)?;
            match rename.audit {
                Some(audit) => append_audit(conn, audit),
                None => Ok(()),
            }
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
                    " FROM customer_groups g \
                     WHERE g.account_id = ? AND g.id = ? AND g.deleted_at IS NULL"
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
                    "SELECT {} FROM customer_groups g \
                     WHERE g.account_id = ? AND g.deleted_at IS NULL {} \
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

    async fn delete_group(&self, delete: DeleteGroup) -> Result<GroupDeletion, StoreError> {
        self.write(move |conn| delete_group(conn, delete)).await
    }

    async fn list_customers(
        &self,
        list: ListCustomers,
    ) -> Result<Page<Customer, CustomerKey>, StoreError> {
        self.readers
            .run(move |conn| list_customers(conn, list))
            .await
    }

    async fn delete_customers(
        &self,
        delete: DeleteCustomers,
    ) -> Result<Option<DeletedCustomers>, StoreError> {
        self.write(move |conn| delete_customers(conn, delete)).await
    }

    async fn erase_customer(&self, erase: EraseCustomer) -> Result<u64, StoreError> {
        self.write(move |conn| erase_customer(conn, erase)).await
    }
}

/// The version of a group that is there.
pub(crate) fn version(
    conn: &mut SqliteConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<Option<i64>, Failure> {
    let version = customer_groups::table
        .find((Uid(account.as_uuid()), Uid(id.as_uuid())))
        .filter(customer_groups::deleted_at.is_null())
        .select(customer_groups::version);
    Ok(version.get_result(conn).optional()?)
}

/// Whether the account has the group.
pub(crate) fn has_group(
    conn: &mut SqliteConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<bool, Failure> {
    Ok(version(conn, account, id)?.is_some())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(Sqlite))]
struct NamedRow {
    name: String,
    customer_count: i64,
}

fn delete_group(
    conn: &mut SqliteConnection,
    delete: DeleteGroup,
) -> Result<GroupDeletion, Failure> {
    let account = delete.author.actor.account_id;
    let (of, id, now) = (
        account.as_uuid(),
        delete.group_id.as_uuid(),
        delete.author.at,
    );
    let group = customer_groups::table
        .find((Uid(of), Uid(id)))
        .filter(customer_groups::deleted_at.is_null())
        .select(NamedRow::as_select())
        .get_result(conn)
        .optional()?;
    let Some(NamedRow {
        name,
        customer_count,
    }) = group
    else {
        return Ok(GroupDeletion::NotFound);
    };
    let users = sql("SELECT 1 AS value FROM campaigns \
         WHERE account_id = ? AND customer_group_id = ? AND status = 'Draft' \
         UNION ALL \
         SELECT 1 FROM runs WHERE account_id = ? AND group_id = ? AND archived_at IS NULL \
         UNION ALL \
         SELECT 1 FROM schedules WHERE account_id = ? AND customer_group_id = ? LIMIT 1")
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .load::<Value>(conn)?;
    if !users.is_empty() {
        return Ok(GroupDeletion::InUse);
    }
    leave_edition(conn, Group::new(account, delete.group_id))?;
    sql(
        "UPDATE customer_groups SET deleted_at = ?, updated_at = ?, version = version + 1, \
           customer_count = 0 WHERE account_id = ? AND id = ?",
    )
    .bind::<Time, _>(now)
    .bind::<Time, _>(now)
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .execute(conn)?;
    drop_counts(conn, of, id)?;
    let customers = u64::try_from(customer_count).unwrap_or_default();
    let response = delete.key.as_ref().map(|key| key.answered(&customers));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    append_audit(conn, delete.audit(name, customers))?;
    Ok(GroupDeletion::Deleted(customers))
}

#[derive(QueryableByName)]
struct EditionRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    edition: i64,
}

/// Writes that so many customers of a group went; returns how many are left.
fn count_down(
    conn: &mut SqliteConnection,
    (account, group): (Uuid, Uuid),
    gone: i64,
    now: Timestamp,
) -> Result<i64, Failure> {
    drop_counts(conn, account, group)?;
    let left = sql(
        "UPDATE customer_groups SET customer_count = customer_count - ?, version = version + 1, \
           updated_at = ? WHERE account_id = ? AND id = ? RETURNING customer_count AS value",
    )
    .bind::<BigInt, _>(gone)
    .bind::<Time, _>(now)
    .bind::<Id, _>(account)
    .bind::<Id, _>(group)
    .get_result::<Value>(conn)?;
    Ok(left.value)
}

fn delete_customers(
    conn: &mut SqliteConnection,
    delete: DeleteCustomers,
) -> Result<Option<DeletedCustomers>, Failure> {
    let account = delete.author.actor.account_id;
    let (of, id, now) = (
        account.as_uuid(),
        delete.group_id.as_uuid(),
        delete.author.at,
    );
    if !has_group(conn, account, delete.group_id)? {
        return Ok(None);
    }
    let gone = sql(
        "DELETE FROM customers WHERE account_id = ? AND group_id = ? \
         AND edition = (SELECT edition FROM customer_groups WHERE account_id = ? AND id = ?) \
         AND customer_ref IN (SELECT value FROM json_each(?))",
    )
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .bind::<Text, _>(json_list(&delete.customer_refs))
    .execute(conn)?;
    let gone = i64::try_from(gone).map_err(|error| StoreError::Backend(error.into()))?;
    let left = if gone == 0 {
        let group = customer_groups::table.find((Uid(of), Uid(id)));
        let left = group.select(customer_groups::customer_count);
        left.get_result(conn)?
    } else {
        count_down(conn, (of, id), gone, now)?
    };
    let count = |rows: i64| u64::try_from(rows).unwrap_or_default();
    let done = DeletedCustomers {
        deleted_customers: count(gone),
        total: count(left),
    };
    let response = delete.key.as_ref().map(|key| key.answered(&done));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    if gone > 0 {
        append_audit(conn, delete.audit(done))?;
    }
    Ok(Some(done))
}

fn erase_customer(conn: &mut SqliteConnection, erase: EraseCustomer) -> Result<u64, Failure> {
    let account = erase.author.actor.account_id;
    let (of, now) = (account.as_uuid(), erase.author.at);
    let having = |conn: &mut SqliteConnection, editions: &str| {
        let rows = sql(&format!(
            "SELECT e.id, e.edition FROM ({editions}) e WHERE EXISTS ( \
               SELECT 1 FROM customers c WHERE c.account_id = ? AND c.group_id = e.id \
                 AND c.edition = e.edition AND c.customer_ref = ?)"
        ))
        .bind::<Id, _>(of)
        .bind::<Id, _>(of)
        .bind::<Text, _>(erase.customer_ref.as_str())
        .load::<EditionRow>(conn)?;
        Ok::<_, Failure>(rows)
    };
    let current = having(
        conn,
        "SELECT id, edition FROM customer_groups WHERE account_id = ? AND deleted_at IS NULL",
    )?;
    if current.is_empty() {
        return Ok(0);
    }
    // What an import is building is not looked at: when its group is changed here, it starts over,
    // and otherwise it brings the customer after this.
    let left_over = having(
        conn,
        "SELECT group_id AS id, edition FROM customer_editions \
         WHERE account_id = ? AND building = 0",
    )?;
    for row in current.iter().chain(&left_over) {
        let key = (Uid(of), Uid(row.id), row.edition, &erase.customer_ref);
        diesel::delete(customers::table.find(key)).execute(conn)?;
    }
    for row in &current {
        count_down(conn, (of, row.id), 1, now)?;
    }
    let erased = u64::try_from(current.len()).unwrap_or_default();
    let response = erase.key.as_ref().map(|key| key.answered(&erased));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    append_audit(conn, erase.audit(erased))?;
    Ok(erased)
}

#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = Text)]
    customer_ref: String,
    #[diesel(sql_type = Text)]
    profile: String,
}

fn list_customers(
    conn: &mut SqliteConnection,
    list: ListCustomers,
) -> Result<Page<Customer, CustomerKey>, Failure> {
    let text = format!(
        "SELECT c.customer_ref, c.profile FROM current_customers c \
         WHERE c.account_id = ? AND c.group_id = ? AND c.customer_ref > ? {} \
         ORDER BY c.customer_ref LIMIT ?",
        if list.customer_refs.is_some() {
            "AND c.customer_ref IN (SELECT value FROM json_each(?))"
        } else {
            ""
        },
    );
    let after = list.page.after.map(|CustomerKey(after)| after);
    let mut query = sql(&text)
        .bind::<Id, _>(list.account_id.as_uuid())
        .bind::<Id, _>(list.group_id.as_uuid())
        .bind::<Text, _>(after.unwrap_or_default());
    if let Some(refs) = &list.customer_refs {
        query = query.bind::<Text, _>(json_list(refs));
    }
    let customers = query
        .bind::<BigInt, _>(i64::from(list.page.limit.get()) + 1)
        .load_iter::<ListedRow, DefaultLoadingMode>(conn)?
        .map(|row| {
            let row = row?;
            Ok::<_, Failure>(customer(row.customer_ref, &row.profile)?)
        });
    Page::read(customers, list.page.limit, |customer| {
        CustomerKey(customer.customer_ref.clone())
    })
}
