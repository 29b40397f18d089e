#![doc = include_str!("../README.md")]

mod dispatcher;
mod observer;
mod secrets;
mod sender;
pub mod signature;
pub mod target;

pub use dispatcher::{Dispatcher, DispatcherOptions};
pub use observer::Observer;
pub use secrets::DerivedSecrets;
pub use sender::{HttpSender, MAX_RESPONSE_BYTES, SetupError};
pub use target::{AllowedNetworks, Refused, TargetRules, Targets};
