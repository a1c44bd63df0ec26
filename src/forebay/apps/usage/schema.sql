-- One row for each API call, whatever number of times its message was delivered.
CREATE TABLE IF NOT EXISTS usage_logs (
    envelope_id      TEXT PRIMARY KEY,
    logged_at        TEXT NOT NULL,
    node             TEXT NOT NULL,
    api_key_id       TEXT NOT NULL,
    asset            TEXT NOT NULL,
    source           TEXT NOT NULL,
    response_time_us INTEGER NOT NULL,
    cache_tier       TEXT NOT NULL,
    http_status      INTEGER
) STRICT, WITHOUT ROWID;
