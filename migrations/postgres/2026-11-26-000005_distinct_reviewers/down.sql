ALTER TABLE campaigns DROP COLUMN distinct_reviewers;
UPDATE campaigns SET approval_stages = (
    SELECT json_agg(CASE json_typeof(s.stage) WHEN 'object' THEN s.stage -> 'name' ELSE s.stage END
        ORDER BY s.no)::text
    FROM json_array_elements(approval_stages::json) WITH ORDINALITY AS s(stage, no))
WHERE approval_stages LIKE '%{%';
