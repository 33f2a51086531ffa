//! Minibatches: features, labels and shares of the samples of one step, and what the old network says
//! of the replayed ones.

use std::collections::{BTreeSet, HashMap};

use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::label::Label;

use super::Lesson;
use super::augment::Augmenter;
use super::features::Featurizer;
use super::loss::Targets;
use super::network::{Network, numbers};
use super::predict::CHUNK;
use super::rows::Rows;
use super::seed::{Draw, stream};
use super::state::LearnerState;
use super::subset::Subset;
use super::train::Material;

/// New samples in a minibatch, and replayed ones beside them.
pub(super) const HALF: usize = 64;
/// The most logits of the old network that are kept.
const MOST_LOGITS: usize = 1 << 23;

/// Each label's place in the head.
pub(super) fn places(state: &LearnerState) -> HashMap<&Label, usize> {
    state.labels.iter().enumerate().map(|(place, label)| (label, place)).collect()
}

/// One half of every minibatch.
struct Half<'a> {
    subset: &'a Subset<'a>,
    /// Each sample's label, as its place in the head.
    labels: Vec<usize>,
}

impl Half<'_> {
    /// Appends the samples at `places`, whose shares add up to `share`.
    fn append(
        &self,
        places: &[usize],
        share: f32,
        featurizer: &Featurizer,
        (rows, targets): (&mut Rows, &mut Targets),
    ) {
        let samples = self.subset.samples;
        let weights = places.iter().map(|&place| self.subset.weights[place]);
        let total: f32 = weights.clone().sum();
        for (&place, weight) in places.iter().zip(weights) {
            featurizer.append(&samples.inputs, self.subset.indices[place], rows);
            targets.shares.push(share * weight / total);
        }
        targets.labels.extend(places.iter().map(|&place| self.labels[place]));
    }
}

/// The old network, which is asked about replayed samples.
struct Teacher<'a> {
    network: Network<'a>,
    /// Labels that it knows.
    n_labels: usize,
    /// What it says of every sample to replay, `[samples, n_labels]` row-major; empty where it is
    /// asked about a minibatch at a time.
    logits: Vec<f32>,
}

impl<'a> Teacher<'a> {
    /// `old` as a teacher, asked beforehand where samples are replayed more than once in `n_steps`.
    fn new(
        lesson: &Lesson<'_>,
        old: &'a LearnerState,
        featurizer: &Featurizer,
        replay: &Subset<'_>,
        n_steps: usize,
    ) -> Self {
        let network = Network::new(&old.shape, &old.layers, lesson.device);
        let n_labels = old.labels.len();
        let mut logits = Vec::new();
        if n_steps * HALF > replay.len() && replay.len() * n_labels <= MOST_LOGITS {
            for chunk in replay.indices.chunks(CHUNK) {
                let rows = featurizer.rows(&replay.samples.inputs, chunk.iter().copied());
                logits.extend(numbers(network.forward(rows).logits));
            }
        }
        Self { network, n_labels, logits }
    }

    /// What it says of the samples at `places`, whose rows are given if needed.
    fn ask(&self, places: &[usize], rows: impl FnOnce() -> Rows) -> Vec<f32> {
        if self.logits.is_empty() {
            return numbers(self.network.forward(rows()).logits);
        }
        let of = |&place: &usize| &self.logits[place * self.n_labels..][..self.n_labels];
        places.iter().flat_map(of).copied().collect()
    }
}

/// Assembles minibatches, each new sample once a pass, the replayed ones in turn.
pub(super) struct Minibatches<'a> {
    new: Half<'a>,
    replay: Half<'a>,
    featurizer: Featurizer,
    teacher: Option<Teacher<'a>>,
    /// λ: what agreement with it counts.
    distillation: f32,
    /// What the new samples count, the replayed ones count the rest.
    new_share: f32,
    /// Places of the new samples in the order of this pass.
    new_order: Vec<usize>,
    new_draws: Xoshiro256PlusPlus,
    /// Places of the samples to replay next, from the back.
    replay_order: Vec<usize>,
    replay_draws: Xoshiro256PlusPlus,
    /// Places of the replayed samples that were used.
    used: BTreeSet<usize>,
    augmenter: Option<Augmenter>,
    /// Minibatches so far, over all passes.
    n_taken: u64,
}

impl<'a> Minibatches<'a> {
    /// Minibatches of `material` for `state`, whose head has grown already.
    pub(super) fn new(lesson: &Lesson<'_>, state: &LearnerState, material: &Material<'a>) -> Self {
        let places = places(state);
        let half = |subset: &'a Subset<'a>| Half {
            subset,
            labels: subset.labels().map(|label| places[label]).collect(),
        };
        let featurizer = state.featurizer();
        let augmenter = Augmenter::of(lesson.settings, lesson.seed);
        // What an image is changed into is never seen twice.
        let n_steps = if augmenter.is_some() { 0 } else { material.n_steps() };
        let teacher = material.teacher.filter(|_| material.distillation > 0.0);
        let teacher =
            teacher.map(|old| Teacher::new(lesson, old, &featurizer, material.replay, n_steps));
        Self {
            new: half(material.new),
            replay: half(material.replay),
            featurizer,
            teacher,
            distillation: material.distillation,
            new_share: material.new_share(),
            new_order: (0..material.new.len()).collect(),
            new_draws: stream(lesson.seed, Draw::NewOrder),
            replay_order: Vec::new(),
            replay_draws: stream(lesson.seed, Draw::ReplayOrder),
            used: BTreeSet::new(),
            augmenter,
            n_taken: 0,
        }
    }

    /// Puts the new samples into another order.
    pub(super) fn shuffle(&mut self) {
        self.new_order.shuffle(&mut self.new_draws);
    }

    /// Takes the draws of `n_passes` passes of `n` minibatches again, as if they were trained on.
    pub(super) fn skip(&mut self, n_passes: usize, n: usize) {
        for _ in 0..n_passes {
            self.shuffle();
            (0..n).for_each(|_| drop(self.next_replayed()));
            self.n_taken += n as u64;
        }
    }

    /// Minibatch `index` of `n` of nearly equal size: rows, the new ones first, and their targets.
    pub(super) fn get(&mut self, index: usize, n: usize) -> (Rows, Targets) {
        let replayed = self.next_replayed();
        let n_new = self.new_order.len();
        let new = &self.new_order[index * n_new / n..(index + 1) * n_new / n];
        let share = self.new_share;
        let mut rows = self.featurizer.no_rows();
        let mut targets = Targets { distillation: self.distillation, ..Targets::default() };
        self.new.append(new, share, &self.featurizer, (&mut rows, &mut targets));
        // Agreement on new samples would fight the new labels: there only where nothing is replayed.
        let mark = if replayed.is_empty() { 0 } else { rows.mark() };
        self.replay.append(&replayed, 1.0 - share, &self.featurizer, (&mut rows, &mut targets));
        if let (Some(augmenter), Rows::Full(images)) = (&self.augmenter, &mut rows) {
            augmenter.change(images, self.n_taken);
        }
        self.n_taken += 1;
        if let Some(teacher) = &self.teacher {
            targets.old_logits = teacher.ask(&replayed, || rows.after(mark));
            targets.n_old = teacher.n_labels;
        }
        (rows, targets)
    }

    /// Places of the replayed samples that were used, ascending.
    pub(super) fn replayed(&self) -> Vec<usize> {
        self.used.iter().copied().collect()
    }

    /// The next to replay: all in a drawn order, then all again in another.
    fn next_replayed(&mut self) -> Vec<usize> {
        let n_replay = self.replay.subset.len();
        if n_replay == 0 {
            return Vec::new();
        }
        while self.replay_order.len() < HALF {
            let mut order: Vec<usize> = (0..n_replay).collect();
            order.shuffle(&mut self.replay_draws);
            order.append(&mut self.replay_order);
            self.replay_order = order;
        }
        let next = self.replay_order.split_off(self.replay_order.len() - HALF);
        self.used.extend(&next);
        next
    }
}
