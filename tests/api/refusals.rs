//! Refusals that come before a body is read: a client that sends all of it first still reads why.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Api, TestService};

/// More than lies between a client and a service at any time.
const BODY_BYTES: usize = 24 << 20;

/// Sends a request with a large body, all of it, and only then reads the answer.
async fn send_then_read(api: &Api, start: &str, headers: &[&str]) -> Value {
    let address = api.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "{start} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {BODY_BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; BODY_BYTES]).await.unwrap_or_else(|error| panic!("{head}{error}"));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap_or_else(|error| panic!("{head}{error}"));
    let answer = String::from_utf8(answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

const JSON: &str = "content-type: application/json";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_whole_body_reads_why_it_was_refused() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    for (status, start, headers) in [
        (404, "POST /v1/models/none/batches", &[JSON][..]),
        (404, "POST /nowhere", &[JSON]),
        (405, "PUT /v1/models/m/batches", &[JSON]),
        (415, "POST /v1/models/m/batches", &["content-type: image/png"]),
        (415, "POST /v1/models/m/predict", &["content-type: text/plain"]),
        (415, "POST /v1/models/m/batches", &[JSON, "content-encoding: br"]),
        (422, "POST /v1/models/m/predict?top_k=0", &[JSON]),
        (422, "POST /v1/models/m/batches?update=perhaps", &[JSON]),
    ] {
        assert_eq!(send_then_read(api, start, headers).await["status"], status, "{start}");
    }
    service.stop().await;
    let service = TestService::start_with(&["--max-body-bytes", "1000000"]).await;
    for start in ["POST /v1/models/m/batches", "POST /v1/models/m/predict"] {
        assert_eq!(send_then_read(&service.api, start, &[JSON]).await["status"], 413, "{start}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_without_a_key_with_a_wrong_one_and_one_that_asks_too_often() {
    let service = TestService::start_with(&["--requests-per-minute", "2"]).await;
    let batch = "POST /v1/models/m/batches";
    for status in [404, 404, 429] {
        assert_eq!(send_then_read(&service.api, batch, &[JSON]).await["status"], status);
    }
    service.stop().await;
    let service = TestService::start().await;
    let key = super::keys::create(&service.database, &["--scope", "read"]);
    super::keys::until(&service.api, "/v1/models", 401).await;
    let bearer = format!("authorization: Bearer {key}");
    for (status, headers) in [
        (401, &[JSON][..]),
        (401, &[JSON, "authorization: Bearer pnl_nonsense"]),
        (403, &[JSON, &bearer]),
    ] {
        assert_eq!(send_then_read(&service.api, batch, headers).await["status"], status);
    }
    service.stop().await;
}
