//! The behaviour that every store of the campaign rerun engine must show.
//!
//! - [`store_contract!`] makes one test for each case of the [`suite`], on a store of one's own.
//! - [`model::run_sequences`] drives a store with random sequences of commands and checks the
//!   [`invariants`] after each.
//! - [`memory::MemoryStore`] is a whole store, made as simple as it can be: the one to read first.
//!
//! A case works on a [`Fixture`]: a fresh store with the engine over it and a clock that stands
//! still. A test file for a store of one's own is this, with a database in place of the memory:
//!
//! ```no_run
//! use rerun_contract::Fixture;
//! use rerun_contract::memory::MemoryStore;
//!
//! async fn fresh() -> Fixture<MemoryStore> {
//!     Fixture::new(MemoryStore::new())
//! }
//!
//! rerun_contract::store_contract!(fresh);
//!
//! #[test]
//! fn no_sequence_of_commands_breaks_an_invariant() {
//!     rerun_contract::model::run_sequences(300, fresh);
//! }
//! # fn main() {}
//! ```
//!
//! Where the database must be removed afterwards, [`Fixture::keeping`] takes what does so on drop.

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
pub mod suite;

pub use fixture::Fixture;
