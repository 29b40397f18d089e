//! Who gets which message.

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use rerun_core::message::{Content, Message};
use rerun_core::page::{MAX_PAGE_BYTES, Page, PageRequest};
use rerun_core::ports::{
    CustomerQuery, CustomerSelection, CustomerValues, Customers, HistoryStore, MessageOfRun,
    RecipientStore, RunAudience, RunMessage,
};
use rerun_diesel::error::Failure;
use rerun_diesel::row;
use rerun_diesel::sql::sql;
use rerun_diesel::types::Id;
use uuid::Uuid;

use crate::SqliteStore;
use crate::counts::values_of;
use crate::groups::version;

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
    #[diesel(sql_type = Text)]
    customer_ref: String,
    #[diesel(sql_type = Text)]
    profile: String,
    #[diesel(sql_type = Bool)]
    excluded: bool,
}

#[derive(QueryableByName)]
struct ContentRow {
    #[diesel(sql_type = Nullable<Text>)]
    subject: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    body: Option<String>,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
}

#[async_trait]
impl RecipientStore for SqliteStore {
    async fn run_audience(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<RunAudience>, StoreError> {
        self.readers
            .run(move |conn| {
                let row = sql("SELECT r.group_id, g.version AS group_version, \
                       coalesce(g.version <> r.group_version, g.updated_at > r.started_at, 1) \
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
        self.readers
            .run(move |conn| {
                let attributes = if with_attributes {
                    "s.attributes"
                } else {
                    "NULL AS attributes"
                };
                let text = format!(
                    "SELECT m.segment_no AS no, COALESCE(s.shared_key, s.key) AS key, \
                       {attributes}, s.value_types, m.id \
                     FROM messages m \
                     JOIN segments s ON s.account_id = ? AND s.campaign_id = m.campaign_id \
                       AND s.no = m.segment_no \
                     WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ? \
                       AND m.segment_no > ? ORDER BY m.segment_no LIMIT ?"
                );
                let rows = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Integer, _>(run.get())
                    .bind::<Integer, _>(page.after.unwrap_or(i32::MIN))
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .load_iter::<row::RunMessageRow, DefaultLoadingMode>(conn)?;
                let messages = rows.map(|row| Ok::<_, Failure>(RunMessage::try_from(row?)?));
                Page::read(messages, page.limit, |message| message.segment_no)
            })
            .await
    }

    async fn customers(&self, query: CustomerQuery) -> Result<Customers, StoreError> {
        self.read(move |conn| {
            let (account, group) = (query.account_id.as_uuid(), query.group_id.as_uuid());
            let group_version = version(conn, query.account_id, query.group_id)?;
            let excluded = if query.excluded.is_some() {
                "EXISTS (SELECT 1 FROM current_customers x WHERE x.account_id = ? \
                   AND x.group_id = ? AND x.customer_ref = c.customer_ref)"
            } else {
                "0"
            };
            let (comparison, reference) = match query.which {
                CustomerSelection::After(reference) => (">", reference.unwrap_or_default()),
                CustomerSelection::Only(reference) => ("=", reference),
            };
            let text = format!(
                "SELECT c.customer_ref, c.profile, {excluded} AS excluded \
                 FROM current_customers c WHERE c.account_id = ? AND c.group_id = ? \
                   AND c.customer_ref {comparison} ? ORDER BY c.customer_ref LIMIT ?"
            );
            let mut statement = sql(&text);
            if let Some(excluded) = query.excluded {
                statement = statement
                    .bind::<Id, _>(account)
                    .bind::<Id, _>(excluded.as_uuid());
            }
            // One profile at a time: they may be large.
            let rows = statement
                .bind::<Id, _>(account)
                .bind::<Id, _>(group)
                .bind::<Text, _>(reference)
                .bind::<BigInt, _>(i64::from(query.limit))
                .load_iter::<CustomerRow, DefaultLoadingMode>(conn)?;
            let names = query.segment_by.sorted();
            let mut customers = Vec::new();
            let (mut seen, mut bytes, mut next) = (0, 0, None);
            for row in rows {
                let row = row?;
                seen += 1;
                if seen == query.limit {
                    next = Some(row.customer_ref.clone());
                }
                if row.excluded {
                    continue;
                }
                let customer = CustomerValues {
                    values: values_of(&names, &row.profile)?,
                    customer_ref: row.customer_ref,
                };
                bytes += customer.bytes();
                if bytes >= MAX_PAGE_BYTES {
                    next = Some(customer.customer_ref.clone());
                    customers.push(customer);
                    break;
                }
                customers.push(customer);
            }
            Ok(Customers {
                group_version,
                customers,
                next,
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
        self.read(move |conn| {
            let mut contents = Vec::new();
            let mut bytes = 0;
            for id in ids {
                let row = sql("SELECT t.subject, t.body FROM messages m \
                     LEFT JOIN contents t ON t.account_id = ? AND t.id = m.content_id \
                     WHERE m.account_id = ? AND m.campaign_id = ? AND m.id = ?")
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Id, _>(id.as_uuid())
                .load::<ContentRow>(conn)?
                .pop();
                let Some(ContentRow { subject, body }) = row else {
                    continue;
                };
                let content = subject.zip(body);
                let content = content.map(|(subject, body)| Content { subject, body });
                bytes += content
                    .as_ref()
                    .map_or(0, |text| text.subject.len() + text.body.len());
                contents.push((id, content));
                if bytes >= MAX_PAGE_BYTES {
                    break;
                }
            }
            Ok(contents)
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
                let found = self.readers.run(move |conn| {
                    let found = sql("SELECT id FROM messages \
                         WHERE account_id = ? AND campaign_id = ? AND run_number = ? \
                           AND segment_no = (SELECT no FROM segments WHERE account_id = ? \
                             AND campaign_id = ? AND key = ? AND shared_key IS NULL)")
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Integer, _>(run.get())
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Binary, _>(key.as_bytes().to_vec())
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
