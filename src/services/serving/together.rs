//! Small requests that a thread has in hand at the same time, answered together: the weights are read once
//! for all of them.
//!
//! Nobody waits for what is yet to come. The first lets those go first that are ready to run, and then all that
//! have asked meanwhile are answered. Invariant: each is told what it would be told alone, to the bit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::domain::input::Inputs;
use crate::learning::{PredictError, Predictor};

/// Multiply-adds that are done where a request is: a fraction of a millisecond.
pub(super) const LIGHT: usize = 4_000_000;

/// What a version says of some inputs, and since when it was computed.
pub(super) type Said = (Result<Vec<f32>, PredictError>, Instant);

/// The requests that one version is to answer next.
#[derive(Debug, Default)]
pub(super) struct Together(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    requests: Vec<Inputs>,
    askers: Vec<oneshot::Sender<Said>>,
    /// Multiply-adds that they take.
    work: usize,
}

impl Together {
    /// What `predictor`, by which these are answered always, says of `inputs`, which take so much `work`; none
    /// where it broke off.
    pub(super) async fn ask(
        self: &Arc<Self>,
        predictor: &Arc<Predictor>,
        inputs: Inputs,
        work: usize,
    ) -> Option<Said> {
        let (asker, said) = oneshot::channel();
        let (is_first, full) = {
            let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let full = (asked.work + work > LIGHT).then(|| std::mem::take(&mut *asked));
            asked.requests.push(inputs);
            asked.askers.push(asker);
            asked.work += work;
            (asked.askers.len() == 1, full)
        };
        if let Some(full) = full {
            full.answer(predictor);
        }
        if is_first {
            let (together, predictor) = (Arc::clone(self), Arc::clone(predictor));
            // On its own, so that the others are answered whoever goes away.
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                together.take().answer(&predictor);
            });
        }
        said.await.ok()
    }

    fn take(&self) -> Asked {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
