//! An update that goes on from a snapshot ends as one that was never interrupted.

use std::ops::ControlFlow::{Break, Continue};

use perennial::domain::sample::Samples;
use perennial::domain::settings::Strategy;
use perennial::learning::{Event, LearningError, Lesson, checkpoint, update};

use crate::life::*;

/// What an update came to: the checkpoint, the decisions on samples, the epochs and where it began.
#[derive(Debug, PartialEq)]
struct End {
    checkpoint: Vec<u8>,
    replayed: usize,
    n_epochs: usize,
    kept_epoch: usize,
    resumed_from: Option<usize>,
}

fn end(lesson: &Lesson<'_>) -> End {
    let learnt = update(lesson, &mut |_| Continue(())).unwrap();
    let training = learnt.report.training.as_ref().unwrap();
    End {
        replayed: learnt.report.samples.replayed,
        n_epochs: learnt.report.epochs.len(),
        kept_epoch: training.kept_epoch,
        resumed_from: training.resumed_from_epoch,
        checkpoint: checkpoint::encode(&learnt.state.unwrap()),
    }
}

/// The snapshot that an update leaves which is stopped right after `epoch`.
fn stopped_after(epoch: usize, lesson: &Lesson<'_>) -> Vec<u8> {
    let mut left = Vec::new();
    let stopped = update(lesson, &mut |event| match event {
        Event::Epoch(report, snapshot) if report.epoch == epoch => {
            left = snapshot.encode();
            Break(())
        }
        _ => Continue(()),
    });
    assert!(matches!(stopped, Err(LearningError::Cancelled)), "it ended before epoch {epoch}");
    left
}

/// How the lesson ends that goes on from `snapshot`.
fn resumed(lesson: &Lesson<'_>, snapshot: &[u8]) -> End {
    end(&Lesson { resume: Some(snapshot), ..lesson.clone() })
}

/// A life that has learnt five digits, and is to learn the others in so many epochs.
fn second_lesson(strategy: Strategy, epochs: u32) -> (Life, Samples) {
    let mut settings = with_strategy(plain(64, &[32, 16]), strategy);
    settings.learning.epochs = Some(epochs);
    let mut life = Life::new(settings);
    let given = given();
    life.learn(&of_labels(&given, &["0", "1", "2", "3", "4"]));
    (life, of_labels(&given, &["3", "5", "6", "7", "8", "9"]))
}

#[test]
fn an_update_stopped_after_any_epoch_and_resumed_gives_the_same_bytes() {
    for strategy in [Strategy::Auto, Strategy::Replay, Strategy::Retrain, Strategy::Ewc] {
        let (life, samples) = second_lesson(strategy, 6);
        let lesson = life.lesson(&samples);
        let whole = end(&lesson);
        for epoch in 1..=6 {
            let resumed = resumed(&lesson, &stopped_after(epoch, &lesson));
            assert_eq!(resumed.resumed_from, Some(epoch), "{strategy:?}");
            assert_eq!(End { resumed_from: None, ..resumed }, whole, "{strategy:?} {epoch}");
        }
    }
}

#[test]
fn the_best_epoch_is_remembered() {
    let mut settings = plain(64, &[128]);
    settings.learning.epochs = Some(100);
    let life = Life::new(settings);
    let lesson = life.lesson(&mislabelled(&given()));
    let whole = end(&lesson);
    assert!(whole.kept_epoch < whole.n_epochs && whole.n_epochs < 100, "{}", whole.n_epochs);
    // In the midst of things, after the best epoch, and when there is nothing left to do.
    for epoch in [5, whole.kept_epoch, whole.kept_epoch + 1, whole.n_epochs] {
        let resumed = resumed(&lesson, &stopped_after(epoch, &lesson));
        assert_eq!(resumed.resumed_from, Some(epoch));
        assert_eq!(End { resumed_from: None, ..resumed }, whole, "{epoch}");
    }
}

#[test]
fn a_resumed_update_may_be_stopped_and_resumed_again() {
    let (life, samples) = second_lesson(Strategy::Auto, 4);
    let lesson = life.lesson(&samples);
    let first = stopped_after(1, &lesson);
    let second = stopped_after(3, &Lesson { resume: Some(&first), ..lesson.clone() });
    let resumed = resumed(&lesson, &second);
    assert_eq!(resumed.resumed_from, Some(3));
    assert_eq!(End { resumed_from: None, ..resumed }, end(&lesson));
}

#[test]
fn the_epochs_of_before_are_told_when_an_update_goes_on() {
    let (life, samples) = second_lesson(Strategy::Auto, 4);
    let lesson = life.lesson(&samples);
    let left = stopped_after(2, &lesson);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let learnt = update(&Lesson { resume: Some(&left), ..lesson }, &mut |event| {
        match event {
            Event::Resumed(epochs) => before = epochs.to_vec(),
            Event::Epoch(report, _) => after.push(report.clone()),
            Event::Phase(_) | Event::Progress(_) => {}
        }
        Continue(())
    });
    assert_eq!((before.len(), after.len()), (2, 2));
    assert_eq!([before, after].concat(), learnt.unwrap().report.epochs);
}

#[test]
fn a_snapshot_that_is_damaged_or_of_another_lesson_changes_nothing() {
    let (life, samples) = second_lesson(Strategy::Auto, 3);
    let lesson = life.lesson(&samples);
    let whole = end(&lesson);
    let left = stopped_after(2, &lesson);
    let mut flipped = left.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut reweighed = lesson.clone();
    reweighed.history.weights[0] = 2.0;
    let mut settings = life.settings.clone();
    settings.gate.max_drop = None;
    let strangers = [
        ("empty", vec![]),
        ("no snapshot", vec![7; 1_000]),
        ("cut off", left[..left.len() / 2].to_vec()),
        ("flipped", flipped),
        ("of another seed", stopped_after(2, &Lesson { seed: 8, ..lesson.clone() })),
        ("of another weight", stopped_after(2, &reweighed)),
        ("of other settings", stopped_after(2, &Lesson { settings: &settings, ..lesson.clone() })),
    ];
    for (what, bytes) in &strangers {
        assert_eq!(resumed(&lesson, bytes), whole, "{what}");
    }
    assert_eq!(resumed(&lesson, &left).resumed_from, Some(2));
}
