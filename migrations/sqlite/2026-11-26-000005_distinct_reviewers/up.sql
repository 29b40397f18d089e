-- Whether nobody approves one message at two stages. `approval_stages` holds objects from now on, too:
-- stages that name the roles that can pass them.
ALTER TABLE campaigns ADD COLUMN distinct_reviewers INTEGER NOT NULL DEFAULT 0
    CHECK (distinct_reviewers IN (0, 1));
