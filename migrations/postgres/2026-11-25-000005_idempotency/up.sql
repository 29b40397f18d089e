-- A key belongs to its account, whatever the endpoint. Where two endpoints were given one key, the
-- newer response stays.
DELETE FROM idempotency_keys old USING idempotency_keys new
WHERE new.account_id = old.account_id AND new.key = old.key
    AND (new.created_at, new.endpoint) > (old.created_at, old.endpoint);

-- A kept response has ids, numbers and names, never texts of messages.
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_pkey,
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, key),
    ADD CONSTRAINT idempotency_keys_short CHECK (octet_length(response) <= 16384);
