//! Groups that imports changed: rows, and statements that both databases have.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Integer};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId};
use rerun_core::outlook::RunSegment;
use rerun_core::ports::{TakeGroup, TakenGroup};
use uuid::Uuid;

use crate::row::segment_key;
use crate::types::Id;

/// Queues a group: its account, its id, and the times of [`Due`](rerun_core::outlook::Due).
pub const QUEUE_GROUP: &str = "INSERT INTO changed_groups \
       (account_id, group_id, imports, due_at, latest_at, attempts) VALUES (?, ?, 1, ?, ?, 0) \
     ON CONFLICT (account_id, group_id) DO UPDATE SET imports = changed_groups.imports + 1, \
       attempts = 0, \
       due_at = CASE WHEN changed_groups.lease_id IS NULL \
           AND changed_groups.latest_at < excluded.due_at \
         THEN changed_groups.latest_at ELSE excluded.due_at END, \
       latest_at = CASE WHEN changed_groups.lease_id IS NULL \
           AND changed_groups.latest_at < excluded.latest_at \
         THEN changed_groups.latest_at ELSE excluded.latest_at END";

/// Accounts that have a group which can be taken: those from one id on (`>=`) or after it (`>`).
/// The id, the times of [`CAN_BE_TAKEN`], and how many.
#[must_use]
pub fn accounts_sql(follows: &str) -> String {
    format!(
        "SELECT DISTINCT account_id FROM changed_groups \
         WHERE account_id {follows} ? AND {CAN_BE_TAKEN} ORDER BY account_id LIMIT ?"
    )
}

/// Whether a group is due, and nobody has it under a lease: of
/// [`Times`](rerun_core::outlook::Times) `now`, `due_horizon`, `now` and `lease_horizon`.
pub const CAN_BE_TAKEN: &str = "(due_at <= ? OR due_at > ?) \
     AND (lease_until IS NULL OR lease_until <= ? OR lease_until > ?)";

/// Takes the group that is due the longest: the lease and its end, the account twice, and the times
/// of [`CAN_BE_TAKEN`]. `lock` is how the row is locked while it is looked for.
#[must_use]
pub fn take_sql(lock: &str) -> String {
    format!(
        "UPDATE changed_groups SET lease_id = ?, lease_until = ?, attempts = attempts + 1 \
         WHERE account_id = ? AND group_id = (SELECT group_id FROM changed_groups \
           WHERE account_id = ? AND {CAN_BE_TAKEN} ORDER BY due_at, group_id LIMIT 1 {lock}) \
         RETURNING group_id, imports, attempts"
    )
}

/// Prolongs a lease: its end, the account, the group and the lease.
pub const RENEW_GROUP: &str = "UPDATE changed_groups SET lease_until = ? \
     WHERE account_id = ? AND group_id = ? AND lease_id = ?";

/// Is done with a group that was not imported into meanwhile: the account, the group, the lease and
/// the imports.
pub const DROP_GROUP: &str = "DELETE FROM changed_groups \
     WHERE account_id = ? AND group_id = ? AND lease_id = ? AND imports = ?";

/// Has a group that was not imported into meanwhile previewed again: the time twice, the account, the
/// group, the lease and the imports.
pub const AGAIN_GROUP: &str = "UPDATE changed_groups \
     SET lease_id = NULL, lease_until = NULL, due_at = ?, latest_at = ? \
     WHERE account_id = ? AND group_id = ? AND lease_id = ? AND imports = ?";

/// Ends the lease of a group that was imported into meanwhile: the account, the group and the lease.
pub const FREE_GROUP: &str = "UPDATE changed_groups SET lease_id = NULL, lease_until = NULL \
     WHERE account_id = ? AND group_id = ? AND lease_id = ?";

/// Campaigns that want suggestions for a group: the account twice, the group, the id after which they
/// are listed, and how many. `follows` is as in [`accounts_sql`].
#[must_use]
pub fn published_sql(follows: &str) -> String {
    format!(
        "SELECT r.campaign_id FROM runs r \
         JOIN campaigns c ON c.account_id = ? AND c.id = r.campaign_id \
         WHERE r.account_id = ? AND r.group_id = ? AND r.archived_at IS NULL \
           AND c.status = 'Published' AND c.suggest_reruns AND r.campaign_id {follows} ? \
         ORDER BY r.campaign_id LIMIT ?"
    )
}

/// The segments of a run, by the rules of now: the account and the campaign twice, and the run.
pub const RUN_SEGMENTS: &str = "SELECT COALESCE(s.shared_key, s.key) AS key, m.customer_count \
     FROM messages m \
     JOIN segments s ON s.account_id = ? AND s.campaign_id = ? AND s.no = m.segment_no \
     WHERE m.account_id = ? AND m.campaign_id = ? AND m.run_number = ?";

/// Keeps what would change: the hash, the account, the campaign, its version, and the hash again.
pub const NOTE_OUTLOOK: &str = "UPDATE campaigns SET suggested = ? \
     WHERE account_id = ? AND id = ? AND version = ? AND suggested IS DISTINCT FROM ?";

/// Whether a campaign is at a version: the account, the campaign and the version.
pub const IS_AT_VERSION: &str = "SELECT version AS value FROM campaigns \
     WHERE account_id = ? AND id = ? AND version = ?";

/// An account.
#[derive(QueryableByName)]
pub struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
}

impl From<AccountRow> for AccountId {
    fn from(row: AccountRow) -> Self {
        Self::new(row.account_id)
    }
}

/// A campaign.
#[derive(QueryableByName)]
pub struct CampaignIdRow {
    #[diesel(sql_type = Id)]
    campaign_id: Uuid,
}

impl From<CampaignIdRow> for CampaignId {
    fn from(row: CampaignIdRow) -> Self {
        Self::new(row.campaign_id)
    }
}

/// A group that was taken.
#[derive(QueryableByName)]
pub struct TakenRow {
    #[diesel(sql_type = Id)]
    group_id: Uuid,
    #[diesel(sql_type = BigInt)]
    imports: i64,
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

impl TakenRow {
    /// The group, taken for this request.
    #[must_use]
    pub fn taken(self, request: TakeGroup) -> TakenGroup {
        TakenGroup {
            account_id: request.account_id,
            group_id: CustomerGroupId::new(self.group_id),
            lease: request.lease,
            imports: self.imports,
            attempt: u32::try_from(self.attempts).unwrap_or(u32::MAX),
        }
    }
}

/// A segment of a run.
#[derive(QueryableByName)]
pub struct RunSegmentRow {
    #[diesel(sql_type = Binary)]
    key: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
}

impl TryFrom<RunSegmentRow> for RunSegment {
    type Error = StoreError;

    fn try_from(row: RunSegmentRow) -> Result<Self, StoreError> {
        Ok(Self {
            key: segment_key(&row.key)?,
            customer_count: row.customer_count,
        })
    }
}
