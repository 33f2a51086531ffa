//! Everything at once: two processes, then four, on their private PostgreSQL, clients that send, learn and
//! predict all the time, and again and again one of the processes, or the database under them, is
//! killed. Afterwards every sample that got a 202 is there once and learnt, no update is stuck, every
//! version was published once, `live` never went back, and nothing is left lying about.
//!
//! Six kills by default; `make chaos` does 200. Seeded, but what a kill meets depends on the machine.
//! PERENNIAL_CHAOS_LOG names a file for what the processes say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reqwest::Method;
use serde_json::{Value, json};
use support::process::{Process, free_address, perennial, ready};
use support::trial::{DIM, PATIENCE, all, all_ended, check_versions, create_model, pause, send};
use support::{Api, files_below, readable_dir, snapshots};
use tempfile::TempDir;
use tokio::task::JoinSet;

const MODELS: [&str; 3] = ["m0", "m1", "m2"];
/// Samples of each of two labels in one batch.
const PER_LABEL: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_done_twice_whatever_is_killed() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let kills = number("PERENNIAL_CHAOS_KILLS", 6);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(number("PERENNIAL_CHAOS_SEED", 0));
    let began = Instant::now();
    let mut cluster = Cluster::new();
    let api = cluster.grow().await;
    for model in MODELS {
        create_model(&api, model, &[32], 20).await;
    }
    let (seen, mut clients) = (Arc::new(Seen::default()), JoinSet::new());
    seen.ask(&api, &mut clients);
    for (number, model) in MODELS.into_iter().enumerate() {
        clients.spawn(send_all_the_time(Arc::clone(&seen), model, number as u64));
    }
    // One process that answers and one that works, and then two of each.
    cluster.suffer(kills / 2, &mut random).await;
    seen.ask(&cluster.grow().await, &mut clients);
    cluster.suffer(kills - kills / 2, &mut random).await;
    cluster.ready().await;
    pause(500).await;
    seen.over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let updates = all_ended(&cluster.addresses[0]).await;
    let versions = check_versions(&api, &MODELS, &updates).await;
    let samples = seen.check_samples(&api).await;
    cluster.check_checkpoints(&api).await;
    cluster.check_nothing_is_left();
    let runs: u64 = updates.iter().map(|update| update["attempt"].as_u64().unwrap()).sum();
    println!(
        "{kills} kills among two, then four processes in {:.0} s; {samples} samples accepted and found; \
         {} updates in {runs} runs; {versions} versions, each published once; predictions: {:?}",
        began.elapsed().as_secs_f64(),
        updates.len(),
        seen.predictions.lock().unwrap(),
    );
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    /// Those that answer.
    apis: Mutex<Vec<Api>>,
    /// Samples accepted, by model.
    accepted: Mutex<BTreeMap<&'static str, u64>>,
    /// Predictions by how they were answered.
    predictions: Mutex<BTreeMap<String, u64>>,
}

impl Seen {
    /// Begins to ask one more process.
    fn ask(self: &Arc<Self>, api: &Api, clients: &mut JoinSet<()>) {
        self.apis.lock().unwrap().push(api.clone());
        for model in MODELS {
            clients.spawn(predict_all_the_time(api.clone(), Arc::clone(self), model));
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Every accepted sample is stored once, and learnt; gives their number.
    async fn check_samples(&self, api: &Api) -> u64 {
        let accepted = self.accepted.lock().unwrap().clone();
        for (name, accepted) in &accepted {
            let model = api.get(&format!("/v1/models/{name}")).await.expect(200);
            let counts = (model["samples"].as_u64(), model["pending_samples"].as_u64());
            assert_eq!(counts, (Some(*accepted), Some(0)), "{name}: stored, pending");
        }
        assert_eq!(accepted.len(), MODELS.len(), "a model was never sent a sample");
        accepted.values().sum()
    }
}

/// Processes that answer and processes that work, by turns, on one data directory with a private PostgreSQL.
struct Cluster {
    processes: Vec<Option<Process>>,
    /// Of those that answer.
    addresses: Vec<String>,
    dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        Self { processes: vec![], addresses: vec![], dir: readable_dir() }
    }

    /// One more process that answers, which is told, and one more that works.
    async fn grow(&mut self) -> Api {
        let address = free_address();
        self.addresses.push(address.clone());
        for _ in 0..2 {
            self.processes.push(Some(self.spawn(self.processes.len())));
        }
        ready(&address).await
    }

    /// Until all that answer are ready.
    async fn ready(&self) {
        for address in &self.addresses {
            ready(address).await;
        }
    }

    fn spawn(&self, number: usize) -> Process {
        let (command, flags) = match number % 2 {
            0 => ("serve", vec!["--listen", &self.addresses[number / 2], "--no-worker"]),
            _ => ("worker", vec![]),
        };
        // As many runs as it takes: an update that is killed five times would be given up.
        let flags = [&flags[..], &["--lease-s", "2", "--max-failures", "100"]].concat();
        let mut process = perennial(command, self.dir.path(), &flags);
        if let Some(log) = std::env::var_os("PERENNIAL_CHAOS_LOG") {
            let log = File::options().create(true).append(true).open(log).unwrap();
            process.stderr(log.try_clone().unwrap()).stdout(log);
        }
        Process::start(&mut process)
    }

    /// So many kills, of any process and of the database under them.
    async fn suffer(&mut self, kills: u64, random: &mut Xoshiro256PlusPlus) {
        for _ in 0..kills {
            // Every other kill or so meets what has not got over the one before.
            if random.gen_bool(0.5) {
                self.ready().await;
            }
            pause(random.gen_range(100..1500)).await;
            match random.gen_range(0..=self.processes.len()) {
                victim if victim < self.processes.len() => self.kill(victim).await,
                _ => self.kill_postmaster(),
            }
        }
    }

    /// Kills a process without a word, and starts it again.
    async fn kill(&mut self, victim: usize) {
        self.processes[victim] = None;
        pause(100).await;
        self.processes[victim] = Some(self.spawn(victim));
    }

    /// Kills the database, which is started again by its owner.
    fn kill_postmaster(&self) {
        // Not there while it starts anew after the last kill.
        if let Some(pid) = self.postmaster() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        let file = std::fs::read_to_string(self.dir.path().join("postgres/postmaster.pid")).ok()?;
        Some(Pid::from_raw(file.lines().next()?.parse().ok()?))
    }

    /// The files of versions are there, and whatever else lies among them goes: what no version names, what was
    /// never written to its end.
    async fn check_checkpoints(&self, api: &Api) {
        let mut named = BTreeSet::new();
        for model in MODELS {
            for version in all(api, &format!("/v1/models/{model}/versions")).await {
                let sha256 = version["checkpoint"]["sha256"].as_str().unwrap();
                named.insert(format!("{sha256}.safetensors"));
            }
        }
        // Files may be a day old before they go, but for a worker that is told otherwise.
        let sweeps = ["--orphan-age-s", "0"];
        let _worker = Process::start(&mut perennial("worker", self.dir.path(), &sweeps));
        let began = Instant::now();
        loop {
            let kept: BTreeSet<String> =
                files_below(&self.dir.path().join("checkpoints")).into_iter().collect();
            assert!(kept.is_superset(&named), "checkpoints of versions are gone");
            if kept == named {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "files that no version names: {kept:?}");
            pause(200).await;
        }
    }

    /// Stops everything, and checks that no process, no socket, no body of a request, no snapshot is left.
    fn check_nothing_is_left(mut self) {
        for process in self.processes.drain(..).flatten() {
            assert!(process.stop().success());
        }
        let left = processes_that_name(self.dir.path());
        assert!(left.is_empty(), "still running: {left:?}");
        let of_database = |name: &String| name.starts_with(".s.PGSQL") || name == "postmaster.pid";
        let left: Vec<String> =
            files_below(self.dir.path()).into_iter().filter(of_database).collect();
        assert!(left.is_empty(), "sockets and locks: {left:?}");
        assert_eq!(files(&self.dir.path().join("spool")), Vec::<PathBuf>::new());
        assert_eq!(snapshots(self.dir.path()), 0, "snapshots of trainings that ended");
    }
}

/// The command lines of running processes that name a path.
fn processes_that_name(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(path.to_str().unwrap()) {
            found.push(command);
        }
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).map_or_else(|_| vec![], |dir| dir.flatten().map(|f| f.path()).collect())
}

/// Sends batch after batch, by turns to all that answer, each until one of them has accepted it.
async fn send_all_the_time(seen: Arc<Seen>, model: &'static str, number: u64) {
    for round in 0.. {
        let mut apis = seen.apis.lock().unwrap().clone();
        let first = round as usize % apis.len();
        apis.rotate_left(first);
        let accepted = send(&apis, model, round, PER_LABEL, number << 32 | round).await;
        *seen.accepted.lock().unwrap().entry(model).or_default() += accepted;
        if seen.is_over() {
            return;
        }
        pause(100).await;
    }
}

/// Asks one process for predictions all the time: an answer is of no older version than the one before.
async fn predict_all_the_time(api: Api, seen: Arc<Seen>, model: &'static str) {
    let path = format!("/v1/models/{model}/predict");
    let inputs = json!({"inputs": [vec![0.5; DIM]]});
    let mut newest = 0;
    while !seen.is_over() {
        let how = match api.request(Method::POST, &path).json(&inputs).send().await {
            Ok(answer) if answer.status() == 200 => {
                if let Ok(answer) = answer.json::<Value>().await {
                    let version = answer["version"].as_u64().unwrap();
                    assert!(version >= newest, "{model} went back from {newest} to {version}");
                    newest = version;
                }
                "200".to_owned()
            }
            Ok(answer) => {
                // No version yet, or the service cannot know.
                let status = answer.status();
                assert!(matches!(status.as_u16(), 409 | 503), "{answer:?}");
                status.as_str().to_owned()
            }
            Err(_) => "broken off".to_owned(),
        };
        *seen.predictions.lock().unwrap().entry(how).or_default() += 1;
        pause(5).await;
    }
}
