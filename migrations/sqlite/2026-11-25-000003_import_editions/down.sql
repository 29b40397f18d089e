CREATE TABLE customers_without_editions (
    account_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    customer_ref TEXT NOT NULL,
    -- Normalised values by field name, as a JSON object; fields without a value are not there.
    profile TEXT NOT NULL,
    PRIMARY KEY (account_id, group_id, customer_ref),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
) STRICT, WITHOUT ROWID;

INSERT INTO customers_without_editions (account_id, group_id, customer_ref, profile)
SELECT account_id, group_id, customer_ref, profile FROM current_customers
ORDER BY account_id, group_id, customer_ref;

DROP VIEW current_customers;
DROP TABLE customer_editions;
DROP TABLE customers;
ALTER TABLE customers_without_editions RENAME TO customers;
ALTER TABLE customer_groups DROP COLUMN edition;
