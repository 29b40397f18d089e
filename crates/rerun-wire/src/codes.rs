//! The one table of errors: the status, the code and the text of each, and what they mean to a client.

macro_rules! codes {
    ($($code:ident => $status:literal, $text:literal, $message:literal, $fixed:ident,
        $when:literal, $remedy:literal;)+) => {
        /// Every code that an error can have.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $when] $code,)+
        }

        impl Code {
            /// Each of them, by status.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The code on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text,)+ }
            }

            /// The status that it always comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status,)+ }
            }

            /// Its message, or one that it may have.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$code => $message,)+ }
            }

            /// Whether its message is always the same.
            #[must_use]
            pub const fn is_fixed(self) -> bool {
                match self { $(Self::$code => codes!(@$fixed),)+ }
            }

            /// When it is answered.
            #[must_use]
            pub const fn when(self) -> &'static str {
                match self { $(Self::$code => $when,)+ }
            }

            /// What the caller should do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$code => $remedy,)+ }
            }
        }
    };
    (@fixed) => { true };
    (@varies) => { false };
}

codes! {
    InvalidRequest => 400, "invalid_request", "`limit` must be from 1 to 10000, not 0", varies,
        "Malformed JSON, a value of the wrong type or out of range, text with a NUL character, a damaged cursor, an unknown filter value, a bad `idempotency-key`, a body that cannot be decoded, a bad row or parameter of an import",
        "Fix the request. The error message states what is wrong and where";
    CampaignNotPublished => 400, "campaign_not_published",
        "Only Published campaigns can be rerun", fixed,
        "A rerun of a campaign that is not `Published`. If several reruns of one campaign are initiated at the same time, all but one get this error",
        "Read the campaign's status. Publish the campaign first, or check whether somebody else has just started the rerun";
    MessagesNotPublished => 400, "messages_not_published",
        "All campaign messages must be published before initiating a rerun", fixed,
        "A rerun of a campaign whose current run has messages that are not published",
        "Approve and publish these messages, then initiate the rerun again";
    CurrentRunArchive => 400, "current_run_archive",
        "The current run cannot be archived", fixed,
        "A request to archive the current run",
        "Name a past run. The next rerun archives the current run automatically";
    EmptyCustomerGroup => 400, "empty_customer_group",
        "The customer group has no customers", fixed,
        "A launch, a rerun or a preview for a group without customers",
        "Import customers into the group";
    UnknownSegmentField => 400, "unknown_segment_field",
        "no customer of the customer group `Spring 2026` (018f2b6c-0000-7000-8000-000000000002) has a value for `country`; the group has `Country`, `tier`. Correct the name, or send `\"allow_missing_fields\": true` if this is meant", varies,
        "No customer of the group has a value for a field of the campaign's `segment_by`. The \
         error message names the field, the group, and up to 20 fields that the group has, \
         similar names first",
        "Import the file again with the campaign's field names in its header, or create the \
         campaign with the group's field names. If the field may be missing, send \
         `\"allow_missing_fields\": true`; it applies to that request only";
    TooManySegments => 400, "too_many_segments",
        "the customer group has more than 100000 segments by these fields", varies,
        "The group has more segments than `RERUN_MAX_SEGMENTS`, or, before value rules are \
         applied, more than ten times as many combinations of values",
        "Segment by fields with fewer values, or ask the operator to raise the limit";
    MissingRequiredFields => 401, "missing_required_fields", "Missing required fields", fixed,
        "Required fields of the body, or of the query, are absent, `null` or empty; `fields` names them all",
        "Send the fields that `fields` names";
    AuthError => 403, "auth_error", "auth error", fixed,
        "`authorization` is not `Bearer` with a token that is well-formed, correctly signed, valid now, and has every claim",
        "Get a new token. If it is refused too, look for the `request_id` in the server's log: it \
         gives the reason";
    Unauthorized => 403, "unauthorized", "Unauthorized", fixed,
        "`x-auth-context` or `x-ip` is absent, repeated or wrong, or the role is not allowed to \
         call this endpoint",
        "Check the API code, the two headers, and the role in the token";
    StageNotAllowed => 403, "stage_not_allowed",
        "your role cannot approve at the stage `Legal`", varies,
        "An approval names a message that waits at a stage whose `roles` do not contain the \
         caller's `role_code`. Nothing was changed, not even the other messages that the request \
         names",
        "Ask somebody with one of these roles to approve the message. With `all`, such messages \
         are left out";
    CampaignNotFound => 404, "campaign_not_found", "Campaign not found", fixed,
        "`campaign_id` is malformed, unknown, or belongs to another account. The response is the same in all three cases",
        "Check the id, and that the token belongs to the campaign's account";
    CustomerGroupNotFound => 404, "customer_group_not_found", "Customer group not found", fixed,
        "The id of a customer group is malformed, unknown, or belongs to another account",
        "Check the id, and that the token belongs to the group's account";
    RunNotFound => 404, "run_not_found", "Run not found", fixed,
        "The campaign has no run with this number",
        "Use a run number from the campaign's history";
    MessageNotFound => 404, "message_not_found", "Message not found", fixed,
        "The campaign has no message with this id. Nothing was changed, not even the other messages that the request names",
        "Use ids from the list of messages";
    CustomerNotFound => 404, "customer_not_found", "Customer not found", fixed,
        "The run's group has no customer with this reference now, or, for an erasure, no group of the account has one",
        "Check the reference. A customer who has left the run's group may be in another group. If no group has the customer, there is nothing to erase";
    WebhookNotFound => 404, "webhook_not_found", "Webhook not found", fixed,
        "`webhook_id` is malformed, unknown, or belongs to another account",
        "Check the id, and that the token belongs to the webhook's account";
    ScheduleNotFound => 404, "schedule_not_found", "Schedule not found", fixed,
        "`schedule_id` is malformed, unknown, or belongs to another account",
        "Check the id, and that the token belongs to the schedule's account";
    NotFound => 404, "not_found", "Not found", fixed,
        "No endpoint has this path",
        "Check the path. No path ends with a slash";
    MethodNotAllowed => 405, "method_not_allowed", "Method not allowed", fixed,
        "The path does not support this method; the header `allow` names the methods that it \
         supports",
        "Use one of these methods";
    InvalidTransition => 409, "invalid_transition",
        "cannot cancel a campaign that is `Published`", varies,
        "The status of the campaign, of a message or of a webhook does not allow the action; the error message names the status and the action",
        "Read the status again, then decide what to do";
    ContentChanged => 409, "content_changed",
        "the message 0193ed20-7b3c-7000-8000-00000000000c has other content by now: read it again, then decide",
        varies,
        "A review or an edit named a `content_id` that the message no longer has: somebody edited it, or it was generated again. Nothing was changed, not even the other messages that the request names",
        "Read the message again, and decide about the content that it has now";
    InUse => 409, "in_use", "The customer group is in use", fixed,
        "The deletion of a customer group that is the group of a `Draft` campaign, of a campaign's current run, or of a schedule",
        "Delete the campaign, or rerun it with another group, and give schedules another group. \
         Then delete the group";
    UnfilledPlaceholder => 409, "unfilled_placeholder",
        "the message 0193ed20-7b3c-7000-8000-00000000000c cannot be approved: `{{ first_name }}` in its content is unfilled; edit the message or have it generated again",
        varies,
        "The approval of a message whose content still contains a placeholder, or the publication of a message that was approved with one under an earlier release. Nothing was changed, not even the other messages that the request names",
        "Edit the message that the error names, or have it generated again";
    PayloadTooLarge => 413, "payload_too_large", "the body may have at most 2097152 bytes", varies,
        "A JSON body larger than `RERUN_MAX_BODY_BYTES`, or an import larger than \
         `RERUN_MAX_IMPORT_BYTES`. The limit applies to the decoded size",
        "Send a smaller body: name fewer messages, or split the file into several imports";
    UnsupportedMediaType => 415, "unsupported_media_type",
        "the content type must be `application/json`", varies,
        "The endpoint does not support the `content-type`, its `charset` or the \
         `content-encoding` of the request",
        "Send a value that the error message names";
    IdempotencyKeyReused => 422, "idempotency_key_reused",
        "The idempotency key was used for another request", fixed,
        "The same `idempotency-key` was used within the last 24 hours with another body or at \
         another endpoint",
        "Use a new key for each new request. Use a key again only to repeat the same request";
    RateLimited => 429, "rate_limited", "Too many requests", varies,
        "The caller sent more requests than are allowed. `retry-after` is the time to wait in \
         seconds",
        "Wait for the time in `retry-after`, then send the same request again";
    InternalError => 500, "internal_error", "Internal server error", fixed,
        "The database or the processing failed. Nothing was changed",
        "Send the request once more. If it fails again, give the `request_id` to the operator: \
         the server's log has the cause under that id";
    Unavailable => 503, "unavailable", "The service is not available now, try again", fixed,
        "The database cannot be reached, the disk is full, too many bodies or imports are open, the request took too long, or the server is shutting down",
        "Wait for the time in `retry-after`, then send the same request again. If it writes, use \
         the same `idempotency-key`";
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::Code;

    /// What `docs/errors.md` has to say of every code.
    fn reference() -> String {
        let mut text = String::new();
        for code in Code::ALL {
            let (status, name, message) = (code.status(), code.as_str(), code.message());
            let (when, remedy) = (code.when(), code.remedy());
            let varies = if code.is_fixed() {
                ""
            } else {
                " (for example)"
            };
            write!(
                text,
                "\n### {status} `{name}`\n\n> {message}{varies}\n\n**When.** {when}.\n\n**What to do.** {remedy}.\n"
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn the_error_reference_tells_of_every_code() {
        let written = include_str!("../../../docs/errors.md");
        let (_, sections) = written.split_once("\n## The codes\n").unwrap();
        let expected = reference();
        assert!(
            sections == expected,
            "after `## The codes` docs/errors.md should say:\n{expected}"
        );
    }

    #[test]
    fn codes_are_in_the_order_of_their_statuses() {
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
    }
}
