//! The private PostgreSQL, tested with real processes: each hard way to die or to be misconfigured
//! happens here for real. To have a parent that can be killed, the test binary runs itself again as
//! a "holder", which starts the server and keeps it until its stdin ends.
#![cfg(target_os = "linux")] // these tests read /proc
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod place;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use perennial::postgres::{PostgresError, PrivatePostgres, Settings, default_data_dir};

use crate::place::*;

const NAMELESS: u32 = 54321;

/// Not a test of its own: the process that the others start and kill.
#[test]
fn holder() {
    let Some(data_dir) = env::var_os(HOLD) else { return };
    match PrivatePostgres::start(&Settings { data_dir: data_dir.into(), bin_dir: None }) {
        Ok(server) => {
            println!("\nholder ready {}", server.socket_dir().display());
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            server.stop();
            println!("\nholder stopped");
        }
        Err(error) => println!("\nholder refused {error}"),
    }
}

#[test]
fn a_killed_parent_takes_the_server_along_and_loses_no_row() {
    let place = Place::with_cluster();
    let mut holder = place.hold();
    sql(&holder.ready(), "CREATE TABLE kept AS SELECT 1 AS n");
    drop(holder);
    eventually("the orphaned server ends by itself", || place.processes().is_empty());

    for n in 2..=3 {
        let mut holder = place.hold();
        sql(&holder.ready(), &format!("INSERT INTO kept VALUES ({n})"));
        drop(holder);
        // The next start does not wait for the orphan to be gone.
    }
    let server = place.start();
    assert_eq!(sql(server.socket_dir(), "SELECT count(*) FROM kept"), "3");
    server.stop();
}

#[test]
fn a_killed_postmaster_is_restarted() {
    let place = Place::with_cluster();
    let server = place.start();
    let socket_dir = server.socket_dir();
    sql(socket_dir, "CREATE TABLE kept AS SELECT 42 AS n");
    // A session that has lost its postmaster and is busy does not notice: it must be ended.
    let mut busy = psql(socket_dir)
        .args(["-c", "SELECT count(*) FROM generate_series(1, 1e12)"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_busy = "SELECT count(*) FROM pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend'";
    eventually("the session is busy", || sql(socket_dir, is_busy) == "2");

    let first = place.postmaster();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    eventually("another postmaster answers", || {
        place.postmaster_if_any().is_some_and(|pid| pid != first)
            && try_sql(socket_dir, "SELECT n FROM kept").is_ok_and(|n| n == "42")
    });
    assert!(!busy.wait().unwrap().success());
    server.stop();
}

#[test]
fn a_tree_killed_while_inserting_keeps_every_acknowledged_row() {
    let place = Place::with_cluster();
    let mut holder = place.hold();
    let socket_dir = holder.ready();
    sql(&socket_dir, "CREATE TABLE kept (n bigint PRIMARY KEY)");
    let script = place.data_dir.join("inserts.sql");
    let inserts = (1..=200_000).map(|n| format!("INSERT INTO kept VALUES ({n}) RETURNING n;\n"));
    fs::write(&script, inserts.collect::<String>()).unwrap();
    let mut client = psql(&socket_dir)
        .arg("-f")
        .arg(&script)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut acknowledged: u64 = 0;
    while acknowledged < 100 {
        acknowledged = rows.next().unwrap().unwrap().parse().unwrap();
    }
    place.kill_all();
    drop(holder);
    for row in rows.map_while(Result::ok) {
        acknowledged = row.parse().unwrap();
    }
    assert!(!client.wait().unwrap().success(), "the inserts were over before the kill");

    let server = place.start();
    let log = fs::read_to_string(place.data_dir.join("postgres.log")).unwrap();
    assert!(log.contains("not properly shut down"), "the server must have had no time to stop");
    let kept = sql(server.socket_dir(), "SELECT count(*) || ' ' || max(n) FROM kept");
    let (count, last) = kept.split_once(' ').unwrap();
    assert_eq!(count, last, "a row is missing in between");
    assert!(
        last.parse::<u64>().unwrap() >= acknowledged,
        "{last} kept, {acknowledged} acknowledged"
    );
}

#[test]
fn a_kill_during_initdb_leaves_no_half_cluster() {
    let place = Place::new();
    for kill_the_tree in [false, true] {
        let holder = place.hold();
        let begun = place.unfinished().join("PG_VERSION");
        eventually("initdb is at work", || begun.exists() && !place.processes().is_empty());
        drop(holder);
        if kill_the_tree {
            place.kill_all();
        }
        assert!(!place.cluster().exists());
    }
    let server = place.start();
    assert_eq!(
        sql(server.socket_dir(), "SELECT current_user, current_database()"),
        "perennial|perennial"
    );
    assert!(!place.unfinished().exists());
}

#[test]
fn a_stale_pid_file_does_not_keep_the_server_from_starting() {
    let place = Place::with_cluster();
    let owner = place.cluster().metadata().unwrap();
    // As the server's own user, since the server ignores live processes of others.
    let mut bystander = Command::new("cat"); // which ends with this test, however that ends
    bystander.uid(owner.uid()).gid(owner.gid()).stdin(Stdio::piped());
    let mut bystander = bystander.spawn().unwrap();
    let named =
        format!("{}\n{}\n1\n5432\n\n\n\nready   \n", bystander.id(), place.cluster().display());
    for stale in [named.as_str(), ""] {
        fs::write(place.pid_file(), stale).unwrap();
        place.start().stop();
    }
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander must live");
    drop(bystander.stdin.take());
    bystander.wait().unwrap();
}

#[test]
fn two_starters_share_one_server_and_the_second_takes_over() {
    let place = Place::new();
    let mut holders = [place.hold(), place.hold()];
    let socket_dirs = holders.each_mut().map(Holder::ready);
    assert_eq!(socket_dirs[0], socket_dirs[1]);
    let socket_dir = &socket_dirs[0];
    sql(socket_dir, "CREATE TABLE kept AS SELECT 42 AS n");
    let owner_now = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", place.postmaster_if_any()?)).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    let first = place.postmaster();
    holders.sort_by_key(|holder| Some(holder.id()) != owner_now());
    let [owner, attached] = holders;
    assert_eq!(owner_now(), Some(owner.id()));

    let mut visitor = place.hold();
    visitor.ready();
    visitor.stop();
    assert_eq!(place.postmaster(), first, "one that is only attached stops nothing");

    drop(owner);
    eventually("the other one owns a server that answers", || {
        owner_now() == Some(attached.id())
            && try_sql(socket_dir, "SELECT n FROM kept").is_ok_and(|n| n == "42")
    });
    attached.stop();
    assert!(place.processes().is_empty());
}

#[test]
fn a_clean_stop_leaves_no_process_and_no_pid_file() {
    let place = Place::new();
    let server = place.start();
    let socket_dir = server.socket_dir().to_owned();
    assert_eq!(socket_dir.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(place.cluster().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!((server.user(), server.database(), server.port()), ("perennial", "perennial", 5432));
    let settings = "SELECT string_agg(setting, ',' ORDER BY name) FROM pg_settings
        WHERE name IN ('fsync', 'listen_addresses', 'port')";
    assert_eq!(sql(&socket_dir, settings), "on,,5432");
    server.stop();
    assert!(place.processes().is_empty());
    assert!(!place.pid_file().exists());
    assert!(!socket_dir.join(".s.PGSQL.5432").exists());

    let log = place.data_dir.join("postgres.log");
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(20 << 20).unwrap();
    drop(place.start());
    assert!(place.processes().is_empty(), "dropping stops, too");
    assert!(!place.pid_file().exists());
    assert!(log.metadata().unwrap().len() < 1 << 20, "a long log is set aside");
    assert!(place.data_dir.join("postgres.log.1").exists());
}

#[test]
fn root_runs_the_server_as_another_user() {
    if !is_root() {
        return;
    }
    let mut place = Place::new();
    place.data_dir = place.data_dir.with_file_name("a \"quoted\" name");
    let server = place.start();
    let uid = |pid: i32| fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    let postgres = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap());
    let expected = postgres.unwrap().uid.as_raw();
    assert_eq!(uid(place.postmaster()), expected);
    assert_eq!(place.cluster().metadata().unwrap().uid(), expected);
    assert_eq!(
        place.data_dir.metadata().unwrap().uid(),
        0,
        "only the cluster and the socket are given away"
    );
    server.stop();

    chown_tree(&place.cluster(), 0);
    let server = place.start();
    assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1");
    assert_eq!(uid(place.postmaster()), expected, "a cluster restored by root");
    assert_eq!(default_data_dir(), Path::new("/var/lib/perennial"));
}

#[test]
fn a_user_without_a_name_can_serve_a_cluster_but_not_make_one() {
    if !is_root() {
        return;
    }
    assert!(User::from_uid(NAMELESS.into()).unwrap().is_none());
    let place = Place::below(&env::temp_dir()); // no program may be run from /dev/shm in containers
    // A copy, since the build directory may be closed to other users.
    let program = place.data_dir.with_file_name("holder");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let hold =
        || Holder::spawn(Command::new(&program).uid(NAMELESS).gid(NAMELESS), &place.data_dir);
    fs::create_dir(&place.data_dir).unwrap();
    chown(&place.data_dir, Some(NAMELESS), Some(NAMELESS)).unwrap();
    let refusal = hold().says("refused");
    assert!(refusal.contains("uid 54321") && refusal.contains("DATABASE_URL"), "{refusal}");

    place.copy_cluster_of(&Place::with_cluster());
    chown_tree(&place.data_dir, NAMELESS);
    let mut holder = hold();
    assert_eq!(sql(&holder.ready(), "SELECT 1"), "1");
    holder.stop();
}

#[test]
fn a_directory_that_the_servers_user_cannot_enter_is_refused() {
    let closed = Path::new("/root");
    if !is_root() || closed.metadata().map_or(0o777, |found| found.mode()) & 0o011 != 0 {
        return eprintln!("skipped: needs a closed /root");
    }
    let place = Place::below(closed);
    let error = PrivatePostgres::start(&place.settings()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, PostgresError::Unreachable { ancestor, .. } if ancestor == closed));
    assert!(message.contains("/var/lib/perennial") && message.contains("chmod o+x"), "{message}");
}

#[test]
fn a_cluster_of_another_major_version_is_refused() {
    let place = Place::with_cluster();
    let version = place.cluster().join("PG_VERSION");
    let made_by = fs::read_to_string(&version).unwrap();
    fs::write(&version, "99\n").unwrap();
    let error = PrivatePostgres::start(&place.settings()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, PostgresError::WrongVersion { made_by: 99, .. }), "{message}");
    assert!(message.contains("install postgresql 99"), "{message}");
    assert!(message.contains(&format!("{} in ", made_by.trim())), "{message}");

    fs::remove_file(&version).unwrap();
    let error = PrivatePostgres::start(&place.settings()).unwrap_err();
    assert!(matches!(error, PostgresError::NotACluster(_)), "{error}");
}

#[test]
fn nothing_installed_names_the_ways_out() {
    let place = Place::new();
    let settings =
        Settings { bin_dir: Some(place.data_dir.with_file_name("none")), ..place.settings() };
    let error = PrivatePostgres::start(&settings).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, PostgresError::NotInstalled { .. }), "{message}");
    for hint in ["apt install postgresql", "PERENNIAL_PG_BIN_DIR", "--pg-bin-dir", "DATABASE_URL"] {
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let place = Place::with_cluster();
    fs::write(place.cluster().join("postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
    let error = PrivatePostgres::start(&place.settings()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, PostgresError::Ended { .. }), "{message}");
    assert!(message.contains("no_such_setting") && message.contains("postgres.log"), "{message}");
}

#[test]
fn a_socket_path_that_is_too_long_is_replaced_by_a_short_one() {
    let mut place = Place::with_cluster();
    let template = place.template.clone().unwrap();
    place.data_dir = place.data_dir.join("long".repeat(20)).join("longer".repeat(10));
    place.copy_cluster_of(&template);
    let mut holder = place.hold();
    let short = holder.ready();
    assert!(short.as_os_str().len() < 80, "{}", short.display());
    assert_eq!(short.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(sql(&short, "SELECT 1"), "1");
    drop(holder);
    place.start().stop();
    assert!(!short.exists());

    if is_root() {
        fs::create_dir(&short).unwrap();
        chown(&short, Some(NAMELESS), Some(NAMELESS)).unwrap();
        let refused = PrivatePostgres::start(&place.settings());
        fs::remove_dir(&short).unwrap();
        assert!(
            matches!(refused.unwrap_err(), PostgresError::ForeignSocketDir(dir) if dir == short)
        );
    }
}
