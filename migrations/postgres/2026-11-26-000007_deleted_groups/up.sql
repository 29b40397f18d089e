-- Runs name the group that they were for, also after the group was deleted: its row stays. For
-- everything else a group with this time is not there.
ALTER TABLE customer_groups ADD COLUMN deleted_at timestamptz;
-- A deleted group that may have customers left has a count: they go bit by bit.
CREATE INDEX customer_groups_to_sweep ON customer_groups (account_id, id)
    WHERE deleted_at IS NOT NULL AND customer_count > 0;

DROP INDEX customer_groups_by_creation;
CREATE INDEX customer_groups_by_creation ON customer_groups (account_id, created_at, id)
    WHERE deleted_at IS NULL;

-- A group is in use while a draft, or the current run of a campaign, is for it.
CREATE INDEX campaigns_by_group ON campaigns (account_id, customer_group_id)
    WHERE status = 'Draft';
CREATE INDEX runs_by_group ON runs (account_id, group_id) WHERE archived_at IS NULL;

-- The version that the group had when the run started: whether its customers changed since then does
-- not depend on clocks. Null for runs of before.
ALTER TABLE runs ADD COLUMN group_version bigint;
