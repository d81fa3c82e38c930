-- How fast devices were found to be, and for whom that holds: the newest of each.
CREATE TABLE speeds (
    compute          TEXT    NOT NULL,
    precision        TEXT    NOT NULL,
    -- What the engine calls itself: library, driver, threads.
    engine           TEXT    NOT NULL,
    -- A device, or the page cache.
    subject          TEXT    NOT NULL,
    flops            REAL    NOT NULL,
    bytes_per_second REAL    NOT NULL,
    found            INTEGER NOT NULL,
    PRIMARY KEY (compute, precision, engine, subject)
) WITHOUT ROWID;
CREATE INDEX speeds_by_age ON speeds (found);

-- What steps were expected to take, and what they took: the newest ones.
CREATE TABLE forecasts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    compute     TEXT    NOT NULL,
    precision   TEXT    NOT NULL,
    engine      TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    predicted_s REAL    NOT NULL,
    measured_s  REAL    NOT NULL,
    calibrated  INTEGER NOT NULL
);
