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

-- Who changes something, and why, as long as their transaction lasts. Nobody else sees the row.
CREATE TABLE application_parameter_author (
    changed_by TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;

-- INSERT OR REPLACE deletes without a trigger; what it replaced is in the history.
CREATE TRIGGER application_parameter_inserted AFTER INSERT ON application_parameters
BEGIN
    INSERT INTO application_parameter_changes (name, old_value, new_value, changed_by, note)
    VALUES (
        NEW.name,
        (
            SELECT new_value FROM application_parameter_changes
            WHERE name = NEW.name ORDER BY number DESC LIMIT 1
        ),
        NEW.value,
        coalesce((SELECT changed_by FROM application_parameter_author), NEW.updated_by),
        coalesce((SELECT note FROM application_parameter_author), '')
    );
END;

CREATE TRIGGER application_parameter_updated AFTER UPDATE OF value ON application_parameters
WHEN OLD.value <> NEW.value
BEGIN
    UPDATE application_parameters
    SET
        updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
        updated_by = coalesce(
            (SELECT changed_by FROM application_parameter_author),
            CASE WHEN NEW.updated_by = OLD.updated_by THEN 'SQL' ELSE NEW.updated_by END
        )
    WHERE name = NEW.name;
    INSERT INTO application_parameter_changes (name, old_value, new_value, changed_by, note)
    VALUES (
        NEW.name,
        OLD.value,
        NEW.value,
        (SELECT updated_by FROM application_parameters WHERE name = NEW.name),
        coalesce((SELECT note FROM application_parameter_author), '')
    );
END;

CREATE TRIGGER application_parameter_deleted AFTER DELETE ON application_parameters
BEGIN
    INSERT INTO application_parameter_changes (name, old_value, new_value, changed_by, note)
    VALUES (
        OLD.name,
        OLD.value,
        NULL,
        coalesce((SELECT changed_by FROM application_parameter_author), 'SQL'),
        coalesce((SELECT note FROM application_parameter_author), '')
    );
END;
