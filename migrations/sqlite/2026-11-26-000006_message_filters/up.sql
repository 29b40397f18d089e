-- Lists of messages with one status, source or stage read only those, in the order of lists.
CREATE INDEX messages_by_status
    ON messages (account_id, campaign_id, review_status, run_number DESC, segment_no);
CREATE INDEX messages_by_source
    ON messages (account_id, campaign_id, source, run_number DESC, segment_no);
CREATE INDEX messages_by_stage
    ON messages (account_id, campaign_id, approval_stage, run_number DESC, segment_no)
    WHERE approval_stage IS NOT NULL;
