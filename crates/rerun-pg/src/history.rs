use async_trait::async_trait;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::campaign::Campaign;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::Message;
use rerun_core::page::{MessageKey, Page, PageRequest};
use rerun_core::ports::{
    Diff, DiffChange, DiffCounts, DiffItem, History, HistoryStore, MessageList, MessageSelection,
};
use rerun_core::run::Run;
use rerun_core::segment::{Attributes, Segment};
use rerun_diesel::error::Failure;
use rerun_diesel::row::{self, CampaignRow, MessageRow, RunRow};
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::Id;
use rerun_diesel::{campaign_columns, message_columns, run_columns};
use uuid::Uuid;

use crate::PgStore;
use crate::write::Value;

const JOINS: &str = " JOIN runs r ON r.account_id = m.account_id \
       AND r.campaign_id = m.campaign_id AND r.number = m.run_number \
     JOIN segments s ON s.account_id = m.account_id \
       AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
     LEFT JOIN contents t ON t.account_id = m.account_id AND t.id = m.content_id ";

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
                let rows = sql(concat!(
                    "SELECT ",
                    campaign_columns!(),
                    ", ",
                    run_columns!(),
                    " FROM campaigns c LEFT JOIN LATERAL ( \
                       SELECT * FROM runs WHERE runs.account_id = c.account_id \
                         AND runs.campaign_id = c.id AND runs.number < ? \
                       ORDER BY runs.number DESC LIMIT ?) r ON true \
                     WHERE c.account_id = ? AND c.id = ? ORDER BY r.number DESC"
                ))
                .bind::<BigInt, _>(page.after.map_or(i64::MAX, |after| i64::from(after.get())))
                .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .load::<(CampaignRow, Option<RunRow>)>(conn)?;
                let mut campaign = None;
                let mut runs = Vec::with_capacity(rows.len());
                for (row, run) in rows {
                    campaign.get_or_insert(row);
                    runs.extend(run.map(Run::try_from).transpose()?);
                }
                let Some(campaign) = campaign else {
                    return Ok(None);
                };
                Ok(Some(History {
                    campaign: campaign.try_into()?,
                    runs: Page::from_surplus(runs, page.limit, |run| run.number),
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
        self.db
            .run(move |conn| {
                let asked = match selection {
                    MessageSelection::Run(run) => Some(run),
                    MessageSelection::CurrentRun | MessageSelection::EveryRun => None,
                };
                let Some((row, run_exists)) = campaign_and_run(conn, account, campaign, asked)?
                else {
                    return Ok(None);
                };
                let found = Campaign::try_from(row)?;
                let run = match selection {
                    MessageSelection::Run(run) => Some(run),
                    // A later page goes on in the run that the first page showed.
                    MessageSelection::CurrentRun => page
                        .after
                        .map(|after| after.run_number)
                        .or(found.current_run),
                    MessageSelection::EveryRun => None,
                };
                let rows = match (selection, run) {
                    (MessageSelection::EveryRun, _) => every_run(conn, account, campaign, &page)?,
                    (_, Some(run)) if run_exists => one_run(conn, account, campaign, run, &page)?,
                    _ => Vec::new(),
                };
                let messages = rows
                    .into_iter()
                    .map(Message::try_from)
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Some(MessageList {
                    campaign: found,
                    run_exists,
                    messages: Page::from_surplus(messages, page.limit, |message| MessageKey {
                        run_number: message.run_number,
                        segment_no: message.segment_no,
                    }),
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
                let text = format!(
                    "SELECT {} FROM messages m {JOINS} \
                     WHERE m.account_id = ? AND m.campaign_id = ? AND m.id = ?",
                    message_columns!()
                );
                let row = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Id, _>(message.as_uuid())
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
        page: PageRequest<i32>,
    ) -> Result<Option<Diff>, StoreError> {
        self.db
            .run(move |conn| {
                let runs = sql("SELECT count(r.number) AS value FROM campaigns c \
                     LEFT JOIN runs r ON r.account_id = c.account_id AND r.campaign_id = c.id \
                       AND r.number IN (?, ?) \
                     WHERE c.account_id = ? AND c.id = ? GROUP BY c.id")
                .bind::<Integer, _>(from.get())
                .bind::<Integer, _>(to.get())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .load::<Value>(conn)?
                .pop();
                let Some(runs) = runs else { return Ok(None) };
                let runs_exist = runs.value == if from == to { 1 } else { 2 };
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
                let counts = diff_counts(conn, account, campaign, from, to)?;
                let items = diff_items(conn, account, campaign, from, to, &page)?;
                let items = Page::from_surplus(items, page.limit, |item| item.segment_no);
                Ok(Some(Diff {
                    runs_exist,
                    counts,
                    items,
                }))
            })
            .await
    }
}

#[derive(QueryableByName)]
struct RunExists {
    #[diesel(sql_type = Nullable<Integer>)]
    asked_run: Option<i32>,
}

/// The campaign, and whether it has the run that was asked for (true when none was).
fn campaign_and_run(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    asked: Option<RunNumber>,
) -> Result<Option<(CampaignRow, bool)>, Failure> {
    let found = sql(concat!(
        "SELECT ",
        campaign_columns!(),
        ", r.number AS asked_run FROM campaigns c LEFT JOIN runs r \
           ON r.account_id = c.account_id AND r.campaign_id = c.id AND r.number = ? \
         WHERE c.account_id = ? AND c.id = ?"
    ))
    .bind::<Nullable<Integer>, _>(asked.map(RunNumber::get))
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .load::<(CampaignRow, RunExists)>(conn)?
    .pop();
    Ok(found.map(|(campaign, run)| (campaign, asked.is_none() || run.asked_run.is_some())))
}

fn load(
    query: Sql<'_, diesel::pg::Pg>,
    conn: &mut PgConnection,
) -> Result<Vec<MessageRow>, Failure> {
    Ok(query.load::<MessageRow>(conn)?)
}

fn one_run(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    run: RunNumber,
    page: &PageRequest<MessageKey>,
) -> Result<Vec<MessageRow>, Failure> {
    let text = format!(
        "SELECT {} FROM (SELECT * FROM messages WHERE account_id = ? AND campaign_id = ? \
           AND run_number = ? AND segment_no > ? ORDER BY segment_no LIMIT ?) m {JOINS} \
         ORDER BY m.segment_no",
        message_columns!()
    );
    let query = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<Integer, _>(run.get())
        .bind::<Integer, _>(page.after.map_or(0, |after| after.segment_no))
        .bind::<BigInt, _>(i64::from(page.limit.get()) + 1);
    load(query, conn)
}

fn every_run(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    page: &PageRequest<MessageKey>,
) -> Result<Vec<MessageRow>, Failure> {
    // The rest of the run that the page before ended in, then the older runs: each half is one
    // range of the index, which a single comparison over both columns would not be.
    let text = format!(
        "SELECT {} FROM ( \
           (SELECT * FROM messages WHERE account_id = ? AND campaign_id = ? AND run_number = ? \
              AND segment_no > ? ORDER BY segment_no LIMIT ?) \
           UNION ALL \
           (SELECT * FROM messages WHERE account_id = ? AND campaign_id = ? AND run_number < ? \
            ORDER BY run_number DESC, segment_no LIMIT ?) \
           LIMIT ?) m {JOINS} \
         ORDER BY m.run_number DESC, m.segment_no",
        message_columns!()
    );
    let limit = i64::from(page.limit.get()) + 1;
    let (run, segment) = page.after.map_or((i64::MAX, 0), |after| {
        (i64::from(after.run_number.get()), after.segment_no)
    });
    let query = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<BigInt, _>(run)
        .bind::<Integer, _>(segment)
        .bind::<BigInt, _>(limit)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(campaign.as_uuid())
        .bind::<BigInt, _>(run)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(limit);
    load(query, conn)
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
    .planned_anew()
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
        let change = match (row.from_id, row.to_id) {
            (None, _) => DiffChange::Added,
            (Some(_), None) => DiffChange::Removed,
            (Some(_), Some(_)) if row.same => DiffChange::KeptSame,
            (Some(_), Some(_)) => DiffChange::KeptChanged,
        };
        Ok(Self {
            segment_no: row.segment_no,
            segment: Segment {
                key: row::segment_key(&row.key)?,
                attributes: Attributes::from_stored(row.attributes),
                customer_count: row.customer_count,
            },
            change,
            from: row.from_id.map(MessageId::new),
            to: row.to_id.map(MessageId::new),
        })
    }
}

fn diff_items(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
    from: RunNumber,
    to: RunNumber,
    page: &PageRequest<i32>,
) -> Result<Vec<DiffItem>, Failure> {
    // The first rows of the joined runs are among the first rows of each.
    let limit = i64::from(page.limit.get()) + 1;
    let after = page.after.unwrap_or(0);
    let rows = sql("SELECT segment_no, s.key, s.attributes, \
           COALESCE(o.customer_count, f.customer_count) AS customer_count, f.id AS from_id, \
           o.id AS to_id, f.content_id IS NOT DISTINCT FROM o.content_id AS same \
         FROM (SELECT segment_no, id, content_id, customer_count FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND segment_no > ? \
               ORDER BY segment_no LIMIT ?) f \
         FULL JOIN (SELECT segment_no, id, content_id, customer_count FROM messages \
               WHERE account_id = ? AND campaign_id = ? AND run_number = ? AND segment_no > ? \
               ORDER BY segment_no LIMIT ?) o USING (segment_no) \
         JOIN segments s ON s.account_id = ? AND s.campaign_id = ? AND s.no = segment_no \
         ORDER BY segment_no LIMIT ?")
    .planned_anew()
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
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<BigInt, _>(limit)
    .load::<DiffRow>(conn)?;
    Ok(rows
        .into_iter()
        .map(DiffItem::try_from)
        .collect::<Result<_, _>>()?)
}
