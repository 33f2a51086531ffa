//! What fails under the service: the database, its notices, the object store, the disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Api, Database, TestService, blobs, readable_dir};
use super::updates::update_in_training;

/// A model with a version.
async fn learnt(api: &Api, model: &str) {
    api.create_model(model, 4).await;
    api.send_samples(model, &blobs(&["a", "b"], 40, 4, 1)).await;
    assert_eq!(api.update(model).await["outcome"], "published");
}

/// The version that answers predictions.
async fn answers(api: &Api, model: &str) -> Value {
    let inputs = json!({"inputs": [[0.0, 0.0, 0.0, 0.0]]});
    api.post(&format!("/v1/models/{model}/predict"), inputs).await.expect(200)["version"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_still_answers_what_reads() {
    let service = TestService::start().await;
    let api = &service.api;
    learnt(api, "m").await;
    service.database.alter("SET default_transaction_read_only = on").await;
    assert_eq!(answers(api, "m").await, 1);
    api.get("/v1/models/m").await.expect(200);
    let batch = json!({"samples": [{"input": [1, 2, 3, 4], "label": "a"}]});
    let refused = api.post("/v1/models/m/batches", batch.clone()).await;
    assert_eq!(refused.header("retry-after"), "5");
    refused.problem(503);
    service.database.alter("RESET default_transaction_read_only").await;
    api.post("/v1/models/m/batches", batch).await.expect(202);
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["pending_samples"]), (&json!(81), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_user_that_owns_one_schema_is_enough_and_may_run_out_of_connections() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let (server, name) = database.url.rsplit_once('/').unwrap();
    let role = format!("only_{name}");
    for statement in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("CREATE SCHEMA corner AUTHORIZATION {role}"),
        "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("REVOKE CREATE ON DATABASE {name} FROM PUBLIC"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    let (_, place) = server.split_once('@').unwrap();
    let url = format!("postgres://{role}@{place}/{name}?options=-csearch_path%3Dcorner");
    let service = TestService::start_on(Database { url }, readable_dir(), &[]).await;
    let api = &service.api;
    learnt(api, "m").await;
    let elsewhere: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_tables WHERE tableowner = $1 AND schemaname <> 'corner'",
    )
    .bind(&role)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(elsewhere, 0);
    assert_eq!(answers(api, "m").await, 1);

    let limit = async |n: i32| {
        let alter = format!("ALTER ROLE {role} CONNECTION LIMIT {n}");
        sqlx::query(sqlx::AssertSqlSafe(alter)).execute(&pool).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        sqlx::query(end).bind(&role).execute(&pool).await.unwrap();
    };
    limit(0).await;
    api.get("/v1/models/m").await.problem(503);
    assert_eq!(answers(api, "m").await, 1);
    limit(-1).await;
    api.get("/v1/models/m").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_notices_hears_of_what_it_missed() {
    let first = TestService::start().await;
    learnt(&first.api, "m").await;
    first.api.send_samples("m", &blobs(&["c"], 40, 4, 2)).await;
    first.api.update("m").await;
    let shared = Database { url: first.database.url.clone() };
    let dir = first.dir.path().join("checkpoints");
    let store = format!("file://{}", dir.to_str().unwrap());
    let flags = ["--no-worker", "--checkpoint-url", &store];
    let second = TestService::start_on(shared, readable_dir(), &flags).await;
    assert_eq!(answers(&second.api, "m").await, 2);
    let pool = first.database.pool().await;
    let deafen = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let deaf: i64 = sqlx::query_scalar(deafen).fetch_one(&pool).await.unwrap();
    assert_eq!(deaf, 2, "each process listens by one connection");
    first.api.put("/v1/models/m/aliases/live", json!({"version": 1})).await.expect(200);
    for _ in 0..150 {
        if answers(&second.api, "m").await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the other process goes on answering by version 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_uses_up_no_tries_holds_no_other_model_back_and_is_waited_for() {
    let service = TestService::start_with(&["--max-failures", "1"]).await;
    let api = &service.api;
    api.create_model("waiting", 4).await;
    api.create_model("sound", 4).await;
    // Where the first model's checkpoints belong there is a file: none can be written.
    let models = service.dir.path().join("checkpoints/models");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(models.join("1"), "").unwrap();
    for model in ["waiting", "sound"] {
        api.send_samples(model, &blobs(&["a", "b"], 40, 4, 1)).await;
    }
    let waiting = api.post("/v1/models/waiting/updates", json!({})).await.expect(202);
    assert_eq!(api.update("sound").await["outcome"], "published");
    let id = waiting["id"].as_str().unwrap();
    let update = async || api.get(&format!("/v1/updates/{id}")).await.expect(200);
    // More runs than may fail.
    let tried = loop {
        let now = update().await;
        assert_eq!(now["finished_at"], Value::Null, "{now}");
        if now["attempt"].as_u64().unwrap() >= 2 && now["status"] == "queued" {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let why = tried["error"]["detail"].as_str().unwrap();
    assert!(why.contains("object store") && !why.contains('/'), "{why}");
    assert_eq!(api.get("/v1/models/waiting").await.expect(200)["pending_samples"], 80);

    std::fs::remove_file(models.join("1")).unwrap();
    let done = api.wait(id).await;
    assert_eq!((&done["outcome"], &done["error"]), (&json!("published"), &Value::Null), "{done}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_while_an_update_trains_costs_it_no_try() {
    let service = TestService::start_with(&["--max-failures", "1"]).await;
    let api = &service.api;
    api.create_model("m", 4).await;
    let id = update_in_training(api, "m", 1000, &blobs(&["a", "b"], 1000, 4, 1)).await;
    service.database.allow_connections(false).await;
    // Longer than anybody waits for a connection.
    tokio::time::sleep(Duration::from_secs(8)).await;
    service.database.allow_connections(true).await;
    let done = api.wait(&id).await;
    assert_eq!((&done["outcome"], &done["version"]), (&json!("published"), &json!(1)), "{done}");
    assert_eq!(done["error"], Value::Null);
    service.stop().await;
}

/// A small file system of its own; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Takes all room that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_large_batches_fails_updates_in_words_and_loses_nothing() {
    let dir = readable_dir();
    let Some(disk) = SmallDisk::mount(&dir.path().join("data")) else {
        println!("SKIPPED: only root may mount a small disk to fill");
        return;
    };
    let data_dir = disk.0.to_str().unwrap().to_owned();
    let args = super::support::serve_args(&Database::create().await.url, Path::new(&data_dir), &[]);
    let service = perennial::app::Service::start(&args.settings, true, true).await.unwrap();
    let api = Api::new(format!("http://{}", service.address.unwrap()));
    learnt(&api, "m").await;
    disk.fill();
    assert_eq!(answers(&api, "m").await, 1);
    // Too large for memory, so it would have to wait on the disk.
    let line = format!("{}\n", json!({"input": [1, 2, 3, 4], "label": "a"}));
    let large = line.repeat((4 << 20) / line.len());
    let refused = api.post_text("/v1/models/m/batches", "application/x-ndjson", large).await;
    refused.problem(503);
    api.send_samples("m", &blobs(&["c"], 40, 4, 2)).await;
    let update = api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let id = update["id"].as_str().unwrap();
    let failing = loop {
        let now = api.get(&format!("/v1/updates/{id}")).await.expect(200);
        if !now["error"].is_null() {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(failing["version"], Value::Null, "{failing}");
    assert_eq!(answers(&api, "m").await, 1);
    disk.make_room();
    assert_eq!(api.wait(id).await["version"], 2);
    assert_eq!(answers(&api, "m").await, 2);
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["pending_samples"]), (&json!(120), &json!(0)));
    service.stop().await;
}
