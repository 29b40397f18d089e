-- Dropping a table deletes its rows first, so the tables go in the order of their references;
-- campaigns and runs reference each other until no campaign has a current run.
DROP TABLE audit_heads;
DROP TABLE audit_entries;
DROP TABLE idempotency_keys;
DROP TABLE generation_tasks;
DROP TABLE messages;
DROP TABLE contents;
DROP TABLE segments;
UPDATE campaigns SET status = 'Draft', current_run_number = NULL;
DROP TABLE runs;
DROP TABLE campaigns;
DROP TABLE group_segments;
DROP TABLE segmentations;
DROP TABLE customers;
DROP TABLE customer_groups;
