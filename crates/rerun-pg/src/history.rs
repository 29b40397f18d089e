use async_trait::async_trait;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text};
use rerun_core::diff::{DiffCounts, DiffItem, DiffKey};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::Message;
use rerun_core::page::{MessageKey, Page, PageRequest};
use rerun_core::ports::{
    Diff, History, HistoryStore, MessageFilter, MessageList, MessageSelection,
};
use rerun_core::run::Run;
use rerun_core::segment::{Attributes, Segment, ValueSearch};
use rerun_diesel::error::Failure;
use rerun_diesel::row::{self, MessageColumns, MessageRow, RunColumns, RunRow};
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::Id;
use rerun_diesel::{message_columns, run_columns};
use uuid::Uuid;

use crate::PgStore;
use crate::page::PageQuery;
use crate::schema::segments;
use crate::write::Value;

#[async_trait]
impl HistoryStore for PgStore {
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        page: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError> {
        self.db
            .run(move |conn| {
                let text = PageQuery {
                    columns: concat!("c.status, c.current_run_number, ", run_columns!()),
                    bytes: "COALESCE(octet_length(r.group_name), 0) \
                      + COALESCE(octet_length(r.initiated_by_name), 0) \
                      + COALESCE(octet_length(r.error), 0) \
                      + COALESCE(octet_length(r.cancel_reason), 0)",
                    from: "FROM campaigns c LEFT JOIN LATERAL ( \
                       SELECT * FROM runs WHERE runs.account_id = ? \
                         AND runs.campaign_id = c.id AND runs.number < ? \
                       ORDER BY runs.number DESC LIMIT ?) r ON true \
                     WHERE c.account_id = ? AND c.id = ?",
                    order: "r.number DESC",
                    by: "run_number DESC",
                }
                .text();
                let rows = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<BigInt, _>(page.after.map_or(i64::MAX, |after| i64::from(after.get())))
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .columns::<(Text, Nullable<Integer>, Nullable<RunColumns>)>()
                    .load::<(String, Option<i32>, Option<RunRow>)>(conn)?;
                let Some((status, current_run, _)) = rows.first() else {
                    return Ok(None);
                };
                let (status, current_run) = (
                    row::text("campaigns", "status", status)?,
                    row::some_run(*current_run)?,
                );
                let runs = rows
                    .into_iter()
                    .filter_map(|(_, _, run)| run.map(Run::try_from));
                Ok(Some(History {
                    status,
                    current_run,
                    runs: Page::read(runs, page.limit, |run| run.number)?,
                }))
            })
            .await
    }

    async fn messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        page: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        let every = MessageFilter::default();
        self.filtered_messages(account, campaign, selection, every, page)
            .await
    }

    async fn filtered_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        filter: MessageFilter,
        page: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        self.db
            .run(move |conn| {
                let narrowed = Narrowed::new(conn, account, campaign, filter)?;
                let narrowed = &narrowed;
                let rows = match selection {
                    MessageSelection::EveryRun => {
                        every_run(conn, account, campaign, narrowed, &page)?
                    }
                    MessageSelection::Run(run) => {
                        one_run(conn, account, campaign, Some(run), narrowed, &page)?
                    }
                    // A later page goes on in the run that the first page showed.
                    MessageSelection::CurrentRun => {
                        let begun = page.after.map(|after| after.run_number);
                        one_run(conn, account, campaign, begun, narrowed, &page)?
                    }
                };
                let Some(Listed(current_run, stages, found_run, _)) = rows.first() else {
                    return Ok(None);
                };
                let (current_run, approval_stages, run_exists) = (
                    row::some_run(*current_run)?,
                    row::approval_stages(stages)?,
                    found_run.is_some() || !matches!(selection, MessageSelection::Run(_)),
                );
                let messages = rows
                    .into_iter()
                    .filter_map(|Listed(.., message)| message.map(Message::try_from));
                Ok(Some(MessageList {
                    current_run,
                    approval_stages,
                    run_exists,
                    messages: Page::read(messages, page.limit, |message| MessageKey {
                        run_number: message.run_number,
                        segment_no: message.segment_no,
                    })?,
                }))
            })
            .await
    }

    async fn find_message(
        &self,
        account: AccountId,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Option<Message>, StoreError> {
        self.db
            .run(move |conn| {
                // Each row by its primary key: see ADR 61.
                let row = sql(concat!(
                    "SELECT ",
                    message_columns!(),
                    " FROM (SELECT * FROM messages WHERE account_id = ? AND id = ? LIMIT 1) m \
                     JOIN LATERAL (SELECT archived_at FROM runs WHERE account_id = ? \
                       AND campaign_id = m.campaign_id AND number = m.run_number LIMIT 1) r ON true \
                     JOIN LATERAL (SELECT key, shared_key, attributes FROM segments \
                       WHERE account_id = ? AND campaign_id = m.campaign_id \
                         AND no = m.segment_no LIMIT 1) s ON true \
                     LEFT JOIN LATERAL (SELECT subject, body, run_number, model FROM contents \
                       WHERE account_id = ? AND id = m.content_id LIMIT 1) t ON true \
                     WHERE m.campaign_id = ?"
                ))
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(message.as_uuid())
                    .bind_times::<Id, _>(3, account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .columns::<MessageColumns>()
                    .load::<MessageRow>(conn)?
                    .pop();
                Ok(row.map(Message::try_from).transpose()?)
            })
            .await
    }

    async fn diff(
        &self,
        account: AccountId,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        page: PageRequest<DiffKey>,
    ) -> Result<Option<Diff>, StoreError> {
        self.db
            .run(move |conn| {
                // Two look-ups: a planner that is given both numbers at once may read every run.
                let runs = sql("SELECT (SELECT count(*) FROM runs \
                       WHERE account_id = ? AND campaign_id = c.id AND number = ?) \
                     + (SELECT count(*) FROM runs \
                       WHERE account_id = ? AND campaign_id = c.id AND number = ?) \
                     AS value FROM campaigns c WHERE c.account_id = ? AND c.id = ?")
                .bind::<Id, _>(account.as_uuid())
                .bind::<Integer, _>(from.get())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Integer, _>(to.get())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .load::<Value>(conn)?
                .pop();
                let Some(runs) = runs else { return Ok(None) };
                let runs_exist = runs.value == 2;
                if !runs_exist {
                    return Ok(Some(Diff {
                        runs_exist,
                        counts: DiffCounts::default(),
                        items: Page {
                            items: Vec::new(),
                            next: None,
                        },
                    }));
                }
                let counts = match page.after {
                    Some(after) => after.counts,
                    None => diff_counts(conn, account, campaign, from, to)?,
                };
                let items = diff_items(conn, account, campaign, from, to, &page)?;
                let items = Page::read(items, page.limit, |item| item.key(counts))?;
                Ok(Some(Diff {
                    runs_exist,
                    counts,
                    items,
                }))
            })
            .await
    }
}

/// A row of a list of messages: the campaign's current run and approval stages, the run that was
/// asked for, and a message. A list without messages has one row all the same, unless there is no
/// such campaign.
#[derive(Queryable)]
struct Listed(Option<i32>, String, Option<i32>, Option<MessageRow>);

type ListedColumns = (
    Nullable<Integer>,
    Text,
    Nullable<Integer>,
    Nullable<MessageColumns>,
);

const LISTED_COLUMNS: &str = concat!(
    "c.current_run_number, c.approval_stages, r.number, ",
    message_columns!()
);

/// What a message holds.
const MESSAGE_BYTES: &str = "COALESCE(octet_length(m.attributes), octet_length(s.attributes), 0) \
    + COALESCE(octet_length(t.subject), 0) + COALESCE(octet_length(t.body), 0) \
    + COALESCE(octet_length(t.model), 0) + COALESCE(octet_length(m.approvals), 0) + COALESCE(octet_length(m.rejection_reason), 0) \
    + COALESCE(octet_length(m.error), 0) + COALESCE(octet_length(m.suggestion), 0)";

/// Looks up what a message `m` of a campaign `c` points at, row by row: a planner that does not
/// know how many rows a page has would read whole tables.
const PARTS: &str = " \
    LEFT JOIN LATERAL (SELECT key, shared_key, attributes FROM segments \
      WHERE account_id = ? AND campaign_id = c.id AND no = m.segment_no LIMIT 1) s ON true \
    LEFT JOIN LATERAL (SELECT subject, body, run_number, model FROM contents \
      WHERE account_id = ? AND id = m.content_id LIMIT 1) t ON true \
    WHERE c.account_id = ? AND c.id = ? ";

/// How many segments a search reads at once.
const SEARCHED: i64 = 10_000;

/// The condition of a filter on rows of `messages`.
struct Narrowed {
    filter: MessageFilter,
    /// The segments that a search found.
    segments: Option<Vec<i32>>,
}

impl Narrowed {
    fn new(
        conn: &mut PgConnection,
        account: AccountId,
        campaign: CampaignId,
        filter: MessageFilter,
    ) -> Result<Self, Failure> {
        let segments = match &filter.segment {
            Some(search) => Some(found(conn, account, campaign, search)?),
            None => None,
        };
        Ok(Self { filter, segments })
    }

    /// Status and source are in the text, since each of their values has an index of its own. The
    /// other parts have one value each, which [`Narrowed::bind`] gives them.
    fn condition(&self) -> String {
        let MessageFilter {
            status,
            stage,
            source,
            ..
        } = &self.filter;
        let parts = [
            status.map(|status| format!(" AND review_status = '{status}'")),
            stage.map(|_| " AND approval_stage = ?".to_owned()),
            source.map(|source| format!(" AND source = '{source}'")),
            self.segments
                .as_ref()
                .map(|_| " AND segment_no = ANY(?)".to_owned()),
        ];
        parts.into_iter().flatten().collect()
    }

    fn bind<'a>(&self, mut query: Sql<'a, Pg>) -> Sql<'a, Pg> {
        if let Some(stage) = self.filter.stage {
            query = query.bind::<SmallInt, _>(i16::from(stage));
        }
        if let Some(segments) = &self.segments {
            query = query.bind::<Array<Integer>, _>(segments.clone());
        }
        query
    }

    /// A plan for any value would not know how rare one is.
    fn planned<'a>(&self, query: Sql<'a, Pg>) -> Sql<'a, Pg> {
        if self.filter == MessageFilter::default() {
            query
        } else {
            query.planned_each_time()
        }
    }
}

/// The campaign's segments that a search finds.
fn found(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    search: &ValueSearch,
) -> Result<Vec<i32>, Failure> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let rows = segments::table
            .filter(segments::account_id.eq(account.as_uuid()))
            .filter(segments::campaign_id.eq(campaign.as_uuid()))
            .filter(segments::no.gt(after))
            .order(segments::no)
            .limit(SEARCHED)
            .select((segments::no, segments::attributes))
            .load::<(i32, String)>(conn)?;
        let Some((last, _)) = rows.last() else {
            return Ok(found);
        };
        after = *last;
        row::search(rows, search, &mut found)?;
    }
}

/// A page of the messages of a run, or of the current run.
fn one_run(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    run: Option<RunNumber>,
    narrowed: &Narrowed,
    page: &PageRequest<MessageKey>,
) -> Result<Vec<Listed>, Failure> {
    let condition = narrowed.condition();
    let text = PageQuery {
        columns: LISTED_COLUMNS,
        bytes: MESSAGE_BYTES,
        from: &format!(
            "FROM campaigns c LEFT JOIN LATERAL (SELECT number, archived_at FROM runs \
               WHERE account_id = ? AND campaign_id = c.id \
                 AND number = COALESCE(?, c.current_run_number) LIMIT 1) r ON true \
             LEFT JOIN LATERAL (SELECT * FROM messages WHERE account_id = ? \
               AND campaign_id = c.id AND run_number = r.number AND segment_no > ? {condition} \
               ORDER BY segment_no LIMIT ?) m ON true {PARTS}"
        ),
        order: "m.segment_no",
        by: "message_segment_no",
    }
    .text();
    let account = account.as_uuid();
    let query = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Nullable<Integer>, _>(run.map(RunNumber::get))
        .bind::<Id, _>(account)
        .bind::<Integer, _>(page.after.map_or(0, |after| after.segment_no));
    let rows = narrowed
        .bind(narrowed.planned(query))
        .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
        .bind_times::<Id, _>(3, account)
        .bind::<Id, _>(campaign.as_uuid())
        .columns::<ListedColumns>()
        .load::<Listed>(conn)?;
    Ok(rows)
}

/// A page of the messages of every run.
fn every_run(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    narrowed: &Narrowed,
    page: &PageRequest<MessageKey>,
) -> Result<Vec<Listed>, Failure> {
    let condition = narrowed.condition();
    // The rest of the run that the page before ended in, then the older runs: each half is one
    // range of the index, which a single comparison over both columns would not be.
    let from = format!(
        "FROM campaigns c LEFT JOIN LATERAL ( \
           (SELECT * FROM messages WHERE account_id = ? AND campaign_id = c.id \
              AND run_number = ? AND segment_no > ? {condition} ORDER BY segment_no LIMIT ?) \
           UNION ALL \
           (SELECT * FROM messages WHERE account_id = ? AND campaign_id = c.id \
              AND run_number < ? {condition} ORDER BY run_number DESC, segment_no LIMIT ?) \
           LIMIT ?) m ON true \
         LEFT JOIN LATERAL (SELECT number, archived_at FROM runs \
           WHERE account_id = ? AND campaign_id = c.id AND number = m.run_number \
           LIMIT 1) r ON true {PARTS}"
    );
    let text = PageQuery {
        columns: LISTED_COLUMNS,
        bytes: MESSAGE_BYTES,
        from: &from,
        order: "m.run_number DESC, m.segment_no",
        by: "message_run_number DESC, message_segment_no",
    }
    .text();
    let limit = i64::from(page.limit.get()) + 1;
    let (run, segment) = page.after.map_or((i64::MAX, 0), |after| {
        (i64::from(after.run_number.get()), after.segment_no)
    });
    let account = account.as_uuid();
    let query = sql(&text)
        .bind::<Id, _>(account)
        .bind::<BigInt, _>(run)
        .bind::<Integer, _>(segment);
    let query = narrowed
        .bind(narrowed.planned(query))
        .bind::<BigInt, _>(limit)
        .bind::<Id, _>(account)
        .bind::<BigInt, _>(run);
    let rows = narrowed
        .bind(query)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(limit)
        .bind_times::<Id, _>(4, account)
        .bind::<Id, _>(campaign.as_uuid())
        .columns::<ListedColumns>()
        .load::<Listed>(conn)?;
    Ok(rows)
}

#[derive(QueryableByName)]
struct DiffCountsRow {
    #[diesel(sql_type = BigInt)]
    added: i64,
    #[diesel(sql_type = BigInt)]
    removed: i64,
    #[diesel(sql_type = BigInt)]
    kept_same: i64,
    #[diesel(sql_type = BigInt)]
    kept_changed: i64,
}

fn diff_counts(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    from: RunNumber,
    to: RunNumber,
) -> Result<DiffCounts, Failure> {
    let row = sql("SELECT count(*) FILTER (WHERE f.id IS NULL) AS added, \
           count(*) FILTER (WHERE o.id IS NULL) AS removed, \
           count(*) FILTER (WHERE f.id IS NOT NULL AND o.id IS NOT NULL \
             AND f.content_id IS NOT DISTINCT FROM o.content_id) AS kept_same, \
           count(*) FILTER (WHERE f.id IS NOT NULL AND o.id IS NOT NULL \
             AND f.content_id IS DISTINCT FROM o.content_id) AS kept_changed \
         FROM (SELECT segment_no, id, content_id FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ?) f \
         FULL JOIN (SELECT segment_no, id, content_id FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ?) o USING (segment_no)")
    .planned_each_time()
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(from.get())
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(to.get())
    .get_result::<DiffCountsRow>(conn)?;
    let DiffCountsRow {
        added,
        removed,
        kept_same,
        kept_changed,
    } = row;
    Ok(DiffCounts {
        added,
        removed,
        kept_same,
        kept_changed,
    })
}

#[derive(QueryableByName)]
struct DiffRow {
    #[diesel(sql_type = Integer)]
    segment_no: i32,
    #[diesel(sql_type = diesel::sql_types::Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Text)]
    attributes: String,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
    #[diesel(sql_type = Nullable<Id>)]
    from_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Id>)]
    to_id: Option<Uuid>,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    same: bool,
}

impl TryFrom<DiffRow> for DiffItem {
    type Error = StoreError;

    fn try_from(row: DiffRow) -> Result<Self, StoreError> {
        Ok(Self::new(
            row.segment_no,
            Segment {
                key: row::segment_key(&row.key)?,
                attributes: Attributes::from_stored(row.attributes),
                customer_count: row.customer_count,
            },
            row.from_id.map(MessageId::new),
            row.to_id.map(MessageId::new),
            row.same,
        ))
    }
}

fn diff_items(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    from: RunNumber,
    to: RunNumber,
    page: &PageRequest<DiffKey>,
) -> Result<impl Iterator<Item = Result<DiffItem, StoreError>>, Failure> {
    // The first rows of the joined runs are among the first rows of each.
    let limit = i64::from(page.limit.get()) + 1;
    let after = page.after.map_or(0, |after| after.segment_no);
    let text = PageQuery {
        columns: "d.*, COALESCE(s.shared_key, s.key) AS key, \
           COALESCE(d.spelled, s.attributes) AS attributes",
        bytes: "octet_length(COALESCE(d.spelled, s.attributes))",
        from: "FROM (SELECT segment_no, \
           COALESCE(o.customer_count, f.customer_count) AS customer_count, f.id AS from_id, \
           o.id AS to_id, f.content_id IS NOT DISTINCT FROM o.content_id AS same, \
           COALESCE(o.attributes, f.attributes) AS spelled \
         FROM (SELECT segment_no, id, content_id, customer_count, attributes FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND segment_no > ? \
               ORDER BY segment_no LIMIT ?) f \
         FULL JOIN (SELECT segment_no, id, content_id, customer_count, attributes FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND segment_no > ? \
               ORDER BY segment_no LIMIT ?) o USING (segment_no) \
         ORDER BY segment_no LIMIT ?) d \
         JOIN LATERAL (SELECT key, shared_key, attributes FROM segments WHERE account_id = ? \
           AND campaign_id = ? AND no = d.segment_no LIMIT 1) s ON true",
        order: "d.segment_no",
        by: "segment_no",
    }
    .text();
    let rows = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<Integer, _>(from.get())
        .bind::<Integer, _>(after)
        .bind::<BigInt, _>(limit)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<Integer, _>(to.get())
        .bind::<Integer, _>(after)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(limit)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .load::<DiffRow>(conn)?;
    Ok(rows.into_iter().map(DiffItem::try_from))
}
