//! What can go wrong with the private PostgreSQL. Each message says what was tried and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::ATTACH_PATIENCE;
use super::programs::OLDEST_MAJOR;

/// Why the private PostgreSQL could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No usable `initdb` and `postgres` in any place searched.
    #[error(
        "found no postgresql {OLDEST_MAJOR} or newer (looked in {searched}); install one (apt \
         install postgresql / dnf install postgresql-server / brew install postgresql), name its \
         directory in PERENNIAL_PG_BIN_DIR or --pg-bin-dir, or set DATABASE_URL"
    )]
    NotInstalled {
        /// The places, each with what was found there.
        searched: String,
    },
    /// The cluster was made by a major version that is not installed.
    #[error(
        "the cluster in {cluster} was made by postgresql {made_by}, but only {installed} was found; \
         install postgresql {made_by}, name its directory in PERENNIAL_PG_BIN_DIR or --pg-bin-dir, \
         or move the data over with pg_upgrade"
    )]
    WrongVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Its major version.
        made_by: u32,
        /// The versions found, each with its directory.
        installed: String,
    },
    /// Something else is where the cluster belongs.
    #[error(
        "{0} is neither empty nor a postgresql cluster; move it away or choose another data directory"
    )]
    NotACluster(PathBuf),
    /// Running as root, and there is no other user to run the server as.
    #[error(
        "postgresql refuses to run as root and there is neither a user postgres nor nobody; create \
         one (useradd --system postgres), run as another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// `initdb` insists that its user has a name.
    #[error(
        "cannot create a database cluster as uid {0}, which has no entry in the password database \
         (initdb needs one); run as a named user, add an entry, or set DATABASE_URL"
    )]
    NamelessUser(u32),
    /// The server's user may not pass through a directory above the data directory.
    #[error(
        "the server runs as uid {uid}, which may not enter {ancestor} (mode {mode:o}) on the way to \
         {data_dir}; choose another data directory, such as /var/lib/perennial, or allow it with \
         chmod o+x"
    )]
    Unreachable {
        /// The directory that is to hold the cluster.
        data_dir: PathBuf,
        /// The outermost directory that is closed.
        ancestor: PathBuf,
        /// The permission bits of `ancestor`.
        mode: u32,
        /// The user that the server runs as.
        uid: u32,
    },
    /// The short socket directory exists and belongs to somebody else.
    #[error(
        "{0} is to hold the server's socket but belongs to another user; remove it, or choose a \
         data directory with a shorter path"
    )]
    ForeignSocketDir(PathBuf),
    /// `initdb`, or the creation of the database after it, failed.
    #[error("could not create a cluster: {program} ended with {status} and said: {output}")]
    NotCreated {
        /// The program that failed.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// What it wrote.
        output: String,
    },
    /// Processes of an earlier server are still there after every signal.
    #[error("processes {0:?} of an earlier server in this cluster do not end; end them by hand")]
    Leftovers(Vec<i32>),
    /// The server ended by itself.
    #[error("postgresql ended with {status}; the end of its log {log} is: {tail}")]
    Ended {
        /// Its exit status.
        status: String,
        /// The log file.
        log: PathBuf,
        /// What it logged last.
        tail: String,
    },
    /// The server did not end when asked to.
    #[error("postgresql, process {0}, did not end after SIGINT and SIGQUIT and was left alone")]
    DoesNotStop(u32),
    /// Another process owns the cluster, but its server does not answer.
    #[error(
        "another process holds {lock}, but its server did not become ready within {} s; see {log}",
        ATTACH_PATIENCE.as_secs()
    )]
    OwnerNotReady {
        /// The lock file.
        lock: PathBuf,
        /// The log file.
        log: PathBuf,
    },
    /// The thread that keeps the server ended without a word: a bug.
    #[error("the thread that keeps postgresql ended unexpectedly; start again")]
    KeeperEnded,
    /// The operating system refused something.
    #[error("could not {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What the parts of the launcher return.
pub(super) type Result<T> = std::result::Result<T, PostgresError>;

/// Says what was tried when the operating system refused it.
pub(super) fn failed_to(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> PostgresError {
    move |source| PostgresError::Io { action, path: path.to_owned(), source }
}
