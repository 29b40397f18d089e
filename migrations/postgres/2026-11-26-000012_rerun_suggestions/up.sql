-- Whether an event says when an import makes a rerun worthwhile, and what the last such event was
-- about: a hash of the segments that came and went. Null when nothing would change.
ALTER TABLE campaigns
    ADD COLUMN suggest_reruns boolean NOT NULL DEFAULT true,
    ADD COLUMN suggested bytea CHECK (length(suggested) = 32);

-- Groups that imports changed, until the reruns of the campaigns that have them were previewed.
-- Each import counts up `imports` and moves `due_at`, but not beyond `latest_at`. A preview that
-- somebody is at work on has a lease.
CREATE TABLE changed_groups (
    account_id uuid NOT NULL,
    group_id uuid NOT NULL,
    imports bigint NOT NULL,
    due_at timestamptz NOT NULL,
    latest_at timestamptz NOT NULL,
    attempts integer NOT NULL CHECK (attempts >= 0),
    lease_id uuid,
    lease_until timestamptz,
    PRIMARY KEY (account_id, group_id),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
);

-- Without statistics of the account, one that is new is planned for like all others.
ALTER TABLE changed_groups ALTER COLUMN account_id SET STATISTICS 0;
