//! An object store that does not answer: whoever needs it hears so in time, and nobody else notices.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Answer, Api, TestService, blobs, readable_dir};

/// A checkpoint in whose place there is a pipe that nobody writes to: opening it takes forever.
struct Stalled {
    pipe: PathBuf,
    file: PathBuf,
    aside: PathBuf,
    _dir: TempDir,
}

impl Stalled {
    /// The only version of a model, by the place of the model.
    fn only_version_of(data_dir: &Path, model: i64) -> Self {
        let dir = data_dir.join(format!("checkpoints/models/{model}"));
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let is_checkpoint = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors");
        let file = files.into_iter().find(is_checkpoint).unwrap();
        let dir = readable_dir();
        let (pipe, aside) = (dir.path().join("pipe"), dir.path().join("aside"));
        std::fs::copy(&file, &aside).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::remove_file(&file).unwrap();
        symlink(&pipe, &file).unwrap();
        Self { pipe, file, aside, _dir: dir }
    }
}

/// The store comes back, also where the test has failed: who waits for it could not end.
impl Drop for Stalled {
    fn drop(&mut self) {
        /// `O_NONBLOCK` on Linux: without a reader there is nobody to let go.
        const AT_ONCE: i32 = 0o4000;
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::copy(&self.aside, &self.file);
        let _ = OpenOptions::new().write(true).custom_flags(AT_ONCE).open(&self.pipe);
    }
}

async fn predict(api: &Api, model: &str) -> Answer {
    let inputs = json!({"inputs": [[0.0, 0.0, 0.0, 0.0]]});
    api.post(&format!("/v1/models/{model}/predict"), inputs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_file_does_not_come_is_503_and_other_models_answer_and_learn() {
    let service = TestService::start().await;
    for model in ["stalled", "sound"] {
        service.api.create_model(model, 4).await;
        service.api.send_samples(model, &blobs(&["a", "b"], 40, 4, 1)).await;
        assert_eq!(service.api.update(model).await["outcome"], "published");
    }
    let (database, dir) = service.stop().await;
    let data_dir = dir.path().to_owned();
    let stalled = Stalled::only_version_of(&data_dir, 1);
    let flags = ["--store-timeout-s", "2", "--max-failures", "1"];
    // It starts, too.
    let service = TestService::start_on(database, dir, &flags).await;
    let api = &service.api;
    for model in ["stalled", "sound"] {
        api.send_samples(model, &blobs(&["c"], 40, 4, 2)).await;
    }
    let waiting = api.post("/v1/models/stalled/updates", json!({})).await.expect(202);
    let waiting = waiting["id"].as_str().unwrap();
    let (refused, download, learnt) = tokio::join!(
        predict(api, "stalled"),
        api.get("/v1/models/stalled/versions/1/checkpoint"),
        async {
            predict(api, "sound").await.expect(200);
            api.update("sound").await
        },
    );
    for answer in [refused, download] {
        assert_eq!(answer.header("retry-after"), "5");
        answer.problem(503);
    }
    let began = Instant::now();
    let update = loop {
        let update = api.get(&format!("/v1/updates/{waiting}")).await.expect(200);
        if !update["error"].is_null() {
            break update;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is said: {update}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(update["finished_at"], Value::Null, "it is given up: {update}");
    assert_eq!((&learnt["outcome"], &learnt["version"]), (&json!("published"), &json!(2)));
    assert_eq!(api.get("/readyz").await.status, 200);

    drop(stalled);
    let began = Instant::now();
    while predict(api, "stalled").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Without being asked again.
    assert_eq!(api.wait(waiting).await["version"], 2);
    service.stop().await;
}
