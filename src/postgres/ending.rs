//! Ends servers: the one that this process runs, and what an earlier one left behind. Invariant: the
//! own server is never killed; leftovers are, but only after every milder signal.

use std::fs;
use std::io;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::SHORT_POLL;
use super::error::{PostgresError, Result, failed_to};
use super::paths::Paths;

/// A fast shutdown; then one that skips the last checkpoint and leaves recovery to the next start.
const OWN: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_secs(60)), (Signal::SIGQUIT, Duration::from_secs(30))];

/// SIGINT shuts down a server but only cancels the statement of a session that lost its server; the
/// rest is for those.
const LEFTOVERS: [(Signal, Duration); 4] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGTERM, Duration::from_secs(5)),
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(10)),
];

/// Shuts down a server that this thread spawned, and waits for its end.
pub(super) fn shut_down(mut server: Child) -> Result<()> {
    for (signal, patience) in OWN {
        // The number cannot be another process's yet: this thread has not waited for the child.
        let _ = kill(Pid::from_raw(server.id().cast_signed()), signal);
        if within(patience, || !matches!(server.try_wait(), Ok(None))) {
            tracing::info!("postgresql is stopped");
            return Ok(());
        }
        tracing::warn!(pid = server.id(), "postgresql is still there {patience:?} after {signal}");
    }
    Err(PostgresError::DoesNotStop(server.id()))
}

/// Ends every process that an earlier owner left in the cluster. Only under the lock.
pub(super) fn end_leftovers(paths: &Paths) -> Result<()> {
    for (signal, patience) in LEFTOVERS {
        let left = processes_in(paths);
        if left.is_empty() {
            return Ok(());
        }
        tracing::warn!(?left, "sending {signal} to what is left of an earlier postgresql");
        for process in left {
            // One that has just ended by itself is no error.
            let _ = kill(process, signal);
        }
        if within(patience, || processes_in(paths).is_empty()) {
            return Ok(());
        }
    }
    Err(PostgresError::Leftovers(processes_in(paths).iter().map(|pid| pid.as_raw()).collect()))
}

/// Removes a pid file that would keep the server from starting although nothing runs in the cluster:
/// one that is cut short, or whose number meanwhile is another program's. Any other stale one is
/// left to the server, which also checks the shared memory that it names.
pub(super) fn drop_stale_pid_file(paths: &Paths) -> Result<()> {
    let pid_file = paths.pid_file();
    let Ok(content) = fs::read_to_string(&pid_file) else { return Ok(()) };
    let pid = pid_in(&content);
    if pid.is_some_and(|pid| kill(pid, None) == Err(Errno::ESRCH)) {
        return Ok(());
    }
    tracing::warn!(?pid, "removing a stale {}", pid_file.display());
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed_to("remove", &pid_file)(error))
        }
        _ => Ok(()),
    }
}

/// The process that a pid file names; a server in single-user mode writes its number negated.
fn pid_in(content: &str) -> Option<Pid> {
    let number: i32 = content.lines().next()?.trim().parse().ok()?;
    Some(Pid::from_raw(number.checked_abs()?)).filter(|pid| pid.as_raw() > 0)
}

fn within(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let give_up_at = Instant::now() + patience;
    while !done() {
        if Instant::now() > give_up_at {
            return false;
        }
        thread::sleep(SHORT_POLL);
    }
    true
}

/// Servers, their sessions, and half-done runs of initdb: by name and working directory.
#[cfg(target_os = "linux")]
fn processes_in(paths: &Paths) -> Vec<Pid> {
    use std::path::Path;

    let dirs = [paths.cluster.as_path(), paths.unfinished.as_path()];
    let is_ours = |process: &Path| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let dir = fs::read_link(process.join("cwd")).unwrap_or_default();
        matches!(name.trim_end(), "postgres" | "initdb") && dirs.contains(&dir.as_path())
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = all.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        is_ours(&entry.path()).then(|| Pid::from_raw(number))
    });
    numbered.collect()
}

/// Without /proc: the process that the pid file names, if its command line names the cluster.
#[cfg(not(target_os = "linux"))]
fn processes_in(paths: &Paths) -> Vec<Pid> {
    let named = fs::read_to_string(paths.pid_file()).ok().and_then(|content| pid_in(&content));
    let is_ours = |pid: &Pid| {
        let ps =
            std::process::Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output();
        let arguments = ps.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        arguments.is_ok_and(|all| {
            all.contains("postgres") && all.contains(&*paths.cluster.to_string_lossy())
        })
    };
    named.into_iter().filter(is_ours).collect()
}
