-- The log: the only truth. Nothing in these tables is ever updated, except shards, which says where each shard is and whose.

-- One row: what was fixed when the log was created.
CREATE TABLE log (
    id     integer PRIMARY KEY CHECK (id = 1),
    shards integer NOT NULL CHECK (shards BETWEEN 1 AND 1000)
);

-- Updated with every commit: room on the page keeps those updates out of the index.
CREATE TABLE shards (
    shard            integer PRIMARY KEY,
    head             bigint NOT NULL DEFAULT 0,
    hash             bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'), -- of the event at head: what comes next must continue it
    epoch            bigint NOT NULL DEFAULT 0,
    owner            text   NOT NULL DEFAULT '',
    lease_expires_at bigint NOT NULL DEFAULT 0, -- microseconds since 1970, by this database's clock
    heir             text   NOT NULL DEFAULT '' -- whom the owner has asked to take the shard, before its lease ends
) WITH (fillfactor = 20);

-- The engines that live, each until its time has come.
CREATE TABLE engines (
    id         text COLLATE "C" PRIMARY KEY,
    address    text    NOT NULL, -- where other processes reach it; empty when they cannot
    standby    boolean NOT NULL,
    expires_at bigint  NOT NULL -- as in shards
);

-- Text, not json: the payload comes back byte for byte as it was hashed, and is faster to write.
CREATE TABLE events (
    shard          integer NOT NULL,
    seq            bigint  NOT NULL,
    aggregate_type text    COLLATE "C" NOT NULL,
    aggregate_id   text    COLLATE "C" NOT NULL,
    sequence       bigint  NOT NULL,
    event_type     text    NOT NULL,
    event_version  integer NOT NULL,
    payload        text    NOT NULL, -- JSON text, or {"$blob":"<digest>"}
    metadata       text    NOT NULL, -- JSON text
    recorded_at    bigint  NOT NULL, -- microseconds since 1970, by the writer's clock
    hash           bytea   NOT NULL,
    PRIMARY KEY (shard, seq),
    UNIQUE (aggregate_type, aggregate_id, sequence)
);

-- The few things of a shard that runs share, without reading all its events. Runs and their tasks are not in it: an index
-- entry for each of them, spread over all shards, would cost more than it tells.
CREATE INDEX events_shared ON events (shard, aggregate_type, aggregate_id)
    WHERE sequence = 1 AND aggregate_type IN ('workflow_definition', 'task_group', 'serial_queue', 'environment');

-- Payloads that are too large to sit between the others.
CREATE TABLE blobs (
    digest text COLLATE "C" PRIMARY KEY, -- BLAKE3 of the body, hexadecimal
    body   text NOT NULL
);

-- What stood in a shard at one of its events, so that a new owner need not read everything before it. It follows from
-- the events and can be deleted at any time.
CREATE TABLE standings (
    shard integer PRIMARY KEY,
    seq   bigint  NOT NULL,
    hash  bytea   NOT NULL, -- of that event: in another log the row means nothing
    body  text    NOT NULL  -- JSON text: which runs were not at rest
);
