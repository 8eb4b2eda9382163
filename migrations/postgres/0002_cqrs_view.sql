-- The log in the shape that the crate postgres-es expects, to be read by it: columns of type json, and large payloads in their place.
CREATE SCHEMA cqrs;

CREATE VIEW cqrs.events AS
SELECT e.aggregate_type,
       e.aggregate_id,
       e.sequence,
       e.event_type,
       e.event_version::text AS event_version,
       COALESCE(b.body, e.payload)::json AS payload,
       e.metadata::json AS metadata
FROM events e
LEFT JOIN blobs b ON e.payload LIKE '{"$blob":"%' AND b.digest = substr(e.payload, 11, 64);
