use async_trait::async_trait;
use diesel::pg::Pg;
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
    AuditColumns, AuditRow, UnloggedColumns, UnloggedRow, chain_hash, unlogged_sql,
};
use rerun_diesel::sql::sql;
use rerun_diesel::types::Id;
use uuid::Uuid;

use crate::PgStore;
use crate::page::PageQuery;
use crate::schema::{audit_heads, campaigns};

/// The bytes of an entry's texts.
const BYTES: &str = "octet_length(a.action) + COALESCE(octet_length(a.user_name), 0) \
    + COALESCE(octet_length(a.role_code), 0) + COALESCE(octet_length(a.request_id), 0) \
    + octet_length(a.details)";

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_heads, check_for_backend(Pg))]
struct HeadRow {
    seq: i64,
    hash: Vec<u8>,
}

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
}

fn has_campaign(
    conn: &mut PgConnection,
    account: AccountId,
    campaign: CampaignId,
) -> Result<bool, Failure> {
    let found = campaigns::table
        .find((account.as_uuid(), campaign.as_uuid()))
        .select(campaigns::id)
        .get_result::<Uuid>(conn);
    Ok(found.optional()?.is_some())
}

#[async_trait]
impl AuditStore for PgStore {
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        page: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError> {
        self.db
            .run(move |conn| {
                if let Some(campaign) = filter.campaign_id
                    && !has_campaign(conn, account, campaign)?
                {
                    return Ok(None);
                }
                let from = format!(
                    "FROM (SELECT * FROM audit_entries a WHERE a.account_id = ? {} {} \
                     AND a.seq < ? ORDER BY a.seq DESC LIMIT ?) a",
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
                let text = PageQuery {
                    columns: audit_columns!(),
                    bytes: BYTES,
                    from: &from,
                    order: "a.seq DESC",
                    by: "audit_seq DESC",
                }
                .text();
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
                    .load::<AuditRow>(conn)?
                    .into_iter()
                    .map(AuditEntry::try_from);
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
        self.db
            .run(move |conn| {
                let text = PageQuery {
                    columns: audit_columns!(),
                    bytes: BYTES,
                    from: "FROM (SELECT * FROM audit_entries a WHERE a.account_id = ? \
                           AND a.seq > ? ORDER BY a.seq LIMIT ?) a",
                    order: "a.seq",
                    by: "audit_seq",
                }
                .text();
                let rows = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<BigInt, _>(after)
                    .bind::<BigInt, _>(i64::from(limit))
                    .columns::<AuditColumns>()
                    .load::<AuditRow>(conn)?;
                Ok(filling(rows.into_iter().map(AuditEntry::try_from))?)
            })
            .await
    }

    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError> {
        self.db
            .run(move |conn| {
                let head = audit_heads::table
                    .find(account.as_uuid())
                    .select(HeadRow::as_select())
                    .get_result(conn);
                match head.optional()? {
                    Some(head) => Ok(ChainHead {
                        seq: head.seq,
                        hash: chain_hash(&head.hash)?,
                    }),
                    None => Ok(ChainHead::EMPTY),
                }
            })
            .await
    }

    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        self.db
            .run(move |conn| {
                let rows = sql("SELECT account_id FROM audit_heads \
                                UNION SELECT account_id FROM audit_entries \
                                UNION SELECT account_id FROM customer_groups \
                                UNION SELECT account_id FROM campaigns \
                                UNION SELECT account_id FROM webhooks ORDER BY account_id")
                .load::<AccountRow>(conn)?;
                Ok(rows
                    .into_iter()
                    .map(|row| AccountId::new(row.account_id))
                    .collect())
            })
            .await
    }

    async fn first_unlogged(&self, account: AccountId) -> Result<Option<Unlogged>, StoreError> {
        // Set differences: with old statistics, a subquery for each row is compared with every entry.
        let created = |action: &str, field: &str, row: &str, table: &str| {
            format!(
                "{row}.id::text IN (SELECT n.id::text FROM {table} n WHERE n.account_id = ? \
                   EXCEPT SELECT a.details::jsonb ->> '{field}' FROM audit_entries a \
                   WHERE a.account_id = ? AND a.action = '{action}')"
            )
        };
        let group_created = created(
            "customer_group.created",
            "customer_group_id",
            "g",
            "customer_groups",
        );
        let webhook_created = created("webhook.created", "webhook_id", "w", "webhooks");
        let schedule_created = created("schedule.created", "schedule_id", "s", "schedules");
        let changed = "g.updated_at IN (SELECT n.updated_at FROM customer_groups n WHERE n.account_id = ? \
                         EXCEPT SELECT a.created_at FROM audit_entries a \
                         WHERE a.account_id = ? AND a.action LIKE 'customer%')";
        let text = unlogged_sql(&group_created, changed, &webhook_created, &schedule_created);
        self.db
            .run(move |conn| {
                let found = sql(&text)
                    .bind_times::<Id, _>(text.matches('?').count(), account.as_uuid())
                    .columns::<UnloggedColumns>()
                    .load::<UnloggedRow>(conn)?
                    .pop();
                Ok(found.map(Unlogged::try_from).transpose()?)
            })
            .await
    }
}

#[async_trait]
impl EventLog for PgStore {
    async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        after: i64,
        limit: Limit,
    ) -> Result<Option<EventPage<AuditEntry>>, StoreError> {
        let filter = filter.clone();
        self.db
            .run(move |conn| {
                if let Some(campaign) = filter.campaign_id
                    && !has_campaign(conn, account, campaign)?
                {
                    return Ok(None);
                }
                // Read before the entries, so that entries written in between are for the next page.
                let head = audit_heads::table
                    .find(account.as_uuid())
                    .select(audit_heads::seq)
                    .get_result(conn);
                let head = head.optional()?.unwrap_or(0);
                let rows = i64::from(limit.get()) + 1;
                let from = format!("FROM ({}) a", events_sql("*", &filter));
                let text = PageQuery {
                    columns: audit_columns!(),
                    bytes: BYTES,
                    from: &from,
                    order: "a.seq",
                    by: "audit_seq",
                }
                .text();
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
                    .load::<AuditRow>(conn)?
                    .into_iter()
                    .map(AuditEntry::try_from);
                let page = Page::read(entries, limit, |entry| entry.seq)?;
                Ok(Some(EventPage::new(page, after, head)))
            })
            .await
    }

    async fn event_heads(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, i64)>, StoreError> {
        let ids: Vec<Uuid> = accounts.iter().map(|account| account.as_uuid()).collect();
        self.db
            .run(move |conn| {
                let heads = audit_heads::table
                    .filter(audit_heads::account_id.eq_any(ids))
                    .select((audit_heads::account_id, audit_heads::seq))
                    .load::<(Uuid, i64)>(conn)?;
                let heads = heads.into_iter();
                Ok(heads.map(|(id, seq)| (AccountId::new(id), seq)).collect())
            })
            .await
    }
}
