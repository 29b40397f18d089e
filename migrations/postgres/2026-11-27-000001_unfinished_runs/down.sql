DROP INDEX schedules_waiting_of_account;
DROP INDEX schedules_due_of_account;
DROP INDEX runs_unfinished;
