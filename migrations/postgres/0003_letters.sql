-- Letters between engines. No part of the log, and not worth its write-ahead log: a lost one is written
-- again by whoever owes it.
CREATE UNLOGGED TABLE letters (
    id    bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard integer NOT NULL,
    body  text    NOT NULL -- JSON text
);
