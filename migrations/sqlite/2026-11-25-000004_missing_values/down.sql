ALTER TABLE segmentations DROP COLUMN customers_with_value;
