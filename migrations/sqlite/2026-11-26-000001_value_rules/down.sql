-- Counts by rules, which nothing reads any more.
DELETE FROM group_segments WHERE (account_id, segmentation_id) IN (
    SELECT account_id, id FROM segmentations WHERE fields NOT LIKE '%]');
DELETE FROM segmentations WHERE fields NOT LIKE '%]';
ALTER TABLE campaigns DROP COLUMN value_rules;
