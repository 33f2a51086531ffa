//! Predictions, as ratios against a baseline in the same run: a service and a handler that parses the same
//! requests and answers a constant, each a process of its own, and a client that costs little.
//!
//! - Speed: one vector of 784 numbers, one short text, or one image as JSON on 16 connections, the vector as
//!   a binary tensor of the Open Inference Protocol too, and 64 vectors a request.
//! - Remembered: predictions that are remembered, against the same that are not.
//! - Training: the latency of predictions beside an update that trains, against that without.
//! - Swapping: the same while the live version changes ten times a second.
//! - Many: 200 models: what each takes of memory, and how soon one that was not loaded answers.
//! - Peers: PyTorch behind FastAPI and MLServer, where PERENNIAL_PEERS is a Python that has them (`make bench-peers`).
//!
//! `make bench-serving`, or some of them: `make bench-serving ARGS='speed swapping'`. Needs PostgreSQL's
//! programs, as the tests do.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod client;
mod constant;
mod many;
mod models;
mod peers;
mod remembered;
mod speed;
mod swapping;
mod training;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use mimalloc::MiMalloc;
use support::process::{Process, free_address, perennial, ready};
use support::{Api, Database, readable_dir};
use tempfile::TempDir;

/// The constant handler has the service's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Numbers of a vector.
const DIM: usize = 784;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [what, address] = &named[..]
        && what == constant::NAME
    {
        return runtime.block_on(constant::serve(address));
    }
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|word| word == name);
    runtime.block_on(async {
        if is_wanted("speed") {
            speed::measure().await;
        }
        if is_wanted("remembered") {
            remembered::measure().await;
        }
        if is_wanted("training") {
            training::measure().await;
        }
        if is_wanted("swapping") {
            swapping::measure().await;
        }
        if is_wanted("many") {
            many::measure().await;
        }
        if is_wanted("peers") {
            peers::measure().await;
        }
    });
}

/// The service in a process of its own, on a database of its own.
struct Served {
    api: Api,
    address: String,
    process: Process,
    database: Database,
    dir: TempDir,
}

impl Served {
    async fn start() -> Self {
        let (database, dir) = (Database::create().await, readable_dir());
        let (process, address, api) = serve(&database, dir.path(), &[]).await;
        Self { api, address, process, database, dir }
    }

    /// The same anew, with more settings, as flags.
    async fn restarted(self, more: &[&str]) -> Self {
        assert!(self.process.stop().success());
        let (process, address, api) = serve(&self.database, self.dir.path(), more).await;
        Self { process, address, api, database: self.database, dir: self.dir }
    }

    fn stop(self) {
        assert!(self.process.stop().success());
    }

    /// Megabytes of memory that it holds.
    fn megabytes(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        held.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().unwrap() / 1024.0
    }
}

async fn serve(database: &Database, dir: &Path, more: &[&str]) -> (Process, String, Api) {
    let address = free_address();
    let flags = ["--listen", &address, "--database-url", &database.url];
    let process = Process::start(&mut perennial("serve", dir, &[&flags[..], more].concat()));
    let api = ready(&address).await;
    (process, address, api)
}

/// The handler that answers a constant, in a process of its own, and its address.
async fn constant() -> (Process, String) {
    let address = free_address();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([constant::NAME, &address]).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut command);
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    (process, address)
}
