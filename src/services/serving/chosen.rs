//! The version that answers one request: chosen once, kept to the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::loaded::broken;
use super::statistics::{Begun, Counters};
use super::together::{LIGHT, Said, Together};
use super::{Loaded, Route, Target};
use crate::domain::input::Inputs;
use crate::learning::Predictor;
use crate::services::room::Held;
use crate::services::{Context, ServiceError};

/// One version's answer to some inputs.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The version.
    pub version: i32,
    /// The labels that it knows.
    pub labels: Arc<[String]>,
    /// Probability of each label for each input, `[n, labels]` row-major.
    pub probabilities: Vec<f32>,
    /// How long the inputs waited for a turn.
    pub waited: Duration,
    /// How long they were computed.
    pub took: Duration,
    /// What the predictions are called, input by input, where they are remembered.
    pub ids: Vec<Uuid>,
}

impl Answered {
    /// An answer that took no time.
    pub fn new(version: i32, labels: Arc<[String]>, probabilities: Vec<f32>) -> Self {
        let (waited, took) = (Duration::ZERO, Duration::ZERO);
        Self { version, labels, probabilities, waited, took, ids: Vec::new() }
    }

    /// The label that is said of each input, by its place, and its probability; of equals, the one
    /// that the version knew first.
    pub fn said(&self) -> impl Iterator<Item = (usize, f32)> {
        let rows = self.probabilities.chunks_exact(self.labels.len().max(1));
        rows.map(|row| {
            let first = (0, row.first().copied().unwrap_or_default());
            let better = |best: (usize, f32), (place, &probability): (usize, &f32)| {
                if probability > best.1 { (place, probability) } else { best }
            };
            row.iter().enumerate().fold(first, better)
        })
    }
}

/// The version that is to answer a request, in memory.
pub struct Chosen {
    /// Its number.
    pub version: i32,
    /// The labels that it knows.
    pub labels: Arc<[String]>,
    pub(super) route: Arc<Route>,
    /// The version that is asked the same.
    pub(super) shadow: Option<i32>,
    predictor: Arc<Predictor>,
    /// By which it answers small requests, where that is faster.
    together: Option<Arc<Together>>,
    counters: Arc<Counters>,
}

/// Loads the version that is to answer; `client` tells who asks, where that is known, so that a client of a
/// canary stays one.
///
/// # Errors
/// [`ServiceError::Conflict`] when the model has no version yet, [`ServiceError::NotFound`] for an
/// unknown alias or version, [`ServiceError::VersionDamaged`].
pub async fn choose(
    context: &Context,
    route: &Arc<Route>,
    target: &Target,
    client: Option<&[u8]>,
) -> Result<Chosen, ServiceError> {
    let serving = &context.serving;
    let (version, shadow) = route.resolve(target, client)?;
    let Loaded { predictor, together, labels } =
        serving.load(context, &route.model, version).await?;
    let counters = serving.statistics.counters(&(route.model.id, version));
    Ok(Chosen { version, labels, route: Arc::clone(route), shadow, predictor, together, counters })
}

impl Chosen {
    /// Counts a request, from now on.
    pub fn begin(&self) -> Begun {
        Begun::new(Arc::clone(&self.counters))
    }

    /// Answers some inputs, remembers the answers where there is room for them, and asks the shadow.
    ///
    /// # Errors
    /// [`ServiceError::Broken`] when it cannot.
    pub async fn answer(
        &self,
        context: &Context,
        inputs: Inputs,
        room: Option<Held>,
    ) -> Result<Answered, ServiceError> {
        let kept = room.map(|room| (room, inputs.clone()));
        let question = self.ask_shadow(context, &inputs);
        let mut answered = self.predict(context, inputs).await?;
        if let Some((room, inputs)) = kept {
            answered.ids = context.remembered.push(room, self.route.model.id, inputs, &answered);
        }
        if let Some(question) = question {
            question.compare(context, &answered);
        }
        Ok(answered)
    }

    async fn predict(&self, context: &Context, inputs: Inputs) -> Result<Answered, ServiceError> {
        let work = self.predictor.work(&inputs);
        let asked_at = Instant::now();
        let (probabilities, began_at) = match &self.together {
            Some(together) if work <= LIGHT / 2 => {
                let said = together.ask(inputs, work).await;
                said.ok_or_else(|| broken(self.version, "the computation broke off"))?
            }
            _ if work <= LIGHT => (self.predictor.predict(&inputs), asked_at),
            _ => Box::pin(self.predict_apart(context, inputs)).await?,
        };
        let probabilities = probabilities.map_err(|error| broken(self.version, error))?;
        Ok(Answered {
            waited: began_at - asked_at,
            took: began_at.elapsed(),
            ..Answered::new(self.version, Arc::clone(&self.labels), probabilities)
        })
    }

    /// What takes long is computed on a thread of its own, once it is the model's turn.
    async fn predict_apart(&self, context: &Context, inputs: Inputs) -> Result<Said, ServiceError> {
        let turn = context.serving.heavy.take(&self.route.model.name).await?;
        let (predictor, began_at) = (Arc::clone(&self.predictor), Instant::now());
        // Gone once whoever asked has gone.
        let waiting = Arc::new(());
        let wanted = Arc::downgrade(&waiting);
        let predicting = tokio::task::spawn_blocking(move || {
            // Until the work is over, also where nobody waits for it any more.
            let _turn = turn;
            predictor.predict_while(&inputs, || wanted.strong_count() > 0)
        });
        let probabilities = predicting.await.map_err(|error| broken(self.version, error))?;
        drop(waiting);
        Ok((probabilities, began_at))
    }
}
