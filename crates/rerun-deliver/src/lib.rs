#![doc = include_str!("../README.md")]

mod secrets;
mod sender;
pub mod signature;
pub mod target;

pub use secrets::DerivedSecrets;
pub use sender::{HttpSender, MAX_RESPONSE_BYTES, SetupError};
pub use target::{AllowedNetworks, Refused, TargetRules, Targets};
