-- Whoever writes a value with SQL need give its name and the value alone.
CREATE TABLE application_parameters (
    name text PRIMARY KEY,
    value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by text NOT NULL DEFAULT session_user
);

-- A value is NULL where the parameter was not set.
CREATE TABLE application_parameter_changes (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    old_value text,
    new_value text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL,
    note text NOT NULL
);
CREATE INDEX application_parameter_changes_by_name
    ON application_parameter_changes (name, number);
