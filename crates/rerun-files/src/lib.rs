#![doc = include_str!("../README.md")]

mod customers;
mod decode;
mod export;
mod header;
mod records;
pub mod sniff;
#[cfg(test)]
mod tests;

pub use customers::{CustomerCsv, records};
pub use export::{CsvRows, Format};
pub use header::CsvOptions;
pub use records::{Record, Records, Separator, Stop};
