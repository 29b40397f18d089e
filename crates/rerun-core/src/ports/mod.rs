//! The ports: the traits through which the use cases reach everything outside this crate. Each is
//! object-safe and small enough to mock; with the feature `mocks`, mockall mocks are here too.
//!
//! One method that writes is one atomic unit: all of it happens, or none. The crate
//! `rerun-contract` holds the behaviour that every store must show, as a test suite.

mod services;
mod store;

pub use services::*;
pub use store::*;
