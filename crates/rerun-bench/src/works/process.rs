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
        let called: Outcome<Vec<Latencies>> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_panic| crate::Failure::from("a caller panicked"))?
            })
            .collect();
        called.map(|called| (called, samples))
    })?;
    let (reads, others): (Vec<_>, Vec<_>) = called
        .into_iter()
        .map(|latencies| (latencies.reads, latencies.others))
        .unzip();
    let (reads, others) = (reads.concat(), others.concat());
    let figures = |latencies: Vec<Duration>| {
        let turn = Turn {
            timed: Timed {
                latencies,
                wall: load,
            },
            cpu: Cpu::default(),
        };
        Figures::of(&[turn], 1)
    };
    let texts: Vec<String> = samples.iter().map(|mb| format!("{mb:.0}")).collect();
    let of_reads = figures(reads.clone());
    bench.add(Row {
        server: Some(figures([reads, others].concat())),
        memory_mb: cpu::memory_now(server),
        note: Some(format!(
            "pages of history and of 50 messages: p50 {:.2} ms, p99 {:.1} ms; MB over time: {}",
            of_reads.p50_ms,
            of_reads.p99_ms,
            texts.join(", ")
        )),
        ..empty("memory-loaded")
    });
    Ok(())
}

/// How long the requests of a caller took.
#[derive(Default)]
struct Latencies {
    /// Pages of history and of 50 messages.
    reads: Vec<Duration>,
    /// Reruns with their publication, previews, imports and pages of 1,000 messages.
    others: Vec<Duration>,
}

impl Caller {
    /// Reads most of the time, and now and then changes something, as a team does.
    fn call_until(&mut self, mut api: Api, end: Instant) -> Outcome<Latencies> {
        let mut latencies = Latencies::default();
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
            let is_read = step % 10 != 0 || step % 50 == 0;
            let of_kind = if is_read {
                &mut latencies.reads
            } else {
                &mut latencies.others
            };
            of_kind.push(start.elapsed());
        }
        Ok(latencies)
    }
}
