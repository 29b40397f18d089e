DROP INDEX contents_unfilled;
ALTER TABLE contents DROP COLUMN placeholder;
