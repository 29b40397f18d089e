-- The time that a message was put off in total. When the due time was set, null for a task that
-- was due at once: if that time is later than now, the clock was set back.
ALTER TABLE generation_tasks
    ADD COLUMN put_off_ms bigint NOT NULL DEFAULT 0 CHECK (put_off_ms >= 0),
    ADD COLUMN set_at timestamptz;

-- Accounts take turns, so that tasks are found by account.
DROP INDEX generation_tasks_by_time;
CREATE INDEX generation_tasks_by_account ON generation_tasks (account_id, due_at, message_id);
CREATE INDEX generation_tasks_by_setting
    ON generation_tasks (account_id, (coalesce(set_at, due_at)));

-- What a language model used for a content, as far as its endpoint reported it.
ALTER TABLE contents
    ADD COLUMN prompt_tokens bigint CHECK (prompt_tokens >= 0),
    ADD COLUMN completion_tokens bigint CHECK (completion_tokens >= 0),
    ADD COLUMN model text;

-- What all generator calls of a run used, those that failed too.
ALTER TABLE runs
    ADD COLUMN prompt_tokens bigint NOT NULL DEFAULT 0 CHECK (prompt_tokens >= 0),
    ADD COLUMN completion_tokens bigint NOT NULL DEFAULT 0 CHECK (completion_tokens >= 0);
