//! The requests and the answers of each endpoint, in the folders of the endpoints' paths, and what the
//! OpenAPI document says of it.

#![expect(
    missing_docs,
    reason = "a comment at a shape becomes a text of the OpenAPI document, which says each thing once"
)]

pub mod audit;
pub mod campaign;
pub mod customer;
pub mod customer_group;
pub mod event;
pub mod health;
pub mod messages;
pub mod metrics;
pub mod openapi;
pub mod rerun;
pub mod schedule;
pub mod webhook;

use crate::endpoints::{self, Endpoint};
use crate::openapi::Docs;

macro_rules! documented {
    ($($endpoint:ident = $method:ident $path:literal, in $($module:ident)::+;)+) => {
        /// Every endpoint with what it says about itself.
        pub(crate) fn documented() -> impl Iterator<Item = (Endpoint, Docs)> {
            let listed: [(Endpoint, fn() -> Docs); _] = [$((endpoints::$endpoint, $($module::)+ docs)),+];
            listed.into_iter().map(|(endpoint, docs)| (endpoint, docs()))
        }
    };
}

crate::each_endpoint!(documented);
