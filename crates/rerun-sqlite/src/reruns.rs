use std::collections::HashMap;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CustomerGroupId, MessageId, RunNumber};
use rerun_core::message::{Content, ReviewStatus, Source};
use rerun_core::nearest::{Nearest, Reusable, Suggestion};
use rerun_core::page::filling;
use rerun_core::plan::{ReuseCandidate, ReuseFrom, SegmentCandidate};
use rerun_core::ports::{CancelRun, CandidateQuery, RerunStore, SegmentCandidates, StartRun};
use rerun_core::segment::{Attributes, FieldValues, KeptValues, Segment, SegmentBy, SegmentKey};
use rerun_core::survey::{Survey, ValueReport};
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{self, customers_with_value, field_values, run_number, segment_key};
use rerun_diesel::schedules::store::write_firings;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time, Uid};
use uuid::Uuid;

use crate::SqliteStore;
use crate::counts::{Counts, Valued};
use crate::groups::version;
use crate::schema::{generation_tasks, group_segments, segmentations};
use crate::write::{
    CampaignMove, append_audit, check_unmoved, insert_run, move_campaign, packed, unmoved,
};

/// The profiles of the group's customers.
fn profiles(
    conn: &mut SqliteConnection,
    account: AccountId,
    group: CustomerGroupId,
) -> QueryResult<impl Iterator<Item = QueryResult<ProfileRow>>> {
    sql("SELECT profile FROM current_customers WHERE account_id = ? AND group_id = ?")
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .load_iter::<ProfileRow, DefaultLoadingMode>(conn)
}

/// A way of splitting a group.
struct Splitting<'a> {
    account: AccountId,
    group: CustomerGroupId,
    segment_by: &'a SegmentBy,
}

#[derive(QueryableByName)]
struct ProfileRow {
    #[diesel(sql_type = Text)]
    profile: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = segmentations, check_for_backend(Sqlite))]
struct SegmentationRow {
    id: Uuid,
    customers_with_value: String,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
}

/// The segments of a version of the group, and what its customers have in the fields.
struct Counted {
    version: i64,
    /// Whether no run can have the segments because there are too many.
    is_too_much: bool,
    segments: Vec<Segment>,
    fields: Vec<FieldValues>,
}

#[derive(QueryableByName)]
struct SegmentRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Text)]
    attributes: String,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
}

impl TryFrom<SegmentRow> for Segment {
    type Error = StoreError;

    fn try_from(row: SegmentRow) -> Result<Self, StoreError> {
        Ok(Self {
            key: segment_key(&row.key)?,
            attributes: Attributes::from_stored(row.attributes),
            customer_count: row.customer_count,
        })
    }
}

impl Splitting<'_> {
    /// The group's version.
    fn version(&self, conn: &mut SqliteConnection) -> Result<Option<i64>, Failure> {
        version(conn, self.account, self.group)
    }

    /// The counts kept for a version of the group.
    fn kept(
        &self,
        conn: &mut SqliteConnection,
        version: i64,
    ) -> Result<Option<SegmentationRow>, Failure> {
        let kept = segmentations::table
            .filter(segmentations::account_id.eq(Uid(self.account.as_uuid())))
            .filter(segmentations::group_id.eq(Uid(self.group.as_uuid())))
            .filter(segmentations::fields.eq(self.segment_by.canonical()))
            .filter(segmentations::group_version.eq(version))
            .select(SegmentationRow::as_select());
        Ok(kept.get_result(conn).optional()?)
    }

    /// Counts the group's segments. It stops once there is one too many and every field has a
    /// value; what was counted until then is answered.
    fn count(
        &self,
        conn: &mut SqliteConnection,
        version: i64,
        limit: u32,
    ) -> Result<Counted, Failure> {
        let mut counts = Counts::new(self.segment_by, limit);
        for row in profiles(conn, self.account, self.group)? {
            counts.add(&row?.profile)?;
            if counts.is_decided() {
                break;
            }
        }
        let counted = counts.by_key();
        Ok(Counted {
            version,
            is_too_much: counted.is_too_much(limit),
            segments: counted.segments,
            fields: counted.fields,
        })
    }

    /// Keeps counts of a version of the group, unless it has moved on.
    fn keep(&self, conn: &mut SqliteConnection, counted: &Counted) -> Result<(), Failure> {
        let version = counted.version;
        if self.version(conn)? != Some(version) {
            return Err(StoreError::Conflict.into());
        }
        if self.kept(conn, version)?.is_some() {
            return Ok(());
        }
        let id = sql("INSERT INTO segmentations \
               (account_id, group_id, fields, group_version, customers_with_value) \
             VALUES (?, ?, ?, ?, ?) RETURNING id")
        .bind::<Id, _>(self.account.as_uuid())
        .bind::<Id, _>(self.group.as_uuid())
        .bind::<Text, _>(self.segment_by.canonical())
        .bind::<BigInt, _>(version)
        .bind::<Text, _>(customers_with_value(&counted.fields))
        .get_result::<IdRow>(conn)?
        .id;
        for segment in &counted.segments {
            diesel::insert_into(group_segments::table)
                .values((
                    group_segments::account_id.eq(Uid(self.account.as_uuid())),
                    group_segments::segmentation_id.eq(Uid(id)),
                    group_segments::key.eq(segment.key.as_bytes().as_slice()),
                    group_segments::attributes.eq(segment.attributes.as_json()),
                    group_segments::customer_count.eq(segment.customer_count),
                ))
                .execute(conn)?;
        }
        Ok(())
    }
}

#[derive(QueryableByName)]
struct CandidateRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
    #[diesel(sql_type = Nullable<Id>)]
    message_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    run_number: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    review_status: Option<String>,
}

impl TryFrom<CandidateRow> for SegmentCandidate {
    type Error = StoreError;

    fn try_from(row: CandidateRow) -> Result<Self, StoreError> {
        let reusable = match (row.message_id, row.run_number, row.review_status) {
            (Some(id), Some(number), Some(status)) => Some(ReuseCandidate {
                message_id: MessageId::new(id),
                run_number: run_number("messages", number)?,
                status: row::text("messages", "review_status", &status)?,
            }),
            _ => None,
        };
        Ok(Self {
            key: segment_key(&row.key)?,
            customer_count: row.customer_count,
            reusable,
        })
    }
}

/// The runs (`r`) that have a message which may be reused, if those of any run may be.
const fn runs_with_reusable(from: ReuseFrom) -> &'static str {
    match from {
        ReuseFrom::CurrentRun | ReuseFrom::AnyRun => "r.published > 0",
        ReuseFrom::AnyApproved => "(r.published > 0 OR r.approved > 0)",
    }
}

/// The kept segments, each with the newest message for its key that may be reused. A content with a placeholder is not reused: a reused message is `Approved` from
/// the start.
fn kept_candidates(
    conn: &mut SqliteConnection,
    query: &CandidateQuery,
    segmentation: Uuid,
) -> Result<Vec<SegmentCandidate>, Failure> {
    let limit = i64::from(query.limit) + 1;
    let account = query.account_id.as_uuid();
    let Some((campaign, current, reuse_from)) = query.reuse else {
        let rows = sql(
            "SELECT key, customer_count, NULL AS message_id, NULL AS run_number, \
               NULL AS review_status \
             FROM group_segments WHERE account_id = ? AND segmentation_id = ? \
             ORDER BY key LIMIT ?",
        )
        .bind::<Id, _>(account)
        .bind::<Id, _>(segmentation)
        .bind::<BigInt, _>(limit)
        .load::<CandidateRow>(conn)?;
        return Ok(rows
            .into_iter()
            .map(SegmentCandidate::try_from)
            .collect::<Result<_, _>>()?);
    };
    let (statuses, runs) = (
        row::quoted(reuse_from.statuses()),
        runs_with_reusable(reuse_from),
    );
    let message = match reuse_from {
        ReuseFrom::CurrentRun => "m.run_number = ? AND m.segment_no = s.no AND NOT EXISTS ( \
                SELECT 1 FROM contents t INDEXED BY contents_unfilled \
                WHERE t.account_id = m.account_id AND t.id = m.content_id \
                  AND t.placeholder IS NOT NULL)"
            .to_owned(),
        // From the newest run that published anything back to the first that has the segment:
        // nearly always the very first one asked. A segment that the campaign never had asks
        // none.
        ReuseFrom::AnyRun | ReuseFrom::AnyApproved => format!(
            "m.id = CASE WHEN s.no IS NOT NULL THEN ( \
                SELECT o.id FROM runs r \
                CROSS JOIN messages o INDEXED BY messages_one_per_segment ON o.account_id = r.account_id \
                  AND o.campaign_id = r.campaign_id AND o.run_number = r.number \
                WHERE r.account_id = s.account_id AND r.campaign_id = s.campaign_id \
                  AND {runs} AND o.segment_no = s.no \
                  AND o.review_status IN ({statuses}) AND NOT EXISTS ( \
                    SELECT 1 FROM contents t INDEXED BY contents_unfilled \
                    WHERE t.account_id = o.account_id AND t.id = o.content_id \
                      AND t.placeholder IS NOT NULL) \
                ORDER BY r.number DESC LIMIT 1) END"
        ),
    };
    // Without it, SQLite reads all messages of the account for each segment.
    let index = match reuse_from {
        ReuseFrom::CurrentRun => "INDEXED BY messages_one_per_segment",
        ReuseFrom::AnyRun | ReuseFrom::AnyApproved => "",
    };
    let text = format!(
        "SELECT g.key AS key, g.customer_count AS customer_count, m.id AS message_id, \
           m.run_number AS run_number, m.review_status AS review_status \
         FROM group_segments g \
         LEFT JOIN segments s ON s.account_id = g.account_id AND s.campaign_id = ? \
           AND s.key = g.key \
         LEFT JOIN messages m {index} ON m.account_id = s.account_id \
           AND m.campaign_id = s.campaign_id AND m.review_status IN ({statuses}) AND {message} \
         WHERE g.account_id = ? AND g.segmentation_id = ? ORDER BY g.key LIMIT ?"
    );
    let mut select = sql(&text).bind::<Id, _>(campaign.as_uuid());
    if reuse_from == ReuseFrom::CurrentRun {
        select = select.bind::<Integer, _>(current.get());
    }
    let rows = select
        .bind::<Id, _>(account)
        .bind::<Id, _>(segmentation)
        .bind::<BigInt, _>(limit)
        .load::<CandidateRow>(conn)?;
    Ok(rows
        .into_iter()
        .map(SegmentCandidate::try_from)
        .collect::<Result<_, _>>()?)
}

/// Selects the messages that may be reused, with their segments: what [`TextRow`] has, and the
/// content's id.
fn reusable_text(from: ReuseFrom) -> String {
    const COLUMNS: &str = "SELECT s.key, s.attributes, s.value_types, \
        m.attributes AS own_attributes, m.id AS message_id, m.run_number, m.customer_count, \
        m.content_id";
    const FILLED: &str = "NOT EXISTS (SELECT 1 FROM contents t INDEXED BY contents_unfilled \
        WHERE t.account_id = o.account_id AND t.id = o.content_id AND t.placeholder IS NOT NULL)";
    let (statuses, runs) = (row::quoted(from.statuses()), runs_with_reusable(from));
    match from {
        ReuseFrom::CurrentRun => format!(
            "{COLUMNS} FROM messages m INDEXED BY messages_one_per_segment \
             CROSS JOIN segments s ON s.account_id = m.account_id \
               AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
               AND s.shared_key IS NULL \
             WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ? \
               AND m.review_status = 'Published' AND NOT EXISTS ( \
                 SELECT 1 FROM contents t INDEXED BY contents_unfilled \
                 WHERE t.account_id = m.account_id AND t.id = m.content_id \
                   AND t.placeholder IS NOT NULL)"
        ),
        ReuseFrom::AnyRun | ReuseFrom::AnyApproved => format!(
            "{COLUMNS} FROM segments s CROSS JOIN messages m ON m.account_id = s.account_id \
               AND m.id = ( \
                 SELECT o.id FROM runs r \
                 CROSS JOIN messages o INDEXED BY messages_one_per_segment \
                   ON o.account_id = r.account_id AND o.campaign_id = r.campaign_id \
                   AND o.run_number = r.number \
                 WHERE r.account_id = s.account_id AND r.campaign_id = s.campaign_id \
                   AND {runs} AND o.segment_no = s.no AND o.review_status IN ({statuses}) \
                   AND {FILLED} ORDER BY r.number DESC LIMIT 1) \
             WHERE s.account_id = ? AND s.campaign_id = ? AND s.shared_key IS NULL"
        ),
    }
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(embed)]
    segment: row::KeptValuesRow,
    #[diesel(sql_type = Id)]
    message_id: Uuid,
    #[diesel(sql_type = Integer)]
    run_number: i32,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    body: String,
}

/// Compares new segments of the group with the texts of the messages that may be reused.
fn suggestions(
    conn: &mut SqliteConnection,
    query: &CandidateQuery,
    group_version: i64,
    keys: &[SegmentKey],
) -> Result<Option<HashMap<SegmentKey, Suggestion>>, Failure> {
    let Some((campaign, run, from)) = query.reuse else {
        return Ok(Some(HashMap::new()));
    };
    let splitting = query.splitting();
    if splitting.version(conn)? != Some(group_version) {
        return Ok(None);
    }
    let Some(kept) = splitting.kept(conn, group_version)? else {
        return Ok(None);
    };
    let account = query.account_id.as_uuid();
    let hex: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let rows = sql(
        "SELECT key, attributes, customer_count FROM group_segments \
         WHERE account_id = ? AND segmentation_id = ? \
           AND key IN (SELECT unhex(atom) FROM json_each(?))",
    )
    .bind::<Id, _>(account)
    .bind::<Id, _>(kept.id)
    .bind::<Text, _>(serde_json::json!(hex).to_string())
    .load::<SegmentRow>(conn)?;
    let new = rows.into_iter().map(Segment::try_from);
    let new: Vec<Segment> = new.collect::<Result<_, _>>()?;
    let text = format!(
        "SELECT r.key, r.attributes, r.value_types, r.own_attributes, r.message_id, r.run_number, \
           r.customer_count, t.subject, t.body \
         FROM ({}) r CROSS JOIN contents t ON t.account_id = ? AND t.id = r.content_id",
        reusable_text(from)
    );
    let mut select = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign.as_uuid());
    if from == ReuseFrom::CurrentRun {
        select = select.bind::<Integer, _>(run.get());
    }
    let select = select.bind::<Id, _>(account);
    let mut nearest = Nearest::new(&query.segment_by);
    for row in select.load_iter::<TextRow, DefaultLoadingMode>(conn)? {
        let row = row?;
        let more = nearest.add_reusable(Reusable {
            message_id: MessageId::new(row.message_id),
            run_number: run_number("messages", row.run_number)?,
            customer_count: row.customer_count,
            segment: &row.segment.try_into()?,
            content: &Content {
                subject: row.subject,
                body: row.body,
            },
        })?;
        if !more {
            break;
        }
    }
    let new = new.iter().map(|segment| (segment.key, &segment.attributes));
    Ok(Some(nearest.suggest(new)?))
}

/// Compares the group's kept segments with those of the messages that may be reused.
fn survey(
    conn: &mut SqliteConnection,
    query: &CandidateQuery,
    group_version: i64,
) -> Result<Option<ValueReport>, Failure> {
    let splitting = query.splitting();
    if splitting.version(conn)? != Some(group_version) {
        return Ok(None);
    }
    let Some(kept) = splitting.kept(conn, group_version)? else {
        return Ok(None);
    };
    let account = query.account_id.as_uuid();
    let mut survey = Survey::new(&query.segment_by);
    if let Some((campaign, run, from)) = query.reuse {
        let text = reusable_text(from);
        let mut select = sql(&text)
            .bind::<Id, _>(account)
            .bind::<Id, _>(campaign.as_uuid());
        if from == ReuseFrom::CurrentRun {
            select = select.bind::<Integer, _>(run.get());
        }
        for row in select.load_iter::<row::KeptValuesRow, DefaultLoadingMode>(conn)? {
            survey.add_reusable(KeptValues::try_from(row?)?.values())?;
        }
    }
    let segments = sql(
        "SELECT key, attributes, customer_count FROM group_segments \
         WHERE account_id = ? AND segmentation_id = ?",
    )
    .bind::<Id, _>(account)
    .bind::<Id, _>(kept.id);
    for row in segments.load_iter::<SegmentRow, DefaultLoadingMode>(conn)? {
        survey.add_segment(&Segment::try_from(row?)?)?;
    }
    Ok(Some(survey.finish()))
}

/// What a look for a group's segments found.
enum Found {
    Kept(SegmentCandidates),
    Counted(Counted),
}

fn look(conn: &mut SqliteConnection, query: &CandidateQuery) -> Result<Found, Failure> {
    let splitting = query.splitting();
    // The group was there when the query was made: it cannot have gone, but moved.
    let version = splitting.version(conn)?.ok_or(StoreError::Conflict)?;
    if let Some(kept) = splitting.kept(conn, version)? {
        return Ok(Found::Kept(SegmentCandidates {
            group_version: version,
            segments: kept_candidates(conn, query, kept.id)?,
            fields: field_values(&kept.customers_with_value)?,
        }));
    }
    let counted = splitting.count(conn, version, query.limit)?;
    Ok(Found::Counted(counted))
}

trait Splits {
    fn splitting(&self) -> Splitting<'_>;
}

impl Splits for CandidateQuery {
    fn splitting(&self) -> Splitting<'_> {
        Splitting {
            account: self.account_id,
            group: self.group_id,
            segment_by: &self.segment_by,
        }
    }
}

/// Adds the plan's segments that the campaign does not have yet; answers how many those are.
fn insert_segments(
    conn: &mut SqliteConnection,
    start: &StartRun,
    segmentation: Uuid,
) -> Result<usize, Failure> {
    let account = start.campaign.account_id.as_uuid();
    let campaign = start.campaign.id.as_uuid();
    Ok(sql(
        "INSERT INTO segments (account_id, campaign_id, no, key, attributes) \
         SELECT c.account_id, c.id, c.last_segment_no + row_number() OVER (ORDER BY g.key), \
           g.key, g.attributes \
         FROM group_segments g CROSS JOIN campaigns c ON c.account_id = g.account_id \
           AND c.id = ? \
         WHERE g.account_id = ? AND g.segmentation_id = ? AND NOT EXISTS ( \
           SELECT 1 FROM segments s WHERE s.account_id = g.account_id AND s.campaign_id = c.id \
             AND s.key = g.key)",
    )
    .bind::<Id, _>(campaign)
    .bind::<Id, _>(account)
    .bind::<Id, _>(segmentation)
    .execute(conn)?)
}

/// Adds the run's messages, and tasks for those that are to be generated.
fn insert_messages(conn: &mut SqliteConnection, start: &StartRun) -> Result<(), Failure> {
    let account = start.campaign.account_id.as_uuid();
    let campaign = start.campaign.id.as_uuid();
    let items = &start.plan.items;
    let customers: Vec<i64> = items.iter().map(|item| item.customer_count).collect();
    let keys: Vec<u8> = items.iter().flat_map(|item| *item.key.as_bytes()).collect();
    let reused = |from: Option<rerun_core::message::ReusedFrom>| {
        from.map_or(Uuid::nil(), |from| from.message_id.as_uuid())
    };
    // The plan travels as columns: a JSON array of counts, whose places are those of the ids.
    let inserted = sql(
        "INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
           customer_count, content_id, review_status, source, reused_from_message_id, \
           reused_from_run_number, approvals, edited_by, attributes, created_at, updated_at) \
         SELECT s.account_id, substr(?, 16 * p.key + 1, 16), s.campaign_id, ?, s.no, p.atom, \
           m.content_id, iif(m.id IS NULL, ?, ?), iif(m.id IS NULL, ?, ?), m.id, m.run_number, \
           ifnull(m.approvals, '[]'), m.edited_by, m.attributes, ?, ? \
         FROM json_each(?) AS p \
         CROSS JOIN segments s ON s.account_id = ? AND s.campaign_id = ? \
           AND s.key = substr(?, 32 * p.key + 1, 32) \
         LEFT JOIN messages m ON m.account_id = s.account_id AND m.campaign_id = s.campaign_id \
           AND m.id = substr(?, 16 * p.key + 1, 16)",
    )
    .bind::<Binary, _>(packed(start.message_ids.iter().map(|id| id.as_uuid())))
    .bind::<Integer, _>(start.run.number.get())
    .bind::<Text, _>(ReviewStatus::Generating.as_str())
    .bind::<Text, _>(ReviewStatus::Approved.as_str())
    .bind::<Text, _>(Source::Generated.as_str())
    .bind::<Text, _>(Source::Reused.as_str())
    .bind::<Time, _>(start.now)
    .bind::<Time, _>(start.now)
    .bind::<Text, _>(serde_json::json!(customers).to_string())
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign)
    .bind::<Binary, _>(keys)
    .bind::<Binary, _>(packed(items.iter().map(|item| reused(item.reuses))))
    .execute(conn)?;
    let queued = sql(
        "INSERT INTO generation_tasks (account_id, message_id, campaign_id, run_number, due_at) \
         SELECT account_id, id, campaign_id, run_number, ? \
         FROM messages INDEXED BY messages_one_per_segment \
         WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND review_status = ?",
    )
    .bind::<Time, _>(start.now)
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign)
    .bind::<Integer, _>(start.run.number.get())
    .bind::<Text, _>(ReviewStatus::Generating.as_str())
    .execute(conn)?;
    for (item, id) in items.iter().zip(&start.message_ids) {
        let Some(suggestion) = start.suggestions.get(&item.key) else {
            continue;
        };
        sql("UPDATE messages SET suggestion = ? WHERE account_id = ? AND id = ?")
            .bind::<Text, _>(suggestion.as_json())
            .bind::<Id, _>(account)
            .bind::<Id, _>(id.as_uuid())
            .execute(conn)?;
    }
    let planned = start.plan.segments;
    let as_planned = u32::try_from(inserted).ok() == Some(planned.total)
        && u32::try_from(queued).ok() == Some(planned.new);
    if as_planned {
        Ok(())
    } else {
        // A segment or a message of the plan is not there any more.
        Err(StoreError::Conflict.into())
    }
}

/// A new message of a segment that the campaign has is shown with the values as its group spells
/// them. Without rules there is one spelling.
fn spell_new_messages(
    conn: &mut SqliteConnection,
    start: &StartRun,
    segmentation: Uuid,
) -> Result<(), Failure> {
    let account = start.campaign.account_id.as_uuid();
    sql(
        "UPDATE messages INDEXED BY messages_one_per_segment SET attributes = gs.attributes \
         FROM segments s CROSS JOIN group_segments gs ON gs.account_id = ? \
           AND gs.segmentation_id = ? AND gs.key = s.key AND gs.attributes <> s.attributes \
         WHERE messages.account_id = ? AND messages.campaign_id = ? AND messages.run_number = ? \
           AND messages.review_status = ? \
           AND s.account_id = ? AND s.campaign_id = ? AND s.no = messages.segment_no",
    )
    .bind::<Id, _>(account)
    .bind::<Id, _>(segmentation)
    .bind::<Id, _>(account)
    .bind::<Id, _>(start.campaign.id.as_uuid())
    .bind::<Integer, _>(start.run.number.get())
    .bind::<Text, _>(ReviewStatus::Generating.as_str())
    .bind::<Id, _>(account)
    .bind::<Id, _>(start.campaign.id.as_uuid())
    .execute(conn)?;
    Ok(())
}

fn start_run(conn: &mut SqliteConnection, start: StartRun) -> Result<(), Failure> {
    let campaign = &start.campaign;
    let account = campaign.account_id;
    check_unmoved(conn, campaign)?;
    let splitting = Splitting {
        account,
        group: start.run.group.id,
        segment_by: &campaign.segment_by,
    };
    if splitting.version(conn)? != Some(start.group_version) {
        return Err(StoreError::Conflict.into());
    }
    // Counts that were dropped are made again when the decision is.
    let segmentation = splitting
        .kept(conn, start.group_version)?
        .map(|kept| kept.id)
        .ok_or(StoreError::Conflict)?;
    if let Some(firing) = &start.firing {
        write_firings(conn, firing)?;
    }
    keep_response(conn, account, start.response.as_ref(), start.now)?;
    sql("UPDATE runs SET archived_at = ? \
         WHERE account_id = ? AND campaign_id = ? AND archived_at IS NULL")
    .bind::<Time, _>(start.now)
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .execute(conn)?;
    insert_run(
        conn,
        campaign,
        &start.run,
        start.initiated_ip.map(|ip| ip.to_string()),
    )?;
    let new_segments = insert_segments(conn, &start, segmentation)?;
    let new_segments_are_fewer =
        u32::try_from(new_segments).is_ok_and(|added| added < start.plan.segments.new);
    insert_messages(conn, &start)?;
    if new_segments_are_fewer && campaign.segment_by.rules_json().is_some() {
        spell_new_messages(conn, &start, segmentation)?;
    }
    move_campaign(
        conn,
        &CampaignMove {
            campaign,
            standing: start.standing,
            new_segments: i32::try_from(new_segments)
                .map_err(|error| StoreError::Backend(error.into()))?,
            now: start.now,
        },
    )?;
    append_audit(conn, start.audit)?;
    for audit in start.firing.into_iter().flat_map(|firing| firing.audits) {
        append_audit(conn, audit)?;
    }
    Ok(())
}

fn cancel_run(conn: &mut SqliteConnection, cancel: CancelRun) -> Result<(), Failure> {
    let CancelRun {
        campaign,
        run,
        standing,
        audit,
        response,
        now,
    } = cancel;
    if unmoved(conn, &campaign)?.number != run.number {
        return Err(StoreError::Conflict.into());
    }
    keep_response(conn, campaign.account_id, response.as_ref(), now)?;
    // Workers may have stored results since the decision, so the counts stay the row's own.
    sql(
        "UPDATE runs SET status = ?, completed_at = ?, archived_at = ?, cancel_reason = ? \
         WHERE account_id = ? AND campaign_id = ? AND number = ?",
    )
    .bind::<Text, _>(run.status.as_str())
    .bind::<Nullable<Time>, _>(run.completed_at)
    .bind::<Nullable<Time>, _>(run.archived_at)
    .bind::<Nullable<Text>, _>(run.cancel_reason.as_deref())
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run.number.get())
    .execute(conn)?;
    sql("UPDATE runs SET archived_at = NULL \
         WHERE account_id = ? AND campaign_id = ? AND number = ?")
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Nullable<Integer>, _>(run.previous_run.map(RunNumber::get))
    .execute(conn)?;
    let tasks = generation_tasks::table
        .filter(generation_tasks::account_id.eq(Uid(campaign.account_id.as_uuid())))
        .filter(generation_tasks::campaign_id.eq(Uid(campaign.id.as_uuid())))
        .filter(generation_tasks::run_number.eq(run.number.get()));
    diesel::delete(tasks).execute(conn)?;
    move_campaign(
        conn,
        &CampaignMove {
            campaign: &campaign,
            standing,
            new_segments: 0,
            now,
        },
    )?;
    append_audit(conn, audit)
}

#[async_trait]
impl RerunStore for SqliteStore {
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError> {
        let asked = query.clone();
        let counted = match self.read(move |conn| look(conn, &asked)).await? {
            Found::Kept(candidates) => return Ok(candidates),
            Found::Counted(counted) => counted,
        };
        if counted.is_too_much || counted.fields.iter().any(|field| field.too_long) {
            // No run can have these segments: what they could reuse does not matter.
            let bare = |segment: Segment| SegmentCandidate {
                key: segment.key,
                customer_count: segment.customer_count,
                reusable: None,
            };
            return Ok(SegmentCandidates {
                group_version: counted.version,
                segments: counted.segments.into_iter().map(bare).collect(),
                fields: counted.fields,
            });
        }
        let keeping = query.clone();
        self.write(move |conn| keeping.splitting().keep(conn, &counted))
            .await?;
        match self.read(move |conn| look(conn, &query)).await? {
            Found::Kept(candidates) => Ok(candidates),
            Found::Counted(_) => Err(StoreError::Conflict),
        }
    }

    async fn valued_fields(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        self.read(move |conn| {
            let mut valued = Valued::new(&names);
            for row in profiles(conn, account, group)? {
                valued.add(&row?.profile)?;
                if valued.is_complete() {
                    break;
                }
            }
            Ok(valued.found())
        })
        .await
    }

    async fn segments(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        segment_by: &SegmentBy,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<Segment>, StoreError> {
        let segment_by = segment_by.clone();
        self.read(move |conn| {
            let splitting = Splitting {
                account,
                group,
                segment_by: &segment_by,
            };
            let Some(version) = splitting.version(conn)? else {
                return Ok(Vec::new());
            };
            if let Some(kept) = splitting.kept(conn, version)? {
                let hex: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let rows = sql(
                    "SELECT key, attributes, customer_count FROM group_segments \
                     WHERE account_id = ? AND segmentation_id = ? \
                       AND key IN (SELECT unhex(atom) FROM json_each(?)) ORDER BY key",
                )
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(kept.id)
                .bind::<Text, _>(serde_json::json!(hex).to_string())
                .load_iter::<SegmentRow, DefaultLoadingMode>(conn)?;
                return filling(rows.map(|row| Ok::<_, Failure>(Segment::try_from(row?)?)));
            }
            let wanted: std::collections::HashSet<SegmentKey> = keys.into_iter().collect();
            let mut segments = splitting.count(conn, version, u32::MAX)?.segments;
            segments.retain(|segment| wanted.contains(&segment.key));
            Ok(segments)
        })
        .await
    }

    async fn survey(
        &self,
        query: CandidateQuery,
        group_version: i64,
    ) -> Result<Option<ValueReport>, StoreError> {
        self.read(move |conn| survey(conn, &query, group_version))
            .await
    }

    async fn suggestions(
        &self,
        query: CandidateQuery,
        group_version: i64,
        keys: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, StoreError> {
        self.read(move |conn| suggestions(conn, &query, group_version, &keys))
            .await
    }

    async fn start_run(&self, start: StartRun) -> Result<(), StoreError> {
        self.write(move |conn| start_run(conn, start)).await
    }

    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError> {
        self.write(move |conn| cancel_run(conn, cancel)).await
    }
}
