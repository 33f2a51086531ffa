-- Where a block's payload is several pieces that are packed each by itself (storage/block.rs): inputs of a piece, and
-- where each ends. What releases before this one wrote is one piece.
ALTER TABLE blocks ADD COLUMN frame_inputs int NOT NULL DEFAULT 1000;
ALTER TABLE blocks ADD COLUMN frame_ends int[] NOT NULL DEFAULT '{}';
