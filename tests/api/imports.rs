//! Models that begin with weights of PyTorch, or with another model's version. The files were written by
//! tests/import/pytorch.py.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::support::{Answer, Api, TestService, blobs};

pub const READER: &[u8] = include_bytes!("../import/reader.safetensors");
const VIEWER: &[u8] = include_bytes!("../import/viewer.safetensors");
const GLANCER: &[u8] = include_bytes!("../import/glancer.safetensors");

pub async fn import(api: &Api, model: &str, file: &[u8]) -> Answer {
    let request = api.request(Method::PUT, &format!("/v1/models/{model}/versions/import"));
    let request = request.header("content-type", "application/octet-stream");
    api.send(request.body(file.to_vec())).await
}

pub async fn create(api: &Api, name: &str) {
    let image =
        |width, height| json!({"kind": "image", "width": width, "height": height, "channels": 3});
    let (input, network) = match name {
        "reader" => {
            (json!({"kind": "tabular", "dim": 5}), json!({"kind": "mlp", "hidden": [8, 6]}))
        }
        "glancer" => (image(9, 8), json!({"kind": "mlp", "hidden": [6]})),
        _ => (image(13, 9), json!({"kind": "cnn", "channels": [4, 16], "hidden": [10]})),
    };
    let model =
        json!({"name": name, "input": input, "network": network, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
}

/// Checks that `model` answers as PyTorch did.
async fn check_answers(api: &Api, model: &str, answers: &str) {
    let expected: Value = serde_json::from_str(answers).unwrap();
    let question = json!({"inputs": expected["inputs"], "top_k": 3});
    let answer = api.post(&format!("/v1/models/{model}/predict"), question).await.expect(200);
    let rows = expected["probabilities"].as_array().unwrap();
    for (prediction, row) in answer["predictions"].as_array().unwrap().iter().zip(rows) {
        for scored in prediction["top"].as_array().unwrap() {
            let place = ["cat", "dog", "owl"].iter().position(|&label| scored["label"] == label);
            let theirs = row[place.unwrap()].as_f64().unwrap();
            let ours = scored["probability"].as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-4, "{model}: {ours} {theirs}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_pytorch_answer_as_they_did_there_and_go_on_learning() {
    let service = TestService::start().await;
    let api = &service.api;
    for (model, file, answers) in [
        ("reader", READER, include_str!("../import/reader.json")),
        ("viewer", VIEWER, include_str!("../import/viewer.json")),
        ("glancer", GLANCER, include_str!("../import/glancer.json")),
    ] {
        create(api, model).await;
        let version = import(api, model, file).await.expect(201);
        assert_eq!((&version["version"], &version["origin"]), (&json!(1), &json!("imported")));
        assert_eq!(version["update"], json!(null));
        assert_eq!(version["labels"], json!(["cat", "dog", "owl"]));
        check_answers(api, model, answers).await;
        import(api, model, file).await.problem(409);
        let entry = api.get("/v1/audit").await.expect(200)["items"][0].clone();
        let told = (&entry["action"], &entry["model"], &entry["detail"]);
        assert_eq!(told, (&json!("version_imported"), &json!(model), &json!({"version": 1})));
    }
    let view = api.get("/v1/models/reader").await.expect(200);
    assert_eq!((&view["live_version"], &view["labels"][2]), (&json!(1), &json!("owl")));

    api.send_samples("reader", &blobs(&["cat", "yak"], 100, 5, 1)).await;
    let update = api.update("reader").await;
    assert_eq!(update["report"]["new_labels"], json!(["yak"]));
    let second = api.get("/v1/models/reader/versions/2").await.expect(200);
    assert_eq!((&second["parent"], &second["origin"]), (&json!(1), &json!("update")));
    assert_eq!(second["labels"], json!(["cat", "dog", "owl", "yak"]));
    service.stop().await;
}

type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The reader's file with `change`s to its tensors and its manifest.
fn changed(change: impl FnOnce(&mut Tensors, &mut Value)) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(READER).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let mut manifest: Value = serde_json::from_str(&metadata["manifest"]).unwrap();
    let file = SafeTensors::deserialize(READER).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors, &mut manifest);
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("manifest".to_owned(), manifest.to_string())]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_named_and_changes_nothing() {
    let service = TestService::start_with(&["--max-body-bytes", "100000"]).await;
    let api = &service.api;
    create(api, "reader").await;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (changed(|tensors, _| drop(tensors.remove("2.bias"))), "/2.bias"),
        (changed(|tensors, _| tensors.get_mut("2.weight").unwrap().1 = vec![8, 6]), "/2.weight"),
        (
            changed(|tensors, _| {
                let far_too_many = (Dtype::F32, vec![8, 2_000], vec![0; 64_000]);
                tensors.insert("0.weight".to_owned(), far_too_many);
            }),
            "/0.weight",
        ),
        (
            changed(|tensors, _| {
                let bytes = &mut tensors.get_mut("4.weight").unwrap().2;
                bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            "/4.weight",
        ),
        (
            changed(|tensors, _| {
                let (dtype, shape, bytes) = tensors.get_mut("0.bias").unwrap();
                (*dtype, *bytes) = (Dtype::F16, vec![0; 2 * shape[0]]);
            }),
            "/0.bias",
        ),
        (
            changed(|tensors, _| {
                tensors.insert("0.scale".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
            }),
            "/0.scale",
        ),
        (
            changed(|tensors, _| {
                let bias = tensors["0.bias"].clone();
                tensors.insert("9.bias".to_owned(), bias);
            }),
            "/manifest/layers",
        ),
        (changed(|_, manifest| manifest["labels"] = json!(["a", "a", "b"])), "/manifest/labels/1"),
        (changed(|_, manifest| manifest["labels"] = json!(["a", "b"])), "/4.weight"),
        (changed(|_, manifest| manifest["mean"] = json!([0.0])), "/manifest/mean"),
        (changed(|_, manifest| manifest["deviation"][2] = json!(0.0)), "/manifest/deviation/2"),
        (changed(|_, manifest| manifest["colour"] = json!(1)), "/manifest"),
        (VIEWER.to_vec(), "/manifest/layers"),
        (READER[..READER.len() - 1].to_vec(), "/manifest"),
        (b"no safetensors".to_vec(), "/manifest"),
        (vec![], "/manifest"),
    ];
    for (file, pointer) in cases {
        let problem = import(api, "reader", &file).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let request = api.request(Method::PUT, "/v1/models/reader/versions/import");
    api.send(request.body(READER)).await.problem(415);
    import(api, "nothing", READER).await.problem(404);
    import(api, "reader", &[0; 100_001]).await.problem(413);
    let text = json!({"name": "texts", "input": {"kind": "text"}});
    api.post("/v1/models", text).await.expect(201);
    import(api, "texts", READER).await.problem(422);
    let sums = json!({"name": "sums", "input": {"kind": "tabular", "dim": 5},
        "network": {"kind": "mlp", "hidden": [8, 6]}, "learning": {"strategy": "analytic"}});
    api.post("/v1/models", sums).await.expect(201);
    import(api, "sums", READER).await.problem(422);
    assert_eq!(api.get("/v1/models/reader").await.expect(200)["live_version"], json!(null));
    import(api, "reader", READER).await.expect(201);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_diverges_fails_with_its_reason_and_its_parent_answers_on() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "reader").await;
    // Whatever has a first number over 0 is beyond the finite ones in the second layer.
    let overflows = changed(|tensors, manifest| {
        tensors.values_mut().for_each(|(_, _, bytes)| bytes.fill(0));
        let mut set = |name: &str, place: usize, number: f32| {
            let bytes = &mut tensors.get_mut(name).unwrap().2;
            bytes[4 * place..][..4].copy_from_slice(&number.to_le_bytes());
        };
        set("0.weight", 0, 1e30);
        set("2.weight", 0, 1e30);
        set("4.weight", 0, 1.0);
        set("4.bias", 1, 1.0);
        (manifest["mean"], manifest["deviation"]) = (vec![0.0; 5].into(), vec![1.0; 5].into());
    });
    import(api, "reader", &overflows).await.expect(201);
    let asked = [[-1.0, 0.0, 0.0, 0.0, 0.0]];
    assert_eq!(api.labels("reader", &asked).await, ["dog"]);

    let sample = |index: usize| {
        (vec![1.0 + index as f32 * 0.01, 0.0, 0.0, 0.0, 0.0], ["cat", "dog"][index % 2])
    };
    api.send_samples("reader", &(0..60).map(sample).collect::<Vec<_>>()).await;
    api.patch("/v1/models/reader", json!({"learning": {"learning_rate": 0.5}})).await.expect(200);
    let failed = api.update("reader").await;
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(1)), "{failed}");
    assert_eq!((&failed["version"], &failed["outcome"]), (&Value::Null, &Value::Null));
    let why = failed["error"]["detail"].as_str().unwrap();
    // A tenth: what is told is the second attempt.
    assert!(why.contains("training diverged") && why.ends_with("rate of 0.05"), "{why}");
    let model = api.get("/v1/models/reader").await.expect(200);
    assert_eq!((&model["live_version"], &model["pending_samples"]), (&json!(1), &json!(60)));
    assert_eq!(api.labels("reader", &asked).await, ["dog"]);
    api.get("/v1/models/reader/versions/2").await.problem(404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_begin_with_anothers_version() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "reader").await;
    let base = json!({"model": "reader", "version": 1});
    let new = |name: &str| json!({"name": name, "base": base, "schedule": {"paused": true}});
    let problem = api.post("/v1/models", new("early")).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/base/version");
    import(api, "reader", READER).await.expect(201);

    let made = api.post("/v1/models", new("readers-child")).await.expect(201);
    assert_eq!(made["live_version"], 1);
    assert_eq!(made["labels"], json!(["cat", "dog", "owl"]));
    assert_eq!(made["network"], json!({"kind": "mlp", "hidden": [8, 6]}));
    check_answers(api, "readers-child", include_str!("../import/reader.json")).await;
    let version = api.get("/v1/models/readers-child/versions/1").await.expect(200);
    assert_eq!(version["origin"], "copied");
    create(api, "viewer").await;
    import(api, "viewer", VIEWER).await.expect(201);
    let images = json!({"name": "viewers-child", "base": {"model": "viewer", "version": 1}});
    let made = api.post("/v1/models", images).await.expect(201);
    assert_eq!(made["network"]["channels"], json!([4, 16]));
    check_answers(api, "viewers-child", include_str!("../import/viewer.json")).await;

    // It goes on by itself, and outlives what it came from.
    assert_eq!(api.delete("/v1/models/reader").await.status, 204);
    api.send_samples("readers-child", &blobs(&["yak", "emu"], 100, 5, 1)).await;
    assert_eq!(api.update("readers-child").await["report"]["new_labels"], json!(["emu", "yak"]));

    let mut other = new("other");
    other["base"]["model"] = json!("readers-child");
    other["network"] = json!({"hidden": [9]});
    let problem = api.post("/v1/models", other.clone()).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/network");
    other["network"] = json!({"hidden": [8, 6]});
    other["base"]["model"] = json!("nothing");
    let problem = api.post("/v1/models", other).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/base/model");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_begin_with_anothers_layers_and_labels_of_its_own() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "reader").await;
    import(api, "reader", READER).await.expect(201);
    let base = json!({"model": "reader", "version": 1, "head": "replace"});
    let new = json!({"name": "animals", "base": base, "schedule": {"paused": true},
        "learning": {"frozen_layers": 2}});
    let made = api.post("/v1/models", new).await.expect(201);
    assert_eq!((&made["live_version"], &made["labels"]), (&json!(null), &json!([])));
    // It outlives what it came from, and a sweep of what nothing names: its layers are no version's yet.
    assert_eq!(api.delete("/v1/models/reader").await.status, 204);
    let (database, dir) = service.stop().await;
    let orphan = dir.path().join("checkpoints/models/4711/0123.safetensors");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "x").unwrap();
    let service = TestService::start_on(database, dir, &["--orphan-age-s", "0"]).await;
    let (api, began) = (&service.api, Instant::now());
    while orphan.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    api.send_samples("animals", &blobs(&["yak", "emu"], 100, 5, 1)).await;
    assert_eq!(api.update("animals").await["version"], 1);
    let version = api.get("/v1/models/animals/versions/1").await.expect(200);
    assert_eq!(version["labels"], json!(["emu", "yak"]), "none of the base's");

    // Its second layer, which no normaliser changes, is PyTorch's.
    let url = format!("{}/v1/models/animals/versions/1/checkpoint", api.address);
    let file = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let ours = tensors.tensor("layers.1.bias").unwrap().data().to_vec();
    let theirs =
        SafeTensors::deserialize(READER).unwrap().tensor("2.bias").unwrap().data().to_vec();
    assert_eq!(ours, theirs);
    assert_eq!(api.delete("/v1/models/animals").await.status, 204);
    service.stop().await;
}
