#![doc = include_str!("../README.md")]

pub mod actor;
pub mod audit;
pub mod campaign;
pub mod change;
pub mod counting;
pub mod deadline;
pub mod diff;
pub mod error;
pub mod event;
pub mod generation;
pub mod group;
pub mod idempotency;
pub mod ids;
mod invalid;
pub mod message;
pub mod missing_field;
pub mod page;
pub mod plan;
pub mod ports;
pub mod review;
pub mod rules;
pub mod run;
pub mod segment;
mod stages;
mod status;
pub mod text;
pub mod timestamp;
mod usage;
pub mod usecases;

pub use timestamp::Timestamp;
