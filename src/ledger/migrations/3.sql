-- One figure for the computing of all sizes misled: what was remembered so is forgotten, and steps are remembered as such.
DELETE FROM speeds WHERE flops > 0;
-- A run, or a calibration.
ALTER TABLE speeds ADD COLUMN origin TEXT NOT NULL DEFAULT 'run';

-- How long one walk through a network computed: the newest of each size.
CREATE TABLE steps (
    compute     TEXT    NOT NULL,
    precision   TEXT    NOT NULL,
    engine      TEXT    NOT NULL,
    -- Of the network.
    weights     INTEGER NOT NULL,
    -- Of one walk.
    flops       REAL    NOT NULL,
    seconds     REAL    NOT NULL,
    origin      TEXT    NOT NULL,
    found       INTEGER NOT NULL,
    PRIMARY KEY (compute, precision, engine, weights, flops)
) WITHOUT ROWID;
CREATE INDEX steps_by_age ON steps (found);

-- What was foretold, for what network and how large a step; unknown of old forecasts.
ALTER TABLE forecasts ADD COLUMN weights INTEGER;
ALTER TABLE forecasts ADD COLUMN flops REAL;
