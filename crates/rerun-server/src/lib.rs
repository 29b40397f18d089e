#![doc = include_str!("../README.md")]

pub mod cli;
pub mod config;
mod counted;
pub mod demo;
pub mod openid;
pub mod store;
mod system;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(not(feature = "otlp"))]
#[path = "no_traces.rs"]
mod traces;

pub use counted::Counted;

/// The programs of the page about embedding are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;
