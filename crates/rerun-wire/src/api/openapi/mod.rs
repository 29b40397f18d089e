pub mod document;
pub mod file;
pub mod page;
pub mod root;
pub mod slash;
