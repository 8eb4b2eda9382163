-- The log: the only truth. Nothing in these tables is ever updated, except shards, which says where each shard is and whose.

-- One row: what was fixed when the log was created.
CREATE TABLE log (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    shards INTEGER NOT NULL CHECK (shards BETWEEN 1 AND 1000)
) STRICT;

CREATE TABLE shards (
    shard            INTEGER PRIMARY KEY,
    head             INTEGER NOT NULL DEFAULT 0,
    hash             BLOB    NOT NULL DEFAULT (zeroblob(32)), -- of the event at head: what comes next must continue it
    epoch            INTEGER NOT NULL DEFAULT 0,
    owner            TEXT    NOT NULL DEFAULT '',
    lease_expires_at INTEGER NOT NULL DEFAULT 0, -- microseconds since 1970, by this database's clock
    heir             TEXT    NOT NULL DEFAULT '' -- whom the owner has asked to take the shard, before its lease ends
) STRICT;

-- The engines that live, each until its time has come.
CREATE TABLE engines (
    id         TEXT PRIMARY KEY,
    address    TEXT    NOT NULL, -- where other processes reach it; empty when they cannot
    standby    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL -- as in shards
) STRICT;

CREATE TABLE events (
    shard          INTEGER NOT NULL REFERENCES shards (shard) DEFERRABLE INITIALLY DEFERRED,
    seq            INTEGER NOT NULL,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL,
    event_type     TEXT    NOT NULL,
    event_version  INTEGER NOT NULL,
    payload        TEXT    NOT NULL, -- JSON text, or {"$blob":"<digest>"}
    metadata       TEXT    NOT NULL, -- JSON text
    recorded_at    INTEGER NOT NULL, -- microseconds since 1970, by the writer's clock
    hash           BLOB    NOT NULL,
    PRIMARY KEY (shard, seq),
    UNIQUE (aggregate_type, aggregate_id, sequence)
) STRICT;

-- The few things of a shard that runs share, without reading all its events. Runs and their tasks are not in it: an index
-- entry for each of them, spread over all shards, would cost more than it tells.
CREATE INDEX events_shared ON events (shard, aggregate_type, aggregate_id)
    WHERE sequence = 1 AND aggregate_type IN ('workflow_definition', 'task_group', 'serial_queue', 'environment');

-- Payloads that are too large to sit between the others.
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, -- BLAKE3 of the body, hexadecimal
    body   TEXT NOT NULL
) STRICT;

-- What stood in a shard at one of its events, so that a new owner need not read everything before it. It follows from
-- the events and can be deleted at any time.
CREATE TABLE standings (
    shard INTEGER PRIMARY KEY,
    seq   INTEGER NOT NULL,
    hash  BLOB    NOT NULL, -- of that event: in another log the row means nothing
    body  TEXT    NOT NULL  -- JSON text: which runs were not at rest
) STRICT;
