-- `ends_at_ms` is when the lease is over, or when the key was completed or given back.
CREATE TABLE idempotency_record_with_state (
    key TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('STARTED', 'COMPLETED', 'FAILED', 'FREE')),
    ends_at_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    digest BLOB,
    result BLOB,
    error TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO idempotency_record_with_state
SELECT key, token, CASE WHEN completed THEN 'COMPLETED' ELSE 'STARTED' END, ends_at_ms, 1, NULL,
    result, NULL
FROM idempotency_record;

DROP TABLE idempotency_record;
ALTER TABLE idempotency_record_with_state RENAME TO idempotency_record;
CREATE INDEX idempotency_record_by_end ON idempotency_record (ends_at_ms);

CREATE TABLE message_status (
    message_id TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('STARTED', 'COMPLETED', 'FAILED')),
    attempts INTEGER NOT NULL,
    last_updated_ms INTEGER NOT NULL,
    payload_digest BLOB,
    error_reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX message_status_by_update ON message_status (last_updated_ms);

CREATE TABLE message_side_effects (
    effect_key TEXT PRIMARY KEY,
    performed_at_ms INTEGER NOT NULL,
    payload_digest BLOB,
    original_message_id TEXT NOT NULL,
    result BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX message_side_effects_by_time ON message_side_effects (performed_at_ms);

CREATE TABLE entity_version (
    entity TEXT PRIMARY KEY,
    begun INTEGER NOT NULL,
    applied INTEGER,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_version_by_update ON entity_version (updated_at_ms);
