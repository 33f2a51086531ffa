-- Predictions that a client asked to be remembered, until their days are over. An id is a UUID v7, which begins
-- with its time: a day of ids is a partition, made ahead and dropped whole. Nothing here refers to `models` by a
-- foreign key: making or dropping a partition would lock that table against everybody.
CREATE TABLE predictions (
    model_id    bigint NOT NULL,
    id          uuid NOT NULL,
    version     integer NOT NULL,
    -- Where its input lies.
    block_id    uuid NOT NULL,
    position    smallint NOT NULL,
    -- What the version said, and how sure it was.
    label       text NOT NULL,
    probability real NOT NULL,
    PRIMARY KEY (model_id, id)
) PARTITION BY RANGE (id);

-- The inputs of some predictions, packed as those of samples are (storage/block.rs).
CREATE TABLE prediction_blocks (
    model_id bigint NOT NULL,
    id       uuid NOT NULL,
    payload  bytea NOT NULL,
    PRIMARY KEY (model_id, id)
) PARTITION BY RANGE (id);

-- What predictions turned out to be worth: the true label of each, given once.
CREATE TABLE feedback (
    model_id      bigint NOT NULL,
    prediction_id uuid NOT NULL,
    -- Of the prediction, so that a version's figures are one index scan.
    version       integer NOT NULL,
    probability   real NOT NULL,
    label         text NOT NULL,
    is_right      boolean NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, prediction_id)
) PARTITION BY RANGE (prediction_id);
CREATE INDEX feedback_of_version ON feedback (model_id, version, prediction_id) INCLUDE (is_right, probability);

-- The least id that a prediction of this day (UTC) may have.
CREATE FUNCTION first_id_of_day(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of these days, where they are not there yet.
CREATE FUNCTION open_prediction_days(first date, last date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day date;
    parent text;
    part text;
BEGIN
    -- One at a time: two processes would make the same partition.
    PERFORM pg_advisory_xact_lock(hashtextextended('prediction days', 0));
    FOR day IN SELECT generate_series(first, last, interval '1 day')::date LOOP
        FOREACH parent IN ARRAY ARRAY['predictions', 'prediction_blocks', 'feedback'] LOOP
            part := parent || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           part, parent, first_id_of_day(day), first_id_of_day(day + 1));
            -- Already compressed, so PostgreSQL is told not to try again.
            IF parent = 'prediction_blocks' THEN
                EXECUTE format('ALTER TABLE %I ALTER COLUMN payload SET STORAGE EXTERNAL', part);
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- Drops the partitions of all days before this one.
CREATE FUNCTION drop_prediction_days(before date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('prediction days', 0));
    FOR part IN
        SELECT inhrelid FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent IN ('predictions'::regclass, 'prediction_blocks'::regclass, 'feedback'::regclass)
              AND right(relname, 8) < to_char(before, 'YYYYMMDD')
    LOOP
        EXECUTE 'DROP TABLE ' || part;
    END LOOP;
END
$$;

-- The figures by which an alias did return by itself to where it pointed before, until it is moved again.
ALTER TABLE aliases ADD COLUMN rolled_back jsonb;
