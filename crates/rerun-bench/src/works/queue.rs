//! A small run beside a long queue of another account.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::only_server;
use crate::api::{self, Account, Api};
use crate::bench::Bench;
use crate::figures::{Figures, Timed, Turn};
use crate::listener::listen;
use crate::seed::{self, Audience};
use crate::{Outcome, cpu, progress};

/// How long a call of the language model takes.
const CALL: Duration = Duration::from_millis(100);

/// How many messages the small run has.
const FEW: u32 = 10;

/// How often the small run is made in a turn.
const EACH: u32 = 20;

/// A campaign, a draft, that is launched and cancelled over and over.
struct Draft {
    account: Account,
    campaign: Uuid,
}

impl Draft {
    fn new(bench: &mut Bench<'_>, segments: u32) -> Outcome<Self> {
        let account = bench.account()?;
        let mut api = bench.api()?;
        let group = seed::group(&mut api, &account, Audience::of_segments(segments))?;
        let campaign = seed::draft(&mut api, &account, group)?;
        Ok(Self { account, campaign })
    }

    fn call(&self, api: &mut Api, path: &str) -> Outcome<Value> {
        api.call(
            &self.account,
            path,
            &json!({ "campaign_id": self.campaign }),
        )
    }

    fn launch(&self, api: &mut Api) -> Outcome<()> {
        self.call(api, "campaign/launch").map(drop)
    }

    fn cancel(&self, api: &mut Api) -> Outcome<()> {
        self.call(api, "campaign/rerun/cancel").map(drop)
    }

    fn is_processing(&self, api: &mut Api) -> Outcome<bool> {
        let found = self.call(api, "campaign/get")?;
        Ok(api::text(&found, "status")? == "Processing")
    }

    /// From the request that launches it until all of its messages have been made.
    fn run(&self, bench: &Bench<'_>, api: &mut Api) -> Outcome<Turn> {
        let turn = bench.meter().turn(|| {
            let start = Instant::now();
            self.launch(api)?;
            seed::generated(api, &self.account, self.campaign)?;
            Ok(Timed::once(start.elapsed()))
        })?;
        self.cancel(api)?;
        Ok(turn)
    }
}

pub(super) fn queue(bench: &mut Bench<'_>) -> Outcome<()> {
    if bench.wants("queue-10-beside-100k") {
        measure(bench, "queue-10-beside-100k")?;
    }
    if bench.wants("queue-10-beside-100k-model") {
        let completion = completion();
        let model = listen(move |_, _| {
            thread::sleep(CALL);
            Some(completion.clone())
        })?;
        let url = format!("http://{model}/v1");
        bench.restart(&[
            ("RERUN_GENERATOR", "openai"),
            ("RERUN_OPENAI_BASE_URL", &url),
            ("RERUN_OPENAI_MODEL", "none"),
        ])?;
        measure(bench, "queue-10-beside-100k-model")?;
        bench.restart(&[])?;
    }
    Ok(())
}

/// What a language model returns.
fn completion() -> String {
    let content = json!({ "subject": "New this spring", "body": "Have a look. ".repeat(30) });
    let message = json!({ "role": "assistant", "content": content.to_string() });
    json!({ "choices": [{ "index": 0, "finish_reason": "stop", "message": message }] }).to_string()
}

fn measure(bench: &mut Bench<'_>, name: &str) -> Outcome<()> {
    let many = bench.options.size(100_000);
    progress(&format!("{name}: seeding {many} segments"));
    let (long, short) = (Draft::new(bench, many)?, Draft::new(bench, FEW)?);
    // Statements are planned for tables that have had as many rows before.
    let mut api = bench.api()?;
    long.launch(&mut api)?;
    long.cancel(&mut api)?;
    bench.settle()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut queued = 0;
    cpu::forget_peak(bench.server_id());
    for round in 0..=bench.options.rounds() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..EACH {
            first.push(short.run(bench, &mut api)?);
        }
        long.launch(&mut api)?;
        for _ in 0..EACH {
            second.push(short.run(bench, &mut api)?);
            queued += u32::from(round > 0 && long.is_processing(&mut api)?);
        }
        long.cancel(&mut api)?;
        // The first round warms up.
        if round > 0 {
            alone.extend(first);
            beside.extend(second);
        }
    }
    let (alone, beside) = (only_server(alone), only_server(beside));
    let (before, after) = (
        Figures::of(&alone.server, 1),
        Figures::of(&beside.server, 1),
    );
    let note = format!(
        "{:.2} × of {:.1} ms alone; to reach: 2 ×. {queued} of {} times the queue was not empty afterwards",
        after.p50_ms / before.p50_ms,
        before.p50_ms,
        beside.server.len(),
    );
    bench.record_noting(name, &beside, 1, Some(note));
    Ok(())
}
