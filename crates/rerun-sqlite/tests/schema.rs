//! What the schema itself refuses, whoever writes to it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;
mod tables;

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};

fn connection(url: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(url).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
    conn
}

/// Two accounts with a group, a campaign, a run, a segment, a content and a message each.
fn two_accounts(conn: &mut SqliteConnection) {
    two_accounts_without_counts(conn);
    for account in ['a', 'b'] {
        let (own, group) = (id(account, 0), id(account, 1));
        conn.batch_execute(&format!(
            "INSERT INTO segmentations VALUES ({own}, {group}, {group}, '[]', 1, '[]')"
        ))
        .unwrap();
    }
}

/// As they can be made before the migration that adds a column to the counts.
fn two_accounts_without_counts(conn: &mut SqliteConnection) {
    for account in ['a', 'b'] {
        conn.batch_execute(&story(account)).unwrap();
    }
}

fn id(account: char, what: u8) -> String {
    let account = account.to_string().repeat(8);
    format!("X'{account}0000400080000000000000{what:02x}'")
}

fn story(account: char) -> String {
    let [own, group, campaign, content, message, job] =
        [0, 1, 2, 3, 4, 5].map(|what| id(account, what));
    format!(
        "INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
           VALUES ({own}, {group}, 'g', 1, 1);
         INSERT INTO customers (account_id, group_id, customer_ref, profile)
           VALUES ({own}, {group}, 'c-1', '{{}}');
         BEGIN;
         INSERT INTO campaigns (account_id, id, name, customer_group_id, segment_by,
             approval_stages, template_subject, template_body, status, current_run_number,
             last_run_number, version, created_by, created_at, updated_at)
           VALUES ({own}, {campaign}, 'c', {group}, '[]', '[]', 's', 'b', 'Published', 1, 1, 1,
             {own}, 1, 1);
         INSERT INTO runs (account_id, campaign_id, number, job_uid, status, group_id, group_name,
             customer_count, segments_total, segments_matched, segments_new, reused, generated,
             edited, generating, failed, pending, approved, rejected, published,
             resulting_status, started_at, completed_at)
           VALUES ({own}, {campaign}, 1, {job}, 'Completed', {group}, 'g', 1, 1, 0, 1, 0, 1, 0, 0,
             0, 0, 0, 0, 1, 'Ready for review', 1, 1);
         INSERT INTO segments (account_id, campaign_id, no, key, attributes)
           VALUES ({own}, {campaign}, 1, randomblob(32), '{{}}');
         INSERT INTO contents (account_id, id, run_number, subject, body, created_at) \
         VALUES ({own}, {content}, 1, 's', 'b', 1);
         INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no,
             customer_count, content_id, review_status, source, created_at, updated_at)
           VALUES ({own}, {message}, {campaign}, 1, 1, 1, {content}, 'Published', 'generated',
             1, 1);
         COMMIT;"
    )
}

/// A statement that adds an account's row of `table` again, changed by `assignments`.
fn again(table: &str, account: &str, assignments: &str) -> String {
    format!(
        "CREATE TEMP TABLE again AS SELECT * FROM main.{table} WHERE account_id = {account};
         UPDATE again SET {assignments};
         INSERT INTO main.{table} SELECT * FROM again"
    )
}

fn refused(conn: &mut SqliteConnection, statement: &str, by: &str) {
    let error = conn
        .transaction(|conn| conn.batch_execute(statement))
        .expect_err(statement);
    assert!(error.to_string().contains(by), "{statement}: {error}");
}

#[test]
fn no_row_can_reference_another_accounts() {
    let (url, _folder) = common::database();
    let mut conn = connection(&url);
    two_accounts(&mut conn);
    let own = id('a', 0);
    let [group, campaign, content, message] = [1, 2, 3, 4].map(|what| id('b', what));
    for statement in [
        format!(
            "INSERT INTO customers (account_id, group_id, customer_ref, profile) \
             VALUES ({own}, {group}, 'c-2', '{{}}')"
        ),
        format!("INSERT INTO segmentations VALUES ({own}, {own}, {group}, '[\"x\"]', 1, '[0]')"),
        format!("INSERT INTO group_segments VALUES ({own}, {group}, randomblob(32), '{{}}', 1)"),
        format!("UPDATE campaigns SET customer_group_id = {group} WHERE account_id = {own}"),
        // The other account has a run 2, this one has not.
        format!(
            "{}; UPDATE campaigns SET current_run_number = 2, last_run_number = 2 \
             WHERE account_id = {own}",
            again(
                "runs",
                &id('b', 0),
                "number = 2, job_uid = randomblob(16), archived_at = 1"
            )
        ),
        format!("UPDATE runs SET group_id = {group} WHERE account_id = {own}"),
        again(
            "runs",
            &own,
            &format!("campaign_id = {campaign}, number = 2, job_uid = randomblob(16)"),
        ),
        format!(
            "{}; {}",
            again(
                "runs",
                &id('b', 0),
                "number = 2, job_uid = randomblob(16), archived_at = 1"
            ),
            again(
                "runs",
                &own,
                "number = 3, job_uid = randomblob(16), archived_at = 1, previous_run_number = 2"
            )
            .replace("again", "once_more"),
        ),
        format!(
            "INSERT INTO segments (account_id, campaign_id, no, key, attributes) \
             VALUES ({own}, {campaign}, 2, randomblob(32), '{{}}')"
        ),
        format!(
            "UPDATE messages SET source = 'suggested', reused_from_message_id = {message}, \
             reused_from_run_number = 1 WHERE account_id = {own}"
        ),
        format!("UPDATE messages SET campaign_id = {campaign} WHERE account_id = {own}"),
        format!("UPDATE messages SET content_id = {content} WHERE account_id = {own}"),
        format!(
            "UPDATE messages SET source = 'reused', reused_from_message_id = {message}, \
             reused_from_run_number = 1 WHERE account_id = {own}"
        ),
        format!(
            "INSERT INTO generation_tasks VALUES \
             ({own}, {message}, {campaign}, 1, 0, 1, NULL, 0, NULL)"
        ),
    ] {
        refused(&mut conn, &statement, "FOREIGN KEY constraint failed");
    }
}

#[test]
fn every_key_leads_with_the_account() {
    #[derive(QueryableByName)]
    struct Key {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let (url, _folder) = common::database();
    let mut conn = connection(&url);
    let others: Vec<Key> = diesel::sql_query(
        "SELECT t.name || '.' || c.name AS name FROM pragma_table_list t
         JOIN pragma_table_info(t.name) c
         WHERE t.schema = 'main' AND t.type = 'table' AND c.pk = 1 AND c.name <> 'account_id'
           AND t.name <> '__diesel_schema_migrations'
         UNION ALL
         SELECT t.name || '.' || f.\"from\" FROM pragma_table_list t
         JOIN pragma_foreign_key_list(t.name) f
         WHERE t.schema = 'main' AND f.seq = 0
           AND (f.\"from\" <> 'account_id' OR f.\"to\" <> 'account_id')",
    )
    .load(&mut conn)
    .unwrap();
    let others: Vec<String> = others.into_iter().map(|key| key.name).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_schema_holds_the_invariants_that_it_can() {
    let (url, _folder) = common::database();
    let mut conn = connection(&url);
    two_accounts(&mut conn);
    let own = id('a', 0);
    let at = format!("WHERE account_id = {own}");
    for (statement, by) in [
        (
            again("runs", &own, "number = 2, job_uid = randomblob(16)"),
            "UNIQUE constraint failed: runs.account_id, runs.campaign_id",
        ),
        (
            again("messages", &own, "id = randomblob(16)"),
            "messages.run_number, messages.segment_no",
        ),
        (
            format!("UPDATE contents SET body = 'other' {at}"),
            "contents never change",
        ),
        (
            format!("UPDATE campaigns SET status = 'Done' {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE campaigns SET status = 'Draft' {at}"),
            "CHECK",
        ),
        (format!("UPDATE runs SET status = 'Queued' {at}"), "CHECK"),
        (format!("UPDATE runs SET status = 'Done' {at}"), "CHECK"),
        (
            format!("UPDATE runs SET completed_at = started_at - 1 {at}"),
            "CHECK",
        ),
        (format!("UPDATE runs SET published = 2 {at}"), "CHECK"),
        (
            format!("UPDATE runs SET segments_matched = 1 {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET review_status = 'Pending review' {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET review_status = 'Done' {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET content_id = NULL {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET source = 'reused' {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET source = 'suggested' {at}"),
            "CHECK",
        ),
        (
            format!("UPDATE messages SET source = 'guessed' {at}"),
            "CHECK",
        ),
        (format!("UPDATE runs SET suggested = 1 {at}"), "CHECK"),
        (format!("UPDATE segments SET conflicting = 1 {at}"), "CHECK"),
        (format!("UPDATE segments SET key = X'00' {at}"), "CHECK"),
        (
            format!("UPDATE customer_groups SET created_at = 'today' {at}"),
            "cannot store TEXT value in INTEGER column",
        ),
    ] {
        refused(&mut conn, &statement, by);
    }
}

#[test]
fn migrations_go_back_and_forth() {
    let (url, _folder) = common::database();
    two_accounts(&mut connection(&url));
    let applied = rerun_sqlite::migrations(&url).unwrap();
    assert!(applied.iter().all(|migration| migration.applied));
    assert_eq!(rerun_sqlite::migrate(&url).unwrap(), Vec::<String>::new());
    let names: Vec<String> = applied
        .into_iter()
        .map(|migration| migration.name)
        .collect();
    let mut reverted: Vec<String> = names
        .iter()
        .map(|_| rerun_sqlite::revert(&url).unwrap())
        .collect();
    let applied = rerun_sqlite::migrations(&url).unwrap();
    assert!(applied.iter().all(|migration| !migration.applied));
    reverted.reverse();
    assert_eq!(reverted, names);
    assert_eq!(rerun_sqlite::migrate(&url).unwrap(), names);
}

#[derive(QueryableByName)]
struct Fields {
    #[diesel(sql_type = Text)]
    fields: String,
}

#[test]
fn groups_that_exist_get_the_fields_of_their_customers() {
    let (url, _folder) = common::database();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-25-000002_group_fields" {}
    let mut conn = connection(&url);
    two_accounts_without_counts(&mut conn);
    let (own, group) = (id('a', 0), id('a', 1));
    conn.batch_execute(&format!(
        r#"INSERT INTO customers (account_id, group_id, customer_ref, profile) VALUES
             ({own}, {group}, 'c-2', '{{"tier":"x","B":"x"}}'),
             ({own}, {group}, 'c-3', '{{"a\"\u00e9":"x","tier":"y"}}');
           INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
             VALUES ({own}, X'{0}', 'large', 1, 1);
           INSERT INTO customers (account_id, group_id, customer_ref, profile)
             SELECT {own}, X'{0}', 'c-' || value, json_object(printf('f%05d', value), 'x')
             FROM (WITH RECURSIVE n(value) AS (
               SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 10001)
               SELECT value FROM n)"#,
        "0".repeat(32)
    ))
    .unwrap();
    rerun_sqlite::migrate(&url).unwrap();
    let mut fields = |account: char, group: &str| -> Vec<String> {
        let found = diesel::sql_query(format!(
            "SELECT fields FROM customer_groups WHERE account_id = {} AND id = {group}",
            id(account, 0)
        ))
        .get_result::<Fields>(&mut conn)
        .unwrap();
        serde_json::from_str(&found.fields).unwrap()
    };
    assert_eq!(fields('a', &group), ["B", "a\"\u{e9}", "tier"]);
    assert_eq!(fields('b', &id('b', 1)), Vec::<String>::new());
    let large = fields('a', &format!("X'{}'", "0".repeat(32)));
    assert_eq!((large.len(), large[9_999].as_str()), (10_000, "f10000"));
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Text>)]
    placeholder: Option<String>,
}

#[test]
fn placeholders_of_content_that_is_there_are_found_as_new_ones_are() {
    let (url, _folder) = common::database();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-25-000001_placeholders" {}
    let mut conn = connection(&url);
    two_accounts_without_counts(&mut conn);
    let contents = rerun_contract::fixture::contents_with_braces();
    for (content, seq) in contents.iter().zip(1_i64..) {
        diesel::sql_query(format!(
            "INSERT INTO contents (account_id, id, run_number, subject, body, created_at) \
             VALUES ({}, randomblob(16), 1, ?, ?, 1)",
            id('a', 0)
        ))
        .bind::<Text, _>(&content.subject)
        .bind::<Text, _>(&content.body)
        .execute(&mut conn)
        .unwrap();
        // The audit log says whose they are.
        diesel::sql_query(format!(
            "INSERT INTO audit_entries (account_id, seq, id, action, campaign_id, details, created_at, hash)
             SELECT account_id, ?, randomblob(16), 'message.edited', {}, json_object('content_id',
               format('%s-%s-%s-%s-%s', substr(hex, 1, 8), substr(hex, 9, 4), substr(hex, 13, 4),
                 substr(hex, 17, 4), substr(hex, 21))), 1, zeroblob(32)
             FROM (SELECT account_id, lower(hex(id)) AS hex FROM contents WHERE subject = ? AND body = ?)",
            id('a', 2)
        ))
        .bind::<BigInt, _>(seq)
        .bind::<Text, _>(&content.subject)
        .bind::<Text, _>(&content.body)
        .execute(&mut conn)
        .unwrap();
    }
    rerun_sqlite::migrate(&url).unwrap();
    for content in &contents {
        let found =
            diesel::sql_query("SELECT placeholder FROM contents WHERE subject = ? AND body = ?")
                .bind::<Text, _>(&content.subject)
                .bind::<Text, _>(&content.body)
                .get_result::<Found>(&mut conn)
                .unwrap();
        assert_eq!(
            found.placeholder.as_deref(),
            content.placeholder(),
            "{content:?}"
        );
    }
    refused(
        &mut conn,
        "UPDATE contents SET placeholder = NULL",
        "contents never change",
    );
}

/// There and back on a filled database.
#[test]
fn deleted_groups_come_back_empty() {
    let (url, _folder) = common::database();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000007_deleted_groups" {}
    let mut conn = connection(&url);
    two_accounts_without_counts(&mut conn);
    rerun_sqlite::migrate(&url).unwrap();
    let own = id('a', 0);
    conn.batch_execute(&format!(
        "INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
           VALUES ({own}, X'{0}', 'unused', 1, 1);
         INSERT INTO customers (account_id, group_id, customer_ref, profile)
           VALUES ({own}, X'{0}', 'c-1', '{{}}');
         UPDATE customer_groups SET deleted_at = 2 WHERE account_id = {own}",
        "0".repeat(32)
    ))
    .unwrap();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000007_deleted_groups" {}
    let count = |conn: &mut SqliteConnection, table: &str| {
        diesel::select(diesel::dsl::sql::<BigInt>(&format!(
            "(SELECT count(*) FROM {table} WHERE account_id = {own})"
        )))
        .get_result::<i64>(conn)
        .unwrap()
    };
    assert_eq!(count(&mut conn, "customer_groups"), 2);
    assert_eq!(count(&mut conn, "customers"), 0);
    assert_eq!(count(&mut conn, "runs"), 1);
    rerun_sqlite::migrate(&url).unwrap();
}

/// What reuse saved is worked out for the runs that are there, and goes with its migration.
#[test]
fn what_runs_saved_before_is_worked_out() {
    let (url, _folder) = common::database();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000008_saved" {}
    let mut conn = connection(&url);
    two_accounts(&mut conn);
    let [own, campaign, message, other] = [0, 2, 4, 9].map(|what| id('a', what));
    conn.batch_execute(&format!(
        "INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, created_at, \
           prompt_tokens, completion_tokens) \
         VALUES ({own}, randomblob(16), {campaign}, 1, 's', 'b', 1, 10, 1), \
           ({own}, randomblob(16), {campaign}, 1, 's', 'b', 1, 15, 2), \
           ({own}, randomblob(16), {campaign}, 2, 's', 'b', 1, 500, 5)"
    ))
    .unwrap();
    conn.batch_execute(&again(
        "runs",
        &own,
        "number = 2, job_uid = randomblob(16), archived_at = 1, segments_matched = 1, \
         segments_new = 0, reused = 1, generated = 0",
    ))
    .unwrap();
    let reused = format!(
        "id = {other}, run_number = 2, source = 'reused', customer_count = 7, \
         reused_from_message_id = {message}, reused_from_run_number = 1"
    );
    conn.batch_execute(&again("messages", &own, &reused).replace("again", "once_more"))
        .unwrap();
    drop(conn);
    rerun_sqlite::migrate(&url).unwrap();
    let mut conn = connection(&url);
    let saved = diesel::select(diesel::dsl::sql::<Text>(&format!(
        "(SELECT group_concat(concat_ws(' ', number, saved_customers, saved_prompt_tokens, \
           saved_completion_tokens, metered_messages, metered_prompt_tokens, \
           metered_completion_tokens), ', ' ORDER BY number) FROM runs WHERE account_id = {own})"
    )))
    .get_result::<String>(&mut conn)
    .unwrap();
    // Half of 25 and of 3, rounded.
    assert_eq!(saved, "1 0 0 0 2 25 3, 2 7 13 2 3 525 8");
    drop(conn);
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000008_saved" {}
    rerun_sqlite::migrate(&url).unwrap();
}

/// What was taken from an approved message stays when its migration goes, and a segment that does not
/// stand for its key goes on without one.
#[test]
fn adopted_messages_and_other_rules_go_back_and_forth() {
    let (url, _folder) = common::database();
    let mut conn = connection(&url);
    two_accounts(&mut conn);
    let (own, other) = (id('a', 0), id('a', 9));
    let count = |conn: &mut SqliteConnection, wanted: &str| {
        let text = format!("SELECT count(*) AS n FROM {wanted}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    conn.batch_execute(&again(
        "runs",
        &own,
        "number = 2, job_uid = randomblob(16), archived_at = 1, generated = 0, suggested = 1",
    ))
    .unwrap();
    conn.batch_execute(
        &again(
            "messages",
            &own,
            &format!(
                "id = {other}, run_number = 2, source = 'suggested', \
                 reused_from_message_id = {message}, reused_from_run_number = 1",
                message = id('a', 4)
            ),
        )
        .replace("again", "once_more"),
    )
    .unwrap();
    conn.batch_execute(&format!(
        "UPDATE segments SET shared_key = key, conflicting = 1 WHERE account_id = {own};
         UPDATE runs SET value_rules = '[\"a\"]' WHERE account_id = {own}"
    ))
    .unwrap();
    drop(conn);
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000003_rekeying" {}
    let mut conn = connection(&url);
    let adopted = "messages WHERE source = 'edited' AND reused_from_message_id IS NULL";
    assert_eq!(count(&mut conn, adopted), 1);
    assert_eq!(count(&mut conn, "runs WHERE edited = 1 AND number = 2"), 1);
    assert_eq!(count(&mut conn, "segments"), 2);
    let suggested = format!("UPDATE messages SET source = 'suggested' WHERE id = {other}");
    refused(&mut conn, &suggested, "CHECK");
    drop(conn);
    rerun_sqlite::migrate(&url).unwrap();
    let mut conn = connection(&url);
    assert_eq!(
        count(
            &mut conn,
            "runs WHERE suggested = 0 AND value_rules IS NULL"
        ),
        3
    );
    assert_eq!(
        count(
            &mut conn,
            "pragma_integrity_check WHERE integrity_check = 'ok'"
        ),
        1
    );
    refused(&mut conn, &suggested, "CHECK");
    let message = id('a', 4);
    conn.batch_execute(&format!(
        "UPDATE messages SET source = 'suggested', reused_from_message_id = {message}, \
         reused_from_run_number = 1 WHERE id = {other}"
    ))
    .unwrap();
}

/// What values are goes when its migration goes, and nothing is known of it afterwards.
#[test]
fn types_of_values_go_back_and_forth() {
    let (url, _folder) = common::database();
    let mut conn = connection(&url);
    two_accounts(&mut conn);
    let count = |conn: &mut SqliteConnection, wanted: &str| {
        let text = format!("SELECT count(*) AS n FROM {wanted}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    let own = id('a', 0);
    let types = |bytes: usize| {
        let bytes = "01".repeat(bytes);
        format!("UPDATE segments SET value_types = x'{bytes}' WHERE account_id = {own}")
    };
    for bytes in [0, 9] {
        refused(&mut conn, &types(bytes), "CHECK");
    }
    conn.batch_execute(&types(8)).unwrap();
    let known = "segments WHERE value_types IS NOT NULL";
    assert_eq!(count(&mut conn, known), 1);
    drop(conn);
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-26-000016_value_types" {}
    let mut conn = connection(&url);
    assert_eq!(count(&mut conn, "segments"), 2);
    drop(conn);
    rerun_sqlite::migrate(&url).unwrap();
    let mut conn = connection(&url);
    assert_eq!(count(&mut conn, known), 0);
    let whole = "pragma_integrity_check WHERE integrity_check = 'ok'";
    assert_eq!(count(&mut conn, whole), 1);
}

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[test]
fn keys_of_endpoints_become_keys_of_accounts() {
    let (url, _folder) = common::database();
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-25-000005_idempotency" {}
    let mut conn = connection(&url);
    conn.batch_execute(&format!(
        "INSERT INTO idempotency_keys (account_id, endpoint, key, fingerprint, response, created_at)
         VALUES ({own}, 'campaign.launch', 'both', zeroblob(32), 'older', 2),
           ({own}, 'campaign.publish', 'both', zeroblob(32), 'newer', 3),
           ({own}, 'rerun.retry', 'both', zeroblob(32), 'oldest', 1),
           ({own}, 'campaign.launch', 'one', zeroblob(32), 'one', 2),
           ({other}, 'campaign.launch', 'both', zeroblob(32), 'theirs', 1)",
        own = id('a', 0),
        other = id('b', 0),
    ))
    .unwrap();
    rerun_sqlite::migrate(&url).unwrap();
    let kept = responses(&mut conn);
    assert_eq!(kept, "newer,one,theirs");
    while rerun_sqlite::revert(&url).unwrap() != "2026-11-25-000005_idempotency" {}
    assert_eq!(responses(&mut conn), kept);
}

fn responses(conn: &mut SqliteConnection) -> String {
    diesel::select(diesel::dsl::sql::<Text>(
        "(SELECT group_concat(response, ',') FROM \
         (SELECT response FROM idempotency_keys ORDER BY response))",
    ))
    .get_result(conn)
    .unwrap()
}

#[test]
fn one_of_many_starts_applies_the_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("rerun.db").display());
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || rerun_sqlite::migrate(&url).unwrap())
        })
        .collect();
    let applied: Vec<String> = starts
        .into_iter()
        .flat_map(|start| start.join().unwrap())
        .collect();
    let known = rerun_sqlite::migrations(&url).unwrap();
    let names: Vec<String> = known.into_iter().map(|migration| migration.name).collect();
    assert_eq!(applied, names);
}

/// There and back on a filled database: webhooks go, and what they were sent of stays. A delivery is to
/// a webhook, and of an entry, of its own account.
#[test]
fn webhooks_come_and_go_beside_what_is_there() {
    let (url, _folder) = common::database();
    let url = url.as_str();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000009_webhooks" {}
    let mut conn = connection(url);
    two_accounts_without_counts(&mut conn);
    rerun_sqlite::migrate(url).unwrap();
    let (own, other) = (id('a', 0), id('b', 0));
    for account in [&own, &other] {
        conn.batch_execute(&format!(
            "INSERT INTO audit_entries (account_id, seq, id, action, details, created_at, hash)
               VALUES ({account}, 1, {account}, 'run.failed', '{{}}', 1, zeroblob(32));
             INSERT INTO webhooks (account_id, id, url, ordered, secret_number, cursor_seq, version,
                 created_at, updated_at)
               VALUES ({account}, {account}, 'https://a.example', 0, 1, 0, 1, 1, 1)"
        ))
        .unwrap();
    }
    let delivery = |account: &str, webhook: &str, seq: i64, state: &str| {
        format!(
            "INSERT INTO webhook_deliveries (account_id, webhook_id, seq, state, replayed, due_at)
               VALUES ({account}, {webhook}, {seq}, '{state}', 0, 1)"
        )
    };
    for statement in [
        delivery(&own, &other, 1, "pending"),
        delivery(&own, &own, 2, "pending"),
    ] {
        refused(&mut conn, &statement, "FOREIGN KEY constraint failed");
    }
    let ended = delivery(&own, &own, 1, "delivered");
    refused(&mut conn, &ended, "CHECK constraint failed");
    conn.batch_execute(&delivery(&own, &own, 1, "pending"))
        .unwrap();
    conn.batch_execute(&format!(
        "INSERT INTO webhook_attempts (account_id, webhook_id, seq, no, at, duration_ms)
           VALUES ({own}, {own}, 1, 1, 1, 5)"
    ))
    .unwrap();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000009_webhooks" {}
    let count = |conn: &mut SqliteConnection, table: &str| {
        diesel::select(diesel::dsl::sql::<BigInt>(&format!(
            "(SELECT count(*) FROM {table})"
        )))
        .get_result::<i64>(conn)
        .unwrap()
    };
    assert_eq!(count(&mut conn, "audit_entries"), 2);
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_sqlite::migrate(url).unwrap();
    for table in ["webhooks", "webhook_deliveries", "webhook_attempts"] {
        assert_eq!(count(&mut conn, table), 0, "{table}");
    }
}

/// There and back on a filled database: schedules go with their firings, and the runs that they started
/// stay. A firing is of a schedule, and a schedule for a group, of its own account.
#[test]
fn schedules_come_and_go_beside_what_is_there() {
    let (url, _folder) = common::database();
    let url = url.as_str();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000011_schedules" {}
    let mut conn = connection(url);
    two_accounts_without_counts(&mut conn);
    rerun_sqlite::migrate(url).unwrap();
    let count = |conn: &mut SqliteConnection, what: &str| {
        diesel::select(diesel::dsl::sql::<BigInt>(&format!(
            "(SELECT count(*) FROM {what})"
        )))
        .get_result::<i64>(conn)
        .unwrap()
    };
    assert_eq!(count(&mut conn, "runs WHERE schedule_id IS NULL"), 2);
    let (own, other) = (id('a', 0), id('b', 0));
    let schedule = |account: &str, group: &str, due: &str, status: &str| {
        format!(
            "INSERT INTO schedules (account_id, id, campaign_id, name, cron, time_zone,
                 customer_group_id, reuse_from, condition, overlap, catch_up_seconds, jitter_seconds,
                 status, next_time, due_at, created_by, role_code, created_at, updated_at)
               VALUES ({account}, {account}, {account}, 'n', '0 9 * * *', 'UTC', {group}, 'current_run',
                 'always', 'skip', 0, 0, '{status}', 2, {due}, {account}, 'ADMIN', 1, 1)"
        )
    };
    let theirs = schedule(&own, &id('b', 1), "2", "active");
    refused(&mut conn, &theirs, "FOREIGN KEY constraint failed");
    let idle = schedule(&own, "NULL", "2", "ended");
    refused(&mut conn, &idle, "CHECK constraint failed");
    for (account, group) in [(&own, id('a', 1)), (&other, id('b', 1))] {
        conn.batch_execute(&schedule(account, &group, "2", "active"))
            .unwrap();
    }
    let firing = |account: &str, schedule: &str, outcome: &str, run: &str| {
        format!(
            "INSERT INTO schedule_firings (account_id, schedule_id, scheduled_for, triggered, fired_at,
                 outcome, run_number)
               VALUES ({account}, {schedule}, 1, 0, 1, '{outcome}', {run})"
        )
    };
    let theirs = firing(&own, &other, "started", "1");
    refused(&mut conn, &theirs, "FOREIGN KEY constraint failed");
    for unlike in [
        firing(&own, &own, "started", "NULL"),
        firing(&own, &own, "missed", "1"),
    ] {
        refused(&mut conn, &unlike, "CHECK constraint failed");
    }
    let mut twice = firing(&own, &own, "started", "1");
    twice.push(';');
    twice.push_str(&twice.clone());
    refused(&mut conn, &twice, "UNIQUE constraint failed");
    conn.batch_execute(&firing(&own, &own, "started", "1"))
        .unwrap();
    conn.batch_execute(&format!(
        "UPDATE runs SET schedule_id = {own} WHERE account_id = {own}"
    ))
    .unwrap();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000011_schedules" {}
    assert_eq!(count(&mut conn, "runs"), 2);
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_sqlite::migrate(url).unwrap();
    for table in [
        "schedules",
        "schedule_firings",
        "runs WHERE schedule_id IS NOT NULL",
    ] {
        assert_eq!(count(&mut conn, table), 0, "{table}");
    }
}

/// There and back on a filled database: campaigns that are there want suggestions, and a changed group
/// is one of its own account.
#[test]
fn suggestions_come_and_go_beside_what_is_there() {
    let (url, _folder) = common::database();
    let url = url.as_str();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000012_rerun_suggestions" {}
    let mut conn = connection(url);
    two_accounts_without_counts(&mut conn);
    rerun_sqlite::migrate(url).unwrap();
    let count = |conn: &mut SqliteConnection, from: &str| {
        diesel::select(diesel::dsl::sql::<BigInt>(&format!(
            "(SELECT count(*) FROM {from})"
        )))
        .get_result::<i64>(conn)
        .unwrap()
    };
    let wanting = "campaigns WHERE suggest_reruns AND suggested IS NULL";
    assert_eq!(count(&mut conn, wanting), 2);
    let (own, other) = (id('a', 0), id('b', 0));
    let changed = |account: &str, group: &str, lease: &str| {
        format!(
            "INSERT INTO changed_groups (account_id, group_id, imports, due_at, latest_at, attempts,
                 lease_id)
               VALUES ({account}, {group}, 1, 1, 1, 0, {lease})"
        )
    };
    let foreign = changed(&own, &id('b', 1), "NULL");
    refused(&mut conn, &foreign, "FOREIGN KEY constraint failed");
    refused(
        &mut conn,
        &changed(&own, &id('a', 1), &other),
        "CHECK constraint failed",
    );
    conn.batch_execute(&changed(&own, &id('a', 1), "NULL"))
        .unwrap();
    refused(
        &mut conn,
        "UPDATE campaigns SET suggested = x'00'",
        "CHECK constraint failed",
    );
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000012_rerun_suggestions" {}
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_sqlite::migrate(url).unwrap();
    assert_eq!(count(&mut conn, "changed_groups"), 0);
}

/// There and back on a filled database: places in streams go, and the log stays. A place is of an account
/// with a log, and a lease is whole or not there.
#[test]
fn places_in_streams_come_and_go_beside_the_log() {
    let (url, _folder) = common::database();
    let url = url.as_str();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000013_event_cursors" {}
    let mut conn = connection(url);
    two_accounts_without_counts(&mut conn);
    let own = id('a', 0);
    conn.batch_execute(&format!(
        "INSERT INTO audit_entries (account_id, seq, id, action, details, created_at, hash)
           VALUES ({own}, 1, {own}, 'run.failed', '{{}}', 1, zeroblob(32));
         INSERT INTO audit_heads (account_id, seq, hash) VALUES ({own}, 1, zeroblob(32))"
    ))
    .unwrap();
    rerun_sqlite::migrate(url).unwrap();
    let place = |account: &str, lease: &str| {
        format!(
            "INSERT INTO event_cursors (account_id, stream, seq, lease_id, leased_at, leased_until)
               VALUES ({account}, 'all', 1, {lease})"
        )
    };
    let none = "NULL, NULL, NULL";
    let foreign = place(&id('c', 0), none);
    refused(&mut conn, &foreign, "FOREIGN KEY constraint failed");
    let half = format!("{own}, NULL, NULL");
    refused(&mut conn, &place(&own, &half), "CHECK constraint failed");
    conn.batch_execute(&place(&own, none)).unwrap();
    while rerun_sqlite::revert(url).unwrap() != "2026-11-26-000013_event_cursors" {}
    let count = |conn: &mut SqliteConnection, table: &str| {
        diesel::select(diesel::dsl::sql::<BigInt>(&format!(
            "(SELECT count(*) FROM {table})"
        )))
        .get_result::<i64>(conn)
        .unwrap()
    };
    assert_eq!(count(&mut conn, "audit_entries"), 1);
    rerun_sqlite::migrate(url).unwrap();
    assert_eq!(count(&mut conn, "event_cursors"), 0);
}

#[test]
fn a_newer_schema_is_refused() {
    let (url, _folder) = common::database();
    connection(&url)
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')")
        .unwrap();
    let error = rerun_sqlite::migrate(&url).unwrap_err();
    assert!(error.to_string().contains("29991231000000"), "{error}");
    assert!(rerun_sqlite::migrations(&url).is_err());
}
