#![doc = include_str!("../README.md")]

pub mod endpoints;
pub mod json;

pub use endpoints::{ENDPOINTS, Endpoint};
