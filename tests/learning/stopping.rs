//! Progress and cancelling.

use std::ops::ControlFlow;

use perennial::domain::update::Phase;
use perennial::learning::{Event, LearningError, update};

use crate::life::*;

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
