//! What learning promises, on real and on awkward data: every test is seeded, and where a figure is
//! claimed a control shows that it is not had for nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::ControlFlow;

use perennial::domain::evaluation::AccuracyMatrix;
use perennial::domain::input::{
    Category, Feature, FeatureKind, InputSchema, Inputs, TabularSchema,
};
use perennial::domain::label::Label;
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{
    Budget, GateSettings, LearningSettings, Missing, MlpSettings, ModelSettings, NetworkSettings,
    RetentionSettings, ScheduleSettings, SelectionSettings, SelectionStrategy, Strategy,
};
use perennial::domain::update::{Decision, Phase};
use perennial::learning::{
    Device, Event, LearnerState, LearningError, Learnt, Lesson, Predictor, checkpoint, plan,
    replay_size, update,
};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

// The data.

const DIGITS: &str = include_str!("../data/digits.csv");

/// 1,797 handwritten digits of 8 × 8 pixels, 0 to 16, in one of five parts by content.
fn digits(part: impl Fn(u8) -> bool) -> Samples {
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
fn given() -> Samples {
    digits(|part| part != 0)
}

/// Digits that it never sees.
fn never_given() -> Samples {
    digits(|part| part == 0)
}

fn push(samples: &mut Samples, numbers: &[f32], categories: &[Category], label: &str) {
    let label = Label::parse(label).unwrap();
    samples.hashes.push(ContentHash::of_input(numbers, categories).with_label(&label));
    samples.inputs.push(numbers, categories);
    samples.labels.push(label);
    samples.weights.push(1.0);
}

fn filter(samples: &Samples, keep: impl Fn(usize) -> bool) -> Samples {
    samples.select(&(0..samples.len()).filter(|&index| keep(index)).collect::<Vec<_>>())
}

fn of_labels(samples: &Samples, labels: &[&str]) -> Samples {
    filter(samples, |index| labels.contains(&samples.labels[index].as_str()))
}

fn shuffled(samples: &Samples, seed: u64) -> Samples {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    samples.select(&order)
}

/// `n` rows of `dim` numbers of each label, around a centre of its own.
fn blobs(labels: &[&str], n: usize, dim: usize, seed: u64) -> Samples {
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

// The learner.

fn settings(input: TabularSchema, hidden: &[usize]) -> ModelSettings {
    let settings = ModelSettings {
        input: InputSchema::Tabular(input),
        network: NetworkSettings::Mlp(MlpSettings { hidden: hidden.to_vec() }),
        learning: LearningSettings::default(),
        selection: SelectionSettings::default(),
        schedule: ScheduleSettings::default(),
        gate: GateSettings::default(),
        retention: RetentionSettings::default(),
    };
    settings.check().unwrap();
    settings
}

fn plain(dim: usize, hidden: &[usize]) -> ModelSettings {
    settings(TabularSchema { dim: Some(dim), features: None }, hidden)
}

fn with_strategy(mut settings: ModelSettings, strategy: Strategy) -> ModelSettings {
    settings.learning.strategy = strategy;
    settings
}

/// A model's life: what the service keeps between updates.
struct Life {
    settings: ModelSettings,
    state: Option<LearnerState>,
    digest: Option<String>,
    matrix: AccuracyMatrix,
    history: Samples,
    held_out: Vec<Samples>,
}

impl Life {
    fn new(settings: ModelSettings) -> Self {
        let history = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
        let (state, digest, matrix, held_out) = (None, None, Vec::new(), Vec::new());
        Self { settings, state, digest, matrix, history, held_out }
    }

    /// The lesson that `samples` make; one in ten is held out, by its input.
    fn lesson(&self, samples: &Samples) -> Lesson<'_> {
        static NO_ROWS: AccuracyMatrix = Vec::new();
        let is_held_out = |index: usize| {
            let inputs = &samples.inputs;
            ContentHash::of_input(inputs.numbers(index), inputs.categories(index)).is_held_out()
        };
        let mut held_out = self.held_out.clone();
        held_out.push(filter(samples, is_held_out));
        Lesson {
            settings: &self.settings,
            device: Device::Flex,
            parent: self.state.as_ref(),
            parent_digest: self.digest.as_deref(),
            parent_matrix: if self.state.is_some() { &self.matrix } else { &NO_ROWS },
            experience: filter(samples, |index| !is_held_out(index)),
            replay: self.draw(samples.len()),
            held_out,
            seed: 7,
        }
    }

    /// Old samples, class-balanced: label after label, one of each in turn.
    fn draw(&self, n_new: usize) -> Samples {
        let mut seen = std::collections::HashMap::<&Label, usize>::new();
        let mut ranked: Vec<(usize, usize)> = Vec::new();
        for (index, label) in self.history.labels.iter().enumerate() {
            let rank = seen.entry(label).or_default();
            ranked.push((*rank, index));
            *rank += 1;
        }
        ranked.sort_unstable();
        ranked.truncate(replay_size(&self.settings, n_new));
        self.history.select(&ranked.iter().map(|&(_, index)| index).collect::<Vec<_>>())
    }

    /// Learns `samples` and goes on from the result, whatever the gate says.
    fn learn(&mut self, samples: &Samples) -> Learnt {
        let lesson = self.lesson(samples);
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let (experience, mut held_out) = (lesson.experience.clone(), lesson.held_out);
        if let Some(state) = &learnt.state {
            self.digest = Some(hex(&Sha256::digest(checkpoint::encode(state))));
            self.state = Some(state.clone());
            self.matrix = learnt.report.evaluation.as_ref().unwrap().matrix.clone();
            self.held_out.push(held_out.pop().unwrap());
            (0..experience.len()).for_each(|index| self.history.push_from(&experience, index));
        }
        learnt
    }

    fn predictor(&self) -> Predictor {
        Predictor::new(self.state.as_ref().unwrap(), Device::Flex)
    }

    fn accuracy(&self, samples: &Samples) -> f64 {
        let answers = answers(&self.predictor(), &samples.inputs);
        let right = answers.iter().zip(&samples.labels).filter(|(given, label)| given == label);
        right.count() as f64 / samples.len() as f64
    }
}

fn answers(predictor: &Predictor, inputs: &Inputs) -> Vec<Label> {
    let probabilities = predictor.predict(inputs).unwrap();
    let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    probabilities
        .chunks_exact(predictor.labels().len())
        .map(|row| predictor.labels()[best(row)].clone())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(lesson: &Lesson<'_>) -> Vec<u8> {
    let learnt = update(lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    checkpoint::encode(&learnt.state.unwrap())
}

fn counted(learnt: &Learnt, decision: Decision) -> usize {
    learnt.decisions.iter().filter(|each| each.decision == decision).count()
}

// The story.

#[test]
fn old_classes_survive_updates_and_plain_fine_tuning_forgets_them() {
    let (given, unseen) = (given(), never_given());
    let mut life = Life::new(plain(64, &[256, 256]));
    let naive = with_strategy(plain(64, &[256, 256]), Strategy::Naive);
    let mut control = Life::new(naive);
    for pair in [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]] {
        let learnt = life.learn(&of_labels(&given, &pair));
        assert_eq!(learnt.report.new_labels, pair);
        let evaluation = learnt.report.evaluation.unwrap();
        println!(
            "{pair:?}: accuracy {:.4}, forgetting {:.4}, {} steps",
            evaluation.accuracy.unwrap(),
            evaluation.forgetting.unwrap_or_default(),
            learnt.report.training.unwrap().steps,
        );
        assert!(learnt.report.gate.unwrap().passed);
        control.learn(&of_labels(&given, &pair));
    }
    assert_eq!(life.matrix.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let (kept, forgotten) = (life.accuracy(&unseen), control.accuracy(&unseen));
    println!("never given: replay {kept:.4}, naive {forgotten:.4}");
    assert!(kept >= 0.95, "{kept}");
    assert!(forgotten < 0.5, "{forgotten}");
}

#[test]
fn all_digits_at_once_are_learnt_from_scratch() {
    let mut life = Life::new(plain(64, &[256, 256]));
    let learnt = life.learn(&given());
    let accuracy = life.accuracy(&never_given());
    println!("{accuracy:.4} after {} epochs", learnt.report.epochs.len());
    assert!(accuracy >= 0.97, "{accuracy}");
}

#[test]
fn an_update_with_nothing_new_is_nothing_to_learn() {
    let mut life = Life::new(plain(4, &[8]));
    let mut hopeless = blobs(&["a", "b"], 10, 4, 1);
    hopeless.weights.fill(0.0);
    let learnt = life.learn(&hopeless);
    assert!(learnt.state.is_none());
    let counts = learnt.report.samples;
    assert_eq!(counts.dropped, counts.dropped_by_reason["weight is not over 0"]);
    assert_eq!(counts.pending, 20);
}

// Determinism.

#[test]
fn the_same_samples_in_any_order_on_any_number_of_threads_give_the_same_bytes() {
    let given = given();
    let mut settings = plain(64, &[256, 256]);
    settings.learning.epochs = Some(2);
    let mut life = Life::new(settings);
    life.learn(&of_labels(&given, &["0", "1", "2", "3"]));
    let new = of_labels(&given, &["3", "4", "5"]);
    let on = |n_threads: usize, seed: u64| {
        let mut lesson = life.lesson(&shuffled(&new, seed));
        lesson.replay = shuffled(&lesson.replay, seed);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| bytes_of(&lesson))
    };
    let bytes = on(1, 1);
    assert_eq!(bytes, on(1, 1), "twice");
    assert_eq!(bytes, on(1, 2), "in another order");
    assert_eq!(bytes, on(2, 3), "on two threads");
    assert_eq!(bytes, on(5, 4), "on five threads");
    let mut reseeded = life.lesson(&new);
    reseeded.seed += 1;
    assert_ne!(bytes, bytes_of(&reseeded), "the seed counts");
}

#[test]
fn a_larger_update_that_must_choose_is_deterministic_too() {
    let settings = |strategy| {
        let mut settings = plain(16, &[32]);
        settings.selection.strategy = strategy;
        settings.selection.budget = Some(Budget::Count(150));
        settings
    };
    for strategy in
        [SelectionStrategy::Balanced, SelectionStrategy::Representative, SelectionStrategy::Random]
    {
        let mut life = Life::new(settings(strategy));
        life.learn(&blobs(&["a", "b"], 200, 16, 1));
        let samples = blobs(&["b", "c"], 300, 16, 2);
        assert_eq!(
            bytes_of(&life.lesson(&samples)),
            bytes_of(&life.lesson(&shuffled(&samples, 9))),
            "{strategy:?}"
        );
        let learnt = life.learn(&samples);
        assert_eq!(counted(&learnt, Decision::Selected), 150, "{strategy:?}");
        assert_eq!(learnt.report.samples.used, 150);
        assert!(learnt.report.selection.unwrap().clusters > 10);
        assert!(life.accuracy(&blobs(&["a", "b", "c"], 50, 16, 3)) > 0.95, "{strategy:?}");
    }
}

// What must not change.

#[test]
fn a_moved_normaliser_and_a_grown_head_leave_old_answers_as_they_were() {
    let mut settings = plain(64, &[64, 64]);
    let mut life = Life::new(settings.clone());
    let given = given();
    life.learn(&of_labels(&given, &["0", "1", "2"]));
    let (before, old) = (life.predictor(), of_labels(&given, &["0", "1", "2"]));
    let before = before.predict(&old.inputs).unwrap();

    // A rate so small that training changes nothing: all else of an update remains.
    settings.learning.learning_rate = Some(1e-12);
    life.settings = settings;
    life.learn(&of_labels(&given, &["7", "8", "9"]));
    let after = life.predictor();
    assert_eq!(after.labels().len(), 6);
    let after = after.predict(&old.inputs).unwrap();
    for (before, after) in before.chunks_exact(3).zip(after.chunks_exact(6)) {
        let of_old: f32 = after[..3].iter().sum();
        for (before, after) in before.iter().zip(after) {
            assert!((before - after / of_old).abs() < 1e-5, "{before} {}", after / of_old);
        }
    }
}

#[test]
fn a_poisoned_update_is_refused_by_the_gate_and_an_honest_one_is_not() {
    let given = given();
    let mut life = Life::new(plain(64, &[128, 128]));
    let first = filter(&given, |index| index < given.len() / 2);
    life.learn(&first);
    let second = filter(&given, |index| index >= given.len() / 2);
    let mut poisoned = second.clone();
    poisoned.labels.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(1));
    let judge = |samples: &Samples| {
        let mut lesson = life.lesson(samples);
        // The truth is known: what is held out was labelled before the poison came.
        lesson.held_out = life.lesson(&second).held_out;
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let evaluation = learnt.report.evaluation.unwrap();
        println!("{:?} after {:?}", evaluation.accuracy, evaluation.parent_accuracy);
        learnt.report.gate.unwrap()
    };
    assert!(judge(&second).passed);
    let refused = judge(&poisoned);
    println!("{:?}", refused.reasons);
    assert!(!refused.passed);
    assert!(refused.reasons[0].contains("below the parent's"), "{:?}", refused.reasons);
}

#[test]
fn a_version_without_held_out_samples_passes() {
    let mut life = Life::new(plain(4, &[8]));
    life.settings.gate.min_accuracy = Some(1.0);
    let samples = blobs(&["a", "b"], 20, 4, 1);
    let mut lesson = life.lesson(&samples);
    lesson.held_out = vec![];
    let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    let evaluation = learnt.report.evaluation.unwrap();
    assert_eq!((evaluation.accuracy, evaluation.held_out), (None, 0));
    assert!(learnt.report.gate.unwrap().passed);
    lesson.held_out = vec![samples.empty_like()];
    let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(learnt.report.evaluation.unwrap().matrix, [[None]]);
}

#[test]
fn a_dry_run_says_what_the_update_then_does() {
    let mut life = Life::new(plain(16, &[32]));
    life.learn(&blobs(&["a", "b"], 60, 16, 1));
    life.settings.selection.budget = Some(Budget::Share(0.5));
    let samples = blobs(&["b", "c"], 60, 16, 2);
    let planned = plan(&life.lesson(&samples)).unwrap();
    let learnt = life.learn(&samples);
    assert_eq!(planned.report.new_labels, ["c"]);
    assert_eq!(planned.report.samples, learnt.report.samples);
    assert_eq!(planned.report.selection, learnt.report.selection);
    assert_eq!(planned.decisions[..], learnt.decisions[..planned.decisions.len()]);
    let samples = learnt.report.samples.pending;
    assert_eq!(learnt.decisions.len() - counted(&learnt, Decision::Replayed), samples);
}

// Awkward data.

#[test]
fn categories_are_learnt_and_unseen_ones_are_no_error() {
    let feature = |name: &str, kind| Feature { name: name.into(), kind };
    let features = vec![
        feature("colour", FeatureKind::Categorical),
        feature("size", FeatureKind::Numeric),
        feature("noise", FeatureKind::Categorical),
    ];
    let mut settings = settings(TabularSchema { dim: None, features: Some(features) }, &[32]);
    settings.learning.missing = Missing::Impute;
    let mut life = Life::new(settings);
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut rows = |colours: &[&str]| {
        let inputs = Inputs::new(&life.settings.input);
        let mut samples = Samples { inputs, ..Samples::default() };
        for i in 0..400 {
            let colour = colours[i % colours.len()];
            let size = if i % 10 == 0 { f32::NAN } else { draws.gen_range(-1e4..1e4) };
            let noise = (i % 7 != 0).then(|| format!("{}", draws.gen_range(0..1_000)).into());
            push(&mut samples, &[size], &[Some(colour.into()), noise], colour);
        }
        samples
    };
    let (first, second) = (rows(&["red", "green"]), rows(&["blue", "red"]));
    let fresh = rows(&["red", "green", "blue"]);
    life.learn(&first);
    life.learn(&second);
    let accuracy = life.accuracy(&fresh);
    assert!(accuracy > 0.97, "{accuracy}");
    let mut strange = Inputs::new(&life.settings.input);
    strange.push(&[f32::NAN], &[Some("ultraviolet".into()), None]);
    strange.push(&[f32::INFINITY], &[None, Some("".into())]);
    let probabilities = life.predictor().predict(&strange).unwrap();
    assert!(probabilities.chunks_exact(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
}

#[test]
fn one_label_or_one_sample_is_enough_to_go_on() {
    let mut life = Life::new(plain(4, &[8, 8]));
    let one = filter(&blobs(&["a"], 20, 4, 1), |index| index == 0);
    life.learn(&one);
    assert_eq!(life.predictor().predict(&one.inputs).unwrap(), [1.0]);
    life.learn(&blobs(&["a"], 30, 4, 2));
    life.learn(&blobs(&["b"], 30, 4, 3));
    assert!(life.accuracy(&blobs(&["a", "b"], 50, 4, 4)) > 0.95);
}

#[test]
fn constant_inputs_and_huge_values_learn_without_harm() {
    let mut life = Life::new(plain(3, &[16]));
    let rows = |scale: f32, n: usize| {
        let inputs = Inputs::with_shape(3, 0);
        let mut samples = Samples { inputs, ..Samples::default() };
        for i in 0..n {
            let side = if i % 2 == 0 { 1.0 } else { -1.0 };
            let row = [5.0, side * scale * (1.0 + i as f32 / n as f32), scale];
            push(&mut samples, &row, &[], if i % 2 == 0 { "up" } else { "down" });
        }
        samples
    };
    let mut constant = Samples { inputs: Inputs::with_shape(3, 0), ..Samples::default() };
    push(&mut constant, &[5.0, 0.0, 1.0], &[], "up");
    push(&mut constant, &[5.0, 0.0, 1.0], &[], "down");
    for samples in [constant, rows(1.0, 100), rows(1e30, 100), rows(3e38 / 2.0, 100)] {
        let learnt = life.learn(&samples);
        assert!(learnt.report.epochs.iter().all(|epoch| epoch.loss.is_finite()));
        assert!(life.accuracy(&samples) >= 0.5);
    }
    assert_eq!(life.accuracy(&rows(3e38 / 2.0, 100)), 1.0);
    checkpoint::decode(&checkpoint::encode(life.state.as_ref().unwrap())).unwrap();
}

#[test]
fn a_feature_constant_so_far_may_start_to_vary() {
    // Named, so of kinds of their own: the scale of one says nothing of the other's.
    let feature = |name: &str| Feature { name: name.to_owned(), kind: FeatureKind::Numeric };
    let features = Some(vec![feature("x"), feature("y")]);
    let mut life = Life::new(settings(TabularSchema { dim: None, features }, &[32]));
    let rows = |labels: [&str; 2], second: fn(usize) -> f32, n: usize| {
        let mut samples = Samples { inputs: Inputs::with_shape(2, 0), ..Samples::default() };
        for i in 0..n {
            let row = [(i % 2) as f32 * 4.0 + (i as f32 / n as f32), second(i)];
            push(&mut samples, &row, &[], labels[i % 2]);
        }
        samples
    };
    let old = rows(["a", "b"], |_| 0.0, 200);
    life.learn(&old);
    life.learn(&rows(["c", "d"], |i| 1e6 + i as f32, 200));
    assert!(life.accuracy(&old) > 0.97);
    assert!(life.accuracy(&rows(["c", "d"], |i| 1e6 + i as f32, 50)) > 0.97);
}

#[test]
fn ten_thousand_labels_fit() {
    let mut settings = plain(16, &[32]);
    settings.learning.epochs = Some(1);
    let mut life = Life::new(settings);
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut samples = Samples { inputs: Inputs::with_shape(16, 0), ..Samples::default() };
    for label in 0..10_000 {
        let row: Vec<f32> = (0..16).map(|_| draws.gen_range(-1.0..1.0)).collect();
        push(&mut samples, &row, &[], &format!("label {label}"));
    }
    let mut lesson = life.lesson(&samples);
    lesson.experience = samples.clone();
    let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(learnt.state.as_ref().unwrap().labels().len(), 10_000);
    life.state = learnt.state;
    let mut one_more = samples.empty_like();
    push(&mut one_more, &[0.0; 16], &[], "label 10000");
    let mut lesson = life.lesson(&one_more);
    lesson.experience = one_more.clone();
    let refused = update(&lesson, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(LearningError::TooManyLabels(10_001))));
}

#[test]
fn a_rate_that_diverges_is_tried_once_more_and_then_fails_with_the_reason() {
    let mut settings = plain(4, &[64, 64, 64, 64, 64, 64, 64, 64]);
    settings.learning.learning_rate = Some(1.0);
    let life = Life::new(settings);
    let samples = blobs(&["a", "b", "c"], 200, 4, 1);
    let mut rates = Vec::new();
    match update(&life.lesson(&samples), &mut |_| ControlFlow::Continue(())) {
        Ok(learnt) => rates.push(learnt.report.training.unwrap().learning_rate),
        Err(LearningError::Diverged { rate, .. }) => rates.push(rate),
        Err(other) => panic!("{other}"),
    }
    println!("{rates:?}");
}

// Stopping.

#[test]
fn a_cancelled_update_stops_between_minibatches() {
    let life = Life::new(plain(64, &[32]));
    let lesson = life.lesson(&given());
    let mut phases = Vec::new();
    let mut progress = vec![0.0];
    let stopped = update(&lesson, &mut |event| {
        match event {
            Event::Phase(phase) => phases.push(phase),
            Event::Progress(done) => progress.push(done),
            Event::Epoch(_) => {}
        }
        let tell = if progress.len() > 10 { ControlFlow::Break } else { ControlFlow::Continue };
        tell(())
    });
    assert!(matches!(stopped, Err(LearningError::Cancelled)));
    assert_eq!(phases, [Phase::Preprocess, Phase::Select, Phase::Train]);
    assert_eq!(progress.len(), 11, "not a step more");
}

#[test]
fn progress_rises_to_one_and_every_epoch_is_told() {
    let life = Life::new(plain(4, &[8]));
    let lesson = life.lesson(&blobs(&["a", "b"], 100, 4, 1));
    let (mut last, mut n_epochs) = (0.0, 0);
    let learnt = update(&lesson, &mut |event| {
        match event {
            Event::Progress(done) => {
                assert!(done >= last);
                last = done;
            }
            Event::Epoch(report) => {
                n_epochs += 1;
                assert_eq!(report.epoch, n_epochs);
            }
            Event::Phase(_) => {}
        }
        ControlFlow::Continue(())
    });
    assert_eq!(last, 1.0);
    assert_eq!(learnt.unwrap().report.epochs.len(), n_epochs);
}

// Answering and storing.

#[test]
fn answers_do_not_depend_on_the_device_or_on_company() {
    let mut life = Life::new(plain(64, &[128, 64]));
    life.learn(&of_labels(&given(), &["0", "1", "2", "3"]));
    let (state, inputs) = (life.state.as_ref().unwrap(), never_given().inputs);
    let together = life.predictor().predict(&inputs).unwrap();
    let other = Predictor::new(state, Device::NdArray).predict(&inputs).unwrap();
    let near = |a: &[f32], b: &[f32], by: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() < by);
    assert!(near(&together, &other, 1e-4));
    let (predictor, mut alone) = (life.predictor(), Inputs::with_shape(64, 0));
    for index in 0..inputs.len() {
        alone.clear();
        alone.push_from(&inputs, index);
        let answer = predictor.predict(&alone).unwrap();
        assert!(near(&answer, &together[index * 4..(index + 1) * 4], 1e-5));
    }
    assert!(predictor.predict(&Inputs::with_shape(63, 0)).is_err());
    assert!(predictor.predict(&Inputs::with_shape(64, 0)).unwrap().is_empty());
}

#[test]
fn training_on_either_device_ends_at_the_same_answers() {
    let mut settings = plain(64, &[32]);
    settings.learning.epochs = Some(2);
    let life = Life::new(settings);
    let samples = of_labels(&given(), &["0", "1"]);
    let trained_on = |device| {
        let mut lesson = life.lesson(&samples);
        lesson.device = device;
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        Predictor::new(&learnt.state.unwrap(), device).predict(&samples.inputs).unwrap()
    };
    let (flex, ndarray) = (trained_on(Device::Flex), trained_on(Device::NdArray));
    assert!(flex.iter().zip(&ndarray).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn a_checkpoint_holds_the_whole_state() {
    let mut life = Life::new(plain(64, &[32, 16]));
    let given = given();
    life.learn(&of_labels(&given, &["0", "1"]));
    life.learn(&of_labels(&given, &["2"]));
    let state = life.state.as_ref().unwrap();
    let bytes = checkpoint::encode(state);
    let back = checkpoint::decode(&bytes).unwrap();
    assert_eq!(&back, state);
    assert_eq!(checkpoint::encode(&back), bytes);
    let samples = of_labels(&given, &["3"]);
    let from_memory = bytes_of(&life.lesson(&samples));
    life.state = Some(back);
    assert_eq!(bytes_of(&life.lesson(&samples)), from_memory, "learning goes on from a file");
}

fn small_checkpoint() -> Vec<u8> {
    let feature = |name: &str, kind| Feature { name: name.into(), kind };
    let features = vec![feature("c", FeatureKind::Categorical), feature("x", FeatureKind::Numeric)];
    let mut settings = settings(TabularSchema { dim: None, features: Some(features) }, &[3]);
    settings.learning.epochs = Some(1);
    let mut samples = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
    for i in 0..8 {
        push(&mut samples, &[i as f32], &[Some(format!("{}", i % 3).into())], ["a", "b"][i % 2]);
    }
    let mut life = Life::new(settings);
    life.learn(&samples);
    checkpoint::encode(life.state.as_ref().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_damaged_checkpoint_is_an_error_or_a_state_that_answers(
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..4),
        truncate in any::<bool>(),
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(small_checkpoint);
        let mut bytes = BYTES.clone();
        for (index, bit) in &flips {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(checkpoint::decode(&bytes).is_err());
        } else if let Ok(state) = checkpoint::decode(&bytes) {
            let predictor = Predictor::new(&state, Device::Flex);
            let mut inputs = Inputs::with_shape(1, 1);
            inputs.push(&[1.0], &[None]);
            let _ = predictor.predict(&inputs);
        }
    }
}
