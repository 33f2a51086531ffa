//! The user that the private PostgreSQL runs as. Invariant: never root, and of what root owns it is
//! given nothing but the cluster and the socket directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};

use super::error::{PostgresError, Result, failed_to};

/// The user that the server runs as.
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

impl Account {
    /// This process's user, or a lesser one for root, as which PostgreSQL refuses to run. A cluster
    /// that another user made stays that user's.
    pub(super) fn choose(cluster: &Path) -> Result<Account> {
        if !Uid::effective().is_root() {
            return Ok(Account { uid: Uid::effective(), gid: Gid::effective() });
        }
        if let Ok(found) = cluster.metadata()
            && found.uid() != 0
        {
            return Ok(Account { uid: found.uid().into(), gid: found.gid().into() });
        }
        let named = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok()?);
        named.map(|user| Account { uid: user.uid, gid: user.gid }).ok_or(PostgresError::NoAccount)
    }

    /// Checked first because what PostgreSQL says about it does not name the closed directory.
    pub(super) fn check_reach(&self, data_dir: &Path) -> Result<()> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = data_dir.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let found = ancestor.metadata().map_err(failed_to("inspect", ancestor))?;
            let bit = match (found.uid() == self.uid.as_raw(), found.gid() == self.gid.as_raw()) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if found.mode() & bit == 0 {
                let (data_dir, ancestor) = (data_dir.to_owned(), ancestor.to_owned());
                let (mode, uid) = (found.mode() & 0o7777, self.uid.as_raw());
                return Err(PostgresError::Unreachable { data_dir, ancestor, mode, uid });
            }
        }
        Ok(())
    }

    /// An empty directory that only this account can enter, in place of whatever was there.
    pub(super) fn fresh_directory(&self, dir: &Path) -> Result<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed_to("remove", dir)(error));
            }
            _ => DirBuilder::new().mode(0o700).create(dir).map_err(failed_to("create", dir))?,
        }
        self.take_over(dir)
    }

    /// Gives this account a tree that is root's: one just made, or restored from a backup. The top
    /// comes last, so that a walk that was cut short is seen and done again.
    pub(super) fn take_over(&self, path: &Path) -> Result<()> {
        let found = fs::symlink_metadata(path).map_err(failed_to("inspect", path))?;
        if found.uid() == self.uid.as_raw() {
            return Ok(());
        }
        if found.is_dir() {
            for entry in fs::read_dir(path).map_err(failed_to("list", path))? {
                self.take_over(&entry.map_err(failed_to("list", path))?.path())?;
            }
        }
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(failed_to("chown", path))
    }

    /// A command that runs as this account, apart from the terminal's signals, and that is told to
    /// end when its parent dies.
    pub(super) fn command(&self, program: &Path, working_dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(working_dir).uid(self.uid.as_raw()).gid(self.gid.as_raw());
        command.process_group(0).stdin(Stdio::null()).env("LC_ALL", "C");
        #[cfg(target_os = "linux")]
        end_with_parent(&mut command);
        command
    }
}

/// Has the kernel send SIGINT, a fast shutdown, when the forking thread dies.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "pre_exec; its closure makes two system calls and allocates nothing"
)]
fn end_with_parent(command: &mut Command) {
    use nix::{errno::Errno, sys::prctl, sys::signal::Signal, unistd};

    let parent = unistd::getpid();
    let set_signal = move || {
        prctl::set_pdeathsig(Signal::SIGINT)?;
        // A parent that died before that call sends nothing any more.
        if unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls may be made: prctl and getppid are.
    // `Command` runs the closure after setuid, which would clear the signal.
    unsafe { command.pre_exec(set_signal) };
}
