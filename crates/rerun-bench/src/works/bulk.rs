//! Imports, generation and exports.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::api::{self, Account};
use crate::bench::Bench;
use crate::figures::{Cpu, Timed, Turn};
use crate::floor::{self, Floor, Session};
use crate::http::Connection;
use crate::seed::{self, Audience, Subject};
use crate::{Failure, Outcome, progress};

/// How much is given to a `COPY` at once, in bytes.
const PIECE: usize = 1 << 16;

/// An export with fewer bytes for each message lacks their contents.
const LEAST_EXPORTED: usize = 300;

fn first(sessions: &[Session]) -> Outcome<&Session> {
    sessions
        .first()
        .ok_or_else(|| Failure::from("no connection to the database"))
}

fn sessions(bench: &Bench<'_>, statements: &[&str]) -> Outcome<Vec<Session>> {
    let sessions = bench
        .floor()
        .map(|floor| floor.sessions_for_many(1, statements));
    Ok(sessions.transpose()?.unwrap_or_default())
}

pub(super) fn import(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(1_000_000),
        segments: bench.options.size(10_000),
    };
    let (ours, theirs) = (bench.account()?, bench.account()?);
    let csv = audience.csv();
    let rows = copy_rows(audience);
    let sessions = sessions(bench, &[])?;
    bench.settle()?;
    progress(&format!("import-1m: importing {} rows", audience.customers));
    let rounds = bench.options.rounds().min(3);
    let turns = bench.turns(
        rounds,
        false,
        |bench| import_by_server(bench, &ours, &csv),
        |bench, sql| {
            let group = seed::empty_group(&mut bench.api()?, &theirs)?;
            let session = first(&sessions)?;
            // Sharing the bytes costs nothing; the list of pieces is what is used up.
            let rows = rows.clone();
            bench.meter().turn(|| {
                let start = Instant::now();
                sql.with(import_by_sql(session, &theirs, group, rows))?;
                Ok(Timed::once(start.elapsed()))
            })
        },
    )?;
    bench.record("import-1m", &turns, audience.customers);
    Ok(())
}

/// An import into a group that is new.
pub(crate) fn import_by_server(bench: &Bench<'_>, account: &Account, csv: &str) -> Outcome<Turn> {
    let group = seed::empty_group(&mut bench.api()?, account)?;
    let request = api::import(account, group, csv.as_bytes());
    let mut connection = Connection::open(bench.address())?;
    bench.meter().turn(|| {
        let start = Instant::now();
        connection.call(&request)?;
        Ok(Timed::once(start.elapsed()))
    })
}

/// The customers as `COPY` takes them: reference and profile.
fn copy_rows(audience: Audience) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for number in 0..audience.customers {
        let customer = audience.customer(number);
        let profile = json!({
            "country": customer.country,
            "email": customer.email,
            "first_name": customer.first_name,
            "interest": customer.interest,
            "plan": customer.plan,
            "since": customer.since,
        });
        piece.push_str(&customer.reference);
        piece.push('\t');
        // None of these values holds what the text format of COPY would have escaped.
        piece.push_str(&profile.to_string());
        piece.push('\n');
        if piece.len() > PIECE {
            pieces.push(std::mem::take(&mut piece).into());
        }
    }
    pieces.push(piece.into());
    pieces
}

/// What an import into an empty group comes to: rows copied aside, sorted into the table.
async fn import_by_sql(
    session: &Session,
    account: &Account,
    group: Uuid,
    rows: Vec<Bytes>,
) -> Outcome<()> {
    let account = account.id;
    let client = &session.client;
    client
        .batch_execute(
            "BEGIN; CREATE TEMPORARY TABLE floor_rows \
             (customer_ref text COLLATE \"C\", profile jsonb) ON COMMIT DROP",
        )
        .await?;
    session
        .copy_in("COPY floor_rows (customer_ref, profile) FROM STDIN", rows)
        .await?;
    client
        .batch_execute(&format!(
            "INSERT INTO customers /* floor */ (account_id, group_id, customer_ref, profile) \
             SELECT '{account}', '{group}', customer_ref, profile FROM floor_rows \
             ORDER BY customer_ref; \
             UPDATE customer_groups SET version = version + 1, updated_at = now(), \
               customer_count = (SELECT count(*) FROM floor_rows) \
             WHERE account_id = '{account}' AND id = '{group}'; \
             COMMIT"
        ))
        .await?;
    Ok(())
}

pub(super) fn generate(bench: &mut Bench<'_>) -> Outcome<()> {
    let segments = bench.options.size(10_000);
    progress(&format!("generate-10k: generating {segments} messages"));
    let account = bench.account()?;
    let group = seed::group(&mut bench.api()?, &account, Audience::of_segments(segments))?;
    bench.settle()?;
    // Bare SQL needs messages that no worker takes, so the two sides cannot take turns.
    let rounds = bench.options.rounds();
    let mut turns = bench.turns(
        rounds,
        true,
        |bench| by_worker(bench, &account, group),
        |_, _| Ok(nothing()),
    )?;
    turns.floor.clear();
    if bench.floor().is_some() {
        bench.restart(&[("RERUN_WORKERS", "0")])?;
        let mut sessions = sessions(bench, &[floor::LEASE, floor::STORE])?;
        let by_sql = |bench: &Bench<'_>, sql: &Floor| {
            sql.prepare_again(&mut sessions)?;
            by_sql(bench, sql, first(&sessions)?, &account, group)
        };
        turns.floor = bench.turns(rounds, true, |_| Ok(nothing()), by_sql)?.floor;
        bench.restart(&[])?;
    }
    bench.record("generate-10k", &turns, segments);
    Ok(())
}

fn nothing() -> Turn {
    Turn {
        timed: Timed::default(),
        cpu: Cpu::default(),
    }
}

/// From the answer to a launch until everything has been stored.
fn by_worker(bench: &Bench<'_>, account: &Account, group: Uuid) -> Outcome<Turn> {
    let mut api = bench.api()?;
    let campaign = seed::draft(&mut api, account, group)?;
    let launch = json!({ "campaign_id": campaign });
    bench.meter().turn(|| {
        api.call(account, "campaign/launch", &launch)?;
        let start = Instant::now();
        seed::generated(&mut api, account, campaign)?;
        Ok(Timed::once(start.elapsed()))
    })
}

fn by_sql(
    bench: &Bench<'_>,
    sql: &Floor,
    session: &Session,
    account: &Account,
    group: Uuid,
) -> Outcome<Turn> {
    let mut api = bench.api()?;
    let campaign = seed::draft(&mut api, account, group)?;
    api.call(
        account,
        "campaign/launch",
        &json!({ "campaign_id": campaign }),
    )?;
    bench.meter().turn(|| {
        sql.with(async {
            let lease = new_id();
            let account = account.id;
            let start = Instant::now();
            let take: floor::Values = vec![Box::new(account), Box::new(campaign), Box::new(lease)];
            let taken = session.query(0, &take).await?;
            let mut ids: Vec<Uuid> = Vec::new();
            let (mut contents, mut subjects, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
            for row in &taken {
                ids.push(row.try_get(0)?);
                let attributes: String = row.try_get(1)?;
                contents.push(new_id());
                subjects.push(format!("New for {attributes}"));
                bodies.push(format!("{attributes} {}", "and what is new. ".repeat(24)));
            }
            let store: floor::Values = vec![
                Box::new(account),
                Box::new(campaign),
                Box::new(1),
                Box::new(lease),
                Box::new(ids),
                Box::new(contents),
                Box::new(subjects),
                Box::new(bodies),
            ];
            session.query(1, &store).await?;
            Ok(Timed::once(start.elapsed()))
        })
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the floor makes ids as the server does: in the order of time"
)]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// A whole run as a file.
pub(super) fn export(bench: &mut Bench<'_>, subject: &Subject) -> Outcome<()> {
    let request = subject.request(
        "campaign/messages/export",
        &json!({ "run_number": subject.run, "format": "csv" }),
    );
    let sessions = sessions(bench, &[])?;
    let copy = format!(
        "COPY (SELECT /* floor */ m.id, m.run_number, s.attributes, m.customer_count, t.subject, \
           t.body, m.review_status, m.approval_stage, m.source, m.reused_from_message_id, \
           m.reused_from_run_number, m.rejection_reason, m.error, m.created_at, m.updated_at \
         FROM messages m \
         JOIN segments s ON s.account_id = m.account_id AND s.campaign_id = m.campaign_id \
           AND s.no = m.segment_no \
         LEFT JOIN contents t ON t.account_id = m.account_id AND t.id = m.content_id \
         WHERE m.account_id = '{}' AND m.campaign_id = '{}' AND m.run_number = {} \
         ORDER BY m.segment_no) TO STDOUT (FORMAT csv)",
        subject.account.id, subject.campaign, subject.run
    );
    let segments = usize::try_from(subject.segments)?;
    let turns = bench.turns(
        bench.options.rounds(),
        true,
        |bench| {
            let mut connection = Connection::open(bench.address())?;
            bench.meter().turn(|| {
                let start = Instant::now();
                let mut bytes = 0;
                connection.stream(&request, |piece| bytes += piece.len())?;
                if bytes < segments * LEAST_EXPORTED {
                    return Err(format!("an export of {bytes} bytes").into());
                }
                Ok(Timed::once(start.elapsed()))
            })
        },
        |bench, sql| {
            let session = first(&sessions)?;
            bench.meter().turn(|| {
                let start = Instant::now();
                sql.with(session.copy_out(&copy))?;
                Ok(Timed::once(start.elapsed()))
            })
        },
    )?;
    bench.record("export-100k", &turns, subject.segments);
    Ok(())
}
