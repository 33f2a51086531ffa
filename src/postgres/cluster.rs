//! Makes the cluster and the command that serves it. Invariant: a directory with the cluster's name
//! is a whole cluster on disk, because it is made under another name and then renamed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::User;

use super::account::Account;
use super::error::{PostgresError, Result, failed_to};
use super::paths::Paths;
use super::programs::Programs;
use super::{DATABASE, PORT, SUPERUSER};

const MAX_CONNECTIONS: u32 = 100;

/// Makes the cluster with the service's database in it.
pub(super) fn create(paths: &Paths, programs: &Programs, account: &Account) -> Result<()> {
    if let Ok(None) = User::from_uid(account.uid) {
        return Err(PostgresError::NamelessUser(account.uid.as_raw()));
    }
    tracing::info!(cluster = %paths.cluster.display(), "making a postgresql cluster");
    let unfinished = &paths.unfinished;
    account.fresh_directory(unfinished)?;

    let mut initdb = account.command(&programs.initdb(), unfinished);
    initdb.args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--auth-local=trust", "--auth-host=reject", "--pgdata"]).arg(unfinished);
    run("initdb", initdb, "")?;

    let mut single = account.command(&programs.postgres(), unfinished);
    single.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(unfinished).arg("postgres");
    run("postgres --single", single, &format!("CREATE DATABASE {DATABASE};\n"))?;

    fs::rename(unfinished, &paths.cluster).map_err(failed_to("rename", unfinished))?;
    let renamed = File::open(&paths.data_dir).and_then(|dir| dir.sync_all());
    renamed.map_err(failed_to("sync", &paths.data_dir))
}

fn run(name: &'static str, mut command: Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed_to("run", Path::new(name)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended before it read its input says why on its own.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed_to("wait for", Path::new(name)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(PostgresError::NotCreated {
        program: name,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

/// The server on the cluster, to be spawned by the thread that keeps it.
pub(super) fn server(
    paths: &Paths,
    programs: &Programs,
    account: &Account,
    log: File,
) -> Result<Command> {
    // A list of directories: quoted, since a comma or a blank in the path would end an item.
    let mut socket_dirs = b"unix_socket_directories=\"".to_vec();
    for byte in paths.socket_dir.as_os_str().as_bytes() {
        socket_dirs.extend(if *byte == b'"' { &b"\"\""[..] } else { std::slice::from_ref(byte) });
    }
    socket_dirs.push(b'"');

    let mut server = account.command(&programs.postgres(), &paths.cluster);
    server.arg("-D").arg(&paths.cluster).arg("-c").arg(OsString::from_vec(socket_dirs));
    for setting in [
        "listen_addresses=",
        "unix_socket_permissions=0700",
        &format!("port={PORT}"),
        &format!("max_connections={MAX_CONNECTIONS}"),
        // To the log file that stdout and stderr are, whatever postgresql.conf says.
        "log_destination=stderr",
        "logging_collector=off",
    ] {
        server.args(["-c", setting]);
    }
    let errors = log.try_clone().map_err(failed_to("open", &paths.log))?;
    server.stdout(log).stderr(errors);
    Ok(server)
}
