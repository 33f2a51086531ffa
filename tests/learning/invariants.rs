//! What must not depend on chance, order or threads, and what an update must leave as it was.

use std::ops::ControlFlow;

use perennial::domain::settings::{Budget, ModelSettings, SelectionStrategy};
use perennial::domain::update::Decision;
use perennial::learning::update;

use crate::life::*;

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
        lesson.history = shuffled(&lesson.history, seed);
        lesson.recent = shuffled(&lesson.recent, seed);
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
        settings.learning.epochs = Some(20);
        settings.selection.strategy = strategy;
        settings.selection.budget = Some(Budget::Count(150));
        settings
    };
    for strategy in [
        SelectionStrategy::Balanced,
        SelectionStrategy::Representative,
        SelectionStrategy::Diverse,
        SelectionStrategy::Uncertain,
        SelectionStrategy::Random,
    ] {
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

#[test]
fn a_moved_normaliser_and_a_grown_head_leave_old_answers_as_they_were() {
    old_answers_stay_when_the_normaliser_moves(plain(64, &[64, 64]));
}

/// Of a model of digits with `settings`.
pub(crate) fn old_answers_stay_when_the_normaliser_moves(mut settings: ModelSettings) {
    let mut life = Life::new(settings.clone());
    let given = given();
    // Nothing is held out, so that no temperature is fitted: it would differ between the two.
    let learnt = |life: &Life, labels: &[&str]| {
        let samples = of_labels(&given, labels);
        let mut lesson = life.lesson(&samples);
        lesson.held_out.clear();
        update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap().state
    };
    life.state = learnt(&life, &["0", "1", "2"]);
    let (before, old) = (life.predictor(), of_labels(&given, &["0", "1", "2"]));
    let before = before.predict(&old.inputs).unwrap();

    // A rate so small that training changes nothing: all else of an update remains.
    settings.learning.learning_rate = Some(1e-12);
    life.settings = settings;
    life.state = learnt(&life, &["7", "8", "9"]);
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
