pub(super) mod create;
pub(super) mod get;
pub(super) mod launch;
pub(super) mod list;
pub(super) mod publish;
