pub(super) mod create;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod launch;
pub(super) mod list;
pub(super) mod publish;
pub(super) mod template_preview;
pub(super) mod update;
