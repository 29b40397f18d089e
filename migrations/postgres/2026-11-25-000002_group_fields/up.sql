-- The names of the profile fields that imports brought, as a JSON array, at most 10,000. Groups
-- that exist get those of their customers' profiles, in the order of the names: the order in which
-- the columns came is not known any more.
ALTER TABLE customer_groups ADD COLUMN fields text NOT NULL DEFAULT '[]';

UPDATE customer_groups g SET fields = known.names
FROM (
    SELECT account_id, group_id, jsonb_agg(name ORDER BY name COLLATE "C")::text AS names
    FROM (
        SELECT account_id, group_id, name,
            row_number() OVER (
                PARTITION BY account_id, group_id ORDER BY name COLLATE "C") AS place
        FROM (
            SELECT DISTINCT c.account_id, c.group_id, jsonb_object_keys(c.profile) AS name
            FROM customers c) each_name) numbered
    WHERE place <= 10000
    GROUP BY account_id, group_id) known
WHERE g.account_id = known.account_id AND g.id = known.group_id;
