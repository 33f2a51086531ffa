//! The built binary, killed: what was accepted is learnt, what was published answers the same, and
//! an update whose worker dies between any two of its steps is done once by the next (binary/steps.rs). And what it
//! needs to start, to run and to end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "binary/steps.rs"]
mod steps;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::process::{Process, free_address, perennial, ready};
use support::{Api, Database, blobs, readable_dir, snapshots};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_comes_back_and_answers_the_same() {
    let dir = readable_dir();
    let address = free_address();
    let start = || Process::start(&mut perennial("serve", dir.path(), &["--listen", &address]));
    let inputs: Vec<Vec<f32>> =
        blobs(&["a", "b"], 5, 8, 9).into_iter().map(|(input, _)| input).collect();
    let request = json!({"inputs": inputs, "top_k": 2});

    let service = start();
    let api = ready(&address).await;
    api.create_model("m", 8).await;
    api.send_samples("m", &blobs(&["a", "b"], 200, 8, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let before = api.post("/v1/models/m/predict", request.clone()).await.expect(200);
    api.send_samples("m", &blobs(&["c"], 100, 8, 2)).await;
    drop(service);

    let service = start();
    let api = ready(&address).await;
    assert_eq!(api.post("/v1/models/m/predict", request).await.expect(200), before);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], 100);
    assert_eq!(api.update("m").await["version"], 2);

    // Told to stop, it ends by itself and with success.
    assert!(service.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_killed_and_handed_back_in_its_training_goes_on_and_ends_in_the_same_bytes() {
    let dir = readable_dir();
    let database = Database::create().await;
    let address = free_address();
    let on_database = ["--database-url", &database.url, "--lease-s", "2"];
    let flags = [&on_database[..], &["--listen", &address, "--no-worker"]].concat();
    let _service = Process::start(&mut perennial("serve", dir.path(), &flags));
    let worker = || perennial("worker", dir.path(), &on_database);
    let api = ready(&address).await;
    // Long enough that a snapshot is due in the midst of it.
    for model in ["whole", "cut"] {
        create_long_model(&api, model).await;
        api.send_samples(model, &blobs(&["a", "b"], 150, 8, 1)).await;
    }
    let request = async |model: &str| -> String {
        let queued = api.post(&format!("/v1/models/{model}/updates"), json!({})).await.expect(202);
        queued["id"].as_str().unwrap().to_owned()
    };
    let cut = request("cut").await;

    // Killed after its first snapshot; what comes then is not for this update.
    let mut doomed = worker().env("PERENNIAL_DIE_AT", "snapshot_written").spawn().unwrap();
    assert!(!doomed.wait().unwrap().success(), "the worker did not die");
    api.send_samples("cut", &blobs(&["b", "c"], 40, 8, 2)).await;

    // Told to stop in the next run; a request that comes now is for another update.
    let next = Process::start(&mut worker());
    until(&api, &cut, |update| update["attempt"] == 2 && update["progress"] != 0.0).await;
    assert!(next.stop().success());
    until(&api, &cut, |update| update["status"] == "queued").await;
    let later = request("cut").await;
    assert_ne!(later, cut);

    let _last = Process::start(&mut worker());
    let whole = api.wait(&request("whole").await).await;
    let cut = api.wait(&cut).await;
    assert_eq!(
        (&cut["attempt"], &cut["version"], &whole["attempt"]),
        (&json!(3), &json!(1), &json!(1))
    );
    let (training, whole_training) = (&cut["report"]["training"], &whole["report"]["training"]);
    assert!(training["resumed_from_epoch"].as_u64().unwrap() > 0, "{training}");
    assert_eq!(training["steps"], whole_training["steps"]);
    assert!(whole_training["resumed_from_epoch"].is_null());
    assert_eq!(cut["report"]["samples"], whole["report"]["samples"]);
    let of_cut = api.get("/v1/models/cut/versions/1").await.expect(200);
    let of_whole = api.get("/v1/models/whole/versions/1").await.expect(200);
    assert_eq!(of_cut["checkpoint"]["sha256"], of_whole["checkpoint"]["sha256"]);

    let later = api.wait(&later).await;
    assert_eq!((&later["outcome"], &later["version"]), (&json!("published"), &json!(2)));
    assert_eq!(later["report"]["samples"]["pending"], 80);
    assert_eq!(api.get("/v1/models/cut").await.expect(200)["pending_samples"], 0);
    assert_eq!(snapshots(dir.path()), 0, "an update that has ended leaves none");
}

/// A model whose updates train for some seconds.
async fn create_long_model(api: &Api, name: &str) {
    let model = json!({
        "name": name,
        "input": {"kind": "tabular", "dim": 8},
        "network": {"kind": "mlp", "hidden": [128, 128]},
        "learning": {"epochs": 1000},
        "schedule": {"paused": true},
        "gate": {"max_drop": null, "max_class_drop": null},
    });
    api.post("/v1/models", model).await.expect(201);
}

/// Until the update, which must not end meanwhile, is as it should be.
async fn until(api: &Api, id: &str, holds: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    loop {
        let update = api.get(&format!("/v1/updates/{id}")).await.expect(200);
        if holds(&update) {
            return;
        }
        assert!(update["finished_at"].is_null(), "it ended too soon: {update}");
        assert!(began.elapsed() < Duration::from_secs(60), "it is stuck: {update}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_work_and_do_nothing_twice() {
    let dir = readable_dir();
    let database = Database::create().await;
    let address = free_address();
    let on_database = ["--database-url", &database.url];
    let flags = [&on_database[..], &["--listen", &address, "--no-worker"]].concat();
    let _service = Process::start(&mut perennial("serve", dir.path(), &flags));
    let api = ready(&address).await;
    let mut updates = Vec::new();
    for number in 0..6 {
        let model = format!("m{number}");
        api.create_model(&model, 8).await;
        api.send_samples(&model, &blobs(&["a", "b"], 60, 8, 1)).await;
        let update = api.post(&format!("/v1/models/{model}/updates"), json!({})).await.expect(202);
        updates.push(update["id"].as_str().unwrap().to_owned());
    }
    let worker = || Process::start(&mut perennial("worker", dir.path(), &on_database));
    let _workers = [worker(), worker()];
    for id in &updates {
        let done: Value = api.wait(id).await;
        assert_eq!(
            (&done["outcome"], &done["version"], &done["attempt"]),
            (&json!("published"), &json!(1), &json!(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_for_its_database_and_says_so() {
    let dir = readable_dir();
    let database = Database::create().await;
    database.allow_connections(false).await;
    let address = free_address();
    let flags = ["--database-url", &database.url, "--listen", &address];
    let _service = Process::start(&mut perennial("serve", dir.path(), &flags));
    let url = format!("http://{address}");
    let api = Api::new(url.clone());
    while api.client.get(format!("{url}/healthz")).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(api.get("/readyz").await.status, 503);
    api.get("/v1/models").await.problem(503);
    database.allow_connections(true).await;
    ready(&address).await.create_model("m", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_store_stalls_can_be_stopped() {
    let dir = readable_dir();
    let address = free_address();
    let flags = ["--listen", &address, "--store-timeout-s", "1"];
    let start = || Process::start(&mut perennial("serve", dir.path(), &flags));
    let service = start();
    let api = ready(&address).await;
    api.create_model("m", 4).await;
    api.send_samples("m", &blobs(&["a", "b"], 40, 4, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let version = api.get("/v1/models/m/versions/1").await.expect(200);
    assert!(service.stop().success());

    // Opening a pipe that nobody writes to takes forever.
    let sha256 = version["checkpoint"]["sha256"].as_str().unwrap();
    let file = dir.path().join(format!("checkpoints/models/1/{sha256}.safetensors"));
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let service = start();
    let api = ready(&address).await;
    let inputs = json!({"inputs": [[0.0, 0.0, 0.0, 0.0]]});
    api.post("/v1/models/m/predict", inputs).await.problem(503);
    let stopping = tokio::task::spawn_blocking(|| service.stop());
    let stopped = tokio::time::timeout(Duration::from_secs(60), stopping).await;
    assert!(stopped.expect("it does not end").unwrap().success());
}

#[test]
fn every_demonstration_ends_well_when_it_is_to_be_shown_once() {
    // They learn what the program carries, and fail where a model does not reach what it should.
    for model in ["tabular", "text", "images"] {
        let dir = readable_dir();
        let said = dir.path().join("said");
        let output = std::fs::File::create(&said).unwrap();
        let address = free_address();
        let flags = ["--once", "--model", model, "--listen", &address];
        let mut demo = perennial("demo", dir.path(), &flags);
        let demo = demo.stderr(output.try_clone().unwrap()).stdout(output);
        let status = Process::start(demo).ends(Duration::from_secs(600));
        let said = std::fs::read_to_string(&said).unwrap();
        assert!(status.success(), "{model}: {said}");
        assert!(said.contains("on what was never sent"), "{model}: {said}");
    }
}

/// `perennial serve` as it runs in its image: as nobody, with no right to more, and with nothing to write to
/// but its data directory. `None` where this user may not set that up.
fn confined(data_dir: &Path, flags: &[&str]) -> Option<Command> {
    let mounts = "for place in / /tmp /var/tmp; do
                      mountpoint -q $place || mount --bind $place $place || exit 1
                      mount -o remount,bind,ro $place || exit 1
                  done
                  data=$1 && shift
                  mount --bind $data $data && mount -o remount,bind,rw $data";
    let unprivileged = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
                        --inh-caps=-all --bounding-set=-all";
    let in_place = |then: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            &format!("{mounts} && exec {unprivileged} {then}"),
            "sh",
        ]);
        command.arg(data_dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // Writes where it may, and nowhere else.
    let test = "sh -c 'touch $0/probe && ! touch /tmp/probe && ! touch /probe' $data";
    if !in_place(test).status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = in_place("\"$@\"");
    command.arg(env!("CARGO_BIN_EXE_perennial")).args(flags);
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_run_it_with_nothing_to_write_to_but_its_data_directory() {
    let dir = readable_dir();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    std::os::unix::fs::chown(&data_dir, Some(65534), Some(65534)).unwrap_or_default();
    let address = free_address();
    let place = data_dir.to_str().unwrap();
    // With PostgreSQL beside it, too, which shares memory as every container may.
    let flags = ["serve", "--listen", &address, "--data-dir", place];
    let Some(mut command) = confined(&data_dir, &flags) else {
        println!("SKIPPED: only root may take the right to write away");
        return;
    };
    let service = Process::start(command.env_remove("DATABASE_URL"));
    let api = ready(&address).await;
    api.create_model("m", 4).await;
    // Too large for memory: it waits on the disk.
    let line = format!("{}\n", json!({"input": [1, 2, 3, 4], "label": "a"}));
    let large = line.repeat((4 << 20) / line.len());
    api.post_text("/v1/models/m/batches", "application/x-ndjson", large).await.expect(202);
    api.send_samples("m", &blobs(&["a", "b"], 40, 4, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    assert_eq!(api.labels("m", &[[0.0; 4]]).await.len(), 1);
    assert!(service.stop().success());
}

#[test]
fn wrong_usage_exits_with_2_and_what_cannot_start_with_1() {
    let code = |process: &mut Command| process.status().unwrap().code();
    let dir = readable_dir();
    assert_eq!(
        code(Command::new(env!("CARGO_BIN_EXE_perennial")).arg("nonsense").stderr(Stdio::null())),
        Some(2)
    );
    assert_eq!(code(&mut perennial("serve", dir.path(), &["--workers", "0"])), Some(2));
    assert_eq!(code(&mut perennial("serve", dir.path(), &["--listen", "0.0.0.0:0"])), Some(1));
    assert_eq!(
        code(&mut perennial("serve", dir.path(), &["--checkpoint-url", "ftp://x"])),
        Some(1)
    );
}
