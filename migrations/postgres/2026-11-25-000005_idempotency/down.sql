ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_short,
    DROP CONSTRAINT idempotency_keys_pkey,
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, endpoint, key);
