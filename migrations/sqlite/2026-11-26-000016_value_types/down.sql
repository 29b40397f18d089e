-- A release without this guesses what values are.
ALTER TABLE segments DROP COLUMN value_types;
