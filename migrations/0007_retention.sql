-- When a model's retention removed the version. Its checkpoint is gone then; its row stays, without its
-- figures, since later versions were trained from it and experiences are numbered by it.
ALTER TABLE versions ADD COLUMN removed_at timestamptz;

-- Where the alias pointed before it was moved last: that version is kept, so that it can be moved back.
ALTER TABLE aliases ADD COLUMN previous integer;
