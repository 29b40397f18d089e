//! The segments of a group: counted once for each version of the group, and kept.

use diesel::connection::SimpleConnection;
use diesel::pg::{Pg, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use rerun_core::counting::{self, Counting};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::plan::SegmentCandidate;
use rerun_core::ports::SegmentCandidates;
use rerun_core::segment::{Attributes, FieldValues, Segment, SegmentBy, SegmentKey};
use rerun_diesel::error::Failure;
use rerun_diesel::row;
use rerun_diesel::sql::{Sql, sql};
use rerun_diesel::types::Id;
use uuid::Uuid;

use crate::page::PageQuery;
use crate::schema::{customer_groups, segmentations};
use crate::write::{SLICE, in_transaction, transaction};

/// More segments than any group has.
pub(crate) const NO_LIMIT: u32 = u32::MAX - 1;

/// Asks for the segments of a group.
pub(crate) struct Wanted<'a> {
    pub(crate) account: AccountId,
    pub(crate) group: CustomerGroupId,
    pub(crate) segment_by: &'a SegmentBy,
    pub(crate) limit: u32,
}

/// The segments of a group as they were just counted, by key.
pub(crate) struct Counted {
    group_version: i64,
    fields: Vec<FieldValues>,
    pub(crate) segments: Vec<Segment>,
}

impl From<Counted> for SegmentCandidates {
    fn from(counted: Counted) -> Self {
        let segments = counted.segments.into_iter();
        Self {
            group_version: counted.group_version,
            fields: counted.fields,
            segments: segments
                .map(|segment| bare(segment.key, segment.customer_count))
                .collect(),
        }
    }
}

/// A segment before it is known what it could reuse.
const fn bare(key: SegmentKey, customer_count: i64) -> SegmentCandidate {
    SegmentCandidate {
        key,
        customer_count,
        reusable: None,
    }
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    group_version: i64,
    #[diesel(sql_type = Nullable<Text>)]
    customers_with_value: Option<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    customer_count: Option<i64>,
}

/// The counts that are kept for the group's version. One statement, so that version and counts
/// are of one moment: its first row is the segmentation, the others are its segments.
pub(crate) fn kept(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<Option<SegmentCandidates>, Failure> {
    let statement = sql(
        "WITH sg AS (SELECT g.version, sg.id, sg.customers_with_value FROM customer_groups g \
           JOIN segmentations sg ON sg.account_id = ? AND sg.group_id = g.id \
             AND sg.group_version = g.version AND sg.fields = ? \
           WHERE g.account_id = ? AND g.id = ?) \
         SELECT version AS group_version, customers_with_value, NULL::bytea AS key, \
           NULL::bigint AS customer_count FROM sg \
         UNION ALL \
         SELECT sg.version, NULL, gs.key, gs.customer_count FROM sg \
         CROSS JOIN LATERAL (SELECT key, customer_count FROM group_segments \
           WHERE account_id = ? AND segmentation_id = sg.id ORDER BY key LIMIT ?) gs",
    )
    .bind::<Id, _>(wanted.account.as_uuid())
    .bind::<Text, _>(wanted.segment_by.canonical())
    .bind::<Id, _>(wanted.account.as_uuid())
    .bind::<Id, _>(wanted.group.as_uuid())
    .bind::<Id, _>(wanted.account.as_uuid())
    .bind::<BigInt, _>(i64::from(wanted.limit) + 1);
    let mut found = None;
    let mut segments = Vec::new();
    for row in statement.load_iter::<CountRow, PgRowByRowLoadingMode>(conn)? {
        let row = row?;
        if let Some(customers) = row.customers_with_value {
            found = Some((row.group_version, row::field_values(&customers)?));
        } else if let (Some(key), Some(customer_count)) = (row.key, row.customer_count) {
            segments.push(bare(row::segment_key(&key)?, customer_count));
        }
    }
    segments.sort_unstable_by_key(|segment| segment.key);
    Ok(found.map(|(group_version, fields)| SegmentCandidates {
        group_version,
        fields,
        segments,
    }))
}

#[derive(QueryableByName)]
struct SegmentRow {
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    attributes: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    customer_count: Option<i64>,
}

impl SegmentRow {
    fn segment(self) -> Option<Result<Segment, StoreError>> {
        let (key, customer_count) = (self.key?, self.customer_count?);
        let attributes = Attributes::from_stored(self.attributes?);
        Some(row::segment_key(&key).map(|key| Segment {
            key,
            attributes,
            customer_count,
        }))
    }
}

/// The named segments from what is kept, as many as fill a page; `None` when nothing is.
pub(crate) fn kept_attributes(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
    keys: &[SegmentKey],
) -> Result<Option<Vec<Segment>>, Failure> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
    let text = PageQuery {
        columns: "gs.key, gs.attributes, gs.customer_count",
        bytes: "COALESCE(octet_length(gs.attributes), 0)",
        from: "FROM customer_groups g \
         JOIN segmentations sg ON sg.account_id = ? AND sg.group_id = g.id \
           AND sg.group_version = g.version AND sg.fields = ? \
         LEFT JOIN LATERAL (SELECT named.* FROM (SELECT DISTINCT unnest(?::bytea[]) AS key) k \
           CROSS JOIN LATERAL (SELECT key, attributes, customer_count FROM group_segments \
             WHERE account_id = ? AND segmentation_id = sg.id AND key = k.key \
             LIMIT 1) named) gs ON true \
         WHERE g.account_id = ? AND g.id = ?",
        order: "gs.key",
        by: "key",
    }
    .text();
    let rows = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(wanted.account.as_uuid())
        .bind::<Text, _>(wanted.segment_by.canonical())
        .bind::<Array<Binary>, _>(keys)
        .bind::<Id, _>(wanted.account.as_uuid())
        .bind::<Id, _>(wanted.account.as_uuid())
        .bind::<Id, _>(wanted.group.as_uuid())
        .load::<SegmentRow>(conn)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let segments = rows.into_iter().filter_map(SegmentRow::segment);
    Ok(Some(segments.collect::<Result<_, _>>()?))
}

/// Counts the segments, and keeps the counts unless the group has changed meanwhile. Whoever keeps the
/// same counts meanwhile makes this a conflict, and the next attempt finds them kept.
pub(crate) fn counted(conn: &mut PgConnection, wanted: &Wanted<'_>) -> Result<Counted, Failure> {
    let goes_on = in_transaction(conn)?;
    transaction(conn, |conn| {
        // A group can be most of the table, and its customers are not in the order of the index.
        conn.batch_execute("SET LOCAL enable_seqscan = on")?;
        let counted = count(conn, wanted)?;
        if goes_on {
            conn.batch_execute("SET LOCAL enable_seqscan = off")?;
        }
        Ok(counted)
    })
}

#[derive(QueryableByName)]
struct GroupedRow {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    values: Vec<Option<String>>,
    #[diesel(sql_type = BigInt)]
    customer_count: i64,
}

/// The version of a group that is there.
fn version(conn: &mut PgConnection, wanted: &Wanted<'_>) -> Result<Option<i64>, Failure> {
    let version = customer_groups::table
        .find((wanted.account.as_uuid(), wanted.group.as_uuid()))
        .filter(customer_groups::deleted_at.is_null())
        .select(customer_groups::version);
    Ok(version.get_result(conn).optional()?)
}

/// Groups the customers in the database, names the segments, and keeps the counts when a run can
/// have them. A value that is too long never leaves the database.
fn count(conn: &mut PgConnection, wanted: &Wanted<'_>) -> Result<Counted, Failure> {
    let (account, group) = (wanted.account.as_uuid(), wanted.group.as_uuid());
    let Some(group_version) = version(conn, wanted)? else {
        return Ok(Counted {
            group_version: 0,
            fields: vec![FieldValues::default(); wanted.segment_by.fields().len()],
            segments: Vec::new(),
        });
    };
    let fields = wanted.segment_by.sorted();
    let places = 1..=fields.len();
    let list = |item: fn(usize) -> String| {
        let items: Vec<String> = places.clone().map(item).collect();
        items.join(", ")
    };
    let columns = list(|place| format!("profile ->> ? AS v{place}"));
    // As `FieldValues::counted` has it: a character has at least one byte.
    let counted = list(|place| {
        const LONGEST: usize = SegmentBy::MAX_VALUE_LENGTH;
        format!(
            "CASE WHEN octet_length(v{place}) > {LONGEST} AND char_length(v{place}) > {LONGEST} \
             THEN '' ELSE v{place} END AS v{place}"
        )
    });
    let names = list(|place| format!("v{place}"));
    let grouped = list(|place| place.to_string());
    let ruled = wanted.segment_by.has_rules();
    let limit = if ruled {
        Counting::most_combinations(wanted.limit)
    } else {
        wanted.limit
    };
    // PostgreSQL takes what is computed of a profile to be as distinct as profiles are, and would
    // sort all customers to group them. The inner OFFSET hides from it what the values are
    // computed of, so that it hashes them, in about half the processor time for a million.
    let text = format!(
        "SELECT ARRAY[{names}] AS values, customer_count FROM ( \
           SELECT {counted}, count(*) AS customer_count FROM ( \
             SELECT {columns} FROM customers WHERE account_id = ? AND group_id = ? OFFSET 0) chosen \
           GROUP BY {grouped} LIMIT ?) counted"
    );
    let mut statement = sql(&text).planned_each_time();
    for field in &fields {
        statement = statement.bind::<Text, _>(*field);
    }
    let statement = statement
        .bind::<Id, _>(account)
        .bind::<Id, _>(group)
        .bind::<BigInt, _>(i64::from(limit) + 1);
    if ruled {
        return ruled_count(conn, wanted, group_version, statement);
    }
    let mut values = vec![FieldValues::default(); fields.len()];
    let mut segments: Vec<Segment> = Vec::new();
    for row in statement.load_iter::<GroupedRow, PgRowByRowLoadingMode>(conn)? {
        let row = row?;
        for (values, value) in values.iter_mut().zip(&row.values) {
            values.add(value.as_deref(), row.customer_count);
        }
        let of_row = row.values.iter().map(Option::as_deref);
        segments.push(wanted.segment_by.segment_of(of_row, row.customer_count));
    }
    segments.sort_unstable_by_key(|segment| segment.key);
    if u32::try_from(segments.len()).is_ok_and(|found| found > wanted.limit) {
        look_further(conn, wanted, &fields, &mut values)?;
    } else if !values.iter().any(|values| values.too_long) {
        keep(conn, wanted, group_version, &values, &segments)?;
    }
    Ok(Counted {
        group_version,
        fields: values,
        segments,
    })
}

/// The same by value rules: memory holds what is distinct after the rules, not each combination of values.
fn ruled_count(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
    group_version: i64,
    statement: Sql<'_, Pg>,
) -> Result<Counted, Failure> {
    let mut count = Counting::new(wanted.segment_by, wanted.limit);
    for row in statement.load_iter::<GroupedRow, PgRowByRowLoadingMode>(conn)? {
        let row = row?;
        let values = row.values.iter().map(Option::as_deref);
        count.add(values, row.customer_count);
    }
    let counted = count.finish();
    let too_much = counted.is_too_much(wanted.limit);
    let counting::Counted {
        segments,
        mut fields,
    } = counted;
    if too_much {
        look_further(conn, wanted, &wanted.segment_by.sorted(), &mut fields)?;
    } else if !fields.iter().any(|values| values.too_long) {
        keep(conn, wanted, group_version, &fields, &segments)?;
    }
    Ok(Counted {
        group_version,
        fields,
        segments,
    })
}

/// Finds out whether a field that has no value in the segments within the limit has one in
/// another.
fn look_further(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
    fields: &[&str],
    values: &mut [FieldValues],
) -> Result<(), Failure> {
    let unseen = |values: &FieldValues| values.customers == 0;
    if !values.iter().any(unseen) {
        return Ok(());
    }
    let names = fields.iter().zip(values.iter());
    let names: Vec<&str> = names
        .filter(|(_, values)| unseen(values))
        .map(|(name, _)| *name)
        .collect();
    let found = valued(conn, wanted.account, wanted.group, &names)?;
    let unseen = values.iter_mut().filter(|values| unseen(values));
    for (values, name) in unseen.zip(names) {
        values.customers = i64::from(found.iter().any(|found| found == name));
    }
    Ok(())
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The fields that some customer of the group has a value for. A field that many have is found at
/// once; for one that nobody has, every customer is looked at.
pub(crate) fn valued(
    conn: &mut PgConnection,
    account: AccountId,
    group: CustomerGroupId,
    names: &[impl AsRef<str>],
) -> Result<Vec<String>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT f.name FROM (VALUES {}) AS f(name) \
         WHERE EXISTS (SELECT 1 FROM customers \
           WHERE account_id = ? AND group_id = ? AND profile ->> f.name IS NOT NULL)",
        vec!["(?)"; names.len()].join(", ")
    );
    let mut statement = sql(&text);
    for name in names {
        statement = statement.bind::<Text, _>(name.as_ref());
    }
    let rows = statement
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(group.as_uuid())
        .load::<NameRow>(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

#[derive(QueryableByName)]
struct KeptRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
}

fn keep(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
    group_version: i64,
    values: &[FieldValues],
    segments: &[Segment],
) -> Result<(), Failure> {
    let (account, group) = (wanted.account.as_uuid(), wanted.group.as_uuid());
    let fields = wanted.segment_by.canonical();
    let older = segmentations::table
        .filter(segmentations::account_id.eq(account))
        .filter(segmentations::group_id.eq(group))
        .filter(segmentations::fields.eq(&fields))
        .filter(segmentations::group_version.lt(group_version));
    diesel::delete(older).execute(conn)?;
    // The customers were counted after the version was read. Where they are kept already, a unique
    // violation would be a failure; this is a conflict.
    let kept = sql("INSERT INTO segmentations \
           (account_id, id, group_id, fields, group_version, customers_with_value) \
         SELECT ?, gen_random_uuid(), id, ?, version, ? FROM customer_groups \
         WHERE account_id = ? AND id = ? AND version = ? ON CONFLICT DO NOTHING RETURNING id")
    .bind::<Id, _>(account)
    .bind::<Text, _>(fields.as_str())
    .bind::<Text, _>(row::customers_with_value(values))
    .bind::<Id, _>(account)
    .bind::<Id, _>(group)
    .bind::<BigInt, _>(group_version)
    .load::<KeptRow>(conn)?
    .pop();
    let Some(kept) = kept else {
        return if version(conn, wanted)? == Some(group_version) {
            Err(StoreError::Conflict.into())
        } else {
            Ok(())
        };
    };
    for slice in segments.chunks(SLICE) {
        let keys: Vec<&[u8]> = slice.iter().map(|s| &s.key.as_bytes()[..]).collect();
        let attributes: Vec<&str> = slice.iter().map(|s| s.attributes.as_json()).collect();
        let counts: Vec<i64> = slice.iter().map(|s| s.customer_count).collect();
        sql(
            "INSERT INTO group_segments (account_id, segmentation_id, key, attributes, customer_count) \
             SELECT ?, ?, key, attributes, customer_count \
             FROM unnest(?::bytea[], ?::text[], ?::bigint[]) AS g(key, attributes, customer_count)",
        )
        .planned_each_time()
        .bind::<Id, _>(account)
        .bind::<Id, _>(kept.id)
        .bind::<Array<Binary>, _>(keys)
        .bind::<Array<Text>, _>(attributes)
        .bind::<Array<BigInt>, _>(counts)
        .execute(conn)?;
    }
    Ok(())
}
