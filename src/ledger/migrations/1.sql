-- Light rows, for lists and for the queue in memory.
CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT    NOT NULL,
    -- The priority, negated, so that the queue's order is the order of one index.
    urgency     INTEGER NOT NULL,
    rank        INTEGER NOT NULL,
    device      TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    prompt      TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    cancelling  INTEGER NOT NULL DEFAULT 0,
    -- The run whose pictures are written and have not all got their names yet.
    publishing  INTEGER,
    -- How often an engine has begun it, ever.
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Since it was last submitted or retried: runs that a daemon's death ended, and that an engine's did.
    crashes     INTEGER NOT NULL DEFAULT 0,
    deaths      INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL,
    started     INTEGER,
    finished    INTEGER
);
CREATE INDEX jobs_queue ON jobs (urgency, rank, id) WHERE finished IS NULL;
CREATE INDEX jobs_finished ON jobs (finished, id) WHERE finished IS NOT NULL;

-- What is read one job at a time.
CREATE TABLE details (
    job         INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    spec        TEXT    NOT NULL,
    timing      TEXT,
    placement   TEXT,
    precision   TEXT,
    warnings    TEXT,
    failure     TEXT
);

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    job         INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    device      TEXT    NOT NULL,
    pid         INTEGER,
    assigned    INTEGER NOT NULL,
    started     INTEGER,
    ended       INTEGER,
    -- finished, failed, interrupted or cancelled.
    ending      TEXT,
    exit        TEXT
);
CREATE INDEX runs_of_job ON runs (job);
CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL;

CREATE TABLE images (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    job         INTEGER NOT NULL,
    -- Where the engine wrote it, and the file's inode: names change, inodes stay.
    target      TEXT    NOT NULL,
    inode       INTEGER,
    path        TEXT    NOT NULL,
    seed        INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE INDEX images_of_job ON images (job);

CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    time        INTEGER NOT NULL,
    level       TEXT    NOT NULL,
    job         INTEGER,
    text        TEXT    NOT NULL
);

CREATE TABLE settings (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL
) WITHOUT ROWID;
