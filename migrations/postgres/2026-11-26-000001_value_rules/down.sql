-- Counts by rules, which nothing reads any more.
DELETE FROM segmentations WHERE fields NOT LIKE '%]';
COMMENT ON COLUMN segmentations.fields IS NULL;
ALTER TABLE campaigns DROP COLUMN value_rules;
