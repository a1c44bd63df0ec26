-- Times are milliseconds since the Unix epoch; days are those of UTC, as 2026-11-28.

-- One row for each message that was written and holds many events, or a reject.
CREATE TABLE usage_packs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    node TEXT NOT NULL,
    events INTEGER NOT NULL,
    rejects INTEGER NOT NULL,
    written_ms INTEGER NOT NULL
) STRICT;

-- The ids of the messages that hold one event.
CREATE TABLE usage_seen (
    at_ms INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (at_ms, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_logs (
    at_ms INTEGER NOT NULL,
    record_index INTEGER NOT NULL,
    key TEXT,
    api_key_id TEXT NOT NULL,
    asset TEXT NOT NULL,
    source TEXT NOT NULL,
    response_time_us INTEGER NOT NULL,
    cache_tier TEXT NOT NULL,
    http_status INTEGER,
    pack_number INTEGER,
    node TEXT NOT NULL
) STRICT;
CREATE INDEX usage_logs_by_time ON usage_logs (at_ms);

CREATE TABLE analytics_events (
    at_ms INTEGER NOT NULL,
    record_index INTEGER NOT NULL,
    key TEXT,
    event TEXT NOT NULL,
    path TEXT NOT NULL,
    user_id TEXT NOT NULL,
    pack_number INTEGER,
    node TEXT NOT NULL
) STRICT;
CREATE INDEX analytics_events_by_time ON analytics_events (at_ms);

CREATE TABLE usage_rejects (
    rejected_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    record_index INTEGER NOT NULL,
    type TEXT NOT NULL,
    node TEXT NOT NULL,
    at_ms INTEGER,
    reason TEXT NOT NULL,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX usage_rejects_by_time ON usage_rejects (rejected_ms);

-- How many usage logs of a key were made on a day, and when the latest of them.
CREATE TABLE current_usage (
    api_key_id TEXT NOT NULL,
    day TEXT NOT NULL,
    events INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (api_key_id, day)
) STRICT, WITHOUT ROWID;
