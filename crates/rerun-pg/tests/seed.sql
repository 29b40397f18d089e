-- Two accounts with the same ids in both, so that a statement that forgets the account reads twice
-- as much. Campaign 1 has 200 runs, of which the last ten have 300 messages each; of the others,
-- every second is published with 5 messages, and from 300 on with 40 that are to be generated.
CREATE FUNCTION pg_temp.account(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE n WHEN 1 THEN 'aaaaaaaa-0000-4000-8000-000000000001'::uuid
        ELSE 'bbbbbbbb-0000-4000-8000-000000000002'::uuid END $$;
CREATE FUNCTION pg_temp.id(kind int, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('cccccccc-0000-4000-8' || lpad(kind::text, 3, '0') || '-' || lpad(n::text, 12, '0'))::uuid $$;

CREATE TEMPORARY VIEW accounts AS SELECT n AS nth, pg_temp.account(n) AS account FROM generate_series(1, 2) n;
CREATE TEMPORARY VIEW published AS
    SELECT account, nth, n, n > 300 AS waiting FROM accounts, generate_series(3, 400, 2) n;

BEGIN;
INSERT INTO customer_groups (account_id, id, name, created_at, updated_at)
    SELECT account, pg_temp.id(1, n), 'g', '2026-01-01'::timestamptz + n * interval '1 s', now()
    FROM accounts, generate_series(1, 400) n;
-- The tables that are read from their start to the end while they have few pages have more.
INSERT INTO segmentations SELECT account, pg_temp.id(1, n), pg_temp.id(1, n), '["country"]', 1,
        CASE n WHEN 1 THEN '[2000]' ELSE '[20]' END
    FROM accounts, generate_series(1, 50) n;
INSERT INTO segmentations SELECT account, gen_random_uuid(), pg_temp.id(1, n), '["f' || f || '"]', 1, '[0]'
    FROM accounts, generate_series(1, 400) n, generate_series(1, 5) f;
INSERT INTO group_segments
    SELECT account, pg_temp.id(1, n), sha256(s::text::bytea), '{"country":"' || s || '"}', 1
    FROM accounts, generate_series(1, 50) n, generate_series(1, CASE n WHEN 1 THEN 2000 ELSE 20 END) s;
INSERT INTO campaigns (account_id, id, name, customer_group_id, segment_by, approval_stages,
        template_subject, template_body, status, current_run_number, last_run_number, version,
        created_by, created_at, updated_at)
    SELECT account, pg_temp.id(2, n), 'c', pg_temp.id(1, n), '["country"]', '["Approval"]', 's', 'b',
        CASE WHEN n % 2 = 0 THEN 'Draft' WHEN n > 300 THEN 'Processing' ELSE 'Published' END,
        CASE WHEN n % 2 = 0 THEN NULL WHEN n = 1 THEN 200 ELSE 1 END,
        CASE WHEN n % 2 = 0 THEN NULL WHEN n = 1 THEN 200 ELSE 1 END,
        1, account, '2026-01-01'::timestamptz + n * interval '1 s', now()
    FROM accounts, generate_series(1, 400) n;

INSERT INTO runs (account_id, campaign_id, number, job_uid, status, group_id, group_name,
        customer_count, segments_total, segments_matched, segments_new, reused, generated, edited,
        generating, failed, pending, approved, rejected, published, resulting_status,
        previous_run_number, started_at, completed_at, archived_at)
    SELECT account, pg_temp.id(2, 1), n, gen_random_uuid(), 'Completed', pg_temp.id(1, 1), 'g', 300,
        300, 0, 300, 0, 300, 0, 0, 0, 0, 0, 0, 300, 'Ready for review', nullif(n - 1, 0),
        '2026-02-01', '2026-02-01', CASE WHEN n < 200 THEN '2026-02-02'::timestamptz END
    FROM accounts, generate_series(1, 200) n;
INSERT INTO runs (account_id, campaign_id, number, job_uid, status, group_id, group_name,
        customer_count, segments_total, segments_matched, segments_new, reused, generated, edited,
        generating, failed, pending, approved, rejected, published, resulting_status, started_at,
        completed_at)
    SELECT account, pg_temp.id(2, n), 1, gen_random_uuid(),
        CASE WHEN waiting THEN 'Queued' ELSE 'Completed' END, pg_temp.id(1, n), 'g', m, m, 0, m, 0, m, 0,
        CASE WHEN waiting THEN m ELSE 0 END, 0, 0, 0, 0, CASE WHEN waiting THEN 0 ELSE m END,
        'Ready for review', '2026-02-01', CASE WHEN NOT waiting THEN '2026-02-01'::timestamptz END
    FROM published, LATERAL (SELECT CASE WHEN waiting THEN 40 ELSE 5 END) AS of_run(m);
INSERT INTO segments
    SELECT account, pg_temp.id(2, 1), s, sha256(s::text::bytea), '{"country":"' || s || '"}'
    FROM accounts, generate_series(1, 300) s;
INSERT INTO segments
    SELECT account, pg_temp.id(2, n), s, sha256(s::text::bytea), '{"country":"' || s || '"}'
    FROM published, generate_series(1, CASE WHEN waiting THEN 40 ELSE 5 END) s;
INSERT INTO contents
    SELECT account, pg_temp.id(r, s), r, 's', 'b', NULL, now()
    FROM accounts, generate_series(191, 200) r, generate_series(1, 300) s;
INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, customer_count,
        content_id, review_status, source, created_at, updated_at)
    SELECT account, pg_temp.id(r, s), pg_temp.id(2, 1), r, s, 1, pg_temp.id(r, s), 'Published',
        'generated', now(), now()
    FROM accounts, generate_series(191, 200) r, generate_series(1, 300) s;
-- Every 25th message of the current run was written by hand and waits.
UPDATE messages SET review_status = 'Pending review', approval_stage = 0, source = 'edited'
    WHERE campaign_id = pg_temp.id(2, 1) AND run_number = 200 AND segment_no % 25 = 0;
INSERT INTO contents
    SELECT account, pg_temp.id(500 + s, n), 1, 's', 'b', NULL, now()
    FROM published, generate_series(1, 5) s WHERE NOT waiting;
INSERT INTO messages (account_id, id, campaign_id, run_number, segment_no, customer_count,
        content_id, review_status, source, created_at, updated_at)
    SELECT account, pg_temp.id(500 + s, n), pg_temp.id(2, n), 1, s, 1,
        CASE WHEN NOT waiting THEN pg_temp.id(500 + s, n) END,
        CASE WHEN waiting THEN 'Generating' ELSE 'Published' END, 'generated', now(), now()
    FROM published, generate_series(1, CASE WHEN waiting THEN 40 ELSE 5 END) s;
-- The first ten tasks of each campaign after those of another, so that a lease of ten is of one
-- campaign; the others are not due yet, and half of them are held.
INSERT INTO generation_tasks (account_id, message_id, campaign_id, run_number, due_at, lease_id, set_at)
    SELECT account, pg_temp.id(500 + s, n), pg_temp.id(2, n), 1,
        CASE WHEN s > 10 THEN '2026-03-02'::timestamptz ELSE '2026-02-01' END
            + (nth * 1000000 + n * 1000 + s) * interval '1 ms',
        CASE WHEN s > 25 THEN account END, CASE WHEN s > 10 THEN '2026-02-01'::timestamptz END
    FROM published, generate_series(1, 40) s WHERE waiting;
-- The first twenty schedules are due. The last twenty wait for a campaign that is not published.
INSERT INTO schedules (account_id, id, campaign_id, name, cron, time_zone, reuse_from, condition,
        overlap, catch_up_seconds, jitter_seconds, status, next_time, due_at, waiting_for,
        waiting_triggered, created_by, role_code, created_at, updated_at)
    SELECT account, pg_temp.id(9, n), pg_temp.id(2, 2), 'n', '0 9 * * *', 'UTC', 'current_run', 'always',
        'wait', 0, 0, 'active', due, due, CASE WHEN n > 1980 THEN '2026-02-01'::timestamptz END,
        CASE WHEN n > 1980 THEN false END, account, 'ADMIN',
        '2026-01-01'::timestamptz + n * interval '1 s', now()
    FROM accounts, generate_series(1, 2000) n,
        LATERAL (SELECT CASE WHEN n <= 20 THEN '2026-02-01'::timestamptz ELSE '2026-04-01' END
            + n * interval '1 ms') AS of_schedule(due);
INSERT INTO schedule_firings (account_id, schedule_id, scheduled_for, triggered, fired_at, outcome,
        run_number)
    SELECT account, pg_temp.id(9, s), '2026-01-01'::timestamptz + n * interval '1 s', false, now(),
        CASE WHEN n % 2 = 0 THEN 'started' ELSE 'missed' END, CASE WHEN n % 2 = 0 THEN n END
    FROM accounts, generate_series(1, 2000) s, generate_series(1, CASE s WHEN 1 THEN 2000 ELSE 10 END) n;
INSERT INTO audit_entries (account_id, seq, id, action, campaign_id, details, created_at, hash)
    SELECT account, n, gen_random_uuid(),
        (ARRAY['campaign.created', 'campaign.launched', 'campaign.published'])[1 + n % 3],
        pg_temp.id(2, CASE WHEN n % 20 = 0 THEN 1 ELSE 1 + n % 400 END), '{}', now(), sha256('x')
    FROM accounts, generate_series(1, 40000) n;
INSERT INTO audit_heads (account_id, seq, hash) SELECT account, 40000, sha256('x') FROM accounts
    UNION ALL SELECT gen_random_uuid(), 1, sha256('x') FROM generate_series(1, 40000);
-- Each account has 20 webhooks, of which the second is behind and the last disabled, and two that were
-- deleted. Other accounts have one, with all that they have in it.
INSERT INTO webhooks (account_id, id, url, ordered, disabled_reason, secret_number, cursor_seq, version,
        created_at, updated_at, deleted_at)
    SELECT account, pg_temp.id(8, n), 'https://receiver.example', false, CASE n WHEN 20 THEN 'gone' END, 1,
        CASE n WHEN 2 THEN 30000 ELSE 40000 END, 1, '2026-01-01'::timestamptz + n * interval '1 s', now(),
        CASE WHEN n > 20 THEN '2026-02-01'::timestamptz END
    FROM accounts, generate_series(1, 22) n;
INSERT INTO webhooks (account_id, id, url, ordered, secret_number, cursor_seq, version, created_at, updated_at)
    SELECT account_id, gen_random_uuid(), 'https://receiver.example', false, 1, 1, 1, now(), now()
    FROM audit_heads WHERE seq = 1 ORDER BY account_id LIMIT 4000;
-- What ended: much for the first two, of which every hundredth failed, and what is old for the third.
INSERT INTO webhook_deliveries (account_id, webhook_id, seq, state, replayed, attempts, tried, ended_at)
    SELECT account, pg_temp.id(8, w), n, CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'delivered' END, false, 1, 1,
        CASE w WHEN 3 THEN '2025-01-01'::timestamptz ELSE '2026-02-01' END
    FROM accounts, generate_series(1, 22) w, generate_series(1, CASE WHEN w < 4 THEN 2000 ELSE 200 END) n
    WHERE w <> 20;
-- What waits: 2,000 for the first, 20 for each of the others, and nothing for the second.
INSERT INTO webhook_deliveries (account_id, webhook_id, seq, state, replayed, due_at)
    SELECT account, pg_temp.id(8, w), 40001 - n, 'pending', false,
        CASE WHEN w < 20 THEN '2026-02-01'::timestamptz + n * interval '1 s' END
    FROM accounts, generate_series(1, 20) w, generate_series(1, CASE w WHEN 1 THEN 2000 ELSE 20 END) n
    WHERE w <> 2;
INSERT INTO webhook_attempts (account_id, webhook_id, seq, no, at, status, duration_ms)
    SELECT account_id, webhook_id, seq, 1,
        CASE WHEN state = 'pending' THEN '2025-01-01'::timestamptz ELSE '2026-02-01' END, 204, 5
    FROM webhook_deliveries WHERE webhook_id <> pg_temp.id(8, 3);
UPDATE webhook_deliveries SET tried = 1 WHERE state = 'pending' AND webhook_id <> pg_temp.id(8, 3);
INSERT INTO event_cursors (account_id, stream, seq)
    SELECT account_id, 'all', seq FROM
        (SELECT account_id, seq, row_number() OVER (ORDER BY account_id) AS n FROM audit_heads) AS numbered
    WHERE n % 10 = 0 OR seq > 1;
COMMIT;
