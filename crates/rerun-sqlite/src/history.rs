use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, SmallInt, Text};
use diesel::sqlite::Sqlite;
use rerun_core::diff::{DiffCounts, DiffItem, DiffKey};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::{Message, ReviewStatus};
use rerun_core::page::{Filling, MessageKey, Page, PageRequest};
use rerun_core::ports::{
    Diff, History, HistoryStore, MessageFilter, MessageList, MessageSelection,
};
use rerun_core::run::Run;
use rerun_core::segment::{Attributes, Segment, ValueSearch};
use rerun_diesel::error::Failure;
use rerun_diesel::row::{self, MessageColumns, MessageRow, RunColumns, RunRow, segment_key};
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::{Id, Uid};
use rerun_diesel::{message_columns, run_columns};
use uuid::Uuid;

use crate::SqliteStore;
use crate::campaigns::find;
use crate::schema::segments;
use crate::write::Value;

/// Where a message's parts are. CROSS JOIN keeps the messages in front, which lists read in the
/// order of their index.
macro_rules! message_tables {
    ($index:literal) => {
        concat!(
            " FROM messages m ",
            $index,
            " CROSS JOIN runs r ON r.account_id = m.account_id AND r.campaign_id = m.campaign_id \
            AND r.number = m.run_number \
          CROSS JOIN segments s ON s.account_id = m.account_id \
            AND s.campaign_id = m.campaign_id AND s.no = m.segment_no \
          LEFT JOIN contents t ON t.account_id = m.account_id AND t.id = m.content_id "
        )
    };
}

/// Messages of one campaign, as lists read them.
struct Messages {
    account: AccountId,
    campaign: CampaignId,
}

impl Messages {
    /// Fills the page with messages of a run, after a segment.
    fn of_run(
        &self,
        conn: &mut SqliteConnection,
        run: RunNumber,
        after: i32,
        page: &mut Filling<Message>,
    ) -> Result<(), Failure> {
        let rows = sql(concat!(
            "SELECT ",
            message_columns!(),
            message_tables!("INDEXED BY messages_one_per_segment"),
            "WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ? \
               AND m.segment_no > ? ORDER BY m.segment_no LIMIT ?"
        ))
        .bind::<Id, _>(self.account.as_uuid())
        .bind::<Id, _>(self.campaign.as_uuid())
        .bind::<Integer, _>(run.get())
        .bind::<Integer, _>(after)
        .bind::<BigInt, _>(i64::try_from(page.missing()).unwrap_or(i64::MAX))
        .columns::<MessageColumns>()
        .load_iter::<MessageRow, DefaultLoadingMode>(conn)?;
        page.take(rows.map(|row| Ok::<_, Failure>(Message::try_from(row?)?)))
    }

    /// Fills the page with messages of the runs before one, newest run first.
    fn before_run(
        &self,
        conn: &mut SqliteConnection,
        run: i64,
        page: &mut Filling<Message>,
    ) -> Result<(), Failure> {
        let rows = sql(concat!(
            "SELECT ",
            message_columns!(),
            message_tables!("INDEXED BY messages_one_per_segment"),
            "WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number < ? \
             ORDER BY m.run_number DESC, m.segment_no LIMIT ?"
        ))
        .bind::<Id, _>(self.account.as_uuid())
        .bind::<Id, _>(self.campaign.as_uuid())
        .bind::<BigInt, _>(run)
        .bind::<BigInt, _>(i64::try_from(page.missing()).unwrap_or(i64::MAX))
        .columns::<MessageColumns>()
        .load_iter::<MessageRow, DefaultLoadingMode>(conn)?;
        page.take(rows.map(|row| Ok::<_, Failure>(Message::try_from(row?)?)))
    }

    /// Fills the page with messages of every run, newest run first.
    fn of_every_run(
        &self,
        conn: &mut SqliteConnection,
        after: Option<MessageKey>,
        page: &mut Filling<Message>,
    ) -> Result<(), Failure> {
        let Some(after) = after else {
            return self.before_run(conn, i64::MAX, page);
        };
        self.of_run(conn, after.run_number, after.segment_no, page)?;
        if page.missing() > 0 {
            self.before_run(conn, after.run_number.get().into(), page)?;
        }
        Ok(())
    }

    /// Fills the page with those messages of a run, after a segment, or of the runs before one, that
    /// a filter takes.
    fn narrowed(
        &self,
        conn: &mut SqliteConnection,
        narrowed: &Narrowed,
        place: Place,
        page: &mut Filling<Message>,
    ) -> Result<(), Failure> {
        let (run, after, at, order) = match place {
            Place::Of { run, after } => (
                i64::from(run.get()),
                after,
                "m.run_number = ? AND m.segment_no > ?",
                "m.segment_no",
            ),
            // Segments are numbered from 1.
            Place::Before(run) => (
                run,
                0,
                "m.run_number < ? AND m.segment_no > ?",
                "m.run_number DESC, m.segment_no",
            ),
        };
        let statement = format!(
            concat!(
                "SELECT ",
                message_columns!(),
                message_tables!("INDEXED BY {index}"),
                "WHERE m.account_id = ? AND m.campaign_id = ? AND {at} {condition} \
                 ORDER BY {order} LIMIT ?"
            ),
            index = narrowed.index(),
            at = at,
            condition = narrowed.condition(),
            order = order
        );
        let query = sql(&statement)
            .bind::<Id, _>(self.account.as_uuid())
            .bind::<Id, _>(self.campaign.as_uuid())
            .bind::<BigInt, _>(run)
            .bind::<Integer, _>(after);
        let rows = narrowed
            .bind(query)
            .bind::<BigInt, _>(i64::try_from(page.missing()).unwrap_or(i64::MAX))
            .columns::<MessageColumns>()
            .load_iter::<MessageRow, DefaultLoadingMode>(conn)?;
        page.take(rows.map(|row| Ok::<_, Failure>(Message::try_from(row?)?)))
    }

    /// Fills the page with those messages of a selection that a filter takes.
    fn select_narrowed(
        &self,
        conn: &mut SqliteConnection,
        filter: MessageFilter,
        run: Option<RunNumber>,
        after: Option<MessageKey>,
        page: &mut Filling<Message>,
    ) -> Result<(), Failure> {
        let narrowed = &Narrowed::new(conn, self, filter)?;
        let segment = after.map_or(0, |after| after.segment_no);
        if let Some(run) = run {
            let place = Place::Of {
                run,
                after: segment,
            };
            return self.narrowed(conn, narrowed, place, page);
        }
        let Some(after) = after else {
            return self.narrowed(conn, narrowed, Place::Before(i64::MAX), page);
        };
        let rest = Place::Of {
            run: after.run_number,
            after: segment,
        };
        self.narrowed(conn, narrowed, rest, page)?;
        if page.missing() > 0 {
            let before = Place::Before(after.run_number.get().into());
            self.narrowed(conn, narrowed, before, page)?;
        }
        Ok(())
    }
}

/// A part of a list of messages.
#[derive(Clone, Copy)]
enum Place {
    /// A run, after a segment.
    Of { run: RunNumber, after: i32 },
    /// The runs before one.
    Before(i64),
}

/// How many segments a search reads at once.
const SEARCHED: i64 = 10_000;

/// The condition of a filter on rows `m` of `messages`.
struct Narrowed {
    filter: MessageFilter,
    /// The segments that a search found, as a JSON array.
    segments: Option<String>,
}

impl Narrowed {
    fn new(
        conn: &mut SqliteConnection,
        list: &Messages,
        filter: MessageFilter,
    ) -> Result<Self, Failure> {
        let segments = match &filter.segment {
            Some(search) => Some(serde_json::json!(found(conn, list, search)?).to_string()),
            None => None,
        };
        Ok(Self { filter, segments })
    }

    /// The index that leaves the fewest rows to look through. Most messages of a run are `Approved`
    /// or `Published`.
    fn index(&self) -> &'static str {
        let MessageFilter {
            status,
            stage,
            source,
            ..
        } = &self.filter;
        let most = [ReviewStatus::Approved, ReviewStatus::Published];
        match (stage, status, source) {
            (Some(_), _, _) => "messages_by_stage",
            (None, Some(status), Some(_)) if most.contains(status) => "messages_by_source",
            (None, Some(_), _) => "messages_by_status",
            (None, None, Some(_)) => "messages_by_source",
            (None, None, None) => "messages_one_per_segment",
        }
    }

    /// Each part has one value, which [`Narrowed::bind`] gives it.
    fn condition(&self) -> String {
        let parts = [
            (self.filter.status.is_some(), " AND m.review_status = ?"),
            (self.filter.stage.is_some(), " AND m.approval_stage = ?"),
            (self.filter.source.is_some(), " AND m.source = ?"),
            (
                self.segments.is_some(),
                " AND m.segment_no IN (SELECT value FROM json_each(?))",
            ),
        ];
        let parts = parts.into_iter().filter(|(given, _)| *given);
        parts.map(|(_, part)| part).collect()
    }

    fn bind<'a>(&'a self, mut query: Sql<'a, Sqlite>) -> Sql<'a, Sqlite> {
        if let Some(status) = self.filter.status {
            query = query.bind::<Text, _>(status.as_str());
        }
        if let Some(stage) = self.filter.stage {
            query = query.bind::<SmallInt, _>(i16::from(stage));
        }
        if let Some(source) = self.filter.source {
            query = query.bind::<Text, _>(source.as_str());
        }
        if let Some(segments) = &self.segments {
            query = query.bind::<Text, _>(segments.as_str());
        }
        query
    }
}

/// The campaign's segments that a search finds.
fn found(
    conn: &mut SqliteConnection,
    list: &Messages,
    search: &ValueSearch,
) -> Result<Vec<i32>, Failure> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let rows = segments::table
            .filter(segments::account_id.eq(Uid(list.account.as_uuid())))
            .filter(segments::campaign_id.eq(Uid(list.campaign.as_uuid())))
            .filter(segments::no.gt(after))
            .order(segments::no)
            .limit(SEARCHED)
            .select((segments::no, segments::attributes))
            .load::<(i32, String)>(conn)?;
        let Some((no, _)) = rows.last() else {
            return Ok(found);
        };
        after = *no;
        row::search(rows, search, &mut found)?;
    }
}

fn run_exists(
    conn: &mut SqliteConnection,
    account: AccountId,
    campaign: CampaignId,
    run: RunNumber,
) -> Result<bool, Failure> {
    let found = sql("SELECT 1 AS value FROM runs \
                     WHERE account_id = ? AND campaign_id = ? AND number = ?")
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(run.get())
    .load::<Value>(conn)?;
    Ok(!found.is_empty())
}

#[derive(QueryableByName)]
struct DiffCountRow {
    #[diesel(sql_type = BigInt)]
    kept: i64,
    #[diesel(sql_type = BigInt)]
    same: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    earlier: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    later: Option<i64>,
}

#[derive(QueryableByName)]
struct DiffRow {
    #[diesel(sql_type = Integer)]
    segment_no: i32,
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = Text)]
    attributes: String,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
    #[diesel(sql_type = Nullable<Id>)]
    from_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Id>)]
    to_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    same: i64,
}

impl TryFrom<DiffRow> for DiffItem {
    type Error = StoreError;

    fn try_from(row: DiffRow) -> Result<Self, StoreError> {
        Ok(Self::new(
            row.segment_no,
            Segment {
                key: segment_key(&row.key)?,
                attributes: Attributes::from_stored(row.attributes),
                customer_count: row.customer_count,
            },
            row.from_id.map(MessageId::new),
            row.to_id.map(MessageId::new),
            row.same == 1,
        ))
    }
}

/// Two runs of a campaign.
struct Compared {
    account: AccountId,
    campaign: CampaignId,
    from: RunNumber,
    to: RunNumber,
}

impl Compared {
    /// The numbers of the whole comparison; `None` when one of the runs is not there.
    fn counts(&self, conn: &mut SqliteConnection) -> Result<Option<DiffCounts>, Failure> {
        let total = "(SELECT segments_total FROM runs \
                      WHERE account_id = ? AND campaign_id = ? AND number = ?)";
        let text = format!(
            "SELECT count(*) AS kept, ifnull(sum(a.content_id IS b.content_id), 0) AS same, \
               {total} AS earlier, {total} AS later \
             FROM messages a INDEXED BY messages_one_per_segment \
             CROSS JOIN messages b INDEXED BY messages_one_per_segment ON b.account_id = a.account_id \
               AND b.campaign_id = a.campaign_id AND b.run_number = ? \
               AND b.segment_no = a.segment_no \
             WHERE a.account_id = ? AND a.campaign_id = ? AND a.run_number = ?"
        );
        let mut query = sql(&text);
        for run in [self.from, self.to] {
            query = query
                .bind::<Id, _>(self.account.as_uuid())
                .bind::<Id, _>(self.campaign.as_uuid())
                .bind::<Integer, _>(run.get());
        }
        let row = query
            .bind::<Integer, _>(self.to.get())
            .bind::<Id, _>(self.account.as_uuid())
            .bind::<Id, _>(self.campaign.as_uuid())
            .bind::<Integer, _>(self.from.get())
            .get_result::<DiffCountRow>(conn)?;
        let (Some(earlier), Some(later)) = (row.earlier, row.later) else {
            return Ok(None);
        };
        Ok(Some(DiffCounts {
            added: later - row.kept,
            removed: earlier - row.kept,
            kept_same: row.same,
            kept_changed: row.kept - row.same,
        }))
    }

    fn items(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<DiffKey>,
        counts: DiffCounts,
    ) -> Result<Page<DiffItem, DiffKey>, Failure> {
        let after = page.after.map_or(0, |after| after.segment_no);
        // The page's segments come from the two runs' indexes, merged; the rest is looked up.
        let of_run = "SELECT segment_no AS no FROM messages INDEXED BY messages_one_per_segment \
                      WHERE account_id = ? \
                      AND campaign_id = ? AND run_number = ? AND segment_no > ?";
        let text = format!(
            "SELECT s.no AS segment_no, COALESCE(s.shared_key, s.key) AS key, \
               COALESCE(b.attributes, a.attributes, s.attributes) AS attributes, \
               coalesce(b.customer_count, a.customer_count) AS customer_count, \
               a.id AS from_id, b.id AS to_id, a.content_id IS b.content_id AS same \
             FROM ({of_run} UNION {of_run} ORDER BY no LIMIT ?) AS page \
             CROSS JOIN segments s ON s.account_id = ? AND s.campaign_id = ? AND s.no = page.no \
             LEFT JOIN messages a INDEXED BY messages_one_per_segment ON a.account_id = s.account_id \
               AND a.campaign_id = s.campaign_id AND a.run_number = ? AND a.segment_no = s.no \
             LEFT JOIN messages b INDEXED BY messages_one_per_segment ON b.account_id = s.account_id \
               AND b.campaign_id = s.campaign_id AND b.run_number = ? AND b.segment_no = s.no \
             ORDER BY page.no"
        );
        let mut query = sql(&text);
        for run in [self.from, self.to] {
            query = query
                .bind::<Id, _>(self.account.as_uuid())
                .bind::<Id, _>(self.campaign.as_uuid())
                .bind::<Integer, _>(run.get())
                .bind::<Integer, _>(after);
        }
        let rows = query
            .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
            .bind::<Id, _>(self.account.as_uuid())
            .bind::<Id, _>(self.campaign.as_uuid())
            .bind::<Integer, _>(self.from.get())
            .bind::<Integer, _>(self.to.get())
            .load_iter::<DiffRow, DefaultLoadingMode>(conn)?;
        let items = rows.map(|row| Ok::<_, Failure>(DiffItem::try_from(row?)?));
        Page::read(items, page.limit, |item| item.key(counts))
    }
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        page: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError> {
        self.read(move |conn| {
            let Some(found) = find(conn, account, campaign)? else {
                return Ok(None);
            };
            let runs = sql(concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs r WHERE r.account_id = ? AND r.campaign_id = ? AND r.number < ? \
                 ORDER BY r.number DESC LIMIT ?"
            ))
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(campaign.as_uuid())
            .bind::<BigInt, _>(page.after.map_or(i64::MAX, |after| after.get().into()))
            .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
            .columns::<RunColumns>()
            .load_iter::<RunRow, DefaultLoadingMode>(conn)?
            .map(|row| Ok::<_, Failure>(Run::try_from(row?)?));
            Ok(Some(History {
                status: found.status,
                current_run: found.current_run,
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
        self.read(move |conn| {
            let Some(found) = find(conn, account, campaign)? else {
                return Ok(None);
            };
            let list = Messages { account, campaign };
            let mut messages = Filling::new(page.limit);
            let segment = page.after.map_or(0, |after| after.segment_no);
            let mut exists = true;
            let every = filter == MessageFilter::default();
            match selection {
                _ if !every => {
                    let run = match selection {
                        MessageSelection::EveryRun => None,
                        MessageSelection::Run(run) => Some(run),
                        // As below.
                        MessageSelection::CurrentRun => page
                            .after
                            .map(|after| after.run_number)
                            .or(found.current_run),
                    };
                    if run.is_some() || selection == MessageSelection::EveryRun {
                        list.select_narrowed(conn, filter, run, page.after, &mut messages)?;
                    }
                    if let MessageSelection::Run(run) = selection {
                        exists = !messages.is_empty() || run_exists(conn, account, campaign, run)?;
                    }
                }
                MessageSelection::EveryRun => {
                    list.of_every_run(conn, page.after, &mut messages)?;
                }
                MessageSelection::Run(run) => {
                    list.of_run(conn, run, segment, &mut messages)?;
                    exists = !messages.is_empty() || run_exists(conn, account, campaign, run)?;
                }
                MessageSelection::CurrentRun => {
                    // A list goes on with the run that it began with, whatever is current now.
                    let begun = page.after.map(|after| after.run_number);
                    if let Some(run) = begun.or(found.current_run) {
                        list.of_run(conn, run, segment, &mut messages)?;
                    }
                }
            }
            Ok(Some(MessageList {
                current_run: found.current_run,
                approval_stages: found.into_parts().approval_stages,
                run_exists: exists,
                messages: messages.page(|message| MessageKey {
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
        self.readers
            .run(move |conn| {
                let row = sql(concat!(
                    "SELECT ",
                    message_columns!(),
                    message_tables!(""),
                    "WHERE m.account_id = ? AND m.id = ? AND m.campaign_id = ?"
                ))
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(message.as_uuid())
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
        self.read(move |conn| {
            if find(conn, account, campaign)?.is_none() {
                return Ok(None);
            }
            let runs = Compared {
                account,
                campaign,
                from,
                to,
            };
            let counts = match page.after {
                Some(after) => Some(after.counts),
                None => runs.counts(conn)?,
            };
            let Some(counts) = counts else {
                return Ok(Some(Diff {
                    runs_exist: false,
                    counts: DiffCounts::default(),
                    items: Page {
                        items: Vec::new(),
                        next: None,
                    },
                }));
            };
            let items = runs.items(conn, &page, counts)?;
            Ok(Some(Diff {
                runs_exist: true,
                counts,
                items,
            }))
        })
        .await
    }
}
