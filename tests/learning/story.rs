//! New labels are learnt and old ones kept; the gate refuses what harms.

use std::ops::ControlFlow;

use perennial::domain::sample::Samples;
use perennial::domain::settings::{Budget, Strategy};
use perennial::domain::update::Decision;
use perennial::learning::{plan, update};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

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

#[test]
fn a_poisoned_update_is_refused_by_the_gate_and_an_honest_one_is_not() {
    let given = given();
    let half = given.len() / 2;
    let (first, second) = (filter(&given, |i| i < half), filter(&given, |i| i >= half));
    let mut life = Life::new(plain(64, &[128, 128]));
    life.learn(&first);
    // A few passes do little harm, which is as it should be: here the poison gets many, and no
    // held-out sample stops it early.
    life.settings.learning.epochs = Some(40);
    life.settings.learning.early_stopping = false;
    let mut poisoned = second.clone();
    poisoned.labels.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(1));
    let judge = |samples: &Samples| {
        let mut lesson = life.lesson(samples);
        // The truth is known, of enough samples that the harm is beyond noise.
        lesson.held_out = vec![never_given()];
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let evaluation = learnt.report.evaluation.unwrap();
        println!("{:?} after {:?}", evaluation.accuracy, evaluation.parent_accuracy);
        (learnt.report.gate.unwrap(), learnt.state)
    };
    assert!(judge(&second).0.passed);
    let (refused, state) = judge(&poisoned);
    println!("{:?}", refused.reasons);
    assert!(!refused.passed);
    assert!(refused.reasons[0].contains("below the parent's"), "{:?}", refused.reasons);

    // Replay bounds the harm: random labels of half of all samples do not undo the other half.
    let harmed = Life { state, ..Life::new(plain(64, &[128, 128])) }.accuracy(&never_given());
    println!("never given: {harmed:.4} after the poison");
    assert!(harmed > 0.7, "{harmed}");
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
