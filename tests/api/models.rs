//! Models: what may be created, changed and deleted, and what is refused with which words.

use serde_json::{Value, json};

use crate::support::{TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_lives_from_its_creation_to_its_deletion() {
    let service = TestService::start().await;
    let api = &service.api;
    let features =
        json!([{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]);
    let model = json!({"name": "shop", "input": {"kind": "tabular", "features": features}});
    let created = api.post("/v1/models", model.clone()).await.expect(201);
    assert_eq!(created["name"], "shop");
    assert_eq!(created["network"], json!({"kind": "mlp", "hidden": [256, 256]}));
    assert_eq!(
        created["schedule"],
        json!({"min_samples": 500, "max_delay_s": 60, "paused": false})
    );
    assert_eq!(
        created["gate"],
        json!({"min_accuracy": null, "max_drop": 0.02, "max_forgetting": 0.1, "max_class_drop": 0.2, "rollback": null})
    );
    assert_eq!((&created["live_version"], &created["samples"]), (&Value::Null, &json!(0)));

    api.post("/v1/models", model).await.problem(409);
    assert_eq!(api.get("/v1/models/shop").await.expect(200), created);
    let change = json!({"gate": {"max_drop": 0.1}, "schedule": {"min_samples": 7}});
    let changed = api.patch("/v1/models/shop", change).await.expect(200);
    assert_eq!(
        changed["gate"],
        json!({"min_accuracy": null, "max_drop": 0.1, "max_forgetting": 0.1, "max_class_drop": 0.2, "rollback": null})
    );
    assert_eq!(changed["schedule"]["min_samples"], 7);
    assert_eq!(api.delete("/v1/models/shop").await.status, 204);
    api.get("/v1/models/shop").await.problem(404);
    api.delete("/v1/models/shop").await.problem(404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_right_is_refused_with_a_pointer() {
    let service = TestService::start().await;
    let api = &service.api;
    let input = json!({"kind": "tabular", "dim": 2});
    let cases = [
        (json!({"name": "Bad Name", "input": input}), "/name"),
        (json!({"name": "a", "input": {"kind": "tabular", "dim": 0}}), "/input/dim"),
        (json!({"name": "a", "input": {"kind": "tabular"}}), "/input"),
        (json!({"name": "a", "input": {"kind": "text", "dim": 2}}), "/input/dim"),
        (
            json!({"name": "a", "input": {"kind": "text"}, "network": {"kind": "mlp"}}),
            "/network/kind",
        ),
        (
            json!({"name": "a", "input": {"kind": "image", "width": 2, "height": 2, "channels": 1}}),
            "/input/width",
        ),
        (json!({"name": "a", "input": input, "colour": 1}), "/colour"),
        (json!({"name": "a", "input": input, "gate": {"max_drop": 2}}), "/gate/max_drop"),
        (
            json!({"name": "a", "input": input, "network": {"kind": "mlp", "hidden": [0]}}),
            "/network/hidden/0",
        ),
        (
            json!({"name": "a", "input": input, "network": {"kind": "moe", "experts": 65}}),
            "/network/experts",
        ),
        (json!({"name": "a", "input": input, "learning": {"epochs": "x"}}), "/learning/epochs"),
        (json!({"name": 7, "input": input}), "/name"),
    ];
    for (model, pointer) in cases {
        let problem = api.post("/v1/models", model.clone()).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{model}: {problem}");
    }
    let broken =
        api.post_text("/v1/models", "application/json", "{\n \"name\": }").await.problem(400);
    assert!(broken["detail"].as_str().unwrap().contains("line 2"), "{broken}");
    api.post_text("/v1/models", "text/plain", "{}").await.problem(415);
    assert_eq!(api.get("/v1/models").await.expect(200)["items"], json!([]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_pages_and_every_item_comes_once() {
    let service = TestService::start().await;
    let api = &service.api;
    for number in 0..5 {
        api.create_model(&format!("m{number}"), 2).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/models?limit=2".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|model| model["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/models?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["m4", "m3", "m2", "m1", "m0"]);
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=%20", "colour=1"] {
        api.get(&format!("/v1/models?{bad}")).await.problem(422);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_model_takes_everything_along() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("gone", 8).await;
    api.send_samples("gone", &blobs(&["a", "b"], 60, 8, 1)).await;
    let update = api.update("gone").await;
    assert_eq!(api.delete("/v1/models/gone").await.status, 204);
    api.get(&format!("/v1/updates/{}", update["id"].as_str().unwrap())).await.problem(404);
    api.post("/v1/models/gone/predict", json!({"inputs": [vec![0.0; 8]]})).await.problem(404);
    let pool = service.database.pool().await;
    let rows: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM samples) + (SELECT count(*) FROM blocks)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(rows, 0);
    let left = walk(&service.dir.path().join("checkpoints"));
    assert!(left.is_empty(), "{left:?}");

    // The name is free again, and knows nothing of its former life.
    let again = api.create_model("gone", 2).await;
    assert_eq!((&again["live_version"], &again["labels"]), (&Value::Null, &json!([])));
    service.stop().await;
}

/// All files below a directory.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
