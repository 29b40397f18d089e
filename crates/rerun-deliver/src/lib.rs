#![doc = include_str!("../README.md")]

mod dispatcher;
mod nats;
mod observer;
mod publisher;
mod secrets;
mod sender;
pub mod signature;
pub mod target;

pub use dispatcher::{Dispatcher, DispatcherOptions};
pub use nats::{NatsBroker, NatsOptions, NatsServers, stream_name, subject_prefix};
pub use observer::Observer;
pub use publisher::Publisher;
pub use secrets::DerivedSecrets;
pub use sender::{HttpSender, MAX_RESPONSE_BYTES, SetupError};
pub use target::{AllowedNetworks, Refused, TargetRules, Targets};
