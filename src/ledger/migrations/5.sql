-- Memory that a device held beyond weights while it computed a step, in bytes; nothing where that is not known.
ALTER TABLE steps ADD COLUMN beyond INTEGER;
