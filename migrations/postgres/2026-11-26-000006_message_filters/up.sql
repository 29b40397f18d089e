-- Lists of messages with one status, source or stage read only those, in the order of lists. There is
-- an index for each value: an index of all values looks as good to the planner as the index of a
-- run's messages, since it has no statistics of accounts (see the first migration), and it takes the
-- smaller one. Every message of a run is `Published`, or none is, so that this status needs no index.
CREATE INDEX messages_generating ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE review_status = 'Generating';
CREATE INDEX messages_failed ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE review_status = 'Generation failed';
CREATE INDEX messages_pending ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE review_status = 'Pending review';
CREATE INDEX messages_approved ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE review_status = 'Approved';
CREATE INDEX messages_rejected ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE review_status = 'Rejected';
CREATE INDEX messages_generated ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE source = 'generated';
CREATE INDEX messages_reused ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE source = 'reused';
CREATE INDEX messages_edited ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE source = 'edited';
CREATE INDEX messages_suggested ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE source = 'suggested';
CREATE INDEX messages_by_stage
    ON messages (account_id, campaign_id, approval_stage, run_number DESC, segment_no)
    WHERE approval_stage IS NOT NULL;
