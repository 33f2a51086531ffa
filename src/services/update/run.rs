//! One run of an update, seen from outside: how far it is, and the wish that it stop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::domain::update::{Phase, Report};
use crate::learning::Event;

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A client asked for it.
    Cancelled,
    /// The worker goes down: another one takes the job over.
    HandBack,
    /// The job is another run's by now, or is gone.
    Lost,
}

/// How far a run is, shared between the thread that computes and the heartbeat.
#[derive(Debug)]
pub struct Run {
    stop: AtomicU8,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
    share: f32,
    report: Report,
}

impl Default for Run {
    fn default() -> Self {
        let (phase, report) = (Phase::Preprocess, Report::default());
        let progress = Progress { phase, since: Instant::now(), share: 0.0, report };
        Self { stop: AtomicU8::new(0), progress: Mutex::new(progress) }
    }
}

impl Run {
    /// Asks the run to stop; the first reason stays.
    pub fn stop(&self, why: Stop) {
        let _ = self.stop.compare_exchange(0, why as u8 + 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Why the run is to stop, if it is.
    pub fn stopping(&self) -> Option<Stop> {
        [Stop::Cancelled, Stop::HandBack, Stop::Lost]
            .into_iter()
            .find(|&why| why as u8 + 1 == self.stop.load(Ordering::Acquire))
    }

    /// The phase, the share of the work done, and the report so far.
    pub fn snapshot(&self) -> (Phase, f32, Report) {
        let progress = self.progress();
        (progress.phase, progress.share, progress.report.clone())
    }

    /// Takes in what learning tells, and tells it whether to go on.
    pub(super) fn observe(&self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Phase(phase) => self.enter(phase),
            Event::Progress(share) => self.progress().share = share,
            Event::Resumed(epochs) => self.progress().report.epochs = epochs.to_vec(),
            Event::Epoch(epoch, _) => self.progress().report.epochs.push(epoch.clone()),
        }
        match self.stopping() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Begins a phase, and with it ends the one before.
    pub(super) fn enter(&self, phase: Phase) {
        let mut progress = self.progress();
        let seconds = progress.since.elapsed().as_secs_f64();
        let ended = progress.phase;
        *progress.report.seconds.entry(ended.to_string()).or_default() += seconds;
        progress.phase = phase;
        progress.since = Instant::now();
    }

    /// Seconds spent in each phase that has ended.
    pub(super) fn seconds(&self) -> BTreeMap<String, f64> {
        self.progress().report.seconds.clone()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the run when it is dropped before it is disarmed: nobody waits for the result any more.
pub(super) struct StopOnDrop(Option<Arc<Run>>);

impl StopOnDrop {
    /// Armed.
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self(Some(run))
    }

    /// The result is here: stop nothing.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            run.stop(Stop::Lost);
        }
    }
}
