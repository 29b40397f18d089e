use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::audit::AuditDraft;
use rerun_core::campaign::{Campaign, CampaignStatus};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{AccountId, CampaignId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CampaignContext, CampaignStore, IdempotentResponse, ImportFailure, ImportedMessage,
    ImportedMessages, WantedGroup,
};
use rerun_core::run::{MessageCounts, Run, SegmentCounts};
use rerun_diesel::error::Failure;
use rerun_diesel::row::{CampaignColumns, CampaignRow, GroupColumns, GroupRow, RunColumns, RunRow};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::{campaign_columns, group_columns, run_columns};

use crate::SqliteStore;
use crate::write::{Value, append_audit, insert_campaign, insert_run, int, keep_response, rows};

/// Where the messages of a campaign that is brought in wait until all of them have been read.
pub(crate) const STAGING: &str = "CREATE TEMP TABLE staged_messages (\
       no INTEGER PRIMARY KEY, id BLOB NOT NULL, key BLOB NOT NULL UNIQUE, \
       attributes TEXT NOT NULL, customer_count INTEGER NOT NULL, subject TEXT NOT NULL, \
       body TEXT NOT NULL, placeholder TEXT) STRICT;";

fn stage(conn: &mut SqliteConnection, messages: ImportedMessages) -> Result<(), Failure> {
    sql("DELETE FROM temp.staged_messages").execute(conn)?;
    for (no, message) in (1_i32..).zip(messages) {
        let ImportedMessage {
            id,
            segment,
            content,
        } = message?;
        let staged = sql("INSERT INTO temp.staged_messages \
               (no, id, key, attributes, customer_count, subject, body, placeholder) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING")
        .bind::<Integer, _>(no)
        .bind::<Id, _>(id.as_uuid())
        .bind::<Binary, _>(segment.key.as_bytes().as_slice())
        .bind::<Text, _>(segment.attributes.as_json())
        .bind::<BigInt, _>(segment.customer_count)
        .bind::<Text, _>(content.subject.as_str())
        .bind::<Text, _>(content.body.as_str())
        .bind::<Nullable<Text>, _>(content.placeholder())
        .execute(conn)?;
        if staged == 0 {
            let said = format!(
                "two messages for the segment {}",
                segment.attributes.as_json()
            );
            return Err(Invalid::new(said).into());
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct StagedRow {
    #[diesel(sql_type = BigInt)]
    messages: i64,
    #[diesel(sql_type = BigInt)]
    customers: i64,
}

fn merge(
    conn: &mut SqliteConnection,
    campaign: &Campaign,
    mut run: Run,
    audit: AuditDraft,
) -> Result<Run, Failure> {
    let group = sql("SELECT 1 AS value FROM customer_groups WHERE account_id = ? AND id = ?")
        .bind::<Id, _>(campaign.account_id.as_uuid())
        .bind::<Id, _>(campaign.customer_group_id.as_uuid())
        .load::<Value>(conn)?;
    if group.is_empty() {
        return Err(Failure::GroupNotFound);
    }
    let staged = sql(
        "SELECT count(*) AS messages, ifnull(sum(customer_count), 0) AS customers \
         FROM temp.staged_messages",
    )
    .get_result::<StagedRow>(conn)?;
    let total = rows(staged.messages)?;
    if total == 0 {
        return Err(Invalid::new("the campaign has no messages").into());
    }
    run.customer_count = staged.customers;
    run.segments = SegmentCounts {
        total,
        matched: 0,
        new: total,
    };
    run.counts = MessageCounts::default().add(ReviewStatus::Published, Source::Generated, total);
    insert_campaign(conn, campaign, int(total)?)?;
    insert_run(conn, campaign, &run, None)?;
    sql(
        "INSERT INTO segments (account_id, campaign_id, no, key, attributes) \
         SELECT ?, ?, no, key, attributes FROM temp.staged_messages ORDER BY no",
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .execute(conn)?;
    // The one content that a message comes with can go by the message's id.
    sql(
        "INSERT INTO contents (account_id, id, run_number, subject, body, created_at, placeholder) \
         SELECT ?, id, ?, subject, body, ?, placeholder FROM temp.staged_messages ORDER BY no",
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Integer, _>(run.number.get())
    .bind::<Time, _>(run.started_at)
    .execute(conn)?;
    sql(
        "INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
           customer_count, content_id, review_status, source, created_at, updated_at) \
         SELECT ?, id, ?, ?, no, customer_count, id, ?, ?, ?, ? \
         FROM temp.staged_messages ORDER BY no",
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run.number.get())
    .bind::<Text, _>(ReviewStatus::Published.as_str())
    .bind::<Text, _>(Source::Generated.as_str())
    .bind::<Time, _>(run.started_at)
    .bind::<Time, _>(run.started_at)
    .execute(conn)?;
    sql("DELETE FROM temp.staged_messages").execute(conn)?;
    append_audit(conn, audit)?;
    Ok(run)
}

#[async_trait]
impl CampaignStore for SqliteStore {
    async fn create_campaign(
        &self,
        campaign: &Campaign,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        let campaign = campaign.clone();
        self.write(move |conn| {
            insert_campaign(conn, &campaign, 0)?;
            let (account, now) = (campaign.account_id, campaign.created_at);
            keep_response(conn, account, response.as_ref(), now)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn find_campaign(
        &self,
        account: AccountId,
        id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError> {
        self.readers.run(move |conn| find(conn, account, id)).await
    }

    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError> {
        let wanted = match group {
            WantedGroup::None => "NULL",
            WantedGroup::OfCampaign => "c.customer_group_id",
            WantedGroup::Named(_) => "?",
        };
        self.readers
            .run(move |conn| {
                let text = format!(
                    "SELECT {}, {}, {} FROM campaigns c \
                     LEFT JOIN runs r ON r.account_id = c.account_id \
                       AND r.campaign_id = c.id AND r.number = c.current_run_number \
                     LEFT JOIN customer_groups g ON g.account_id = c.account_id \
                       AND g.id = {wanted} \
                     WHERE c.account_id = ? AND c.id = ?",
                    campaign_columns!(),
                    run_columns!(),
                    group_columns!(),
                );
                let mut query = sql(&text);
                if let WantedGroup::Named(id) = group {
                    query = query.bind::<Id, _>(id.as_uuid());
                }
                let row = query
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .columns::<(
                        CampaignColumns,
                        Nullable<RunColumns>,
                        Nullable<GroupColumns>,
                    )>()
                    .load::<(CampaignRow, Option<RunRow>, Option<GroupRow>)>(conn)?
                    .pop();
                let Some((campaign, run, group)) = row else {
                    return Ok(None);
                };
                Ok(Some(CampaignContext {
                    campaign: Campaign::try_from(campaign)?,
                    current_run: run.map(Run::try_from).transpose()?,
                    group: group.map(CustomerGroup::try_from).transpose()?,
                }))
            })
            .await
    }

    async fn list_campaigns(
        &self,
        account: AccountId,
        status: Option<CampaignStatus>,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<Campaign, CreatedKey>, StoreError> {
        self.readers
            .run(move |conn| {
                let text = format!(
                    "SELECT {} FROM campaigns c WHERE c.account_id = ? {} {} \
                     ORDER BY c.created_at DESC, c.id DESC LIMIT ?",
                    campaign_columns!(),
                    if status.is_some() {
                        "AND c.status = ?"
                    } else {
                        ""
                    },
                    if page.after.is_some() {
                        "AND (c.created_at, c.id) < (?, ?)"
                    } else {
                        ""
                    },
                );
                let mut query = sql(&text).bind::<Id, _>(account.as_uuid());
                if let Some(status) = status {
                    query = query.bind::<Text, _>(status.as_str());
                }
                if let Some(after) = page.after {
                    query = query
                        .bind::<Time, _>(after.created_at)
                        .bind::<Id, _>(after.id);
                }
                let campaigns = query
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .columns::<CampaignColumns>()
                    .load_iter::<CampaignRow, DefaultLoadingMode>(conn)?
                    .map(|row| Ok::<_, Failure>(Campaign::try_from(row?)?));
                Page::read(campaigns, page.limit, |campaign| CreatedKey {
                    created_at: campaign.created_at,
                    id: campaign.id.as_uuid(),
                })
            })
            .await
    }

    async fn import_campaign(
        &self,
        campaign: &Campaign,
        run: Run,
        messages: ImportedMessages,
        audit: AuditDraft,
    ) -> Result<Run, ImportFailure> {
        let campaign = campaign.clone();
        self.import(
            move |conn| conn.transaction(|conn| stage(conn, messages)),
            move |conn, ()| merge(conn, &campaign, run, audit),
        )
        .await
    }
}

/// The campaign.
pub(crate) fn find(
    conn: &mut SqliteConnection,
    account: AccountId,
    id: CampaignId,
) -> Result<Option<Campaign>, Failure> {
    let row = sql(concat!(
        "SELECT ",
        campaign_columns!(),
        " FROM campaigns c WHERE c.account_id = ? AND c.id = ?"
    ))
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .columns::<CampaignColumns>()
    .load::<CampaignRow>(conn)?
    .pop();
    Ok(row.map(Campaign::try_from).transpose()?)
}
