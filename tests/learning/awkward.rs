//! Awkward data: nothing panics, and what can be learnt is.

use std::ops::ControlFlow;

use perennial::domain::input::{Feature, FeatureKind, Inputs, TabularSchema};
use perennial::domain::sample::Samples;
use perennial::domain::settings::{Missing, Strategy};
use perennial::learning::{LearningError, checkpoint, plan, update};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

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
fn one_huge_number_among_others_harms_none_of_them() {
    let mut life = Life::new(plain(4, &[16]));
    life.learn(&blobs(&["a", "b", "c"], 150, 4, 1));
    for (n, seed) in [(40, 2), (3, 3)] {
        let mut next = blobs(&["a", "b", "c"], n, 4, seed);
        let huge = next.inputs.clone();
        next.inputs.clear();
        for index in 0..huge.len() {
            let mut row = huge.numbers(index).to_vec();
            if index == 1 {
                row[2] = 1e30;
            }
            next.inputs.push(&row, &[]);
        }
        let learnt = life.learn(&next);
        assert!(learnt.report.gate.unwrap().passed);
        let accuracy = life.accuracy(&blobs(&["a", "b", "c"], 100, 4, 4));
        assert!(accuracy > 0.95, "{n}: {accuracy}");
    }
}

#[test]
fn a_first_version_of_a_handful_does_not_hold_back_what_follows() {
    let given = shuffled(&given(), 3);
    let after = |n_first: usize| {
        let mut life = Life::new(plain(64, &[64]));
        if n_first > 0 {
            life.learn(&filter(&given, |index| index < n_first));
        }
        life.learn(&filter(&given, |index| index >= n_first));
        life.accuracy(&never_given())
    };
    let (begun, at_once) = (after(20), after(0));
    println!("{begun:.3} after a version of 20 digits, {at_once:.3} without");
    assert!(begun > at_once - 0.015, "{begun} {at_once}");
}

#[test]
fn a_feature_constant_so_far_may_start_to_vary() {
    let mut life = Life::new(plain(2, &[32]));
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
fn a_label_that_vanishes_for_ten_updates_is_known_as_well_as_after_retraining() {
    let learn = |strategy| {
        let mut life = Life::new(with_strategy(plain(8, &[16]), strategy));
        life.learn(&blobs(&["a", "b", "c"], 60, 8, 1));
        (2..12).for_each(|seed| _ = life.learn(&blobs(&["a", "b"], 60, 8, seed)));
        let accuracy = life.accuracy(&blobs(&["c"], 200, 8, 99));
        println!("{strategy:?}: {accuracy}");
        accuracy
    };
    let (kept, bound) = (learn(Strategy::Auto), learn(Strategy::Retrain));
    assert!(kept > bound - 0.05, "{kept} {bound}");
    assert!(learn(Strategy::Naive) < kept - 0.2, "a control that forgets");
}

#[test]
fn samples_that_come_a_few_at_a_time_are_learnt_as_well() {
    let given = shuffled(&given(), 5);
    let mut settings = plain(64, &[32]);
    settings.learning.counterfactual = false;
    let mut life = Life::new(settings);
    let step = 12;
    for start in (0..480).step_by(step) {
        life.learn(&filter(&given, |index| (start..start + step).contains(&index)));
    }
    let few_at_a_time = life.accuracy(&never_given());
    let mut at_once = Life::new(plain(64, &[32]));
    at_once.learn(&filter(&given, |index| index < 480));
    let at_once = at_once.accuracy(&never_given());
    println!("{few_at_a_time:.3} a few at a time, {at_once:.3} at once");
    assert!(few_at_a_time > at_once - 0.05, "{few_at_a_time} {at_once}");
}

#[test]
fn an_update_that_does_not_fit_into_memory_is_refused_before_anything_is_made() {
    let mut life = Life::new(plain(4, &[4096, 4096]));
    let samples = blobs(&["a", "b"], 20, 4, 1);
    let mut lesson = life.lesson(&samples);
    lesson.most_bytes = 512 << 20;
    let refused = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(refused, LearningError::TooLarge { .. }));
    let reason = refused.to_string();
    assert!(reason.contains("MiB") && reason.contains("may take 512"), "{reason}");
    assert!(plan(&lesson).is_err());
    drop(lesson);
    life.settings = plain(4, &[64]);
    let mut lesson = life.lesson(&samples);
    lesson.most_bytes = 512 << 20;
    assert!(update(&lesson, &mut |_| ControlFlow::Continue(())).is_ok());
}
