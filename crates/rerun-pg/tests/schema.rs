//! What the schema itself refuses, whoever writes to it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up fails"
)]

mod common;
mod tables;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::error::StoreError;
use rerun_core::ports::HealthCheck;
use rerun_pg::{Options, PgStore};

/// Two accounts with a group, a campaign, a run, a segment, a content and a message each.
fn two_accounts(conn: &mut PgConnection) {
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
fn two_accounts_without_counts(conn: &mut PgConnection) {
    for account in ['a', 'b'] {
        conn.batch_execute(&story(account)).unwrap();
    }
}

fn id(account: char, what: u8) -> String {
    let account = account.to_string().repeat(8);
    format!("'{account}-0000-4000-8000-0000000000{what:02x}'")
}

fn story(account: char) -> String {
    let [own, group, campaign, content, message, job] =
        [0, 1, 2, 3, 4, 5].map(|what| id(account, what));
    format!(
        "INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
           VALUES ({own}, {group}, 'g', now(), now());
         INSERT INTO customers VALUES ({own}, {group}, 'c-1', '{{}}');
         BEGIN;
         INSERT INTO campaigns (account_id, id, name, customer_group_id, segment_by,
             approval_stages, template_subject, template_body, status, current_run_number,
             last_run_number, version, created_by, created_at, updated_at)
           VALUES ({own}, {campaign}, 'c', {group}, '[]', '[]', 's', 'b', 'Published', 1, 1, 1,
             {own}, now(), now());
         INSERT INTO runs (account_id, campaign_id, number, job_uid, status, group_id, group_name,
             customer_count, segments_total, segments_matched, segments_new, reused, generated,
             edited, generating, failed, pending, approved, rejected, published,
             resulting_status, started_at, completed_at)
           VALUES ({own}, {campaign}, 1, {job}, 'Completed', {group}, 'g', 1, 1, 0, 1, 0, 1, 0, 0,
             0, 0, 0, 0, 1, 'Ready for review', now(), now());
         INSERT INTO segments VALUES ({own}, {campaign}, 1, sha256('x'), '{{}}');
         INSERT INTO contents VALUES ({own}, {content}, 1, 's', 'b', NULL, now());
         INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no,
             customer_count, content_id, review_status, source, created_at, updated_at)
           VALUES ({own}, {message}, {campaign}, 1, 1, 1, {content}, 'Published', 'generated',
             now(), now());
         COMMIT;"
    )
}

fn refusal(conn: &mut PgConnection, statement: &str) -> Error {
    conn.transaction(|conn| {
        conn.batch_execute(statement)?;
        conn.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")
    })
    .expect_err(statement)
}

fn refused(conn: &mut PgConnection, statement: &str, by: &str) {
    let error = refusal(conn, statement);
    assert!(error.to_string().contains(by), "{statement}: {error}");
}

fn refused_reference(conn: &mut PgConnection, statement: &str) {
    let error = refusal(conn, statement);
    assert!(
        matches!(
            error,
            Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)
        ),
        "{statement}: {error}"
    );
}

#[test]
fn no_row_can_reference_another_accounts() {
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    two_accounts(&mut conn);
    let own = id('a', 0);
    let [group, campaign, content, message] = [1, 2, 3, 4].map(|what| id('b', what));
    for statement in [
        format!("INSERT INTO customers VALUES ({own}, {group}, 'c-2', '{{}}')"),
        format!("INSERT INTO segmentations VALUES ({own}, {own}, {group}, '[\"x\"]', 1, '[0]')"),
        format!("INSERT INTO group_segments VALUES ({own}, {group}, sha256('x'), '{{}}', 1)"),
        format!("UPDATE campaigns SET customer_group_id = {group} WHERE account_id = {own}"),
        format!("UPDATE runs SET group_id = {group} WHERE account_id = {own}"),
        format!(
            "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', 2, \
             'campaign_id', {campaign}, 'job_uid', gen_random_uuid()))).* FROM runs r \
             WHERE account_id = {own}"
        ),
        format!("INSERT INTO segments VALUES ({own}, {campaign}, 2, sha256('y'), '{{}}')"),
        format!("UPDATE customers SET group_id = {group} WHERE account_id = {own}"),
        format!("UPDATE segments SET campaign_id = {campaign} WHERE account_id = {own}"),
        format!("UPDATE messages SET campaign_id = {campaign} WHERE account_id = {own}"),
        format!("UPDATE messages SET content_id = {content} WHERE account_id = {own}"),
        format!(
            "UPDATE messages SET source = 'reused', reused_from_message_id = {message}, \
             reused_from_run_number = 1 WHERE account_id = {own}"
        ),
        format!("INSERT INTO generation_tasks VALUES ({own}, {message}, {campaign}, 1, 0, now())"),
    ] {
        refused_reference(&mut conn, &statement);
    }
}

/// A message of run 2 of the account `a`, which reuses that of run 1, with some of its columns
/// changed.
fn reusing(changes: &str) -> String {
    let own = id('a', 0);
    format!(
        "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', 2, \
           'archived_at', now(), 'job_uid', gen_random_uuid()))).* FROM runs r \
           WHERE account_id = {own}; \
         INSERT INTO segments VALUES ({own}, {campaign}, 2, sha256('y'), '{{}}'); \
         INSERT INTO contents VALUES ({own}, {own}, 1, 's', 'other', NULL, now()); \
         INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object( \
           'id', gen_random_uuid(), 'run_number', 2, 'source', 'reused', \
           'reused_from_message_id', m.id, 'reused_from_run_number', 1) || {changes})).* \
           FROM messages m WHERE account_id = {own}",
        campaign = id('a', 2),
    )
}

#[test]
fn a_message_refers_to_what_is_there() {
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    two_accounts(&mut conn);
    let [own, content, message] = [0, 3, 4].map(|what| id('b', what));
    for changes in [
        "'{\"run_number\": 3}'".to_owned(),
        "'{\"segment_no\": 2}'".to_owned(),
        "'{\"reused_from_run_number\": 2}'".to_owned(),
        format!("jsonb_build_object('content_id', {})", id('a', 0)),
        format!("jsonb_build_object('content_id', {content})"),
        format!("jsonb_build_object('reused_from_message_id', {message})"),
        format!("jsonb_build_object('account_id', {own})"),
    ] {
        refused_reference(&mut conn, &reusing(&changes));
        let new = "|| '{\"source\": \"generated\", \"reused_from_message_id\": null, \
                   \"reused_from_run_number\": null}'";
        // What a new message says is its own, and its segment need only be there.
        if changes.contains("run_number\": 3") || changes.contains(&content) {
            refused_reference(&mut conn, &reusing(&format!("{changes} {new}")));
        }
    }
    let missing = "'{\"source\": \"generated\", \"reused_from_message_id\": null, \
                   \"reused_from_run_number\": null, \"segment_no\": 3}'";
    refused_reference(&mut conn, &reusing(missing));
    conn.batch_execute(&reusing("'{}'")).unwrap();
    // It may come to say something else, and then reuses nothing.
    let own = id('a', 0);
    refused_reference(
        &mut conn,
        &format!("UPDATE messages SET content_id = {own} WHERE run_number = 2"),
    );
    conn.batch_execute(&format!(
        "UPDATE messages SET content_id = {own}, source = 'edited', reused_from_run_number = NULL, \
         reused_from_message_id = NULL WHERE run_number = 2"
    ))
    .unwrap();
}

#[test]
fn rows_go_after_those_that_refer_to_them() {
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    two_accounts(&mut conn);
    conn.batch_execute(
        "INSERT INTO generation_tasks \
         SELECT account_id, id, campaign_id, 1, 0, now() FROM messages",
    )
    .unwrap();
    let kept = "INSERT INTO group_segments \
                SELECT account_id, id, sha256('x'), '{}', 1 FROM segmentations";
    conn.batch_execute(kept).unwrap();
    let order = [
        "generation_tasks",
        "messages",
        "contents",
        "segments",
        "UPDATE campaigns SET status = 'Draft', current_run_number = NULL",
        "runs",
        "campaigns",
        "segmentations",
        "customers",
        "customer_groups",
    ];
    let own = id('a', 0);
    for (index, step) in order.iter().enumerate() {
        let statement = |step: &str| match step.split_once(' ') {
            None => format!("DELETE FROM {step} WHERE account_id = {own}"),
            Some(_) => format!("{step} WHERE account_id = {own}"),
        };
        if matches!(
            *step,
            "generation_tasks" | "messages" | "segments" | "runs" | "customers"
        ) {
            let referred_to = match *step {
                "generation_tasks" => "messages",
                "messages" => "contents",
                "segments" | "runs" => "campaigns",
                _ => "customer_groups",
            };
            refused_reference(&mut conn, &statement(referred_to));
        }
        conn.batch_execute(&statement(step))
            .unwrap_or_else(|error| panic!("step {index}, {step}: {error}"));
    }
    let left = RunQueryDsl::get_result::<Count>(
        diesel::sql_query(format!(
            "SELECT count(*) AS rows FROM group_segments WHERE account_id = {own}"
        )),
        &mut conn,
    )
    .unwrap();
    assert_eq!(left.rows, 0, "kept counts go with their segmentation");
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

#[test]
fn every_key_leads_with_the_account() {
    #[derive(QueryableByName)]
    struct Key {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    let others = RunQueryDsl::load::<Key>(
        diesel::sql_query(
            "SELECT c.conname::text AS name FROM pg_constraint c
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
             JOIN pg_class t ON t.oid = c.conrelid
             JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'public'
             WHERE c.contype IN ('p', 'f') AND a.attname <> 'account_id'
               AND t.relname <> '__diesel_schema_migrations'",
        ),
        &mut conn,
    )
    .unwrap();
    let others: Vec<String> = others.into_iter().map(|key| key.name).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_schema_holds_the_invariants_that_it_can() {
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    two_accounts(&mut conn);
    let own = id('a', 0);
    let second_run = format!(
        "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', 2, \
         'job_uid', gen_random_uuid()))).* FROM runs r WHERE account_id = {own}"
    );
    let second_message = format!(
        "INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object('id', \
         gen_random_uuid()))).* FROM messages m WHERE account_id = {own}"
    );
    let at = format!("WHERE account_id = {own}");
    for (statement, by) in [
        (second_run, "runs_one_current"),
        (second_message, "messages_one_per_segment"),
        (
            format!("UPDATE contents SET body = 'other' {at}"),
            "contents never change",
        ),
        (
            format!("UPDATE campaigns SET status = 'Done' {at}"),
            "violates check",
        ),
        (
            format!("UPDATE campaigns SET status = 'Draft' {at}"),
            "violates check",
        ),
        (
            format!("UPDATE runs SET status = 'Queued' {at}"),
            "violates check",
        ),
        (
            format!("UPDATE runs SET completed_at = started_at - interval '1s' {at}"),
            "check",
        ),
        (
            format!("UPDATE runs SET published = 2 {at}"),
            "violates check",
        ),
        (
            format!("UPDATE runs SET segments_matched = 1 {at}"),
            "violates check",
        ),
        (
            format!("UPDATE messages SET review_status = 'Pending review' {at}"),
            "violates check",
        ),
        (
            format!("UPDATE messages SET content_id = NULL {at}"),
            "violates check",
        ),
        (
            format!("UPDATE messages SET source = 'reused' {at}"),
            "violates check",
        ),
        (
            format!("UPDATE segments SET key = 'short' {at}"),
            "violates check",
        ),
    ] {
        refused(&mut conn, &statement, by);
    }
}

#[test]
fn migrations_go_back_and_forth() {
    let database = common::database();
    let url = database.url();
    assert!(
        rerun_pg::migrations(url)
            .unwrap()
            .iter()
            .all(|migration| migration.applied)
    );
    assert_eq!(rerun_pg::migrate(url).unwrap(), Vec::<String>::new());
    let names: Vec<String> = rerun_pg::migrations(url)
        .unwrap()
        .into_iter()
        .map(|migration| migration.name)
        .collect();
    let mut reverted: Vec<String> = names
        .iter()
        .map(|_| rerun_pg::revert(url).unwrap())
        .collect();
    assert!(
        rerun_pg::migrations(url)
            .unwrap()
            .iter()
            .all(|migration| !migration.applied)
    );
    reverted.reverse();
    assert_eq!(reverted, names);
    assert_eq!(rerun_pg::migrate(url).unwrap(), names);
}

#[derive(QueryableByName)]
struct Fields {
    #[diesel(sql_type = Text)]
    fields: String,
}

#[test]
fn groups_that_exist_get_the_fields_of_their_customers() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-25-000002_group_fields" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    let (own, group) = (id('a', 0), id('a', 1));
    conn.batch_execute(&format!(
        r#"INSERT INTO customers (account_id, group_id, customer_ref, profile) VALUES
             ({own}, {group}, 'c-2', '{{"tier": "x", "B": "x"}}'),
             ({own}, {group}, 'c-3', '{{"a\"\u00e9": "x", "tier": "y"}}');
           INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
             VALUES ({own}, {own}, 'large', now(), now());
           INSERT INTO customers (account_id, group_id, customer_ref, profile)
             SELECT {own}, {own}, 'c-' || n, jsonb_build_object('f' || lpad(n::text, 5, '0'), 'x')
             FROM generate_series(1, 10001) n"#
    ))
    .unwrap();
    rerun_pg::migrate(url).unwrap();
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
    let large = fields('a', &own);
    assert_eq!((large.len(), large[9_999].as_str()), (10_000, "f10000"));
}

/// There and back on a filled database.
#[test]
fn deleted_groups_come_back_empty() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000007_deleted_groups" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    rerun_pg::migrate(url).unwrap();
    let own = id('a', 0);
    conn.batch_execute(&format!(
        "INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
           VALUES ({own}, {own}, 'unused', now(), now());
         INSERT INTO customers (account_id, group_id, customer_ref, profile)
           VALUES ({own}, {own}, 'c-1', '{{}}');
         UPDATE customer_groups SET deleted_at = now() WHERE account_id = {own}"
    ))
    .unwrap();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000007_deleted_groups" {}
    let mut count = |table: &str| {
        let query = format!("SELECT count(*) AS rows FROM {table} WHERE account_id = {own}");
        let found = RunQueryDsl::get_result::<Count>(diesel::sql_query(query), &mut conn);
        found.unwrap().rows
    };
    assert_eq!(count("customer_groups"), 2);
    assert_eq!(count("customers"), 0);
    assert_eq!(count("runs"), 1);
    rerun_pg::migrate(url).unwrap();
}

/// What reuse saved is worked out for the runs that are there, and goes with its migration.
#[test]
fn what_runs_saved_before_is_worked_out() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000008_saved" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts(&mut conn);
    let [own, campaign, message, other] = [0, 2, 4, 9].map(|what| id('a', what));
    conn.batch_execute(&format!(
        "INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, created_at, \
           prompt_tokens, completion_tokens) \
         SELECT {own}::uuid, gen_random_uuid(), {campaign}::uuid, run, 's', 'b', now(), prompt, completion \
           FROM (VALUES (1, 10, 1), (1, 15, 2), (2, 500, 5)) v(run, prompt, completion); \
         INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', 2, \
           'archived_at', now(), 'job_uid', gen_random_uuid(), 'segments_matched', 1, \
           'segments_new', 0, 'reused', 1, 'generated', 0))).* FROM runs r \
           WHERE account_id = {own}; \
         INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object( \
           'id', {other}, 'run_number', 2, 'source', 'reused', 'customer_count', 7, \
           'reused_from_message_id', {message}, 'reused_from_run_number', 1))).* \
           FROM messages m WHERE account_id = {own}"
    ))
    .unwrap();
    rerun_pg::migrate(url).unwrap();
    let saved = diesel::select(diesel::dsl::sql::<Text>(&format!(
        "(SELECT string_agg(concat_ws(' ', number, saved_customers, saved_prompt_tokens, \
           saved_completion_tokens, metered_messages, metered_prompt_tokens, \
           metered_completion_tokens), ', ' ORDER BY number) FROM runs WHERE account_id = {own})"
    )))
    .get_result::<String>(&mut conn)
    .unwrap();
    // Half of 25 and of 3, rounded.
    assert_eq!(saved, "1 0 0 0 2 25 3, 2 7 13 2 3 525 8");
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000008_saved" {}
    rerun_pg::migrate(url).unwrap();
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Text>)]
    placeholder: Option<String>,
}

#[test]
fn placeholders_of_content_that_is_there_are_found_as_new_ones_are() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-25-000001_placeholders" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    let contents = rerun_contract::fixture::contents_with_braces();
    for (content, seq) in contents.iter().zip(1_i64..) {
        // The audit log says whose they are.
        diesel::sql_query(format!(
            "WITH content AS (
               INSERT INTO contents (account_id, id, run_number, subject, body, created_at)
               VALUES ({own}, gen_random_uuid(), 1, $1, $2, now()) RETURNING id)
             INSERT INTO audit_entries (account_id, seq, id, action, campaign_id, details, created_at, hash)
             SELECT {own}::uuid, $3, gen_random_uuid(), 'message.edited', {campaign}::uuid,
               json_build_object('content_id', id)::text, now(), decode(repeat('00', 32), 'hex')
             FROM content",
            own = id('a', 0),
            campaign = id('a', 2),
        ))
        .bind::<Text, _>(&content.subject)
        .bind::<Text, _>(&content.body)
        .bind::<BigInt, _>(seq)
        .execute(&mut conn)
        .unwrap();
    }
    rerun_pg::migrate(url).unwrap();
    for content in &contents {
        let found =
            diesel::sql_query("SELECT placeholder FROM contents WHERE subject = $1 AND body = $2")
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

/// What was taken from an approved message stays when its migration goes, and a segment that does not
/// stand for its key goes on without one.
#[test]
fn adopted_messages_and_other_rules_go_back_and_forth() {
    let database = common::database();
    let url = database.url();
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts(&mut conn);
    let (own, other, theirs) = (id('a', 0), id('a', 9), id('b', 4));
    let count = |conn: &mut PgConnection, wanted: &str| {
        let text = format!("SELECT count(*) AS n FROM {wanted}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    conn.batch_execute(&format!(
        "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', 2, \
           'archived_at', now(), 'job_uid', gen_random_uuid()))).* FROM runs r \
           WHERE account_id = {own}; \
         INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object( \
           'id', {other}, 'run_number', 2))).* FROM messages m WHERE account_id = {own}"
    ))
    .unwrap();
    let take = |from: &str, run: i32| {
        format!(
            "UPDATE messages SET source = 'suggested', reused_from_message_id = {from}, \
             reused_from_run_number = {run} WHERE id = {other}"
        )
    };
    // It says what the message says that it names, which is one of its campaign.
    for (from, run) in [(theirs.as_str(), 1), (&id('a', 4), 2), (&other, 2)] {
        refused_reference(&mut conn, &take(from, run));
    }
    refused(
        &mut conn,
        &format!("UPDATE runs SET suggested = 1 WHERE account_id = {own}"),
        "runs_sources",
    );
    conn.batch_execute(&take(&id('a', 4), 1)).unwrap();
    conn.batch_execute(&format!(
        "UPDATE runs SET generated = 0, suggested = 1 WHERE account_id = {own} AND number = 2;
         UPDATE segments SET shared_key = key, conflicting = true WHERE account_id = {own};
         UPDATE runs SET value_rules = '[\"a\"]' WHERE account_id = {own}"
    ))
    .unwrap();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000003_rekeying" {}
    let adopted = "messages WHERE source = 'edited' AND reused_from_message_id IS NULL";
    assert_eq!(count(&mut conn, adopted), 1);
    assert_eq!(count(&mut conn, "runs WHERE edited = 1 AND number = 2"), 1);
    assert_eq!(count(&mut conn, "segments"), 2);
    refused(&mut conn, &take(&id('a', 4), 1), "check constraint");
    rerun_pg::migrate(url).unwrap();
    assert_eq!(
        count(
            &mut conn,
            "runs WHERE suggested = 0 AND value_rules IS NULL"
        ),
        3
    );
    conn.batch_execute(&take(&id('a', 4), 1)).unwrap();
}

/// What values are goes when its migration goes, and nothing is known of it afterwards.
#[test]
fn types_of_values_go_back_and_forth() {
    let database = common::database();
    let url = database.url();
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts(&mut conn);
    let count = |conn: &mut PgConnection, wanted: &str| {
        let text = format!("SELECT count(*) AS n FROM segments{wanted}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    let own = id('a', 0);
    let types = |bytes: usize| {
        let bytes = "01".repeat(bytes);
        format!("UPDATE segments SET value_types = '\\x{bytes}' WHERE account_id = {own}")
    };
    for bytes in [0, 9] {
        refused(&mut conn, &types(bytes), "check constraint");
    }
    conn.batch_execute(&types(8)).unwrap();
    assert_eq!(count(&mut conn, " WHERE value_types IS NOT NULL"), 1);
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000016_value_types" {}
    assert_eq!(count(&mut conn, ""), 2);
    rerun_pg::migrate(url).unwrap();
    assert_eq!(count(&mut conn, " WHERE value_types IS NULL"), 2);
}

/// There and back on a filled database: the rows stay, and what the indexes and the triggers refuse is the
/// same with both.
#[test]
fn indexes_for_stale_statistics_come_and_go_with_the_same_refusals() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000017_stale_statistics" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts(&mut conn);
    let own = id('a', 0);
    let [campaign, content, message, job] = [2, 3, 4, 5].map(|what| id('a', what));
    let refuses = |conn: &mut PgConnection| {
        for (statement, by) in [
            (
                format!("INSERT INTO segments VALUES ({own}, {campaign}, 2, sha256('x'), '{{}}')"),
                "duplicate key",
            ),
            (
                format!(
                    "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('number', \
                     2, 'archived_at', now(), 'job_uid', {job}))).* FROM runs r \
                     WHERE account_id = {own}"
                ),
                "runs_by_job",
            ),
            (
                format!(
                    "INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object('id', \
                     gen_random_uuid()))).* FROM messages m WHERE account_id = {own}"
                ),
                "messages_one_per_segment",
            ),
        ] {
            refused(conn, &statement, by);
        }
        let theirs = id('b', 4);
        for statement in [
            reusing("'{\"segment_no\": 2}'"),
            reusing(&format!(
                "jsonb_build_object('reused_from_message_id', {theirs})"
            )),
            format!("UPDATE messages SET content_id = {theirs} WHERE id = {message}"),
            format!(
                "INSERT INTO generation_tasks VALUES ({own}, {theirs}, {campaign}, 1, 0, now())"
            ),
            format!("DELETE FROM campaigns WHERE id = {campaign}"),
            format!("DELETE FROM runs WHERE campaign_id = {campaign}"),
            format!("DELETE FROM segments WHERE campaign_id = {campaign}"),
            format!("DELETE FROM contents WHERE id = {content}"),
            format!(
                "INSERT INTO generation_tasks VALUES ({own}, {message}, {campaign}, 1, 0, now()); \
                 DELETE FROM messages WHERE id = {message}"
            ),
        ] {
            refused_reference(conn, &statement);
        }
        let kept = diesel::sql_query("SELECT count(*) AS n FROM messages").get_result::<Rows>(conn);
        assert_eq!(kept.unwrap().n, 2);
    };
    refuses(&mut conn);
    rerun_pg::migrate(url).unwrap();
    refuses(&mut conn);
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000017_stale_statistics" {}
    refuses(&mut conn);
}

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[test]
fn keys_of_endpoints_become_keys_of_accounts() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-25-000005_idempotency" {}
    let mut conn = PgConnection::establish(url).unwrap();
    conn.batch_execute(&format!(
        "INSERT INTO idempotency_keys (account_id, endpoint, key, fingerprint, response, created_at)
         SELECT a::uuid, e, k, decode(repeat('00', 32), 'hex'), r, t::timestamptz FROM (VALUES
           ({own}, 'campaign.launch', 'both', 'older', '2026-01-01'),
           ({own}, 'campaign.publish', 'both', 'newer', '2026-01-02'),
           ({own}, 'rerun.retry', 'both', 'oldest', '2025-12-31'),
           ({own}, 'campaign.launch', 'one', 'one', '2026-01-01'),
           ({other}, 'campaign.launch', 'both', 'theirs', '2025-01-01')) AS v(a, e, k, r, t)",
        own = id('a', 0),
        other = id('b', 0),
    ))
    .unwrap();
    rerun_pg::migrate(url).unwrap();
    let kept = responses(&mut conn);
    assert_eq!(kept, "newer,one,theirs");
    while rerun_pg::revert(url).unwrap() != "2026-11-25-000005_idempotency" {}
    assert_eq!(responses(&mut conn), kept);
}

fn responses(conn: &mut PgConnection) -> String {
    diesel::select(diesel::dsl::sql::<Text>(
        "(SELECT string_agg(response, ',' ORDER BY response COLLATE \"C\") FROM idempotency_keys)",
    ))
    .get_result(conn)
    .unwrap()
}

/// There and back on a filled database: webhooks go, and what they were sent of stays. A delivery is to
/// a webhook, and of an entry, of its own account.
#[test]
fn webhooks_come_and_go_beside_what_is_there() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000009_webhooks" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    rerun_pg::migrate(url).unwrap();
    let (own, other) = (id('a', 0), id('b', 0));
    for account in [&own, &other] {
        conn.batch_execute(&format!(
            "INSERT INTO audit_entries (account_id, seq, id, action, details, created_at, hash)
               VALUES ({account}, 1, {account}, 'run.failed', '{{}}', now(), sha256('x'));
             INSERT INTO webhooks (account_id, id, url, ordered, secret_number, cursor_seq, version,
                 created_at, updated_at)
               VALUES ({account}, {account}, 'https://a.example', false, 1, 0, 1, now(), now())"
        ))
        .unwrap();
    }
    let delivery = |account: &str, webhook: &str, seq: i64, state: &str| {
        format!(
            "INSERT INTO webhook_deliveries (account_id, webhook_id, seq, state, replayed, due_at)
               VALUES ({account}, {webhook}, {seq}, '{state}', false, now())"
        )
    };
    for statement in [
        delivery(&own, &other, 1, "pending"),
        delivery(&own, &own, 2, "pending"),
    ] {
        refused_reference(&mut conn, &statement);
    }
    let ended = delivery(&own, &own, 1, "delivered");
    refused(&mut conn, &ended, "check constraint");
    conn.batch_execute(&delivery(&own, &own, 1, "pending"))
        .unwrap();
    conn.batch_execute(&format!(
        "INSERT INTO webhook_attempts (account_id, webhook_id, seq, no, at, duration_ms)
           VALUES ({own}, {own}, 1, 1, now(), 5)"
    ))
    .unwrap();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000009_webhooks" {}
    let count = |conn: &mut PgConnection, table: &str| {
        let text = format!("SELECT count(*) AS n FROM {table}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    assert_eq!(count(&mut conn, "audit_entries"), 2);
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_pg::migrate(url).unwrap();
    for table in ["webhooks", "webhook_deliveries", "webhook_attempts"] {
        assert_eq!(count(&mut conn, table), 0, "{table}");
    }
}

/// There and back on a filled database: schedules go with their firings, and the runs that they started
/// stay. A firing is of a schedule, and a schedule for a group, of its own account.
#[test]
fn schedules_come_and_go_beside_what_is_there() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000011_schedules" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    rerun_pg::migrate(url).unwrap();
    let count = |conn: &mut PgConnection, what: &str| {
        let text = format!("SELECT count(*) AS n FROM {what}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    assert_eq!(count(&mut conn, "runs WHERE schedule_id IS NULL"), 2);
    let (own, other) = (id('a', 0), id('b', 0));
    let schedule = |account: &str, group: &str, due: &str, status: &str| {
        format!(
            "INSERT INTO schedules (account_id, id, campaign_id, name, cron, time_zone,
                 customer_group_id, reuse_from, condition, overlap, catch_up_seconds, jitter_seconds,
                 status, next_time, due_at, created_by, role_code, created_at, updated_at)
               VALUES ({account}, {account}, {account}, 'n', '0 9 * * *', 'UTC', {group}, 'current_run',
                 'always', 'skip', 0, 0, '{status}', now() + interval '1 day', {due}, {account}, 'ADMIN', now(), now())"
        )
    };
    let theirs = schedule(&own, &id('b', 1), "now() + interval '1 day'", "active");
    refused_reference(&mut conn, &theirs);
    let idle = schedule(&own, "NULL", "now() + interval '1 day'", "ended");
    refused(&mut conn, &idle, "check constraint");
    for (account, group) in [(&own, id('a', 1)), (&other, id('b', 1))] {
        conn.batch_execute(&schedule(
            account,
            &group,
            "now() + interval '1 day'",
            "active",
        ))
        .unwrap();
    }
    let firing = |account: &str, schedule: &str, outcome: &str, run: &str| {
        format!(
            "INSERT INTO schedule_firings (account_id, schedule_id, scheduled_for, triggered, fired_at,
                 outcome, run_number)
               VALUES ({account}, {schedule}, now(), false, now(), '{outcome}', {run})"
        )
    };
    let theirs = firing(&own, &other, "started", "1");
    refused_reference(&mut conn, &theirs);
    for unlike in [
        firing(&own, &own, "started", "NULL"),
        firing(&own, &own, "missed", "1"),
    ] {
        refused(&mut conn, &unlike, "check constraint");
    }
    let mut twice = firing(&own, &own, "started", "1");
    twice.push(';');
    twice.push_str(&twice.clone());
    refused(&mut conn, &twice, "duplicate key");
    conn.batch_execute(&firing(&own, &own, "started", "1"))
        .unwrap();
    conn.batch_execute(&format!(
        "UPDATE runs SET schedule_id = {own} WHERE account_id = {own}"
    ))
    .unwrap();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000011_schedules" {}
    assert_eq!(count(&mut conn, "runs"), 2);
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_pg::migrate(url).unwrap();
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
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000012_rerun_suggestions" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    rerun_pg::migrate(url).unwrap();
    let count = |conn: &mut PgConnection, from: &str| {
        let text = format!("SELECT count(*) AS n FROM {from}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    let wanting = "campaigns WHERE suggest_reruns AND suggested IS NULL";
    assert_eq!(count(&mut conn, wanting), 2);
    let (own, other) = (id('a', 0), id('b', 0));
    let changed = |account: &str, group: &str, lease: &str| {
        format!(
            "INSERT INTO changed_groups (account_id, group_id, imports, due_at, latest_at, attempts,
                 lease_id)
               VALUES ({account}, {group}, 1, now(), now(), 0, {lease})"
        )
    };
    refused_reference(&mut conn, &changed(&own, &id('b', 1), "NULL"));
    refused(
        &mut conn,
        &changed(&own, &id('a', 1), &other),
        "check constraint",
    );
    conn.batch_execute(&changed(&own, &id('a', 1), "NULL"))
        .unwrap();
    refused(
        &mut conn,
        "UPDATE campaigns SET suggested = 'short'",
        "check constraint",
    );
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000012_rerun_suggestions" {}
    assert_eq!(count(&mut conn, "messages"), 2);
    rerun_pg::migrate(url).unwrap();
    assert_eq!(count(&mut conn, "changed_groups"), 0);
}

/// There and back on a filled database: places in streams go, and the log stays. A place is of an account
/// with a log, and a lease is whole or not there.
#[test]
fn places_in_streams_come_and_go_beside_the_log() {
    let database = common::database();
    let url = database.url();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000013_event_cursors" {}
    let mut conn = PgConnection::establish(url).unwrap();
    two_accounts_without_counts(&mut conn);
    let own = id('a', 0);
    conn.batch_execute(&format!(
        "INSERT INTO audit_entries (account_id, seq, id, action, details, created_at, hash)
           VALUES ({own}, 1, {own}, 'run.failed', '{{}}', now(), sha256('x'));
         INSERT INTO audit_heads (account_id, seq, hash) VALUES ({own}, 1, sha256('x'))"
    ))
    .unwrap();
    rerun_pg::migrate(url).unwrap();
    let place = |account: &str, lease: &str| {
        format!(
            "INSERT INTO event_cursors (account_id, stream, seq, lease_id, leased_at, leased_until)
               VALUES ({account}, 'all', 1, {lease})"
        )
    };
    let none = "NULL, NULL, NULL";
    refused_reference(&mut conn, &place(&id('c', 0), none));
    let half = format!("{own}, NULL, NULL");
    refused(&mut conn, &place(&own, &half), "check constraint");
    conn.batch_execute(&place(&own, none)).unwrap();
    while rerun_pg::revert(url).unwrap() != "2026-11-26-000013_event_cursors" {}
    let count = |conn: &mut PgConnection, table: &str| {
        let text = format!("SELECT count(*) AS n FROM {table}");
        let found = diesel::sql_query(text).get_result::<Rows>(conn);
        found.unwrap().n
    };
    assert_eq!(count(&mut conn, "audit_entries"), 1);
    rerun_pg::migrate(url).unwrap();
    assert_eq!(count(&mut conn, "event_cursors"), 0);
}

#[test]
fn a_newer_schema_is_refused() {
    let database = common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    conn.batch_execute("INSERT INTO __diesel_schema_migrations VALUES ('29991231000000')")
        .unwrap();
    let error = rerun_pg::migrate(database.url()).unwrap_err();
    assert!(error.to_string().contains("29991231000000"), "{error}");
    assert!(rerun_pg::migrations(database.url()).is_err());
}

/// A database that lacks the newest migration is not ready for this version.
#[tokio::test]
async fn a_schema_that_is_older_is_unhealthy() {
    let database = common::database();
    let store = PgStore::connect(database.url(), &Options::default()).unwrap();
    store.check().await.unwrap();
    rerun_pg::revert(database.url()).unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let said = rerun_core::error::chain(&error);
    assert!(
        said.contains("the schema is older than this version needs"),
        "{said}"
    );
}
