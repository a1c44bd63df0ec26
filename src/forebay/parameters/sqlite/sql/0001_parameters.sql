-- Times are ISO 8601 in UTC. Whoever writes a value with SQL need give its name and the value alone.
CREATE TABLE application_parameters (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_by TEXT NOT NULL DEFAULT 'SQL'
) STRICT;

-- A value is NULL where the parameter was not set.
CREATE TABLE application_parameter_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    changed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    changed_by TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE INDEX application_parameter_changes_by_name
    ON application_parameter_changes (name, number);
