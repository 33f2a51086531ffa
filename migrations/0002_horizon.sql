-- The last block whose samples an update takes; null before its first run has looked. A run that goes
-- on where another was interrupted must learn the same samples, whatever has come since. A queued
-- update that has a horizon takes no further requests in: their samples may lie beyond it.
ALTER TABLE updates ADD COLUMN horizon bigint;
