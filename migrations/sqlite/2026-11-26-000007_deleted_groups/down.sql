-- A deleted group comes back without customers: the earlier schema cannot have a run without its
-- group.
DELETE FROM customers WHERE (account_id, group_id) IN (
    SELECT account_id, id FROM customer_groups WHERE deleted_at IS NOT NULL);
DELETE FROM customer_editions WHERE (account_id, group_id) IN (
    SELECT account_id, id FROM customer_groups WHERE deleted_at IS NOT NULL);
ALTER TABLE runs DROP COLUMN group_version;
DROP INDEX runs_by_group;
DROP INDEX campaigns_by_group;
DROP INDEX customer_groups_by_creation;
ALTER TABLE customer_groups DROP COLUMN deleted_at;
CREATE INDEX customer_groups_by_creation ON customer_groups (account_id, created_at, id);
