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
        "Where a campaign stands.";
    RunStatus, Running::ALL.iter().map(|value| value.as_str()),
        "Where the generation of a run stands.";
    ReviewStatus, Review::ALL.iter().map(|value| value.as_str()),
        "Where a message stands.";
    Source, MessageSource::ALL.iter().map(|value| value.as_str()),
        "Where a message's content comes from.";
    ReuseFrom, Reuse::ALL.iter().map(|value| value.as_str()),
        "Where a rerun looks for messages to reuse: among those that are published in the current run, or in any run of the campaign, or also among those that passed every stage in a run that was cancelled. The newest wins.";
    DiffChange, Change::ALL.iter().map(|value| value.as_str()),
        "How a segment differs between two runs: `kept_changed` has another content.";
    Normalise, Rule::ALL.iter().map(|value| value.as_str()),
        "A way of making values equal: `collapse_spaces` makes each run of blanks one space, `casefold` ignores letter case, and to `separators` `_`, `-`, `–` and blanks are the same.";
    ValueType, Kind::ALL.iter().map(|value| value.as_str()),
        "What the values of a field are. Numbers are exact decimals; booleans are `true`/`false`, `yes`/`no`, `y`/`n` and `1`/`0`.";
    DecimalMark, [".", ","],
        "The mark before a number's decimals.";
    Decision, ["approve", "reject"],
        "What a reviewer decides.";
    ExportFormat, ["csv", "jsonl"],
        "The form of an exported file.";
    ImportMode, Mode::ALL.iter().map(|value| value.as_str()),
        "Whether an import replaces the customers of a group.";
    WebhookStatus, Enabled::ALL.iter().map(|value| value.as_str()),
        "Whether a webhook gets events.";
    DisabledReason, Disabled::ALL.iter().map(|value| value.as_str()),
        "Why a webhook is disabled.";
    DeliveryState, Delivering::ALL.iter().map(|value| value.as_str()),
        "Where a delivery stands.";
    SendError, Sending::ALL.iter().map(|value| value.as_str()),
        "Why a receiver gave no response.";
    FiringOutcome, FiringOutcomes::ALL.iter().map(|value| value.as_str()),
        "What became of a time of a schedule.";
    ScheduleStatus, Scheduling::ALL.iter().map(|value| value.as_str()),
        "Whether a schedule fires.";
    RerunCondition, When::ALL.iter().map(|value| value.as_str()),
        "What must have changed for a rerun at a time of a schedule.";
    Overlap, Overlapping::ALL.iter().map(|value| value.as_str()),
        "What a schedule does at a time at which the campaign is not published.";
    ClockChange, Changing::ALL.iter().map(|value| value.as_str()),
        "What a clock change did to a local time: it does not exist on that day, or exists twice.";
    AuditAction, Action::ALL.iter().map(|value| value.as_str()),
        "What an audit entry records.";
    ErrorCode, Code::ALL.iter().map(|value| value.as_str()),
        "What went wrong, for programs.";
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
                "The number of a run within its campaign, from 1. Never used again.",
            ))
            .into()
    }
}

impl ToSchema for RunNumber {}

/// One distinct combination of the values of the campaign's `segment_by` in a group.
#[derive(ToSchema)]
pub(crate) struct Segment {
    /// Names the segment: equal exactly when field names and values are equal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    key: String,
    /// The values by field name; `null` for none.
    attributes: BTreeMap<String, Option<String>>,
    /// How many customers it has.
    #[schema(minimum = 0)]
    customer_count: i64,
}

/// The name of a profile field. White space around it goes.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 255,
    pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
)]
pub(crate) struct FieldName(String);

/// A field that makes segments: its name, or an object with value rules. Rules apply in this order:
/// `normalise` with `collapse_spaces`, `null`, `values`, `type`, `bins`, then `casefold` and
/// `separators`, which make values equal without changing how they are shown.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum SegmentField {
    Name(FieldName),
    Rules(SegmentFieldRules),
}

/// A field with value rules. A key that is not listed here is refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentFieldRules {
    /// The field.
    #[schema(value_type = FieldName)]
    field: String,
    /// What makes values equal. `casefold` and `separators` are for texts only.
    #[schema(value_type = Option<Vec<Normalise>>)]
    normalise: Option<Vec<String>>,
    /// Values that mean no value, compared without case.
    #[schema(value_type = Option<Vec<RuleText>>, max_items = 1_000)]
    null: Option<Vec<String>>,
    /// Values that stand for others, by the value. At most 10,000. No target is empty, or a value
    /// that stands for another one itself.
    #[schema(value_type = Option<BTreeMap<String, RuleText>>)]
    values: Option<BTreeMap<String, String>>,
    /// What the values are. A value that cannot be read as its type is a text of its own.
    #[serde(rename = "type")]
    #[schema(value_type = Option<ValueType>, default = "text")]
    value_type: Option<String>,
    /// The decimal mark, with `"type": "number"`. The other of the two may group thousands.
    #[schema(value_type = Option<DecimalMark>, default = ".")]
    decimal: Option<String>,
    /// The ascending edges of ranges, with `"type": "number"`. A lower bound belongs to its range.
    #[schema(max_items = 1_000)]
    bins: Option<Vec<f64>>,
    /// The different names of the ranges, with `bins`: one more than there are edges.
    #[schema(value_type = Option<Vec<RuleText>>, min_items = 1, max_items = 1_001)]
    labels: Option<Vec<String>>,
}

/// A text of a value rule.
#[derive(ToSchema)]
#[schema(max_length = 1_000, pattern = "^[^\\u0000]*$")]
pub(crate) struct RuleText(String);

/// The name of an approval stage. White space around it goes.
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
    /// Who did it.
    user_id: Uuid,
    /// That person's name at that time; `null` when the token did not have it.
    #[schema(required, min_length = 1, max_length = 200)]
    user_name: Option<String>,
    /// In which role.
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
    /// The stage.
    #[schema(value_type = StageName)]
    name: String,
    /// The different roles that can pass it, as tokens have them in `role_code`.
    #[schema(value_type = Vec<StageName>, min_items = 1, max_items = 16)]
    roles: Vec<String>,
}

/// How the segments of a run's group split.
#[derive(ToSchema)]
pub(crate) struct SegmentCounts {
    /// All segments: `matched + new`.
    total: u32,
    /// Segments that reuse an approved message.
    matched: u32,
    /// Segments that need a new message.
    new: u32,
}

/// What a message says.
#[derive(ToSchema)]
pub(crate) struct Content {
    /// Subject line.
    #[schema(min_length = 1, max_length = 1_000)]
    subject: String,
    /// Body.
    #[schema(min_length = 1, max_length = 200_000)]
    body: String,
}

/// The message whose content is reused.
#[derive(ToSchema)]
pub(crate) struct ReusedFrom {
    /// Its id.
    message_id: Uuid,
    /// The run that it belongs to.
    #[schema(value_type = RunNumber)]
    run_number: (),
}

/// A field in which a new segment differs from that of an approved message.
#[derive(ToSchema)]
pub(crate) struct Difference {
    /// The field.
    field: String,
    /// The approved message's attribute.
    #[schema(required)]
    from: Option<String>,
    /// The new segment's attribute.
    #[schema(required)]
    to: Option<String>,
}

/// What approved messages say about the fields that differ: pairs whose segments differ in just one
/// field. Of several fields, the figures are those of the one that mattered most.
#[derive(ToSchema)]
pub(crate) struct Evidence {
    /// How many pairs there are.
    #[schema(minimum = 0)]
    pairs: u64,
    /// How many of them say the same once the values themselves are masked.
    #[schema(minimum = 0)]
    same: u64,
}

/// The approved message that is nearest to a new segment. A person may use it; nothing else does.
#[derive(ToSchema)]
pub(crate) struct Suggestion {
    /// The approved message.
    message_id: Uuid,
    /// The run that it belongs to.
    #[schema(value_type = RunNumber)]
    run_number: (),
    /// The fields in which the segments differ.
    differs: Vec<Difference>,
    evidence: Evidence,
    /// Attributes of the approved message's segment that differ and that its text has as whole words,
    /// letter case aside. The suggestion cannot be used while there is one.
    mentions: Vec<String>,
}

/// Somebody's approval.
#[derive(ToSchema)]
pub(crate) struct Approval {
    /// The approval stage that the message passed.
    stage: String,
    /// Who approved it.
    user_id: Uuid,
    /// That person's name at that time; `null` when the token did not have it.
    #[schema(required, min_length = 1, max_length = 200)]
    user_name: Option<String>,
    /// When.
    #[schema(value_type = Timestamp)]
    approved_at: (),
}

/// Where the content of a message was made and approved.
#[derive(ToSchema)]
pub(crate) struct Provenance {
    /// The run that it was made in.
    #[schema(value_type = RunNumber)]
    run_number: (),
    /// Its approvals, in order.
    approvals: Vec<Approval>,
}

/// How many segments differ in which way.
#[derive(ToSchema)]
pub(crate) struct DiffCounts {
    /// Segments that only the second run has.
    #[schema(minimum = 0)]
    added: i64,
    /// Segments that only the first run has.
    #[schema(minimum = 0)]
    removed: i64,
    /// Segments of both with the same content.
    #[schema(minimum = 0)]
    kept_same: i64,
    /// Segments of both with another content.
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
