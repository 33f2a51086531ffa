//! How training gives way to requests.
//!
//! Where requests are answered, its threads are of the class that Linux lets run only where nobody else would
//! (`SCHED_IDLE`): whoever wakes up takes a core from them at once, and none counts as taken by them. What they
//! compute empties the caches all the same. So where they have to wait, for the cores are in demand, they
//! rest as long again. Where no core is ever free they all but stand still; a worker that answers nobody
//! is only nicer.

use std::time::{Duration, Instant};

/// How often it is asked whether a thread had to wait.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long it rests at most.
const MOST: Duration = Duration::from_millis(200);

/// Lets others go first on the thread that calls it: all of them where it `answers` requests.
pub fn give_way(answers: bool) {
    #[cfg(target_os = "linux")]
    if let Err(error) = lower(answers) {
        tracing::warn!(%error, "training goes at the priority of requests");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = answers;
}

#[cfg(target_os = "linux")]
fn lower(answers: bool) -> Result<(), Box<dyn std::error::Error>> {
    use thread_priority::{
        NormalThreadSchedulePolicy::Idle, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    const NICE: i32 = 10;
    if answers {
        let idle = ThreadSchedulePolicy::Normal(Idle);
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)?;
    } else {
        rustix::process::setpriority_process(None, NICE)?;
    }
    Ok(())
}

/// The rests of a thread that trains.
pub(super) struct Pace {
    asked_at: Instant,
    /// How long it had waited by then; none where it does not rest.
    waited: Option<Duration>,
}

impl Pace {
    /// Of the thread that calls it, from now on.
    pub(super) fn begin() -> Self {
        Self { asked_at: Instant::now(), waited: waited().filter(|_| rests()) }
    }

    /// Rests where the thread had to wait since it was asked last.
    pub(super) fn rest(&mut self) {
        let Some(before) = self.waited.filter(|_| self.asked_at.elapsed() >= INTERVAL) else {
            return;
        };
        std::thread::sleep(after(waited().unwrap_or_default().saturating_sub(before)));
        (self.asked_at, self.waited) = (Instant::now(), waited());
    }
}

/// How long to rest after one has waited for so long.
fn after(waited: Duration) -> Duration {
    waited.min(MOST)
}

/// Whether the thread that calls it runs only where nobody else would.
fn rests() -> bool {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy::Idle, ThreadSchedulePolicy, thread_schedule_policy,
        };
        thread_schedule_policy().is_ok_and(|policy| policy == ThreadSchedulePolicy::Normal(Idle))
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// How long the thread that calls it was ready to run, and did not; none where that is not told.
fn waited() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_trains_beside_requests_runs_where_nobody_else_would_and_rests() {
        for answers in [true, false] {
            let lowered = move || {
                give_way(answers);
                assert_eq!((rests(), Pace::begin().waited.is_some()), (answers, answers));
            };
            std::thread::spawn(lowered).join().unwrap();
        }
        assert!(!rests());
    }

    #[test]
    fn a_rest_is_as_long_as_it_waited_and_never_long() {
        let [short, long] = [60, 60_000].map(|millis| after(Duration::from_millis(millis)));
        assert_eq!((short, long), (Duration::from_millis(60), MOST));
        assert_eq!(after(Duration::ZERO), Duration::ZERO);
    }
}
