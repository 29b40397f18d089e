pub(super) mod create;
pub(super) mod delete;
pub(super) mod firings;
pub(super) mod get;
mod items;
pub(super) mod list;
pub(super) mod pause;
pub(super) mod preview;
pub(super) mod resume;
pub(super) mod trigger;
pub(super) mod update;

pub use items::{FiringItem, ScheduleItem};
pub use preview::PatternTime;
