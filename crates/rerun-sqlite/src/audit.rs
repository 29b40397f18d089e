use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use rerun_core::audit::{AuditEntry, ChainHead, Unlogged};
use rerun_core::error::StoreError;
use rerun_core::feed::EventPage;
use rerun_core::ids::{AccountId, CampaignId};
use rerun_core::page::{AuditKey, Limit, Page, PageRequest, filling};
use rerun_core::ports::{AuditFilter, AuditStore, EventFilter, EventLog};
use rerun_diesel::audit_columns;
use rerun_diesel::error::Failure;
use rerun_diesel::events::{event_types, events_sql};
use rerun_diesel::row::audit::{
    AuditColumns, AuditRow, UnloggedColumns, UnloggedRow, unlogged_sql,
};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Uid};
use uuid::Uuid;

use crate::SqliteStore;
use crate::schema::campaigns;
use crate::write::chain_head;

const SELECT: &str = concat!("SELECT ", audit_columns!(), " FROM audit_entries a ");

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
}

fn has_campaign(
    conn: &mut SqliteConnection,
    account: AccountId,
    campaign: CampaignId,
) -> Result<bool, Failure> {
    let found = campaigns::table
        .find((Uid(account.as_uuid()), Uid(campaign.as_uuid())))
        .select(campaigns::id)
        .get_result::<Uuid>(conn);
    Ok(found.optional()?.is_some())
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        page: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError> {
        self.read(move |conn| {
            if let Some(campaign) = filter.campaign_id
                && !has_campaign(conn, account, campaign)?
            {
                return Ok(None);
            }
            let text = format!(
                "{SELECT} WHERE a.account_id = ? {} {} AND a.seq < ? ORDER BY a.seq DESC LIMIT ?",
                if filter.campaign_id.is_some() {
                    "AND a.campaign_id = ?"
                } else {
                    ""
                },
                if filter.action.is_some() {
                    "AND a.action = ?"
                } else {
                    ""
                },
            );
            let mut query = sql(&text).bind::<Id, _>(account.as_uuid());
            if let Some(campaign) = filter.campaign_id {
                query = query.bind::<Id, _>(campaign.as_uuid());
            }
            if let Some(action) = filter.action {
                query = query.bind::<Text, _>(action.as_str());
            }
            let entries = query
                .bind::<BigInt, _>(page.after.map_or(i64::MAX, |after| after.0))
                .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                .columns::<AuditColumns>()
                .load_iter::<AuditRow, DefaultLoadingMode>(conn)?
                .map(|row| Ok::<_, Failure>(AuditEntry::try_from(row?)?));
            Ok(Some(Page::read(entries, page.limit, |entry| {
                AuditKey(entry.seq)
            })?))
        })
        .await
    }

    async fn audit_chain(
        &self,
        account: AccountId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.readers
            .run(move |conn| {
                let text =
                    format!("{SELECT} WHERE a.account_id = ? AND a.seq > ? ORDER BY a.seq LIMIT ?");
                let rows = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<BigInt, _>(after)
                    .bind::<BigInt, _>(i64::from(limit))
                    .columns::<AuditColumns>()
                    .load_iter::<AuditRow, DefaultLoadingMode>(conn)?;
                filling(rows.map(|row| Ok::<_, Failure>(AuditEntry::try_from(row?)?)))
            })
            .await
    }

    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError> {
        self.readers
            .run(move |conn| chain_head(conn, account))
            .await
    }

    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        self.readers
            .run(|conn| {
                // One step in the index for each account, where DISTINCT would take one for each
                // entry.
                let rows = sql("WITH RECURSIVE writers (account_id) AS ( \
                       SELECT min(account_id) FROM audit_entries \
                       UNION ALL \
                       SELECT (SELECT min(a.account_id) FROM audit_entries AS a \
                               WHERE a.account_id > writers.account_id) \
                       FROM writers WHERE writers.account_id IS NOT NULL) \
                     SELECT account_id FROM audit_heads \
                     UNION \
                     SELECT account_id FROM writers WHERE account_id IS NOT NULL \
                     UNION SELECT account_id FROM customer_groups \
                     UNION SELECT account_id FROM campaigns \
                     UNION SELECT account_id FROM webhooks \
                     ORDER BY account_id")
                .load::<AccountRow>(conn)?;
                Ok(rows
                    .into_iter()
                    .map(|row| AccountId::new(row.account_id))
                    .collect())
            })
            .await
    }

    async fn first_unlogged(&self, account: AccountId) -> Result<Option<Unlogged>, StoreError> {
        // A list, which is sorted once, where a subquery for each row would read all entries.
        let created = |action: &str, field: &str, id: &str| {
            format!(
                "lower(hex({id})) NOT IN ( \
                   SELECT replace(json_extract(a.details, '$.{field}'), '-', '') \
                   FROM audit_entries a WHERE a.account_id = ? AND a.action = '{action}' \
                     AND json_extract(a.details, '$.{field}') IS NOT NULL)"
            )
        };
        let group_created = created("customer_group.created", "customer_group_id", "g.id");
        let webhook_created = created("webhook.created", "webhook_id", "w.id");
        let schedule_created = created("schedule.created", "schedule_id", "s.id");
        let changed = "g.updated_at NOT IN ( \
                         SELECT a.created_at FROM audit_entries a WHERE a.account_id = ? \
                           AND a.action LIKE 'customer%')";
        let text = unlogged_sql(&group_created, changed, &webhook_created, &schedule_created);
        self.readers
            .run(move |conn| {
                let mut query = sql(&text);
                for _ in 0..text.matches('?').count() {
                    query = query.bind::<Id, _>(account.as_uuid());
                }
                let found = query
                    .columns::<UnloggedColumns>()
                    .load::<UnloggedRow>(conn)?
                    .pop();
                Ok(found.map(Unlogged::try_from).transpose()?)
            })
            .await
    }
}

#[async_trait]
impl EventLog for SqliteStore {
    async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        after: i64,
        limit: Limit,
    ) -> Result<Option<EventPage<AuditEntry>>, StoreError> {
        let filter = filter.clone();
        self.read(move |conn| {
            if let Some(campaign) = filter.campaign_id
                && !has_campaign(conn, account, campaign)?
            {
                return Ok(None);
            }
            // Read before the entries, so that entries written in between are for the next page.
            let head = chain_head(conn, account)?.seq;
            let rows = i64::from(limit.get()) + 1;
            let text = events_sql(audit_columns!(), &filter);
            let types = event_types(&filter);
            let mut query = sql(&text);
            for action in &types {
                query = query.bind::<Id, _>(account.as_uuid());
                if let Some(campaign) = filter.campaign_id {
                    query = query.bind::<Id, _>(campaign.as_uuid());
                }
                if let Some(action) = action {
                    query = query.bind::<Text, _>(*action);
                }
                query = query
                    .bind::<BigInt, _>(after)
                    .bind::<BigInt, _>(head)
                    .bind::<BigInt, _>(rows);
            }
            if types.len() > 1 {
                query = query.bind::<BigInt, _>(rows);
            }
            let entries = query
                .columns::<AuditColumns>()
                .load_iter::<AuditRow, DefaultLoadingMode>(conn)?
                .map(|row| Ok::<_, Failure>(AuditEntry::try_from(row?)?));
            let page = Page::read(entries, limit, |entry| entry.seq)?;
            Ok(Some(EventPage::new(page, after, head)))
        })
        .await
    }

    async fn event_heads(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, i64)>, StoreError> {
        let ids: Vec<String> = accounts
            .iter()
            .map(|account| account.as_uuid().simple().to_string())
            .collect();
        let ids = serde_json::json!(ids).to_string();
        self.readers
            .run(move |conn| {
                let rows = sql("SELECT account_id, seq FROM audit_heads \
                                WHERE account_id IN (SELECT unhex(atom) FROM json_each(?))")
                .bind::<Text, _>(&*ids)
                .load::<AccountHead>(conn)?;
                let head = |row: AccountHead| (AccountId::new(row.account_id), row.seq);
                Ok(rows.into_iter().map(head).collect())
            })
            .await
    }
}

#[derive(QueryableByName)]
struct AccountHead {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = BigInt)]
    seq: i64,
}
