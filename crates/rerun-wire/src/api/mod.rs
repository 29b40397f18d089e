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

use crate::endpoints::{self, ENDPOINTS, Endpoint};
use crate::openapi::Docs;

/// For each endpoint the module with its `docs`.
macro_rules! documented {
    ($($endpoint:ident => $($module:ident)::+;)+) => {
        /// Every endpoint with what it says about itself.
        pub(crate) fn documented() -> impl Iterator<Item = (Endpoint, Docs)> {
            // As many as there are endpoints: none is left out.
            const ALL: [(Endpoint, fn() -> Docs); ENDPOINTS.len()] =
                [$((endpoints::$endpoint, $($module::)+ docs)),+];
            ALL.into_iter().map(|(endpoint, docs)| (endpoint, docs()))
        }
    };
}

documented! {
    RERUN_HISTORY => rerun::history;
    RERUN_MESSAGES => rerun::messages;
    RERUN_INITIATE => rerun::initiate;
    RERUN_PREVIEW => rerun::preview;
    RERUN_ARCHIVE => rerun::archive;
    RERUN_CANCEL => rerun::cancel;
    RERUN_RETRY => rerun::retry;
    RERUN_DIFF => rerun::diff;
    CAMPAIGN_CREATE => campaign::create;
    CAMPAIGN_UPDATE => campaign::update;
    SEGMENTATION_UPDATE => campaign::segmentation;
    CAMPAIGN_DELETE => campaign::delete;
    TEMPLATE_PREVIEW => campaign::template_preview;
    CAMPAIGN_LIST => campaign::list;
    CAMPAIGN_GET => campaign::get;
    CAMPAIGN_LAUNCH => campaign::launch;
    CAMPAIGN_PUBLISH => campaign::publish;
    MESSAGES_REVIEW => messages::review;
    MESSAGES_EDIT => messages::edit;
    MESSAGES_ADOPT => messages::adopt;
    MESSAGES_REGENERATE => messages::regenerate;
    MESSAGES_EXPORT => messages::export;
    RECIPIENTS_EXPORT => messages::recipients;
    GROUP_CREATE => customer_group::create;
    GROUP_UPDATE => customer_group::update;
    GROUP_DELETE => customer_group::delete;
    GROUP_IMPORT => customer_group::import;
    GROUP_LIST => customer_group::list;
    GROUP_GET => customer_group::get;
    CUSTOMER_LIST => customer::list;
    CUSTOMER_DELETE => customer::delete;
    CUSTOMER_ERASE => customer::erase;
    SCHEDULE_CREATE => schedule::create;
    SCHEDULE_LIST => schedule::list;
    SCHEDULE_GET => schedule::get;
    SCHEDULE_UPDATE => schedule::update;
    SCHEDULE_DELETE => schedule::delete;
    SCHEDULE_PAUSE => schedule::pause;
    SCHEDULE_RESUME => schedule::resume;
    SCHEDULE_PREVIEW => schedule::preview;
    SCHEDULE_TRIGGER => schedule::trigger;
    SCHEDULE_FIRINGS => schedule::firings;
    AUDIT_LIST => audit::list;
    EVENT_LIST => event::list;
    WEBHOOK_CREATE => webhook::create;
    WEBHOOK_LIST => webhook::list;
    WEBHOOK_GET => webhook::get;
    WEBHOOK_UPDATE => webhook::update;
    WEBHOOK_DELETE => webhook::delete;
    WEBHOOK_ROTATE_SECRET => webhook::rotate_secret;
    WEBHOOK_TEST => webhook::test;
    WEBHOOK_DELIVERIES => webhook::deliveries;
    WEBHOOK_REPLAY => webhook::replay;
    HEALTH_LIVE => health::live;
    HEALTH_READY => health::ready;
    ROOT => openapi::root;
    OPENAPI_JSON => openapi::document;
    DOCS => openapi::page;
    DOCS_SLASH => openapi::slash;
    DOCS_FILE => openapi::file;
    METRICS => metrics;
}
