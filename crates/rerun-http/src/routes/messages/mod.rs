pub(super) mod adopt;
pub(super) mod edit;
pub(super) mod export;
pub(super) mod recipient;
pub(super) mod recipients;
pub(super) mod regenerate;
pub(super) mod review;
