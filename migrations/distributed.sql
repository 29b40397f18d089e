-- Distributes the tables of a migrated database over the servers of a Citus cluster, by account. Run it
-- once, on the coordinator, as the role that the servers connect with:
--
--     rerun-http migrate
--     psql --single-transaction -v ON_ERROR_STOP=1 -f migrations/distributed.sql
--
-- Citus takes no triggers. So foreign keys check references here, row by row, and what only a trigger can
-- check is not checked.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

DO $$
DECLARE
    of record;
BEGIN
    FOR of IN SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger
        WHERE NOT tgisinternal
            AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', of.tgname, of.relation);
    END LOOP;
END $$;
DROP FUNCTION refer_to, keep_place, go_last, go_before, drop_kept_counts, contents_never_change,
    messages_refer, messages_change, campaigns_go, runs_go, parts_go, messages_go;

-- A table that refers to another one can only be distributed after it, and two refer to each other.
CREATE TEMPORARY TABLE foreign_keys ON COMMIT DROP AS
    SELECT conrelid::regclass::text AS relation, conname, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace;
DO $$
DECLARE
    key record;
    distributed text;
BEGIN
    FOR key IN SELECT * FROM foreign_keys LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', key.relation, key.conname);
    END LOOP;
    PERFORM create_distributed_table('customer_groups', 'account_id', colocate_with => 'none');
    FOR distributed IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
            AND a.attname = 'account_id' AND c.relname <> 'customer_groups' ORDER BY c.relname
    LOOP
        PERFORM create_distributed_table(distributed, 'account_id', colocate_with => 'customer_groups');
    END LOOP;
    FOR key IN SELECT * FROM foreign_keys LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', key.relation, key.conname, key.definition);
    END LOOP;
END $$;

-- In place of triggers. What is left of a deleted campaign goes bit by bit after its row, so that segments do
-- not refer to campaigns, and messages not to runs.
ALTER TABLE customers ADD CONSTRAINT customers_group
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id);
ALTER TABLE group_segments ADD CONSTRAINT group_segments_segmentation
    FOREIGN KEY (account_id, segmentation_id) REFERENCES segmentations (account_id, id) ON DELETE CASCADE;
ALTER TABLE messages ADD CONSTRAINT messages_segment
    FOREIGN KEY (account_id, campaign_id, segment_no) REFERENCES segments (account_id, campaign_id, no);
ALTER TABLE messages ADD CONSTRAINT messages_content
    FOREIGN KEY (account_id, content_id) REFERENCES contents (account_id, id);
ALTER TABLE generation_tasks ADD CONSTRAINT generation_tasks_message
    FOREIGN KEY (account_id, message_id) REFERENCES messages (account_id, id);

REVOKE UPDATE ON contents FROM PUBLIC, CURRENT_USER;

-- A server that stands still keeps requests for its accounts waiting for so long (in milliseconds), not for half a
-- minute.
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET citus.node_connection_timeout = 2000', current_database());
END $$;
