//! Versions that answer a share of the clients, and versions that are asked the same and answer nobody.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Api, TestService, blobs};

/// A model whose version 1 knows two labels and whose version 2 knows four.
async fn two_versions(api: &Api) {
    api.create_model("m", 8).await;
    for (seed, labels) in [(1, ["a", "b"]), (2, ["c", "d"])] {
        api.send_samples("m", &blobs(&labels, 100, 8, seed)).await;
        assert_eq!(api.update("m").await["outcome"], "published");
    }
}

const LIVE: &str = "/v1/models/m/aliases/live";

/// The version that answers a request with this header.
async fn version(api: &Api, header: Option<(&str, &str)>) -> i64 {
    let body = json!({"inputs": [vec![0.0; 8]]});
    let mut request = api.request(Method::POST, "/v1/models/m/predict").json(&body);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let answer = api.send(request).await;
    let told = answer.header("x-perennial-version").to_owned();
    let version = answer.expect(200)["version"].as_i64().unwrap();
    assert_eq!(told, version.to_string());
    version
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_answers_its_share_of_the_clients_and_always_the_same_ones() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(api).await;
    for (wrong, pointer) in [
        (json!({"version": 1, "canary": {"version": 1, "share": 0.5}}), "/canary/version"),
        (json!({"version": 1, "canary": {"version": 2, "share": 0}}), "/canary/share"),
        (json!({"version": 1, "canary": {"version": 2}}), "/canary"),
        (json!({"version": 1, "shadow": 1}), "/shadow"),
    ] {
        let problem = api.put(LIVE, wrong).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let unknown = json!({"version": 1, "canary": {"version": 9, "share": 0.5}});
    api.put(LIVE, unknown).await.problem(404);
    let canary = json!({"version": 2, "share": 0.4});
    let alias = api.put(LIVE, json!({"version": 1, "canary": canary})).await.expect(200);
    assert_eq!((&alias["version"], &alias["canary"]), (&json!(1), &canary));

    let mut seen = HashMap::new();
    for round in 0..2 {
        for client in 0..200 {
            let client = format!("client {client}");
            let answered = version(api, Some(("x-client-id", &client))).await;
            let first = *seen.entry(client).or_insert(answered);
            assert_eq!(answered, first, "round {round}");
        }
    }
    let n = seen.values().filter(|&&version| version == 2).count();
    assert!((50..110).contains(&n), "{n} of 200, 80 are to be expected");
    // A key tells a client where nothing else does, and whoever is not told is drawn each time.
    let key = ("authorization", "Bearer somebody");
    let keyed = version(api, Some(key)).await;
    for _ in 0..20 {
        assert_eq!(version(api, Some(key)).await, keyed);
    }
    let mut drawn = [0; 2];
    for _ in 0..100 {
        drawn[version(api, None).await as usize - 1] += 1;
    }
    assert!(drawn.iter().all(|&n| n > 20), "{drawn:?}");
    // Whatever the protocol (over gRPC: grpc/canaries.rs), and by its number each version answers everybody.
    let zeros = vec![0.0; 8];
    let tensor = json!({"name": "input", "datatype": "FP32", "shape": [1, 8], "data": zeros});
    let asks = [
        ("/v1/models/m:predict", "application/json", json!({"instances": [zeros]})),
        ("/v2/models/m/infer", "application/json", json!({"inputs": [tensor]})),
        ("/v1/models/m/predict", "application/x-ndjson", json!(zeros)),
    ];
    let is_answered_by = |wanted| seen.iter().find(|(_, version)| **version == wanted).unwrap().0;
    for version in [1, 2] {
        let client = is_answered_by(version);
        for (path, content_type, body) in &asks {
            for _ in 0..8 {
                let request = api.request(Method::POST, path).header("content-type", *content_type);
                let request = request.header("x-client-id", client).body(body.to_string());
                let answer = api.send(request).await;
                assert_eq!(answer.header("x-perennial-version"), version.to_string(), "{path}");
            }
        }
    }
    let client = is_answered_by(2);
    let body = json!({"inputs": [vec![0.0; 8]]});
    let request = api.request(Method::POST, "/v1/models/m/versions/1/predict").json(&body);
    let answer = api.send(request.header("x-client-id", client)).await;
    assert_eq!(answer.header("x-perennial-version"), "1");

    // The next version has no canary, and keeps the shadow.
    let pointing = json!({"version": 1, "canary": canary, "shadow": 2});
    api.put(LIVE, pointing).await.expect(200);
    api.send_samples("m", &blobs(&["a", "b"], 50, 8, 3)).await;
    assert_eq!(api.update("m").await["version"], 3);
    let alias = api.get("/v1/models/m/aliases").await.expect(200)["items"][0].take();
    assert_eq!((&alias["version"], &alias["previous"]), (&json!(3), &json!(1)));
    assert_eq!((&alias["canary"], &alias["shadow"]["version"]), (&Value::Null, &json!(2)));
    assert_eq!(version(api, Some(("x-client-id", client))).await, 3);
    assert_eq!(api.delete("/v1/models/m").await.status, 204);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_asked_the_same_and_answers_nobody() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(api).await;
    let alias = api.put(LIVE, json!({"version": 1, "shadow": 2})).await.expect(200);
    let nothing = json!({"version": 2, "compared": 0, "agreement": null});
    assert_eq!(alias["shadow"], nothing);
    // Version 1 does not know c.
    for (label, n) in [("a", 30), ("c", 10)] {
        let inputs: Vec<Vec<f32>> =
            blobs(&[label], n, 8, 9).into_iter().map(|(input, _)| input).collect();
        let answer = api.post("/v1/models/m/predict", json!({"inputs": inputs})).await.expect(200);
        assert_eq!(answer["version"], 1);
    }
    // Of a version asked by its number there is no shadow.
    let body = json!({"inputs": [vec![0.0; 8]]});
    api.post("/v1/models/m/versions/1/predict", body).await.expect(200);
    let mut shadow = Value::Null;
    for _ in 0..500 {
        shadow = api.get("/v1/models/m/aliases").await.expect(200)["items"][0]["shadow"].take();
        if shadow["compared"] == 40 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(shadow, json!({"version": 2, "compared": 40, "agreement": 0.75}));
    let alias = api.put(LIVE, json!({"version": 1})).await.expect(200);
    assert_eq!((&alias["shadow"], &alias["previous"]), (&Value::Null, &json!(2)));
    service.stop().await;
}
