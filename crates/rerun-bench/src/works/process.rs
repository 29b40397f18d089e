//! The server as a process: its start and its memory.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::CONNECTIONS;
use crate::api::{Account, Api};
use crate::bench::Bench;
use crate::cpu;
use crate::figures::{Cpu, Figures, Row, Timed, Turn};
use crate::seed::{self, Audience, Subject};
use crate::{Outcome, catalogue, progress};

/// How often a start is measured.
const STARTS: u32 = 11;

/// How many samples of its memory say whether it grows.
const SAMPLES: u32 = 6;

pub(super) fn cold_start(bench: &mut Bench<'_>) -> Outcome<()> {
    let mut turns = Vec::new();
    for _ in 0..STARTS {
        let server = bench.launcher.start(&[("RERUN_WORKERS", "0")])?;
        turns.push(Turn {
            timed: Timed::once(server.started_in),
            cpu: Cpu::default(),
        });
    }
    let row = Row {
        server: Some(Figures::of(&turns, 1)),
        ..empty("cold-start")
    };
    bench.add(row);
    Ok(())
}

fn empty(name: &str) -> Row {
    Row {
        name: name.to_owned(),
        work: catalogue::about(name),
        server: None,
        floor: None,
        memory_mb: None,
        note: None,
    }
}

/// A caller of the mixed load with what it works on.
struct Caller {
    subject: Subject,
}

pub(super) fn memory(bench: &mut Bench<'_>) -> Outcome<()> {
    let segments = bench.options.size(1_000);
    progress("memory: seeding");
    let accounts = bench.accounts(u32::try_from(CONNECTIONS)?)?;
    let mut callers = seed::parallel(bench.address(), &accounts, |api, account: &Account| {
        let group = seed::group(api, account, Audience::of_segments(segments))?;
        let subject = seed::published(api, account, group, segments)?;
        Ok(Caller { subject })
    })?;
    bench.settle()?;
    bench.restart(&[])?;
    let idle = cpu::memory_now(bench.server_id());
    bench.add(Row {
        memory_mb: idle,
        ..empty("memory-idle")
    });
    let load = bench.options.load();
    progress(&format!("memory: {} s of mixed load", load.as_secs()));
    let end = Instant::now() + load;
    let address = bench.address();
    let server = bench.server_id();
    let (called, samples) = thread::scope(|scope| {
        let threads: Vec<_> = callers
            .iter_mut()
            .map(|caller| scope.spawn(move || caller.call_until(Api::open(address)?, end)))
            .collect();
        let samples: Vec<f64> = (0..SAMPLES)
            .filter_map(|_| {
                thread::sleep(load / SAMPLES);
                cpu::memory_now(server)
            })
            .collect();
        let called: Outcome<Vec<Vec<Duration>>> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_panic| crate::Failure::from("a caller panicked"))?
            })
            .collect();
        called.map(|called| (called, samples))
    })?;
    let turn = Turn {
        timed: Timed {
            latencies: called.concat(),
            wall: load,
        },
        cpu: Cpu::default(),
    };
    let texts: Vec<String> = samples.iter().map(|mb| format!("{mb:.0}")).collect();
    bench.add(Row {
        server: Some(Figures::of(&[turn], 1)),
        memory_mb: cpu::memory_now(server),
        note: Some(format!("MB over time: {}", texts.join(", "))),
        ..empty("memory-loaded")
    });
    Ok(())
}

impl Caller {
    /// Reads most of the time, and now and then changes something, as a team does.
    fn call_until(&mut self, mut api: Api, end: Instant) -> Outcome<Vec<Duration>> {
        let mut latencies = Vec::new();
        let subject = &mut self.subject;
        for step in 0_u32.. {
            let start = Instant::now();
            if start >= end {
                break;
            }
            match step % 50 {
                10 => {
                    let group = json!({ "new_customer_group_id": subject.group });
                    subject.call(&mut api, "campaign/rerun/initiate", &group)?;
                    subject.publish(&mut api)?;
                }
                20 => {
                    let group = json!({ "new_customer_group_id": subject.group });
                    subject.call(&mut api, "campaign/rerun/preview", &group)?;
                }
                30 => {
                    let csv = format!("customer_ref,plan\n{},{step}\n", Audience::FIRST);
                    api.import(&subject.account, subject.group, csv.as_bytes())?;
                }
                40 => {
                    let all = json!({ "limit": 10_000 });
                    subject.call(&mut api, "campaign/rerun/messages", &all)?;
                }
                even if even % 2 == 0 => {
                    subject.call(&mut api, "campaign/rerun/history", &json!({ "limit": 20 }))?;
                }
                _ => {
                    subject.call(&mut api, "campaign/rerun/messages", &json!({ "limit": 50 }))?;
                }
            }
            latencies.push(start.elapsed());
        }
        Ok(latencies)
    }
}
