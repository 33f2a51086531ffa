-- Who did what, and when: written in the transaction that did it. A row outlives what it tells of, so it
-- names its model and hangs from nothing; of what was forgotten it holds numbers only.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whose key it was; null where none was asked for.
    actor      text,
    action     text NOT NULL,
    model      text NOT NULL,
    detail     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
