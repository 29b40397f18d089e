-- To find accounts with messages to generate, the store reads the runs that have not ended, which are few.
CREATE INDEX runs_unfinished ON runs (account_id) WHERE completed_at IS NULL;

-- Schedules are leased account by account.
CREATE INDEX schedules_due_of_account ON schedules (account_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedules_waiting_of_account ON schedules (account_id, waiting_for)
    WHERE waiting_for IS NOT NULL;
