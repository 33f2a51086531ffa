//! How training gives way to requests.
//!
//! Its threads are of the class that Linux lets run only where nobody else would (`SCHED_IDLE`): whoever
//! wakes up takes a core from them at once, and none counts as taken by them. What they compute empties the
//! caches all the same. So where they have to wait, for the cores are in demand, they rest as long again.

use std::time::{Duration, Instant};

/// How often it is asked whether a thread had to wait.
const INTERVAL: Duration = Duration::from_millis(10);
/// The longest rest.
const MOST: Duration = Duration::from_millis(200);

/// Lets requests go first, on the thread that calls it.
pub fn give_way(thread: usize) {
    #[cfg(target_os = "linux")]
    if let Err(error) = only_where_idle() {
        tracing::warn!(%error, thread, "training goes at the priority of requests");
    }
}

#[cfg(target_os = "linux")]
fn only_where_idle() -> Result<(), thread_priority::Error> {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
}

/// The rests of a thread that trains.
pub(super) struct Pace {
    asked_at: Instant,
    waited: Option<Duration>,
}

impl Pace {
    /// Of the thread that calls it, from now on.
    pub(super) fn begin() -> Self {
        Self { asked_at: Instant::now(), waited: waited() }
    }

    /// Rests where the thread had to wait since it was asked last.
    pub(super) fn rest(&mut self) {
        if self.asked_at.elapsed() < INTERVAL {
            return;
        }
        if let (Some(before), Some(now)) = (self.waited, waited()) {
            std::thread::sleep(now.saturating_sub(before).min(MOST));
        }
        *self = Self::begin();
    }
}

/// How long the thread that calls it was ready to run, and did not; none where that is not told.
fn waited() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}
