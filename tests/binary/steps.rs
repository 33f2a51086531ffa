//! Processes that die, or are held, at named points (src/fault.rs): whatever they leave is taken up once by the next, and
//! goes in the end.

use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::process::{Process, free_address, perennial, ready};
use crate::support::{Api, Database, blobs, files_below, readable_dir, snapshots};

/// Longest that anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(90);
/// A lease that is over soon.
const SHORT_LEASE: [&str; 2] = ["--lease-s", "2"];

/// A service that answers, with a database and a directory that workers come to.
struct Stand {
    api: Api,
    database: Database,
    dir: TempDir,
    _service: Process,
}

impl Stand {
    async fn start() -> Self {
        let (dir, database, address) = (readable_dir(), Database::create().await, free_address());
        let flags = ["--database-url", &database.url, "--listen", &address, "--no-worker"];
        let service = Process::start(&mut perennial("serve", dir.path(), &flags));
        let api = ready(&address).await;
        Self { api, database, dir, _service: service }
    }

    fn worker(&self, flags: &[&str]) -> Command {
        let flags = [&["--database-url", &self.database.url][..], flags].concat();
        perennial("worker", self.dir.path(), &flags)
    }

    /// A worker that comes to this point, and no further.
    async fn die_at(&self, point: &str, flags: &[&str]) {
        let mut doomed = Process::start(self.worker(flags).env("PERENNIAL_DIE_AT", point));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = doomed.ended() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "{point}: the worker did not die");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(!status.success(), "{point}: it ended in order");
    }

    /// The names of all files in the store, and of those that are the checkpoints of versions.
    async fn files(&self) -> (Vec<String>, Vec<String>) {
        let page = self.api.get("/v1/models/m/versions").await.expect(200);
        let name = |version: &Value| {
            format!("{}.safetensors", version["checkpoint"]["sha256"].as_str().unwrap())
        };
        let mut named: Vec<String> = page["items"].as_array().unwrap().iter().map(name).collect();
        named.sort();
        (files_below(&self.dir.path().join("checkpoints")), named)
    }

    /// Whatever no version names goes, with a worker that waits for nothing to become old.
    async fn nothing_stays_but_versions(&self, point: &str) {
        let _sweeper = Process::start(&mut self.worker(&["--orphan-age-s", "0"]));
        let began = Instant::now();
        loop {
            let (files, named) = self.files().await;
            if files == named {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{point}: {files:?} beside {named:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn create_model(&self) {
        self.api.create_model("m", 8).await;
        let gate = json!({"gate": {"max_drop": null, "max_class_drop": null}});
        self.api.patch("/v1/models/m", gate).await.expect(200);
    }

    async fn request(&self) -> String {
        let update = self.api.post("/v1/models/m/updates", json!({})).await.expect(202);
        update["id"].as_str().unwrap().to_owned()
    }

    /// Makes these versions.
    async fn learn(&self, versions: RangeInclusive<u64>) {
        let worker = Process::start(&mut self.worker(&[]));
        for seed in versions {
            self.api.send_samples("m", &blobs(&["a", "b"], 60, 8, seed)).await;
            assert_eq!(self.api.update("m").await["version"], seed);
        }
        assert!(worker.stop().success());
    }
}

/// All that an update passes, in order.
const STEPS: [&str; 16] = [
    "claiming",
    "claimed",
    "gathered",
    "phase_preprocess",
    "phase_select",
    "phase_train",
    "phase_compensate",
    "phase_evaluate",
    "learnt",
    "phase_publish",
    "half_written",
    "checkpoint_put",
    "checkpoint_written",
    "live_checked",
    "before_commit",
    "committed",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_at_any_step_leaves_an_update_that_is_done_once() {
    // Each waits for leases and back-offs most of its time.
    let turns = Arc::new(Semaphore::new(4));
    let mut trials = JoinSet::new();
    for step in STEPS {
        let turns = Arc::clone(&turns);
        trials.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            done_once_after(step).await;
        });
    }
    while let Some(trial) = trials.join_next().await {
        trial.unwrap();
    }
}

async fn done_once_after(step: &str) {
    let stand = Stand::start().await;
    stand.create_model().await;
    stand.api.send_samples("m", &blobs(&["a", "b"], 60, 8, 1)).await;
    let id = stand.request().await;
    stand.die_at(step, &SHORT_LEASE).await;
    let left = stand.api.get(&format!("/v1/updates/{id}")).await.expect(200);
    let expected = match step {
        "claiming" => "queued",
        "committed" => "succeeded",
        _ => "running",
    };
    assert_eq!(left["status"], expected, "{step}");

    let _next = Process::start(&mut stand.worker(&SHORT_LEASE));
    let done = stand.api.wait(&id).await;
    let published = (&json!("published"), &json!(1));
    assert_eq!((&done["outcome"], &done["version"]), published, "{step}: {done}");
    let model = stand.api.get("/v1/models/m").await.expect(200);
    let counts = (&model["live_version"], &model["pending_samples"]);
    assert_eq!(counts, (&json!(1), &json!(0)), "{step}");
    stand.nothing_stays_but_versions(step).await;
    assert_eq!(stand.files().await.1.len(), 1, "{step}: one version");
    assert_eq!(snapshots(stand.dir.path()), 0, "{step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_kills_every_worker_is_given_up_and_may_be_tried_again() {
    let stand = Stand::start().await;
    stand.create_model().await;
    stand.api.send_samples("m", &blobs(&["a", "b"], 60, 8, 1)).await;
    let id = stand.request().await;
    let flags = [&SHORT_LEASE[..], &["--max-failures", "2"]].concat();
    for _ in 0..2 {
        stand.die_at("gathered", &flags).await;
    }
    let worker = Process::start(&mut stand.worker(&flags));
    let failed = stand.api.wait(&id).await;
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(2)), "{failed}");
    let why = failed["error"]["detail"].as_str().unwrap();
    assert!(why.contains("went away without a word"), "{why}");
    assert_eq!(stand.api.get("/v1/models/m").await.expect(200)["pending_samples"], 120);

    stand.api.post(&format!("/v1/updates/{id}/retry"), json!({})).await.expect(202);
    assert_eq!(stand.api.wait(&id).await["outcome"], "published");
    assert!(worker.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_killed_half_way_leaves_files_that_go_once_they_are_old() {
    for (point, n_files) in [("retention_committed", 5), ("retention_file_removed", 4)] {
        let stand = Stand::start().await;
        stand.create_model().await;
        stand.learn(1..=5).await;
        assert_eq!(stand.files().await.0.len(), 5);
        let keep = json!({"retention": {"versions": 1}});
        stand.api.patch("/v1/models/m", keep).await.expect(200);
        stand.die_at(point, &[]).await;
        // The newest, and the one before: `live` comes from it. Their files are all there.
        let (files, named) = stand.files().await;
        assert_eq!((files.len(), named.len()), (n_files, 2), "{point}: {files:?}");
        assert!(named.iter().all(|name| files.contains(name)), "{point}");
        stand.nothing_stays_but_versions(point).await;
        assert_eq!(stand.files().await.1, named, "{point}");
        stand.learn(6..=6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_stays_where_a_client_points_it_while_a_version_is_published() {
    let stand = Stand::start().await;
    stand.create_model().await;
    stand.learn(1..=2).await;
    stand.api.send_samples("m", &blobs(&["a", "b"], 60, 8, 3)).await;
    let id = stand.request().await;

    // Publishing has seen where `live` is, and goes no further.
    let held = stand.dir.path().join("held");
    let at = format!("live_checked:{}", held.display());
    let _worker = Process::start(stand.worker(&[]).env("PERENNIAL_PAUSE_AT", at));
    let began = Instant::now();
    while !held.exists() {
        assert!(began.elapsed() < PATIENCE, "nothing is published");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let api = stand.api.clone();
    let put =
        tokio::spawn(
            async move { api.put("/v1/models/m/aliases/live", json!({"version": 1})).await },
        );
    let pool = stand.database.pool().await;
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                   WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() == 0 {
        assert!(!put.is_finished(), "live is moved under an update that publishes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(&held).unwrap();

    put.await.unwrap().expect(200);
    assert_eq!(stand.api.wait(&id).await["version"], 3);
    let model = stand.api.get("/v1/models/m").await.expect(200);
    assert_eq!(model["live_version"], 1, "the client's choice came last");
}
