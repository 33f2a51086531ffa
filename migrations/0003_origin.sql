-- Where a version comes from: an update made it, its weights were brought by a client, or it is another
-- model's version. Only the first has an update.
ALTER TABLE versions
    ADD COLUMN origin text NOT NULL DEFAULT 'update' CHECK (origin IN ('update', 'imported', 'copied')),
    ALTER COLUMN update_id DROP NOT NULL,
    ADD CHECK ((update_id IS NOT NULL) = (origin = 'update'));

-- What a model begins with where it has no version yet: the checkpoint of another model's version, whose
-- head is left out.
CREATE TABLE bodies (
    model_id   bigint PRIMARY KEY REFERENCES models ON DELETE CASCADE,
    checkpoint text NOT NULL,
    bytes      bigint NOT NULL,
    sha256     text NOT NULL
);
