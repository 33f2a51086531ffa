-- What happened to a model and to no update of it: that `live` returned by itself. It is kept as long as its model.
ALTER TABLE events
    ALTER COLUMN update_id DROP NOT NULL,
    ADD COLUMN model_id bigint REFERENCES models ON DELETE CASCADE,
    ADD CHECK ((update_id IS NULL) <> (model_id IS NULL)),
    DROP CONSTRAINT events_kind_check,
    ADD CHECK (kind IN ('progress', 'phase', 'epoch', 'end', 'rollback'));
CREATE INDEX events_of_model ON events (model_id, id) WHERE model_id IS NOT NULL;
