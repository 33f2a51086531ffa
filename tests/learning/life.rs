//! What tests learn from, and what the service would keep between updates.

use std::collections::HashMap;
use std::ops::ControlFlow;

use perennial::domain::evaluation::{AccuracyMatrix, Evaluation};
use perennial::domain::input::{Category, InputSchema, Inputs, TabularSchema};
use perennial::domain::label::Label;
use perennial::domain::matrix::{span_of, widened};
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{MlpSettings, ModelSettings, NetworkSettings, Strategy};
use perennial::domain::update::Decision;
use perennial::learning::{
    Device, LearnerState, Learnt, Lesson, Predictor, Wanted, checkpoint, update,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

pub(crate) const DIGITS: &str = include_str!("../../data/digits.csv");

/// 1,797 handwritten digits of 8 × 8 pixels, 0 to 16, in one of five parts by content.
pub(crate) fn digits(part: impl Fn(u8) -> bool) -> Samples {
    let mut samples = Samples { inputs: Inputs::with_shape(64, 0), ..Samples::default() };
    for line in DIGITS.lines().skip(1) {
        let (pixels, label) = line.rsplit_once(',').unwrap();
        let pixels: Vec<f32> = pixels.split(',').map(|pixel| pixel.parse().unwrap()).collect();
        if part(ContentHash::of_input(&pixels, &[]).0[15] % 5) {
            push(&mut samples, &pixels, &[], label);
        }
    }
    samples
}

/// Digits that the learner may be given.
pub(crate) fn given() -> Samples {
    digits(|part| part != 0)
}

/// Digits that it never sees.
pub(crate) fn never_given() -> Samples {
    digits(|part| part == 0)
}

pub(crate) fn push(samples: &mut Samples, numbers: &[f32], categories: &[Category], label: &str) {
    let label = Label::parse(label).unwrap();
    samples.hashes.push(ContentHash::of_input(numbers, categories).with_label(&label));
    samples.inputs.push(numbers, categories);
    samples.labels.push(label);
    samples.weights.push(1.0);
    samples.arrived.push(samples.arrived.len() as u64);
}

pub(crate) fn filter(samples: &Samples, keep: impl Fn(usize) -> bool) -> Samples {
    samples.select(&(0..samples.len()).filter(|&index| keep(index)).collect::<Vec<_>>())
}

pub(crate) fn of_labels(samples: &Samples, labels: &[&str]) -> Samples {
    filter(samples, |index| labels.contains(&samples.labels[index].as_str()))
}

pub(crate) fn shuffled(samples: &Samples, seed: u64) -> Samples {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    samples.select(&order)
}

/// `n` rows of `dim` numbers of each label, around a centre of its own.
pub(crate) fn blobs(labels: &[&str], n: usize, dim: usize, seed: u64) -> Samples {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut samples = Samples { inputs: Inputs::with_shape(dim, 0), ..Samples::default() };
    for label in labels {
        let place = label.bytes().map(u64::from).sum::<u64>();
        let mut centres = Xoshiro256PlusPlus::seed_from_u64(place);
        let centre: Vec<f32> = (0..dim).map(|_| centres.gen_range(-3.0..3.0)).collect();
        for _ in 0..n {
            let row: Vec<f32> = centre.iter().map(|c| c + draws.gen_range(-1.0_f32..1.0)).collect();
            push(&mut samples, &row, &[], label);
        }
    }
    samples
}

pub(crate) fn settings(input: TabularSchema, hidden: &[usize]) -> ModelSettings {
    let network = NetworkSettings::Mlp(MlpSettings { hidden: hidden.to_vec() });
    let settings = ModelSettings { network, ..ModelSettings::new(InputSchema::Tabular(input)) };
    settings.check().unwrap();
    settings
}

pub(crate) fn plain(dim: usize, hidden: &[usize]) -> ModelSettings {
    settings(TabularSchema { dim: Some(dim), features: None }, hidden)
}

/// Of every two samples one has the label of another: learnt by heart, they do harm.
pub(crate) fn mislabelled(samples: &Samples) -> Samples {
    let mut mislabelled = samples.clone();
    let digits = (0..10).cycle();
    for (label, digit) in mislabelled.labels.iter_mut().zip(digits).step_by(2) {
        *label = Label::parse(digit.to_string()).unwrap();
    }
    mislabelled
}

pub(crate) fn with_strategy(mut settings: ModelSettings, strategy: Strategy) -> ModelSettings {
    settings.learning.strategy = strategy;
    settings
}

/// A model's life: what the service keeps between updates.
pub(crate) struct Life {
    pub(crate) settings: ModelSettings,
    pub(crate) state: Option<LearnerState>,
    pub(crate) body: Option<LearnerState>,
    pub(crate) digest: Option<String>,
    pub(crate) matrix: AccuracyMatrix,
    pub(crate) history: Samples,
    pub(crate) held_out: Vec<Samples>,
}

impl Life {
    pub(crate) fn new(settings: ModelSettings) -> Self {
        let history = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
        let (state, digest, matrix, held_out) = (None, None, Vec::new(), Vec::new());
        Self { settings, state, body: None, digest, matrix, history, held_out }
    }

    /// The lesson that `samples` make; one in ten is held out, by its input.
    pub(crate) fn lesson(&self, samples: &Samples) -> Lesson<'_> {
        static NO_ROWS: AccuracyMatrix = Vec::new();
        let is_held_out = |index: usize| {
            let inputs = &samples.inputs;
            ContentHash::of_input(inputs.numbers(index), inputs.categories(index)).is_held_out()
        };
        let wanted = Wanted::by(&self.settings, self.state.as_ref(), samples.len());
        let mut held_out = self.held_out.clone();
        held_out.push(filter(samples, is_held_out));
        Lesson {
            settings: &self.settings,
            device: Device::Flex,
            parent: self.state.as_ref(),
            body: self.body.as_ref(),
            parent_digest: self.digest.as_deref(),
            parent_matrix: if self.state.is_some() { &self.matrix } else { &NO_ROWS },
            experience: filter(samples, |index| !is_held_out(index)),
            history: self.draw(wanted.history),
            recent: self.newest(wanted.recent),
            relearns: false,
            refused_until: None,
            held_out,
            seed: 7,
            most_bytes: u64::MAX,
            resume: None,
        }
    }

    /// Old samples, class-balanced: label after label, one of each in turn.
    fn draw(&self, n: usize) -> Samples {
        let mut seen = HashMap::<&Label, usize>::new();
        let mut ranked: Vec<(usize, usize)> = Vec::new();
        for (index, label) in self.history.labels.iter().enumerate() {
            let rank = seen.entry(label).or_default();
            ranked.push((*rank, index));
            *rank += 1;
        }
        ranked.sort_unstable();
        ranked.truncate(n);
        self.history.select(&ranked.iter().map(|&(_, index)| index).collect::<Vec<_>>())
    }

    /// The newest `n`.
    fn newest(&self, n: usize) -> Samples {
        let end = self.history.len();
        self.history.select(&(end.saturating_sub(n)..end).collect::<Vec<_>>())
    }

    /// Learns `samples` and goes on from the result, whatever the gate says.
    pub(crate) fn learn(&mut self, samples: &Samples) -> Learnt {
        let lesson = self.lesson(samples);
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let (experience, mut held_out) = (lesson.experience.clone(), lesson.held_out);
        if let Some(state) = &learnt.state {
            self.digest = Some(hex(&Sha256::digest(checkpoint::encode(state))));
            self.state = Some(state.clone());
            self.held_out.push(held_out.pop().unwrap());
            let Evaluation { matrix, span, .. } = learnt.report.evaluation.clone().unwrap();
            self.matrix = widened(matrix, span, span_of(self.held_out.len() + 1));
            (0..experience.len()).for_each(|index| self.history.push_from(&experience, index));
        }
        learnt
    }

    pub(crate) fn predictor(&self) -> Predictor {
        Predictor::new(self.state.as_ref().unwrap(), Device::Flex)
    }

    pub(crate) fn accuracy(&self, samples: &Samples) -> f64 {
        let answers = answers(&self.predictor(), &samples.inputs);
        let right = answers.iter().zip(&samples.labels).filter(|(given, label)| given == label);
        right.count() as f64 / samples.len() as f64
    }
}

/// The state that has learnt `sets`, an update each. Nothing is held out, so that of a closed form
/// nothing but the sums decides.
pub(crate) fn learnt_without_judges(settings: &ModelSettings, sets: &[&Samples]) -> LearnerState {
    let mut life = Life::new(settings.clone());
    for &samples in sets {
        let mut lesson = life.lesson(samples);
        (lesson.experience, lesson.held_out) = (samples.clone(), vec![]);
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        drop(lesson);
        life.state = learnt.state;
    }
    life.state.unwrap()
}

/// Probabilities of `inputs`, labels by name, whatever the order that they came in.
pub(crate) fn by_label(state: &LearnerState, inputs: &Inputs) -> Vec<f32> {
    let probabilities = Predictor::new(state, Device::Flex).predict(inputs).unwrap();
    let mut order: Vec<usize> = (0..state.labels().len()).collect();
    order.sort_by_key(|&place| state.labels()[place].as_str());
    let rows = probabilities.chunks_exact(order.len());
    rows.flat_map(|row| order.iter().map(|&place| row[place])).collect()
}

pub(crate) fn answers(predictor: &Predictor, inputs: &Inputs) -> Vec<Label> {
    let probabilities = predictor.predict(inputs).unwrap();
    let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    probabilities
        .chunks_exact(predictor.labels().len())
        .map(|row| predictor.labels()[best(row)].clone())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bytes_of(lesson: &Lesson<'_>) -> Vec<u8> {
    let learnt = update(lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    checkpoint::encode(&learnt.state.unwrap())
}

pub(crate) fn counted(learnt: &Learnt, decision: Decision) -> usize {
    learnt.decisions.iter().filter(|each| each.decision == decision).count()
}
