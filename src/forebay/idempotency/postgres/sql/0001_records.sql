CREATE SEQUENCE idempotency_token AS bigint;

-- `ends_at_ms` is when the lease is over, or when the key was completed or given back.
CREATE TABLE idempotency_record (
    key text PRIMARY KEY,
    token bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('STARTED', 'COMPLETED', 'FAILED', 'FREE')),
    ends_at_ms bigint NOT NULL,
    attempts bigint NOT NULL,
    digest bytea,
    result bytea,
    error text
);
CREATE INDEX idempotency_record_by_end ON idempotency_record (ends_at_ms);

CREATE TABLE message_status (
    message_id text PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('STARTED', 'COMPLETED', 'FAILED')),
    attempts bigint NOT NULL,
    last_updated_ms bigint NOT NULL,
    payload_digest bytea,
    error_reason text
);
CREATE INDEX message_status_by_update ON message_status (last_updated_ms);

CREATE TABLE message_side_effects (
    effect_key text PRIMARY KEY,
    performed_at_ms bigint NOT NULL,
    payload_digest bytea,
    original_message_id text NOT NULL,
    result bytea
);
CREATE INDEX message_side_effects_by_time ON message_side_effects (performed_at_ms);

CREATE TABLE entity_version (
    entity text PRIMARY KEY,
    begun bigint NOT NULL,
    applied bigint,
    updated_at_ms bigint NOT NULL
);
CREATE INDEX entity_version_by_update ON entity_version (updated_at_ms);
