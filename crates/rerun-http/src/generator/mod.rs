//! What makes messages.

pub mod openai;
pub mod template;

pub use openai::{ExtraHeaders, OpenAiGenerator, OpenAiSettings};
pub use template::TemplateGenerator;
