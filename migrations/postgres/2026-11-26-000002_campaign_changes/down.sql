DROP TRIGGER go_last ON campaigns;
DROP TRIGGER go_last ON runs;
DROP TRIGGER go_last ON segments;
DROP TRIGGER go_last ON contents;
DROP TRIGGER go_last ON messages;
DROP FUNCTION campaigns_go();
DROP FUNCTION runs_go();
DROP FUNCTION parts_go();
DROP FUNCTION messages_go();
DROP FUNCTION go_before(text, text);

-- What is left of deleted campaigns.
DELETE FROM messages m USING deleted_campaigns d
WHERE m.account_id = d.account_id AND m.campaign_id = d.campaign_id;
DELETE FROM contents t USING deleted_campaigns d
WHERE t.account_id = d.account_id AND t.campaign_id = d.campaign_id;
DELETE FROM segments s USING deleted_campaigns d
WHERE s.account_id = d.account_id AND s.campaign_id = d.campaign_id;
DROP TABLE deleted_campaigns;

DROP INDEX contents_by_campaign;
ALTER TABLE contents DROP COLUMN campaign_id;

CREATE TRIGGER go_last AFTER DELETE ON campaigns REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(segments);
CREATE TRIGGER go_last AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);
CREATE TRIGGER go_last AFTER DELETE ON segments REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);
CREATE TRIGGER go_last AFTER DELETE ON contents REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);
CREATE TRIGGER go_last AFTER DELETE ON messages REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(generation_tasks);

-- The log may have entries of campaigns that were deleted.
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_account_id_campaign_id_fkey
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id) NOT VALID;
