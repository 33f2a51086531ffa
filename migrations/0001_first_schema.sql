-- The whole first schema. Every row hangs from its model and goes with it.

-- A model: what a client created, and how it is set up. The row is also the lock under which a
-- model's batches are stored and its versions numbered, one at a time.
CREATE TABLE models (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    settings     jsonb NOT NULL,
    -- Version numbers are handed out once and never again.
    next_version integer NOT NULL DEFAULT 1,
    -- Counts deletions of samples: an update that began before one may not publish after it.
    deletions    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- A model's labels, numbered from 0 in order of arrival, so that a sample's row holds a number.
CREATE TABLE labels (
    model_id bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    label    integer NOT NULL,
    name     text NOT NULL,
    PRIMARY KEY (model_id, label),
    UNIQUE (model_id, name)
);

-- A batch: one POST of samples, and the verdicts on them.
CREATE TABLE batches (
    id         uuid PRIMARY KEY,
    model_id   bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    received   bigint NOT NULL,
    accepted   bigint NOT NULL,
    duplicates bigint NOT NULL,
    rejected   bigint NOT NULL,
    rejections jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX batches_of_model ON batches (model_id, id);

-- The inputs of up to 1,000 samples, packed and compressed (storage/block.rs). Already
-- compressed, so PostgreSQL is told not to try again.
CREATE TABLE blocks (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    batch_id uuid NOT NULL REFERENCES batches ON DELETE CASCADE,
    payload  bytea NOT NULL
);
ALTER TABLE blocks ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX blocks_of_batch ON blocks (batch_id);
-- In order of arrival: the newest samples are found from its end.
CREATE INDEX blocks_of_model ON blocks (model_id, id);

-- One narrow row per sample: where its input lies, and what became of it. `hash` is the content
-- hash of input and label: the same sample is stored once per model.
CREATE TABLE samples (
    model_id   bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    block_id   bigint NOT NULL REFERENCES blocks ON DELETE CASCADE,
    position   smallint NOT NULL,
    label      integer NOT NULL,
    weight     real NOT NULL,
    held_out   boolean NOT NULL,
    -- Pending and not yet offered to any update: what the schedule counts.
    fresh      boolean NOT NULL DEFAULT true,
    -- The version that first learnt it (or was first evaluated on it); null while pending.
    version    integer,
    -- An update held it back, or a later one learnt its input with another label: it is neither
    -- replayed nor evaluated on.
    withheld   boolean NOT NULL DEFAULT false,
    hash       bytea NOT NULL,
    client_id  text,
    PRIMARY KEY (model_id, hash)
);
CREATE UNIQUE INDEX samples_by_client_id ON samples (model_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX samples_of_block ON samples (block_id);
CREATE INDEX samples_pending ON samples (model_id, block_id, position) WHERE version IS NULL;
CREATE INDEX samples_fresh ON samples (model_id, block_id) WHERE fresh;
-- Replay and evaluation draw per label, by hash.
CREATE INDEX samples_to_replay ON samples (model_id, label, hash)
    WHERE version IS NOT NULL AND NOT held_out AND NOT withheld;
CREATE INDEX samples_to_evaluate ON samples (model_id, label, hash)
    WHERE version IS NOT NULL AND held_out AND NOT withheld;

-- An update job. `attempt` counts runs and fences them: only the run that holds the row's attempt
-- may finish it. `failures` counts runs that failed, and drives back-off and the limit.
CREATE TABLE updates (
    id               uuid PRIMARY KEY,
    model_id         bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    trigger          text NOT NULL CHECK (trigger IN ('schedule', 'batch', 'manual')),
    -- Train even when nothing is pending.
    forced           boolean NOT NULL DEFAULT false,
    phase            text,
    progress         real NOT NULL DEFAULT 0,
    attempt          integer NOT NULL DEFAULT 0,
    failures         integer NOT NULL DEFAULT 0,
    run_after        timestamptz NOT NULL DEFAULT now(),
    leased_until     timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    outcome          text CHECK (outcome IN ('published', 'rejected', 'nothing_to_learn')),
    version          integer,
    error            jsonb,
    report           jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    CHECK ((status = 'running') = (leased_until IS NOT NULL)),
    CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
-- At most one running update per model: the invariant, kept by the database itself.
CREATE UNIQUE INDEX updates_one_running ON updates (model_id) WHERE status = 'running';
-- A queued update that never ran absorbs further requests.
CREATE UNIQUE INDEX updates_one_waiting ON updates (model_id) WHERE status = 'queued' AND attempt = 0;
CREATE INDEX updates_to_claim ON updates (run_after) WHERE status = 'queued';
CREATE INDEX updates_of_model ON updates (model_id, id);

-- What an update decided about each sample, in the order that it took them.
CREATE TABLE decisions (
    update_id uuid NOT NULL REFERENCES updates ON DELETE CASCADE,
    position  integer NOT NULL,
    sample_id text NOT NULL,
    decision  text NOT NULL,
    cluster   integer,
    distance  real,
    outlier   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (update_id, position)
);

-- A version: the immutable result of an update. Its checkpoint was complete and durable in the
-- object store, under its digest, before this row was written.
CREATE TABLE versions (
    model_id   bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    version    integer NOT NULL,
    parent     integer,
    status     text NOT NULL CHECK (status IN ('published', 'rejected')),
    update_id  uuid NOT NULL,
    checkpoint text NOT NULL,
    bytes      bigint NOT NULL,
    sha256     text NOT NULL,
    labels     text[] NOT NULL,
    evaluation jsonb NOT NULL,
    gate       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, version),
    UNIQUE (update_id)
);

-- Movable names of versions; `live` is the one that predictions use.
CREATE TABLE aliases (
    model_id   bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    alias      text NOT NULL,
    version    integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, alias),
    FOREIGN KEY (model_id, version) REFERENCES versions ON DELETE CASCADE
);

-- Answers already given under an Idempotency-Key, written in the transaction that they report.
CREATE TABLE idempotency_keys (
    model_id    bigint NOT NULL REFERENCES models ON DELETE CASCADE,
    route       text NOT NULL,
    key         text NOT NULL,
    -- SHA-256 of query and body: the same key with another request is refused.
    fingerprint bytea NOT NULL,
    status      smallint NOT NULL,
    location    text,
    body        jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
