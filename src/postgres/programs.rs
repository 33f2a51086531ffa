//! Finds the installed PostgreSQL programs. Invariant: a cluster is only ever given to the major
//! version that made it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::{PostgresError, Result};
use super::paths::Paths;

/// The oldest major version whose SQL and settings this service relies on.
pub(super) const OLDEST_MAJOR: u32 = 14;

/// Where packages put the programs: in each directory whose path starts so, in the one named after.
const USUAL_PLACES: [(&str, &str); 7] = [
    ("/usr/lib/postgresql/", "bin"), // Debian, Ubuntu
    ("/usr/pgsql-", "bin"),          // PostgreSQL's own RPMs
    ("/usr/lib/postgresql", "bin"),  // openSUSE
    ("/usr/libexec/postgresql", ""), // Alpine
    ("/opt/homebrew/opt/postgresql", "bin"),
    ("/usr/local/opt/postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt/postgresql", "bin"),
];

/// One installation of PostgreSQL.
pub(super) struct Programs {
    dir: PathBuf,
    major: u32,
}

impl Programs {
    /// The installation that fits a cluster made by the major version `made_by`; the newest for a
    /// new cluster. A `bin_dir` given is the only place looked at.
    pub(super) fn find(
        bin_dir: Option<&Path>,
        made_by: Option<u32>,
        account: &Account,
        paths: &Paths,
    ) -> Result<Programs> {
        let (mut usable, mut searched, mut installed) = (Vec::new(), Vec::new(), Vec::new());
        for dir in bin_dir.map_or_else(usual_places, |dir| vec![dir.to_owned()]) {
            match server_major(&dir, account) {
                Ok(major) if major >= OLDEST_MAJOR => {
                    installed.push(format!("{major} in {}", dir.display()));
                    usable.push(Programs { dir, major });
                }
                Ok(major) => searched.push(format!("{} (postgresql {major})", dir.display())),
                Err(reason) => searched.push(format!("{} ({reason})", dir.display())),
            }
        }
        let fits = |found: &Programs| made_by.is_none_or(|major| major == found.major);
        // Reversed, because of equals `max_by_key` takes the last and the first place should win.
        let best = usable.into_iter().rev().filter(fits).max_by_key(|found| found.major);
        match (best, made_by) {
            (Some(programs), _) => Ok(programs),
            (None, Some(made_by)) if !installed.is_empty() => Err(PostgresError::WrongVersion {
                cluster: paths.cluster.clone(),
                made_by,
                installed: installed.join(", "),
            }),
            _ => Err(PostgresError::NotInstalled { searched: searched.join(", ") }),
        }
    }

    /// The server.
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// The program that makes a cluster.
    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// PATH, then where packages put the programs that they keep off PATH.
fn usual_places() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    for (start, bin) in USUAL_PLACES {
        let (parent, prefix) = start.rsplit_once('/').unwrap_or(("", start));
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                places.push(entry.path().join(bin));
            }
        }
    }
    places
}

/// The major version of the programs in `dir`, or why there is none. Asked as the account that is to
/// run them, so that programs which it cannot reach do not count.
fn server_major(dir: &Path, account: &Account) -> std::result::Result<u32, String> {
    let server = dir.join("postgres");
    if !server.exists() || !dir.join("initdb").exists() {
        return Err("not there".to_owned());
    }
    let output = account.command(&server, Path::new("/")).arg("--version").output();
    let output =
        output.map_err(|error| format!("cannot be run as uid {}: {error}", account.uid))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // "postgres (PostgreSQL) 15.4 (Debian 15.4-1)", "postgres (PostgreSQL) 19beta1"
    let number =
        said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let major = number.and_then(|number| number.split(|c: char| !c.is_ascii_digit()).next());
    major.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("says {said:?}"))
}
