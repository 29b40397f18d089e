//! How PostgreSQL comes to the rows of launches, of reruns, and of what their triggers look up.

use diesel::connection::SimpleConnection;
use rerun_contract::fixture::Fixture;
use rerun_pg::PgStore;

use crate::{CALLS, Seen, new_plans, server};

/// Plans of the statements in triggers, too.
const NESTED: &str = "&options=-c%20auto_explain.log_nested_statements%3Don";
/// An import and a first count read all of these.
const READ_AS_A_WHOLE: [&str; 2] = ["customers", "import_rows"];

/// A campaign of so many segments from its launch to a rerun for which half of them are new.
async fn campaign(f: &Fixture<PgStore>, size: usize) {
    let countries: Vec<String> = (0..size + size / 2).map(|n| format!("c{n}")).collect();
    let countries: Vec<&str> = countries.iter().map(String::as_str).collect();
    let group = f.group(&countries[..size]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.finish(campaign).await;
    let other = f.group(&countries[size / 2..]).await;
    f.rerun(campaign, other).await;
    let segments = f.current_run(campaign).await.segments;
    assert!(segments.matched > 0 && segments.new > 0);
    f.generate().await;
}

/// The connection keeps the plans that it made of statements, and of those in triggers, while the
/// tables were nearly empty.
#[test]
fn a_campaign_reads_its_rows_once_after_tables_were_analysed_while_nearly_empty() {
    let (server, mut admin) = server();
    let f = Fixture::new(server.store(NESTED));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(campaign(&f, 2));
    admin.batch_execute("ANALYZE").unwrap();
    for _ in 0..CALLS {
        runtime.block_on(campaign(&f, 2));
    }
    // Statements of up to 100 rows stay prepared.
    for size in [90, 400] {
        server.new_entries();
        runtime.block_on(campaign(&f, size));
        let most = 4.0 * f64::from(u32::try_from(size).unwrap());
        let mut faults = Vec::new();
        for plan in new_plans(&server) {
            let mut seen = Seen::default();
            seen.walk(&plan["Plan"], 1);
            let read = seen.read.iter();
            let too_much = read
                .filter(|(table, _)| !READ_AS_A_WHOLE.contains(&table.as_str()))
                .any(|(_, read)| read.rows > most || read.looks > most);
            if too_much || seen.compared > most {
                faults.push(format!("{}\n{}", plan["Query Text"], seen.outline));
            }
        }
        assert!(
            faults.is_empty(),
            "{size} segments, {} faults:\n{}",
            faults.len(),
            faults.join("\n")
        );
    }
    runtime.block_on(f.check());
}
