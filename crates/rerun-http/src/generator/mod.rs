//! What makes messages.

pub mod template;

pub use template::TemplateGenerator;
