DROP TABLE changed_groups;
ALTER TABLE campaigns DROP COLUMN suggested;
ALTER TABLE campaigns DROP COLUMN suggest_reruns;
