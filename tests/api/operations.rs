//! Operations: health, metrics, the document, and that every refusal is a problem.

use std::str::FromStr;

use perennial::storage::database;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;

use crate::support::{Database, TestService};

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_documents_are_served() {
    let service = TestService::start().await;
    let api = &service.api;
    assert_eq!(api.get("/healthz").await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 200);
    assert!(api.get("/metrics").await.status.is_success());
    let written = include_str!("../../openapi.yaml");
    let served = api.client.get(format!("{}/openapi.yaml", api.address)).send().await.unwrap();
    let is_current = served.text().await.unwrap() == written;
    assert!(is_current, "openapi.yaml is old: write it by `make openapi`");
    assert_eq!(api.get("/openapi.json").await.expect(200)["info"]["title"], "Perennial");
    for page in ["/", "/docs/"] {
        let answer = api.get(page).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/html"), "{page}");
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{page}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{page}");
        assert!(!answer.body.as_str().unwrap().contains("https://"), "{page} asks other hosts");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_with_the_requests_id() {
    let service = TestService::start().await;
    let api = &service.api;
    api.get("/nowhere").await.problem(404);
    api.get("/v1/models/a/b/c").await.problem(404);
    api.delete("/healthz").await.problem(405);
    api.get("/v1/models/UPPER").await.problem(404);
    api.post_text("/v1/models", "application/json", "[").await.problem(400);
    let request =
        api.request(reqwest::Method::GET, "/v1/models/none").header("x-request-id", "mine-1");
    let answer = api.send(request).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.problem(404)["request_id"], "mine-1");
    assert!(!api.get("/healthz").await.header("x-request-id").is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_path_that_is_no_text_names_nothing() {
    let service = TestService::start().await;
    for path in ["/v1/models/%ff", "/v1/models/%ff/versions/1", "/v2/models/%ff/ready"] {
        let answer = service.api.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    // Nor what is one, and leads elsewhere or ends too soon where it is taken literally.
    service.api.create_model("m", 2).await;
    for name in [
        "m%2f",
        "m%2f..%2fm",
        "%2e%2e%2fm",
        "m%00",
        "m%0d%0ax:y",
        "m;x=1",
        "m%20",
        "M",
        "%EF%BD%8D",
    ] {
        service.api.get(&format!("/v1/models/{name}")).await.problem(404);
        assert_eq!(service.api.get(&format!("/v2/models/{name}")).await.status, 404, "{name}");
    }
    for path in ["//v1/models", "/v1//models", "/v1/models%2fm", "/docs/..%2f..%2fetc%2fpasswd"] {
        assert_eq!(service.api.get(path).await.status, 404, "{path}");
    }
    let inputs = json!({"inputs": [[1, 2]]});
    for path in ["/v1/models/%ff/predict", "/v1/models/%ff:predict", "/v2/models/%ff/infer"] {
        let answer = service.api.post(path, inputs.clone()).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_said_so_and_comes_back() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    service.database.allow_connections(false).await;
    let away = api.get("/v1/models/m").await;
    assert!(!away.header("retry-after").is_empty());
    let problem = away.problem(503);
    assert!(!problem["detail"].as_str().unwrap().contains("SQL"), "{problem}");
    assert_eq!(api.get("/readyz").await.status, 503);
    assert_eq!(api.get("/healthz").await.status, 200);
    service.database.allow_connections(true).await;
    let back = api.get("/v1/models/m").await;
    assert_eq!(back.status, 200, "{}", back.body);
    let sample = json!({"samples": [{"input": [1, 2], "label": "a"}]});
    api.post("/v1/models/m/batches", sample).await.expect(202);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_a_transaction_that_is_left_alone_and_compiles_no_statement() {
    let database = Database::create().await;
    let pool = database::pool(PgConnectOptions::from_str(&database.url).unwrap(), 1);
    for (setting, value) in [("idle_in_transaction_session_timeout", "1min"), ("jit", "off")] {
        let set: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(set, value, "{setting}");
    }
}
