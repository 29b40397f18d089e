ALTER TABLE messages DROP COLUMN attributes;
ALTER TABLE runs
    DROP COLUMN metered_completion_tokens,
    DROP COLUMN metered_prompt_tokens,
    DROP COLUMN metered_messages,
    DROP COLUMN saved_completion_tokens,
    DROP COLUMN saved_prompt_tokens,
    DROP COLUMN saved_customers;
