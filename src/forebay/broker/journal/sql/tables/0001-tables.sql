-- Times ending in _at_ms are engine time in milliseconds unless a comment says otherwise.

CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next_sequence INTEGER NOT NULL,
    next_queue_number INTEGER NOT NULL,
    clock_ms INTEGER NOT NULL,
    folded_through INTEGER NOT NULL -- commits of the log up to this number are in these tables
) STRICT;

INSERT INTO meta VALUES (1, 1, 1, 0, 0);

CREATE TABLE queue (
    number INTEGER PRIMARY KEY,
    record TEXT NOT NULL -- a JSON object
) STRICT;

CREATE TABLE move_task (
    number INTEGER PRIMARY KEY,
    record TEXT NOT NULL -- a JSON object
) STRICT;

CREATE TABLE message (
    sequence INTEGER PRIMARY KEY,
    queue_number INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    body TEXT NOT NULL,
    enqueued_at_ms INTEGER NOT NULL,
    available_at_ms INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL, -- wall time
    sender_id TEXT NOT NULL,
    message_group_id TEXT,
    deduplication_id TEXT,
    extras BLOB, -- MessagePack
    page_key INTEGER NOT NULL
) STRICT;

-- SQLite adds the sequence, which is the row's id, to each.
CREATE INDEX message_page ON message (queue_number, page_key);

-- Message groups of standard queues alone: on a FIFO queue the page key is the sequence.
CREATE INDEX message_tenant ON message (queue_number, message_group_id, page_key)
    WHERE message_group_id IS NOT NULL AND page_key <> sequence;

CREATE TABLE tally (
    queue_number INTEGER PRIMARY KEY,
    unreceived INTEGER NOT NULL,
    floor_key INTEGER NOT NULL
) STRICT;

-- How many messages of a queue were sent with a delay that ends then.
CREATE TABLE delay (
    available_at_ms INTEGER NOT NULL,
    queue_number INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (available_at_ms, queue_number)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    sequence INTEGER PRIMARY KEY,
    receive_count INTEGER NOT NULL,
    first_received_at_ms INTEGER NOT NULL, -- wall time
    taken_at_ms INTEGER NOT NULL,
    visible_at_ms INTEGER NOT NULL,
    attempt_id TEXT
) STRICT;

CREATE TABLE deduplication (
    sequence INTEGER PRIMARY KEY,
    queue_number INTEGER NOT NULL,
    scope TEXT NOT NULL,
    deduplication_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- Rows of a queue up to through_sequence are gone; those up to swept_sequence are deleted already.
CREATE TABLE sweep (
    queue_number INTEGER PRIMARY KEY,
    through_sequence INTEGER NOT NULL,
    swept_sequence INTEGER NOT NULL
) STRICT;
