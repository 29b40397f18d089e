-- A deleted group comes back without customers: the earlier schema cannot have a run without its
-- group.
DELETE FROM customers c USING customer_groups g
    WHERE g.account_id = c.account_id AND g.id = c.group_id AND g.deleted_at IS NOT NULL;
UPDATE customer_groups SET customer_count = 0 WHERE deleted_at IS NOT NULL;
ALTER TABLE runs DROP COLUMN group_version;
DROP INDEX runs_by_group;
DROP INDEX campaigns_by_group;
DROP INDEX customer_groups_by_creation;
DROP INDEX customer_groups_to_sweep;
ALTER TABLE customer_groups DROP COLUMN deleted_at;
CREATE INDEX customer_groups_by_creation ON customer_groups (account_id, created_at, id);
