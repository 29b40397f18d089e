//! Schedules and their firings: the statements that both databases have.

pub mod store;
