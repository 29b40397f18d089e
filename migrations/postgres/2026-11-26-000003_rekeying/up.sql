-- Value rules of a campaign can be changed. Its segments then get the keys that the new rules make
-- of their values. Where several segments get one key, at most one stands for it in `key`. The others
-- are shown with `shared_key`, and their `key` is one that no segment has.
ALTER TABLE segments ADD COLUMN shared_key bytea CHECK (octet_length(shared_key) = 32);
-- Whether the segments with this key have different texts. Nothing is reused then.
ALTER TABLE segments ADD COLUMN conflicting boolean NOT NULL DEFAULT false
    CHECK (NOT conflicting OR shared_key IS NOT NULL);

-- The rules that the run was planned by, if the campaign has others now.
ALTER TABLE runs ADD COLUMN value_rules text;
