-- Nothing changes on PostgreSQL: readers do not see an import before it is committed, and writers
-- do not wait for it. Both databases have the same migrations.
SELECT 1;
