pub(super) mod create;
pub(super) mod get;
pub(super) mod import;
pub(super) mod list;
