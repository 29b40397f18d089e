//! The binary under faults: killed, told to end, and with its database gone for a while.
//!
//! Every test runs real processes against a stub of a language model that knows every call that
//! was made to it. `RERUN_TEST_KILLS` says how often the kill tests kill a server, a dispatcher of
//! webhooks, a publisher and NATS on each store (4; 200 take up to seven minutes for each test),
//! `RERUN_TEST_SCHEDULES` and `RERUN_TEST_SERVERS` how many schedules are due at once (60) at how many
//! servers (3), `RERUN_TEST_OUTAGE_SECONDS` how long PostgreSQL is gone at least (2),
//! `RERUN_TEST_MIXED_SECONDS` how long the mixed load lasts (without it, 800 requests),
//! `RERUN_TEST_FLEET_SECONDS` how long servers and workers are killed by turns (6),
//! `RERUN_TEST_SEED` repeats a run's choices; the last is told at the start of a test.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod api;
mod deliveries;
mod disk;
mod fleet;
mod kill;
mod life;
mod limits;
mod mixed;
mod nats;
mod outage;
mod process;
mod read_only;
mod schedules;
mod share;
mod stalled;
mod standstill;
mod story;
mod stub;
mod terminate;
mod wait;
mod world;
mod writers;

/// A line for whoever runs the tests: the harness shows it when a test fails, or on request.
#[expect(clippy::print_stderr, reason = "figures of the run")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

/// What decides about the moments of faults.
fn chance() -> fastrand::Rng {
    let seed = number("RERUN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    tell(&format!("RERUN_TEST_SEED={seed}"));
    fastrand::Rng::with_seed(seed)
}
