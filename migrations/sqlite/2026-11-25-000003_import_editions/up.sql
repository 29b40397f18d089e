-- SQLite has one writer at a time. A large import writes the next edition of a group's customers in
-- many short transactions, between which others write. Nobody reads that edition before the last
-- transaction makes it the group's current one.
-- The columns are in the order of the key: otherwise the integrity check of SQLite before 3.41
-- reports values that are there as NULL.
CREATE TABLE customers_by_edition (
    account_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    edition INTEGER NOT NULL DEFAULT 0,
    customer_ref TEXT NOT NULL,
    -- Normalised values by field name, as a JSON object; fields without a value are not there.
    profile TEXT NOT NULL,
    PRIMARY KEY (account_id, group_id, edition, customer_ref),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
) STRICT, WITHOUT ROWID;

INSERT INTO customers_by_edition (account_id, group_id, customer_ref, profile)
SELECT account_id, group_id, customer_ref, profile FROM customers
ORDER BY account_id, group_id, customer_ref;

DROP TABLE customers;
ALTER TABLE customers_by_edition RENAME TO customers;

-- The edition that readers see.
ALTER TABLE customer_groups ADD COLUMN edition INTEGER NOT NULL DEFAULT 0;

-- Editions that are not current: one that an import is building, and those whose rows are to be
-- deleted.
CREATE TABLE customer_editions (
    account_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    edition INTEGER NOT NULL,
    -- 1 while an import is building it. Without this, its rows are to be deleted.
    building INTEGER NOT NULL CHECK (building IN (0, 1)),
    -- When the import wrote last, in seconds since 1970.
    touched_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, group_id, edition),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
) STRICT, WITHOUT ROWID;

-- What readers read.
CREATE VIEW current_customers AS
SELECT c.account_id, c.group_id, c.customer_ref, c.profile
FROM customer_groups g
JOIN customers c ON c.account_id = g.account_id AND c.group_id = g.id AND c.edition = g.edition;
