//! One run of an update, seen from outside: how far it is, and the wish that it stop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::domain::event::Happening;
use crate::domain::update::{Phase, Report};
use crate::fault::step;
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
    /// Held by whoever tells what has happened.
    telling: AsyncMutex<()>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
    share: f32,
    report: Report,
    /// What has happened and was not told yet, in order.
    untold: Vec<Happening>,
    /// The share that was told last.
    told_share: f32,
}

/// By how much the share of the work done has to grow to be told.
const LEAST_PROGRESS: f32 = 0.01;

impl Default for Run {
    fn default() -> Self {
        let phase = Phase::Preprocess;
        let progress = Progress {
            phase,
            since: Instant::now(),
            share: 0.0,
            report: Report::default(),
            untold: vec![Happening::Phase { phase }],
            told_share: 0.0,
        };
        let (stop, telling) = (AtomicU8::new(0), AsyncMutex::default());
        Self { stop, progress: Mutex::new(progress), telling }
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

    /// What has happened, for one at a time to tell; nothing while another one is telling it.
    pub fn try_telling(&self) -> Option<Telling<'_>> {
        Some(Telling { run: self, _alone: self.telling.try_lock().ok()? })
    }

    /// The same, once nobody else is telling it.
    pub async fn telling(&self) -> Telling<'_> {
        Telling { run: self, _alone: self.telling.lock().await }
    }

    /// Takes in what learning tells, and tells it whether to go on.
    pub(super) fn observe(&self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Phase(phase) => self.enter(phase),
            Event::Progress(share) => self.progress().share = share,
            Event::Resumed(epochs) => self.progress().report.epochs = epochs.to_vec(),
            Event::Epoch(epoch, _) => {
                let mut progress = self.progress();
                progress.report.epochs.push(epoch.clone());
                progress.untold.push(Happening::Epoch(epoch.clone()));
            }
        }
        match self.stopping() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Begins a phase, and with it ends the one before.
    pub(super) fn enter(&self, phase: Phase) {
        step(&format!("phase_{phase}"));
        let mut progress = self.progress();
        let seconds = progress.since.elapsed().as_secs_f64();
        let ended = progress.phase;
        *progress.report.seconds.entry(ended.to_string()).or_default() += seconds;
        if phase != ended {
            progress.untold.push(Happening::Phase { phase });
        }
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

/// The right to tell what has happened in a run: whoever has it tells each thing once, in order.
pub struct Telling<'a> {
    run: &'a Run,
    _alone: AsyncMutexGuard<'a, ()>,
}

impl Telling<'_> {
    /// What has happened and was not told yet, in order.
    pub fn untold(&self) -> Vec<Happening> {
        let mut progress = self.run.progress();
        if progress.share - progress.told_share >= LEAST_PROGRESS {
            progress.told_share = progress.share;
            // Nobody needs more digits of it.
            let share = (f64::from(progress.share) * 1e4).round() / 1e4;
            progress.untold.push(Happening::Progress { progress: share });
        }
        progress.untold.clone()
    }

    /// The first `n` of it were told.
    pub fn told(&self, n: usize) {
        self.run.progress().untold.drain(..n);
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
