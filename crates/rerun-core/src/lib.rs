#![doc = include_str!("../README.md")]

use chrono::{DateTime, Utc};

pub mod actor;
pub mod audit;
pub mod campaign;
pub mod change;
pub mod deadline;
pub mod diff;
pub mod error;
pub mod event;
pub mod generation;
pub mod group;
pub mod ids;
pub mod message;
pub mod missing_field;
pub mod page;
pub mod plan;
pub mod ports;
pub mod review;
pub mod run;
pub mod segment;
pub mod text;
pub mod timestamp;
pub mod usecases;

/// A point in time, UTC, in whole milliseconds: the precision of the wire and of every store.
pub type Timestamp = DateTime<Utc>;
