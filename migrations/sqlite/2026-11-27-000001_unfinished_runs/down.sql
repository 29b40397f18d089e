-- Nothing changes on SQLite, whose statements are others. Both databases have the same migrations.
SELECT 1;
