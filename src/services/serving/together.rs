//! Small requests that a thread has in hand at the same time, answered together: the weights are read once
//! for all of them.
//!
//! Nobody waits for what is yet to come. The first lets those go first that are ready to run, and then all that
//! have asked meanwhile are answered. Invariant: each is told what it would be told alone, to the bit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::domain::input::Inputs;
use crate::learning::{PredictError, Predictor};

/// Multiply-adds that are done where a request is: a fraction of a millisecond.
pub(super) const LIGHT: usize = 4_000_000;

/// What a version says of some inputs, and since when it was computed.
pub(super) type Said = (Result<Vec<f32>, PredictError>, Instant);

/// One version, and the requests that it is to answer next.
#[derive(Debug)]
pub(super) struct Together {
    predictor: Arc<Predictor>,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    requests: Vec<Inputs>,
    askers: Vec<oneshot::Sender<Said>>,
    /// Multiply-adds that they take.
    work: usize,
}

impl Together {
    /// Nobody has asked `predictor` yet.
    pub(super) fn new(predictor: Arc<Predictor>) -> Arc<Self> {
        Arc::new(Self { predictor, asked: Mutex::default() })
    }

    /// What the version says of `inputs`, which take so much `work`; none where it broke off.
    pub(super) async fn ask(self: &Arc<Self>, inputs: Inputs, work: usize) -> Option<Said> {
        let (asker, said) = oneshot::channel();
        let (is_first, full) = {
            let mut asked = self.asked();
            let full = (asked.work + work > LIGHT).then(|| std::mem::take(&mut *asked));
            asked.requests.push(inputs);
            asked.askers.push(asker);
            asked.work += work;
            (asked.askers.len() == 1, full)
        };
        if let Some(full) = full {
            full.answer(&self.predictor);
        }
        if is_first {
            let together = Arc::clone(self);
            // On its own, so that the others are answered whoever goes away.
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                let asked = std::mem::take(&mut *together.asked());
                asked.answer(&together.predictor);
            });
        }
        said.await.ok()
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn answer(self, predictor: &Predictor) {
        let began_at = Instant::now();
        let said = predictor.predict_each(&self.requests);
        for (asker, said) in self.askers.into_iter().zip(said) {
            // Who has gone away is told nothing.
            let _ = asker.send((said, began_at));
        }
    }
}
