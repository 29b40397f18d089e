use std::cell::RefCell;
use std::io::Write;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::pg::{CopyFormat, Pg};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text};
use rerun_core::audit::{AuditDraft, ImportAudit};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::group::{
    Customer, CustomerFile, CustomerGroup, CustomerRow, CustomerRows, DeletedCustomers, ImportMode,
    Imported,
};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::page::{CreatedKey, CustomerKey, Page, PageRequest};
use rerun_core::ports::{
    CustomerGroupStore, DeleteCustomers, DeleteGroup, EraseCustomer, GroupDeletion, IdempotencyKey,
    IdempotentResponse, ImportFailure, ListCustomers, RenameGroup,
};
use rerun_diesel::changed_groups;
use rerun_diesel::error::Failure;
use rerun_diesel::group_columns;
use rerun_diesel::lanes::Turn;
use rerun_diesel::responses::{check_key, keep_response};
use rerun_diesel::row::{GroupColumns, GroupRow, customer, json_list, names};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::watch::progress;
use uuid::Uuid;

use crate::PgStore;
use crate::page::PageQuery;
use crate::schema::{customer_groups, customers, segmentations};
use crate::write::{Value, append_audit, transaction};

diesel::table! {
    import_rows (ordinal) {
        ordinal -> BigInt,
        customer_ref -> Text,
        profile -> Text,
    }
}

#[async_trait]
impl CustomerGroupStore for PgStore {
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        let group = group.clone();
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    diesel::insert_into(customer_groups::table)
                        .values((
                            customer_groups::account_id.eq(group.account_id.as_uuid()),
                            customer_groups::id.eq(group.id.as_uuid()),
                            customer_groups::name.eq(group.name),
                            customer_groups::customer_count.eq(group.customer_count),
                            customer_groups::fields.eq(json_list(&group.fields)),
                            customer_groups::created_at.eq(group.created_at),
                            customer_groups::updated_at.eq(group.updated_at),
                        ))
                        .execute(conn)?;
                    let (account, now) = (group.account_id, group.created_at);
                    keep_response(conn, account, response.as_ref(), now)?;
                    append_audit(conn, audit)
                })
            })
            .await
    }

    async fn rename_group(&self, rename: RenameGroup) -> Result<(), StoreError> {
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
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
            })
            .await
    }

    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError> {
        self.db
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
        self.db
            .run(move |conn| {
                let from = format!(
                    "FROM (SELECT * FROM customer_groups g \
                     WHERE g.account_id = ? AND g.deleted_at IS NULL {} \
                     ORDER BY g.created_at DESC, g.id DESC LIMIT ?) g",
                    if page.after.is_some() {
                        "AND (g.created_at, g.id) < (?, ?)"
                    } else {
                        ""
                    },
                );
                let text = PageQuery {
                    columns: group_columns!(),
                    bytes: "octet_length(g.name) + octet_length(g.fields)",
                    from: &from,
                    order: "g.created_at DESC, g.id DESC",
                    by: "group_created_at DESC, group_id DESC",
                }
                .text();
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
                    .map(CustomerGroup::try_from);
                Ok(Page::read(groups, page.limit, |group| CreatedKey {
                    created_at: group.created_at,
                    id: group.id.as_uuid(),
                })?)
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
        let mut attempt = Attempt {
            _turn: self.lanes.turn((account, id)).await,
            file,
            audit,
            key,
        };
        let mut rounds = 0_u32;
        loop {
            let lane = self.lanes.lane().await?;
            let tried = self
                .db
                .run_import(move |conn| {
                    let _until_it_ends = lane;
                    transaction(conn, |conn| {
                        if !lock_group(conn, account, id)? {
                            return Ok(Err(attempt));
                        }
                        let Attempt {
                            _turn,
                            file,
                            audit,
                            key,
                        } = attempt;
                        import(conn, account, id, file, audit, key).map(Ok)
                    })
                })
                .await?;
            attempt = match tried {
                Ok(imported) => return Ok(imported),
                Err(attempt) => attempt,
            };
            self.lanes.pause(rounds).await;
            rounds = rounds.saturating_add(1);
        }
    }

    async fn delete_group(&self, delete: DeleteGroup) -> Result<GroupDeletion, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| delete_group(conn, delete)))
            .await
    }

    async fn list_customers(
        &self,
        list: ListCustomers,
    ) -> Result<Page<Customer, CustomerKey>, StoreError> {
        self.db.run(move |conn| list_customers(conn, list)).await
    }

    async fn delete_customers(
        &self,
        delete: DeleteCustomers,
    ) -> Result<Option<DeletedCustomers>, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| delete_customers(conn, delete)))
            .await
    }

    async fn erase_customer(&self, erase: EraseCustomer) -> Result<u64, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| erase_customer(conn, erase)))
            .await
    }
}

/// An import that has its turn among those of its process.
struct Attempt {
    _turn: Turn,
    file: CustomerFile,
    audit: ImportAudit,
    key: Option<IdempotencyKey>,
}

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// Whether no other import of the group is under way, until the transaction ends. Two would wait
/// for each other's rows, in either order. Within a process they take turns; an import of another
/// process is not waited for here, since the wait would hold a connection.
fn lock_group(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<bool, Failure> {
    let row = sql("SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0)) AS locked")
        .bind::<Text, _>(format!("import {account} {id}"))
        .get_result::<LockedRow>(conn)?;
    Ok(row.locked)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(Pg))]
struct KnownRow {
    customer_count: i64,
    fields: String,
}

#[derive(QueryableByName)]
struct MergedRow {
    #[diesel(sql_type = BigInt)]
    distinct_refs: i64,
    #[diesel(sql_type = BigInt)]
    imported: i64,
    #[diesel(sql_type = BigInt)]
    updated: i64,
}

fn import(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
    file: CustomerFile,
    audit: ImportAudit,
    key: Option<IdempotencyKey>,
) -> Result<Imported, Failure> {
    check_key(conn, account, key.as_ref(), audit.at())?;
    let CustomerFile { fields, mode, rows } = file;
    // A file takes as long as it takes. Its waits for locks are bounded as everybody's.
    let limit = statement_timeout(conn)?;
    set_statement_timeout(conn, "0")?;
    let KnownRow {
        customer_count: before,
        fields: known,
    } = customer_groups::table
        .find((account.as_uuid(), id.as_uuid()))
        .filter(customer_groups::deleted_at.is_null())
        .select(KnownRow::as_select())
        .get_result(conn)
        .optional()?
        .ok_or(Failure::GroupNotFound)?;
    let known = names("customer_groups", "fields", &known)?;
    // The rows have no index, so that they are read as a whole.
    conn.batch_execute(
        "SET LOCAL enable_seqscan = on; CREATE TEMPORARY TABLE import_rows \
         (ordinal bigint, customer_ref text COLLATE \"C\", profile jsonb) ON COMMIT DROP",
    )?;
    let rows = copy_in(conn, &fields, rows)?;
    // Nobody else adds customers while the lock above is held.
    let merged = if before == 0 {
        add(conn, account, id)?
    } else {
        match mode {
            ImportMode::Merge => merge(conn, account, id, &fields)?,
            ImportMode::Replace => overwrite(conn, account, id)?,
        }
    };
    // Of those that were there, the file has the ones that did not come new. Somebody may delete
    // customers meanwhile: what counts is how many go here.
    let others = before - (merged.distinct_refs - merged.imported);
    let removed = if mode == ImportMode::Replace && others > 0 {
        remove_others(conn, account, id)?
    } else {
        0
    };
    let count = |rows: i64| u64::try_from(rows).unwrap_or_default();
    let mut imported = Imported {
        rows,
        imported: count(merged.imported),
        updated: count(merged.updated),
        removed: count(removed),
        duplicates: rows.saturating_sub(count(merged.distinct_refs)),
        total: count(before),
    };
    // From here on the import holds what others wait for: the group's row, for who starts a run on
    // it, and the account's audit chain.
    set_statement_timeout(conn, &limit)?;
    let fields = mode.fields_after(&known, &fields);
    let changes = imported.changed() || fields != known;
    if changes {
        let total = sql(
            "UPDATE customer_groups SET customer_count = customer_count + ?, fields = ?, \
               version = version + 1, updated_at = ? \
             WHERE account_id = ? AND id = ? AND deleted_at IS NULL \
             RETURNING customer_count AS value",
        )
        .bind::<BigInt, _>(merged.imported - removed)
        .bind::<Text, _>(json_list(&fields))
        .bind::<Time, _>(audit.at())
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(id.as_uuid())
        .load::<Value>(conn)?
        .pop()
        .ok_or(Failure::GroupNotFound)?;
        imported.total = count(total.value);
        drop_counts(conn, account.as_uuid(), &[id.as_uuid()])?;
        changed_groups::queue(conn, (account.as_uuid(), id.as_uuid()), audit.at())?;
    }
    let response = key.map(|key| key.answered(&imported)).transpose()?;
    keep_response(conn, account, response.as_ref(), audit.at())?;
    if changes {
        append_audit(conn, audit.completed(imported))?;
    }
    Ok(imported)
}

#[derive(QueryableByName)]
struct SettingRow {
    #[diesel(sql_type = Text)]
    setting: String,
}

fn statement_timeout(conn: &mut PgConnection) -> Result<String, Failure> {
    let row = sql("SELECT current_setting('statement_timeout') AS setting")
        .get_result::<SettingRow>(conn)?;
    Ok(row.setting)
}

/// Sets how long each statement of the transaction may take from now on.
fn set_statement_timeout(conn: &mut PgConnection, limit: &str) -> Result<(), Failure> {
    sql("SELECT set_config('statement_timeout', ?, true) AS setting")
        .bind::<Text, _>(limit)
        .execute(conn)?;
    Ok(())
}

/// Streams the rows into the temporary table; answers how many there were.
fn copy_in(conn: &mut PgConnection, fields: &[String], rows: CustomerRows) -> Result<u64, Failure> {
    let names: Vec<String> = fields
        .iter()
        .map(|name| serde_json::json!(name).to_string())
        .collect();
    // The closure may be called through a shared reference only.
    let rows = RefCell::new(rows);
    let refused: RefCell<Option<Invalid>> = RefCell::new(None);
    let copied = diesel::copy_from(import_rows::table)
        .from_raw_data(
            import_rows::table,
            |out: &mut dyn Write| -> Result<(), Failure> {
                let mut line = String::new();
                for (ordinal, row) in rows.borrow_mut().by_ref().enumerate() {
                    let row = row.inspect_err(|invalid| {
                        refused.replace(Some(invalid.clone()));
                    })?;
                    line.clear();
                    write_line(&mut line, ordinal, &row, &names)?;
                    out.write_all(line.as_bytes()).map_err(broken_copy)?;
                    progress();
                }
                Ok(())
            },
        )
        .with_format(CopyFormat::Csv)
        .execute(conn);
    match (refused.into_inner(), copied) {
        (Some(invalid), _) => Err(invalid.into()),
        (None, copied) => Ok(u64::try_from(copied?).unwrap_or_default()),
    }
}

fn broken_copy(error: std::io::Error) -> Failure {
    Failure::Query(diesel::result::Error::SerializationError(error.into()))
}

/// A line of CSV: ordinal, reference, and the profile with the fields that have a value.
fn write_line(
    line: &mut String,
    ordinal: usize,
    row: &CustomerRow,
    names: &[String],
) -> Result<(), Failure> {
    fn quoted(line: &mut String, text: &str) {
        line.push('"');
        for (index, part) in text.split('"').enumerate() {
            if index > 0 {
                line.push_str("\"\"");
            }
            line.push_str(part);
        }
        line.push('"');
    }
    let mut profile = String::from("{");
    for (name, value) in names.iter().zip(&row.values) {
        let Some(value) = value else { continue };
        let value =
            serde_json::to_string(value).map_err(|error| StoreError::Backend(error.into()))?;
        if profile.len() > 1 {
            profile.push(',');
        }
        profile.push_str(name);
        profile.push(':');
        profile.push_str(&value);
    }
    profile.push('}');
    line.push_str(&ordinal.to_string());
    line.push(',');
    quoted(line, &row.customer_ref);
    line.push(',');
    quoted(line, &profile);
    line.push('\n');
    Ok(())
}

/// Of the copied rows with one reference the last.
const LATEST: &str = "SELECT DISTINCT ON (customer_ref) customer_ref, profile FROM import_rows \
                      ORDER BY customer_ref, ordinal DESC";

/// Takes the copied rows into the group, which has no customers.
fn add(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<MergedRow, Failure> {
    let added = sql(&format!(
        "INSERT INTO customers (account_id, group_id, customer_ref, profile) \
         SELECT ?, ?, customer_ref, profile FROM ({LATEST}) latest"
    ))
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .execute(conn)?;
    let imported = i64::try_from(added).map_err(|error| StoreError::Backend(error.into()))?;
    Ok(MergedRow {
        distinct_refs: imported,
        imported,
        updated: 0,
    })
}

/// Takes the copied rows into the group. The given fields replace a customer's, so those
/// without a value go; other fields stay.
fn merge(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
    fields: &[String],
) -> Result<MergedRow, Failure> {
    let merged = sql(&format!(
        "WITH latest AS ({LATEST}), \
         merged AS ( \
           INSERT INTO customers AS c (account_id, group_id, customer_ref, profile) \
           SELECT ?, ?, customer_ref, profile FROM latest \
           ON CONFLICT (account_id, group_id, customer_ref) DO UPDATE \
             SET profile = (c.profile - ?::text[]) || excluded.profile \
             WHERE c.profile IS DISTINCT FROM (c.profile - ?::text[]) || excluded.profile \
           RETURNING xmax = 0 AS is_new) \
         SELECT (SELECT count(*) FROM latest) AS distinct_refs, \
           count(*) FILTER (WHERE is_new) AS imported, \
           count(*) FILTER (WHERE NOT is_new) AS updated FROM merged"
    ))
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .bind::<Array<Text>, _>(fields)
    .bind::<Array<Text>, _>(fields)
    .get_result::<MergedRow>(conn)?;
    Ok(merged)
}

/// Takes the copied rows into the group. A customer keeps nothing that its row does not have.
fn overwrite(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<MergedRow, Failure> {
    let merged = sql(&format!(
        "WITH latest AS ({LATEST}), \
         merged AS ( \
           INSERT INTO customers AS c (account_id, group_id, customer_ref, profile) \
           SELECT ?, ?, customer_ref, profile FROM latest \
           ON CONFLICT (account_id, group_id, customer_ref) DO UPDATE \
             SET profile = excluded.profile \
             WHERE c.profile IS DISTINCT FROM excluded.profile \
           RETURNING xmax = 0 AS is_new) \
         SELECT (SELECT count(*) FROM latest) AS distinct_refs, \
           count(*) FILTER (WHERE is_new) AS imported, \
           count(*) FILTER (WHERE NOT is_new) AS updated FROM merged"
    ))
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .get_result::<MergedRow>(conn)?;
    Ok(merged)
}

/// Removes the group's customers that no copied row is about; returns how many those
/// were.
fn remove_others(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<i64, Failure> {
    let removed = sql("WITH kept AS (SELECT customer_ref FROM import_rows) \
         DELETE FROM customers c WHERE c.account_id = ? AND c.group_id = ? \
           AND NOT EXISTS (SELECT FROM kept WHERE kept.customer_ref = c.customer_ref)")
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .execute(conn)?;
    Ok(i64::try_from(removed).map_err(|error| StoreError::Backend(error.into()))?)
}

/// Drops the counts of segments that are kept for groups.
fn drop_counts(conn: &mut PgConnection, account: Uuid, groups: &[Uuid]) -> Result<(), Failure> {
    let kept = segmentations::table
        .filter(segmentations::account_id.eq(account))
        .filter(segmentations::group_id.eq_any(groups));
    diesel::delete(kept).execute(conn)?;
    Ok(())
}

/// Keeps a group from being deleted until the transaction ends; false when it is not there.
pub(crate) fn hold_group(
    conn: &mut PgConnection,
    account: AccountId,
    id: CustomerGroupId,
) -> Result<bool, Failure> {
    let held = customer_groups::table
        .find((account.as_uuid(), id.as_uuid()))
        .filter(customer_groups::deleted_at.is_null())
        .select(customer_groups::id)
        .for_key_share()
        .get_result::<Uuid>(conn);
    Ok(held.optional()?.is_some())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(Pg))]
struct NamedRow {
    name: String,
    customer_count: i64,
}

fn delete_group(conn: &mut PgConnection, delete: DeleteGroup) -> Result<GroupDeletion, Failure> {
    let account = delete.author.actor.account_id;
    let (of, id, now) = (
        account.as_uuid(),
        delete.group_id.as_uuid(),
        delete.author.at,
    );
    // A draft or a run for the group waits for this lock, and then does not find the group.
    let group = customer_groups::table
        .find((of, id))
        .filter(customer_groups::deleted_at.is_null())
        .select(NamedRow::as_select())
        .for_update()
        .get_result(conn)
        .optional()?;
    let Some(NamedRow {
        name,
        customer_count,
    }) = group
    else {
        return Ok(GroupDeletion::NotFound);
    };
    let users = sql("SELECT 1::bigint AS value FROM campaigns \
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
    sql(
        "UPDATE customer_groups SET deleted_at = ?, updated_at = ?, version = version + 1 \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Time, _>(now)
    .bind::<Time, _>(now)
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .execute(conn)?;
    drop_counts(conn, of, &[id])?;
    let customers = u64::try_from(customer_count).unwrap_or_default();
    let response = delete.key.as_ref().map(|key| key.answered(&customers));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    append_audit(conn, delete.audit(name, customers))?;
    Ok(GroupDeletion::Deleted(customers))
}

fn delete_customers(
    conn: &mut PgConnection,
    delete: DeleteCustomers,
) -> Result<Option<DeletedCustomers>, Failure> {
    let account = delete.author.actor.account_id;
    let (of, id, now) = (
        account.as_uuid(),
        delete.group_id.as_uuid(),
        delete.author.at,
    );
    if !hold_group(conn, account, delete.group_id)? {
        return Ok(None);
    }
    let deleted = sql(
        "DELETE FROM customers WHERE account_id = ? AND group_id = ? AND customer_ref = ANY(?)",
    )
    .planned_each_time()
    .bind::<Id, _>(of)
    .bind::<Id, _>(id)
    .bind::<Array<Text>, _>(&delete.customer_refs)
    .execute(conn)?;
    let gone = i64::try_from(deleted).map_err(|error| StoreError::Backend(error.into()))?;
    let total = if gone == 0 {
        customer_groups::table
            .find((of, id))
            .select(customer_groups::customer_count)
            .get_result(conn)?
    } else {
        sql(
            "UPDATE customer_groups SET customer_count = customer_count - ?, \
               version = version + 1, updated_at = ? \
             WHERE account_id = ? AND id = ? RETURNING customer_count AS value",
        )
        .bind::<BigInt, _>(gone)
        .bind::<Time, _>(now)
        .bind::<Id, _>(of)
        .bind::<Id, _>(id)
        .get_result::<Value>(conn)?
        .value
    };
    let count = |rows: i64| u64::try_from(rows).unwrap_or_default();
    let done = DeletedCustomers {
        deleted_customers: count(gone),
        total: count(total),
    };
    let response = delete.key.as_ref().map(|key| key.answered(&done));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    if gone > 0 {
        drop_counts(conn, of, &[id])?;
        append_audit(conn, delete.audit(done))?;
    }
    Ok(Some(done))
}

#[derive(QueryableByName)]
pub(crate) struct IdRow {
    #[diesel(sql_type = Id)]
    pub(crate) id: Uuid,
}

fn erase_customer(conn: &mut PgConnection, erase: EraseCustomer) -> Result<u64, Failure> {
    let account = erase.author.actor.account_id;
    let (of, now) = (account.as_uuid(), erase.author.at);
    // One look-up for each group of the account.
    let having = |conn: &mut PgConnection, deleted: &str| {
        let rows = sql(&format!(
            "SELECT g.id FROM customer_groups g CROSS JOIN LATERAL ( \
               SELECT 1 FROM customers c WHERE c.account_id = ? AND c.group_id = g.id \
                 AND c.customer_ref = ? LIMIT 1) c \
             WHERE g.account_id = ? AND g.deleted_at {deleted} ORDER BY g.id"
        ))
        .planned_each_time()
        .bind::<Id, _>(of)
        .bind::<Text, _>(erase.customer_ref.as_str())
        .bind::<Id, _>(of)
        .load::<IdRow>(conn)?;
        let ids = rows.into_iter().map(|row| row.id).collect::<Vec<Uuid>>();
        Ok::<_, Failure>(ids)
    };
    let groups = having(conn, "IS NULL")?;
    if groups.is_empty() {
        return Ok(0);
    }
    let left_over = having(conn, "IS NOT NULL")?;
    // In the order of the groups, so that two erasures do not wait for each other.
    for id in groups.iter().chain(&left_over) {
        let customer = customers::table.find((of, *id, &erase.customer_ref));
        if diesel::delete(customer).execute(conn)? == 0 {
            return Err(StoreError::Conflict.into());
        }
    }
    let changed = sql(
        "UPDATE customer_groups SET customer_count = customer_count - 1, version = version + 1, \
           updated_at = ? WHERE account_id = ? AND deleted_at IS NULL AND id IN ( \
           SELECT id FROM customer_groups WHERE account_id = ? AND id = ANY(?) \
           ORDER BY id FOR NO KEY UPDATE)",
    )
    .bind::<Time, _>(now)
    .bind::<Id, _>(of)
    .bind::<Id, _>(of)
    .bind::<Array<Id>, _>(&groups)
    .execute(conn)?;
    if changed != groups.len() {
        return Err(StoreError::Conflict.into());
    }
    drop_counts(conn, of, &groups)?;
    let erased = u64::try_from(groups.len()).unwrap_or_default();
    let response = erase.key.as_ref().map(|key| key.answered(&erased));
    keep_response(conn, account, response.transpose()?.as_ref(), now)?;
    append_audit(conn, erase.audit(erased))?;
    Ok(erased)
}

/// How many customers of a deleted group go at once.
const SLICE: i64 = 2_000;

/// Deletes a slice of the customers of a deleted group. Returns false if there are no more.
pub(crate) fn sweep(conn: &mut PgConnection) -> Result<bool, Failure> {
    // The planner uses the index of deleted groups only if its condition is in the text.
    let accounts = sql("SELECT DISTINCT account_id AS id FROM customer_groups \
         WHERE deleted_at IS NOT NULL AND customer_count > 0 ORDER BY id")
    .load::<IdRow>(conn)?;
    for IdRow { id: account } in accounts {
        let found = sql("SELECT id FROM customer_groups \
             WHERE account_id = ? AND deleted_at IS NOT NULL AND customer_count > 0 \
             ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")
        .bind::<Id, _>(account)
        .load::<IdRow>(conn)?
        .pop();
        if let Some(IdRow { id }) = found {
            sweep_group(conn, account, id)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn sweep_group(conn: &mut PgConnection, account_id: Uuid, id: Uuid) -> Result<(), Failure> {
    let deleted = sql(
        "DELETE FROM customers WHERE account_id = ? AND group_id = ? \
         AND customer_ref IN (SELECT customer_ref FROM customers \
           WHERE account_id = ? AND group_id = ? ORDER BY customer_ref LIMIT ?)",
    )
    .planned_each_time()
    .bind::<Id, _>(account_id)
    .bind::<Id, _>(id)
    .bind::<Id, _>(account_id)
    .bind::<Id, _>(id)
    .bind::<BigInt, _>(SLICE)
    .execute(conn)?;
    if deleted == 0 {
        sql("UPDATE customer_groups SET customer_count = 0 WHERE account_id = ? AND id = ?")
            .bind::<Id, _>(account_id)
            .bind::<Id, _>(id)
            .execute(conn)?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = Text)]
    customer_ref: String,
    #[diesel(sql_type = Text)]
    profile: String,
}

fn list_customers(
    conn: &mut PgConnection,
    list: ListCustomers,
) -> Result<Page<Customer, CustomerKey>, Failure> {
    let from = format!(
        "FROM (SELECT customer_ref, profile FROM customers \
           WHERE account_id = ? AND group_id = ? AND customer_ref > ? {} \
           ORDER BY customer_ref LIMIT ?) c",
        if list.customer_refs.is_some() {
            "AND customer_ref = ANY(?)"
        } else {
            ""
        },
    );
    let text = PageQuery {
        columns: "c.customer_ref, c.profile::text AS profile",
        bytes: "octet_length(c.customer_ref) + octet_length(c.profile::text)",
        from: &from,
        order: "c.customer_ref",
        by: "customer_ref",
    }
    .text();
    let after = list.page.after.map(|CustomerKey(after)| after);
    let mut query = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(list.account_id.as_uuid())
        .bind::<Id, _>(list.group_id.as_uuid())
        .bind::<Text, _>(after.unwrap_or_default());
    if let Some(refs) = list.customer_refs {
        query = query.bind::<Array<Text>, _>(refs);
    }
    let customers = query
        .bind::<BigInt, _>(i64::from(list.page.limit.get()) + 1)
        .load::<ListedRow>(conn)?
        .into_iter()
        .map(|row| customer(row.customer_ref, &row.profile));
    Ok(Page::read(customers, list.page.limit, |customer| {
        CustomerKey(customer.customer_ref.clone())
    })?)
}
