//! Three processes on one database, killed and paused again and again: every accepted sample is
//! stored once and learnt, every update succeeds, and every version is published once.
//!
//! One trial by default; `PERENNIAL_KILL_TRIALS=10 cargo test --test kills` runs ten, each with a
//! seed of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::slice::from_ref;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use sqlx::PgPool;
use support::process::{Process, Signal, free_address, perennial, ready};
use support::trial::{PATIENCE, all_ended, check_versions, create_model, pause, send};
use support::{Api, Database, readable_dir};
use tempfile::TempDir;
use tokio::task::JoinSet;

const MODELS: [&str; 4] = ["m0", "m1", "m2", "m3"];
const KILLS: u64 = 4;
/// Samples of each of two labels in one batch.
const PER_LABEL: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_nothing_is_lost_and_nothing_is_done_twice() {
    let trials = std::env::var("PERENNIAL_KILL_TRIALS").map_or(1, |text| text.parse().unwrap());
    for seed in 0..trials {
        trial(seed).await;
    }
}

/// As many rounds as kills: each sends a batch to every model and kills one process meanwhile.
async fn trial(seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut cluster = Cluster::start().await;
    for model in MODELS {
        create_model(&cluster.api, model, &[64], 60).await;
    }
    for round in 0..KILLS {
        let mut sending = JoinSet::new();
        for (number, model) in MODELS.into_iter().enumerate() {
            let api = cluster.api.clone();
            let seed = seed << 32 | round << 8 | number as u64;
            sending.spawn(async move { send(&[api], model, round, PER_LABEL, seed).await });
        }
        let victim = random.gen_range(0..cluster.processes.len());
        // The one that answers dies while it takes batches in, a worker while all are at work.
        if victim > 0 {
            cluster.all_at_work().await;
        }
        pause(random.gen_range(0..200)).await;
        cluster.processes[victim] = None;
        pause(random.gen_range(0..500)).await;
        cluster.processes[victim] = Some(cluster.spawn(victim));
        while let Some(sent) = sending.join_next().await {
            sent.unwrap();
        }
    }
    let updates = all_ended(&cluster.address).await;
    let runs: u64 = updates.iter().map(|update| update["attempt"].as_u64().unwrap()).sum();
    println!("trial {seed}: {} updates in {runs} runs", updates.len());
    assert!(runs > updates.len() as u64, "no kill met a running update: the trial shows nothing");
    check_samples(&cluster.pool).await;
    check_versions(&cluster.api, &MODELS, &updates).await;
}

/// One process that answers, then two that work, on one database and one directory.
struct Cluster {
    processes: Vec<Option<Process>>,
    api: Api,
    pool: PgPool,
    database: Database,
    address: String,
    dir: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (database, dir, address) = (Database::create().await, readable_dir(), free_address());
        let (api, pool) = (Api::new(format!("http://{address}")), database.pool().await);
        let mut cluster = Self { processes: vec![], api, pool, database, address, dir };
        cluster.processes = (0..3).map(|number| Some(cluster.spawn(number))).collect();
        ready(&cluster.address).await;
        cluster
    }

    fn spawn(&self, number: usize) -> Process {
        let mut flags = vec!["--database-url", &self.database.url, "--lease-s", "2"];
        let command = if number == 0 { "serve" } else { "worker" };
        if number == 0 {
            flags.extend(["--listen", &self.address, "--no-worker"]);
        }
        Process::start(&mut perennial(command, self.dir.path(), &flags))
    }

    /// Until two updates run: one for each worker.
    async fn all_at_work(&self) {
        let running =
            "SELECT count(*) FROM updates WHERE status = 'running' AND leased_until > now()";
        let began = Instant::now();
        loop {
            let count: i64 = sqlx::query_scalar(running).fetch_one(&self.pool).await.unwrap();
            if count == 2 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{count} updates run, with work for two workers");
            pause(5).await;
        }
    }
}

/// Every accepted sample is there once, and a version has learnt it.
async fn check_samples(pool: &PgPool) {
    let sent = (PER_LABEL * 2) as i64 * KILLS as i64;
    let counted: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT m.name, count(*), count(DISTINCT s.hash), count(v.version)
         FROM models m JOIN samples s ON s.model_id = m.id
         LEFT JOIN versions v
             ON v.model_id = m.id AND v.version = s.version AND v.status = 'published'
         GROUP BY m.name ORDER BY m.name",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let expected = MODELS.map(|model| (model.to_owned(), sent, sent, sent));
    assert_eq!(counted, expected, "model, stored, distinct, learnt");
    let batches: i64 =
        sqlx::query_scalar("SELECT count(*) FROM batches").fetch_one(pool).await.unwrap();
    assert_eq!(batches, MODELS.len() as i64 * KILLS as i64, "batches");
}

/// What a lease cannot rule out: for a moment two workers run the same update, since one that does
/// not get to run cannot notice that its time is over. It publishes nothing and goes on working.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_paused_past_its_lease_finds_its_update_taken_over_and_publishes_nothing() {
    let (database, dir, address) = (Database::create().await, readable_dir(), free_address());
    let on_database = ["--database-url", &database.url, "--lease-s", "2"];
    let flags = [&on_database[..], &["--listen", &address, "--no-worker"]].concat();
    let _service = Process::start(&mut perennial("serve", dir.path(), &flags));
    let api = ready(&address).await;
    let log = dir.path().join("paused.log");
    let mut paused = perennial("worker", dir.path(), &on_database);
    let paused = Process::start(paused.stderr(std::fs::File::create(&log).unwrap()));

    // It trains for about as long as a lease.
    create_model(&api, "m", &[128, 128], 1000).await;
    let update = send_and_update(&api).await;
    running(&api, &update, 1).await;
    paused.signal(Signal::SIGSTOP);
    let other = Process::start(&mut perennial("worker", dir.path(), &on_database));
    running(&api, &update, 2).await;
    paused.signal(Signal::SIGCONT);

    let done = api.wait(&update).await;
    assert_eq!(
        (&done["outcome"], &done["version"], &done["attempt"]),
        (&json!("published"), &json!(1), &json!(2)),
        "{done}"
    );
    let versions = api.get("/v1/models/m/versions").await.expect(200);
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(1));
    let began = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("the job is another run's") {
        assert!(began.elapsed() < PATIENCE, "the paused run did not end");
        pause(20).await;
    }
    drop(other);
    api.patch("/v1/models/m", json!({"learning": {"epochs": 5}})).await.expect(200);
    let next = send_and_update(&api).await;
    assert_eq!(api.wait(&next).await["outcome"], "published");
}

/// A batch that the model does not have yet, and the update that it asks for.
async fn send_and_update(api: &Api) -> String {
    let seed = api.get("/v1/models/m").await.expect(200)["samples"].as_u64().unwrap();
    send(from_ref(api), "m", seed, PER_LABEL, seed).await;
    let updates = api.get("/v1/models/m/updates").await.expect(200);
    updates["items"][0]["id"].as_str().unwrap().to_owned()
}

/// Until the update runs, for this time.
async fn running(api: &Api, update: &str, attempt: u64) {
    let began = Instant::now();
    loop {
        let now = api.get(&format!("/v1/updates/{update}")).await.expect(200);
        if now["attempt"] == attempt && now["status"] == "running" {
            return;
        }
        assert!(now["finished_at"].is_null(), "it ran for too short a time: {now}");
        assert!(began.elapsed() < PATIENCE, "it does not get to run: {now}");
        pause(20).await;
    }
}
