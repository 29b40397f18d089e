-- What each of a segment's values is, a byte for each field in the order of the names: written when the
-- campaign's value rules change. Without it, the rules of the campaign made the values.
ALTER TABLE segments ADD COLUMN value_types BLOB CHECK (length(value_types) BETWEEN 1 AND 8);
