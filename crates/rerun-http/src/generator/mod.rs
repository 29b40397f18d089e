//! What makes messages.

pub mod openai;
pub mod template;

pub use openai::{OpenAiGenerator, OpenAiSettings};
pub use template::TemplateGenerator;
