DROP TABLE changed_groups;
ALTER TABLE campaigns DROP COLUMN suggested, DROP COLUMN suggest_reruns;
