//! What the protocol refuses, and in which form.

use reqwest::Method;
use serde_json::json;

use super::{refused, teach, tensor};
use crate::support::{TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_the_protocol() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("empty", 2).await;
    let samples = blobs(&["a", "b"], 100, 8, 1).into_iter();
    let samples = samples.map(|(input, label)| json!({"input": input, "label": label})).collect();
    teach(api, "m", json!({"kind": "tabular", "dim": 8}), samples).await;

    for path in [
        "/v2/nowhere",
        "/v2/models/none",
        "/v2/models/M",
        "/v2/models/m/versions/9",
        "/v2/models/m/versions/live",
        "/v2/models/m/versions/9/ready",
        "/v2/models/m/versions/9/stats",
        "/v2/models/none/stats",
        "/v2/models/none/ready",
    ] {
        refused(api.get(path).await, 404);
    }
    refused(api.delete("/v2/models/m").await, 405);
    refused(api.get("/v2/models/m/infer").await, 405);
    refused(api.post("/v2/models/m/load", json!({})).await, 404);
    let error = refused(api.get("/v2/models/empty/ready").await, 503);
    assert!(error.contains("has no version yet"), "{error}");

    let good = json!({"inputs": [tensor("input", json!([1, 8]), "FP32", json!(vec![0; 8]))]});
    refused(api.post("/v2/models/empty/infer", good.clone()).await, 503);
    refused(api.post("/v2/models/none/infer", good.clone()).await, 404);
    refused(api.post("/v2/models/m/versions/9/infer", good.clone()).await, 404);
    let infer = "/v2/models/m/infer";
    for (content_type, status) in [
        ("application/json", 200),
        ("application/x-www-form-urlencoded", 200),
        ("Application/X-WWW-Form-Urlencoded", 200),
        ("text/plain", 415),
        ("application/octet-stream", 415),
    ] {
        let answer = api.post_text(infer, content_type, good.to_string()).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
    let untold = api.request(Method::POST, infer).body(good.to_string());
    api.send(untold).await.expect(200);
    let short = json!({"inputs": [tensor("input", json!([1, 8]), "FP32", json!(vec![0; 7]))]});
    let error = refused(api.post(infer, short).await, 400);
    assert_eq!(error, "/inputs/0/data: data has 7 elements where its shape has 8");
    let error = refused(api.post_text(infer, "application/json", "{\"inputs\": [,").await, 400);
    assert!(error.contains("line 1, column 13"), "{error}");
    let encoded = api.request(Method::POST, infer).header("content-encoding", "zstd");
    refused(api.send(encoded.body("x")).await, 415);
    service.stop().await;

    let service = TestService::start_with(&["--max-body-bytes", "1024"]).await;
    refused(service.api.post_text(infer, "application/json", " ".repeat(2_000)).await, 413);
    service.database.allow_connections(false).await;
    refused(service.api.get("/v2/health/ready").await, 503);
    let away = service.api.get("/v2/models").await;
    assert!(!away.header("retry-after").is_empty());
    refused(away, 503);
    service.stop().await;
}
