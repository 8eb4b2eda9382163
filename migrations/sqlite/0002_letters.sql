-- Letters between engines. No part of the log: a lost one is written again by whoever owes it.
CREATE TABLE letters (
    id    INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL,
    body  TEXT    NOT NULL -- JSON text
) STRICT;
