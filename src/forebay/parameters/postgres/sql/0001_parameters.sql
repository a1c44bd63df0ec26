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

-- Who changes something is the setting forebay.changed_by of the transaction, else the session's user.
CREATE FUNCTION application_parameter_stamp() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := coalesce(nullif(current_setting('forebay.changed_by', true), ''), session_user);
    RETURN NEW;
END
$$;
CREATE TRIGGER application_parameter_stamp BEFORE INSERT OR UPDATE ON application_parameters
    FOR EACH ROW EXECUTE FUNCTION application_parameter_stamp();

-- With the rights of whoever made it: who may write a value need not be allowed to write history.
CREATE FUNCTION application_parameter_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed_name text := CASE TG_OP WHEN 'DELETE' THEN OLD.name ELSE NEW.name END;
    old_value text := CASE TG_OP WHEN 'INSERT' THEN NULL ELSE OLD.value END;
    new_value text := CASE TG_OP WHEN 'DELETE' THEN NULL ELSE NEW.value END;
BEGIN
    IF old_value IS DISTINCT FROM new_value THEN
        EXECUTE format(
            'INSERT INTO %I.application_parameter_changes'
            ' (name, old_value, new_value, changed_by, note) VALUES ($1, $2, $3, $4, $5)',
            TG_TABLE_SCHEMA
        ) USING
            changed_name, old_value, new_value,
            coalesce(nullif(current_setting('forebay.changed_by', true), ''), session_user),
            coalesce(current_setting('forebay.note', true), '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER application_parameter_changed AFTER INSERT OR UPDATE OR DELETE
    ON application_parameters FOR EACH ROW EXECUTE FUNCTION application_parameter_changed();
