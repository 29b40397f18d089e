ALTER TABLE runs DROP COLUMN prompt_tokens, DROP COLUMN completion_tokens;
ALTER TABLE contents
    DROP COLUMN prompt_tokens, DROP COLUMN completion_tokens, DROP COLUMN model;
DROP INDEX generation_tasks_by_setting;
DROP INDEX generation_tasks_by_account;
CREATE INDEX generation_tasks_by_time ON generation_tasks (due_at, message_id);
ALTER TABLE generation_tasks DROP COLUMN put_off_ms, DROP COLUMN set_at;
