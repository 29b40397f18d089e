-- What a run did not spend because it reused messages, as it was when it started: their customers,
-- and tokens at the mean of the campaign's generated contents (metered_*, those of the runs that it
-- followed and of its own).
ALTER TABLE runs
    ADD COLUMN saved_customers INTEGER NOT NULL DEFAULT 0 CHECK (saved_customers >= 0);
ALTER TABLE runs
    ADD COLUMN saved_prompt_tokens INTEGER NOT NULL DEFAULT 0 CHECK (saved_prompt_tokens >= 0);
ALTER TABLE runs
    ADD COLUMN saved_completion_tokens INTEGER NOT NULL DEFAULT 0 CHECK (saved_completion_tokens >= 0);
ALTER TABLE runs
    ADD COLUMN metered_messages INTEGER NOT NULL DEFAULT 0 CHECK (metered_messages >= 0);
ALTER TABLE runs
    ADD COLUMN metered_prompt_tokens INTEGER NOT NULL DEFAULT 0 CHECK (metered_prompt_tokens >= 0);
ALTER TABLE runs
    ADD COLUMN metered_completion_tokens INTEGER NOT NULL DEFAULT 0 CHECK (metered_completion_tokens >= 0);

-- For runs of before: the messages that still reuse content, and the contents of all earlier runs.
WITH made AS (
    SELECT account_id, campaign_id, run_number, count(*) AS messages,
        sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens
    FROM contents WHERE prompt_tokens IS NOT NULL
    GROUP BY account_id, campaign_id, run_number),
reused AS (
    SELECT account_id, campaign_id, run_number, sum(customer_count) AS customers
    FROM messages WHERE source = 'reused'
    GROUP BY account_id, campaign_id, run_number),
each AS (
    SELECT r.account_id, r.campaign_id, r.number, r.segments_matched,
        coalesce(u.customers, 0) AS customers, coalesce(m.messages, 0) AS messages,
        coalesce(m.prompt_tokens, 0) AS prompt_tokens,
        coalesce(m.completion_tokens, 0) AS completion_tokens
    FROM runs r
    LEFT JOIN made m ON m.account_id = r.account_id AND m.campaign_id = r.campaign_id
        AND m.run_number = r.number
    LEFT JOIN reused u ON u.account_id = r.account_id AND u.campaign_id = r.campaign_id
        AND u.run_number = r.number),
summed AS (
    SELECT each.*, sum(messages) OVER so_far AS all_messages,
        sum(prompt_tokens) OVER so_far AS all_prompt_tokens,
        sum(completion_tokens) OVER so_far AS all_completion_tokens
    FROM each WINDOW so_far AS (PARTITION BY account_id, campaign_id ORDER BY number)),
before AS (
    SELECT summed.*, (all_messages - messages) AS messages_before,
        (all_prompt_tokens - prompt_tokens) AS prompt_tokens_before,
        (all_completion_tokens - completion_tokens) AS completion_tokens_before
    FROM summed)
UPDATE runs SET saved_customers = b.customers,
    saved_prompt_tokens = CASE b.messages_before WHEN 0 THEN 0 ELSE
        (b.segments_matched * b.prompt_tokens_before + b.messages_before / 2)
        / b.messages_before END,
    saved_completion_tokens = CASE b.messages_before WHEN 0 THEN 0 ELSE
        (b.segments_matched * b.completion_tokens_before + b.messages_before / 2)
        / b.messages_before END,
    metered_messages = b.all_messages, metered_prompt_tokens = b.all_prompt_tokens,
    metered_completion_tokens = b.all_completion_tokens
FROM before b
WHERE b.account_id = runs.account_id AND b.campaign_id = runs.campaign_id
    AND b.number = runs.number AND (b.customers > 0 OR b.all_messages > 0);

-- How a message shows the values of its segment, where its group spelled them in another way than
-- that of the segment's first message.
ALTER TABLE messages ADD COLUMN attributes TEXT;
