ALTER TABLE messages DROP COLUMN attributes;
ALTER TABLE runs DROP COLUMN metered_completion_tokens;
ALTER TABLE runs DROP COLUMN metered_prompt_tokens;
ALTER TABLE runs DROP COLUMN metered_messages;
ALTER TABLE runs DROP COLUMN saved_completion_tokens;
ALTER TABLE runs DROP COLUMN saved_prompt_tokens;
ALTER TABLE runs DROP COLUMN saved_customers;
