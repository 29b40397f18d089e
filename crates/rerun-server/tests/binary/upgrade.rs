//! A database of the first version, with rows in every table, under every migration since.

use std::collections::BTreeMap;

use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_contract::Fixture;
use rerun_contract::fixture::{ACCOUNT, caller};
use rerun_core::Timestamp;
use rerun_core::audit::{AuditAction, AuditEntry, ChainHead};
use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{AuditEntryId, CampaignId, CustomerGroupId, RunNumber, UserId};
use rerun_core::ports;
use rerun_core::segment::SegmentBy;
use rerun_testkit::TestDatabase;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::Database;
use crate::folder;

const FIRST: &str = "20261123000001";
const POSTGRES: &str =
    include_str!("../../../../migrations/postgres/2026-11-23-000001_campaigns/up.sql");
const SQLITE: &str =
    include_str!("../../../../migrations/sqlite/2026-11-23-000001_campaigns/up.sql");

/// Kept counts: they are counted again after a migration has dropped them.
const DERIVED: [&str; 2] = ["segmentations", "group_segments"];

const GROUP: Uuid = Uuid::from_u128(0x10);
const PUBLISHED: Uuid = Uuid::from_u128(0x21);
const UNDER_WAY: Uuid = Uuid::from_u128(0x22);

/// A database that the first version made.
fn first_version(of: fn() -> Database) -> Database {
    let database = of();
    let schema = match &database {
        Database::Sqlite { .. } => SQLITE,
        Database::Postgres(_) => POSTGRES,
    };
    database.execute(schema);
    database.execute(&format!(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
           run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
         INSERT INTO __diesel_schema_migrations (version) VALUES ('{FIRST}')"
    ));
    database
}

fn empty_sqlite() -> Database {
    let folder = folder();
    let file = folder.path().join("rerun.db").display().to_string();
    Database::Sqlite {
        file,
        _folder: folder,
    }
}

fn empty_postgres() -> Database {
    Database::Postgres(TestDatabase::create("empty", |_| Ok(())).unwrap())
}

/// So many minutes after the rows began.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(1_767_225_600_123 + minutes * 60_000).unwrap()
}

fn text(value: Option<&str>) -> String {
    value.map_or_else(
        || "NULL".to_owned(),
        |value| format!("'{}'", value.replace('\'', "''")),
    )
}

/// Writes rows as the first version did.
struct Rows<'a> {
    database: &'a Database,
    statements: Vec<String>,
    head: ChainHead,
}

impl Rows<'_> {
    fn insert(&mut self, table: &str, values: &[(&str, String)]) {
        let account = [("account_id", self.database.id(ACCOUNT.as_uuid()))];
        let columns: Vec<&str> = account
            .iter()
            .chain(values)
            .map(|(name, _)| *name)
            .collect();
        let literals: Vec<&str> = account
            .iter()
            .chain(values)
            .map(|(_, v)| v.as_str())
            .collect();
        self.statements.push(format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            columns.join(", "),
            literals.join(", ")
        ));
    }

    fn id(&self, id: Uuid) -> String {
        self.database.id(id)
    }

    fn time(&self, time: Timestamp) -> String {
        match self.database {
            Database::Sqlite { .. } => time.timestamp_millis().to_string(),
            Database::Postgres(_) => format!("'{}'::timestamptz", time.to_rfc3339()),
        }
    }

    fn key(&self, country: &str) -> String {
        let by = SegmentBy::new(&["country"]).unwrap();
        let key = by.key([Some(country)]);
        self.database.bytes(key.as_bytes())
    }

    fn audit(
        &mut self,
        minutes: i64,
        action: AuditAction,
        about: Option<(Uuid, Option<i64>)>,
        details: &Value,
    ) {
        let by_system = action == AuditAction::RunCompleted;
        let person = |value: &str| (!by_system).then(|| value.to_owned());
        let mut entry = AuditEntry {
            seq: self.head.seq + 1,
            id: AuditEntryId::new(Uuid::from_u128(0x900 + u128::try_from(minutes).unwrap())),
            account_id: ACCOUNT,
            action: action.to_string(),
            campaign_id: about.map(|(id, _)| CampaignId::new(id)),
            run_number: about.and_then(|(_, run)| RunNumber::new(run?)),
            user_id: caller().user_id().filter(|_| !by_system),
            user_name: None,
            role_code: person("ADMIN"),
            ip: person("192.0.2.7"),
            request_id: person("request-1"),
            details: details.to_string(),
            created_at: at(minutes),
            hash: [0; 32],
        };
        entry.hash = entry.hash_after(&self.head.hash);
        self.head = ChainHead {
            seq: entry.seq,
            hash: entry.hash,
        };
        let uuid = |id: Option<Uuid>| id.map_or_else(|| "NULL".to_owned(), |id| self.id(id));
        let run = entry.run_number.map(RunNumber::get);
        let values = [
            ("seq", entry.seq.to_string()),
            ("id", self.id(entry.id.as_uuid())),
            ("action", text(Some(&entry.action))),
            (
                "campaign_id",
                uuid(entry.campaign_id.map(CampaignId::as_uuid)),
            ),
            (
                "run_number",
                run.map_or_else(|| "NULL".to_owned(), |run| run.to_string()),
            ),
            ("user_id", uuid(entry.user_id.map(UserId::as_uuid))),
            ("role_code", text(entry.role_code.as_deref())),
            ("ip", text(entry.ip.as_deref())),
            ("request_id", text(entry.request_id.as_deref())),
            ("details", text(Some(&entry.details))),
            ("created_at", self.time(entry.created_at)),
            ("hash", self.database.bytes(&entry.hash)),
        ];
        self.insert("audit_entries", &values);
    }

    fn campaign(&mut self, id: Uuid, status: &str, created: i64, updated: i64, segments: u32) {
        let values = [
            ("id", self.id(id)),
            ("name", text(Some("Spring's"))),
            ("customer_group_id", self.id(GROUP)),
            ("segment_by", text(Some("[\"country\"]"))),
            ("approval_stages", text(Some("[\"Review\"]"))),
            ("template_subject", text(Some("For {{ country }}"))),
            ("template_body", text(Some("Hello"))),
            ("brief", text(Some("be kind"))),
            ("status", text(Some(status))),
            ("current_run_number", "1".to_owned()),
            ("last_run_number", "1".to_owned()),
            ("last_segment_no", segments.to_string()),
            ("version", "3".to_owned()),
            ("created_by", self.id(caller().user_id().unwrap().as_uuid())),
            ("created_at", self.time(at(created))),
            ("updated_at", self.time(at(updated))),
        ];
        self.insert("campaigns", &values);
    }

    /// A run whose messages are generated: so many that wait for it, for review, and published.
    fn run(&mut self, campaign: Uuid, started: i64, completed: Option<i64>, counts: [u32; 3]) {
        let total: u32 = counts.iter().sum();
        let [generating, pending, published] = counts;
        let status = if completed.is_some() {
            "Completed"
        } else {
            "Processing"
        };
        let completed = completed.map_or_else(|| "NULL".to_owned(), |time| self.time(at(time)));
        let mut values = vec![
            ("campaign_id", self.id(campaign)),
            ("number", "1".to_owned()),
            ("job_uid", self.id(Uuid::from_u128(campaign.as_u128() << 8))),
            ("status", text(Some(status))),
            ("group_id", self.id(GROUP)),
            ("group_name", text(Some("g"))),
            ("customer_count", total.to_string()),
            ("segments_total", total.to_string()),
            ("segments_matched", "0".to_owned()),
            ("segments_new", total.to_string()),
            ("reused", "0".to_owned()),
            ("generated", total.to_string()),
            ("edited", "0".to_owned()),
            ("generating", generating.to_string()),
            ("failed", "0".to_owned()),
            ("pending", pending.to_string()),
            ("approved", "0".to_owned()),
            ("rejected", "0".to_owned()),
            ("published", published.to_string()),
            ("resulting_status", text(Some("Ready for review"))),
            (
                "initiated_by",
                self.id(caller().user_id().unwrap().as_uuid()),
            ),
            ("initiated_ip", text(Some("192.0.2.1"))),
        ];
        values.extend([
            ("started_at", self.time(at(started))),
            ("completed_at", completed),
        ]);
        self.insert("runs", &values);
    }

    /// A message, its segment, and its content or its place in the queue.
    fn message(&mut self, campaign: Uuid, no: u32, country: &str, status: &str, minutes: i64) {
        let id = Uuid::from_u128((campaign.as_u128() << 16) + u128::from(no));
        let segment = [
            ("campaign_id", self.id(campaign)),
            ("no", no.to_string()),
            ("key", self.key(country)),
            (
                "attributes",
                text(Some(&format!("{{\"country\":\"{country}\"}}"))),
            ),
        ];
        self.insert("segments", &segment);
        let waits = status == "Generating";
        let content = if waits {
            "NULL".to_owned()
        } else {
            self.id(id)
        };
        if !waits {
            let values = [
                ("id", content.clone()),
                ("run_number", "1".to_owned()),
                ("subject", text(Some("For you"))),
                ("body", text(Some("It's ü"))),
                ("created_at", self.time(at(minutes))),
            ];
            self.insert("contents", &values);
        }
        let stage = if status == "Pending review" {
            "0"
        } else {
            "NULL"
        };
        let values = [
            ("id", self.id(id)),
            ("campaign_id", self.id(campaign)),
            ("run_number", "1".to_owned()),
            ("segment_no", no.to_string()),
            ("customer_count", "1".to_owned()),
            ("content_id", content),
            ("review_status", text(Some(status))),
            ("approval_stage", stage.to_owned()),
            ("source", text(Some("generated"))),
            ("created_at", self.time(at(minutes))),
            ("updated_at", self.time(at(minutes))),
        ];
        self.insert("messages", &values);
        if waits {
            let values = [
                ("message_id", self.id(id)),
                ("campaign_id", self.id(campaign)),
                ("run_number", "1".to_owned()),
                ("failed_attempts", "1".to_owned()),
                ("due_at", self.time(at(minutes))),
            ];
            self.insert("generation_tasks", &values);
        }
    }
}

/// A group, a published campaign, and one whose messages are being generated.
fn fill(database: &Database) {
    let mut rows = Rows {
        database,
        statements: Vec::new(),
        head: ChainHead::EMPTY,
    };
    let group = [
        ("id", rows.id(GROUP)),
        ("name", text(Some("g"))),
        ("customer_count", "2".to_owned()),
        ("version", "2".to_owned()),
        ("created_at", rows.time(at(1))),
        ("updated_at", rows.time(at(2))),
    ];
    rows.insert("customer_groups", &group);
    let segmentation = Uuid::from_u128(0x30);
    let values = [
        ("id", rows.id(segmentation)),
        ("group_id", rows.id(GROUP)),
        ("fields", text(Some("[\"country\"]"))),
        ("group_version", "2".to_owned()),
    ];
    rows.insert("segmentations", &values);
    for country in ["DE", "FR"] {
        let profile = text(Some(&format!("{{\"country\":\"{country}\"}}")));
        let customer = [
            ("group_id", rows.id(GROUP)),
            ("customer_ref", text(Some(country))),
            ("profile", profile.clone()),
        ];
        rows.insert("customers", &customer);
        let counted = [
            ("segmentation_id", rows.id(segmentation)),
            ("key", rows.key(country)),
            ("attributes", profile),
            ("customer_count", "1".to_owned()),
        ];
        rows.insert("group_segments", &counted);
    }
    rows.campaign(PUBLISHED, "Published", 3, 7, 1);
    rows.run(PUBLISHED, 4, Some(5), [0, 0, 1]);
    rows.message(PUBLISHED, 1, "DE", "Published", 5);
    rows.campaign(UNDER_WAY, "Processing", 8, 9, 2);
    rows.run(UNDER_WAY, 9, None, [1, 1, 0]);
    rows.message(UNDER_WAY, 1, "DE", "Pending review", 9);
    rows.message(UNDER_WAY, 2, "FR", "Generating", 9);
    let response = [
        ("endpoint", text(Some("rerun_initiate"))),
        ("key", text(Some("a key"))),
        ("fingerprint", database.bytes(&[7; 32])),
        ("response", text(Some("{}"))),
        ("created_at", rows.time(at(9))),
    ];
    rows.insert("idempotency_keys", &response);

    let group = || json!({ "customer_group_id": GROUP });
    let changed = || json!({ "after": "x" });
    let (published, under_way) = (|run| Some((PUBLISHED, run)), |run| Some((UNDER_WAY, run)));
    rows.audit(1, AuditAction::GroupCreated, None, &group());
    rows.audit(2, AuditAction::GroupImported, None, &group());
    rows.audit(3, AuditAction::CampaignCreated, published(None), &changed());
    rows.audit(
        4,
        AuditAction::CampaignLaunched,
        published(Some(1)),
        &changed(),
    );
    rows.audit(5, AuditAction::RunCompleted, published(Some(1)), &changed());
    rows.audit(
        6,
        AuditAction::MessagesApproved,
        published(Some(1)),
        &changed(),
    );
    rows.audit(
        7,
        AuditAction::CampaignPublished,
        published(Some(1)),
        &changed(),
    );
    rows.audit(8, AuditAction::CampaignCreated, under_way(None), &changed());
    rows.audit(
        9,
        AuditAction::CampaignLaunched,
        under_way(Some(1)),
        &changed(),
    );
    let head = [
        ("seq", rows.head.seq.to_string()),
        ("hash", database.bytes(&rows.head.hash)),
    ];
    rows.insert("audit_heads", &head);
    // Together: a campaign and its run refer to each other.
    database.execute(&format!("BEGIN; {}; COMMIT", rows.statements.join("; ")));
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// One column of text.
fn lines(database: &Database, sql: &str) -> Vec<String> {
    let query = diesel::sql_query(sql);
    let found: Vec<Line> = match database {
        Database::Sqlite { file, .. } => {
            query.load(&mut SqliteConnection::establish(file).unwrap())
        }
        Database::Postgres(database) => {
            query.load(&mut PgConnection::establish(database.url()).unwrap())
        }
    }
    .unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.into_iter().map(|row| row.line).collect()
}

/// Every row of every table, by the tables' names.
fn dump(database: &Database) -> BTreeMap<String, Vec<String>> {
    let tables = match database {
        Database::Sqlite { .. } => {
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' \
             AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'"
        }
        Database::Postgres(_) => {
            "SELECT tablename::text AS line FROM pg_tables WHERE schemaname = 'public' \
             AND tablename NOT LIKE '\\_\\_diesel%'"
        }
    };
    let rows = |table: &str| match database {
        Database::Sqlite { .. } => {
            let columns = format!(
                "SELECT '''' || name || ''', quote(' || name || ')' AS line \
                 FROM pragma_table_info('{table}') ORDER BY name"
            );
            let columns = lines(database, &columns).join(", ");
            format!("SELECT json_object({columns}) AS line FROM {table} ORDER BY 1")
        }
        Database::Postgres(_) => {
            format!("SELECT to_jsonb(t)::text AS line FROM {table} t ORDER BY 1")
        }
    };
    lines(database, tables)
        .into_iter()
        .map(|table| {
            let rows = lines(database, &rows(&table));
            (table, rows)
        })
        .collect()
}

/// Up to the newest version, or back to the first.
fn migrate(database: &Database) {
    let url = database.url();
    match database {
        Database::Sqlite { .. } => rerun_sqlite::migrate(&url).unwrap(),
        Database::Postgres(_) => rerun_pg::migrate(&url).unwrap(),
    };
}

fn revert_to_the_first(database: &Database) {
    let url = database.url();
    let applied = || match database {
        Database::Sqlite { .. } => rerun_sqlite::migrations(&url).unwrap(),
        Database::Postgres(_) => rerun_pg::migrations(&url).unwrap(),
    };
    let applied = applied().iter().filter(|known| known.applied).count();
    for _ in 1..applied {
        match database {
            Database::Sqlite { .. } => rerun_sqlite::revert(&url).unwrap(),
            Database::Postgres(_) => rerun_pg::revert(&url).unwrap(),
        };
    }
}

/// Forward and back, and forward again: every row is as it was.
fn rows_stay(database: &Database) {
    fill(database);
    let mut before = dump(database);
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "the test has no row of {table}");
    }
    migrate(database);
    revert_to_the_first(database);
    let mut after = dump(database);
    for derived in DERIVED {
        before.remove(derived);
        after.remove(derived);
    }
    assert_eq!(before, after);
    migrate(database);
}

/// What the first version began is finished, and rerun.
async fn work_goes_on<S: ports::Store + 'static>(store: S) {
    let f = Fixture::new(store);
    f.check().await;
    let verified = f.engine.audit.verify(ACCOUNT).await.unwrap();
    assert_eq!(verified, Ok(9));
    let (published, under_way) = (CampaignId::new(PUBLISHED), CampaignId::new(UNDER_WAY));
    f.generate().await;
    let status = f.campaign(under_way).await.status;
    assert_eq!(status, CampaignStatus::ReadyForReview);
    f.approve(under_way).await;
    f.publish(under_way).await;
    f.rerun(published, CustomerGroupId::new(GROUP)).await;
    let run = f.current_run(published).await;
    assert_eq!((run.segments.matched, run.segments.new), (1, 1));
    f.generate().await;
    f.approve(published).await;
    f.publish(published).await;
    f.check().await;
    let verified = f.engine.audit.verify(ACCOUNT).await.unwrap();
    assert!(matches!(verified, Ok(10..)), "{verified:?}");
}

#[tokio::test]
async fn a_database_of_the_first_version_is_upgraded_and_taken_back_on_sqlite() {
    let database = first_version(empty_sqlite);
    rows_stay(&database);
    let options = rerun_sqlite::Options::default();
    let store = rerun_sqlite::SqliteStore::connect(&database.url(), &options).unwrap();
    work_goes_on(store).await;
}

#[tokio::test]
async fn a_database_of_the_first_version_is_upgraded_and_taken_back_on_postgres() {
    let database = tokio::task::spawn_blocking(|| {
        let database = first_version(empty_postgres);
        rows_stay(&database);
        database
    });
    let database = database.await.unwrap();
    let options = rerun_pg::Options::default();
    let store = rerun_pg::PgStore::connect(&database.url(), &options).unwrap();
    work_goes_on(store).await;
}
