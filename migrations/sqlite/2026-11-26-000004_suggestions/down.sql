-- What was taken from an approved message is what a person wrote, to a release without suggestions.
UPDATE messages SET source = 'edited', reused_from_message_id = NULL, reused_from_run_number = NULL
WHERE source = 'suggested';
UPDATE runs SET edited = edited + suggested, suggested = 0 WHERE suggested > 0;

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    'source IN (''generated'', ''reused'', ''edited'', ''suggested'')',
    'source IN (''generated'', ''reused'', ''edited'')'),
    '(source IN (''reused'', ''suggested'')) =', '(source = ''reused'') =')
WHERE type = 'table' AND name = 'messages';
UPDATE sqlite_schema SET sql = replace(sql,
    'segments_total = reused + generated + edited + suggested)',
    'segments_total = reused + generated + edited)')
WHERE type = 'table' AND name = 'runs';
PRAGMA writable_schema = RESET;
ALTER TABLE runs DROP COLUMN suggested;
ALTER TABLE messages DROP COLUMN suggestion;
