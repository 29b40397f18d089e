//! The schemas of types that know nothing of OpenAPI: those of the core, and what stands for
//! them on the wire.

#![expect(
    dead_code,
    reason = "these types only describe: no value of them is ever made"
)]

use std::collections::BTreeMap;

use rerun_core::audit::AuditAction as Action;
use rerun_core::campaign::CampaignStatus as Status;
use rerun_core::delivery::{DeliveryState as Delivering, SendError as Sending};
use rerun_core::diff::DiffChange as Change;
use rerun_core::group::ImportMode as Mode;
use rerun_core::message::{ReviewStatus as Review, Source as MessageSource};
use rerun_core::plan::ReuseFrom as Reuse;
use rerun_core::rules::{Normalise as Rule, ValueType as Kind};
use rerun_core::run::RunStatus as Running;
use rerun_core::schedule::{
    ClockChange as Changing, Outcome as FiringOutcomes, Overlap as Overlapping,
    ScheduleStatus as Scheduling, When,
};
use rerun_core::webhook::{DisabledReason as Disabled, WebhookStatus as Enabled};
use utoipa::openapi::schema::{Object, ObjectBuilder, Ref, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::codes::Code;

/// A request's id.
pub(super) const REQUEST_ID: &str = "^[A-Za-z0-9._-]{1,128}$";

/// A reference to the schema of a type.
pub(crate) fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// A named schema.
pub(super) type Named = (String, RefOr<Schema>);

/// The schema of a type, and of every type that it refers to.
pub(super) fn with_references<T: ToSchema>() -> Vec<Named> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

/// The id of something.
pub(crate) fn id() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .build()
}

macro_rules! texts {
    ($($name:ident, $values:expr, $description:literal;)+) => {$(
        #[doc = $description]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .enum_values(Some($values))
                    .into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

texts! {
    CampaignStatus, Status::ALL.iter().map(|value| value.as_str()),
        "The status of a campaign.";
    RunStatus, Running::ALL.iter().map(|value| value.as_str()),
        "The status of a run's generation.";
    ReviewStatus, Review::ALL.iter().map(|value| value.as_str()),
        "The status of a message.";
    Source, MessageSource::ALL.iter().map(|value| value.as_str()),
        "Where a message's content comes from: a generator wrote it (`generated`), it is the \
         content of an approved message (`reused`), a person wrote it (`edited`), or a person \
         took a suggestion (`suggested`).";
    ReuseFrom, Reuse::ALL.iter().map(|value| value.as_str()),
        "Which messages a rerun can reuse: those that are published in the current run \
         (`current_run`), those that are published in any run of the campaign (`any_run`), or \
         also those that passed every stage in a run that was cancelled (`any_approved`). Of \
         several, the newest is reused.";
    DiffChange, Change::ALL.iter().map(|value| value.as_str()),
        "How a segment differs between two runs: only the second run has it (`added`), only the \
         first run has it (`removed`), both have it with the same content (`kept_same`), or both \
         have it with different content (`kept_changed`).";
    Normalise, Rule::ALL.iter().map(|value| value.as_str()),
        "How values are made equal: `collapse_spaces` replaces each run of blanks by one space, \
         `casefold` ignores letter case, and `separators` treats `_`, `-`, `–` and blanks as the \
         same.";
    ValueType, Kind::ALL.iter().map(|value| value.as_str()),
        "The type of a field's values. Numbers are exact decimals; booleans are `true`/`false`, \
         `yes`/`no`, `y`/`n` and `1`/`0`.";
    DecimalMark, [".", ","],
        "The character between the whole part and the decimals of a number.";
    Decision, ["approve", "reject"],
        "The decision of a reviewer.";
    ExportFormat, ["csv", "jsonl"],
        "The format of an exported file.";
    ImportMode, Mode::ALL.iter().map(|value| value.as_str()),
        "What an import does with the customers and values that its file does not contain: it \
         keeps them (`merge`) or removes them (`replace`).";
    WebhookStatus, Enabled::ALL.iter().map(|value| value.as_str()),
        "Whether events are sent to a webhook.";
    DisabledReason, Disabled::ALL.iter().map(|value| value.as_str()),
        "Why a webhook is disabled: somebody disabled it (`requested`), its receiver responded \
         with 410 (`gone`), or nothing was delivered for 5 days (`failing`).";
    DeliveryState, Delivering::ALL.iter().map(|value| value.as_str()),
        "The state of a delivery.";
    SendError, Sending::ALL.iter().map(|value| value.as_str()),
        "Why no response came: the address or the URL is not allowed (`not_allowed`), the server \
         has no secret to sign with (`not_signed`), the host name has no address \
         (`not_resolved`), the connection failed (`not_connected`), TLS failed (`tls`), the \
         receiver took too long (`timed_out`), the connection broke or the response was not HTTP \
         (`broken`), or the sender stopped during the attempt (`interrupted`).";
    FiringOutcome, FiringOutcomes::ALL.iter().map(|value| value.as_str()),
        "What happened at a time of a schedule: a rerun was started (`started`), the condition of \
         `when` was not met (`skipped_unchanged`), the campaign was not published \
         (`skipped_overlap`), the rerun starts when the campaign is published (`waiting`), it was \
         too late to start the rerun (`missed`), or the rerun was refused (`refused`).";
    ScheduleStatus, Scheduling::ALL.iter().map(|value| value.as_str()),
        "Whether a schedule fires. It is `ended` when it has no more times.";
    RerunCondition, When::ALL.iter().map(|value| value.as_str()),
        "The condition for starting a rerun at a time of a schedule: none (`always`), the \
         customers of the group have changed since the current run started (`group_changed`), or \
         some segments have no message to reuse (`new_segments`).";
    Overlap, Overlapping::ALL.iter().map(|value| value.as_str()),
        "What a schedule does if the campaign is not published at one of its times: it starts no \
         rerun (`skip`), starts the rerun once the campaign is published (`wait`), or cancels the \
         unpublished rerun first (`replace`).";
    ClockChange, Changing::ALL.iter().map(|value| value.as_str()),
        "How a clock change affects a local time: it does not exist on that day (`skipped`), or \
         it exists twice (`repeated`).";
    AuditAction, Action::ALL.iter().map(|value| value.as_str()),
        "The action that an audit entry or an event records.";
    ErrorCode, Code::ALL.iter().map(|value| value.as_str()),
        "What went wrong, as a code for programs.";
}

/// A point in time: RFC 3339, UTC, with milliseconds.
pub(crate) enum Timestamp {}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"))
            .description(Some("A point in time: RFC 3339, UTC, with milliseconds."))
            .into()
    }
}

impl ToSchema for Timestamp {}

/// The number of a run within its campaign, from 1.
pub(crate) enum RunNumber {}

impl PartialSchema for RunNumber {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .minimum(Some(1))
            .maximum(Some(i32::MAX))
            .description(Some(
                "The number of a run within its campaign, from 1. A number is never used again.",
            ))
            .into()
    }
}

impl ToSchema for RunNumber {}

/// One distinct combination of the values of the campaign's `segment_by` in a group.
#[derive(ToSchema)]
pub(crate) struct Segment {
    /// Identifies the segment. Two keys are equal exactly when the field names and the values are
    /// equal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    key: String,
    /// The value of each field, by the name of the field; `null` for a field without a value.
    attributes: BTreeMap<String, Option<String>>,
    /// How many customers it has.
    #[schema(minimum = 0)]
    customer_count: i64,
}

/// The name of a profile field. Surrounding white space is removed.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 255,
    pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
)]
pub(crate) struct FieldName(String);

/// A field to segment by: its name, or an object with value rules. Rules apply in this order:
/// `normalise` with `collapse_spaces`, `null`, `values`, `type`, `bins`, then `casefold` and
/// `separators`. The last two make values equal, but do not change how they are shown.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum SegmentField {
    Name(FieldName),
    Rules(SegmentFieldRules),
}

/// A field with value rules. Other keys than these are refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentFieldRules {
    /// The name of the field.
    #[schema(value_type = FieldName)]
    field: String,
    /// How values are made equal. `casefold` and `separators` are allowed for texts only.
    #[schema(value_type = Option<Vec<Normalise>>)]
    normalise: Option<Vec<String>>,
    /// Values that count as no value. Letter case is ignored.
    #[schema(value_type = Option<Vec<RuleText>>, max_items = 1_000)]
    null: Option<Vec<String>>,
    /// Values to replace, each with the value that replaces it; at most 10,000. A replacement must
    /// not be empty, and must not be a value to replace itself.
    #[schema(value_type = Option<BTreeMap<String, RuleText>>)]
    values: Option<BTreeMap<String, String>>,
    /// The type of the values. A value that cannot be read as this type stays a text, and makes a
    /// segment of its own.
    #[serde(rename = "type")]
    #[schema(value_type = Option<ValueType>, default = "text")]
    value_type: Option<String>,
    /// The decimal mark, only with `"type": "number"`. The other of the two marks may separate
    /// thousands.
    #[schema(value_type = Option<DecimalMark>, default = ".")]
    decimal: Option<String>,
    /// The edges of value ranges in ascending order, only with `"type": "number"`. The lower edge
    /// of a range belongs to it, the upper edge does not.
    #[schema(max_items = 1_000)]
    bins: Option<Vec<f64>>,
    /// The names of the ranges, only with `bins`: all different, and one more than there are edges.
    #[schema(value_type = Option<Vec<RuleText>>, min_items = 1, max_items = 1_001)]
    labels: Option<Vec<String>>,
}

/// A text of a value rule.
#[derive(ToSchema)]
#[schema(max_length = 1_000, pattern = "^[^\\u0000]*$")]
pub(crate) struct RuleText(String);

/// The name of an approval stage. Surrounding white space is removed.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
)]
pub(crate) struct StageName(String);

/// The person who did something.
#[derive(ToSchema)]
pub(crate) struct EventActor {
    /// The id of the person.
    user_id: Uuid,
    /// The person's name at that time; `null` if the token did not contain a name.
    #[schema(required, min_length = 1, max_length = 200)]
    user_name: Option<String>,
    /// The person's role.
    role_code: String,
}

/// An approval stage: its name, or an object with the roles that can pass it.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum ApprovalStage {
    Name(StageName),
    Roles(StageOfRoles),
}

/// An approval stage that only some roles can pass.
#[derive(ToSchema)]
pub(crate) struct StageOfRoles {
    /// The name of the stage.
    #[schema(value_type = StageName)]
    name: String,
    /// The roles that can pass the stage, all different. A token contains its role in `role_code`.
    #[schema(value_type = Vec<StageName>, min_items = 1, max_items = 16)]
    roles: Vec<String>,
}

/// How many segments of a run's group reuse a message, and how many need a new one.
#[derive(ToSchema)]
pub(crate) struct SegmentCounts {
    /// The number of all segments: `matched + new`.
    total: u32,
    /// The number of segments that reuse an approved message.
    matched: u32,
    /// The number of segments that need a new message.
    new: u32,
}

/// The text of a message.
#[derive(ToSchema)]
pub(crate) struct Content {
    /// The subject line.
    #[schema(min_length = 1, max_length = 1_000)]
    subject: String,
    /// The body.
    #[schema(min_length = 1, max_length = 200_000)]
    body: String,
}

/// The message whose content is reused.
#[derive(ToSchema)]
pub(crate) struct ReusedFrom {
    /// The id of the message.
    message_id: Uuid,
    /// The number of the run that it belongs to.
    #[schema(value_type = RunNumber)]
    run_number: (),
}

/// A field in which a new segment differs from that of an approved message.
#[derive(ToSchema)]
pub(crate) struct Difference {
    /// The name of the field.
    field: String,
    /// The attribute of the approved message's segment.
    #[schema(required)]
    from: Option<String>,
    /// The attribute of the new segment.
    #[schema(required)]
    to: Option<String>,
}

/// How much the field that differs mattered in approved messages. For a field, it counts the pairs
/// of approved messages whose segments differ in that field only. If several fields differ, the
/// numbers are those of the field that mattered most.
#[derive(ToSchema)]
pub(crate) struct Evidence {
    /// The number of pairs.
    #[schema(minimum = 0)]
    pairs: u64,
    /// The number of pairs whose texts are the same once the values themselves are masked.
    #[schema(minimum = 0)]
    same: u64,
}

/// The approved message whose segment is most similar to a new segment. It is never used
/// automatically: a person decides whether to use it.
#[derive(ToSchema)]
pub(crate) struct Suggestion {
    /// The id of the approved message.
    message_id: Uuid,
    /// The number of the run that it belongs to.
    #[schema(value_type = RunNumber)]
    run_number: (),
    /// The fields in which the segments differ.
    differs: Vec<Difference>,
    evidence: Evidence,
    /// The attributes of the approved message's segment that differ and that its text contains as
    /// whole words, ignoring letter case. The suggestion cannot be used if there are any.
    mentions: Vec<String>,
}

/// An approval by a person.
#[derive(ToSchema)]
pub(crate) struct Approval {
    /// The name of the approval stage that the message passed.
    stage: String,
    /// The id of the person who approved it.
    user_id: Uuid,
    /// The person's name at that time; `null` if the token did not contain a name.
    #[schema(required, min_length = 1, max_length = 200)]
    user_name: Option<String>,
    /// When the person approved it.
    #[schema(value_type = Timestamp)]
    approved_at: (),
}

/// In which run the content of a message was created, and who approved it.
#[derive(ToSchema)]
pub(crate) struct Provenance {
    /// The number of the run in which it was created.
    #[schema(value_type = RunNumber)]
    run_number: (),
    /// The approvals of the content, oldest first.
    approvals: Vec<Approval>,
}

/// How many segments differ between two runs, by the kind of difference.
#[derive(ToSchema)]
pub(crate) struct DiffCounts {
    /// The number of segments that only the second run has.
    #[schema(minimum = 0)]
    added: i64,
    /// The number of segments that only the first run has.
    #[schema(minimum = 0)]
    removed: i64,
    /// The number of segments that both runs have with the same content.
    #[schema(minimum = 0)]
    kept_same: i64,
    /// The number of segments that both runs have with different content.
    #[schema(minimum = 0)]
    kept_changed: i64,
}

/// Whether a segment has a message to reuse.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Matched,
    New,
}
