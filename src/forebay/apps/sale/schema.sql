-- What the sale remembers. Times are wall time in milliseconds since the Unix epoch.
-- Sequence numbers have 20 digits, more than an integer holds: text of equal length sorts the same.

CREATE TABLE IF NOT EXISTS sections (
    event    TEXT NOT NULL,
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    sold     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (event, name)
) STRICT, WITHOUT ROWID;

-- One row for each seat of a reserved section, with the order that has it.
CREATE TABLE IF NOT EXISTS seats (
    event    TEXT NOT NULL,
    section  TEXT NOT NULL,
    seat     INTEGER NOT NULL,
    order_id TEXT,
    PRIMARY KEY (event, section, seat)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS free_seats ON seats (event, section, seat) WHERE order_id IS NULL;

-- What the API was asked and answered. The API writes it, the workers never do, so neither can
-- lose what the other knows. `acceptances` counts the answers that said the order was accepted.
CREATE TABLE IF NOT EXISTS requests (
    arrival_number  INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id        TEXT NOT NULL UNIQUE,
    event           TEXT NOT NULL,
    section         TEXT NOT NULL,
    buyer           TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    arrived_at_ms   INTEGER NOT NULL,
    accepted_at_ms  INTEGER,
    acceptances     INTEGER NOT NULL DEFAULT 0,
    message_id      TEXT,
    sequence_number TEXT
) STRICT;

-- What became of each order. The workers write it.
CREATE TABLE IF NOT EXISTS orders (
    order_id      TEXT PRIMARY KEY,
    event         TEXT NOT NULL,
    section       TEXT NOT NULL,
    buyer         TEXT NOT NULL,
    status        TEXT NOT NULL,
    seat          INTEGER,
    reason        TEXT,
    changed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every decision ever made, only appended to. The order id is not unique here on purpose: an order
-- that is decided twice must show.
CREATE TABLE IF NOT EXISTS decisions (
    decision_number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id        TEXT NOT NULL,
    event           TEXT NOT NULL,
    section         TEXT NOT NULL,
    asked_seat      INTEGER,
    outcome         TEXT NOT NULL,
    seat            INTEGER,
    free            INTEGER NOT NULL,
    message_id      TEXT NOT NULL,
    sequence_number TEXT,
    decided_at_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id   TEXT NOT NULL,
    payload    BLOB NOT NULL,
    sent_at_ms INTEGER
) STRICT;

CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (number) WHERE sent_at_ms IS NULL;
