-- Whom a sample is about, where the client says so: all of a subject's samples can be forgotten at once.
ALTER TABLE samples ADD COLUMN subject text;
CREATE INDEX samples_of_subject ON samples (model_id, subject) WHERE subject IS NOT NULL;

-- The last block whose samples the version may have learnt from: as new ones, or as old ones that an
-- earlier version had learnt. Whoever asks to be forgotten is told by it which versions remember.
ALTER TABLE versions ADD COLUMN horizon bigint;
UPDATE versions SET horizon = running.horizon
FROM (SELECT v.model_id, v.version,
             max(u.horizon) OVER (PARTITION BY v.model_id ORDER BY v.version) AS horizon
      FROM versions v LEFT JOIN updates u ON u.id = v.update_id) running
WHERE versions.model_id = running.model_id AND versions.version = running.version;

-- What was decided about a sample goes with it.
CREATE INDEX decisions_of_sample ON decisions USING hash (sample_id);
