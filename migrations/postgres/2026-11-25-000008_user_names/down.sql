ALTER TABLE runs DROP COLUMN initiated_by_name;
ALTER TABLE audit_entries DROP COLUMN user_name;
