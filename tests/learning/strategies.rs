//! The strategies: each does what its name says, and differs from the others where it should.

use std::ops::ControlFlow;

use perennial::domain::sample::Samples;
use perennial::domain::settings::Strategy;
use perennial::domain::update::AnsweredBy;
use perennial::learning::{Device, LearnerState, Learnt, Predictor, update};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

const PAIRS: [[&str; 2]; 5] = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];

/// Accuracy on digits never given, after two labels at a time.
fn two_labels_at_a_time(strategy: Strategy) -> f64 {
    let given = given();
    let mut life = Life::new(with_strategy(plain(64, &[64]), strategy));
    PAIRS.iter().for_each(|pair| _ = life.learn(&of_labels(&given, pair)));
    let accuracy = life.accuracy(&never_given());
    println!("{strategy:?}: {accuracy:.4}");
    accuracy
}

#[test]
fn what_replays_or_keeps_sums_remembers_and_what_does_not_forgets() {
    let forgets = two_labels_at_a_time(Strategy::Naive);
    assert!(forgets < 0.5, "{forgets}");
    for strategy in [Strategy::Auto, Strategy::Replay, Strategy::Distill, Strategy::Retrain] {
        assert!(two_labels_at_a_time(strategy) > 0.93, "{strategy:?}");
    }
}

#[test]
fn the_closed_form_gives_the_same_answers_in_any_order_of_batches() {
    let given = given();
    let answers = |order: [usize; 4]| {
        let mut life = Life::new(with_strategy(plain(64, &[8]), Strategy::Analytic));
        // The first version fixes the features; after it the order is free.
        life.learn(&of_labels(&given, &PAIRS[0]));
        order.iter().for_each(|&pair| _ = life.learn(&of_labels(&given, &PAIRS[pair])));
        let accuracy = life.accuracy(&never_given());
        assert!(accuracy > 0.95, "{accuracy}");
        let mut labels = life.predictor().labels().to_vec();
        let probabilities = life.predictor().predict(&never_given().inputs).unwrap();
        let by_label = |row: &[f32]| {
            let mut named: Vec<_> = labels.iter().cloned().zip(row.to_vec()).collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            named.into_iter().map(|(_, probability)| probability).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<f32>> = probabilities.chunks_exact(10).map(by_label).collect();
        labels.sort();
        rows
    };
    let (one, other) = (answers([1, 2, 3, 4]), answers([4, 2, 1, 3]));
    let worst = one.iter().flatten().zip(other.iter().flatten());
    let worst = worst.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn the_closed_form_forgets_exactly_what_is_taken_out() {
    let given = given();
    let (kept, gone) = (filter(&given, |i| i % 3 != 0), filter(&given, |i| i % 3 == 0));
    let first = of_labels(&kept, &PAIRS[0]);
    let settings = with_strategy(plain(64, &[8]), Strategy::Analytic);
    let learnt = |sets: &[&Samples]| learnt_without_judges(&settings, sets);
    let (never, once) = (learnt(&[&first, &kept]), learnt(&[&first, &kept, &gone]));
    let without = once.without(&gone);
    let answers = |state: &LearnerState| {
        Predictor::new(state, Device::Flex).predict(&never_given().inputs).unwrap()
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(near(&answers(&without), &answers(&never)));
    assert!(!near(&answers(&without), &answers(&once)), "it had learnt it");
}

/// Points in a square, labelled by the side of a line that turns as `angle` grows.
pub(crate) fn market(n: usize, angle: f32, seed: u64) -> Samples {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut samples = of_labels(&blobs(&["x"], 1, 2, 1), &[]);
    for _ in 0..n {
        let point: [f32; 2] = [draws.gen_range(-1.0..1.0), draws.gen_range(-1.0..1.0)];
        let side = point[0] * angle.cos() + point[1] * angle.sin();
        push(&mut samples, &point, &[], if side > 0.0 { "up" } else { "down" });
    }
    samples
}

fn strategy_of(learnt: &Learnt) -> (Strategy, String) {
    let training = learnt.report.training.clone().unwrap();
    (training.strategy, training.reason)
}

#[test]
fn meanings_that_move_are_noticed_and_followed_and_others_are_not() {
    let run = |turn: f32, strategy| {
        let mut life = Life::new(with_strategy(plain(2, &[32]), strategy));
        let mut right = Vec::new();
        let mut last = None;
        for step in 0..16 {
            let new = market(500, turn * step as f32, step);
            if life.state.is_some() {
                right.push(life.accuracy(&new));
            }
            last = Some(life.learn(&new));
        }
        let late = right[8..].iter().sum::<f64>() / right[8..].len() as f64;
        println!("{strategy:?} at {turn}: {:?}, {late:.4}", strategy_of(last.as_ref().unwrap()));
        (strategy_of(&last.unwrap()), late)
    };
    let ((strategy, reason), followed) = run(0.12, Strategy::Auto);
    assert_eq!(strategy, Strategy::Replay);
    assert!(reason.contains("moving"), "{reason}");
    let (_, stuck) = run(0.12, Strategy::Distill);
    assert!(followed > stuck + 0.03, "{followed} {stuck}");
    let ((strategy, _), still) = run(0.0, Strategy::Auto);
    assert_eq!(strategy, Strategy::Distill);
    assert!(still > 0.96, "{still}");
}

#[test]
fn elastic_weights_hold_what_plain_fine_tuning_loses_where_labels_stay() {
    let given = given();
    let half = given.len() / 2;
    // The second half looks at the same digits through a fixed shuffle of the pixels.
    let mut order: Vec<usize> = (0..64).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(3));
    let mut strange = given.empty_like();
    for index in half..given.len() {
        let numbers = given.inputs.numbers(index);
        let pixels: Vec<f32> = order.iter().map(|&pixel| numbers[pixel]).collect();
        push(&mut strange, &pixels, &[], given.labels[index].as_str());
    }
    let on_the_old_after = |strategy| {
        let mut life = Life::new(with_strategy(plain(64, &[24]), strategy));
        life.learn(&filter(&given, |index| index < half));
        life.settings.learning.epochs = Some(100);
        life.learn(&strange);
        let accuracy = life.accuracy(&never_given());
        println!("{strategy:?}: {accuracy:.4} on the old");
        accuracy
    };
    assert!(on_the_old_after(Strategy::Ewc) > on_the_old_after(Strategy::Naive) + 0.05);
}

#[test]
fn frequent_labels_are_named_more_often_where_inputs_do_not_decide() {
    // Nine in ten are "usual", whatever the input.
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut rows = |n: usize| {
        let mut samples = of_labels(&blobs(&["x"], 1, 2, 1), &[]);
        for i in 0..n {
            let point = [draws.gen_range(-1.0_f32..1.0), draws.gen_range(-1.0_f32..1.0)];
            push(&mut samples, &point, &[], if i % 10 == 0 { "rare" } else { "usual" });
        }
        samples
    };
    let mut life = Life::new(plain(2, &[16]));
    for _ in 0..3 {
        let samples = rows(1_000);
        let lesson = life.lesson(&samples);
        update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        life.learn(&samples);
    }
    let fresh = rows(500);
    let probabilities = life.predictor().predict(&fresh.inputs).unwrap();
    let place =
        life.predictor().labels().iter().position(|label| label.as_str() == "rare").unwrap();
    let mean: f32 = probabilities.iter().skip(place).step_by(2).sum::<f32>() / 500.0;
    println!("rare: {mean:.3}");
    assert!((0.05..0.2).contains(&mean), "{mean}");
    assert!(life.accuracy(&fresh) > 0.85);
}

#[test]
fn what_may_not_be_kept_as_samples_is_kept_as_sums() {
    let given = given();
    let two_labels_at_a_time = |strategy| {
        let mut settings = with_strategy(plain(64, &[64]), strategy);
        settings.learning.memory = Some(20);
        let mut life = Life::new(settings);
        let learnt = PAIRS.map(|pair| life.learn(&of_labels(&given, &pair)));
        (life.accuracy(&never_given()), learnt[4].report.answering.clone().unwrap())
    };
    let (alone, answering) = two_labels_at_a_time(Strategy::Distill);
    assert_eq!((answering.by, answering.analytic), (AnsweredBy::Network, None));
    let (beside, answering) = two_labels_at_a_time(Strategy::Auto);
    println!("two exemplars a label: {alone:.4}; sums beside them: {beside:.4}, {answering:?}");
    assert_ne!(answering.by, AnsweredBy::Network);
    assert!(answering.judges > 20);
    assert!(beside > alone + 0.02 && beside > 0.95, "{beside} {alone}");
}
