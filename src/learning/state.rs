//! The learner state: all that is needed to go on learning, and to answer.

use std::collections::HashSet;

use rand::Rng;

use crate::domain::Invalid;
use crate::domain::input::InputSchema;
use crate::domain::label::Label;
use crate::domain::sample::Samples;
use crate::domain::settings::{MAX_EXPERTS, ModelSettings, Strategy};
use crate::domain::update::AnsweredBy;

use super::analytic::Analytic;
use super::categories::{Dictionary, UNSEEN};
use super::drift::Evidence;
use super::features::Featurizer;
use super::given::Given;
use super::judges::Judges;
use super::minibatch::places;
use super::moments::{LEAST_REMEMBERED, Moments};
use super::network::Dense;
use super::normalize::{compensate, compensate_importance};
use super::recipe::Recipe;
use super::seed::{Draw, stream};
use super::shape::{Shape, copy_expert};
use super::subset::Subset;
use super::text::{self, Documents, TextReader};
use super::{Lesson, consolidate};

/// Everything that a version has learnt: statistics of its inputs, labels, and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerState {
    /// What one input looks like.
    pub(super) input: InputSchema,
    /// How the layers hang together.
    pub(super) shape: Shape,
    /// Known labels; only ever appended to. The head's outputs in this order.
    pub(super) labels: Vec<Label>,
    /// Statistics of the numeric features.
    pub(super) moments: Moments,
    /// In how many texts each bucket came, where that counts.
    pub(super) documents: Option<Documents>,
    /// One for each categorical feature.
    pub(super) dictionaries: Vec<Dictionary>,
    /// The layers as [`Shape`] puts them; the head is missing as long as there is no label.
    pub(super) layers: Vec<Dense>,
    /// What the learnt samples of each label weigh together.
    pub(super) frequencies: Vec<f64>,
    /// Whether the network was trained as if labels came equally often, so that how often they do
    /// is to be added when it answers.
    pub(super) levelled: bool,
    /// How much each weight mattered so far, laid out as the layers; kept where weights are held.
    pub(super) importance: Option<Vec<Dense>>,
    /// What was seen of meanings that move.
    pub(super) drift: Evidence,
    /// The closed-form learner beside the network.
    pub(super) analytic: Option<Analytic>,
    /// Which of the two answers.
    pub(super) answered_by: AnsweredBy,
    /// What logits are divided by before the softmax, in predictions only: training, distillation
    /// and selection read the logits as they are.
    pub(super) temperature: f32,
    /// How it came to be.
    pub(super) lineage: Lineage,
}

/// The least that a label counts for, as a share of an even share.
const LEAST_FREQUENCY: f64 = 0.1;

/// How a state came to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Lineage {
    /// Updates since the first version, that one included.
    pub(super) updates: u64,
    /// Optimiser steps over all updates.
    pub(super) steps: u64,
    /// The last update's seed.
    pub(super) seed: u64,
    /// SHA-256 of the parent's checkpoint, hexadecimal.
    pub(super) parent: Option<String>,
}

impl LearnerState {
    /// Known labels, in the order of a prediction's probabilities.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// One that has learnt nothing.
    pub(super) fn blank(settings: &ModelSettings) -> Self {
        Self {
            input: settings.input.clone(),
            shape: Shape::of(&settings.network, &settings.input),
            labels: Vec::new(),
            moments: Moments::none(settings.input.n_scales()),
            documents: Documents::begun(&settings.input),
            dictionaries: vec![Dictionary::default(); settings.input.n_categories()],
            layers: Vec::new(),
            frequencies: Vec::new(),
            levelled: false,
            importance: None,
            drift: Evidence::default(),
            analytic: None,
            answered_by: AnsweredBy::Network,
            temperature: 1.0,
            lineage: Lineage::default(),
        }
    }

    /// Whether this state is of the model that has `settings`.
    pub(super) fn fits(&self, settings: &ModelSettings) -> bool {
        self.input == settings.input && self.shape.fits(&settings.network, &settings.input)
    }

    /// What another model may go on from: the same without labels, and without all that knows them.
    pub(super) fn body(&self, settings: &ModelSettings) -> Self {
        let mut layers = self.layers.clone();
        layers.pop();
        Self {
            shape: self.shape.clone(),
            moments: self.moments.clone(),
            documents: self.documents.clone(),
            dictionaries: self.dictionaries.clone(),
            layers,
            ..Self::blank(settings)
        }
    }

    /// Whether there is anything to forget.
    pub(super) fn has_learnt(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Whether all that it learnt is in sums, too.
    pub fn keeps_sums(&self) -> bool {
        self.analytic.is_some()
    }

    /// Checks that updates by `strategy` go on from what this knows, of which no sample is at hand.
    ///
    /// # Errors
    /// [`Invalid`] where the next of them would lose it.
    pub fn check_goes_on(&self, strategy: Strategy) -> Result<(), Invalid> {
        let lost = match strategy {
            Strategy::Analytic if self.keeps_sums() => return Ok(()),
            Strategy::Analytic => {
                "learning.strategy analytic answers by sums of samples, and what the model begins with has \
                 none"
            }
            Strategy::Retrain => {
                "learning.strategy retrain begins anew from samples, and what the model begins with brings \
                 none"
            }
            _ if self.has_trained() => return Ok(()),
            _ => {
                "what the model begins with answers by sums alone, from which only learning.strategy \
                 analytic goes on"
            }
        };
        Err(Invalid::new(format!("{lost}: the next update would lose what is known")))
    }

    /// The state whose closed form never learnt `samples`, which it did, each with the weight given:
    /// their part of the sums is subtracted. What a network has learnt stays.
    pub fn without(&self, samples: &Samples) -> Self {
        let gone = Subset::all(samples);
        let without = |analytic: Analytic| analytic.unlearnt(self, &gone);
        Self { analytic: self.analytic.clone().map(without), ..self.clone() }
    }

    /// The same without the closed form.
    pub(super) fn answered_by_network(self) -> Self {
        Self { analytic: None, answered_by: AnsweredBy::Network, ..self }
    }

    /// Whether its network was ever trained.
    pub(super) fn has_trained(&self) -> bool {
        self.lineage.steps > 0
    }

    /// Turns raw inputs into rows for the first layer.
    pub(super) fn featurizer(&self) -> Featurizer {
        Featurizer::new(&self.input, &self.moments, &self.dictionaries)
            .weighing(self.documents.as_ref())
    }

    /// Appends `new_labels` and outputs for them: random ones for the first labels of all, else of
    /// zero weights, so that what the head says of old labels stays.
    pub(super) fn grow_head(&mut self, new_labels: &[Label], seed: u64) {
        if self.labels.is_empty() {
            let n_in = self.shape.n_hidden();
            let draws = &mut stream(seed, Draw::Head);
            self.layers.push(Dense::random(n_in, new_labels.len(), n_in, draws));
        } else if let Some(head) = self.layers.last_mut() {
            head.grow_outputs(new_labels.len());
        }
        if let Some(head) = self.importance.as_mut().and_then(|layers| layers.last_mut()) {
            let n_out = head.n_out;
            head.grow_outputs(new_labels.len());
            head.bias[n_out..].fill(0.0);
        }
        self.labels.extend_from_slice(new_labels);
        self.frequencies.resize(self.labels.len(), 0.0);
    }

    /// Gives a mixture one more expert, unless there are as many as there may be: a copy of one that is
    /// drawn, as the gate sees it, too (Komatsuzaki et al. 2023). Where one expert answers each input,
    /// nothing is said otherwise by that: which of the two it is makes no difference before they learn.
    ///
    /// Where several answer, an input whose last expert came after the copied one is led to the copy in
    /// its place. The gate is linear: to keep the new expert behind all that are chosen, whatever the
    /// input, takes a bias so low that the loss of an uneven load, all that leads inputs to it then, has
    /// no gradient left.
    pub(super) fn grow_experts(&mut self, seed: u64) {
        let depth = self.shape.hidden.len();
        let Some(experts) = self.shape.experts.as_mut().filter(|experts| experts.n < MAX_EXPERTS)
        else {
            return;
        };
        let copied = stream(seed, Draw::Expert).gen_range(0..experts.n);
        experts.n += 1;
        for layers in [Some(&mut self.layers), self.importance.as_mut()].into_iter().flatten() {
            copy_expert(layers, copied, depth);
        }
    }

    /// The layers as they answer: with how often labels come in the head's bias, where training
    /// left it out. A label counts for at least a tenth of an even share: a rare one, or one that
    /// has only begun to come, can still be named.
    pub(super) fn answering_layers(&self) -> Vec<Dense> {
        let mut layers = self.layers.clone();
        if let Some(head) = layers.last_mut().filter(|_| self.levelled) {
            let even = self.frequencies.iter().sum::<f64>() / self.frequencies.len() as f64;
            for (bias, frequency) in head.bias.iter_mut().zip(&self.frequencies) {
                *bias += (frequency / even).max(LEAST_FREQUENCY).ln() as f32;
            }
        }
        layers
    }

    /// What the samples weigh that were learnt so far.
    pub(super) fn n_learnt(&self) -> f64 {
        self.frequencies.iter().sum()
    }

    /// Takes in how often labels come; where the recipe follows the newest, those before count no
    /// more than they do.
    pub(super) fn count(&mut self, given: &Given<'_>, recipe: &Recipe) {
        self.levelled = recipe.levels();
        if given.was_learnt {
            return;
        }
        let samples = &given.new.good;
        let mut new = vec![0.0; self.labels.len()];
        let places = places(self);
        for (label, weight) in samples.labels().zip(samples.weights()) {
            if let Some(&place) = places.get(label) {
                new[place] += f64::from(weight);
            }
        }
        let (before, now) = (self.frequencies.iter().sum::<f64>(), new.iter().sum::<f64>());
        // A few samples more do not turn over how often labels come.
        let most = now.max(LEAST_REMEMBERED);
        let fading = if recipe.follows && before > most { most / before } else { 1.0 };
        let frequencies = self.frequencies.iter_mut().zip(new);
        frequencies.for_each(|(frequency, new)| *frequency = *frequency * fading + new);
    }

    /// Keeps what is needed of the samples once the network has learnt them: sums for the closed
    /// form, of what is `counted`, and importance for weights that are to be held.
    pub(super) fn keep(
        &mut self,
        lesson: &Lesson<'_>,
        (given, counted): (&Given<'_>, &Subset<'_>),
        recipe: &Recipe,
        judges: &Judges,
    ) {
        let (new, history) = (counted, &given.history);
        self.importance = (recipe.strategy == Strategy::Ewc).then(|| {
            let new = consolidate::importance(lesson, self, new);
            consolidate::accumulate(self.importance.take(), new)
        });
        let begins = recipe.strategy == Strategy::Analytic || self.is_shown_by([new, history]);
        self.analytic = match self.analytic.take() {
            Some(learner) if recipe.keeps_sums && given.was_learnt => Some(learner),
            Some(learner) if recipe.keeps_sums => Some(learner.learnt(self, &[new], judges)),
            None if recipe.keeps_sums && begins => {
                self.answered_by = AnsweredBy::Both;
                let learner = Analytic::begin(self, recipe.strategy, new, lesson.seed);
                Some(learner.learnt(self, &[new, history], judges))
            }
            _ => None,
        };
    }

    /// Whether `sets` have samples of all labels. Of those that came with weights from elsewhere there
    /// may be none: a closed form would never answer them, where the network does.
    fn is_shown_by(&self, sets: [&Subset<'_>; 2]) -> bool {
        let shown: HashSet<&Label> = sets.into_iter().flat_map(Subset::labels).collect();
        self.labels.iter().all(|label| shown.contains(label))
    }

    /// Takes the categories of `samples` into the dictionaries and gives each a row of the first
    /// layer. A new category's row is that of the unseen, as which it was read until now: the
    /// function stays as it is.
    pub(super) fn learn_categories(&mut self, samples: &Subset<'_>) {
        if self.dictionaries.is_empty() {
            return;
        }
        let before = self.dictionaries.clone();
        for (feature, dictionary) in self.dictionaries.iter_mut().enumerate() {
            dictionary.learn(samples, feature);
        }
        let (n_numeric, after) = (self.moments.mean.len(), &self.dictionaries);
        for place in self.shape.reading() {
            if let Some(first) = self.layers.get_mut(place) {
                insert_categories(first, n_numeric, &before, after, |unseen| unseen.to_vec());
            }
            if let Some(first) = self.importance.as_mut().map(|layers| &mut layers[place]) {
                let none = |unseen: &[f32]| vec![0.0; unseen.len()];
                insert_categories(first, n_numeric, &before, after, none);
            }
        }
    }

    /// Counts which buckets `samples` fall into, where that counts, and compensates the first layer.
    pub(super) fn count_documents(&mut self, samples: &Subset<'_>) {
        let (Some(documents), InputSchema::Text(text)) = (&mut self.documents, &self.input) else {
            return;
        };
        let before = documents.weights();
        let reader = TextReader::new(text);
        for &index in &samples.indices {
            documents.count(&reader.buckets_of(&samples.samples.inputs, index));
        }
        let after = documents.weights();
        if let Some(first) = self.layers.first_mut() {
            text::compensate(first, &before, &after, 1);
        }
        if let Some(first) = self.importance.as_mut().map(|layers| &mut layers[0]) {
            text::compensate(first, &before, &after, -2);
        }
    }

    /// Takes `samples` into the running statistics, in which what came before counts no more than
    /// they do where `follows`, and compensates the first layer.
    pub(super) fn normalize(&mut self, samples: &Subset<'_>, follows: bool) {
        let before = self.moments.scale(&self.input);
        let inputs = &samples.samples.inputs;
        let new = self.moments.of_next(inputs, &samples.indices);
        if follows {
            self.moments.fade(&new);
        }
        self.moments.merge(&new);
        let after = self.moments.scale(&self.input);
        let n_categories = n_columns(&self.dictionaries);
        for place in self.shape.reading() {
            if let Some(first) = self.layers.get_mut(place) {
                compensate(first, first.n_in - n_categories, &before, &after);
            }
            if let Some(first) = self.importance.as_mut().map(|layers| &mut layers[place]) {
                compensate_importance(first, first.n_in - n_categories, &before, &after);
            }
        }
    }
}

/// Columns of all categories.
pub(super) fn n_columns(dictionaries: &[Dictionary]) -> usize {
    dictionaries.iter().map(Dictionary::n_columns).sum()
}

/// Gives each category that `after` has and `before` had not a row of `first`, made of the row of
/// the unseen, behind its feature's others.
fn insert_categories(
    first: &mut Dense,
    n_numeric: usize,
    before: &[Dictionary],
    after: &[Dictionary],
    row: impl Fn(&[f32]) -> Vec<f32>,
) {
    let n_out = first.n_out;
    let (numeric, mut blocks) = first.weight.split_at(n_numeric * n_out);
    let mut weight = numeric.to_vec();
    for (old, new) in before.iter().zip(after) {
        let (block, rest) = blocks.split_at(old.n_columns() * n_out);
        weight.extend_from_slice(block);
        let row = row(&block[UNSEEN * n_out..(UNSEEN + 1) * n_out]);
        (old.n_columns()..new.n_columns()).for_each(|_| weight.extend_from_slice(&row));
        blocks = rest;
    }
    first.n_in = weight.len() / n_out;
    first.weight = weight;
}
