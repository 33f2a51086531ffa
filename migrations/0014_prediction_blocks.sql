-- Predictions lie in the block of their inputs, a row a block, instead of a row each: of a prediction's id all but the
-- last byte is its block's, and that its place in the block. What was remembered before cannot be found by such ids, and
-- is forgotten; labels that came for it stay.
DROP TABLE predictions;
TRUNCATE prediction_blocks;
ALTER TABLE prediction_blocks
    ADD COLUMN version       integer NOT NULL,
    -- What the version said of each input, and how sure it was.
    ADD COLUMN labels        text[] NOT NULL,
    ADD COLUMN probabilities real[] NOT NULL;

-- Makes the partitions of these days, where they are not there yet.
CREATE OR REPLACE FUNCTION open_prediction_days(first date, last date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day date;
    parent text;
    part text;
BEGIN
    -- One at a time: two processes would make the same partition.
    PERFORM pg_advisory_xact_lock(hashtextextended('prediction days', 0));
    FOR day IN SELECT generate_series(first, last, interval '1 day')::date LOOP
        FOREACH parent IN ARRAY ARRAY['prediction_blocks', 'feedback'] LOOP
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
CREATE OR REPLACE FUNCTION drop_prediction_days(before date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('prediction days', 0));
    FOR part IN
        SELECT inhrelid FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent IN ('prediction_blocks'::regclass, 'feedback'::regclass)
              AND right(relname, 8) < to_char(before, 'YYYYMMDD')
    LOOP
        EXECUTE 'DROP TABLE ' || part;
    END LOOP;
END
$$;
