ALTER TABLE campaigns DROP COLUMN distinct_reviewers;
UPDATE campaigns SET approval_stages = (
    SELECT json_group_array(iif(s.type = 'object', s.value ->> 'name', s.value))
    FROM json_each(approval_stages) AS s)
WHERE approval_stages LIKE '%{%';
