-- What happened to updates, for those who follow them: kept for a week, so that a listener that comes
-- back is told what it missed. Ids rise in the order in which events become visible (storage/events.rs),
-- so whoever asks for those beyond the last id that it saw misses none.
CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    update_id  uuid NOT NULL REFERENCES updates ON DELETE CASCADE,
    -- The run that it happened in; 0 for an update that ended before any.
    attempt    integer NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('progress', 'phase', 'epoch', 'end')),
    data       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_of_update ON events (update_id, id);
CREATE INDEX events_by_age ON events (created_at);
