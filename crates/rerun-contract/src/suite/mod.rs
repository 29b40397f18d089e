//! The cases, one module for each port. [`store_contract!`](crate::store_contract) makes tests
//! of them.

pub mod audit;
pub mod campaigns;
pub mod changed_rules;
pub mod contents;
pub mod cursors;
pub mod customers;
pub mod deliveries;
pub mod firings;
pub mod generation;
pub mod groups;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod isolation;
pub mod outages;
pub mod queue;
pub mod rekeying;
pub mod rerun_suggestions;
pub mod reviews;
pub mod rules;
pub mod runs;
pub mod schedules;
pub mod segments;
pub mod suggestions;
pub mod webhooks;
