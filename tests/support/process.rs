//! Processes of the built binary.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use nix::sys::signal::Signal;

use super::Api;

/// A process that is killed, not asked, when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// How it ended by itself, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// How it ends by itself, which takes no longer than `patience`.
    pub fn ends(mut self, patience: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            match self.ended() {
                Some(status) => return status,
                None if began.elapsed() > patience => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Asks it to stop, and tells how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `perennial COMMAND` that keeps its files in `dir` and says nothing.
pub fn perennial(command: &str, dir: &Path, more: &[&str]) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_perennial"));
    process.arg(command).arg("--data-dir").arg(dir).args(more);
    process.env_remove("DATABASE_URL").stderr(Stdio::null()).stdout(Stdio::null());
    process
}

/// Has a process write what it logs behind what is in a file.
pub fn log_to<'a>(command: &'a mut Command, log: &Path) -> &'a mut Command {
    command.stderr(OpenOptions::new().create(true).append(true).open(log).unwrap())
}

pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Waits until the service at `address` is ready.
pub async fn ready(address: &str) -> Api {
    let api = Api::new(format!("http://{address}"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let ready = api.client.get(format!("http://{address}/readyz")).send().await;
        if ready.is_ok_and(|answer| answer.status().is_success()) {
            return api;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{address} does not get ready");
}
