#![doc = include_str!("../README.md")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code in the form of a library: a case fails by panicking"
)]

mod cases;
pub mod fixture;
pub mod invariants;
pub mod memory;
pub mod model;
pub mod oracle;
pub mod ports;
mod snapshot;
pub mod suite;

pub use fixture::Fixture;
pub use snapshot::{CampaignSnapshot, Snapshot};
