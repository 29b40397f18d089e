use std::collections::HashMap;

use async_trait::async_trait;
use diesel::pg::{Pg, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text};
use rerun_core::campaign::Campaign;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use rerun_core::message::Content;
use rerun_core::nearest::{Nearest, Reusable, Suggestion};
use rerun_core::plan::{PlannedSegment, ReuseCandidate, ReuseFrom, SegmentCandidate};
use rerun_core::ports::{CancelRun, CandidateQuery, RerunStore, SegmentCandidates, StartRun};
use rerun_core::segment::{Attributes, KeptValues, Segment, SegmentBy, SegmentKey};
use rerun_core::survey::{Survey, ValueReport};
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{self};
use rerun_diesel::schedules::store::write_firings;
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::PgStore;
use crate::places::Places;
use crate::schema::generation_tasks;
use crate::segments::{self, Wanted};
use crate::write::{
    CampaignMove, SLICE, Value, append_audit, insert_run, lock_current, move_campaign,
    queue_messages, transaction,
};

#[async_trait]
impl RerunStore for PgStore {
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError> {
        self.db
            .run(move |conn| {
                let wanted = Wanted {
                    account: query.account_id,
                    group: query.group_id,
                    segment_by: &query.segment_by,
                    limit: query.limit,
                };
                let mut candidates = match segments::kept(conn, &wanted)? {
                    Some(candidates) => candidates,
                    None => segments::counted(conn, &wanted)?.into(),
                };
                offer_reusable(conn, &query, &mut candidates.segments)?;
                Ok(candidates)
            })
            .await
    }

    async fn valued_fields(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        self.db
            .run(move |conn| segments::valued(conn, account, group, &names))
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
        self.db
            .run(move |conn| {
                let wanted = Wanted {
                    account,
                    group,
                    segment_by: &segment_by,
                    limit: segments::NO_LIMIT,
                };
                if let Some(segments) = segments::kept_attributes(conn, &wanted, &keys)? {
                    return Ok(segments);
                }
                let mut counted = segments::counted(conn, &wanted)?.segments;
                counted.retain(|segment| keys.contains(&segment.key));
                Ok(counted)
            })
            .await
    }

    async fn survey(
        &self,
        query: CandidateQuery,
        group_version: i64,
    ) -> Result<Option<ValueReport>, StoreError> {
        self.db
            .run(move |conn| survey(conn, &query, group_version))
            .await
    }

    async fn suggestions(
        &self,
        query: CandidateQuery,
        group_version: i64,
        keys: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, StoreError> {
        self.db
            .run(move |conn| suggestions(conn, &query, group_version, &keys))
            .await
    }

    async fn start_run(&self, start: StartRun) -> Result<(), StoreError> {
        let places = self.places();
        self.db
            .run(move |conn| transaction(conn, |conn| start_run(conn, start, places)))
            .await
    }

    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| cancel_run(conn, cancel)))
            .await
    }
}

#[derive(QueryableByName)]
struct ReusableRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Id)]
    message_id: Uuid,
    #[diesel(sql_type = Integer)]
    run_number: i32,
    #[diesel(sql_type = Text)]
    review_status: String,
}

/// Gives each segment, by key, the message that the rerun may reuse for it. A content with a placeholder
/// is not reused: a reused message is `Approved` from the start. Segments and messages are matched here: rows
/// that were kept a moment ago have no statistics yet, and a join planned without them compares each with each.
fn offer_reusable(
    conn: &mut PgConnection,
    query: &CandidateQuery,
    segments: &mut [SegmentCandidate],
) -> Result<(), Failure> {
    let Some((campaign, run, from)) = query.reuse else {
        return Ok(());
    };
    let text = reusable_text(
        "s.key, m.id AS message_id, m.run_number, m.review_status",
        from,
    );
    // The current run has about as many messages as the group has segments, most of the time.
    let statement = sql(&text).planned_for(segments.len());
    let statement = bind_reusable(statement, query.account_id, campaign, run, from);
    for row in statement.load_iter::<ReusableRow, PgRowByRowLoadingMode>(conn)? {
        let row = row?;
        let key = row::segment_key(&row.key)?;
        let place = segments.binary_search_by_key(&key, |segment| segment.key);
        if let Some(segment) = place.ok().and_then(|place| segments.get_mut(place)) {
            segment.reusable = Some(ReuseCandidate {
                message_id: MessageId::new(row.message_id),
                run_number: row::run_number("messages", row.run_number)?,
                status: row::text("messages", "review_status", &row.review_status)?,
            });
        }
    }
    Ok(())
}

/// Selects columns of the messages (`m`) that may be reused and of their segments (`s`).
fn reusable_text(columns: &str, from: ReuseFrom) -> String {
    let (newest, of_run, order) = match from {
        ReuseFrom::CurrentRun => ("", "AND run_number = ?", ""),
        ReuseFrom::AnyRun | ReuseFrom::AnyApproved => (
            "DISTINCT ON (segment_no)",
            "",
            "ORDER BY segment_no, run_number DESC",
        ),
    };
    let statuses = row::quoted(from.statuses());
    format!(
        "SELECT {columns} FROM ( \
           SELECT {newest} campaign_id, segment_no, id, run_number, review_status, \
             content_id, customer_count, attributes \
           FROM messages \
           WHERE account_id = ? AND campaign_id = ? {of_run} AND review_status IN ({statuses}) \
             AND NOT EXISTS (SELECT FROM contents t WHERE t.account_id = ? \
               AND t.id = messages.content_id AND t.placeholder IS NOT NULL) \
           {order}) m \
         JOIN LATERAL (SELECT key, attributes, value_types FROM segments s \
           WHERE s.account_id = ? AND s.campaign_id = m.campaign_id \
             AND s.no = m.segment_no AND s.shared_key IS NULL LIMIT 1) s ON true"
    )
}

fn bind_reusable(
    statement: Sql<'_, Pg>,
    account: AccountId,
    campaign: CampaignId,
    run: RunNumber,
    from: ReuseFrom,
) -> Sql<'_, Pg> {
    let mut statement = statement
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid());
    if from == ReuseFrom::CurrentRun {
        statement = statement.bind::<Integer, _>(run.get());
    }
    // Of contents and of segments.
    statement.bind_times::<Id, _>(2, account.as_uuid())
}

#[derive(QueryableByName)]
struct SurveyRow {
    #[diesel(embed)]
    segment: row::KeptValuesRow,
    #[diesel(sql_type = Nullable<BigInt>)]
    customer_count: Option<i64>,
}

/// Compares the group's kept segments with those of the messages that may be reused, which have no
/// number of customers in the one statement for both.
fn survey(
    conn: &mut PgConnection,
    query: &CandidateQuery,
    group_version: i64,
) -> Result<Option<ValueReport>, Failure> {
    let account = query.account_id.as_uuid();
    let kept = "SELECT gs.key, gs.attributes, NULL::bytea AS value_types, \
           NULL::text AS own_attributes, gs.customer_count FROM segmentations sg \
         JOIN group_segments gs ON gs.account_id = ? AND gs.segmentation_id = sg.id \
         WHERE sg.account_id = ? AND sg.group_id = ? AND sg.fields = ? AND sg.group_version = ?";
    let text = match query.reuse {
        None => kept.to_owned(),
        Some((_, _, from)) => {
            let reusable = reusable_text(
                "s.key, s.attributes, s.value_types, NULL::text, NULL::bigint",
                from,
            );
            format!("{kept} UNION ALL ({reusable})")
        }
    };
    let mut statement = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Id, _>(query.group_id.as_uuid())
        .bind::<Text, _>(query.segment_by.canonical())
        .bind::<BigInt, _>(group_version);
    if let Some((campaign, run, from)) = query.reuse {
        statement = bind_reusable(statement, query.account_id, campaign, run, from);
    }
    let mut survey = Survey::new(&query.segment_by);
    let mut segments = Vec::new();
    for row in statement.load_iter::<SurveyRow, PgRowByRowLoadingMode>(conn)? {
        let SurveyRow {
            segment,
            customer_count,
        } = row?;
        let segment = KeptValues::try_from(segment)?;
        match customer_count {
            None => survey.add_reusable(segment.values())?,
            Some(customer_count) => segments.push(Segment {
                key: segment.key,
                attributes: segment.attributes,
                customer_count,
            }),
        }
    }
    if segments.is_empty() {
        return Ok(None);
    }
    for segment in &segments {
        survey.add_segment(segment)?;
    }
    Ok(Some(survey.finish()))
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

#[derive(QueryableByName)]
struct NewRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Text)]
    attributes: String,
}

/// Compares new segments of the group with the texts of the messages that may be reused.
fn suggestions(
    conn: &mut PgConnection,
    query: &CandidateQuery,
    group_version: i64,
    keys: &[SegmentKey],
) -> Result<Option<HashMap<SegmentKey, Suggestion>>, Failure> {
    let Some((campaign, run, from)) = query.reuse else {
        return Ok(Some(HashMap::new()));
    };
    let account = query.account_id.as_uuid();
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    let wanted = keys.len();
    let rows = sql("SELECT gs.key, gs.attributes FROM segmentations sg \
         JOIN group_segments gs ON gs.account_id = ? AND gs.segmentation_id = sg.id \
           AND gs.key = ANY(?) \
         WHERE sg.account_id = ? AND sg.group_id = ? AND sg.fields = ? AND sg.group_version = ?")
    .planned_each_time()
    .bind::<Id, _>(account)
    .bind::<Array<Binary>, _>(keys)
    .bind::<Id, _>(account)
    .bind::<Id, _>(query.group_id.as_uuid())
    .bind::<Text, _>(query.segment_by.canonical())
    .bind::<BigInt, _>(group_version)
    .load::<NewRow>(conn)?;
    if rows.len() < wanted {
        return Ok(None);
    }
    let new = rows.into_iter().map(|row| {
        let attributes = Attributes::from_stored(row.attributes);
        Ok((row::segment_key(&row.key)?, attributes))
    });
    let new: Vec<(SegmentKey, Attributes)> = new.collect::<Result<_, StoreError>>()?;
    let text = format!(
        "SELECT r.*, t.subject, t.body FROM ({}) r \
         JOIN contents t ON t.account_id = ? AND t.id = r.content_id",
        reusable_text(
            "s.key, s.attributes, s.value_types, m.attributes AS own_attributes, \
             m.id AS message_id, m.run_number, m.customer_count, m.content_id",
            from
        )
    );
    let statement = sql(&text).planned_each_time();
    let statement = bind_reusable(statement, query.account_id, campaign, run, from);
    let statement = statement.bind::<Id, _>(account);
    let mut nearest = Nearest::new(&query.segment_by);
    for row in statement.load_iter::<TextRow, PgRowByRowLoadingMode>(conn)? {
        let row = row?;
        let more = nearest.add_reusable(Reusable {
            message_id: MessageId::new(row.message_id),
            run_number: row::run_number("messages", row.run_number)?,
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
    let new = new.iter().map(|(key, attributes)| (*key, attributes));
    Ok(Some(nearest.suggest(new)?))
}

/// Locks the campaign and its group, if they are still as they were seen, and archives the run before.
/// Returns the number of the campaign's last segment.
fn lock_for_run(conn: &mut PgConnection, start: &StartRun) -> Result<i64, Failure> {
    const LOCK: &str = "SELECT c.last_segment_no::bigint AS value \
         FROM campaigns c JOIN customer_groups g ON g.account_id = ? AND g.id = ? \
         WHERE c.account_id = ? AND c.id = ? AND c.version = ? AND g.version = ? \
         FOR UPDATE OF c FOR SHARE OF g";
    let StartRun { campaign, run, .. } = start;
    let account = campaign.account_id.as_uuid();
    let text = match run.previous_run {
        None => LOCK.to_owned(),
        Some(_) => format!(
            "WITH locked AS ({LOCK}), \
             archived AS (UPDATE runs SET archived_at = ? WHERE account_id = ? AND campaign_id = ? \
               AND number = ? AND EXISTS (SELECT FROM locked)) \
             SELECT value FROM locked"
        ),
    };
    let mut statement = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Id, _>(run.group.id.as_uuid())
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign.id.as_uuid())
        .bind::<BigInt, _>(campaign.version)
        .bind::<BigInt, _>(start.group_version);
    if let Some(previous) = run.previous_run {
        statement = statement
            .bind::<Time, _>(start.now)
            .bind::<Id, _>(account)
            .bind::<Id, _>(campaign.id.as_uuid())
            .bind::<Integer, _>(previous.get());
    }
    let locked = statement.load::<Value>(conn)?.pop();
    Ok(locked.ok_or(StoreError::Conflict)?.value)
}

fn start_run(conn: &mut PgConnection, start: StartRun, places: Places) -> Result<(), Failure> {
    let StartRun {
        campaign,
        plan,
        run,
        message_ids,
        initiated_ip,
        ..
    } = &start;
    let now = start.now;
    let mut numbering = Numbering::after(lock_for_run(conn, &start)?)?;
    if let Some(firing) = &start.firing {
        write_firings(conn, firing)?;
    }
    keep_response(conn, campaign.account_id, start.response.as_ref(), now)?;
    let ip = initiated_ip.map(|ip| ip.to_string());
    insert_run(conn, campaign, run, start.group_version, ip)?;
    for (ids, items) in message_ids.chunks(SLICE).zip(plan.items.chunks(SLICE)) {
        let planned = ids.iter().map(|id| id.as_uuid()).zip(items);
        let (matched, new): (Vec<_>, Vec<_>) =
            planned.partition(|(_, segment)| segment.reuses.is_some());
        if !new.is_empty() {
            let numbers = number_segments(conn, &start, &mut numbering, &new)?;
            add_new_messages(conn, &start, &new, &numbers)?;
            if campaign.segment_by.rules_json().is_some() {
                let known = new.iter().zip(&numbers);
                let known = known.filter(|(_, no)| numbering.was_there(**no));
                let known: Vec<Uuid> = known.map(|((id, _), _)| *id).collect();
                spell_messages(conn, &start, places, &known)?;
            }
        }
        if !matched.is_empty() {
            add_matched_messages(conn, &start, &matched)?;
        }
    }
    let to = CampaignMove {
        campaign,
        standing: start.standing,
        new_segments: numbering.added(),
        now,
    };
    move_campaign(conn, &to)?;
    append_audit(conn, start.audit)?;
    for audit in start.firing.into_iter().flat_map(|firing| firing.audits) {
        append_audit(conn, audit)?;
    }
    Ok(())
}

/// Gives numbers to the segments that a campaign does not have yet.
struct Numbering {
    /// The last number that the campaign had before.
    before: i32,
    /// The last number that was given.
    last: i32,
}

impl Numbering {
    fn after(last: i64) -> Result<Self, StoreError> {
        let last = i32::try_from(last).map_err(|error| StoreError::Backend(error.into()))?;
        Ok(Self { before: last, last })
    }

    const fn was_there(&self, no: i32) -> bool {
        no <= self.before
    }

    const fn next(&mut self) -> i32 {
        self.last += 1;
        self.last
    }

    const fn added(&self) -> i32 {
        self.last - self.before
    }
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Integer)]
    no: i32,
}

/// Returns the numbers of the segments in their order, and adds those that the campaign does not have yet.
fn number_segments(
    conn: &mut PgConnection,
    start: &StartRun,
    numbering: &mut Numbering,
    segments: &[(Uuid, &PlannedSegment)],
) -> Result<Vec<i32>, Failure> {
    let campaign = &start.campaign;
    let account = campaign.account_id.as_uuid();
    let keys: Vec<&[u8]> = segments
        .iter()
        .map(|(_, segment)| &segment.key.as_bytes()[..])
        .collect();
    let known: HashMap<Vec<u8>, i32> = if numbering.before == 0 {
        HashMap::new()
    } else {
        sql("SELECT key, no FROM segments \
             WHERE account_id = ? AND campaign_id = ? AND key = ANY(?)")
        .planned_for(segments.len())
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign.id.as_uuid())
        .bind::<Array<Binary>, _>(keys.as_slice())
        .load::<NumberRow>(conn)?
        .into_iter()
        .map(|row| (row.key, row.no))
        .collect()
    };
    let (mut added_keys, mut added_numbers) = (Vec::new(), Vec::new());
    let numbers = keys
        .iter()
        .map(|key| {
            known.get(*key).copied().unwrap_or_else(|| {
                let next = numbering.next();
                added_keys.push(*key);
                added_numbers.push(next);
                next
            })
        })
        .collect();
    let planned = added_keys.len();
    if planned > 0 {
        let added = sql(
            "INSERT INTO segments (account_id, campaign_id, no, key, attributes) \
             SELECT ?, ?, p.no, p.key, gs.attributes \
             FROM (SELECT id FROM segmentations \
               WHERE account_id = ? AND group_id = ? AND fields = ? LIMIT 1) sg \
             CROSS JOIN unnest(?::bytea[], ?::int[]) AS p(key, no) \
             CROSS JOIN LATERAL (SELECT attributes FROM group_segments \
               WHERE account_id = ? AND segmentation_id = sg.id AND key = p.key LIMIT 1) gs",
        )
        .planned_for(planned)
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign.id.as_uuid())
        .bind::<Id, _>(account)
        .bind::<Id, _>(start.run.group.id.as_uuid())
        .bind::<Text, _>(campaign.segment_by.canonical())
        .bind::<Array<Binary>, _>(added_keys)
        .bind::<Array<Integer>, _>(added_numbers)
        .bind::<Id, _>(account)
        .execute(conn)?;
        all_added(added, planned)?;
    }
    Ok(numbers)
}

fn all_added(added: usize, planned: usize) -> Result<(), Failure> {
    // The kept counts, or a message to reuse, were not there any more.
    if added == planned {
        Ok(())
    } else {
        Err(StoreError::Conflict.into())
    }
}

fn add_new_messages(
    conn: &mut PgConnection,
    start: &StartRun,
    new: &[(Uuid, &PlannedSegment)],
    numbers: &[i32],
) -> Result<(), Failure> {
    let (campaign, now) = (&start.campaign, start.now);
    let (account, run) = (campaign.account_id.as_uuid(), start.run.number.get());
    let ids: Vec<Uuid> = new.iter().map(|(id, _)| *id).collect();
    let counts: Vec<i64> = new
        .iter()
        .map(|(_, segment)| segment.customer_count)
        .collect();
    let suggestions: Vec<Option<&str>> = new
        .iter()
        .map(|(_, segment)| Some(start.suggestions.get(&segment.key)?.as_json()))
        .collect();
    let added = sql(
        "INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
           customer_count, review_status, source, suggestion, created_at, updated_at) \
         SELECT ?, id, ?, ?, no, customer_count, 'Generating', 'generated', suggestion, ?, ? \
         FROM unnest(?::uuid[], ?::int[], ?::bigint[], ?::text[]) \
           AS p(id, no, customer_count, suggestion)",
    )
    .planned_for(new.len())
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run)
    .bind_times::<Time, _>(2, now)
    .bind::<Array<Id>, _>(&ids)
    .bind::<Array<Integer>, _>(numbers)
    .bind::<Array<BigInt>, _>(counts)
    .bind::<Array<Nullable<Text>>, _>(suggestions)
    .execute(conn)?;
    all_added(added, new.len())?;
    queue_messages(conn, (campaign, start.run.number), &ids, now)
}

/// A new message of a segment that the campaign had is shown with the values as its group spells
/// them. Without rules there is one spelling.
fn spell_messages(
    conn: &mut PgConnection,
    start: &StartRun,
    places: Places,
    messages: &[Uuid],
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    let account = start.campaign.account_id.as_uuid();
    let text = format!(
        "WITH spelled AS (SELECT m.place, gs.attributes \
           FROM (SELECT id FROM segmentations \
             WHERE account_id = ? AND group_id = ? AND fields = ? LIMIT 1) sg \
           CROSS JOIN (SELECT ctid AS place, segment_no FROM messages \
             WHERE account_id = ? AND id = ANY(?)) m \
           CROSS JOIN LATERAL (SELECT key, attributes FROM segments \
             WHERE account_id = ? AND campaign_id = ? AND no = m.segment_no LIMIT 1) s \
           CROSS JOIN LATERAL (SELECT attributes FROM group_segments \
             WHERE account_id = ? AND segmentation_id = sg.id AND key = s.key LIMIT 1) gs \
           WHERE gs.attributes <> s.attributes) \
         UPDATE messages m SET attributes = spelled.attributes \
         FROM spelled WHERE m.ctid = spelled.place{}",
        places.condition("m")
    );
    let statement = sql(&text)
        .planned_for(messages.len())
        .bind::<Id, _>(account)
        .bind::<Id, _>(start.run.group.id.as_uuid())
        .bind::<Text, _>(start.campaign.segment_by.canonical())
        .bind::<Id, _>(account)
        .bind::<Array<Id>, _>(messages)
        .bind::<Id, _>(account)
        .bind::<Id, _>(start.campaign.id.as_uuid())
        .bind::<Id, _>(account);
    places
        .bind(statement, start.campaign.account_id)
        .execute(conn)?;
    Ok(())
}

fn add_matched_messages(
    conn: &mut PgConnection,
    start: &StartRun,
    matched: &[(Uuid, &PlannedSegment)],
) -> Result<(), Failure> {
    let (campaign, now) = (&start.campaign, start.now);
    let reused: Vec<Uuid> = matched
        .iter()
        .filter_map(|(_, segment)| segment.reuses.map(|reused| reused.message_id.as_uuid()))
        .collect();
    let added = sql(
        "INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
           customer_count, content_id, review_status, source, reused_from_message_id, \
           reused_from_run_number, approvals, edited_by, attributes, created_at, updated_at) \
         SELECT ?, p.id, m.campaign_id, ?, m.segment_no, p.customer_count, \
           m.content_id, 'Approved', 'reused', m.id, m.run_number, m.approvals, m.edited_by, m.attributes, \
           ?, ? \
         FROM unnest(?::uuid[], ?::uuid[], ?::bigint[]) AS p(id, reused, customer_count) \
         JOIN LATERAL (SELECT * FROM messages WHERE account_id = ? AND id = p.reused \
           AND review_status IN ('Published', 'Approved') LIMIT 1) m ON true",
    )
    .planned_for(matched.len())
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Integer, _>(start.run.number.get())
    .bind::<Time, _>(now)
    .bind::<Time, _>(now)
    .bind::<Array<Id>, _>(matched.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind::<Array<Id>, _>(reused)
    .bind::<Array<BigInt>, _>(
        matched
            .iter()
            .map(|(_, segment)| segment.customer_count)
            .collect::<Vec<_>>(),
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .execute(conn)?;
    all_added(added, matched.len())
}

fn set_archived(
    conn: &mut PgConnection,
    campaign: &Campaign,
    run: RunNumber,
    at: Option<rerun_core::Timestamp>,
) -> Result<(), Failure> {
    sql("UPDATE runs SET archived_at = ? WHERE account_id = ? AND campaign_id = ? AND number = ?")
        .bind::<Nullable<Time>, _>(at)
        .bind::<Id, _>(campaign.account_id.as_uuid())
        .bind::<Id, _>(campaign.id.as_uuid())
        .bind::<Integer, _>(run.get())
        .execute(conn)?;
    Ok(())
}

fn cancel_run(conn: &mut PgConnection, cancel: CancelRun) -> Result<(), Failure> {
    let CancelRun {
        campaign,
        run,
        standing,
        audit,
        response,
        now,
    } = cancel;
    lock_current(conn, &campaign)?;
    keep_response(conn, campaign.account_id, response.as_ref(), now)?;
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
    let tasks = generation_tasks::table
        .filter(generation_tasks::account_id.eq(campaign.account_id.as_uuid()))
        .filter(generation_tasks::campaign_id.eq(campaign.id.as_uuid()))
        .filter(generation_tasks::run_number.eq(run.number.get()));
    diesel::delete(tasks).execute(conn)?;
    if let Some(previous) = run.previous_run {
        set_archived(conn, &campaign, previous, None)?;
    }
    let to = CampaignMove {
        campaign: &campaign,
        standing,
        new_segments: 0,
        now,
    };
    move_campaign(conn, &to)?;
    append_audit(conn, audit)
}
