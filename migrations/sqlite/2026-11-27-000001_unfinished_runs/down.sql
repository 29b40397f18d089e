-- Nothing changes: only PostgreSQL's statements need these indexes. Both databases have the same migrations.
SELECT 1;
