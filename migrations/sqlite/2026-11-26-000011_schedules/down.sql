ALTER TABLE runs DROP COLUMN schedule_id;
DROP TABLE schedule_firings;
DROP TABLE schedules;
