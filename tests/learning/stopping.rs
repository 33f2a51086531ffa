//! Progress and cancelling; stopping early by held-out samples.

use std::ops::ControlFlow;

use perennial::domain::sample::Samples;
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
            Event::Resumed(_) | Event::Epoch(..) => {}
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
            Event::Epoch(report, _) => {
                n_epochs += 1;
                assert_eq!(report.epoch, n_epochs);
            }
            Event::Phase(_) | Event::Resumed(_) => {}
        }
        ControlFlow::Continue(())
    });
    assert_eq!(last, 1.0);
    assert_eq!(learnt.unwrap().report.epochs.len(), n_epochs);
}

#[test]
fn training_that_does_harm_is_stopped_and_the_best_epoch_is_kept() {
    let mut settings = plain(64, &[128]);
    settings.learning.epochs = Some(100);
    let learnt = |early_stopping: bool| {
        settings.learning.early_stopping = early_stopping;
        let mut life = Life::new(settings.clone());
        let learnt = life.learn(&mislabelled(&given()));
        (learnt.report, life.accuracy(&never_given()))
    };
    let mut learnt = learnt;
    let (stopped, accuracy) = learnt(true);
    let (whole, accuracy_of_whole) = learnt(false);
    println!("{accuracy:.3} {accuracy_of_whole:.3} {:?}", stopped.training);
    let (training, whole_training) = (stopped.training.unwrap(), whole.training.unwrap());
    assert!(training.stopped_early && !whole_training.stopped_early);
    assert_eq!((training.epochs_planned, whole.epochs.len()), (100, 100));
    assert_eq!(whole_training.kept_epoch, 100);
    assert!(stopped.epochs.len() < 80 && training.kept_epoch < stopped.epochs.len());
    assert_eq!(training.steps * 100, whole_training.steps * stopped.epochs.len());
    let judged =
        stopped.epochs.iter().filter_map(|epoch| Some((epoch.held_out_loss?, epoch.epoch)));
    let best = judged.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert_eq!(best.1, training.kept_epoch);
    assert!(whole.epochs.iter().all(|epoch| epoch.held_out_loss.is_none()));
    assert!(accuracy > accuracy_of_whole + 0.05, "{accuracy} {accuracy_of_whole}");
}

#[test]
fn training_that_does_no_harm_takes_all_its_epochs() {
    let bytes = |early_stopping: bool, samples: &Samples| {
        let mut settings = plain(64, &[64]);
        settings.learning.epochs = Some(30);
        settings.learning.early_stopping = early_stopping;
        let life = Life::new(settings);
        let lesson = life.lesson(samples);
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let judged = learnt.report.epochs.iter().filter(|epoch| epoch.held_out_loss.is_some());
        (judged.count(), perennial::learning::checkpoint::encode(&learnt.state.unwrap()))
    };
    let (judged, with) = bytes(true, &given());
    assert_eq!(judged, 10, "every third epoch");
    assert_eq!((0, &with), (bytes(false, &given()).0, &bytes(false, &given()).1));
    let few = of_labels(&given(), &["0", "1"]);
    assert_eq!(bytes(true, &few).0, 0, "too few are held out");
}
