//! What the service tells of itself, of its models, and of what these have answered.

use serde_json::{Value, json};

use super::{refused, teach, teach_all, tensor};
use crate::support::{TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_and_its_models_are_described() {
    let service = TestService::start().await;
    let api = &service.api;
    for path in ["/v2", "/v2/"] {
        let server = api.get(path).await.expect(200);
        assert_eq!(server["name"], "perennial");
        let extensions = json!(["binary_tensor_data", "classification", "statistics"]);
        assert_eq!(server["extensions"], extensions);
        assert!(server["version"].is_string());
    }
    assert_eq!(api.get("/v2/health/live").await.expect(200), json!({"live": true}));
    assert_eq!(api.get("/v2/health/ready").await.expect(200), json!({"ready": true}));
    assert_eq!(api.get("/v2/models").await.expect(200), json!({"models": []}));

    teach_all(api).await;
    api.create_model("empty", 3).await;
    let names = json!(["empty", "images", "rows", "texts", "vectors"]);
    assert_eq!(api.get("/v2/models").await.expect(200)["models"], names);
    let of = |name: &str, datatype: &str, shape: Value| json!({"name": name, "datatype": datatype, "shape": shape});
    for (model, inputs, n_labels) in [
        ("vectors", json!([of("input", "FP32", json!([-1, 8]))]), 3),
        ("rows", json!([of("x", "FP32", json!([-1])), of("city", "BYTES", json!([-1]))]), 2),
        ("texts", json!([of("text", "BYTES", json!([-1]))]), 2),
        ("images", json!([of("image", "FP32", json!([-1, 8, 8, 3]))]), 2),
    ] {
        for version in ["", "/versions/1"] {
            let path = format!("/v2/models/{model}{version}");
            let expected = json!({
                "name": model, "versions": ["1"], "platform": "perennial_safetensors",
                "inputs": inputs,
                "outputs": [of("probabilities", "FP32", json!([-1, n_labels])),
                            of("label", "BYTES", json!([-1]))]});
            assert_eq!(api.get(&path).await.expect(200), expected);
            let ready = api.get(&format!("{path}/ready")).await.expect(200);
            assert_eq!(ready, json!({"name": model, "ready": true}));
        }
    }
    let empty = api.get("/v2/models/empty").await.expect(200);
    assert_eq!((&empty["versions"], &empty["outputs"][0]["shape"]), (&json!([]), &json!([-1, -1])));

    let index = "/v2/repository/index";
    let all = api.post_text(index, "application/json", "").await.expect(200);
    let vectors = json!({"name": "vectors", "version": "1", "state": "READY", "reason": ""});
    assert_eq!((all.as_array().unwrap().len(), &all[4]), (5, &vectors));
    assert_eq!((&all[0]["name"], &all[0]["state"]), (&json!("empty"), &json!("UNAVAILABLE")));
    let ready = api.post(index, json!({"ready": true})).await.expect(200);
    assert_eq!(ready.as_array().unwrap().len(), 4);
    assert_eq!(api.post(index, json!({"ready": null})).await.expect(200), all);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_counted_by_version_whatever_the_protocol() {
    let service = TestService::start().await;
    let api = &service.api;
    for labels in [["a", "b"], ["b", "c"]] {
        let samples = blobs(&labels, 100, 8, 1).into_iter();
        let samples = samples.map(|(input, label)| json!({"input": input, "label": label}));
        let samples: Vec<Value> = samples.collect();
        if labels[0] == "a" {
            teach(api, "m", json!({"kind": "tabular", "dim": 8}), samples).await;
        } else {
            api.post("/v1/models/m/batches", json!({"samples": samples})).await.expect(202);
            assert_eq!(api.update("m").await["outcome"], "published");
        }
    }
    let stats =
        |path: &'static str| async move { api.get(path).await.expect(200)["model_stats"].clone() };
    let fresh = stats("/v2/models/m/stats").await;
    assert_eq!(fresh.as_array().unwrap().len(), 1, "{fresh}");
    assert_eq!((&fresh[0]["version"], &fresh[0]["inference_count"]), (&json!("2"), &json!(0)));
    assert_eq!(fresh[0]["last_inference"], 0);

    let row = json!(vec![0; 8]);
    let tensor = tensor("input", json!([3, 8]), "UINT8", json!(vec![[0; 8]; 3]));
    let answer = api.post("/v2/models/m/infer", json!({"inputs": [tensor]})).await;
    assert_eq!(answer.header("x-perennial-version"), "2");
    for (path, body) in [
        ("/v1/models/m/predict", json!({"inputs": [row, row]})),
        ("/v1/models/m:predict", json!({"instances": [row]})),
        ("/v1/models/m/aliases/live/predict", json!({"inputs": [row]})),
    ] {
        let answer = api.post(path, body).await;
        assert_eq!(answer.header("x-perennial-version"), "2", "{path} {}", answer.body);
    }
    let old = api.post("/v1/models/m/versions/1/predict", json!({"inputs": [row]})).await;
    assert_eq!(old.header("x-perennial-version"), "1");
    assert_eq!(api.post("/v2/models/m/infer", json!({"inputs": []})).await.status, 400);
    assert_eq!(api.post("/v1/models/m/predict", json!({"inputs": [[1]]})).await.status, 422);

    let counted = stats("/v2/models/m/stats").await;
    assert_eq!((&counted[0]["version"], &counted[1]["version"]), (&json!("1"), &json!("2")));
    for path in ["/v2/models/m/versions/2/stats", "/v2/models/stats"] {
        let all = stats(path).await;
        let version = all.as_array().unwrap().iter().find(|one| one["version"] == "2").unwrap();
        assert_eq!((&version["name"], *version == counted[1]), (&json!("m"), true), "{all}");
    }
    let second = &counted[1];
    assert_eq!((&second["inference_count"], &second["execution_count"]), (&json!(7), &json!(4)));
    let of = |part: &str| &second["inference_stats"][part];
    assert_eq!((&of("success")["count"], &of("fail")["count"]), (&json!(4), &json!(2)));
    for part in ["success", "fail", "compute_input", "compute_infer", "compute_output"] {
        assert!(of(part)["ns"].as_u64() > Some(0), "{part}: {second}");
    }
    let parts = ["queue", "compute_input", "compute_infer", "compute_output"];
    let sum: u64 = parts.iter().map(|part| of(part)["ns"].as_u64().unwrap()).sum();
    assert!(Some(sum) <= of("success")["ns"].as_u64(), "{second}");
    assert!(second["last_inference"].as_u64() > Some(1_500_000_000_000));
    assert_eq!(counted[0]["inference_count"], 1);

    // One path has two meanings, and means this one.
    api.create_model("stats", 8).await;
    assert!(stats("/v2/models/stats").await.is_array());
    refused(api.get("/v2/models/stats/ready").await, 503);
    service.stop().await;
}
