//! Writes the rows of an import to a group.
//!
//! SQLite has one writer at a time, and readers see a transaction all at once. A small change is
//! one transaction. A large one builds the group's next edition in slices, each a transaction of
//! its own, between which others write. The last transaction makes that edition the group's
//! current one, which is when readers see it, and writes the audit entry. Rows of editions that
//! nobody reads are deleted in slices too.
//!
//! What is to be written is computed outside of any write transaction. At the write, the group's
//! version shows whether the computed rows are still valid.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;
use rerun_core::audit::ImportAudit;
use rerun_core::error::StoreError;
use rerun_core::group::{ImportMode, Imported};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::ports::{IdempotencyKey, IdempotentResponse};
use rerun_diesel::changed_groups;
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{json_list, names};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time, Uid};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::schema::{customer_editions, customer_groups, customers};
use crate::write::{append_audit, drop_counts};

/// The most rows that one transaction of an import writes or deletes, and about the most bytes of
/// their texts.
const SLICE: (i64, i64) = (5_000, 2 * 1024 * 1024);

/// How long an edition that no import writes to is taken for one that is being built, in seconds.
const ABANDONED_AFTER: i64 = 60;

/// How often an import is tried whose group others change meanwhile. Within a process they take
/// turns, so that these are other processes.
const TRIES: u32 = 5;

/// The longest pause between two slices.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Where an import's rows wait. `staged_customers` has the rows of the file: `patch` is a JSON object of
/// a row's values by field name, null for an empty one. `next_customers` has what becomes of the
/// group's customers, and `gone_customers` the references of those that go.
pub(crate) const STAGING: &str = "\
    CREATE TEMP TABLE staged_customers (\
       customer_ref TEXT NOT NULL PRIMARY KEY, patch TEXT NOT NULL) STRICT, WITHOUT ROWID; \
    CREATE TEMP TABLE next_customers (\
       customer_ref TEXT NOT NULL PRIMARY KEY, profile TEXT NOT NULL, \
       state INTEGER NOT NULL) STRICT, WITHOUT ROWID; \
    CREATE TEMP TABLE gone_customers (\
       customer_ref TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;";

/// A file whose rows have been staged.
pub(crate) struct Staged {
    pub(crate) fields: Vec<String>,
    pub(crate) mode: ImportMode,
    pub(crate) rows: u64,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Where rows come from that are to be written.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The rows of the file, for a group without customers.
    Staged,
    /// `next_customers`.
    Next,
}

impl Source {
    const fn table(self) -> &'static str {
        match self {
            Self::Staged => "temp.staged_customers",
            Self::Next => "temp.next_customers",
        }
    }

    /// The column with the text that makes up a row's size.
    const fn text(self) -> &'static str {
        match self {
            Self::Staged => "patch",
            Self::Next => "profile",
        }
    }

    const fn profile(self) -> &'static str {
        match self {
            Self::Staged => "json_patch('{}', patch)",
            Self::Next => "profile",
        }
    }
}

/// What an import is going to do to a group at a version of it.
struct Plan {
    version: i64,
    edition: i64,
    /// Whether the group has customers, so that its edition has rows.
    had_customers: bool,
    source: Source,
    /// Whether one transaction can do it.
    is_small: bool,
    changes_fields: bool,
    fields: Vec<String>,
    done: Imported,
    response: Option<IdempotentResponse>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(Sqlite))]
struct KnownRow {
    customer_count: i64,
    fields: String,
    version: i64,
    edition: i64,
}

#[derive(QueryableByName)]
struct SizeRow {
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

#[derive(QueryableByName)]
struct ChangesRow {
    #[diesel(sql_type = BigInt)]
    imported: i64,
    #[diesel(sql_type = BigInt)]
    updated: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

#[derive(QueryableByName)]
struct LastRow {
    #[diesel(sql_type = Nullable<Text>)]
    last: Option<String>,
}

#[derive(QueryableByName)]
struct EditionRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Id)]
    group_id: Uuid,
    #[diesel(sql_type = BigInt)]
    edition: i64,
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    edition: i64,
}

/// Writes on a connection, in turn with the process's other writers.
pub(crate) struct Writer<'a> {
    pub(crate) conn: &'a mut SqliteConnection,
    pub(crate) turns: &'a Arc<Mutex<()>>,
}

impl Writer<'_> {
    fn write<T>(
        &mut self,
        job: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // It has come this far: it may wait for all who came before.
        let _turn = Arc::clone(self.turns).blocking_lock_owned();
        self.conn.immediate_transaction(job)
    }

    /// Writes one of many slices.
    fn write_slice<T>(
        &mut self,
        job: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut took = Duration::ZERO;
        let written = self.write(|conn| {
            let begun = Instant::now();
            let written = job(conn);
            took = begun.elapsed();
            written
        })?;
        // The writers of this process come one after the other. Those of another process ask for
        // SQLite's lock again and again: it is to be free now and then.
        std::thread::sleep((took / 4).min(LONGEST_PAUSE));
        Ok(written)
    }

    /// Takes the staged rows into the group, all or none.
    pub(crate) fn import(
        &mut self,
        group: Group,
        staged: &Staged,
        audit: &ImportAudit,
    ) -> Result<Imported, Failure> {
        self.sweep_quietly();
        for _ in 0..TRIES {
            let plan = self.conn.transaction(|conn| plan(conn, group, staged))?;
            if !plan.done.changed() && !plan.changes_fields {
                if plan.response.is_none()
                    || self.write(|conn| change_nothing(conn, group, &plan, audit))?
                {
                    return Ok(plan.done);
                }
                continue;
            }
            if plan.is_small {
                if self.write(|conn| change(conn, group, &plan, audit))? {
                    return Ok(plan.done);
                }
            } else if self.build(group, &plan, audit)? {
                self.sweep_quietly();
                return Ok(plan.done);
            }
        }
        let busy = "others keep changing the customer group that this import is for";
        Err(StoreError::Unavailable(busy.into()).into())
    }

    /// Builds the group's next edition and makes it current; false when the group was changed
    /// meanwhile.
    fn build(&mut self, group: Group, plan: &Plan, audit: &ImportAudit) -> Result<bool, Failure> {
        let next = self.write(|conn| claim(conn, group))?;
        let built = self.build_claimed(group, plan, next, audit);
        if !matches!(built, Ok(true)) {
            // Its rows are deleted later, at once or when it has been abandoned for long enough.
            let given_up = self.write(|conn| give_up(conn, group, next));
            if let Err(error) = given_up {
                tracing::warn!(%error, "an unfinished edition of a customer group is left");
            }
        }
        built
    }

    fn build_claimed(
        &mut self,
        group: Group,
        plan: &Plan,
        next: i64,
        audit: &ImportAudit,
    ) -> Result<bool, Failure> {
        let mut after = String::new();
        while let Some(last) = slice_of_source(self.conn, plan.source, &after)? {
            let written = self.write_slice(|conn| {
                Ok(touch(conn, group, next)? && {
                    copy(conn, group, plan.source, next, (&after, &last))?;
                    true
                })
            })?;
            if !written {
                return Ok(false);
            }
            after = last;
        }
        self.write(|conn| {
            if !touch(conn, group, next)? || version(conn, group)? != Some(plan.version) {
                return Ok(false);
            }
            forget_edition(conn, group, next)?;
            if plan.had_customers {
                sql("INSERT INTO customer_editions \
                       (account_id, group_id, edition, building, touched_at) \
                     VALUES (?, ?, ?, 0, unixepoch())")
                .bind::<Id, _>(group.account)
                .bind::<Id, _>(group.id)
                .bind::<BigInt, _>(plan.edition)
                .execute(conn)?;
            }
            finish(conn, group, plan, next, audit)?;
            Ok(true)
        })
    }

    /// Deletes the rows of editions that nobody reads: of those that were replaced, and of those
    /// whose imports broke off. A failure is only logged: the next import tries again.
    fn sweep_quietly(&mut self) {
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "old editions of customer groups are left");
        }
    }

    fn sweep(&mut self) -> Result<(), Failure> {
        loop {
            let found = sql(
                "SELECT account_id, group_id, edition FROM customer_editions \
                             WHERE building = 0 OR touched_at < unixepoch() - ? LIMIT 1",
            )
            .bind::<BigInt, _>(ABANDONED_AFTER)
            .load::<EditionRow>(self.conn)?
            .pop();
            let Some(EditionRow {
                account_id,
                group_id,
                edition,
            }) = found
            else {
                return Ok(());
            };
            let group = Group {
                account: account_id,
                id: group_id,
            };
            // If its import still lives, it finds that the edition is not its own any more.
            self.write(|conn| {
                sql("UPDATE customer_editions SET building = 0 \
                     WHERE account_id = ? AND group_id = ? AND edition = ? \
                       AND touched_at < unixepoch() - ?")
                .bind::<Id, _>(group.account)
                .bind::<Id, _>(group.id)
                .bind::<BigInt, _>(edition)
                .bind::<BigInt, _>(ABANDONED_AFTER)
                .execute(conn)?;
                Ok(())
            })?;
            loop {
                let last = slice_of_edition(self.conn, group, edition)?;
                let is_end = last.is_none();
                let swept = self.write_slice(|conn| delete(conn, group, edition, last))?;
                if is_end || !swept {
                    break;
                }
            }
        }
    }
}

/// A group, as the database names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    account: Uuid,
    id: Uuid,
}

impl Group {
    pub(crate) const fn new(account: AccountId, id: CustomerGroupId) -> Self {
        Self {
            account: account.as_uuid(),
            id: id.as_uuid(),
        }
    }
}

/// Finds out what becomes of the group. It reads the group at one moment, and writes to temporary
/// tables alone.
fn plan(conn: &mut SqliteConnection, group: Group, staged: &Staged) -> Result<Plan, Failure> {
    let known = customer_groups::table
        .find((Uid(group.account), Uid(group.id)))
        .filter(customer_groups::deleted_at.is_null())
        .select(KnownRow::as_select())
        .get_result(conn)
        .optional()?
        .ok_or(Failure::GroupNotFound)?;
    let size = sql("SELECT count(*) AS customers, \
                      ifnull(sum(octet_length(patch)), 0) AS bytes \
                    FROM temp.staged_customers")
    .get_result::<SizeRow>(conn)?;
    sql("DELETE FROM temp.next_customers").execute(conn)?;
    sql("DELETE FROM temp.gone_customers").execute(conn)?;
    let before = known.customer_count;
    let (source, changes) = if before == 0 {
        let all_new = ChangesRow {
            imported: size.customers,
            updated: 0,
            bytes: size.bytes,
        };
        (Source::Staged, all_new)
    } else {
        compare(conn, group, known.edition, staged.mode)?;
        let changes = sql("SELECT count(*) FILTER (WHERE state = 1) AS imported, \
                             count(*) FILTER (WHERE state = 2) AS updated, \
                             ifnull(sum(octet_length(profile)) FILTER (WHERE state > 0), 0) AS bytes \
                           FROM temp.next_customers")
        .get_result::<ChangesRow>(conn)?;
        (Source::Next, changes)
    };
    // Of those that were there, the file has the ones that do not come new.
    let removed = match staged.mode {
        ImportMode::Merge => 0,
        ImportMode::Replace => before - (size.customers - changes.imported),
    };
    let (most_rows, most_bytes) = SLICE;
    let is_small =
        changes.imported + changes.updated + removed <= most_rows && changes.bytes <= most_bytes;
    if before > 0 && is_small {
        // What stays is not looked at again while others wait.
        sql("DELETE FROM temp.next_customers WHERE state = 0").execute(conn)?;
        if removed > 0 {
            list_gone(conn, group, known.edition)?;
        }
    } else if before > 0 && staged.mode == ImportMode::Merge {
        add_others(conn, group, known.edition)?;
    }
    let count = |rows: i64| {
        u64::try_from(rows).map_err(|error| Failure::from(StoreError::Backend(error.into())))
    };
    let known_fields = names("customer_groups", "fields", &known.fields)?;
    let fields = staged.mode.fields_after(&known_fields, &staged.fields);
    let done = Imported {
        rows: staged.rows,
        imported: count(changes.imported)?,
        updated: count(changes.updated)?,
        removed: count(removed)?,
        duplicates: staged.rows.saturating_sub(count(size.customers)?),
        total: count(before + changes.imported - removed)?,
    };
    let key = staged.key.as_ref();
    let response = key.map(|key| key.answered(&done)).transpose()?;
    Ok(Plan {
        version: known.version,
        edition: known.edition,
        had_customers: before > 0,
        source,
        is_small,
        changes_fields: fields != known_fields,
        fields,
        done,
        response,
    })
}

/// Fills `next_customers` with the file's customers. The state is 1 for a new one, 2 for one that
/// changes, and 0 for one that stays as it is.
fn compare(
    conn: &mut SqliteConnection,
    group: Group,
    edition: i64,
    mode: ImportMode,
) -> Result<(), Failure> {
    let (profile, changed) = match mode {
        // json_patch writes equal values as equal texts, if it changes nothing.
        ImportMode::Merge => (
            "json_patch(ifnull(c.profile, '{}'), s.patch)",
            "json_patch(c.profile, s.patch) <> c.profile",
        ),
        // The fields of a stored profile are in the order in which they came. Two profiles are
        // equal when one changes nothing in the other and they have equally many fields.
        ImportMode::Replace => (
            "json_patch('{}', s.patch)",
            "json_patch(c.profile, s.patch) <> c.profile \
               OR (SELECT count(*) FROM json_each(c.profile)) \
                 <> (SELECT count(*) FROM json_each(json_patch('{}', s.patch)))",
        ),
    };
    // The outer join has SQLite look up each staged customer in the group, not each of the
    // group's among the staged, of which there may be few.
    let text = format!(
        "INSERT INTO temp.next_customers (customer_ref, profile, state) \
         SELECT s.customer_ref, {profile}, \
           CASE WHEN c.customer_ref IS NULL THEN 1 WHEN {changed} THEN 2 ELSE 0 END \
         FROM temp.staged_customers s LEFT JOIN customers c \
           ON c.account_id = ? AND c.group_id = ? AND c.edition = ? \
             AND c.customer_ref = s.customer_ref \
         ORDER BY s.customer_ref"
    );
    sql(&text)
        .bind::<Id, _>(group.account)
        .bind::<Id, _>(group.id)
        .bind::<BigInt, _>(edition)
        .execute(conn)?;
    Ok(())
}

/// Fills `gone_customers` with the group's customers that the file does not have.
fn list_gone(conn: &mut SqliteConnection, group: Group, edition: i64) -> Result<(), Failure> {
    sql("INSERT INTO temp.gone_customers (customer_ref) \
         SELECT customer_ref FROM customers c \
         WHERE account_id = ? AND group_id = ? AND edition = ? \
           AND NOT EXISTS (SELECT 1 FROM temp.staged_customers s \
             WHERE s.customer_ref = c.customer_ref)")
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<BigInt, _>(edition)
    .execute(conn)?;
    Ok(())
}

/// Adds the group's customers that the file does not have to `next_customers`.
fn add_others(conn: &mut SqliteConnection, group: Group, edition: i64) -> Result<(), Failure> {
    sql(
        "INSERT INTO temp.next_customers (customer_ref, profile, state) \
         SELECT customer_ref, profile, 0 FROM customers c \
         WHERE account_id = ? AND group_id = ? AND edition = ? \
           AND NOT EXISTS (SELECT 1 FROM temp.staged_customers s \
             WHERE s.customer_ref = c.customer_ref)",
    )
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<BigInt, _>(edition)
    .execute(conn)?;
    Ok(())
}

fn version(conn: &mut SqliteConnection, group: Group) -> Result<Option<i64>, Failure> {
    let version = customer_groups::table
        .find((Uid(group.account), Uid(group.id)))
        .select(customer_groups::version);
    Ok(version.get_result(conn).optional()?)
}

/// Changes the group's current edition; false when the group is not what was planned for.
fn change(
    conn: &mut SqliteConnection,
    group: Group,
    plan: &Plan,
    audit: &ImportAudit,
) -> Result<bool, Failure> {
    if version(conn, group)? != Some(plan.version) {
        return Ok(false);
    }
    if plan.done.removed > 0 {
        sql(
            "DELETE FROM customers WHERE account_id = ? AND group_id = ? AND edition = ? \
               AND customer_ref IN (SELECT customer_ref FROM temp.gone_customers)",
        )
        .bind::<Id, _>(group.account)
        .bind::<Id, _>(group.id)
        .bind::<BigInt, _>(plan.edition)
        .execute(conn)?;
    }
    let text = format!(
        "INSERT INTO customers (account_id, group_id, edition, customer_ref, profile) \
         SELECT ?, ?, ?, customer_ref, {} FROM {} WHERE true ORDER BY customer_ref \
         ON CONFLICT (account_id, group_id, edition, customer_ref) \
           DO UPDATE SET profile = excluded.profile",
        plan.source.profile(),
        plan.source.table(),
    );
    sql(&text)
        .bind::<Id, _>(group.account)
        .bind::<Id, _>(group.id)
        .bind::<BigInt, _>(plan.edition)
        .execute(conn)?;
    finish(conn, group, plan, plan.edition, audit)?;
    Ok(true)
}

/// Writes what the group is now, and the audit entry.
fn finish(
    conn: &mut SqliteConnection,
    group: Group,
    plan: &Plan,
    edition: i64,
    audit: &ImportAudit,
) -> Result<(), Failure> {
    let total =
        i64::try_from(plan.done.total).map_err(|error| StoreError::Backend(error.into()))?;
    sql(
        "UPDATE customer_groups SET edition = ?, customer_count = ?, fields = ?, \
           version = version + 1, updated_at = ? \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<BigInt, _>(edition)
    .bind::<BigInt, _>(total)
    .bind::<Text, _>(json_list(&plan.fields))
    .bind::<Time, _>(audit.at())
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .execute(conn)?;
    drop_counts(conn, group.account, group.id)?;
    changed_groups::queue(conn, (group.account, group.id), audit.at())?;
    keep(conn, group, plan, audit)?;
    append_audit(conn, audit.clone().completed(plan.done))
}

/// Keeps the response of an import that leaves the group as it is; false when the group is not
/// what was planned for.
fn change_nothing(
    conn: &mut SqliteConnection,
    group: Group,
    plan: &Plan,
    audit: &ImportAudit,
) -> Result<bool, Failure> {
    if version(conn, group)? != Some(plan.version) {
        return Ok(false);
    }
    keep(conn, group, plan, audit)?;
    Ok(true)
}

fn keep(
    conn: &mut SqliteConnection,
    group: Group,
    plan: &Plan,
    audit: &ImportAudit,
) -> Result<(), Failure> {
    let account = AccountId::new(group.account);
    keep_response(conn, account, plan.response.as_ref(), audit.at())
}

/// Begins an edition that no other import writes to; answers its number.
fn claim(conn: &mut SqliteConnection, group: Group) -> Result<i64, Failure> {
    let row = sql("INSERT INTO customer_editions \
           (account_id, group_id, edition, building, touched_at) \
         SELECT g.account_id, g.id, \
           max(g.edition, ifnull((SELECT max(e.edition) FROM customer_editions e \
             WHERE e.account_id = ? AND e.group_id = ?), 0)) + 1, 1, unixepoch() \
         FROM customer_groups g WHERE g.account_id = ? AND g.id = ? AND g.deleted_at IS NULL \
         RETURNING edition")
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .load::<NumberRow>(conn)?
    .pop()
    .ok_or(Failure::GroupNotFound)?;
    Ok(row.edition)
}

/// Whether the edition is still being built, by who asks.
fn touch(conn: &mut SqliteConnection, group: Group, edition: i64) -> Result<bool, Failure> {
    let touched = sql("UPDATE customer_editions SET touched_at = unixepoch() \
         WHERE account_id = ? AND group_id = ? AND edition = ? AND building = 1")
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<BigInt, _>(edition)
    .execute(conn)?;
    Ok(touched > 0)
}

fn give_up(conn: &mut SqliteConnection, group: Group, edition: i64) -> Result<(), Failure> {
    sql("UPDATE customer_editions SET building = 0 \
         WHERE account_id = ? AND group_id = ? AND edition = ?")
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<BigInt, _>(edition)
    .execute(conn)?;
    Ok(())
}

fn forget_edition(conn: &mut SqliteConnection, group: Group, edition: i64) -> Result<(), Failure> {
    let key = (Uid(group.account), Uid(group.id), edition);
    diesel::delete(customer_editions::table.find(key)).execute(conn)?;
    Ok(())
}

/// Copies the rows after the one reference and up to the other into the edition.
fn copy(
    conn: &mut SqliteConnection,
    group: Group,
    source: Source,
    edition: i64,
    (after, last): (&str, &str),
) -> Result<(), Failure> {
    let text = format!(
        "INSERT INTO customers (account_id, group_id, edition, customer_ref, profile) \
         SELECT ?, ?, ?, customer_ref, {} FROM {} \
         WHERE customer_ref > ? AND customer_ref <= ? ORDER BY customer_ref",
        source.profile(),
        source.table(),
    );
    sql(&text)
        .bind::<Id, _>(group.account)
        .bind::<Id, _>(group.id)
        .bind::<BigInt, _>(edition)
        .bind::<Text, _>(after)
        .bind::<Text, _>(last)
        .execute(conn)?;
    Ok(())
}

/// Deletes the edition's rows up to `last`; without it, the edition, which has no rows any more.
/// Does nothing and answers false when others have deleted the edition.
fn delete(
    conn: &mut SqliteConnection,
    group: Group,
    edition: i64,
    last: Option<String>,
) -> Result<bool, Failure> {
    let found = customer_editions::table
        .find((Uid(group.account), Uid(group.id), edition))
        .filter(customer_editions::building.eq(false))
        .select(customer_editions::edition)
        .get_result::<i64>(conn);
    if found.optional()?.is_none() {
        return Ok(false);
    }
    let Some(last) = last else {
        forget_edition(conn, group, edition)?;
        return Ok(true);
    };
    let slice = customers::table
        .filter(customers::account_id.eq(Uid(group.account)))
        .filter(customers::group_id.eq(Uid(group.id)))
        .filter(customers::edition.eq(edition))
        .filter(customers::customer_ref.le(last));
    diesel::delete(slice).execute(conn)?;
    Ok(true)
}

/// Deletes a slice of an unused edition, in the caller's transaction. Returns false if there is no
/// such edition.
pub(crate) fn sweep_slice(conn: &mut SqliteConnection) -> Result<bool, Failure> {
    let found = sql(
        "SELECT account_id, group_id, edition FROM customer_editions \
                     WHERE building = 0 LIMIT 1",
    )
    .load::<EditionRow>(conn)?
    .pop();
    let Some(EditionRow {
        account_id,
        group_id,
        edition,
    }) = found
    else {
        return Ok(false);
    };
    let group = Group {
        account: account_id,
        id: group_id,
    };
    let last = slice_of_edition(conn, group, edition)?;
    delete(conn, group, edition, last)
}

/// Takes the customers of a group away from all readers: its current edition is another one then,
/// which has no rows. They are deleted later.
pub(crate) fn leave_edition(conn: &mut SqliteConnection, group: Group) -> Result<(), Failure> {
    sql(
        "INSERT INTO customer_editions (account_id, group_id, edition, building, touched_at) \
         SELECT account_id, id, edition, 0, unixepoch() FROM customer_groups \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .execute(conn)?;
    sql(
        "UPDATE customer_groups SET edition = 1 + (SELECT max(e.edition) \
           FROM customer_editions e WHERE e.account_id = ? AND e.group_id = ?) \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .bind::<Id, _>(group.account)
    .bind::<Id, _>(group.id)
    .execute(conn)?;
    Ok(())
}

/// A query for the last reference of a slice of `rows`, which selects references and sizes in the
/// order of the references. The row that reaches the bound on bytes belongs to the slice.
fn slice(rows: &str) -> String {
    format!(
        "SELECT max(customer_ref) AS last FROM ( \
           SELECT customer_ref, sum(bytes) OVER (ORDER BY customer_ref \
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before \
           FROM ({rows} ORDER BY customer_ref LIMIT ?)) \
         WHERE ifnull(bytes_before, 0) < ?"
    )
}

fn slice_of_source(
    conn: &mut SqliteConnection,
    source: Source,
    after: &str,
) -> Result<Option<String>, Failure> {
    let rows = format!(
        "SELECT customer_ref, octet_length({}) AS bytes FROM {} WHERE customer_ref > ?",
        source.text(),
        source.table(),
    );
    let (most_rows, most_bytes) = SLICE;
    let row = sql(&slice(&rows))
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(most_rows)
        .bind::<BigInt, _>(most_bytes)
        .get_result::<LastRow>(conn)?;
    Ok(row.last)
}

fn slice_of_edition(
    conn: &mut SqliteConnection,
    group: Group,
    edition: i64,
) -> Result<Option<String>, Failure> {
    let rows = "SELECT customer_ref, octet_length(profile) AS bytes FROM customers \
                WHERE account_id = ? AND group_id = ? AND edition = ?";
    let (most_rows, most_bytes) = SLICE;
    let row = sql(&slice(rows))
        .bind::<Id, _>(group.account)
        .bind::<Id, _>(group.id)
        .bind::<BigInt, _>(edition)
        .bind::<BigInt, _>(most_rows)
        .bind::<BigInt, _>(most_bytes)
        .get_result::<LastRow>(conn)?;
    Ok(row.last)
}
