-- Times are milliseconds since the Unix epoch. Partitions are days of UTC, and there is no default
-- one: it would have to be read whole, and locked, whenever a partition is added.

-- One row for each message that was written and holds many events, or a reject. It has no
-- partitions: a unique id over partitions needs the day in it, and a message that comes again comes
-- on another day.
CREATE TABLE usage_packs (
    number bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    type text NOT NULL,
    node text NOT NULL,
    events integer NOT NULL,
    rejects integer NOT NULL,
    written_ms bigint NOT NULL
);
CREATE INDEX usage_packs_by_time ON usage_packs USING brin (written_ms);

-- The ids of the messages that hold one event. The time comes with the id and stays the same, and
-- goes first so that new ids are beside each other in the index.
CREATE TABLE usage_seen (
    at_ms bigint NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (at_ms, id)
) PARTITION BY RANGE (at_ms);

-- The columns of eight bytes are first: so none is padded.
CREATE TABLE usage_logs (
    at_ms bigint NOT NULL,
    response_time_us bigint NOT NULL,
    http_status bigint,
    pack_number bigint,
    record_index integer NOT NULL,
    key text,
    node text NOT NULL,
    api_key_id text NOT NULL,
    asset text NOT NULL,
    source text NOT NULL,
    cache_tier text NOT NULL
) PARTITION BY RANGE (at_ms);
CREATE INDEX usage_logs_by_time ON usage_logs USING brin (at_ms);

CREATE TABLE analytics_events (
    at_ms bigint NOT NULL,
    pack_number bigint,
    record_index integer NOT NULL,
    key text,
    node text NOT NULL,
    event text NOT NULL,
    path text NOT NULL,
    user_id text NOT NULL
) PARTITION BY RANGE (at_ms);
CREATE INDEX analytics_events_by_time ON analytics_events USING brin (at_ms);

CREATE TABLE usage_rejects (
    rejected_ms bigint NOT NULL,
    message_id text NOT NULL,
    record_index integer NOT NULL,
    type text NOT NULL,
    node text NOT NULL,
    at_ms bigint,
    reason text NOT NULL,
    json text NOT NULL
) PARTITION BY RANGE (rejected_ms);

-- How many usage logs of a key were made on a day, and when the latest of them. The room in its
-- pages lets a row be updated without a new entry in the index.
CREATE TABLE current_usage (
    api_key_id text NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL,
    last_ms bigint NOT NULL,
    PRIMARY KEY (api_key_id, day)
) WITH (fillfactor = 60);
