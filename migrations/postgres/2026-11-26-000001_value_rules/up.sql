-- The items of `segment_by` with their value rules as they were declared, as a JSON array. Null for a
-- campaign without rules.
ALTER TABLE campaigns ADD COLUMN value_rules text;

COMMENT ON COLUMN segmentations.fields IS
    'The field names, sorted, as a JSON array; with value rules also a hash of them.';
