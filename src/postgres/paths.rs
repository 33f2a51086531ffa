//! Where the private PostgreSQL keeps what. Invariant: everything is below the data directory, save
//! a socket whose path would be too long there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::PORT;
use super::account::Account;
use super::error::{PostgresError, Result, failed_to};

/// `sun_path` less its final zero byte.
const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const LOG_BYTES: u64 = 16 << 20;
const LOG_TAIL_BYTES: u64 = 2048;

/// Every file and directory used, all below the data directory save a socket that would not fit.
#[derive(Clone)]
pub(super) struct Paths {
    pub(super) data_dir: PathBuf,
    pub(super) cluster: PathBuf,
    /// Where a cluster is made before it gets its name.
    pub(super) unfinished: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) log: PathBuf,
    pub(super) socket_dir: PathBuf,
}

impl Paths {
    pub(super) fn prepare(data_dir: &Path) -> Result<Paths> {
        if !data_dir.exists() {
            // The server's user must pass through a directory that root makes; nobody may list it.
            let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
            let created = DirBuilder::new().recursive(true).mode(mode).create(data_dir);
            created.map_err(failed_to("create", data_dir))?;
            let permissions = fs::Permissions::from_mode(mode); // whatever the umask took
            fs::set_permissions(data_dir, permissions).map_err(failed_to("chmod", data_dir))?;
        }
        let data_dir = data_dir.canonicalize().map_err(failed_to("resolve", data_dir))?;
        let mut socket_dir = data_dir.join("postgres.socket");
        if socket_file(&socket_dir).as_os_str().len() > SOCKET_PATH_BYTES {
            // Every process that uses the same directory must come to the same short name.
            let this = data_dir.metadata().map_err(failed_to("inspect", &data_dir))?;
            socket_dir = PathBuf::from(format!("/tmp/perennial-{:x}-{:x}", this.dev(), this.ino()));
        }
        let cluster = data_dir.join("postgres");
        Ok(Paths {
            // Resolved, since processes are known by their working directory; it may not exist yet.
            cluster: cluster.canonicalize().unwrap_or(cluster),
            unfinished: data_dir.join("postgres.unfinished"),
            lock: data_dir.join("postgres.lock"),
            log: data_dir.join("postgres.log"),
            socket_dir,
            data_dir,
        })
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.cluster.join("postmaster.pid")
    }

    /// The server's process, if its pid file says that it accepts connections.
    pub(super) fn ready_pid(&self) -> Option<i32> {
        let content = fs::read_to_string(self.pid_file()).ok()?;
        let status = content.lines().nth(7)?;
        if status.trim() == "ready" { content.lines().next()?.trim().parse().ok() } else { None }
    }

    pub(super) fn answers(&self) -> bool {
        self.ready_pid().is_some() && UnixStream::connect(socket_file(&self.socket_dir)).is_ok()
    }

    /// The major version that made the cluster; `None` if there is no cluster yet.
    pub(super) fn cluster_major(&self) -> Result<Option<u32>> {
        let file = self.cluster.join("PG_VERSION");
        let not_a_cluster = || PostgresError::NotACluster(self.cluster.clone());
        match fs::read_to_string(&file) {
            Ok(content) => content.trim().parse().map(Some).map_err(|_| not_a_cluster()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let something =
                    fs::read_dir(&self.cluster).is_ok_and(|mut all| all.next().is_some());
                if something { Err(not_a_cluster()) } else { Ok(None) }
            }
            Err(error) => Err(failed_to("read", &file)(error)),
        }
    }

    /// An empty socket directory of the account's own. Called under the lock, so no server uses what
    /// is cleared away.
    pub(super) fn clear_socket_dir(&self, account: &Account) -> Result<()> {
        let dir = &self.socket_dir;
        if !dir.starts_with(&self.data_dir)
            && let Ok(found) = fs::symlink_metadata(dir)
        {
            // Anybody can create names in /tmp; once ours, the sticky bit keeps it ours.
            let owners = [account.uid.as_raw(), Uid::effective().as_raw()];
            if !found.is_dir() || !owners.contains(&found.uid()) {
                return Err(PostgresError::ForeignSocketDir(dir.clone()));
            }
        }
        account.fresh_directory(dir)
    }

    /// Leaves nothing in /tmp once the server, which removes its own socket, is gone.
    pub(super) fn drop_short_socket_dir(&self) {
        if !self.socket_dir.starts_with(&self.data_dir) {
            // One that is not empty stays, which harms nobody: the next start clears it.
            let _ = fs::remove_dir(&self.socket_dir);
        }
    }

    /// The server's log, open for appending, and its length so far. A long one is set aside first.
    pub(super) fn open_log(&self) -> Result<(File, u64)> {
        let log = &self.log;
        if log.metadata().is_ok_and(|found| found.len() > LOG_BYTES) {
            fs::rename(log, self.data_dir.join("postgres.log.1"))
                .map_err(failed_to("rename", log))?;
        }
        let mut options = OpenOptions::new();
        let opened = options.append(true).create(true).mode(0o600).open(log);
        let file = opened.map_err(failed_to("open", log))?;
        let length = file.metadata().map_err(failed_to("inspect", log))?.len();
        Ok((file, length))
    }

    /// The end of what was logged after the first `from` bytes.
    pub(super) fn log_tail(&self, from: u64) -> io::Result<String> {
        let mut log = File::open(&self.log)?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
        let mut tail = Vec::new();
        log.take(LOG_TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).trim().to_owned())
    }
}

fn socket_file(socket_dir: &Path) -> PathBuf {
    socket_dir.join(format!(".s.PGSQL.{PORT}"))
}
