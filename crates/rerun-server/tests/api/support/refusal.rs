//! Refusals whose texts never change.

/// What a refusal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

const fn refusal(status: u16, code: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        message,
    }
}

pub(crate) const AUTH_ERROR: Refusal = refusal(403, "auth_error", "auth error");
pub(crate) const UNAUTHORIZED: Refusal = refusal(403, "unauthorized", "Unauthorized");
pub(crate) const MISSING_REQUIRED_FIELDS: Refusal =
    refusal(401, "missing_required_fields", "Missing required fields");
pub(crate) const CAMPAIGN_NOT_FOUND: Refusal =
    refusal(404, "campaign_not_found", "Campaign not found");
pub(crate) const CUSTOMER_GROUP_NOT_FOUND: Refusal =
    refusal(404, "customer_group_not_found", "Customer group not found");
pub(crate) const CAMPAIGN_NOT_PUBLISHED: Refusal = refusal(
    400,
    "campaign_not_published",
    "Only Published campaigns can be rerun",
);
pub(crate) const MESSAGES_NOT_PUBLISHED: Refusal = refusal(
    400,
    "messages_not_published",
    "All campaign messages must be published before initiating a rerun",
);
pub(crate) const CURRENT_RUN_ARCHIVE: Refusal = refusal(
    400,
    "current_run_archive",
    "The current run cannot be archived",
);
pub(crate) const INTERNAL_ERROR: Refusal = refusal(500, "internal_error", "Internal server error");

pub(crate) const EMPTY_CUSTOMER_GROUP: Refusal = refusal(
    400,
    "empty_customer_group",
    "The customer group has no customers",
);
pub(crate) const RUN_NOT_FOUND: Refusal = refusal(404, "run_not_found", "Run not found");
pub(crate) const SCHEDULE_NOT_FOUND: Refusal =
    refusal(404, "schedule_not_found", "Schedule not found");
pub(crate) const CUSTOMER_NOT_FOUND: Refusal =
    refusal(404, "customer_not_found", "Customer not found");
pub(crate) const IN_USE: Refusal = refusal(409, "in_use", "The customer group is in use");
pub(crate) const MESSAGE_NOT_FOUND: Refusal =
    refusal(404, "message_not_found", "Message not found");
pub(crate) const WEBHOOK_NOT_FOUND: Refusal =
    refusal(404, "webhook_not_found", "Webhook not found");
pub(crate) const UNSUPPORTED_MEDIA_TYPE: Refusal = refusal(
    415,
    "unsupported_media_type",
    "the content type must be `application/json`",
);
pub(crate) const IDEMPOTENCY_KEY_REUSED: Refusal = refusal(
    422,
    "idempotency_key_reused",
    "The idempotency key was used for another request",
);
pub(crate) const UNAVAILABLE: Refusal = refusal(
    503,
    "unavailable",
    "The service is not available now, try again",
);
pub(crate) const NOT_FOUND: Refusal = refusal(404, "not_found", "Not found");
pub(crate) const METHOD_NOT_ALLOWED: Refusal =
    refusal(405, "method_not_allowed", "Method not allowed");
