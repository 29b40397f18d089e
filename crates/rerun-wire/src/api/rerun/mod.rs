pub mod archive;
pub mod cancel;
pub mod diff;
pub mod history;
pub mod initiate;
pub mod messages;
pub mod preview;
pub mod retry;

use crate::codes::Code;

/// What refuses a rerun, and so its preview.
pub const REFUSALS: [Code; 7] = [
    Code::CampaignNotFound,
    Code::CustomerGroupNotFound,
    Code::CampaignNotPublished,
    Code::MessagesNotPublished,
    Code::EmptyCustomerGroup,
    Code::UnknownSegmentField,
    Code::TooManySegments,
];
