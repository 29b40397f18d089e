-- Whether nobody approves one message at two stages. `approval_stages` holds objects from now on, too:
-- stages that name the roles that can pass them.
ALTER TABLE campaigns ADD COLUMN distinct_reviewers boolean NOT NULL DEFAULT false;
