pub(super) mod live;
pub(super) mod ready;
