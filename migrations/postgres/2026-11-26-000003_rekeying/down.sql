-- Segments that do not stand for their key keep one that no segment has: a release without this
-- migration reuses nothing of them.
ALTER TABLE runs DROP COLUMN value_rules;
ALTER TABLE segments DROP COLUMN conflicting;
ALTER TABLE segments DROP COLUMN shared_key;
