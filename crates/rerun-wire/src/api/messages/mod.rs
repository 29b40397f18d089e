pub mod adopt;
pub mod edit;
pub mod export;
pub mod recipient;
pub mod recipients;
pub mod regenerate;
pub mod review;
