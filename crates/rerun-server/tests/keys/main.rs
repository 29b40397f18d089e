//! Keys, tokens and headers, against the command `rerun-http serve` as a user starts it: what an
//! attacker may send, keys that are replaced while it runs, roles, and settings that must not
//! start.
//!
//! Each run of the tests makes its own keys.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]
#![expect(
    clippy::too_many_lines,
    reason = "tables are as long as there are cases"
)]

mod attacks;
mod files;
mod kit;
mod roles;
mod rotation;
mod server;
mod start;
