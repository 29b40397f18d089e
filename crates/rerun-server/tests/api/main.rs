//! Every endpoint over HTTP: a real server on a real port, over a real database of either kind.
//!
//! The modules follow the paths. Each case runs once for each store, as a test of its own.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod audit;
mod bodies;
mod campaign;
mod console;
mod console_openid;
mod customer;
mod customer_group;
mod errors;
mod events;
mod headers;
mod health;
mod hostile;
mod idempotency;
mod isolation;
mod metrics;
mod openapi;
mod paging;
#[path = "../provider/mod.rs"]
mod provider;
mod schedule;
mod support;
mod webhooks;
