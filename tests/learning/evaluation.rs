//! Figures on held-out samples, and probabilities that can be taken at their word.

use std::ops::ControlFlow;

use perennial::domain::input::Inputs;
use perennial::domain::label::Label;
use perennial::domain::matrix::MOST_SPANS;
use perennial::domain::sample::Samples;
use perennial::learning::{Predictor, checkpoint, update};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

const DIM: usize = 64;

/// Blobs of which three in ten are given another label: what is learnt by heart is of no use.
fn noisy(n: usize, seed: u64) -> Samples {
    let labels = ["a", "b", "c", "d"];
    let mut samples = Samples { inputs: Inputs::with_shape(DIM, 0), ..Samples::default() };
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let clean = blobs(&labels, n, DIM, seed);
    for (index, label) in clean.labels.iter().enumerate() {
        let given =
            if draws.gen_bool(0.3) { labels[draws.gen_range(0..4)] } else { label.as_str() };
        push(&mut samples, clean.inputs.numbers(index), &[], given);
    }
    samples
}

fn learnt_by_heart() -> Life {
    let mut settings = plain(DIM, &[128, 128]);
    settings.learning.epochs = Some(120);
    settings.learning.early_stopping = false;
    let mut life = Life::new(settings);
    life.learn(&noisy(500, 1));
    life
}

/// Expected calibration error over 15 bins, of probabilities raised to `power`.
fn calibration_error(probabilities: &[f32], labels: &[Label], known: &[Label], power: f64) -> f64 {
    let mut bins = [(0.0, 0.0); 15];
    for (row, label) in probabilities.chunks_exact(known.len()).zip(labels) {
        let raised: Vec<f64> = row.iter().map(|&p| f64::from(p).powf(power)).collect();
        let best = (0..known.len()).max_by(|&i, &j| raised[i].total_cmp(&raised[j])).unwrap();
        let confidence = raised[best] / raised.iter().sum::<f64>();
        let bin = &mut bins[((confidence * 15.0).ceil() as usize).clamp(1, 15) - 1];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(known[best] == *label));
    }
    bins.iter().map(|(sure, right)| f64::abs(sure - right)).sum::<f64>() / labels.len() as f64
}

#[test]
fn a_network_that_is_too_sure_is_calibrated_and_keeps_its_answers() {
    let life = learnt_by_heart();
    let fresh = noisy(1_000, 2);
    let samples = noisy(500, 1);
    let empty = Life::new(life.settings.clone());
    let learnt = update(&empty.lesson(&samples), &mut |_| ControlFlow::Continue(())).unwrap();
    let calibration = learnt.report.evaluation.unwrap().calibration.unwrap();
    let temperature = f64::from(calibration.temperature);
    let probabilities = life.predictor().predict(&fresh.inputs).unwrap();
    let known = life.state.as_ref().unwrap().labels();
    let after = calibration_error(&probabilities, &fresh.labels, known, 1.0);
    let before = calibration_error(&probabilities, &fresh.labels, known, temperature);
    println!("{calibration:?}; on fresh samples {before:.3} before, {after:.3} after");
    assert!(temperature > 1.3, "{calibration:?}");
    assert!(calibration.error.unwrap() < calibration.uncalibrated_error.unwrap());
    assert!(before > 0.1 && after < before / 2.0, "{before} {after}");
    let answered = answers(&life.predictor(), &fresh.inputs);
    let best = |row: &[f32]| row.iter().copied().fold(0.0, f32::max);
    let rows = probabilities.chunks_exact(known.len());
    assert!(rows.zip(answered).all(|(row, answer)| {
        row[known.iter().position(|label| *label == answer).unwrap()] == best(row)
    }));
}

#[test]
fn the_temperature_is_part_of_the_state_and_not_of_what_is_learnt_next() {
    let mut life = learnt_by_heart();
    let bytes = checkpoint::encode(life.state.as_ref().unwrap());
    let manifest = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!manifest.contains(r#"\"temperature\":1.0"#), "a temperature of its own");
    let back = checkpoint::decode(&bytes).unwrap();
    let fresh = noisy(100, 3);
    let answer = |state| Predictor::new(state, perennial::learning::Device::Flex);
    assert_eq!(
        answer(&back).predict(&fresh.inputs).unwrap(),
        life.predictor().predict(&fresh.inputs).unwrap()
    );
    // The same parent at another temperature teaches the same.
    let key = br#"\"temperature\":"#;
    let at = bytes.windows(key.len()).position(|part| part == key).unwrap() + key.len();
    let mut other = bytes.clone();
    let end = at + bytes[at..].iter().position(|byte| b",}".contains(byte)).unwrap();
    other[at..end].fill(b'0');
    other[at] = b'1';
    other[at + 1] = b'.';
    let other = checkpoint::decode(&other).unwrap();
    let next = noisy(100, 4);
    let learnt_from = |life: &Life| {
        let mut lesson = life.lesson(&next);
        lesson.held_out.clear();
        bytes_of(&lesson)
    };
    let same = learnt_from(&life);
    life.state = Some(other);
    assert_ne!(
        life.predictor().predict(&fresh.inputs).unwrap(),
        answer(&back).predict(&fresh.inputs).unwrap()
    );
    assert!(same == learnt_from(&life), "the parent's temperature changes what is learnt");
}

#[test]
fn the_temperature_does_not_depend_on_order_or_threads() {
    let life = learnt_by_heart();
    let samples = noisy(500, 5);
    let on = |n_threads: usize, seed: u64| {
        let mut lesson = life.lesson(&shuffled(&samples, seed));
        lesson.held_out[0] = shuffled(&lesson.held_out[0], seed);
        lesson.history = shuffled(&lesson.history, seed);
        lesson.recent = shuffled(&lesson.recent, seed);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| bytes_of(&lesson))
    };
    let bytes = on(1, 1);
    assert!(!String::from_utf8_lossy(&bytes).contains(r#"\"temperature\":1.0"#));
    assert!(bytes == on(3, 2));
}

#[test]
fn the_figures_agree_with_each_other() {
    let mut life = Life::new(plain(64, &[32]));
    let given = given();
    life.learn(&of_labels(&given, &["0", "1", "2", "3", "4"]));
    let learnt = life.learn(&of_labels(&given, &["5", "6", "7", "8", "9"]));
    let evaluation = learnt.report.evaluation.unwrap();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let matrix = evaluation.confusion_matrix.unwrap();
    assert_eq!(matrix.labels, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let right: usize = (0..10).map(|label| matrix.counts[label][label]).sum();
    let all: usize = matrix.counts.iter().flatten().sum();
    assert_eq!(all, evaluation.held_out);
    assert!(near(evaluation.accuracy.unwrap(), right as f64 / all as f64));
    let wrong: usize = evaluation.confusions.iter().map(|confusion| confusion.count).sum();
    assert_eq!(wrong, all - right);
    let recalls = matrix
        .counts
        .iter()
        .enumerate()
        .map(|(label, row)| row[label] as f64 / row.iter().sum::<usize>() as f64);
    assert!(near(evaluation.balanced_accuracy.unwrap(), recalls.sum::<f64>() / 10.0));
    let [first, second] = evaluation.matrix[1][..] else { panic!("{:?}", evaluation.matrix) };
    assert!(near(evaluation.average_accuracy.unwrap(), (first.unwrap() + second.unwrap()) / 2.0));
    let forgotten = evaluation.matrix[0][0].unwrap() - first.unwrap();
    assert!(near(evaluation.forgetting.unwrap(), forgotten));
    assert!(near(evaluation.backward_transfer.unwrap(), -forgotten));
    for (label, figures) in &evaluation.per_label {
        let (precision, recall) = (figures.precision.unwrap(), figures.recall.unwrap());
        let harmonic = 2.0 * precision * recall / (precision + recall);
        assert!(near(figures.f1.unwrap(), harmonic), "{label}: {figures:?}");
    }
}

#[test]
fn what_is_held_out_is_bounded_and_every_label_has_its_share() {
    let mut settings = plain(2, &[4]);
    settings.learning.epochs = Some(1);
    let life = Life::new(settings);
    let labels = ["a", "b", "c", "d"];
    let mut lesson = life.lesson(&blobs(&labels, 20, 2, 1));
    lesson.held_out = vec![blobs(&labels[..3], 2_000, 2, 2), blobs(&labels[3..], 100, 2, 3)];
    let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    let evaluation = learnt.report.evaluation.unwrap();
    assert_eq!(evaluation.held_out, 3 * 1_250 + 100);
    let supports: Vec<usize> =
        evaluation.per_label.values().map(|figures| figures.support).collect();
    assert_eq!(supports, [1_250, 1_250, 1_250, 100]);
    lesson.held_out.iter_mut().for_each(|samples| *samples = shuffled(samples, 4));
    let again = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(again.report.evaluation.unwrap().per_label, evaluation.per_label);
}

#[test]
fn the_matrix_stays_small_and_forgetting_visible_over_many_updates() {
    let mut settings = plain(4, &[8]);
    settings.learning.epochs = Some(1);
    let mut life = Life::new(settings);
    for step in 0..40 {
        let label = ["a", "b", "c", "d"][step % 4];
        let learnt = life.learn(&blobs(&[label], 30, 4, step as u64));
        let evaluation = learnt.report.evaluation.unwrap();
        let span = if step < 32 { 1 } else { 2 };
        assert_eq!(evaluation.span, span, "step {step}");
        let lengths: Vec<usize> = evaluation.matrix.iter().map(Vec::len).collect();
        let n_spans = (step + 1).div_ceil(span);
        assert_eq!(lengths, (1..=n_spans).collect::<Vec<_>>(), "step {step}");
        assert!(n_spans <= MOST_SPANS);
        assert_eq!(evaluation.forgetting.is_some(), n_spans > 1, "step {step}");
    }
}
