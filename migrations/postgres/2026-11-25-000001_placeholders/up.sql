-- The first placeholder that is left in a content, so that approving and reusing messages reads no
-- texts: from `{{` to the next `}}`, of the subject or else of the body, at most 100 characters.
-- rerun-core finds it when content is written; this does the same for content that is there.
ALTER TABLE contents ADD COLUMN placeholder text;

ALTER TABLE contents DISABLE TRIGGER contents_never_change;
UPDATE contents SET placeholder = left(coalesce(
    substring(subject FROM '\{\{.*?\}\}'), substring(body FROM '\{\{.*?\}\}')), 100)
WHERE subject LIKE '%{{%}}%' OR body LIKE '%{{%}}%';
ALTER TABLE contents ENABLE TRIGGER contents_never_change;

CREATE INDEX contents_unfilled ON contents (account_id, id) WHERE placeholder IS NOT NULL;
