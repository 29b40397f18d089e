pub(super) mod list;
