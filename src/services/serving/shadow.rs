//! A version that is asked the same as the one that answers, and answers nobody.
//!
//! Invariant: no answer waits for it. It is asked afterwards, one request at a time; what it is behind
//! with is bounded in bytes, and the rest is passed over and counted as such. What it agreed with is
//! counted in memory, in each process by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::chosen::{Answered, Chosen};
use super::loaded::broken;
use super::{Loaded, Route};
use crate::domain::input::Inputs;
use crate::services::room::{Held, Room};
use crate::services::{Context, ServiceError};
use crate::storage::models::ModelId;

/// The most that shadows may be behind with.
const ROOM_BYTES: usize = 32 << 20;
/// The most pairs of versions that are counted; those asked for longest ago are forgotten.
const MOST_PAIRS: usize = 1_024;

/// The model, the version that answers, and its shadow.
type Pair = (ModelId, i32, i32);

/// What shadows are asked, and what came of it.
pub(super) struct Shadows {
    room: Room,
    /// One is asked at a time: whoever waits for an answer goes first.
    turn: Semaphore,
    counted: Cache<Pair, Arc<Counted>>,
}

#[derive(Default)]
struct Counted {
    compared: AtomicU64,
    agreed: AtomicU64,
}

/// How often a shadow agreed with the version that answered, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Inputs that both were asked.
    pub compared: u64,
    /// Inputs of which both said the same label.
    pub agreed: u64,
}

/// What a shadow is to be asked.
pub(super) struct Question {
    route: Arc<Route>,
    /// The version that answers.
    version: i32,
    shadow: i32,
    inputs: Inputs,
    _room: Held,
}

impl Shadows {
    /// Nothing asked.
    pub(super) fn new() -> Self {
        Self::with_room(ROOM_BYTES)
    }

    fn with_room(bytes: usize) -> Self {
        let counted = Cache::new(MOST_PAIRS);
        Self { room: Room::new(bytes), turn: Semaphore::new(1), counted }
    }

    /// How often the shadow of a pair agreed.
    pub(super) fn agreement(&self, pair: &Pair) -> Agreement {
        let counted = self.counted.get(pair);
        counted.map_or_else(Agreement::default, |counted| Agreement {
            compared: counted.compared.load(Ordering::Relaxed),
            agreed: counted.agreed.load(Ordering::Relaxed),
        })
    }

    /// What a shadow is to be asked; nothing where shadows are too far behind.
    fn question(
        &self,
        route: &Arc<Route>,
        version: i32,
        shadow: i32,
        inputs: &Inputs,
    ) -> Option<Question> {
        let Some(room) = self.room.take(inputs) else {
            tell(route, version, shadow, "passed_over", inputs.len() as u64);
            return None;
        };
        let (route, inputs) = (Arc::clone(route), inputs.clone());
        Some(Question { route, version, shadow, inputs, _room: room })
    }

    fn count(&self, pair: &Pair, n: u64, agreed: u64) {
        let zero = || Ok::<_, Infallible>(Arc::default());
        let counted = self.counted.get_or_insert_with(pair, zero);
        let counted = counted.unwrap_or_else(|never| match never {});
        counted.compared.fetch_add(n, Ordering::Relaxed);
        counted.agreed.fetch_add(agreed, Ordering::Relaxed);
    }
}

impl Chosen {
    /// What the shadow, if there is one, is to be asked; nothing where it is too far behind.
    pub(super) fn ask_shadow(&self, context: &Context, inputs: &Inputs) -> Option<Question> {
        context.serving.shadows.question(&self.route, self.version, self.shadow?, inputs)
    }
}

impl Question {
    /// Asks the shadow, from now on, and counts where it says the same as was answered.
    pub(super) fn compare(self, context: &Context, answered: &Answered) {
        let said: Vec<usize> = answered.said().map(|(place, _)| place).collect();
        let labels = Arc::clone(&answered.labels);
        let context = context.clone();
        tokio::spawn(async move {
            let Self { route, version, shadow, inputs, _room } = self;
            let n = inputs.len() as u64;
            match ask(&context, &route, shadow, inputs).await {
                Ok(theirs) => {
                    let both = said.iter().zip(theirs.said());
                    let is_same = |(ours, (place, _)): &(&usize, (usize, f32))| {
                        labels[**ours] == theirs.labels[*place]
                    };
                    let agreed = both.filter(is_same).count() as u64;
                    let pair = (route.model.id, version, shadow);
                    context.serving.shadows.count(&pair, n, agreed);
                    tell(&route, version, shadow, "agreed", agreed);
                    tell(&route, version, shadow, "differed", n - agreed);
                }
                Err(error) => {
                    tell(&route, version, shadow, "failed", n);
                    tracing::debug!(%error, model = %route.model.name, shadow, "a shadow failed");
                }
            }
        });
    }
}

async fn ask(
    context: &Context,
    route: &Route,
    shadow: i32,
    inputs: Inputs,
) -> Result<Answered, ServiceError> {
    let turn = context.serving.shadows.turn.acquire().await;
    let _turn = turn.map_err(|error| broken(shadow, error))?;
    let Loaded { predictor, labels, .. } =
        context.serving.load(context, &route.model, shadow).await?;
    let predicting = tokio::task::spawn_blocking(move || predictor.predict(&inputs));
    let probabilities = predicting.await.map_err(|error| broken(shadow, error))?;
    let probabilities = probabilities.map_err(|error| broken(shadow, error))?;
    Ok(Answered::new(shadow, labels, probabilities))
}

fn tell(route: &Route, version: i32, shadow: i32, outcome: &'static str, n: u64) {
    metrics::counter!("perennial_shadow_predictions_total",
        "model" => route.model.name.to_string(), "version" => shadow.to_string(),
        "compared_with" => version.to_string(), "outcome" => outcome)
    .increment(n);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use time::OffsetDateTime;

    use super::*;
    use crate::domain::input::{InputSchema, TabularSchema};
    use crate::domain::name::ModelName;
    use crate::domain::settings::ModelSettings;
    use crate::storage::models::Model;

    fn route() -> Arc<Route> {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(256), features: None });
        let model = Model {
            id: ModelId(1),
            name: ModelName::parse("m").unwrap(),
            settings: ModelSettings::new(input),
            deletions: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        Arc::new(Route { model, aliases: HashMap::new(), newest: 2, removed: Vec::new() })
    }

    #[test]
    fn what_shadows_are_too_far_behind_with_is_passed_over_and_counted_as_such() {
        let inputs = |n: usize| {
            let mut inputs = Inputs::with_shape(256, 0);
            (0..n).for_each(|i| inputs.push(&[i as f32; 256], &[]));
            inputs
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        let told = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            // Room for nine inputs.
            let (shadows, route) = (Shadows::with_room(10 << 10), route());
            let asked = shadows.question(&route, 1, 2, &inputs(8)).unwrap();
            assert_eq!((asked.version, asked.shadow, asked.inputs.len()), (1, 2, 8));
            assert!(shadows.question(&route, 1, 2, &inputs(4)).is_none());
            assert!(shadows.question(&route, 1, 2, &inputs(3)).is_none());
            // Whoever has been answered makes room.
            drop(asked);
            assert!(shadows.question(&route, 1, 2, &inputs(3)).is_some());
        });
        let line = "perennial_shadow_predictions_total{model=\"m\",version=\"2\",\
                    compared_with=\"1\",outcome=\"passed_over\"} 7";
        let told = told.render();
        assert!(told.lines().any(|told| told == line), "{told}");
    }
}
