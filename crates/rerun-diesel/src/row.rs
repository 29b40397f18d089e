//! Rows as the database returns them, and their conversion to domain values. The column lists name
//! them so that one row can hold columns of several tables.

pub mod audit;
pub mod schedules;
#[cfg(test)]
mod tests;
pub mod webhooks;

use chrono::{DateTime, Utc};
use diesel::prelude::{Queryable, QueryableByName};
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
use rerun_core::actor::UserName;
use rerun_core::campaign::{ApprovalStages, Campaign, CampaignParts, Template};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::generation::{Metered, NearestMessage, Saved, TokenCounts};
use rerun_core::group::{Customer, CustomerGroup};
use rerun_core::ids::{
    AccountId, CampaignId, ContentId, CustomerGroupId, JobId, MessageId, RunNumber, ScheduleId,
    UserId,
};
use rerun_core::message::{
    Approvals, Content, Message, MessageParts, MessageState, Provenance, ReusedFrom,
};
use rerun_core::nearest::KeptSuggestion;
use rerun_core::ports::RunMessage;
use rerun_core::rekeying::{ApprovedMessage, Displaced, KnownSegment, Rekeyed, TextDigest};
use rerun_core::rules::AttributeTypes;
use rerun_core::run::{MessageCounts, Run, RunGroup, RunParts, SegmentCounts};
use rerun_core::segment::{
    Attributes, FieldValues, KeptValues, Segment, SegmentBy, SegmentKey, ValueSearch,
};
use uuid::Uuid;

use crate::types::{Id, Time};

/// A row of a list of columns, and the SQL types of these columns in their order. Rows are read by
/// position: in a profile of pages of runs, no function took as long as the one that looks a column
/// up by its name. A test compares the lists of columns with the fields.
macro_rules! row {
    ($(#[$doc:meta])+ $row:ident, $columns:ident { $($field:ident: $kind:ty = $sql_type:ty,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Queryable)]
        #[expect(missing_docs, reason = "the columns' names")]
        pub struct $row {
            $(pub $field: $kind,)+
        }

        #[cfg(test)]
        impl $row {
            pub(crate) const FIELDS: &[&str] = &[$(stringify!($field)),+];
        }

        #[doc = concat!("The types of the columns of [`", stringify!($row), "`].")]
        pub type $columns = ($($sql_type,)+);
    };
}

pub(crate) use row;

pub(crate) fn corrupt(table: &str, column: &str, value: impl std::fmt::Debug) -> StoreError {
    StoreError::corrupt(format!("{table}.{column} is {value:?}"))
}

/// A value that is kept as one of a fixed set of texts.
///
/// # Errors
/// [`StoreError::Corrupt`] for any other text.
pub fn text<T: std::str::FromStr<Err = Invalid>>(
    table: &str,
    column: &str,
    value: &str,
) -> Result<T, StoreError> {
    value
        .parse()
        .map_err(|_invalid: Invalid| corrupt(table, column, value))
}

/// The names of wire values as a list of SQL texts.
#[must_use]
pub fn quoted(values: &[rerun_core::message::ReviewStatus]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    quoted.join(", ")
}

/// A run number.
///
/// # Errors
/// [`StoreError::Corrupt`] for a number that no run can have.
pub fn run_number(table: &str, number: i32) -> Result<RunNumber, StoreError> {
    RunNumber::new(number.into()).ok_or_else(|| corrupt(table, "run number", number))
}

fn count(column: &str, value: i32) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_negative| corrupt("runs", column, value))
}

/// What a run keeps of its savings, in the order of `saved_customers`, `saved_prompt_tokens`,
/// `saved_completion_tokens`, `metered_messages`, `metered_prompt_tokens`,
/// `metered_completion_tokens`. Sums beyond what a column holds stop there.
#[must_use]
pub fn savings(run: &Run) -> [i64; 6] {
    let (saved, metered) = (run.saved, run.metered);
    let fitting = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    [
        saved.customers,
        fitting(saved.tokens.prompt_tokens),
        fitting(saved.tokens.completion_tokens),
        fitting(metered.messages),
        fitting(metered.tokens.prompt_tokens),
        fitting(metered.tokens.completion_tokens),
    ]
}

fn tokens(column: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_negative| corrupt("runs", column, value))
}

/// A segment key.
///
/// # Errors
/// [`StoreError::Corrupt`] unless it has 32 bytes.
pub fn segment_key(bytes: &[u8]) -> Result<SegmentKey, StoreError> {
    SegmentKey::from_bytes(bytes).ok_or_else(|| corrupt("segments", "key", bytes))
}

/// Returns a customer, from the reference and the text of the profile.
///
/// # Errors
/// [`StoreError::Corrupt`] if the text is not a profile.
pub fn customer(customer_ref: String, profile: &str) -> Result<Customer, StoreError> {
    // The error must not quote the profile: it is customer data.
    let profile = serde_json::from_str(profile)
        .map_err(|_quoted| StoreError::corrupt("customers.profile: not an object of texts"))?;
    Ok(Customer {
        customer_ref,
        profile,
    })
}

/// Columns of [`GroupRow`] of the table `customer_groups AS g`.
#[macro_export]
macro_rules! group_columns {
    () => {
        "g.account_id AS group_account_id, g.id AS group_id, g.name AS group_name, \
         g.customer_count AS group_customer_count, g.version AS group_version, \
         g.fields AS group_fields, g.created_at AS group_created_at, \
         g.updated_at AS group_updated_at"
    };
}

row! {
    /// A row of `customer_groups`.
    GroupRow, GroupColumns {
        group_account_id: Uuid = Id,
        group_id: Uuid = Id,
        group_name: String = Text,
        group_customer_count: i64 = BigInt,
        group_version: i64 = BigInt,
        group_fields: String = Text,
        group_created_at: DateTime<Utc> = Time,
        group_updated_at: DateTime<Utc> = Time,
    }
}

impl TryFrom<GroupRow> for CustomerGroup {
    type Error = StoreError;

    fn try_from(row: GroupRow) -> Result<Self, StoreError> {
        Ok(Self {
            account_id: AccountId::new(row.group_account_id),
            id: CustomerGroupId::new(row.group_id),
            name: row.group_name,
            customer_count: row.group_customer_count,
            fields: names("customer_groups", "fields", &row.group_fields)?,
            created_at: row.group_created_at,
            updated_at: row.group_updated_at,
        })
    }
}

/// How many customers have a value in each field of a segmentation, as `segmentations` keeps it: as
/// numbers, or where some value could not be read as its field's type, as pairs with the number of
/// customers that have such values. Segments by values that are too long are not kept.
#[must_use]
pub fn customers_with_value(fields: &[FieldValues]) -> String {
    if fields.iter().all(|values| values.unparsed == 0) {
        let customers: Vec<i64> = fields.iter().map(|values| values.customers).collect();
        return serde_json::json!(customers).to_string();
    }
    let pairs = fields
        .iter()
        .map(|values| (values.customers, values.unparsed));
    serde_json::json!(pairs.collect::<Vec<_>>()).to_string()
}

/// Reads what [`customers_with_value`] wrote.
///
/// # Errors
/// [`StoreError::Corrupt`] unless it is a JSON array of numbers or of pairs of them.
pub fn field_values(customers_with_value: &str) -> Result<Vec<FieldValues>, StoreError> {
    let customers: Result<Vec<i64>, _> = serde_json::from_str(customers_with_value);
    let pairs: Vec<(i64, i64)> = match customers {
        Ok(customers) => customers.into_iter().map(|count| (count, 0)).collect(),
        Err(_not_numbers) => serde_json::from_str(customers_with_value).map_err(|error| {
            StoreError::corrupt(format!("segmentations.customers_with_value: {error}"))
        })?,
    };
    let values = pairs.into_iter().map(|(customers, unparsed)| FieldValues {
        customers,
        unparsed,
        ..FieldValues::default()
    });
    Ok(values.collect())
}

/// Columns of [`CampaignRow`] of the table `campaigns AS c`.
#[macro_export]
macro_rules! campaign_columns {
    () => {
        "c.account_id, c.id, c.name, c.customer_group_id, c.segment_by, c.value_rules, \
         c.template_subject, \
         c.template_body, c.brief, c.approval_stages, c.distinct_reviewers, c.suggest_reruns, \
         c.status, c.current_run_number, \
         c.last_run_number, c.version, c.created_by, c.created_at, c.updated_at"
    };
}

row! {
    /// A row of `campaigns`.
    CampaignRow, CampaignColumns {
        account_id: Uuid = Id,
        id: Uuid = Id,
        name: String = Text,
        customer_group_id: Uuid = Id,
        segment_by: String = Text,
        value_rules: Option<String> = Nullable<Text>,
        template_subject: String = Text,
        template_body: String = Text,
        brief: Option<String> = Nullable<Text>,
        approval_stages: String = Text,
        distinct_reviewers: bool = Bool,
        suggest_reruns: bool = Bool,
        status: String = Text,
        current_run_number: Option<i32> = Nullable<Integer>,
        last_run_number: Option<i32> = Nullable<Integer>,
        version: i64 = BigInt,
        created_by: Uuid = Id,
        created_at: DateTime<Utc> = Time,
        updated_at: DateTime<Utc> = Time,
    }
}

/// A campaign's fields as its row keeps them.
///
/// # Errors
/// [`StoreError::Corrupt`] when the text is no list of 1 to 8 names.
pub fn segment_by(json: &str) -> Result<SegmentBy, StoreError> {
    let names: Vec<String> =
        serde_json::from_str(json).map_err(|_invalid| corrupt("campaigns", "segment_by", json))?;
    SegmentBy::new(&names).map_err(|_invalid| corrupt("campaigns", "segment_by", json))
}

/// A campaign's fields with their value rules as its row keeps them.
///
/// # Errors
/// [`StoreError::Corrupt`] when the texts are no segmentation, or not of the same fields.
pub fn ruled_segment_by(names: &str, rules: Option<&str>) -> Result<SegmentBy, StoreError> {
    let plain = segment_by(names)?;
    let Some(rules) = rules else {
        return Ok(plain);
    };
    SegmentBy::from_rules_json(rules)
        .ok()
        .filter(|ruled| ruled.fields() == plain.fields())
        .ok_or_else(|| corrupt("campaigns", "value_rules", rules))
}

/// The segmentation of a run as its row keeps it.
///
/// # Errors
/// [`StoreError::Corrupt`] when the text is no segmentation.
pub fn rules_of_run(rules: &str) -> Result<SegmentBy, StoreError> {
    SegmentBy::from_rules_json(rules).map_err(|_invalid| corrupt("runs", "value_rules", rules))
}

/// A segmentation as a run's row keeps it.
///
/// # Errors
/// [`StoreError::Backend`] when it cannot be written as JSON.
pub fn rules_for_run(segment_by: &SegmentBy) -> Result<String, StoreError> {
    serde_json::to_string(segment_by).map_err(|error| StoreError::Backend(error.into()))
}

/// Columns of [`KnownSegmentRow`] of the tables `segments AS s` and `messages AS m` (left).
pub const KNOWN_SEGMENT_COLUMNS: &str = "s.no, COALESCE(s.shared_key, s.key) AS key, s.attributes, s.value_types, \
    s.shared_key IS NOT NULL AS shared, s.conflicting, m.id AS message_id, m.run_number, m.content_id, \
    m.customer_count, m.review_status = 'Published' AS published";

row! {
    /// A row of `segments`, with its newest message that could be reused.
    KnownSegmentRow, KnownSegmentColumns {
        no: i32 = Integer,
        key: Vec<u8> = Binary,
        attributes: String = Text,
        value_types: Option<Vec<u8>> = Nullable<Binary>,
        shared: bool = Bool,
        conflicting: bool = Bool,
        message_id: Option<Uuid> = Nullable<Id>,
        run_number: Option<i32> = Nullable<Integer>,
        content_id: Option<Uuid> = Nullable<Id>,
        customer_count: Option<i64> = Nullable<BigInt>,
        published: Option<bool> = Nullable<Bool>,
    }
}

impl TryFrom<KnownSegmentRow> for KnownSegment {
    type Error = StoreError;

    fn try_from(row: KnownSegmentRow) -> Result<Self, StoreError> {
        let message = match (
            row.message_id,
            row.run_number,
            row.content_id,
            row.customer_count,
            row.published,
        ) {
            (Some(id), Some(run), Some(content), Some(customer_count), Some(published)) => {
                Some(ApprovedMessage {
                    id: MessageId::new(id),
                    run_number: run_number("messages", run)?,
                    content_id: ContentId::new(content),
                    customer_count,
                    published,
                })
            }
            _ => None,
        };
        Ok(Self {
            no: row.no,
            key: segment_key(&row.key)?,
            attributes: Attributes::from_stored(row.attributes),
            types: row
                .value_types
                .as_deref()
                .map(attribute_types)
                .transpose()?,
            displaced: match (row.shared, row.conflicting) {
                (false, _) => None,
                (true, false) => Some(Displaced::Merged),
                (true, true) => Some(Displaced::Conflict),
            },
            message,
        })
    }
}

/// The values of a row of `segments`, and the attributes of one of its messages.
#[derive(Debug, QueryableByName)]
pub struct KeptValuesRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Text)]
    attributes: String,
    #[diesel(sql_type = Nullable<Binary>)]
    value_types: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    own_attributes: Option<String>,
}

impl KeptValuesRow {
    /// The length in bytes of the values that the message shows, as they are stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let shown = self.own_attributes.as_ref().unwrap_or(&self.attributes);
        u64::try_from(shown.len()).unwrap_or(u64::MAX)
    }
}

impl TryFrom<KeptValuesRow> for KeptValues {
    type Error = StoreError;

    fn try_from(row: KeptValuesRow) -> Result<Self, StoreError> {
        let types = row.value_types.as_deref();
        Ok(Self {
            key: segment_key(&row.key)?,
            attributes: Attributes::from_stored(row.attributes),
            types: types.map(attribute_types).transpose()?,
            own: row.own_attributes.map(Attributes::from_stored),
        })
    }
}

/// A row of `contents`.
#[derive(Debug, QueryableByName)]
pub struct ContentRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    body: String,
}

impl ContentRow {
    /// Its id with the digest of its text.
    #[must_use]
    pub fn digest(self) -> (ContentId, TextDigest) {
        let content = Content {
            subject: self.subject,
            body: self.body,
        };
        (ContentId::new(self.id), TextDigest::of(&content))
    }
}

/// The approved message that is suggested for another.
#[derive(Debug, QueryableByName)]
pub struct NearestRow {
    /// The message that it is suggested for.
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(embed)]
    segment: KeptValuesRow,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    body: String,
}

impl TryFrom<NearestRow> for NearestMessage {
    type Error = StoreError;

    fn try_from(row: NearestRow) -> Result<Self, StoreError> {
        Ok(Self {
            suggested_for: MessageId::new(row.id),
            segment: row.segment.try_into()?,
            content: Content {
                subject: row.subject,
                body: row.body,
            },
        })
    }
}

/// A message of a run, with its segment.
#[derive(Debug, QueryableByName)]
pub struct RunMessageRow {
    #[diesel(sql_type = Integer)]
    no: i32,
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Nullable<Text>)]
    attributes: Option<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    value_types: Option<Vec<u8>>,
    #[diesel(sql_type = Id)]
    id: Uuid,
}

impl TryFrom<RunMessageRow> for RunMessage {
    type Error = StoreError;

    fn try_from(row: RunMessageRow) -> Result<Self, StoreError> {
        Ok(Self {
            segment_no: row.no,
            key: segment_key(&row.key)?,
            attributes: row.attributes.map(Attributes::from_stored),
            types: row
                .value_types
                .as_deref()
                .map(attribute_types)
                .transpose()?,
            id: MessageId::new(row.id),
        })
    }
}

/// What the attributes of a segment are.
///
/// # Errors
/// [`StoreError::Corrupt`] for bytes that stand for nothing.
pub fn attribute_types(bytes: &[u8]) -> Result<AttributeTypes, StoreError> {
    AttributeTypes::from_bytes(bytes).ok_or_else(|| corrupt("segments", "value_types", bytes))
}

/// What `segments` keeps for a new key: `key`, `shared_key`, `conflicting`.
#[must_use]
pub fn segment_keys(rekeyed: &Rekeyed) -> (SegmentKey, Option<SegmentKey>, bool) {
    let conflicting = rekeyed.displaced == Some(Displaced::Conflict);
    match rekeyed.displaced {
        None => (rekeyed.key, None, conflicting),
        Some(_) => (
            SegmentKey::displaced(rekeyed.no),
            Some(rekeyed.key),
            conflicting,
        ),
    }
}

/// A campaign's stages as its row keeps them.
///
/// # Errors
/// [`StoreError::Corrupt`] when the text is no list of stages.
pub fn approval_stages(json: &str) -> Result<ApprovalStages, StoreError> {
    serde_json::from_str(json).map_err(|_invalid| corrupt("campaigns", "approval_stages", json))
}

/// Who gave the approvals that a row keeps.
///
/// # Errors
/// [`StoreError::Corrupt`] when the text is no list of approvals.
pub fn approvers(json: &str) -> Result<Vec<UserId>, StoreError> {
    let approvals = Approvals::from_stored(json.to_owned()).to_vec();
    let approvals = approvals.map_err(|_invalid| corrupt("messages", "approvals", json))?;
    Ok(approvals
        .into_iter()
        .map(|approval| approval.user_id)
        .collect())
}

/// What the approvals that a row keeps contain exactly when one is this user's: a quote within a
/// text has a backslash before it.
#[must_use]
pub fn approval_by(user: UserId) -> String {
    format!("\"user_id\":\"{user}\"")
}

/// A campaign's stages as its row keeps them.
///
/// # Errors
/// [`StoreError::Backend`] when they cannot be written as JSON.
pub fn stages_json(stages: &ApprovalStages) -> Result<String, StoreError> {
    serde_json::to_string(stages).map_err(|error| StoreError::Backend(error.into()))
}

/// Adds the numbers of those segments, read as number and attributes, that a search finds.
///
/// # Errors
/// [`StoreError::Corrupt`] for attributes that are no JSON object.
pub fn search(
    segments: Vec<(i32, String)>,
    search: &ValueSearch,
    found: &mut Vec<i32>,
) -> Result<(), StoreError> {
    for (number, attributes) in segments {
        let attributes = Attributes::from_stored(attributes);
        let finds = search.finds(&attributes);
        if finds.map_err(|_invalid| corrupt("segments", "attributes", attributes.as_json()))? {
            found.push(number);
        }
    }
    Ok(())
}

/// The number of a run that a campaign may have.
///
/// # Errors
/// [`StoreError::Corrupt`] for a number that no run can have.
pub fn some_run(number: Option<i32>) -> Result<Option<RunNumber>, StoreError> {
    number
        .map(|number| run_number("campaigns", number))
        .transpose()
}

/// A list of texts from what a row keeps.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything else.
pub fn names(table: &str, column: &str, json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|_error| corrupt(table, column, json))
}

/// A list of texts as a row keeps it.
#[must_use]
pub fn json_list(names: &[String]) -> String {
    serde_json::json!(names).to_string()
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = StoreError;

    fn try_from(row: CampaignRow) -> Result<Self, StoreError> {
        Self::from_parts(CampaignParts {
            account_id: AccountId::new(row.account_id),
            id: CampaignId::new(row.id),
            name: row.name,
            customer_group_id: CustomerGroupId::new(row.customer_group_id),
            segment_by: ruled_segment_by(&row.segment_by, row.value_rules.as_deref())?,
            template: Template {
                subject: row.template_subject,
                body: row.template_body,
            },
            brief: row.brief,
            approval_stages: approval_stages(&row.approval_stages)?,
            distinct_reviewers: row.distinct_reviewers,
            suggest_reruns: row.suggest_reruns,
            status: text("campaigns", "status", &row.status)?,
            current_run: some_run(row.current_run_number)?,
            last_run: some_run(row.last_run_number)?,
            version: row.version,
            created_by: UserId::new(row.created_by),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Columns of [`RunRow`] of the table `runs AS r`.
#[macro_export]
macro_rules! run_columns {
    () => {
        "r.number AS run_number, r.job_uid AS run_job_uid, r.status AS run_status, \
         r.synthesised AS run_synthesised, r.group_id AS run_group_id, \
         r.group_name AS run_group_name, r.customer_count AS run_customer_count, \
         r.segments_total AS run_segments_total, r.segments_matched AS run_segments_matched, \
         r.segments_new AS run_segments_new, r.reused AS run_reused, \
         r.generated AS run_generated, r.edited AS run_edited, \
         r.suggested AS run_suggested, r.generating AS run_generating, \
         r.failed AS run_failed, r.pending AS run_pending, r.approved AS run_approved, \
         r.rejected AS run_rejected, r.published AS run_published, \
         r.resulting_status AS run_resulting_status, r.initiated_by AS run_initiated_by, \
         r.initiated_by_name AS run_initiated_by_name, \
         r.previous_run_number AS run_previous_run_number, r.error AS run_error, \
         r.cancel_reason AS run_cancel_reason, r.started_at AS run_started_at, \
         r.completed_at AS run_completed_at, r.archived_at AS run_archived_at, \
         r.schedule_id AS run_schedule_id, \
         r.prompt_tokens AS run_prompt_tokens, r.completion_tokens AS run_completion_tokens, \
         r.saved_customers AS run_saved_customers, \
         r.saved_prompt_tokens AS run_saved_prompt_tokens, \
         r.saved_completion_tokens AS run_saved_completion_tokens, \
         r.metered_messages AS run_metered_messages, \
         r.metered_prompt_tokens AS run_metered_prompt_tokens, \
         r.metered_completion_tokens AS run_metered_completion_tokens"
    };
}

/// The last columns of a run: what it used, and what [`savings`] lists. They are one element of its
/// row, because a row has at most 32.
type TokenColumns<T> = (T, T, T, T, T, T, T, T);

row! {
    /// A row of `runs`.
    RunRow, RunColumns {
        run_number: i32 = Integer,
        run_job_uid: Option<Uuid> = Nullable<Id>,
        run_status: String = Text,
        run_synthesised: bool = Bool,
        run_group_id: Uuid = Id,
        run_group_name: String = Text,
        run_customer_count: i64 = BigInt,
        run_segments_total: i32 = Integer,
        run_segments_matched: i32 = Integer,
        run_segments_new: i32 = Integer,
        run_reused: i32 = Integer,
        run_generated: i32 = Integer,
        run_edited: i32 = Integer,
        run_suggested: i32 = Integer,
        run_generating: i32 = Integer,
        run_failed: i32 = Integer,
        run_pending: i32 = Integer,
        run_approved: i32 = Integer,
        run_rejected: i32 = Integer,
        run_published: i32 = Integer,
        run_resulting_status: String = Text,
        run_initiated_by: Option<Uuid> = Nullable<Id>,
        run_initiated_by_name: Option<String> = Nullable<Text>,
        run_previous_run_number: Option<i32> = Nullable<Integer>,
        run_error: Option<String> = Nullable<Text>,
        run_cancel_reason: Option<String> = Nullable<Text>,
        run_started_at: DateTime<Utc> = Time,
        run_completed_at: Option<DateTime<Utc>> = Nullable<Time>,
        run_archived_at: Option<DateTime<Utc>> = Nullable<Time>,
        run_schedule_id: Option<Uuid> = Nullable<Id>,
        run_tokens: TokenColumns<i64> = TokenColumns<BigInt>,
    }
}

impl TryFrom<RunRow> for Run {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let (
            prompt,
            completion,
            saved_customers,
            saved_prompt,
            saved_completion,
            metered_messages,
            metered_prompt,
            metered_completion,
        ) = row.run_tokens;
        let used = |[prompt, completion]: [(&str, i64); 2]| {
            Ok::<_, StoreError>(TokenCounts {
                prompt_tokens: tokens(prompt.0, prompt.1)?,
                completion_tokens: tokens(completion.0, completion.1)?,
            })
        };
        Self::from_parts(RunParts {
            number: run_number("runs", row.run_number)?,
            job_uid: row.run_job_uid.map(JobId::new),
            status: text("runs", "status", &row.run_status)?,
            synthesised: row.run_synthesised,
            group: RunGroup {
                id: CustomerGroupId::new(row.run_group_id),
                name: row.run_group_name,
            },
            customer_count: row.run_customer_count,
            segments: SegmentCounts {
                total: count("segments_total", row.run_segments_total)?,
                matched: count("segments_matched", row.run_segments_matched)?,
                new: count("segments_new", row.run_segments_new)?,
            },
            counts: MessageCounts {
                reused: count("reused", row.run_reused)?,
                generated: count("generated", row.run_generated)?,
                edited: count("edited", row.run_edited)?,
                suggested: count("suggested", row.run_suggested)?,
                generating: count("generating", row.run_generating)?,
                failed: count("failed", row.run_failed)?,
                pending: count("pending", row.run_pending)?,
                approved: count("approved", row.run_approved)?,
                rejected: count("rejected", row.run_rejected)?,
                published: count("published", row.run_published)?,
            },
            resulting_status: text("runs", "resulting_status", &row.run_resulting_status)?,
            initiated_by: row.run_initiated_by.map(UserId::new),
            initiated_by_name: row
                .run_initiated_by_name
                .map(|name| {
                    UserName::new(name.as_str())
                        .map_err(|_invalid| corrupt("runs", "initiated_by_name", &name))
                })
                .transpose()?,
            schedule_id: row.run_schedule_id.map(ScheduleId::new),
            previous_run: row
                .run_previous_run_number
                .map(|number| run_number("runs", number))
                .transpose()?,
            error: row.run_error,
            cancel_reason: row.run_cancel_reason,
            started_at: row.run_started_at,
            completed_at: row.run_completed_at,
            archived_at: row.run_archived_at,
            usage: used([("prompt_tokens", prompt), ("completion_tokens", completion)])?,
            saved: Saved {
                messages: count("segments_matched", row.run_segments_matched)?,
                customers: saved_customers,
                tokens: used([
                    ("saved_prompt_tokens", saved_prompt),
                    ("saved_completion_tokens", saved_completion),
                ])?,
            },
            metered: Metered {
                messages: tokens("metered_messages", metered_messages)?,
                tokens: used([
                    ("metered_prompt_tokens", metered_prompt),
                    ("metered_completion_tokens", metered_completion),
                ])?,
            },
        })
    }
}

/// Columns of [`MessageRow`] of the tables `messages AS m`, `segments AS s`, `contents AS t`
/// (left) and `runs AS r`.
#[macro_export]
macro_rules! message_columns {
    () => {
        "m.id AS message_id, m.run_number AS message_run_number, \
         m.segment_no AS message_segment_no, COALESCE(s.shared_key, s.key) AS segment_key, \
         COALESCE(m.attributes, s.attributes) AS segment_attributes, m.customer_count AS message_customer_count, \
         m.content_id AS message_content_id, t.subject AS content_subject, t.body AS content_body, \
         t.run_number AS content_run_number, t.model AS content_model, m.review_status AS message_review_status, \
         m.approval_stage AS message_approval_stage, m.source AS message_source, \
         m.reused_from_message_id, m.reused_from_run_number, \
         m.approvals AS message_approvals, r.archived_at AS message_archived_at, \
         m.rejection_reason AS message_rejection_reason, m.error AS message_error, m.suggestion AS message_suggestion, \
         m.created_at AS message_created_at, m.updated_at AS message_updated_at"
    };
}

row! {
    /// A row of `messages` with its segment and content.
    MessageRow, MessageColumns {
        message_id: Uuid = Id,
        message_run_number: i32 = Integer,
        message_segment_no: i32 = Integer,
        segment_key: Vec<u8> = Binary,
        segment_attributes: String = Text,
        message_customer_count: i64 = BigInt,
        message_content_id: Option<Uuid> = Nullable<Id>,
        content_subject: Option<String> = Nullable<Text>,
        content_body: Option<String> = Nullable<Text>,
        content_run_number: Option<i32> = Nullable<Integer>,
        content_model: Option<String> = Nullable<Text>,
        message_review_status: String = Text,
        message_approval_stage: Option<i16> = Nullable<SmallInt>,
        message_source: String = Text,
        reused_from_message_id: Option<Uuid> = Nullable<Id>,
        reused_from_run_number: Option<i32> = Nullable<Integer>,
        message_approvals: String = Text,
        message_archived_at: Option<DateTime<Utc>> = Nullable<Time>,
        message_rejection_reason: Option<String> = Nullable<Text>,
        message_error: Option<String> = Nullable<Text>,
        message_suggestion: Option<String> = Nullable<Text>,
        message_created_at: DateTime<Utc> = Time,
        message_updated_at: DateTime<Utc> = Time,
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Self, StoreError> {
        let reused_from = match (row.reused_from_message_id, row.reused_from_run_number) {
            (Some(id), Some(number)) => Some(ReusedFrom {
                message_id: MessageId::new(id),
                run_number: run_number("messages", number)?,
            }),
            (None, None) => None,
            half => return Err(corrupt("messages", "reused_from", half)),
        };
        let (content, provenance) = match (
            row.content_subject,
            row.content_body,
            row.content_run_number,
        ) {
            (Some(subject), Some(body), Some(number)) => {
                let provenance = Provenance {
                    run_number: run_number("contents", number)?,
                    approvals: Approvals::from_stored(row.message_approvals),
                };
                (Some(Content { subject, body }), Some(provenance))
            }
            _ => (None, None),
        };
        let state = MessageState::from_columns(
            text("messages", "review_status", &row.message_review_status)?,
            row.message_approval_stage,
        )?;
        let suggestion = row.message_suggestion.filter(|_| state.shows_suggestion());
        Self::from_parts(MessageParts {
            id: MessageId::new(row.message_id),
            run_number: run_number("messages", row.message_run_number)?,
            segment_no: row.message_segment_no,
            segment: Segment {
                key: segment_key(&row.segment_key)?,
                attributes: Attributes::from_stored(row.segment_attributes),
                customer_count: row.message_customer_count,
            },
            content_id: row.message_content_id.map(ContentId::new),
            content,
            content_model: row.content_model,
            state,
            suggestion: suggestion.map(KeptSuggestion::from_stored),
            source: text("messages", "source", &row.message_source)?,
            reused_from,
            provenance,
            archived_at: row.message_archived_at,
            rejection_reason: row.message_rejection_reason,
            error: row.message_error,
            created_at: row.message_created_at,
            updated_at: row.message_updated_at,
        })
    }
}
