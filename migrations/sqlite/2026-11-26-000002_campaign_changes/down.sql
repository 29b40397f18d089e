-- What is left of deleted campaigns.
DELETE FROM messages WHERE EXISTS (SELECT 1 FROM deleted_campaigns d
    WHERE d.account_id = messages.account_id AND d.campaign_id = messages.campaign_id);
DELETE FROM contents WHERE EXISTS (SELECT 1 FROM deleted_campaigns d
    WHERE d.account_id = contents.account_id AND d.campaign_id = contents.campaign_id);
DELETE FROM segments WHERE EXISTS (SELECT 1 FROM deleted_campaigns d
    WHERE d.account_id = segments.account_id AND d.campaign_id = segments.campaign_id);
DROP TABLE deleted_campaigns;

DROP INDEX contents_by_campaign;
ALTER TABLE contents DROP COLUMN campaign_id;

-- The log may have entries of campaigns that were deleted: new ones are checked.
CREATE TABLE audit_entries_moved (
    account_id BLOB NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    action TEXT NOT NULL,
    campaign_id BLOB,
    run_number INTEGER,
    user_id BLOB,
    role_code TEXT,
    ip TEXT,
    request_id TEXT,
    details TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    user_name TEXT,
    PRIMARY KEY (account_id, seq),
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id)
) STRICT;
INSERT INTO audit_entries_moved (account_id, seq, id, action, campaign_id, run_number, user_id,
    role_code, ip, request_id, details, created_at, hash, user_name)
SELECT account_id, seq, id, action, campaign_id, run_number, user_id, role_code, ip, request_id,
    details, created_at, hash, user_name
FROM audit_entries ORDER BY account_id, seq;
DROP TABLE audit_entries;
ALTER TABLE audit_entries_moved RENAME TO audit_entries;
CREATE INDEX audit_entries_by_campaign ON audit_entries (account_id, campaign_id, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (account_id, action, seq);
CREATE INDEX audit_entries_by_campaign_and_action
    ON audit_entries (account_id, campaign_id, action, seq);
