//! What each version has answered since the process began: how often, how much, for how long.
//!
//! A request adds to a few atomics and takes no lock that another holds for long. Invariant:
//! memory is bounded: of more versions than are kept, those asked longest ago are forgotten.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use quick_cache::sync::Cache;

use super::VersionKey;
use crate::storage::models::ModelId;

/// The most versions that are counted.
const MOST_VERSIONS: usize = 4_096;

/// The counters of every version that was asked.
pub(super) struct Statistics(Cache<VersionKey, Arc<Counters>>);

impl Statistics {
    /// Nothing counted.
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST_VERSIONS))
    }

    /// The counters of a version, at zero when it is new here.
    pub(super) fn counters(&self, key: &VersionKey) -> Arc<Counters> {
        let zero = || Ok::<_, Infallible>(Arc::default());
        self.0.get_or_insert_with(key, zero).unwrap_or_else(|never| match never {})
    }

    /// What was counted of a version.
    pub(super) fn figures(&self, key: &VersionKey) -> Figures {
        self.0.get(key).map(|counters| counters.figures()).unwrap_or_default()
    }

    /// The versions of a model that were asked, in order.
    pub(super) fn versions(&self, model: ModelId) -> Vec<i32> {
        let keys = self.0.iter().map(|(key, _)| key).filter(|(of, _)| *of == model);
        let mut versions: Vec<i32> = keys.map(|(_, version)| version).collect();
        versions.sort_unstable();
        versions
    }
}

/// What was counted of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Milliseconds since 1970 at the last answer; 0 when there was none.
    pub last_at_ms: u64,
    /// Inputs answered.
    pub inferences: u64,
    /// Requests that were computed.
    pub executions: u64,
    /// Requests answered, from the body's arrival to the answer.
    pub success: Tally,
    /// Requests refused or given up.
    pub fail: Tally,
    /// Waiting for a turn.
    pub queue: Tally,
    /// Reading inputs.
    pub input: Tally,
    /// Computing probabilities.
    pub infer: Tally,
    /// Writing answers.
    pub output: Tally,
}

/// How often, and for how long in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// What the parts of one answer took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spans {
    /// Waiting for a turn.
    pub queue: Duration,
    /// Reading inputs.
    pub input: Duration,
    /// Computing probabilities.
    pub infer: Duration,
    /// Writing the answer.
    pub output: Duration,
}

/// A request that is being answered. Dropped before it has succeeded, it counts as failed.
pub struct Begun {
    counters: Arc<Counters>,
    at: Instant,
    has_succeeded: bool,
}

impl Begun {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, at: Instant::now(), has_succeeded: false }
    }

    /// The request is answered, all `n_inputs` of it.
    pub fn succeed(mut self, n_inputs: usize, spans: Spans) {
        self.has_succeeded = true;
        self.counters.succeed(n_inputs, self.at.elapsed(), spans);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.has_succeeded {
            self.counters.fail.add(self.at.elapsed());
        }
    }
}

/// One version's counters. They are read one by one: between two, a request may pass.
#[derive(Default)]
pub(super) struct Counters {
    last_at_ms: AtomicU64,
    inferences: AtomicU64,
    success: Counter,
    fail: Counter,
    queue: Counter,
    input: Counter,
    infer: Counter,
    output: Counter,
}

impl Counters {
    fn succeed(&self, n_inputs: usize, took: Duration, spans: Spans) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_ms = since_1970.unwrap_or_default().as_millis() as u64;
        self.last_at_ms.fetch_max(now_ms, Ordering::Relaxed);
        self.inferences.fetch_add(n_inputs as u64, Ordering::Relaxed);
        self.queue.add(spans.queue);
        self.input.add(spans.input);
        self.infer.add(spans.infer);
        self.output.add(spans.output);
        self.success.add(took);
    }

    fn figures(&self) -> Figures {
        let success = self.success.tally();
        Figures {
            last_at_ms: self.last_at_ms.load(Ordering::Relaxed),
            inferences: self.inferences.load(Ordering::Relaxed),
            // A request is computed at once: there are no minibatches of several.
            executions: success.count,
            success,
            fail: self.fail.tally(),
            queue: self.queue.tally(),
            input: self.input.tally(),
            infer: self.infer.tally(),
            output: self.output.tally(),
        }
    }
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Counter {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally { count: self.count.load(Ordering::Relaxed), ns: self.ns.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_succeeds_and_what_is_dropped_are_counted_apart() {
        let statistics = Statistics::new();
        let (one, other) = ((ModelId(1), 3), (ModelId(1), 1));
        assert_eq!(statistics.figures(&one), Figures::default());
        let spans = Spans { infer: Duration::from_nanos(5), ..Spans::default() };
        for n_inputs in [2, 7] {
            Begun::new(statistics.counters(&one)).succeed(n_inputs, spans);
        }
        drop(Begun::new(statistics.counters(&one)));
        drop(Begun::new(statistics.counters(&other)));
        let figures = statistics.figures(&one);
        assert_eq!((figures.inferences, figures.executions), (9, 2));
        assert_eq!((figures.success.count, figures.fail.count), (2, 1));
        assert_eq!(figures.infer, Tally { count: 2, ns: 10 });
        assert!(figures.success.ns > 0 && figures.last_at_ms > 1_500_000_000_000);
        let figures = statistics.figures(&other);
        assert_eq!((figures.success.count, figures.fail.count, figures.last_at_ms), (0, 1, 0));
        assert_eq!(statistics.versions(ModelId(1)), [1, 3]);
        assert!(statistics.versions(ModelId(2)).is_empty());
    }

    #[test]
    fn versions_beyond_the_most_are_forgotten() {
        let statistics = Statistics::new();
        for version in 0..2 * MOST_VERSIONS as i32 {
            drop(Begun::new(statistics.counters(&(ModelId(1), version))));
        }
        assert!(statistics.versions(ModelId(1)).len() <= MOST_VERSIONS);
    }
}
