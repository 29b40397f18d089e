-- The names of the profile fields that imports brought, as a JSON array, at most 10,000. Groups
-- that exist get those of their customers' profiles, in the order of the names: the order in which
-- the columns came is not known any more.
ALTER TABLE customer_groups ADD COLUMN fields TEXT NOT NULL DEFAULT '[]';

UPDATE customer_groups SET fields = known.names
FROM (
    SELECT account_id, group_id, json_group_array(name ORDER BY name) AS names
    FROM (
        SELECT account_id, group_id, name,
            row_number() OVER (PARTITION BY account_id, group_id ORDER BY name) AS place
        FROM (
            SELECT DISTINCT c.account_id, c.group_id, f.key AS name
            FROM customers c, json_each(c.profile) f))
    WHERE place <= 10000
    GROUP BY account_id, group_id) known
WHERE customer_groups.account_id = known.account_id AND customer_groups.id = known.group_id;
