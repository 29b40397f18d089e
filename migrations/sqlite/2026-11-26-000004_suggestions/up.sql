-- The approved message that is nearest to a new segment, as a JSON object, and content that was
-- taken from such a message.
ALTER TABLE messages ADD COLUMN suggestion TEXT;
ALTER TABLE runs ADD COLUMN suggested INTEGER NOT NULL DEFAULT 0 CHECK (suggested >= 0);

-- SQLite has no statement that changes a check. Its documentation allows a change of the schema's
-- text where what the tables hold stays valid (https://www.sqlite.org/lang_altertable.html); a copy
-- of all messages would take long. The index makes every connection read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    'source IN (''generated'', ''reused'', ''edited'')',
    'source IN (''generated'', ''reused'', ''edited'', ''suggested'')'),
    '(source = ''reused'') =', '(source IN (''reused'', ''suggested'')) =')
WHERE type = 'table' AND name = 'messages';
UPDATE sqlite_schema SET sql = replace(sql,
    'segments_total = reused + generated + edited)',
    'segments_total = reused + generated + edited + suggested)')
WHERE type = 'table' AND name = 'runs';
PRAGMA writable_schema = RESET;
CREATE INDEX schema_changed ON runs (number);
DROP INDEX schema_changed;
