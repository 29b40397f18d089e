DROP INDEX messages_by_stage;
DROP INDEX messages_by_source;
DROP INDEX messages_by_status;
