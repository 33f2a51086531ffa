//! A bounded queue before something scarce, shared fairly by the models.
//!
//! Invariants: whoever waits is served model by model, one of each in turn, so that a model that is flooded holds
//! another one back by no more than what it has in hand; and nothing is kept of a model that neither has
//! nor wants a slot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ServiceError;
use crate::domain::name::ModelName;

/// Slots that are taken one by one.
#[derive(Debug)]
pub struct Slots {
    of_one_model: usize,
    most_waiting: usize,
    patience: Duration,
    state: Mutex<State>,
}

/// A slot that is taken; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    model: ModelName,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The models that have a slot or wait for one.
    models: HashMap<ModelName, OfModel>,
    /// The models that wait for one; the next one first.
    round: VecDeque<ModelName>,
}

#[derive(Debug, Default)]
struct OfModel {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

impl Slots {
    /// So many slots, all of which one model may have, and any number may wait for, for any time.
    pub fn new(n_slots: usize) -> Self {
        let state = State { free: n_slots, models: HashMap::new(), round: VecDeque::new() };
        Self {
            of_one_model: usize::MAX,
            most_waiting: usize::MAX,
            patience: Duration::MAX,
            state: Mutex::new(state),
        }
    }

    /// One model may have so many of them at a time.
    #[must_use]
    pub fn of_one_model(self, n_slots: usize) -> Self {
        Self { of_one_model: n_slots, ..self }
    }

    /// So many may wait for one, half of them at most for the same model, and for so long.
    #[must_use]
    pub fn waiting(self, most_waiting: usize, patience: Duration) -> Self {
        Self { most_waiting, patience, ..self }
    }

    /// A slot for `model`, once it is its turn.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] when too many wait already, or it took too long.
    pub async fn take(self: &Arc<Self>, model: &ModelName) -> Result<Slot, ServiceError> {
        // Dropped after the receiver, so that a place whose owner went away is seen to be free.
        let _leaving = Leaving { slots: self, model };
        let (sender, receiver) = oneshot::channel();
        self.enter(model, sender)?;
        match timeout(self.patience, receiver).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(too_many(model)),
        }
    }

    fn enter(
        self: &Arc<Self>,
        model: &ModelName,
        sender: oneshot::Sender<Slot>,
    ) -> Result<(), ServiceError> {
        let mut state = self.state();
        let of_model = state.models.get(model);
        let (taken, waiting) = of_model.map_or((0, 0), |of| (of.taken, of.waiting.len()));
        let has_to_wait = state.free == 0 || taken >= self.of_one_model;
        if has_to_wait
            && (waiting >= self.most_waiting.div_ceil(2) || state.n_waiting() >= self.most_waiting)
        {
            return Err(too_many(model));
        }
        state.models.entry(model.clone()).or_default().waiting.push_back(sender);
        if waiting == 0 {
            state.round.push_back(model.clone());
        }
        self.serve(state);
        Ok(())
    }

    /// Hands free slots to those whose turn it is.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut unwanted = Vec::new();
        while let Some((model, sender)) = state.next(self.of_one_model) {
            unwanted.extend(sender.send(Slot { slots: Arc::clone(self), model }).err());
        }
        // Each of these gives itself back, which takes the state again.
        drop(state);
        drop(unwanted);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a slot for the next that may have one.
    fn next(&mut self, of_one_model: usize) -> Option<(ModelName, oneshot::Sender<Slot>)> {
        if self.free == 0 {
            return None;
        }
        let may_have_one = |model: &ModelName| {
            self.models.get(model).is_some_and(|of_model| of_model.taken < of_one_model)
        };
        let place = self.round.iter().position(may_have_one)?;
        let model = self.round.remove(place)?;
        let of_model = self.models.get_mut(&model)?;
        let sender = of_model.waiting.pop_front()?;
        if !of_model.waiting.is_empty() {
            self.round.push_back(model.clone());
        }
        of_model.taken += 1;
        self.free -= 1;
        Some((model, sender))
    }

    fn n_waiting(&self) -> usize {
        self.round
            .iter()
            .filter_map(|model| self.models.get(model))
            .map(|of| of.waiting.len())
            .sum()
    }

    /// Forgets what is over of a model.
    fn clear(&mut self, model: &ModelName) {
        let Some(of_model) = self.models.get_mut(model) else { return };
        of_model.waiting.retain(|sender| !sender.is_closed());
        if !of_model.waiting.is_empty() {
            return;
        }
        let is_over = of_model.taken == 0;
        self.round.retain(|waiting| waiting != model);
        if is_over {
            self.models.remove(model);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.free += 1;
        if let Some(of_model) = state.models.get_mut(&self.model) {
            of_model.taken -= 1;
        }
        state.clear(&self.model);
        self.slots.serve(state);
    }
}

/// Whoever asked for a slot: has one, was refused, or went away.
struct Leaving<'a> {
    slots: &'a Arc<Slots>,
    model: &'a ModelName,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.slots.state().clear(self.model);
    }
}

fn too_many(model: &ModelName) -> ServiceError {
    ServiceError::Busy(format!("too many requests to model {model} wait; try again shortly"))
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    fn name(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    const LONG: Duration = Duration::from_secs(999);

    #[tokio::test]
    async fn who_finds_no_place_to_wait_is_sent_away() {
        let slots = Arc::new(Slots::new(1).waiting(2, LONG));
        let (a, b) = (name("a"), name("b"));
        let first = slots.take(&a).await.unwrap();
        let second = slots.take(&a);
        tokio::pin!(second);
        assert!(poll!(&mut second).is_pending());
        // Half of the places are for others.
        assert!(matches!(slots.take(&a).await, Err(ServiceError::Busy(_))));
        let third = slots.take(&b);
        tokio::pin!(third);
        assert!(poll!(&mut third).is_pending());
        assert!(matches!(slots.take(&name("c")).await, Err(ServiceError::Busy(_))));
        drop(first);
        drop(second.await.unwrap());
        drop(third.await.unwrap());
        assert!(slots.state().models.is_empty() && slots.state().round.is_empty());
        assert_eq!(slots.state().free, 1);
    }

    #[tokio::test]
    async fn models_are_served_in_turn_however_many_wait_of_one() {
        let slots = Arc::new(Slots::new(1));
        let (a, b) = (name("a"), name("b"));
        let held = slots.take(&a).await.unwrap();
        let mut flood: VecDeque<_> = (0..5).map(|_| Box::pin(slots.take(&a))).collect();
        for waiting in &mut flood {
            assert!(poll!(waiting).is_pending());
        }
        let mut other = Box::pin(slots.take(&b));
        assert!(poll!(&mut other).is_pending());
        // One of the flood was there before the other came; the rest wait for it.
        drop(held);
        let held = flood.pop_front().unwrap().await.unwrap();
        assert!(poll!(&mut other).is_pending());
        drop(held);
        drop(other.await.unwrap());
        for waiting in flood {
            drop(waiting.await.unwrap());
        }
        assert!(slots.state().models.is_empty());
    }

    #[tokio::test]
    async fn one_model_has_no_more_than_its_share_while_others_have_theirs() {
        let slots = Arc::new(Slots::new(3).of_one_model(1));
        let (a, b) = (name("a"), name("b"));
        let first = slots.take(&a).await.unwrap();
        let second = slots.take(&a);
        tokio::pin!(second);
        assert!(poll!(&mut second).is_pending());
        drop(slots.take(&b).await.unwrap());
        drop(first);
        drop(second.await.unwrap());
    }

    #[tokio::test]
    async fn who_goes_away_or_waits_for_too_long_leaves_its_place_and_takes_no_slot() {
        let slots = Arc::new(Slots::new(1).waiting(2, Duration::from_millis(1)));
        let a = name("a");
        let first = slots.take(&a).await.unwrap();
        {
            let gone = slots.take(&a);
            tokio::pin!(gone);
            assert!(poll!(&mut gone).is_pending());
        }
        assert!(slots.state().round.is_empty());
        assert!(matches!(slots.take(&a).await, Err(ServiceError::Busy(_))));
        drop(first);
        drop(slots.take(&a).await.unwrap());
        assert_eq!(slots.state().free, 1);
    }
}
