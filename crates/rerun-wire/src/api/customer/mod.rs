pub mod delete;
pub mod erase;
pub mod list;
