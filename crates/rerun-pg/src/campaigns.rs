use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use diesel::pg::{Pg, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};
use rerun_core::audit::AuditDraft;
use rerun_core::campaign::{Campaign, CampaignStatus, Standing};
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
use rerun_core::run::{Run, SegmentCounts};
use rerun_core::segment::SegmentKey;
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::{
    self, CampaignColumns, CampaignRow, ContentRow, GroupColumns, GroupRow, KNOWN_SEGMENT_COLUMNS,
    KnownSegmentColumns, KnownSegmentRow, RunColumns, RunRow, json_list,
};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::{campaign_columns, group_columns, run_columns};

use uuid::Uuid;

use crate::PgStore;
use crate::groups::{self, hold_group};
use crate::page::PageQuery;
use crate::schema::{campaigns, customer_groups, deleted_campaigns, generation_tasks};
use crate::write::{
    CampaignMove, Value, append_audit, insert_run, int, lock_unmoved, move_campaign, transaction,
};

pub(crate) fn insert_campaign(conn: &mut PgConnection, campaign: &Campaign) -> Result<(), Failure> {
    diesel::insert_into(campaigns::table)
        .values((
            campaigns::account_id.eq(campaign.account_id.as_uuid()),
            campaigns::id.eq(campaign.id.as_uuid()),
            campaigns::name.eq(&campaign.name),
            campaigns::customer_group_id.eq(campaign.customer_group_id.as_uuid()),
            campaigns::segment_by.eq(json_list(campaign.segment_by.fields())),
            campaigns::value_rules.eq(campaign.segment_by.rules_json()),
            campaigns::approval_stages.eq(row::stages_json(&campaign.approval_stages)?),
            campaigns::distinct_reviewers.eq(campaign.distinct_reviewers),
            campaigns::suggest_reruns.eq(campaign.suggest_reruns),
            campaigns::template_subject.eq(&campaign.template.subject),
            campaigns::template_body.eq(&campaign.template.body),
            campaigns::brief.eq(campaign.brief.as_deref()),
            campaigns::status.eq(CampaignStatus::Draft.as_str()),
            campaigns::version.eq(campaign.version),
            campaigns::created_by.eq(campaign.created_by.as_uuid()),
            campaigns::created_at.eq(campaign.created_at),
            campaigns::updated_at.eq(campaign.updated_at),
        ))
        .execute(conn)?;
    Ok(())
}

/// How many rows of a deleted campaign go at once.
const SLICE: i64 = 1_000;

/// Takes a campaign out of everybody's reach, and notes that its parts are to be swept.
fn delete(conn: &mut PgConnection, delete: &DeleteCampaign) -> Result<(), Failure> {
    let DeleteCampaign { campaign, now, .. } = delete;
    let (account, id) = (campaign.account_id.as_uuid(), campaign.id.as_uuid());
    lock_unmoved(conn, campaign)?;
    diesel::insert_into(deleted_campaigns::table)
        .values((
            deleted_campaigns::account_id.eq(account),
            deleted_campaigns::campaign_id.eq(id),
            deleted_campaigns::run_number.eq(campaign.last_run.map_or(0, RunNumber::get)),
            deleted_campaigns::deleted_at.eq(*now),
        ))
        .execute(conn)?;
    let tasks = generation_tasks::table
        .filter(generation_tasks::account_id.eq(account))
        .filter(generation_tasks::campaign_id.eq(id));
    diesel::delete(tasks).execute(conn)?;
    sql("DELETE FROM runs WHERE account_id = ? AND campaign_id = ?")
        .bind::<Id, _>(account)
        .bind::<Id, _>(id)
        .execute(conn)?;
    diesel::delete(campaigns::table.find((account, id))).execute(conn)?;
    sql("DELETE FROM idempotency_keys WHERE account_id = ? AND position(? IN response) > 0")
        .bind::<Id, _>(account)
        .bind::<Text, _>(campaign.id.to_string())
        .execute(conn)?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = deleted_campaigns, check_for_backend(Pg))]
struct DeletedRow {
    campaign_id: Uuid,
    run_number: i32,
}

/// Deletes a slice of what is left of a deleted campaign: the messages of one run after the other,
/// then contents, then segments.
fn sweep(conn: &mut PgConnection) -> Result<bool, Failure> {
    let accounts = deleted_campaigns::table
        .select(deleted_campaigns::account_id)
        .distinct()
        .order(deleted_campaigns::account_id)
        .load::<Uuid>(conn)?;
    for account in accounts {
        let found = deleted_campaigns::table
            .filter(deleted_campaigns::account_id.eq(account))
            .order(deleted_campaigns::campaign_id)
            .select(DeletedRow::as_select())
            .for_update()
            .skip_locked()
            .first(conn);
        if let Some(deleted) = found.optional()? {
            return sweep_campaign(conn, account, &deleted);
        }
    }
    Ok(false)
}

fn sweep_campaign(
    conn: &mut PgConnection,
    account_id: Uuid,
    &DeletedRow {
        campaign_id,
        run_number,
    }: &DeletedRow,
) -> Result<bool, Failure> {
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
    diesel::delete(deleted_campaigns::table.find((account_id, campaign_id))).execute(conn)?;
    Ok(true)
}

/// Writes what an update changes, while the campaign is still at the version that it was seen at.
fn update(conn: &mut PgConnection, seen: &Campaign, to: &Campaign) -> Result<(), Failure> {
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
fn write_rules(conn: &mut PgConnection, update: &UpdateSegmentation) -> Result<(), Failure> {
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
fn write_keys(conn: &mut PgConnection, update: &UpdateSegmentation) -> Result<(), Failure> {
    let (account, campaign) = (
        update.campaign.account_id.as_uuid(),
        update.campaign.id.as_uuid(),
    );
    let numbers: Vec<i32> = update.segments.iter().map(|segment| segment.no).collect();
    let bytes = |key: SegmentKey| key.as_bytes().to_vec();
    let aside = update
        .segments
        .iter()
        .map(|segment| bytes(SegmentKey::displaced(segment.no)));
    let kept: Vec<_> = update.segments.iter().map(row::segment_keys).collect();
    let keys = kept.iter().map(|(key, _, _)| bytes(*key));
    let shared: Vec<_> = kept
        .iter()
        .map(|(_, shared, _)| shared.map(bytes))
        .collect();
    let conflicting: Vec<bool> = kept
        .iter()
        .map(|(_, _, conflicting)| *conflicting)
        .collect();
    let types: Vec<Vec<u8>> = update
        .segments
        .iter()
        .map(|segment| segment.types.to_bytes())
        .collect();
    for keys in [aside.collect::<Vec<_>>(), keys.collect()] {
        sql(
            "UPDATE segments s SET key = p.key, shared_key = p.shared_key, \
               conflicting = p.conflicting, value_types = p.value_types \
             FROM unnest(?::int[], ?::bytea[], ?::bytea[], ?::bool[], ?::bytea[]) \
               AS p(no, key, shared_key, conflicting, value_types) \
             WHERE s.account_id = ? AND s.campaign_id = ? AND s.no = p.no",
        )
        .planned_for(numbers.len())
        .bind::<Array<Integer>, _>(&numbers)
        .bind::<Array<Binary>, _>(keys)
        .bind::<Array<Nullable<Binary>>, _>(&shared)
        .bind::<Array<Bool>, _>(&conflicting)
        .bind::<Array<Binary>, _>(&types)
        .bind::<Id, _>(account)
        .bind::<Id, _>(campaign)
        .execute(conn)?;
    }
    Ok(())
}

#[async_trait]
impl CampaignStore for PgStore {
    async fn create_campaign(
        &self,
        campaign: &Campaign,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        let campaign = campaign.clone();
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    if !hold_group(conn, campaign.account_id, campaign.customer_group_id)? {
                        return Err(StoreError::Conflict.into());
                    }
                    insert_campaign(conn, &campaign)?;
                    let (account, now) = (campaign.account_id, campaign.created_at);
                    keep_response(conn, account, response.as_ref(), now)?;
                    append_audit(conn, audit)
                })
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
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    update(conn, &campaign, &to)?;
                    let account = campaign.account_id;
                    keep_response(conn, account, response.as_ref(), to.updated_at)?;
                    append_audit(conn, audit)
                })
            })
            .await
    }

    async fn known_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<Vec<KnownSegment>, StoreError> {
        self.db
            .run(move |conn| {
                let statuses = row::quoted(ReuseFrom::AnyApproved.statuses());
                let text = format!(
                    "SELECT {KNOWN_SEGMENT_COLUMNS} FROM segments s LEFT JOIN ( \
                       SELECT DISTINCT ON (segment_no) segment_no, id, run_number, content_id, \
                         customer_count, review_status \
                       FROM messages WHERE account_id = ? AND campaign_id = ? \
                         AND review_status IN ({statuses}) \
                         AND NOT EXISTS (SELECT FROM contents t WHERE t.account_id = ? \
                           AND t.id = messages.content_id AND t.placeholder IS NOT NULL) \
                       ORDER BY segment_no, review_status = 'Published' DESC, run_number DESC) m \
                       ON m.segment_no = s.no \
                     WHERE s.account_id = ? AND s.campaign_id = ?"
                );
                let rows = sql(&text)
                    .planned_each_time()
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(campaign.as_uuid())
                    .bind::<Id, _>(account.as_uuid())
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
        let ids: Vec<Uuid> = contents.into_iter().map(ContentId::as_uuid).collect();
        self.db
            .run(move |conn| {
                let statement = sql("SELECT id, subject, body FROM contents \
                     WHERE account_id = ? AND campaign_id = ? AND id = ANY(?)")
                .planned_for(ids.len())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Array<Id>, _>(ids);
                let rows = statement.load_iter::<ContentRow, PgRowByRowLoadingMode>(conn)?;
                let digests = rows.map(|row| Ok(row?.digest()));
                digests.collect::<Result<_, Failure>>()
            })
            .await
    }

    async fn update_segmentation(&self, update: UpdateSegmentation) -> Result<(), StoreError> {
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    write_rules(conn, &update)?;
                    write_keys(conn, &update)?;
                    let (account, now) = (update.campaign.account_id, update.to.updated_at);
                    keep_response(conn, account, update.response.as_ref(), now)?;
                    append_audit(conn, update.audit)
                })
            })
            .await
    }

    async fn count_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<u64, StoreError> {
        self.db
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
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
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
            })
            .await
    }

    async fn sweep_deleted(&self) -> Result<bool, StoreError> {
        self.db
            .run(|conn| transaction(conn, |conn| Ok(sweep(conn)? || groups::sweep(conn)?)))
            .await
    }

    async fn find_campaign(
        &self,
        account: AccountId,
        id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError> {
        self.db
            .run(move |conn| {
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
            })
            .await
    }

    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError> {
        self.db
            .run(move |conn| {
                let (wanted, named) = match group {
                    // No group has this id. The statement is the same with and without a group.
                    WantedGroup::None => ("?", Some(Uuid::nil())),
                    WantedGroup::OfCampaign => ("c.customer_group_id", None),
                    WantedGroup::Named(id) => ("?", Some(id.as_uuid())),
                };
                let text = format!(
                    "SELECT {}, {}, {} FROM campaigns c \
                     LEFT JOIN runs r ON r.account_id = ? AND r.campaign_id = c.id \
                       AND r.number = c.current_run_number \
                     LEFT JOIN customer_groups g ON g.account_id = ? AND g.id = {wanted} \
                       AND g.deleted_at IS NULL \
                     WHERE c.account_id = ? AND c.id = ?",
                    campaign_columns!(),
                    run_columns!(),
                    group_columns!(),
                );
                let mut query = sql(&text).bind_times::<Id, _>(2, account.as_uuid());
                if let Some(id) = named {
                    query = query.bind::<Id, _>(id);
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
                    campaign: campaign.try_into()?,
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
        self.db
            .run(move |conn| {
                let from = format!(
                    "FROM (SELECT * FROM campaigns c WHERE c.account_id = ? {} {} \
                     ORDER BY c.created_at DESC, c.id DESC LIMIT ?) c",
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
                let text = PageQuery {
                    columns: campaign_columns!(),
                    bytes: "octet_length(c.name) + octet_length(c.template_subject) \
                      + octet_length(c.template_body) + COALESCE(octet_length(c.brief), 0) \
                      + octet_length(c.segment_by) + octet_length(c.approval_stages) \
                      + COALESCE(octet_length(c.value_rules), 0)",
                    from: &from,
                    order: "c.created_at DESC, c.id DESC",
                    by: "created_at DESC, id DESC",
                }
                .text();
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
                    .load::<CampaignRow>(conn)?
                    .into_iter()
                    .map(Campaign::try_from);
                Ok(Page::read(campaigns, page.limit, |campaign| CreatedKey {
                    created_at: campaign.created_at,
                    id: campaign.id.as_uuid(),
                })?)
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
        let lane = self.lanes.lane().await?;
        self.db
            .run_import(move |conn| {
                let _until_it_ends = lane;
                transaction(conn, |conn| {
                    // Its run makes it current, which is a step to the given version.
                    let before = campaign.clone().with(|before| before.version -= 1)?;
                    insert_campaign(conn, &before)?;
                    let run = bring_in(conn, &campaign, run, messages)?;
                    append_audit(conn, audit)?;
                    Ok(run)
                })
            })
            .await
    }
}

/// How many messages one statement adds.
const BATCH: usize = 1_000;

fn bring_in(
    conn: &mut PgConnection,
    campaign: &Campaign,
    run: Run,
    messages: ImportedMessages,
) -> Result<Run, Failure> {
    let group_version = customer_groups::table
        .find((campaign.account_id.as_uuid(), run.group.id.as_uuid()))
        .select(customer_groups::version)
        .get_result(conn)?;
    insert_run(conn, campaign, &run, group_version, None)?;
    let mut seen = HashSet::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut total = 0;
    let mut customer_count = run.customer_count;
    for message in messages {
        let message = message?;
        if !seen.insert(message.segment.key) {
            return Err(Invalid::new(format!(
                "two messages for the segment {}",
                message.segment.attributes.as_json()
            ))
            .into());
        }
        customer_count += message.segment.customer_count;
        batch.push(message);
        if batch.len() == BATCH {
            insert_imported(conn, campaign, &run, total, &batch)?;
            total += BATCH;
            batch.clear();
        }
    }
    insert_imported(conn, campaign, &run, total, &batch)?;
    let total =
        u32::try_from(total + batch.len()).map_err(|error| StoreError::Backend(error.into()))?;
    if total == 0 {
        return Err(Invalid::new("there are no messages to bring in").into());
    }
    let run = run.with(|run| {
        run.customer_count = customer_count;
        run.segments = SegmentCounts {
            total,
            matched: 0,
            new: total,
        };
        run.counts = run
            .counts
            .add(ReviewStatus::Published, Source::Generated, total);
    })?;
    let segments = int(total)?;
    sql(
        "UPDATE runs SET customer_count = ?, segments_total = ?, segments_new = ?, \
           generated = ?, published = ? \
         WHERE account_id = ? AND campaign_id = ? AND number = ?",
    )
    .bind::<BigInt, _>(run.customer_count)
    .bind::<Integer, _>(segments)
    .bind::<Integer, _>(segments)
    .bind::<Integer, _>(segments)
    .bind::<Integer, _>(segments)
    .bind::<Id, _>(campaign.account_id.as_uuid())
    .bind::<Id, _>(campaign.id.as_uuid())
    .bind::<Integer, _>(run.number.get())
    .execute(conn)?;
    let to = CampaignMove {
        campaign,
        standing: Standing {
            status: campaign.status,
            current_run: campaign.current_run,
            last_run: campaign.last_run,
        },
        new_segments: segments,
        now: campaign.updated_at,
    };
    move_campaign(conn, &to)?;
    Ok(run)
}

fn insert_imported(
    conn: &mut PgConnection,
    campaign: &Campaign,
    run: &Run,
    before: usize,
    batch: &[ImportedMessage],
) -> Result<(), Failure> {
    let before = i32::try_from(before).map_err(|error| StoreError::Backend(error.into()))?;
    let column =
        |value: fn(&ImportedMessage) -> String| batch.iter().map(value).collect::<Vec<_>>();
    let ids: Vec<_> = batch.iter().map(|message| message.id.as_uuid()).collect();
    let keys: Vec<_> = batch
        .iter()
        .map(|m| m.segment.key.as_bytes().to_vec())
        .collect();
    let counts: Vec<_> = batch
        .iter()
        .map(|message| message.segment.customer_count)
        .collect();
    let placeholders: Vec<_> = batch.iter().map(|m| m.content.placeholder()).collect();
    let (account, campaign_id) = (campaign.account_id.as_uuid(), campaign.id.as_uuid());
    sql(
        "INSERT INTO segments (account_id, campaign_id, no, key, attributes) \
         SELECT ?, ?, ?::int + place::int, key, attributes \
         FROM unnest(?::bytea[], ?::text[]) WITH ORDINALITY AS g(key, attributes, place)",
    )
    .planned_each_time()
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign_id)
    .bind::<Integer, _>(before)
    .bind::<Array<Binary>, _>(keys)
    .bind::<Array<Text>, _>(column(|m| m.segment.attributes.as_json().to_owned()))
    .execute(conn)?;
    sql(
        "INSERT INTO contents (account_id, id, campaign_id, run_number, subject, body, created_at, \
           placeholder) \
         SELECT ?, id, ?, ?, subject, body, ?, placeholder \
         FROM unnest(?::uuid[], ?::text[], ?::text[], ?::text[]) \
           AS g(id, subject, body, placeholder)",
    )
    .planned_each_time()
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign_id)
    .bind::<Integer, _>(run.number.get())
    .bind::<Time, _>(campaign.created_at)
    .bind::<Array<Id>, _>(&ids)
    .bind::<Array<Text>, _>(column(|m| m.content.subject.clone()))
    .bind::<Array<Text>, _>(column(|m| m.content.body.clone()))
    .bind::<Array<Nullable<Text>>, _>(placeholders)
    .execute(conn)?;
    sql(
        "INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
           customer_count, content_id, review_status, source, created_at, updated_at) \
         SELECT ?, id, ?, ?, ?::int + place::int, customer_count, id, 'Published', 'generated', \
           ?, ? \
         FROM unnest(?::uuid[], ?::bigint[]) WITH ORDINALITY AS g(id, customer_count, place)",
    )
    .planned_each_time()
    .bind::<Id, _>(account)
    .bind::<Id, _>(campaign_id)
    .bind::<Integer, _>(run.number.get())
    .bind::<Integer, _>(before)
    .bind_times::<Time, _>(2, campaign.created_at)
    .bind::<Array<Id>, _>(&ids)
    .bind::<Array<BigInt>, _>(counts)
    .execute(conn)?;
    Ok(())
}
