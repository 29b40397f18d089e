-- Nothing changes on SQLite, whose statements name their indexes. Both databases have the same
-- migrations.
SELECT 1;
