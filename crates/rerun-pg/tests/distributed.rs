//! Tables that are distributed by account. A function that only notes its calls stands for the one of Citus: the
//! SQL file has to fit the schema, and the store has to work with what it leaves.
#![expect(clippy::expect_used, reason = "a test that cannot be set up fails")]

mod common;

use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{Array, Text};
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use rerun_contract::Fixture;
use rerun_contract::fixture::{ACCOUNT, OTHER_ACCOUNT, caller, hourly};
use rerun_core::ids::LeaseId;
use rerun_core::ports::{
    ChangedGroupQueue as _, DeliveryQueue as _, EventCursors as _, GenerationQueue as _,
    LeaseTasks, ScheduleQueue as _,
};
use rerun_core::usecases::NewWebhook;
use rerun_pg::{Options, PgStore};
use rerun_testkit::TestDatabase;
use uuid::Uuid;

const STAND_IN: &str = "CREATE TABLE distributed (name text, by text); \
    CREATE FUNCTION create_distributed_table(name regclass, by text, colocate_with text) RETURNS void \
      LANGUAGE sql AS 'INSERT INTO distributed VALUES (name, by)';";

#[derive(QueryableByName)]
struct Tables {
    #[diesel(sql_type = Array<Text>)]
    distributed: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    of_accounts: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    with_triggers: Vec<String>,
}

fn database() -> TestDatabase {
    let database = common::database();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/distributed.sql");
    let file = std::fs::read_to_string(file).expect("the SQL file");
    let mut admin = PgConnection::establish(database.url()).expect("a connection");
    admin.batch_execute(STAND_IN).expect("a function");
    admin
        .transaction(|admin| admin.batch_execute(&file))
        .expect("tables to distribute");
    database
}

#[test]
fn every_table_of_accounts_is_distributed_and_has_no_trigger() {
    let database = database();
    let mut admin = PgConnection::establish(database.url()).expect("a connection");
    let tables = diesel::sql_query(
        "SELECT \
           (SELECT array_agg(name ORDER BY name) FROM distributed WHERE by = 'account_id') AS distributed, \
           (SELECT array_agg(table_name::text ORDER BY table_name::text) FROM information_schema.columns \
             WHERE column_name = 'account_id' AND table_schema = 'public') AS of_accounts, \
           ARRAY(SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal) AS with_triggers",
    )
    .get_result::<Tables>(&mut admin)
    .expect("tables");
    assert_eq!(tables.distributed, tables.of_accounts);
    assert_eq!(tables.with_triggers, [""; 0]);
}

async fn fresh() -> Fixture<PgStore> {
    let database = tokio::task::spawn_blocking(database);
    let database = database.await.expect("a database");
    let store = PgStore::connect(database.url(), &Options::default()).expect("a connection");
    Fixture::new(store).keeping(database)
}

#[test]
fn random_commands_keep_the_invariants() {
    rerun_contract::model::run_sequences(5, fresh);
}

/// Rows of `OTHER` like those of the account that is there, on a server that is lost then: a statement that comes to
/// one of them fails. The functions that stand for those of Citus know the part of each table that is left.
const LOST: &str = r#"
    CREATE FUNCTION reached(account uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      IF account = 'OTHER' THEN RAISE 'connection to the remote node failed'; END IF;
      RETURN true;
    END $$;
    CREATE TABLE pg_dist_shard (logicalrelid regclass, shardid bigint);
    CREATE TABLE pg_dist_shard_placement (shardid bigint, nodename text, nodeport bigint);
    INSERT INTO pg_dist_shard_placement VALUES (1, 'here', 5432), (2, 'lost', 5432);
    SET session_replication_role = replica;
    DO $$ DECLARE t text; BEGIN FOR t IN SELECT name FROM distributed LOOP
      EXECUTE format('INSERT INTO %1$I SELECT (jsonb_populate_record(t, $1)).* FROM %1$I t', t)
        USING '{"account_id": "OTHER"}'::jsonb;
      EXECUTE format('CREATE POLICY reached ON %I USING (reached(account_id))', t);
      EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
      EXECUTE format('CREATE VIEW %I AS SELECT * FROM %I WHERE account_id <> ''OTHER''', t || '_1', t);
      INSERT INTO pg_dist_shard VALUES (t::regclass, 1), (t::regclass, 2);
    END LOOP; END $$;
    CREATE FUNCTION shard_name(relation regclass, shard bigint) RETURNS text LANGUAGE sql
      AS $$ SELECT relation || '_' || shard $$;
    CREATE FUNCTION master_run_on_worker(names text[], ports integer[], commands text[], parallel boolean,
        OUT node_name text, OUT node_port integer, OUT success boolean, OUT result text)
      RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN
        FOR at IN 1 .. cardinality(names) LOOP
          node_name := names[at];
          node_port := ports[at];
          success := node_name = 'here';
          result := 'failed to connect to lost:5432';
          IF success THEN EXECUTE commands[at] INTO result; END IF;
          RETURN NEXT;
        END LOOP;
      END $$;
    CREATE FUNCTION run_command_on_shards(relation regclass, command text,
        OUT shardid bigint, OUT success boolean, OUT result text)
      RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN
        FOR shard IN 1 .. 2 LOOP
          shardid := shard;
          success := shard = 1;
          result := 'failed to connect to lost:5432';
          IF success THEN EXECUTE format(command, shard_name(relation, shard)) INTO result; END IF;
          RETURN NEXT;
        END LOOP;
      END $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO pg_monitor;
"#;

#[tokio::test]
async fn while_a_server_is_lost_work_is_found_for_accounts_on_the_others() {
    let database = tokio::task::spawn_blocking(database);
    let database = database.await.expect("a database");
    let owner = PgStore::connect(database.url(), &Options::default()).expect("a connection");
    let f = Fixture::new(owner);
    let webhook = NewWebhook {
        url: "https://receiver.example/hook".to_owned(),
        ..NewWebhook::default()
    };
    let webhook = f.engine.webhooks.create(&caller(), webhook, None).await;
    webhook.expect("a webhook");
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    let schedules = &f.engine.schedules;
    let schedule = schedules.create(&caller(), hourly(campaign), None).await;
    schedule.expect("a schedule");
    f.launch(campaign).await;
    f.engine.deliveries.fan_out().await.expect("deliveries");
    f.import_countries(group, &["IT"]).await;
    f.seconds_later(7_200);
    let (now, until) = (f.now(), f.now() + Duration::from_mins(1));

    let mut admin = PgConnection::establish(database.url()).expect("a connection");
    let lost = LOST.replace("OTHER", &OTHER_ACCOUNT.to_string());
    admin.batch_execute(&lost).expect("a lost server");
    let lost = admin.batch_execute("SET ROLE pg_monitor; SELECT * FROM runs");
    assert!(lost.is_err(), "a statement over all accounts fails");
    // Policies hold for this role.
    let url = format!("{}?options=-c%20role%3Dpg_monitor", database.url());
    let store = PgStore::connect(&url, &Options::default()).expect("a connection");

    for (after, expected) in [(None, vec![ACCOUNT]), (Some(ACCOUNT), vec![])] {
        let found = store.due_accounts(after, 10, now).await;
        assert_eq!(found.expect("an answer"), expected, "generation");
        let found = store.accounts_behind(after, 10).await;
        assert_eq!(found.expect("an answer"), expected, "events for webhooks");
        let found = store.accounts_due(after, 10, now).await;
        assert_eq!(found.expect("an answer"), expected, "deliveries");
        let found = store.accounts_changed(after, 10, now).await;
        assert_eq!(found.expect("an answer"), expected, "changed groups");
        let found = store.accounts_unpublished("events", after, 10, now).await;
        assert_eq!(found.expect("an answer"), expected, "events for a stream");
    }
    let due = store.lease_schedules(now, until, 10).await;
    let due = due.expect("an answer").into_iter();
    let accounts: Vec<_> = due.map(|due| due.account_id).collect();
    assert_eq!(accounts, [ACCOUNT], "schedules");

    let lease = LeaseId::new(Uuid::from_u128(5));
    let request = |account_id| LeaseTasks {
        account_id,
        lease,
        limit: 10,
        bytes: 1 << 20,
        now,
        until,
    };
    assert!(store.lease(request(OTHER_ACCOUNT)).await.is_err());
    let leased = store.lease(request(ACCOUNT)).await;
    assert_eq!(leased.expect("tasks").len(), 2);
    let renewed = store.renew(lease, now, until).await;
    assert_eq!(renewed.expect("an answer"), 2);
}
