pub mod adopt;
pub mod edit;
pub mod export;
pub mod recipients;
pub mod regenerate;
pub mod review;
