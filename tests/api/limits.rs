//! Requests of absurd form: too many headers, a head without end, JSON without a bottom.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Api, TestService, blobs};

/// How deep the JSON goes: a parser that calls itself for each level has no stack for that.
const DEPTH: usize = 100_000;

/// The first line that comes back while this is sent.
async fn status_line(api: &Api, sent: Vec<u8>) -> String {
    let address = api.address.strip_prefix("http://").unwrap();
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    // What is refused early is not taken to its end.
    let sending = tokio::spawn(async move {
        let _ = writer.write_all(&sent).await;
        writer
    });
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') {
        assert!(reader.read_buf(&mut answer).await.unwrap() > 0, "no answer");
    }
    sending.abort();
    String::from_utf8_lossy(&answer).lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_is_refused_and_the_service_goes_on() {
    let service = TestService::start().await;
    let api = &service.api;
    let with = |headers: String| format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let few: String = (0..20).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(status_line(api, with(few).into_bytes()).await, "HTTP/1.1 200 OK");
    let many = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(1 << 20));
    let long_name = format!("{}: y\r\n", "x".repeat(1 << 20));
    for headers in [many, long, long_name] {
        let line = status_line(api, with(headers).into_bytes()).await;
        assert!(line.starts_with("HTTP/1.1 4"), "{line}");
    }
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20));
    let line = status_line(api, target.into_bytes()).await;
    assert!(line.starts_with("HTTP/1.1 4"), "{line}");
    api.get("/v1/models").await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_a_bottom_is_refused_by_every_operation_that_reads_json() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a", "b"], 40, 2, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let closed = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let bodies = ["[".repeat(DEPTH), "{\"a\":".repeat(DEPTH)];
    let document = api.get("/openapi.json").await.expect(200);
    let mut n_operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_null() {
                continue;
            }
            n_operations += 1;
            let path = path.replace("{model}", "m").replace("{n}", "1").replace("{alias}", "live");
            let method: Method = method.to_uppercase().parse().unwrap();
            for body in &bodies {
                let request = api.request(method.clone(), &path);
                let request = request.header("content-type", "application/json");
                let answer = api.send(request.body(body.clone())).await;
                let status = answer.status.as_u16();
                assert!([400, 422].contains(&status), "{method} {path}: {status} {}", answer.body);
                if path.starts_with("/v2") || path.ends_with(":predict") {
                    assert!(answer.body["error"].is_string(), "{path}: {}", answer.body);
                } else {
                    answer.problem(status);
                }
            }
        }
    }
    assert!(n_operations >= 10, "{n_operations}");
    // Where a value is read only once its place in the body is known.
    let json = "application/json";
    let inputs = format!("{{\"inputs\": [{closed}]}}");
    api.post_text("/v1/models/m/predict", json, inputs).await.problem(422);
    let samples = format!("{{\"samples\": [{{\"input\": {closed}, \"label\": \"a\"}}]}}");
    api.post_text("/v1/models/m/batches?strict=true", json, samples).await.problem(422);
    let line = api.post_text("/v1/models/m/predict", "application/x-ndjson", closed).await;
    assert!(line.status.is_client_error(), "{}", line.body);
    api.post("/v1/models/m/predict", json!({"inputs": [[0, 0]]})).await.expect(200);
    service.stop().await;
}
