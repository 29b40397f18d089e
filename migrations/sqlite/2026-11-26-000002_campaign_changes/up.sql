-- Campaigns can be deleted. Its row and those of its runs go at once, and what they had goes bit by
-- bit: the campaign is listed here until nothing of it is left.
CREATE TABLE deleted_campaigns (
    account_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    -- The highest run that may have messages left.
    run_number INTEGER NOT NULL CHECK (run_number >= 0),
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, campaign_id)
) STRICT, WITHOUT ROWID;

-- What is recorded of a campaign outlives it: the same table without a reference to campaigns.
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
    PRIMARY KEY (account_id, seq)
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

-- A message names its content, but nothing named the content that an edit or a regeneration had
-- replaced.
ALTER TABLE contents ADD COLUMN campaign_id BLOB;

DROP TRIGGER contents_never_change;
CREATE INDEX messages_by_content ON messages (account_id, content_id);
UPDATE contents SET campaign_id = (
    SELECT m.campaign_id FROM messages m
    WHERE m.account_id = contents.account_id AND m.content_id = contents.id LIMIT 1);
DROP INDEX messages_by_content;
-- The audit log names what people wrote.
UPDATE contents SET campaign_id = e.campaign_id
FROM (
    SELECT account_id, campaign_id, replace(details ->> '$.content_id', '-', '') AS content
    FROM audit_entries WHERE action = 'message.edited') e
WHERE contents.campaign_id IS NULL AND e.account_id = contents.account_id
    AND e.content = lower(hex(contents.id));
-- Of generated content that was replaced nobody knows whose it was, and nobody can read it.
DELETE FROM contents WHERE campaign_id IS NULL;
CREATE TRIGGER contents_never_change BEFORE UPDATE ON contents
BEGIN
    SELECT RAISE(ABORT, 'contents never change');
END;

CREATE INDEX contents_by_campaign ON contents (account_id, campaign_id);
