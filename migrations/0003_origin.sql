-- Where a version comes from: an update made it, its weights were brought by a client, or it is another
-- model's version. Only the first has an update.
ALTER TABLE versions
    ADD COLUMN origin text NOT NULL DEFAULT 'update' CHECK (origin IN ('update', 'imported', 'copied')),
    ALTER COLUMN update_id DROP NOT NULL,
    ADD CHECK ((update_id IS NOT NULL) = (origin = 'update'));
