//! Who gets which message.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use rerun_core::message::{Content, Message};
use rerun_core::page::{MAX_PAGE_BYTES, Page, PageRequest};
use rerun_core::ports::{
    CustomerQuery, CustomerSelection, CustomerValues, Customers, HistoryStore, MessageOfRun,
    RecipientStore, RunAudience, RunMessage,
};
use rerun_core::segment::SegmentBy;
use rerun_diesel::row;
use rerun_diesel::sql::sql;
use rerun_diesel::types::Id;
use uuid::Uuid;

use crate::PgStore;
use crate::groups::IdRow;
use crate::page::PageQuery;

#[derive(QueryableByName)]
struct AudienceRow {
    #[diesel(sql_type = Id)]
    group_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    group_version: Option<i64>,
    #[diesel(sql_type = Bool)]
    changed: bool,
    #[diesel(sql_type = Nullable<Text>)]
    value_rules: Option<String>,
}

#[derive(QueryableByName)]
struct CustomerRow {
    #[diesel(sql_type = BigInt)]
    group_version: i64,
    #[diesel(sql_type = Nullable<Text>)]
    customer_ref: Option<String>,
    #[diesel(sql_type = Nullable<Array<Nullable<Text>>>)]
    values: Option<Vec<Option<String>>>,
    #[diesel(sql_type = Nullable<Bool>)]
    excluded: Option<bool>,
    #[diesel(sql_type = Nullable<Bool>)]
    fills: Option<bool>,
}

#[derive(QueryableByName)]
struct ContentRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    subject: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    body: Option<String>,
}

/// Customers of a group with the values of so many fields, in one statement with the
/// group's version: a row without a customer when there are none. A value that is too long never
/// leaves the database, nor do values after those that reach the bytes of a page: `fills` says
/// that a customer's values do.
fn customers_sql(fields: usize, excluding: bool, comparison: &str) -> String {
    const LONGEST: usize = SegmentBy::MAX_VALUE_LENGTH;
    let list = |item: fn(usize) -> String| {
        let items: Vec<String> = (1..=fields).map(item).collect();
        items.join(", ")
    };
    let columns = list(|place| format!("profile ->> ? AS v{place}"));
    let counted = list(|place| {
        format!(
            "CASE WHEN octet_length(v{place}) > {LONGEST} AND char_length(v{place}) > {LONGEST} \
             THEN '' ELSE v{place} END AS v{place}"
        )
    });
    let values = list(|place| format!("v{place}"));
    let bytes: Vec<String> = (1..=fields)
        .map(|place| format!("COALESCE(octet_length(v{place}), 0)"))
        .collect();
    let bytes = bytes.join(" + ");
    let excluded = if excluding {
        "EXISTS (SELECT FROM customers x WHERE x.account_id = ? AND x.group_id = ? \
           AND x.customer_ref = chosen.customer_ref)"
    } else {
        "false"
    };
    format!(
        "SELECT g.version AS group_version, c.customer_ref, c.values, c.excluded, \
           c.bytes_with >= {MAX_PAGE_BYTES} AS fills \
         FROM customer_groups g LEFT JOIN LATERAL ( \
           SELECT * FROM ( \
             SELECT customer_ref, ARRAY[{values}] AS values, {excluded} AS excluded, \
               {bytes} AS bytes, sum({bytes}) OVER (ORDER BY customer_ref ROWS UNBOUNDED PRECEDING) \
                 AS bytes_with FROM ( \
               SELECT customer_ref, {counted} FROM ( \
                 SELECT customer_ref, {columns} FROM customers \
                 WHERE account_id = ? AND group_id = ? AND customer_ref {comparison} ? \
                 ORDER BY customer_ref LIMIT ?) found) chosen) read \
           WHERE bytes_with - bytes < {MAX_PAGE_BYTES}) c ON true \
         WHERE g.account_id = ? AND g.id = ? AND g.deleted_at IS NULL ORDER BY c.customer_ref"
    )
}

#[async_trait]
impl RecipientStore for PgStore {
    async fn run_audience(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<RunAudience>, StoreError> {
        self.db
            .run(move |conn| {
                let row = sql("SELECT r.group_id, g.version AS group_version, \
                       COALESCE(g.version <> r.group_version, g.updated_at > r.started_at, true) \
                         AS changed, r.value_rules \
                     FROM runs r LEFT JOIN customer_groups g ON g.account_id = ? \
                       AND g.id = r.group_id AND g.deleted_at IS NULL \
                     WHERE r.account_id = ? AND r.campaign_id = ? AND r.number = ?")
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Integer, _>(run.get())
                .load::<AudienceRow>(conn)?
                .pop();
                let Some(row) = row else { return Ok(None) };
                Ok(Some(RunAudience {
                    group_id: CustomerGroupId::new(row.group_id),
                    group_version: row.group_version,
                    changed: row.changed,
                    segment_by: row
                        .value_rules
                        .as_deref()
                        .map(row::rules_of_run)
                        .transpose()?,
                }))
            })
            .await
    }

    async fn run_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        with_attributes: bool,
        page: PageRequest<i32>,
    ) -> Result<Page<RunMessage, i32>, StoreError> {
        self.db
            .run(move |conn| {
                let (attributes, bytes) = if with_attributes {
                    ("s.attributes", "octet_length(s.attributes)")
                } else {
                    ("NULL AS attributes", "0")
                };
                let text = PageQuery {
                    columns: &format!(
                        "m.segment_no AS no, COALESCE(s.shared_key, s.key) AS key, {attributes}, \
                         s.value_types, m.id"
                    ),
                    bytes,
                    from: "FROM (SELECT segment_no, id FROM messages \
                           WHERE account_id = ? AND campaign_id = ? AND run_number = ? \
                             AND segment_no > ? ORDER BY segment_no LIMIT ?) m \
                         JOIN segments s ON s.account_id = ? AND s.campaign_id = ? \
                           AND s.no = m.segment_no",
                    order: "m.segment_no",
                    by: "no",
                }
                .text();
                let rows = sql(&text)
                    .planned_each_time()
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Integer, _>(run.get())
                    .bind::<Integer, _>(page.after.unwrap_or(i32::MIN))
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .load::<row::RunMessageRow>(conn)?;
                let messages = rows.into_iter().map(RunMessage::try_from);
                Ok(Page::read(messages, page.limit, |message| {
                    message.segment_no
                })?)
            })
            .await
    }

    async fn customers(&self, query: CustomerQuery) -> Result<Customers, StoreError> {
        self.db
            .run(move |conn| {
                let (account, group) = (query.account_id.as_uuid(), query.group_id.as_uuid());
                let fields = query.segment_by.sorted();
                let (comparison, reference) = match query.which {
                    CustomerSelection::After(reference) => (">", reference.unwrap_or_default()),
                    CustomerSelection::Only(reference) => ("=", reference),
                };
                let text = customers_sql(fields.len(), query.excluded.is_some(), comparison);
                let mut statement = sql(&text).planned_each_time();
                if let Some(excluded) = query.excluded {
                    statement = statement
                        .bind::<Id, _>(account)
                        .bind::<Id, _>(excluded.as_uuid());
                }
                for field in &fields {
                    statement = statement.bind::<Text, _>(*field);
                }
                let rows = statement
                    .bind::<Id, _>(account)
                    .bind::<Id, _>(group)
                    .bind::<Text, _>(reference)
                    .bind::<BigInt, _>(i64::from(query.limit))
                    .bind::<Id, _>(account)
                    .bind::<Id, _>(group)
                    .load::<CustomerRow>(conn)?;
                let group_version = rows.first().map(|row| row.group_version);
                let is_full = u32::try_from(rows.len()).is_ok_and(|rows| rows >= query.limit)
                    || rows.last().and_then(|row| row.fills) == Some(true);
                let next = rows.last().and_then(|row| row.customer_ref.clone());
                let customers = rows
                    .into_iter()
                    .filter(|row| row.excluded == Some(false))
                    .filter_map(|row| {
                        Some(CustomerValues {
                            customer_ref: row.customer_ref?,
                            values: row.values?,
                        })
                    });
                Ok(Customers {
                    group_version,
                    customers: customers.collect(),
                    next: next.filter(|_| is_full),
                })
            })
            .await
    }

    async fn message_contents(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, Option<Content>)>, StoreError> {
        self.db
            .run(move |conn| {
                let text = PageQuery {
                    columns: "w.place, m.id, t.subject, t.body",
                    bytes: "COALESCE(octet_length(t.subject), 0) + COALESCE(octet_length(t.body), 0)",
                    from: "FROM unnest(?::uuid[]) WITH ORDINALITY AS w(id, place) \
                         JOIN messages m ON m.account_id = ? AND m.campaign_id = ? AND m.id = w.id \
                         LEFT JOIN contents t ON t.account_id = ? AND t.id = m.content_id",
                    order: "w.place",
                    by: "place",
                }
                .text();
                let ids: Vec<Uuid> = ids.into_iter().map(MessageId::as_uuid).collect();
                let rows = sql(&text)
                    .planned_each_time()
                    .bind::<Array<Id>, _>(ids)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Id, _>(account.as_uuid())
                    .load::<ContentRow>(conn)?;
                let contents = rows.into_iter().map(|row| {
                    let content = row.subject.zip(row.body);
                    let content = content.map(|(subject, body)| Content { subject, body });
                    (MessageId::new(row.id), content)
                });
                Ok(contents.collect())
            })
            .await
    }

    async fn message_of_run(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        which: MessageOfRun,
    ) -> Result<Option<Message>, StoreError> {
        let id = match which {
            MessageOfRun::Id(id) => Some(id),
            MessageOfRun::Segment(key) => {
                let found = self.db.run(move |conn| {
                    // The first segment from a place in the index by key. If the statement asked for
                    // equal values, the planner could read the whole campaign, see ADR 61.
                    let found = sql("SELECT m.id FROM ( \
                           SELECT campaign_id, no, key, shared_key FROM segments \
                           WHERE account_id = ? AND key IS NOT NULL \
                             AND (key, campaign_id) >= (?, ?) \
                           ORDER BY key, campaign_id LIMIT 1) s \
                         JOIN LATERAL (SELECT id FROM messages WHERE account_id = ? \
                           AND campaign_id = s.campaign_id AND run_number = ? \
                           AND segment_no = s.no LIMIT 1) m ON true \
                         WHERE s.key = ? AND s.campaign_id = ? AND s.shared_key IS NULL")
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Binary, _>(key.as_bytes().to_vec())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Integer, _>(run.get())
                    .bind::<Binary, _>(key.as_bytes().to_vec())
                    .bind::<Id, _>(campaign.as_uuid())
                    .get_result::<IdRow>(conn)
                    .optional()?;
                    Ok(found.map(|row| MessageId::new(row.id)))
                });
                found.await?
            }
        };
        let Some(id) = id else { return Ok(None) };
        let message = self.find_message(account, campaign, id).await?;
        Ok(message.filter(|message| message.run_number == run))
    }
}
