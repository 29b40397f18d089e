use std::collections::HashMap;

use async_trait::async_trait;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use rerun_core::audit::AuditDraft;
use rerun_core::campaign::{Campaign, CampaignStatus};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{AccountId, CampaignId, ContentId, RunNumber};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    CampaignContext, CampaignStore, DeleteCampaign, IdempotentResponse, ImportFailure,
    ImportedMessage, ImportedMessages, UpdateCampaign, UpdateSegmentation, WantedGroup,
};
use rerun_core::rekeying::{KnownSegment, TextDigest};
use rerun_core::run::{MessageCounts, Run, SegmentCounts};
use rerun_core::segment::SegmentKey;
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{
    self, CampaignColumns, CampaignRow, ContentRow, GroupColumns, GroupRow, KNOWN_SEGMENT_COLUMNS,
    KnownSegmentColumns, KnownSegmentRow, RunColumns, RunRow, json_list,
};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{At, Id, Time, Uid};
use rerun_diesel::{campaign_columns, group_columns, run_columns};

use uuid::Uuid;

use crate::SqliteStore;
use crate::editions::sweep_slice;
use crate::groups::has_group;
use crate::schema::{campaigns, deleted_campaigns, generation_tasks};
use crate::write::{Value, append_audit, check_unmoved, insert_campaign, insert_run, int, rows};

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
    run: Run,
    audit: AuditDraft,
) -> Result<Run, Failure> {
    if !has_group(conn, campaign.account_id, campaign.customer_group_id)? {
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
    let counts = MessageCounts::default();
    let run = run.with(|run| {
        run.customer_count = staged.customers;
        run.segments = SegmentCounts {
            total,
            matched: 0,
            new: total,
        };
        run.counts = counts.add(ReviewStatus::Published, Source::Generated, total);
    })?;
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
        "INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, created_at, \
           placeholder) \
         SELECT ?, id, ?, ?, subject, body, ?, placeholder FROM temp.staged_messages ORDER BY no",
    )
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
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

/// How many rows of a deleted campaign go at once.
const SLICE: i64 = 1_000;

/// Takes a campaign out of everybody's reach, and notes that its parts are to be swept.
fn delete(conn: &mut SqliteConnection, delete: &DeleteCampaign) -> Result<(), Failure> {
    let DeleteCampaign { campaign, now, .. } = delete;
    let (account, id) = (campaign.account_id.as_uuid(), campaign.id.as_uuid());
    check_unmoved(conn, campaign)?;
    diesel::insert_into(deleted_campaigns::table)
        .values((
            deleted_campaigns::account_id.eq(Uid(account)),
            deleted_campaigns::campaign_id.eq(Uid(id)),
            deleted_campaigns::run_number.eq(campaign.last_run.map_or(0, RunNumber::get)),
            deleted_campaigns::deleted_at.eq(At(*now)),
        ))
        .execute(conn)?;
    let tasks = generation_tasks::table
        .filter(generation_tasks::account_id.eq(Uid(account)))
        .filter(generation_tasks::campaign_id.eq(Uid(id)));
    diesel::delete(tasks).execute(conn)?;
    sql("DELETE FROM runs WHERE account_id = ? AND campaign_id = ?")
        .bind::<Id, _>(account)
        .bind::<Id, _>(id)
        .execute(conn)?;
    diesel::delete(campaigns::table.find((Uid(account), Uid(id)))).execute(conn)?;
    sql("DELETE FROM idempotency_keys WHERE account_id = ? AND instr(response, ?) > 0")
        .bind::<Id, _>(account)
        .bind::<Text, _>(campaign.id.to_string())
        .execute(conn)?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = deleted_campaigns, check_for_backend(Sqlite))]
struct DeletedRow {
    account_id: Uuid,
    campaign_id: Uuid,
    run_number: i32,
}

/// Deletes a slice of what is left of a deleted campaign: the messages of one run after the other,
/// then contents, then segments.
fn sweep(conn: &mut SqliteConnection) -> Result<bool, Failure> {
    let found = deleted_campaigns::table
        .order((
            deleted_campaigns::account_id,
            deleted_campaigns::campaign_id,
        ))
        .select(DeletedRow::as_select())
        .first(conn)
        .optional()?;
    let Some(DeletedRow {
        account_id,
        campaign_id,
        run_number,
    }) = found
    else {
        return Ok(false);
    };
    if run_number > 0 {
        let text = "DELETE FROM messages WHERE account_id = ? AND id IN (SELECT id FROM messages \
           WHERE account_id = ? AND campaign_id = ? AND run_number = ? LIMIT ?)";
        let deleted = sql(text)
            .planned_each_time()
            .bind::<Id, _>(account_id)
            .bind::<Id, _>(account_id)
            .bind::<Id, _>(campaign_id)
            .bind::<Integer, _>(run_number)
            .bind::<BigInt, _>(SLICE)
            .execute(conn)?;
        if deleted == 0 {
            let text = "UPDATE deleted_campaigns SET run_number = run_number - 1 \
               WHERE account_id = ? AND campaign_id = ?";
            sql(text)
                .bind::<Id, _>(account_id)
                .bind::<Id, _>(campaign_id)
                .execute(conn)?;
        }
        return Ok(true);
    }
    for text in [
        "DELETE FROM contents WHERE account_id = ? AND id IN (SELECT id FROM contents \
           WHERE account_id = ? AND campaign_id = ? LIMIT ?)",
        "DELETE FROM segments WHERE account_id = ? AND (campaign_id, no) IN ( \
           SELECT campaign_id, no FROM segments WHERE account_id = ? AND campaign_id = ? LIMIT ?)",
    ] {
        let deleted = sql(text)
            .planned_each_time()
            .bind::<Id, _>(account_id)
            .bind::<Id, _>(account_id)
            .bind::<Id, _>(campaign_id)
            .bind::<BigInt, _>(SLICE)
            .execute(conn)?;
        if deleted > 0 {
            return Ok(true);
        }
    }
    let swept = deleted_campaigns::table.find((Uid(account_id), Uid(campaign_id)));
    diesel::delete(swept).execute(conn)?;
    Ok(true)
}

/// Writes what an update changes, while the campaign is still at the version that it was seen at.
fn update(conn: &mut SqliteConnection, seen: &Campaign, to: &Campaign) -> Result<(), Failure> {
    let updated = sql(
        "UPDATE campaigns SET name = ?, template_subject = ?, template_body = ?, brief = ?, \
           approval_stages = ?, distinct_reviewers = ?, suggest_reruns = ?, \
           version = version + 1, updated_at = ? \
         WHERE account_id = ? AND id = ? AND version = ?",
    )
    .bind::<Text, _>(to.name.as_str())
    .bind::<Text, _>(to.template.subject.as_str())
    .bind::<Text, _>(to.template.body.as_str())
    .bind::<Nullable<Text>, _>(to.brief.as_deref())
    .bind::<Text, _>(row::stages_json(&to.approval_stages)?)
    .bind::<Bool, _>(to.distinct_reviewers)
    .bind::<Bool, _>(to.suggest_reruns)
    .bind::<Time, _>(to.updated_at)
    .bind::<Id, _>(seen.account_id.as_uuid())
    .bind::<Id, _>(seen.id.as_uuid())
    .bind::<BigInt, _>(seen.version)
    .execute(conn)?;
    if updated == 0 {
        return Err(StoreError::Conflict.into());
    }
    Ok(())
}

/// Writes the campaign's rules. Runs that are there keep the ones that they were planned by.
fn write_rules(conn: &mut SqliteConnection, update: &UpdateSegmentation) -> Result<(), Failure> {
    let UpdateSegmentation { campaign, to, .. } = update;
    let updated = sql("UPDATE campaigns SET segment_by = ?, value_rules = ?, \
           version = version + 1, updated_at = ? \
         WHERE account_id = ? AND id = ? AND version = ?")
    .bind::<Text, _>(json_list(to.segment_by.fields()))
    .bind::<Nullable<Text>, _>(to.segment_by.rules_json())
    .bind::<Time, _>(to.updated_at)
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<BigInt, _>(campaign.version)
    .execute(conn)?;
    if updated == 0 {
        return Err(StoreError::Conflict.into());
    }
    sql("UPDATE runs SET value_rules = ? \
         WHERE account_id = ? AND campaign_id = ? AND value_rules IS NULL")
    .bind::<Text, _>(row::rules_for_run(&campaign.segment_by)?)
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .execute(conn)?;
    Ok(())
}

/// Gives segments their keys. They first get keys that no segment has: one may get the key that
/// another one had.
fn write_keys(conn: &mut SqliteConnection, update: &UpdateSegmentation) -> Result<(), Failure> {
    let (account, campaign) = (
        update.campaign.account_id.as_uuid(),
        update.campaign.id.as_uuid(),
    );
    for aside in [true, false] {
        for segment in &update.segments {
            let (key, shared, conflicting) = row::segment_keys(segment);
            let key = if aside {
                SegmentKey::displaced(segment.no)
            } else {
                key
            };
            sql(
                "UPDATE segments SET key = ?, shared_key = ?, conflicting = ?, value_types = ? \
                 WHERE account_id = ? AND campaign_id = ? AND no = ?",
            )
            .bind::<Binary, _>(key.as_bytes().as_slice())
            .bind::<Nullable<Binary>, _>(shared.as_ref().map(|key| key.as_bytes().as_slice()))
            .bind::<Bool, _>(conflicting)
            .bind::<Binary, _>(segment.types.to_bytes())
            .bind::<Id, _>(account)
            .bind::<Id, _>(campaign)
            .bind::<Integer, _>(segment.no)
            .execute(conn)?;
        }
    }
    Ok(())
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
            if !has_group(conn, campaign.account_id, campaign.customer_group_id)? {
                return Err(StoreError::Conflict.into());
            }
            insert_campaign(conn, &campaign, 0)?;
            let (account, now) = (campaign.account_id, campaign.created_at);
            keep_response(conn, account, response.as_ref(), now)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn update_campaign(&self, update_to: UpdateCampaign) -> Result<(), StoreError> {
        let UpdateCampaign {
            campaign,
            to,
            audit,
            response,
        } = update_to;
        self.write(move |conn| {
            update(conn, &campaign, &to)?;
            let account = campaign.account_id;
            keep_response(conn, account, response.as_ref(), to.updated_at)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn known_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<Vec<KnownSegment>, StoreError> {
        self.read(move |conn| {
            let statuses = row::quoted(ReuseFrom::AnyApproved.statuses());
            // Segments come with their messages, the one that counts first.
            let text = format!(
                "SELECT {KNOWN_SEGMENT_COLUMNS} FROM segments s LEFT JOIN ( \
                   SELECT segment_no, id, run_number, content_id, customer_count, review_status, \
                     row_number() OVER (PARTITION BY segment_no \
                       ORDER BY review_status = 'Published' DESC, run_number DESC) AS place \
                   FROM messages INDEXED BY messages_one_per_segment \
                   WHERE account_id = ? AND campaign_id = ? AND review_status IN ({statuses}) \
                     AND NOT EXISTS (SELECT 1 FROM contents t INDEXED BY contents_unfilled \
                       WHERE t.account_id = messages.account_id AND t.id = messages.content_id \
                         AND t.placeholder IS NOT NULL)) m \
                   ON m.segment_no = s.no AND m.place = 1 \
                 WHERE s.account_id = ? AND s.campaign_id = ?"
            );
            let rows = sql(&text)
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .columns::<KnownSegmentColumns>()
                .load::<KnownSegmentRow>(conn)?;
            let known = rows.into_iter().map(KnownSegment::try_from);
            Ok(known.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn text_digests(
        &self,
        account: AccountId,
        campaign: CampaignId,
        contents: Vec<ContentId>,
    ) -> Result<HashMap<ContentId, TextDigest>, StoreError> {
        let hex: Vec<String> = contents
            .into_iter()
            .map(|id| id.as_uuid().simple().to_string())
            .collect();
        self.read(move |conn| {
            let rows = sql("SELECT id, subject, body FROM contents \
                 WHERE account_id = ? AND campaign_id = ? \
                   AND id IN (SELECT unhex(atom) FROM json_each(?))")
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(campaign.as_uuid())
            .bind::<Text, _>(serde_json::json!(hex).to_string())
            .load_iter::<ContentRow, DefaultLoadingMode>(conn)?;
            rows.map(|row| Ok(row?.digest()))
                .collect::<Result<_, Failure>>()
        })
        .await
    }

    async fn update_segmentation(&self, update: UpdateSegmentation) -> Result<(), StoreError> {
        self.write(move |conn| {
            write_rules(conn, &update)?;
            write_keys(conn, &update)?;
            let (account, now) = (update.campaign.account_id, update.to.updated_at);
            keep_response(conn, account, update.response.as_ref(), now)?;
            append_audit(conn, update.audit)
        })
        .await
    }

    async fn count_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<u64, StoreError> {
        self.readers
            .run(move |conn| {
                let counted = sql(
                    "SELECT CAST(COALESCE(sum(segments_total), 0) AS bigint) AS value \
                                   FROM runs WHERE account_id = ? AND campaign_id = ?",
                )
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .get_result::<Value>(conn)?;
                Ok(u64::try_from(counted.value).unwrap_or_default())
            })
            .await
    }

    async fn delete_campaign(&self, deletion: DeleteCampaign) -> Result<(), StoreError> {
        self.write_unchecked(move |conn| {
            delete(conn, &deletion)?;
            let DeleteCampaign {
                campaign,
                audit,
                response,
                now,
            } = deletion;
            keep_response(conn, campaign.account_id, response.as_ref(), now)?;
            append_audit(conn, audit)
        })
        .await
    }

    async fn sweep_deleted(&self) -> Result<bool, StoreError> {
        // Most of the time there is nothing to do, and nobody must wait for that.
        let left = self.readers.run(|conn| {
            let left = sql("SELECT (SELECT count(*) FROM deleted_campaigns) \
                 + (SELECT count(*) FROM customer_editions WHERE building = 0) AS value");
            Ok(left.get_result::<Value>(conn)?.value)
        });
        if left.await? == 0 {
            return Ok(false);
        }
        self.write_unchecked(|conn| Ok(sweep(conn)? || sweep_slice(conn)?))
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
                       AND g.id = {wanted} AND g.deleted_at IS NULL \
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
