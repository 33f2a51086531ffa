//! Where a private PostgreSQL runs under test, who holds it, and how it is asked.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use perennial::postgres::{PrivatePostgres, Settings};
use tempfile::TempDir;

pub(crate) const HOLD: &str = "PERENNIAL_TEST_HOLD";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory that the server's user can reach. Ends with the check that nothing still runs.
pub(crate) struct Place {
    _temp: TempDir,
    pub(crate) data_dir: PathBuf,
    pub(crate) template: Option<Arc<Place>>,
}

/// A cluster to copy where its making is not the subject: initdb is the slowest part of all this.
/// Lives as long as a test uses it, so that nothing is left behind.
static TEMPLATE: Mutex<Weak<Place>> = Mutex::new(Weak::new());

impl Place {
    pub(crate) fn new() -> Place {
        Place::below(temp_dir())
    }

    pub(crate) fn below(parent: &Path) -> Place {
        let temp = TempDir::new_in(parent).unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data_dir = temp.path().canonicalize().unwrap().join("data");
        Place { _temp: temp, data_dir, template: None }
    }

    pub(crate) fn with_cluster() -> Place {
        let mut shared = TEMPLATE.lock().unwrap();
        let template = shared.upgrade().unwrap_or_else(|| {
            let made = Place::new();
            made.start().stop();
            Arc::new(made)
        });
        *shared = Arc::downgrade(&template);
        drop(shared);
        let mut place = Place::new();
        place.copy_cluster_of(&template);
        place.template = Some(template);
        place
    }

    pub(crate) fn copy_cluster_of(&self, template: &Place) {
        fs::create_dir_all(&self.data_dir).unwrap();
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").args([template.cluster(), self.cluster()]).status();
        assert!(copied.unwrap().success());
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    pub(crate) fn unfinished(&self) -> PathBuf {
        self.data_dir.join("postgres.unfinished")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { data_dir: self.data_dir.clone(), bin_dir: None }
    }

    pub(crate) fn start(&self) -> PrivatePostgres {
        PrivatePostgres::start(&self.settings()).unwrap()
    }

    pub(crate) fn hold(&self) -> Holder {
        Holder::spawn(&mut Command::new(env::current_exe().unwrap()), &self.data_dir)
    }

    /// Every process that works in the cluster, finished or not.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let dirs = [self.cluster(), self.unfinished()];
        let all = fs::read_dir("/proc").unwrap().flatten();
        let here = all.filter(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|dir| dirs.contains(&dir))
        });
        here.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
    }

    pub(crate) fn postmaster(&self) -> i32 {
        self.postmaster_if_any().unwrap()
    }

    pub(crate) fn postmaster_if_any(&self) -> Option<i32> {
        fs::read_to_string(self.pid_file()).ok()?.lines().next()?.parse().ok()
    }

    pub(crate) fn kill_all(&self) {
        for process in self.processes() {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = within(PATIENCE, || self.processes().is_empty());
        assert!(gone || thread::panicking(), "left running: {:?}", self.processes());
    }
}

pub(crate) struct Holder {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    pub(crate) fn spawn(command: &mut Command, data_dir: &Path) -> Holder {
        command.args(["--exact", "holder", "--nocapture", "--test-threads=1"]);
        // PGPORT and PGDATA are for clients and other servers: this one must not heed them.
        command.env(HOLD, data_dir).env("PGPORT", "1").env("PGDATA", "/nowhere");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Holder { child, said }
    }

    pub(crate) fn says(&mut self, what: &str) -> String {
        let mut heard = String::new();
        for line in self.said.by_ref().lines().map_while(Result::ok) {
            if let Some(rest) =
                line.strip_prefix("holder ").and_then(|line| line.strip_prefix(what))
            {
                return rest.trim().to_owned();
            }
            heard += &line;
        }
        panic!("the holder ended without saying {what:?}, but: {heard}");
    }

    pub(crate) fn ready(&mut self) -> PathBuf {
        self.says("ready").into()
    }

    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        self.says("stopped");
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

/// kill -9.
impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory where there is plenty: initdb and recovery sync a thousand files, and no test here takes
/// away the power, only processes.
pub(crate) fn temp_dir() -> &'static Path {
    static CHOSEN: LazyLock<PathBuf> = LazyLock::new(|| {
        let df =
            Command::new("df").args(["--output=avail", "--block-size=1G", "/dev/shm"]).output();
        let free = df
            .ok()
            .and_then(|df| String::from_utf8(df.stdout).ok()?.lines().nth(1)?.trim().parse().ok());
        let roomy = free.is_some_and(|gibibytes: u64| gibibytes >= 2);
        if roomy && env::var_os("TMPDIR").is_none() { "/dev/shm".into() } else { env::temp_dir() }
    });
    &CHOSEN
}

pub(crate) fn within(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let give_up_at = Instant::now() + patience;
    while !done() {
        if Instant::now() > give_up_at {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

pub(crate) fn eventually(what: &str, done: impl FnMut() -> bool) {
    assert!(within(PATIENCE, done), "still not after {PATIENCE:?}: {what}");
}

pub(crate) fn psql(socket_dir: &Path) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    dirs.extend(env::var_os("PERENNIAL_PG_BIN_DIR").map(PathBuf::from));
    for parent in ["/usr/lib/postgresql", "/usr"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(entries.map(|entry| entry.path().join("bin")));
    }
    let program = dirs.iter().map(|dir| dir.join("psql")).find(|program| program.exists());
    let mut command = Command::new(program.expect("psql is installed"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", "5432"]);
    command.args(["-U", "perennial", "-d", "perennial", "-h"]).arg(socket_dir);
    command
}

pub(crate) fn try_sql(socket_dir: &Path, statement: &str) -> Result<String, String> {
    let output = psql(socket_dir).args(["-c", statement]).output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr.clone() };
    let said = String::from_utf8(said).unwrap().trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

pub(crate) fn sql(socket_dir: &Path, statement: &str) -> String {
    try_sql(socket_dir, statement).unwrap()
}

pub(crate) fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("skipped: only root can set this up");
    }
    root
}

pub(crate) fn chown_tree(path: &Path, owner: u32) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_tree(&entry.unwrap().path(), owner));
    }
    chown(path, Some(owner), Some(owner)).unwrap();
}
