-- Kept counts are derived: they are dropped, and counted again with the new column when a run is
-- planned next.
DELETE FROM group_segments;
DELETE FROM segmentations;
-- How many customers have a value in each of `fields`, as a JSON array.
ALTER TABLE segmentations ADD COLUMN customers_with_value TEXT NOT NULL;
