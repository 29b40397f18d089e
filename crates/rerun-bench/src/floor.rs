//! The floor: the work of a request as bare SQL, with prepared statements and as few round trips as
//! possible: one if a single statement is enough. It leaves the same rows as the server would, so
//! that the server can continue with them.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, TryStreamExt};
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

use crate::figures::Timed;
use crate::load::Load;
use crate::pgwire::{PREPARATION, Repeater};
use crate::{Failure, Outcome};

/// As [`PREPARATION`], for statements about many rows, whose best plan depends on how many. They are prepared
/// again for each turn, and planned with their values at hand the first time that they are executed.
/// (To demand it by a setting would plan the checks of foreign keys again for each row, too.)
const PREPARATION_FOR_MANY: &str = "SET jit = off";

/// The values of a statement.
pub(crate) type Values = Vec<Box<dyn ToSql + Sync + Send>>;

/// A page of history: `$1` account, `$2` campaign, `$3` runs before this number, `$4` rows.
pub(crate) const HISTORY: &str = "\
    SELECT c.status, c.current_run_number, r.number, r.job_uid, r.status, r.synthesised, \
      r.group_id, r.group_name, r.customer_count, r.segments_total, r.segments_matched, \
      r.segments_new, r.reused, r.generated, r.edited, r.generating, r.failed, r.pending, \
      r.approved, r.rejected, r.published, r.resulting_status, r.initiated_by, r.error, \
      r.cancel_reason, r.started_at, r.completed_at, r.archived_at \
    FROM campaigns c, runs r \
    WHERE c.account_id = $1 AND c.id = $2 AND r.account_id = $1 AND r.campaign_id = $2 \
      AND r.number < $3 ORDER BY r.number DESC LIMIT $4";

/// A page of the current run's messages: `$1` account, `$2` campaign, `$3` segments after this
/// number, `$4` rows. The lateral joins of single rows keep a planner that does not know the limit
/// from hashing whole tables.
pub(crate) const MESSAGES: &str = "\
    SELECT m.id, m.run_number, s.key, s.attributes, m.customer_count, t.subject, t.body, \
      m.review_status, m.approval_stage, m.source, m.reused_from_message_id, \
      m.reused_from_run_number, m.approvals, m.rejection_reason, m.error, m.created_at, \
      m.updated_at, r.archived_at \
    FROM campaigns c \
    JOIN runs r ON r.account_id = c.account_id AND r.campaign_id = c.id \
      AND r.number = c.current_run_number \
    JOIN LATERAL (SELECT * FROM messages n WHERE n.account_id = $1 AND n.campaign_id = $2 \
      AND n.run_number = r.number AND n.segment_no > $3 ORDER BY n.segment_no LIMIT $4) m ON true \
    JOIN LATERAL (SELECT key, attributes FROM segments WHERE account_id = $1 \
      AND campaign_id = $2 AND no = m.segment_no LIMIT 1) s ON true \
    LEFT JOIN LATERAL (SELECT subject, body FROM contents WHERE account_id = $1 \
      AND id = m.content_id LIMIT 1) t ON true \
    WHERE c.account_id = $1 AND c.id = $2 ORDER BY m.segment_no";

/// Counts the segments of a group by two fields and keeps the counts: `$1` account, `$2` group,
/// `$3` and `$4` the fields in the order of their names, `$5` both as a JSON array. The key is the
/// one that the server makes, so that either side finds what the other kept.
pub(crate) const COUNT: &str = "\
    WITH counted AS MATERIALIZED ( \
      SELECT profile ->> $3::text AS v1, profile ->> $4::text AS v2, count(*) AS customers \
      FROM customers WHERE account_id = $1 AND group_id = $2 GROUP BY 1, 2), \
    made AS ( \
      INSERT INTO segmentations \
        (account_id, id, group_id, fields, group_version, customers_with_value) \
      SELECT account_id, gen_random_uuid(), id, $5, version, \
        (SELECT json_build_array( \
           COALESCE(sum(customers) FILTER (WHERE v1 IS NOT NULL), 0)::bigint, \
           COALESCE(sum(customers) FILTER (WHERE v2 IS NOT NULL), 0)::bigint)::text FROM counted) \
      FROM customer_groups WHERE account_id = $1 AND id = $2 RETURNING account_id, id), \
    kept AS (INSERT INTO group_segments (account_id, segmentation_id, key, attributes, customer_count) \
    SELECT made.account_id, made.id, \
      sha256('rerun.segment.1'::bytea \
        || int8send(octet_length($3)) || convert_to($3, 'UTF8') \
        || COALESCE('\\x01'::bytea || int8send(octet_length(v1)) || convert_to(v1, 'UTF8'), '\\x00') \
        || int8send(octet_length($4)) || convert_to($4, 'UTF8') \
        || COALESCE('\\x01'::bytea || int8send(octet_length(v2)) || convert_to(v2, 'UTF8'), '\\x00')), \
      '{' || to_json($3::text) || ':' || COALESCE(to_json(v1)::text, 'null') || ',' \
        || to_json($4::text) || ':' || COALESCE(to_json(v2)::text, 'null') || '}', customers \
    FROM made, counted RETURNING 1) \
    SELECT count(*) FROM kept";

/// Starts a rerun whose segments all match, with kept counts: `$1` account, `$2` campaign, `$3`
/// group, `$4` the fields as a JSON array, `$5` the current run's number, `$6` twenty hexadecimal
/// digits that the ids of the messages begin with (in the order of time, as the server's do), `$7`
/// the job. Answers the number of messages. The lateral joins keep a planner that takes the tables
/// for small from comparing each segment with each.
pub(crate) const INITIATE: &str = "\
    WITH campaign AS MATERIALIZED ( \
      SELECT c.segment_by, g.name AS group_name FROM campaigns c \
      JOIN customer_groups g ON g.account_id = $1 AND g.id = $3 \
      WHERE c.account_id = $1 AND c.id = $2 AND c.status = 'Published' \
        AND c.current_run_number = $5 FOR UPDATE OF c FOR SHARE OF g), \
    matched AS MATERIALIZED ( \
      SELECT gs.customer_count, m.id, m.segment_no, m.content_id, m.run_number, m.approvals, \
        m.edited_by \
      FROM segmentations sg \
      JOIN group_segments gs ON gs.account_id = $1 AND gs.segmentation_id = sg.id \
      JOIN LATERAL (SELECT no FROM segments WHERE account_id = $1 AND campaign_id = $2 \
        AND key = gs.key LIMIT 1) s ON true \
      JOIN LATERAL (SELECT * FROM messages WHERE account_id = $1 AND campaign_id = $2 \
        AND run_number = $5 AND segment_no = s.no AND review_status = 'Published' LIMIT 1) m ON true \
      WHERE sg.account_id = $1 AND sg.group_id = $3 AND sg.fields = $4), \
    sums AS (SELECT count(*)::int AS segments, sum(customer_count)::bigint AS customers \
      FROM matched), \
    previous AS (UPDATE runs SET archived_at = now() FROM campaign \
      WHERE account_id = $1 AND campaign_id = $2 AND number = $5 RETURNING number), \
    run AS (INSERT INTO runs (account_id, campaign_id, number, job_uid, status, group_id, \
        group_name, customer_count, segments_total, segments_matched, segments_new, reused, \
        generated, edited, generating, failed, pending, approved, rejected, published, \
        resulting_status, initiated_by, initiated_ip, previous_run_number, started_at, \
        completed_at) \
      SELECT $1, $2, previous.number + 1, $7, 'Completed', $3, campaign.group_name, \
        sums.customers, sums.segments, sums.segments, 0, sums.segments, 0, 0, 0, 0, 0, \
        sums.segments, 0, 0, 'Ready to publish', $1, '127.0.0.1', previous.number, now(), now() \
      FROM campaign, previous, sums RETURNING number), \
    added AS (INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, \
        customer_count, content_id, review_status, source, reused_from_message_id, \
        reused_from_run_number, approvals, edited_by, created_at, updated_at) \
      SELECT $1, ($6::text || lpad(to_hex(matched.segment_no), 12, '0'))::uuid, $2, run.number, \
        matched.segment_no, matched.customer_count, matched.content_id, 'Approved', 'reused', \
        matched.id, matched.run_number, matched.approvals, matched.edited_by, now(), now() \
      FROM run, matched RETURNING 1), \
    moved AS (UPDATE campaigns SET status = 'Ready to publish', current_run_number = run.number, \
        last_run_number = run.number, version = version + 1, updated_at = now() \
      FROM run WHERE account_id = $1 AND id = $2), \
    head AS (INSERT INTO audit_heads AS h (account_id, seq, hash) SELECT $1, 1, \
        sha256($7::text::bytea) FROM run \
      ON CONFLICT (account_id) DO UPDATE \
        SET seq = h.seq + 1, hash = sha256(h.hash || $7::text::bytea) RETURNING seq, hash), \
    entry AS (INSERT INTO audit_entries (account_id, seq, id, action, campaign_id, run_number, \
        user_id, role_code, ip, request_id, details, created_at, hash) \
      SELECT $1, head.seq, $7, 'rerun.initiated', $2, run.number, $1, 'ADMIN', '127.0.0.1', \
        $7::text, '{}', now(), head.hash FROM head, run) \
    SELECT count(*) FROM added";

/// What a rerun would do, with a page of its segments: `$1` account, `$2` campaign, `$3` group,
/// `$4` the fields as a JSON array, `$5` the current run's number, `$6` rows.
pub(crate) const PREVIEW: &str = "\
    WITH planned AS MATERIALIZED ( \
      SELECT gs.key, gs.attributes, gs.customer_count, m.id, m.run_number \
      FROM segmentations sg \
      JOIN group_segments gs ON gs.account_id = $1 AND gs.segmentation_id = sg.id \
      LEFT JOIN LATERAL (SELECT no FROM segments WHERE account_id = $1 AND campaign_id = $2 \
        AND key = gs.key LIMIT 1) s ON true \
      LEFT JOIN LATERAL (SELECT id, run_number FROM messages WHERE account_id = $1 \
        AND campaign_id = $2 AND run_number = $5 AND segment_no = s.no \
        AND review_status = 'Published' LIMIT 1) m ON true \
      WHERE sg.account_id = $1 AND sg.group_id = $3 AND sg.fields = $4) \
    SELECT sums.*, page.* \
    FROM (SELECT count(*), count(id), sum(customer_count)::bigint FROM planned) sums, \
      (SELECT * FROM planned ORDER BY key LIMIT $6) page";

/// Takes every due message of a run under a lease: `$1` account, `$2` campaign, `$3` lease.
/// Answers their ids with their segments. The lateral joins keep a planner that has not heard of a
/// new campaign's many segments from reading all of them for each message.
pub(crate) const LEASE: &str = "\
    WITH taken AS (UPDATE generation_tasks \
      SET lease_id = $3, due_at = now() + interval '30 seconds' \
      WHERE account_id = $1 AND campaign_id = $2 AND due_at <= now() RETURNING message_id) \
    SELECT m.id, s.attributes FROM taken \
    JOIN LATERAL (SELECT id, segment_no FROM messages \
      WHERE account_id = $1 AND id = taken.message_id LIMIT 1) m ON true \
    JOIN LATERAL (SELECT attributes FROM segments \
      WHERE account_id = $1 AND campaign_id = $2 AND no = m.segment_no LIMIT 1) s ON true";

/// Stores what was generated: `$1` account, `$2` campaign, `$3` run, `$4` lease, `$5` ids of
/// messages, `$6` of contents, `$7` subjects, `$8` bodies.
pub(crate) const STORE: &str = "\
    WITH results AS (SELECT * FROM unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[]) \
      AS r(id, content_id, subject, body)), \
    taken AS (DELETE FROM generation_tasks t USING results r \
      WHERE t.account_id = $1 AND t.message_id = r.id AND t.lease_id = $4 \
      RETURNING t.message_id), \
    stored AS (INSERT INTO contents (account_id, id, run_number, subject, body, created_at) \
      SELECT $1, r.content_id, $3, r.subject, r.body, now() FROM results r), \
    moved AS (UPDATE messages m SET content_id = r.content_id, review_status = 'Pending review', \
        approval_stage = 0, updated_at = now() \
      FROM results r WHERE m.account_id = $1 AND m.id = r.id RETURNING 1), \
    sums AS (SELECT count(*)::int AS messages FROM moved), \
    counted AS (UPDATE runs SET generating = generating - sums.messages, \
        pending = pending + sums.messages, status = 'Completed', completed_at = now() FROM sums \
      WHERE account_id = $1 AND campaign_id = $2 AND number = $3), \
    changed AS (UPDATE campaigns SET status = 'Ready for review', version = version + 1, \
        updated_at = now() WHERE account_id = $1 AND id = $2) \
    SELECT messages FROM sums";

/// Connects to the database as nobody but the floor does.
pub(crate) struct Floor {
    runtime: Runtime,
    config: Config,
}

/// A connection with the statements of some work.
pub(crate) struct Session {
    pub(crate) client: Client,
    texts: Vec<String>,
    statements: Vec<Statement>,
}

/// A statement of a [`Session`], by its place, with its values.
pub(crate) type Call = (usize, Values);

impl Floor {
    pub(crate) fn new(url: &str) -> Outcome<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            config: url.parse()?,
        })
    }

    /// Connections for statements about a few rows.
    pub(crate) fn sessions(&self, count: usize, statements: &[&str]) -> Outcome<Vec<Session>> {
        self.sessions_with(count, statements, PREPARATION)
    }

    /// Connections for statements about many rows, see [`Floor::prepare_again`].
    pub(crate) fn sessions_for_many(
        &self,
        count: usize,
        statements: &[&str],
    ) -> Outcome<Vec<Session>> {
        self.sessions_with(count, statements, PREPARATION_FOR_MANY)
    }

    fn sessions_with(
        &self,
        count: usize,
        statements: &[&str],
        preparation: &str,
    ) -> Outcome<Vec<Session>> {
        self.runtime.block_on(async {
            let mut sessions = Vec::with_capacity(count);
            for _ in 0..count {
                let client = self.client().await?;
                client.batch_execute(preparation).await?;
                let mut session = Session {
                    client,
                    texts: statements.iter().map(|text| marked(text)).collect(),
                    statements: Vec::new(),
                };
                session.prepare().await?;
                sessions.push(session);
            }
            Ok(sessions)
        })
    }

    /// Makes the next execution of each statement one that is planned with its values at hand.
    pub(crate) fn prepare_again(&self, sessions: &mut [Session]) -> Outcome<()> {
        self.runtime.block_on(async {
            for session in sessions {
                session.prepare().await?;
            }
            Ok(())
        })
    }

    async fn client(&self) -> Outcome<Client> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // What breaks a connection fails the statement that waits for it.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Connections that repeat a statement with these values in turn, each beginning with others.
    pub(crate) fn repeaters(
        &self,
        count: usize,
        statement: &str,
        values: &[Vec<String>],
    ) -> Outcome<Load<Repeater>> {
        let statement = marked(statement);
        let open = |index: usize| {
            let first = index * values.len() / count;
            Repeater::open(&self.config, &statement, values, first)
        };
        let connections: Outcome<Vec<Repeater>> = (0..count).map(open).collect();
        Ok(Load::of(connections?))
    }

    /// Every job is done once, by one of the sessions: its statements one after the other. The
    /// last one answers the number that the job has with it.
    pub(crate) fn each(&self, sessions: &[Session], jobs: &[(Vec<Call>, i64)]) -> Outcome<Timed> {
        let count = sessions.len();
        let share = async |(index, session): (usize, &Session)| {
            let mut latencies = Vec::new();
            for (calls, expected) in jobs.iter().skip(index).step_by(count) {
                let start = Instant::now();
                let answered = session.calls(calls).await?;
                latencies.push(start.elapsed());
                if answered != Some(*expected) {
                    return Err(format!("{answered:?} in place of {expected} messages").into());
                }
            }
            Ok::<_, Failure>(latencies)
        };
        self.runtime.block_on(async {
            let start = Instant::now();
            let all = try_join_all(sessions.iter().enumerate().map(share)).await?;
            Ok(Timed {
                latencies: all.concat(),
                wall: start.elapsed(),
            })
        })
    }

    /// Does something else with sessions.
    pub(crate) fn with<T>(&self, job: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        self.runtime.block_on(job)
    }

    /// Runs statements that answer nothing.
    pub(crate) fn execute(&self, text: &str) -> Outcome<()> {
        self.runtime
            .block_on(async { Ok(self.client().await?.batch_execute(text).await?) })
    }

    /// The rows of a query, its columns as texts.
    pub(crate) fn texts(&self, text: &str) -> Outcome<Vec<Vec<String>>> {
        let messages = self
            .runtime
            .block_on(async { Ok::<_, Failure>(self.client().await?.simple_query(text).await?) })?;
        let row = |message: &SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            let texts = (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned());
            Some(texts.collect())
        };
        Ok(messages.iter().filter_map(row).collect())
    }
}

/// A statement that can be told from the server's where the database lists them.
fn marked(statement: &str) -> String {
    statement.replacen(' ', " /* floor */ ", 1)
}

impl Session {
    async fn prepare(&mut self) -> Outcome<()> {
        self.statements.clear();
        for text in &self.texts {
            self.statements.push(self.client.prepare(text).await?);
        }
        Ok(())
    }

    fn statement(&self, index: usize) -> Outcome<&Statement> {
        self.statements
            .get(index)
            .ok_or_else(|| Failure::from("a statement that was not prepared"))
    }

    pub(crate) async fn query(
        &self,
        index: usize,
        values: &Values,
    ) -> Outcome<Vec<tokio_postgres::Row>> {
        let values: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| -> &(dyn ToSql + Sync) { value.as_ref() })
            .collect();
        Ok(self.client.query(self.statement(index)?, &values).await?)
    }

    async fn calls(&self, calls: &[Call]) -> Outcome<Option<i64>> {
        let mut answered = None;
        for (index, values) in calls {
            let rows = self.query(*index, values).await?;
            answered = rows.first().and_then(|row| row.try_get(0).ok());
        }
        Ok(answered)
    }

    /// Streams `data` into a `COPY`.
    pub(crate) async fn copy_in(&self, copy: &str, data: Vec<Bytes>) -> Outcome<u64> {
        let sink = self.client.copy_in::<_, Bytes>(copy).await?;
        let mut sink = std::pin::pin!(sink);
        for piece in data {
            sink.feed(piece).await?;
        }
        Ok(sink.finish().await?)
    }

    /// Reads a `COPY` to its end; answers its bytes.
    pub(crate) async fn copy_out(&self, copy: &str) -> Outcome<usize> {
        let stream = self.client.copy_out(copy).await?;
        let bytes = stream.try_fold(0, async |sum, piece| Ok(sum + piece.len()));
        Ok(bytes.await?)
    }
}
