//! The private local PostgreSQL that runs when no DATABASE_URL is given.
//!
//! Invariants. At most one server runs on a cluster, and the process that owns it holds the lock
//! file; others attach to it, and one of them takes over when the owner goes away. The server does
//! not outlive its owner, not even one that is killed (elsewhere than on Linux the next start ends
//! it). A cluster is either whole or absent. A committed row survives every way to die: fsync is
//! on, and a running server is never sent SIGKILL except as the last step against leftovers.
//! It listens on a socket in a directory that only its own user (and root) can enter.

mod account;
mod cluster;
mod ending;
mod error;
mod paths;
mod programs;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

pub use error::PostgresError;

use account::Account;
use error::{Result, failed_to};
use paths::Paths;
use programs::Programs;

const SUPERUSER: &str = "perennial";
const DATABASE: &str = "perennial";
const PORT: u16 = 5432;

const ATTACH_PATIENCE: Duration = Duration::from_secs(120);
const SHORT_POLL: Duration = Duration::from_millis(20);
const LONG_POLL: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that ran this long was healthy: its next restart is prompt again.
const STEADY: Duration = Duration::from_secs(30);

/// Where the cluster lives and where to look for the programs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Created if absent; the cluster goes to `postgres` in it, lock, log and socket beside that.
    pub data_dir: PathBuf,
    /// The directory of `initdb` and `postgres`; `None` looks on PATH and in the usual places.
    pub bin_dir: Option<PathBuf>,
}

/// `/var/lib/perennial` for root, else `perennial` in the XDG data home; in the working directory
/// where a user has no home.
pub fn default_data_dir() -> PathBuf {
    if Uid::effective().is_root() {
        return PathBuf::from("/var/lib/perennial");
    }
    let xdg = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || Some(std::env::home_dir()?.join(".local/share")).filter(|dir| dir.is_absolute());
    xdg.or_else(home).unwrap_or_default().join("perennial")
}

/// A running private PostgreSQL, owned by this process or by another one that was there first.
/// Dropping it stops the server too.
#[derive(Debug)]
pub struct PrivatePostgres {
    socket_dir: PathBuf,
    /// Dropping it asks the keeper to stop.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl PrivatePostgres {
    /// Starts the server, or attaches to the one that another process runs on the same directory.
    /// Blocks until it accepts connections: seconds the first time, and as long as recovery takes
    /// after a crash.
    ///
    /// From then on a thread of its own keeps the server: it restarts one that dies, and takes over
    /// from an owner that goes away. Connections break on both occasions.
    ///
    /// # Errors
    /// Every [`PostgresError`] but `DoesNotStop`; nothing is left running then.
    pub fn start(settings: &Settings) -> Result<PrivatePostgres> {
        let paths = Paths::prepare(&settings.data_dir)?;
        let socket_dir = paths.socket_dir.clone();
        let (stop, stop_asked) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let bin_dir = settings.bin_dir.clone();
        let keeper = Keeper { paths, bin_dir, stop_asked, report: Some(report) };
        // The signal that ends an orphaned server is tied to the thread that forked it, so that
        // thread must live as long as the server.
        let keeper = thread::Builder::new()
            .name("postgres-keeper".to_owned())
            .spawn(move || keeper.keep())
            .map_err(failed_to("start a thread for", &socket_dir))?;
        let started = PrivatePostgres { socket_dir, stop: Some(stop), keeper: Some(keeper) };
        reported.recv().unwrap_or(Err(PostgresError::KeeperEnded))?;
        Ok(started)
    }

    /// The directory of the server's socket: the host to connect to.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The user to connect as, a superuser. There is no password.
    pub fn user(&self) -> &str {
        SUPERUSER
    }

    /// The database to connect to.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// The port, which only names the socket: nothing listens on TCP.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Stops the server if this process owns it, and waits until it is gone: SIGINT, after 60 s
    /// SIGQUIT, never SIGKILL. Only detaches otherwise.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the thread that keeps postgresql panicked");
        }
    }
}

/// The thread that starts, watches, restarts and stops the server.
struct Keeper {
    paths: Paths,
    bin_dir: Option<PathBuf>,
    /// Nothing is ever sent: that the other end is gone is the wish to stop.
    stop_asked: Receiver<()>,
    /// Where `start` waits; taken with the first outcome.
    report: Option<Sender<Result<()>>>,
}

impl Keeper {
    fn keep(mut self) {
        let lock = match self.wait_for_lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => return,
            Err(error) => return self.tell(Err(error)),
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let begun_at = Instant::now();
            match self.serve() {
                Ok(()) => {
                    self.paths.drop_short_socket_dir();
                    break;
                }
                Err(error) if self.report.is_some() => {
                    self.tell(Err(error));
                    break;
                }
                Err(error) => tracing::error!(%error, "the private postgresql is down"),
            }
            if begun_at.elapsed() > STEADY {
                pause = FIRST_PAUSE;
            }
            if self.stop_asked_within(pause) {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // Closing is not enough: a child forked elsewhere at this moment still has the file open.
        if let Err(error) = lock.unlock() {
            tracing::warn!(%error, "could not unlock {}", self.paths.lock.display());
        }
    }

    /// The lock, once this process owns the cluster. While another does, `start` is told as soon as
    /// that one's server answers. `None`: asked to stop before.
    fn wait_for_lock(&mut self) -> Result<Option<File>> {
        let path = &self.paths.lock;
        let options =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.open(path).map_err(failed_to("open", path))?;
        let give_up_at = Instant::now() + ATTACH_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => {
                    return Err(failed_to("lock", &self.paths.lock)(source));
                }
            }
            if self.report.is_some() && self.paths.answers() {
                tracing::info!(socket = %self.paths.socket_dir.display(), "attached to postgresql");
                self.tell(Ok(()));
            } else if self.report.is_some() && Instant::now() > give_up_at {
                let Paths { lock, log, .. } = self.paths.clone();
                return Err(PostgresError::OwnerNotReady { lock, log });
            }
            if self.stop_asked_within(LONG_POLL) {
                return Ok(None);
            }
        }
    }

    /// One life of the server, from what an earlier one left behind to its end. `Ok`: on request.
    fn serve(&mut self) -> Result<()> {
        let account = Account::choose(&self.paths.cluster)?;
        account.check_reach(&self.paths.data_dir)?;
        ending::end_leftovers(&self.paths)?;
        ending::drop_stale_pid_file(&self.paths)?;
        let made_by = self.paths.cluster_major()?;
        let programs = Programs::find(self.bin_dir.as_deref(), made_by, &account, &self.paths)?;
        if made_by.is_none() {
            cluster::create(&self.paths, &programs, &account)?;
        }
        account.take_over(&self.paths.cluster)?;
        self.paths.clear_socket_dir(&account)?;
        let (log, log_from) = self.paths.open_log()?;
        let mut server = cluster::server(&self.paths, &programs, &account, log)?;
        let server = server.spawn().map_err(failed_to("run", &programs.postgres()))?;
        self.watch(server, log_from)
    }

    fn watch(&mut self, mut server: Child, log_from: u64) -> Result<()> {
        let mut ready = false;
        loop {
            let ended = server.try_wait().map_err(failed_to("wait for", Path::new("postgres")))?;
            if let Some(status) = ended {
                let (log, status) = (self.paths.log.clone(), status.to_string());
                let tail = self.paths.log_tail(log_from).unwrap_or_else(|error| error.to_string());
                return Err(PostgresError::Ended { status, log, tail });
            }
            if !ready && self.paths.ready_pid() == Some(server.id().cast_signed()) {
                ready = true;
                let log = self.paths.log.display();
                tracing::info!(pid = server.id(), %log, "postgresql is ready");
                self.tell(Ok(()));
            }
            if self.stop_asked_within(if ready { LONG_POLL } else { SHORT_POLL }) {
                return ending::shut_down(server);
            }
        }
    }

    fn tell(&mut self, outcome: Result<()>) {
        if let Some(report) = self.report.take() {
            // `start` waits for this and nothing else; were it gone, stop_asked would say so.
            let _ = report.send(outcome);
        }
    }

    fn stop_asked_within(&self, time: Duration) -> bool {
        self.stop_asked.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
    }
}
