pub(super) mod delete;
pub(super) mod erase;
pub(super) mod list;
