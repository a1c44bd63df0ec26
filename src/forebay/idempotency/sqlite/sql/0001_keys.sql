-- `ends_at_ms` is when the lease is over, or when the key was completed.
CREATE TABLE IF NOT EXISTS idempotency_record (
    key TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    result BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idempotency_record_by_end ON idempotency_record (ends_at_ms);
