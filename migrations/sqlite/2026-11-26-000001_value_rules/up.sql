-- The items of `segment_by` with their value rules as they were declared, as a JSON array. Null for a
-- campaign without rules. With rules, `segmentations.fields` also has a hash of them.
ALTER TABLE campaigns ADD COLUMN value_rules TEXT;
