-- What becomes of a job's diffusion network before it is run, as JSON; nothing where nothing does.
ALTER TABLE jobs ADD COLUMN conversion TEXT;
