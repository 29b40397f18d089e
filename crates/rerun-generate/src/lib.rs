#![doc = include_str!("../README.md")]

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod observer;
#[cfg(feature = "openai")]
pub mod openai;
mod redact;
mod scheduler;
mod system;
pub mod template;
mod worker;

pub use observer::Observer;
#[cfg(feature = "openai")]
pub use openai::{ExtraHeaders, OpenAiGenerator, OpenAiSettings};
pub use redact::Secrets;
pub use rerun_core::system::{ExponentialBackoff, SystemClock, UuidV7};
pub use scheduler::Scheduler;
pub use system::{RandomPause, Shutdown, ShutdownTrigger};
pub use template::TemplateGenerator;
pub use worker::{Housekeeping, Previews, Worker, WorkerOptions};
