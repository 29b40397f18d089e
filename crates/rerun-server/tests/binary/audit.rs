//! Whatever is done to the audit log behind the program's back shows.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rerun_contract::Fixture;
use rerun_contract::fixture::{self, messages_from_elsewhere};
use rerun_core::actor::{Actor, Person};
use rerun_core::audit::{AuditEntry, ChainBreak, ChainHead};
use rerun_core::campaign::Template;
use rerun_core::ids::{AccountId, UserId};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{self, AuditFilter};
use rerun_core::usecases::{AuditLog, Engine, NewCampaign, NewSchedule, NewWebhook, PageQuery};
use serde_json::Value;
use uuid::Uuid;

use crate::database::Database;
use crate::{folder, rerun, text};

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xa1));
const OTHER_ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xb2));

fn caller(account_id: AccountId) -> Actor {
    let person = Person {
        user_id: UserId::new(Uuid::from_u128(0xc3)),
        user_name: None,
        role_code: "ADMIN".to_owned(),
        ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    };
    Actor::person(account_id, person).in_request("a request")
}

/// Seven entries in one account, the fourth about a campaign, and two in another.
async fn write_entries(engine: &Engine) {
    let who = caller(ACCOUNT);
    for name in ["One", "Two", "Three"] {
        engine.groups.create(&who, name, None).await.unwrap();
    }
    let groups = engine.groups.list(&who, &PageQuery::default()).await;
    let new = NewCampaign {
        name: "Four".to_owned(),
        customer_group_id: groups.unwrap().items.first().map(|group| group.id),
        segment_by: vec!["country".into()],
        template: Template {
            subject: "s".to_owned(),
            body: "b".to_owned(),
        },
        brief: None,
        approval_stages: None,
        distinct_reviewers: false,
        suggest_reruns: None,
        allow_missing_fields: false,
    };
    engine.campaigns.create(&who, new, None).await.unwrap();
    for name in ["Five", "Six", "Seven"] {
        engine.groups.create(&who, name, None).await.unwrap();
    }
    for name in ["One", "Two"] {
        let who = caller(OTHER_ACCOUNT);
        engine.groups.create(&who, name, None).await.unwrap();
    }
}

async fn entries(log: &AuditLog) -> Vec<AuditEntry> {
    let page = PageQuery::default();
    let listed = log
        .list(&caller(ACCOUNT), AuditFilter::default(), &page)
        .await;
    let mut entries = listed.unwrap().items;
    entries.reverse();
    entries
}

/// What the check has to say.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// This entry is not what was written.
    Altered(usize),
    /// This entry is missing.
    Missing(usize),
    /// This entry stands after the end.
    Surplus(usize),
    /// The log does not end as it was left.
    End,
}

async fn said(log: &AuditLog) -> Result<i64, (Said, ChainBreak)> {
    log.verify(ACCOUNT).await.unwrap().map_err(|broken| {
        let number = |seq: i64| usize::try_from(seq).unwrap();
        let said = match broken {
            ChainBreak::Altered { seq, .. } => Said::Altered(number(seq)),
            ChainBreak::Gap { expected, .. } => Said::Missing(number(expected)),
            ChainBreak::Surplus { seq, .. } => Said::Surplus(number(seq)),
            ChainBreak::Truncated { .. } | ChainBreak::OtherHead { .. } => Said::End,
            ChainBreak::Unexpected { .. } | ChainBreak::Unlogged(_) => panic!("{broken}"),
        };
        (said, broken)
    })
}

/// Puts the log back as it was before somebody changed it.
const RESTORE: &str = "DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM kept; \
                       DELETE FROM audit_heads; INSERT INTO audit_heads SELECT * FROM kept_heads";

/// SQL that changes the log of [`ACCOUNT`] behind the program's back.
struct Tampering<'a> {
    database: &'a Database,
    account: String,
    other_id: String,
}

impl Tampering<'_> {
    fn entry(&self, seq: usize) -> String {
        format!("account_id = {} AND seq = {seq}", self.account)
    }

    fn set(&self, seq: usize, what: &str) -> (String, Said) {
        let entry = self.entry(seq);
        let change = format!("UPDATE audit_entries SET {what} WHERE {entry}");
        (change, Said::Altered(seq))
    }

    fn move_to(&self, from: usize, to: usize) -> String {
        self.set(from, &format!("seq = {to}")).0
    }

    fn delete(&self, seq: usize) -> String {
        format!("DELETE FROM audit_entries WHERE {}", self.entry(seq))
    }

    fn copy(&self, from: usize, to: usize) -> String {
        format!(
            "INSERT INTO audit_entries (account_id, seq, id, action, details, created_at, hash) \
             SELECT account_id, {to}, {}, action, details, created_at, hash \
             FROM audit_entries WHERE {}",
            self.other_id,
            self.entry(from)
        )
    }

    fn head(&self, what: &str) -> (String, Said) {
        let account = &self.account;
        let change = format!("UPDATE audit_heads SET {what} WHERE account_id = {account}");
        (change, Said::End)
    }

    /// Each column of some entries.
    fn columns(&self) -> Vec<(String, Said)> {
        let other_id = &self.other_id;
        let zeros = self.database.bytes(&[0; 32]);
        let a_millisecond_later = match self.database {
            Database::Sqlite { .. } => "created_at = created_at + 1",
            Database::Postgres(_) => "created_at = created_at + interval '1 millisecond'",
        };
        let changes = [
            format!("id = {other_id}"),
            "action = 'campaign.published'".to_owned(),
            "run_number = 7".to_owned(),
            format!("user_id = {other_id}"),
            "user_id = NULL".to_owned(),
            "role_code = 'AUDITOR'".to_owned(),
            "role_code = NULL".to_owned(),
            "ip = '192.0.2.2'".to_owned(),
            "ip = NULL".to_owned(),
            "request_id = request_id || ' '".to_owned(),
            "request_id = NULL".to_owned(),
            "details = '{}'".to_owned(),
            a_millisecond_later.to_owned(),
            format!("hash = {zeros}"),
        ];
        let mut cases = Vec::new();
        for seq in [1, 4, 7] {
            cases.extend(changes.iter().map(|change| self.set(seq, change)));
        }
        let campaign = "campaign_id = (SELECT id FROM campaigns)";
        cases.extend([
            self.set(3, campaign),
            self.set(5, campaign),
            self.set(4, "campaign_id = NULL"),
        ]);
        // To another account, with a number of its own there.
        let other_account = self.database.id(OTHER_ACCOUNT.as_uuid());
        let change = format!("account_id = {other_account}, seq = 100, campaign_id = NULL");
        for (seq, said) in [(1, Said::Missing(1)), (4, Said::Missing(4)), (7, Said::End)] {
            cases.push((self.set(seq, &change).0, said));
        }
        cases.push((self.move_to(4, 100), Said::Missing(4)));
        cases
    }

    /// Entries that come, go or change places.
    fn places(&self) -> Vec<(String, Said)> {
        let all = format!(
            "DELETE FROM audit_entries WHERE account_id = {}",
            self.account
        );
        let last_two = [self.delete(6), self.delete(7)].join("; ");
        let mut cases = vec![
            (self.delete(1), Said::Missing(1)),
            (self.delete(4), Said::Missing(4)),
            (self.delete(7), Said::End),
            (last_two, Said::End),
            (all, Said::End),
        ];
        // One gone and the others moved up, so that no number is missing.
        let moved_up = (3..=7).map(|seq| self.move_to(seq, seq - 1));
        let closed: Vec<String> = [self.delete(2)].into_iter().chain(moved_up).collect();
        cases.push((closed.join("; "), Said::Altered(2)));
        for (one, other) in [(1, 2), (3, 6), (6, 7)] {
            let swap = [
                self.move_to(one, 100),
                self.move_to(other, one),
                self.move_to(100, other),
            ];
            cases.push((swap.join("; "), Said::Altered(one)));
        }
        for at in [1, 4, 7] {
            let moved_on = (at..=7).rev().map(|seq| self.move_to(seq, seq + 1));
            let inserted: Vec<String> = moved_on.chain([self.copy(at + 1, at)]).collect();
            cases.push((inserted.join("; "), Said::Altered(at)));
        }
        cases
    }

    /// The head, and entries that were made to fit.
    fn ends(&self, entries: &[AuditEntry]) -> Vec<(String, Said)> {
        let zeros = self.database.bytes(&[0; 32]);
        let appended = [self.copy(7, 8), self.head("seq = 8").0];
        let mut forged = entries[3].clone();
        forged.details = String::from(r#"{"name":"Forged"}"#);
        let hash = self.database.bytes(&forged.hash_after(&entries[2].hash));
        let earlier = self.database.bytes(&entries[5].hash);
        let earlier = format!("seq = 6, hash = {earlier}");
        let without_head = format!(
            "DELETE FROM audit_heads WHERE account_id = {}",
            self.account
        );
        // One that fits in every way, but that the head does not reach.
        let mut next = entries[6].clone();
        next.seq = 8;
        let next_hash = self.database.bytes(&next.hash_after(&entries[6].hash));
        let following = format!(
            "INSERT INTO audit_entries (account_id, seq, id, action, user_id, role_code, ip, \
               request_id, details, created_at, hash) \
             SELECT account_id, 8, id, action, user_id, role_code, ip, request_id, details, \
               created_at, {next_hash} FROM audit_entries WHERE {}",
            self.entry(7)
        );
        let fitting = format!("details = '{}', hash = {hash}", forged.details);
        vec![
            self.head("seq = 8"),
            (self.head("seq = 6").0, Said::Surplus(7)),
            (self.head(&earlier).0, Said::Surplus(7)),
            (self.head("seq = 0").0, Said::Surplus(1)),
            (without_head, Said::Surplus(1)),
            (self.copy(7, 8), Said::Altered(8)),
            (following, Said::Surplus(8)),
            self.head(&format!("hash = {zeros}")),
            (appended.join("; "), Said::Altered(8)),
            // The hash fits the change, and then not what follows.
            (self.set(4, &fitting).0, Said::Altered(5)),
        ]
    }
}

async fn every_change_shows(database: Database) {
    let store = database.open();
    let log = &store.engine.audit;
    write_entries(&store.engine).await;
    database.execute(
        "CREATE TABLE kept AS SELECT * FROM audit_entries; \
         CREATE TABLE kept_heads AS SELECT * FROM audit_heads",
    );
    let written = entries(log).await;
    assert_eq!(said(log).await, Ok(7));
    let by_hand = Tampering {
        database: &database,
        account: database.id(ACCOUNT.as_uuid()),
        other_id: database.id(Uuid::from_u128(0xdead)),
    };
    let cases = [by_hand.columns(), by_hand.places(), by_hand.ends(&written)];
    for (change, expected) in cases.into_iter().flatten() {
        database.execute(&change);
        let Err((found, broken)) = said(log).await else {
            panic!("nothing shows after {change}");
        };
        assert_eq!(found, expected, "{change}: {broken}");
        if let ChainBreak::Altered { id, .. } | ChainBreak::Gap { id, .. } = broken {
            assert!(broken.to_string().contains(&id.to_string()), "{broken}");
        }
        database.execute(RESTORE);
        assert_eq!(said(log).await, Ok(7), "after {change}");
    }
    assert_eq!(log.verify(OTHER_ACCOUNT).await.unwrap(), Ok(2));
}

#[tokio::test]
async fn every_change_of_the_log_shows_on_sqlite() {
    every_change_shows(Database::sqlite()).await;
}

#[tokio::test]
async fn every_change_of_the_log_shows_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    every_change_shows(database.unwrap()).await;
}

/// Exit code, standard output and standard error of `audit verify`.
fn verify(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = folder();
    let arguments: Vec<&str> = ["audit", "verify"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = rerun(folder.path(), &arguments)
        .env("RERUN_DATABASE_URL", url)
        .output()
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), stdout, stderr)
}

/// A head of an earlier day is still in the log, and nothing else passes for it.
fn an_earlier_head_is_compared(url: &str, written: &[AuditEntry]) {
    let account_text = ACCOUNT.to_string();
    let expecting = |head: ChainHead| {
        let head = head.to_string();
        verify(url, &["--account", &account_text, "--expect", &head])
    };
    let noted = |at: usize| ChainHead {
        seq: written[at].seq,
        hash: written[at].hash,
    };
    for at in [0, 4, 6] {
        assert_eq!(expecting(noted(at)).0, Some(0));
        let mut other = noted(at);
        other.hash[31] ^= 1;
        let (code, stdout, _) = expecting(other);
        assert_eq!(code, Some(1));
        assert!(
            stdout.contains("has another hash than the expected one"),
            "{stdout}"
        );
    }
    let (code, stdout, _) = expecting(ChainHead { seq: 8, ..noted(6) });
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("ends with entry 7, but entry 8 was written"),
        "{stdout}"
    );
    for wrong in [
        &["--expect", "7:00"][..],
        &["--account", &account_text, "--expect", "7:00"],
        &["--account", &account_text, "--expect", "0"],
    ] {
        assert_eq!(verify(url, wrong).0, Some(2), "{wrong:?}");
    }
}

async fn the_command_names_what_is_broken(database: Database) {
    let url = database.url();
    let empty = (
        Some(0),
        "No account has an audit log yet.\n".to_owned(),
        String::new(),
    );
    assert_eq!(verify(&url, &[]), empty);
    let store = database.open();
    write_entries(&store.engine).await;
    let written = entries(&store.engine.audit).await;

    let head = ChainHead {
        seq: 7,
        hash: written[6].hash,
    };
    let other = store.engine.audit.verify_with(OTHER_ACCOUNT, None).await;
    let other = other.unwrap().unwrap();
    let other = format!("{OTHER_ACCOUNT}  whole   2 entries  head {other}\n");
    let whole = format!("{ACCOUNT}  whole   7 entries  head {head}\n{other}");
    assert_eq!(verify(&url, &[]), (Some(0), whole, String::new()));
    let (code, stdout, _) = verify(&url, &["--log-format", "json"]);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["account_id"], OTHER_ACCOUNT.to_string());
    assert_eq!(
        (&lines[1]["whole"], &lines[1]["entries"]),
        (&true.into(), &2.into())
    );
    assert_eq!(lines[0]["head"], head.to_string());
    an_earlier_head_is_compared(&url, &written);

    let account = database.id(ACCOUNT.as_uuid());
    database.execute(&format!(
        "UPDATE audit_entries SET ip = '192.0.2.2' WHERE account_id = {account} AND seq = 4"
    ));
    let what = format!(
        "audit entry 4 ({}) is not what was written, or its predecessor is not",
        written[3].id
    );
    let (code, stdout, stderr) = verify(&url, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(stdout, format!("{ACCOUNT}  BROKEN  {what}\n{other}"));
    assert_eq!(stderr, "rerun-http: 1 of 2 audit logs is not whole\n");

    let one = |account: AccountId| verify(&url, &["--account", &account.to_string()]);
    assert_eq!(one(OTHER_ACCOUNT).0, Some(0));
    assert_eq!(one(ACCOUNT).0, Some(1));
    let (code, stdout, stderr) = verify(
        &url,
        &["--account", &ACCOUNT.to_string(), "--log-format", "json"],
    );
    assert_eq!(code, Some(1));
    let line: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&line["whole"], &line["broken"]),
        (&false.into(), &what.into())
    );
    assert!(serde_json::from_str::<Value>(&stderr).is_ok(), "{stderr}");

    let nobody = one(AccountId::new(Uuid::from_u128(0xd4)));
    assert_eq!(nobody.0, Some(1));
    assert!(nobody.1.contains("nothing was ever written"), "{nobody:?}");

    // A value that no entry can have does not end the check of the other accounts.
    database.execute(&format!(
        "UPDATE audit_entries SET run_number = -1 WHERE account_id = {account} AND seq = 4"
    ));
    let (code, stdout, _) = verify(&url, &[]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("BROKEN  an entry cannot be read: "),
        "{stdout}"
    );
    assert!(stdout.contains("whole   2 entries"), "{stdout}");
}

#[tokio::test]
async fn the_command_names_what_is_broken_on_sqlite() {
    the_command_names_what_is_broken(Database::sqlite()).await;
}

#[tokio::test]
async fn the_command_names_what_is_broken_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    the_command_names_what_is_broken(database.unwrap()).await;
}

/// Runs, publications, a cancellation, a campaign from elsewhere, a webhook and a schedule, a second
/// between two steps.
async fn tell_a_story<S: ports::Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    f.seconds_later(1);
    let campaign = f.draft(group).await;
    f.seconds_later(1);
    f.launch(campaign).await;
    f.seconds_later(1);
    f.generate().await;
    f.seconds_later(1);
    f.approve(campaign).await;
    f.seconds_later(1);
    f.publish(campaign).await;
    f.seconds_later(1);
    f.rerun(campaign, group).await;
    f.seconds_later(1);
    f.publish(campaign).await;
    f.seconds_later(1);
    f.rerun(campaign, group).await;
    f.seconds_later(1);
    f.cancel(campaign).await;
    f.seconds_later(1);
    let messages = messages_from_elsewhere(f, &[Some("DE")]);
    f.import_campaign(group, messages).await.unwrap();
    f.seconds_later(1);
    f.import_countries(group, &["FR"]).await;
    f.seconds_later(1);
    let webhook = NewWebhook {
        url: "https://receiver.example/hook".to_owned(),
        ..NewWebhook::default()
    };
    let webhooks = &f.engine.webhooks;
    webhooks
        .create(&fixture::caller(), webhook, None)
        .await
        .unwrap();
    f.seconds_later(1);
    let schedule = NewSchedule {
        campaign,
        name: "Monday".to_owned(),
        cron: None,
        at: Some(f.now() + Duration::from_hours(1)),
        time_zone: None,
        customer_group: None,
        reuse_from: ReuseFrom::CurrentRun,
        when: None,
        overlap: None,
        catch_up_seconds: None,
        jitter_seconds: None,
        ends_at: None,
    };
    let schedules = &f.engine.schedules;
    schedules
        .create(&fixture::caller(), schedule, None)
        .await
        .unwrap();
}

/// SQL that takes an entry out and makes the rest of the chain fit, the head included.
fn rewritten(database: &Database, entries: &[AuditEntry], without: usize) -> String {
    let account = database.id(fixture::ACCOUNT.as_uuid());
    let of = |seq: i64| format!("account_id = {account} AND seq = {seq}");
    let (before, after) = (&entries[..without], &entries[without + 1..]);
    let mut head = before.last().map_or(ChainHead::EMPTY, |entry| ChainHead {
        seq: entry.seq,
        hash: entry.hash,
    });
    let mut changes = vec![format!(
        "DELETE FROM audit_entries WHERE {}",
        of(entries[without].seq)
    )];
    for entry in after {
        let mut moved = entry.clone();
        moved.seq = head.seq + 1;
        head = ChainHead {
            seq: moved.seq,
            hash: moved.hash_after(&head.hash),
        };
        let hash = database.bytes(&head.hash);
        changes.push(format!(
            "UPDATE audit_entries SET seq = {}, hash = {hash} WHERE {}",
            head.seq,
            of(entry.seq)
        ));
    }
    changes.push(with_head(database, &head));
    changes.join("; ")
}

/// SQL that sets the kept head, or removes it when there are no entries.
fn with_head(database: &Database, head: &ChainHead) -> String {
    let account = database.id(fixture::ACCOUNT.as_uuid());
    if *head == ChainHead::EMPTY {
        return format!("DELETE FROM audit_heads WHERE account_id = {account}");
    }
    let hash = database.bytes(&head.hash);
    let seq = head.seq;
    format!("UPDATE audit_heads SET seq = {seq}, hash = {hash} WHERE account_id = {account}")
}

async fn what_the_log_does_not_account_for_shows<S: ports::Store + 'static>(
    database: Database,
    store: S,
) {
    let f = Fixture::new(store);
    tell_a_story(&f).await;
    f.check().await;
    let log = &f.engine.audit;
    let entries = f.entries(fixture::ACCOUNT).await;
    let head = log
        .verify_with(fixture::ACCOUNT, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.seq, i64::try_from(entries.len()).unwrap());
    database.execute(
        "CREATE TABLE kept AS SELECT * FROM audit_entries; \
         CREATE TABLE kept_heads AS SELECT * FROM audit_heads",
    );
    let account = database.id(fixture::ACCOUNT.as_uuid());
    // The newest entries gone, and the head put back to fit; at last all of them, with the head.
    for left in 0..entries.len() {
        let head = left
            .checked_sub(1)
            .map_or(ChainHead::EMPTY, |last| ChainHead {
                seq: entries[last].seq,
                hash: entries[last].hash,
            });
        let cut = format!(
            "DELETE FROM audit_entries WHERE account_id = {account} AND seq > {left}; {}",
            with_head(&database, &head)
        );
        database.execute(&cut);
        assert_eq!(f.store.audit_accounts().await.unwrap(), [fixture::ACCOUNT]);
        let found = log.verify(fixture::ACCOUNT).await.unwrap();
        assert!(
            matches!(found, Err(ChainBreak::Unlogged(_))),
            "{left} entries left: {found:?}"
        );
        database.execute(RESTORE);
    }
    // One entry gone, and everything after it computed again.
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        database.execute(&rewritten(&database, &entries, at));
        let verified = log.verify(fixture::ACCOUNT).await.unwrap();
        if let Err(broken) = &verified {
            assert!(matches!(broken, ChainBreak::Unlogged(_)), "{broken}");
            found.push(entry.action.as_str());
        }
        // Against a head that was noted before, all of them show.
        let noted = log.verify_with(fixture::ACCOUNT, Some(head)).await;
        assert!(noted.unwrap().is_err(), "{}", entry.action);
        database.execute(RESTORE);
    }
    assert_eq!(
        found,
        [
            "customer_group.created",
            "campaign.created",
            "campaign.launched",
            "campaign.published",
            "rerun.initiated",
            "campaign.published",
            "rerun.initiated",
            "rerun.cancelled",
            "campaign.created",
            "customer_group.imported",
            "webhook.created",
            "schedule.created",
        ]
    );
    assert_eq!(log.verify(fixture::ACCOUNT).await.unwrap(), Ok(head.seq));
}

#[tokio::test]
async fn what_the_log_does_not_account_for_shows_on_sqlite() {
    let database = Database::sqlite();
    let options = rerun_sqlite::Options::default();
    let store = rerun_sqlite::SqliteStore::connect(&database.url(), &options).unwrap();
    what_the_log_does_not_account_for_shows(database, store).await;
}

#[tokio::test]
async fn what_the_log_does_not_account_for_shows_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres)
        .await
        .unwrap();
    let options = rerun_pg::Options::default();
    let store = rerun_pg::PgStore::connect(&database.url(), &options).unwrap();
    what_the_log_does_not_account_for_shows(database, store).await;
}

#[test]
fn a_database_without_the_schema_is_not_whole() {
    let folder = folder();
    let file = folder.path().join("new.db");
    std::fs::write(&file, "").unwrap();
    let url = format!("sqlite://{}", file.display());
    let (code, stdout, stderr) = verify(&url, &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("`rerun-http migrate` applies them"),
        "{stderr}"
    );
    let (code, _, stderr) = verify(&url, &["--account", "me"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("not a UUID"), "{stderr}");
}
