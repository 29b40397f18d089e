-- The names of people as they were when they acted. The rows of before have none.
ALTER TABLE audit_entries ADD COLUMN user_name text;
ALTER TABLE runs ADD COLUMN initiated_by_name text;
