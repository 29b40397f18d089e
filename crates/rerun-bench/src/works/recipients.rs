//! Who gets which message, as a file with a row for each customer.

use std::time::Instant;

use serde_json::json;

use crate::bench::Bench;
use crate::cpu;
use crate::figures::Timed;
use crate::floor::{Floor, Session};
use crate::http::Connection;
use crate::seed::{self, Audience, FIELDS, Subject};
use crate::{Failure, Outcome, progress};

/// With it the sort of a million rows needs no file.
const PREPARATION: &str = "SET work_mem = '256MB'";

pub(super) fn recipients(bench: &mut Bench<'_>) -> Outcome<()> {
    for (name, segments) in [("recipients-1m-100", 100), ("recipients-1m-10k", 10_000)] {
        if bench.wants(name) {
            let audience = Audience {
                customers: bench.options.size(1_000_000),
                segments: bench.options.size(segments),
            };
            export(bench, name, audience)?;
        }
    }
    Ok(())
}

fn export(bench: &mut Bench<'_>, name: &str, audience: Audience) -> Outcome<()> {
    let Audience {
        customers,
        segments,
    } = audience;
    progress(&format!(
        "{name}: seeding {customers} customers in {segments} segments"
    ));
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, audience)?;
    let subject = seed::published(&mut api, &account, group, segments)?;
    bench.settle()?;
    let request = subject.request("campaign/recipients/export", &json!({ "format": "csv" }));
    let copy = copy(&subject);
    let session = bench.floor().map(session).transpose()?;
    let lines = usize::try_from(customers)? + 1;
    let before = cpu::memory_now(bench.server_id());
    let turns = bench.turns(
        bench.options.rounds(),
        true,
        |bench| {
            let mut connection = Connection::open(bench.address())?;
            bench.meter().turn(|| {
                let start = Instant::now();
                let mut found = 0;
                connection.stream(&request, |piece| {
                    found += line_ends(piece);
                })?;
                if found != lines {
                    return Err(format!("{found} lines in place of {lines}").into());
                }
                Ok(Timed::once(start.elapsed()))
            })
        },
        |bench, sql| {
            let session = session
                .as_ref()
                .ok_or_else(|| Failure::from("no connection to the database"))?;
            bench.meter().turn(|| {
                let start = Instant::now();
                sql.with(session.copy_out(&copy))?;
                Ok(Timed::once(start.elapsed()))
            })
        },
    )?;
    let note = before.map(|before| format!("{before:.0} MB before"));
    bench.record_noting(name, &turns, customers, note);
    Ok(())
}

#[expect(
    clippy::naive_bytecount,
    reason = "it is quick enough without one more crate"
)]
fn line_ends(piece: &[u8]) -> usize {
    piece.iter().filter(|byte| **byte == b'\n').count()
}

fn session(floor: &Floor) -> Outcome<Session> {
    let session = floor
        .sessions_for_many(1, &[])?
        .pop()
        .ok_or_else(|| Failure::from("no connection to the database"))?;
    floor.with(async { Ok(session.client.batch_execute(PREPARATION).await?) })?;
    Ok(session)
}

/// The same file as bare SQL makes it, in the same order.
fn copy(subject: &Subject) -> String {
    let [first, second] = FIELDS;
    format!(
        "COPY (SELECT /* floor */ c.customer_ref, s.key, s.id FROM customers c \
         LEFT JOIN (SELECT encode(s.key, 'hex') AS key, m.id, \
             s.attributes::jsonb ->> '{first}' AS v1, s.attributes::jsonb ->> '{second}' AS v2 \
           FROM messages m JOIN segments s ON s.account_id = m.account_id \
             AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
           WHERE m.account_id = '{account}' AND m.campaign_id = '{campaign}' \
             AND m.run_number = {run}) s \
           ON s.v1 = c.profile ->> '{first}' AND s.v2 = c.profile ->> '{second}' \
         WHERE c.account_id = '{account}' AND c.group_id = '{group}' \
         ORDER BY c.customer_ref) TO STDOUT (FORMAT csv)",
        account = subject.account.id,
        campaign = subject.campaign,
        run = subject.run,
        group = subject.group,
    )
}
