//! Predictions that wait to be written, in the blocks that will hold them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::input::Inputs;
use crate::services::room::Held;
use crate::services::serving::Answered;
use crate::storage::models::ModelId;
use crate::storage::predictions::{self, NewBlock};
use crate::storage::{StorageError, block};

/// Predictions from which on nothing is added to a block: few, as a label asks for one of them and its
/// whole block is read.
const FULL: usize = 100;
/// The same in bytes.
const FULL_BYTES: usize = 4 << 20;
/// An answer to more has blocks of its own, which are laid out while nobody waits for it.
const SMALL: usize = FULL / 2;
/// The same in bytes.
const SMALL_BYTES: usize = 64 << 10;
const _: () = assert!(FULL + SMALL <= predictions::MOST_IN_BLOCK);

/// All that waits. Of each version that is asked one block is open.
#[derive(Default)]
pub(super) struct Waiting {
    full: VecDeque<Block>,
    open: HashMap<(ModelId, i32), Block>,
    /// Rounds of writing that were begun.
    n_rounds: u64,
}

impl Waiting {
    /// Adds what a version answered; what the predictions are called.
    pub(super) fn add(&mut self, mut answer: Vec<Block>) -> Vec<Uuid> {
        match answer.pop_if(|last| last.is_small()) {
            Some(small) if answer.is_empty() => self.join(small),
            last => {
                answer.extend(last);
                let ids = answer.iter().flat_map(|block| block.ids(0)).collect();
                self.full.extend(answer);
                ids
            }
        }
    }

    fn join(&mut self, answer: Block) -> Vec<Uuid> {
        let key = (answer.model, answer.version);
        let Some(open) = self.open.get_mut(&key) else {
            let ids = answer.ids(0).collect();
            self.open.insert(key, answer);
            return ids;
        };
        let n_before = open.n_predictions();
        (0..answer.inputs.len()).for_each(|index| open.inputs.push_from(&answer.inputs, index));
        open.said.extend(answer.said);
        open.room.extend(answer.room);
        let ids = open.ids(n_before).collect();
        if open.is_full() {
            self.full.extend(self.open.remove(&key));
        }
        ids
    }

    /// Blocks to which nothing is added any more.
    pub(super) fn n_full(&self) -> usize {
        self.full.len()
    }

    /// All of it, to be written in the round that begins.
    pub(super) fn take(&mut self) -> (VecDeque<Block>, u64) {
        let mut all = std::mem::take(&mut self.full);
        all.extend(self.open.drain().map(|(_, block)| block));
        self.n_rounds += 1;
        (all, self.n_rounds)
    }

    /// Puts back what could not be written, before all that came since.
    pub(super) fn put_back(&mut self, mut blocks: VecDeque<Block>) {
        blocks.append(&mut self.full);
        self.full = blocks;
    }

    /// The round with which all of it is written.
    pub(super) fn round_of_all(&self) -> u64 {
        let waits = !self.full.is_empty() || !self.open.is_empty();
        self.n_rounds + u64::from(waits)
    }
}

/// Predictions of one version that are written together.
pub(super) struct Block {
    id: Uuid,
    model: ModelId,
    version: i32,
    labels: Arc<[String]>,
    inputs: Inputs,
    /// Place and probability of what was said, input by input.
    said: Vec<(usize, f32)>,
    /// What they take; of an answer in several blocks, the last holds it for all.
    room: Vec<Held>,
}

impl Block {
    /// What a version answered to `inputs`, in as many blocks as it takes.
    pub(super) fn of(room: Held, model: ModelId, inputs: Inputs, answered: &Answered) -> Vec<Self> {
        let whole = Self {
            id: predictions::block_id(Uuid::now_v7()),
            model,
            version: answered.version,
            labels: Arc::clone(&answered.labels),
            inputs,
            said: answered.said().collect(),
            room: vec![room],
        };
        match whole.said.len() <= FULL && whole.inputs.size_bytes() <= FULL_BYTES {
            true => vec![whole],
            false => whole.in_parts(),
        }
    }

    fn in_parts(self) -> Vec<Self> {
        let (n_numeric, n_categorical) = (self.inputs.n_numeric(), self.inputs.n_categorical());
        let empty = || Self {
            id: predictions::block_id(Uuid::now_v7()),
            labels: Arc::clone(&self.labels),
            inputs: Inputs::with_shape(n_numeric, n_categorical),
            said: Vec::new(),
            room: Vec::new(),
            ..self
        };
        let (mut parts, mut last) = (Vec::new(), empty());
        for (index, &said) in self.said.iter().enumerate() {
            if last.is_full() {
                parts.push(std::mem::replace(&mut last, empty()));
            }
            last.inputs.push_from(&self.inputs, index);
            last.said.push(said);
        }
        last.room = self.room;
        parts.push(last);
        parts
    }

    /// How many there are.
    pub(super) fn n_predictions(&self) -> usize {
        self.said.len()
    }

    fn is_small(&self) -> bool {
        self.said.len() <= SMALL && self.inputs.size_bytes() <= SMALL_BYTES
    }

    fn is_full(&self) -> bool {
        self.said.len() >= FULL || self.inputs.size_bytes() >= FULL_BYTES
    }

    /// What those from the place `first` on are called.
    fn ids(&self, first: usize) -> impl Iterator<Item = Uuid> {
        let id = self.id;
        (first..self.said.len()).map(move |place| predictions::id_at(id, place))
    }

    /// What is written of it.
    ///
    /// # Errors
    /// When the compressor has no memory.
    pub(super) fn pack(&self) -> Result<NewBlock, StorageError> {
        let label = |&(place, _): &(usize, f32)| self.labels[place].clone();
        Ok(NewBlock {
            model: self.model,
            id: self.id,
            version: self.version,
            labels: self.said.iter().map(label).collect(),
            probabilities: self.said.iter().map(|&(_, probability)| probability).collect(),
            payload: block::encode(&self.inputs)?,
        })
    }
}
