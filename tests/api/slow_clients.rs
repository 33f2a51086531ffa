//! Clients that send so slowly that they would hold what others need.

use std::time::{Duration, Instant};

use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::support::{TestService, blobs};

/// How long these services let a client pause.
const BRIEF: [&str; 2] = ["--client-timeout-s", "1"];
const DROP: Duration = Duration::from_millis(100);

/// Sends the head of a request and then blanks, one at a time, until it is answered: the body of the answer.
async fn drip(address: &str, head: &str) -> Value {
    let stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(DROP).await;
        }
    });
    let mut answer = Vec::new();
    let body = loop {
        assert!(reader.read_buf(&mut answer).await.unwrap() > 0, "no whole answer");
        let text = String::from_utf8_lossy(&answer);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
        if let Some(Ok(body)) = body {
            break body;
        }
    };
    dripping.abort();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_in_drops_is_refused_and_one_that_comes_steadily_is_taken() {
    let service = TestService::start_with(&BRIEF).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let head = "POST /v1/models/m/batches HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n";
    let began = Instant::now();
    let problem = drip(&api.address, head).await;
    assert_eq!((&problem["status"], &problem["code"]), (&json!(408), &json!("request_timeout")));
    // No pause was that long.
    assert!(began.elapsed() >= Duration::from_secs(1));

    // Longer in all than a client may pause.
    let pieces = stream::unfold(0, |n| async move {
        tokio::time::sleep(3 * DROP).await;
        let piece = match n {
            0..4 => " ".repeat(4 << 10),
            4 => json!({"samples": [{"input": [1, 2], "label": "a"}]}).to_string(),
            _ => return None,
        };
        Some((Ok::<_, std::io::Error>(piece), n + 1))
    });
    let path = "/v1/models/m/batches";
    let batch = api.post_bytes(path, "application/json", Body::wrap_stream(pieces)).await;
    assert_eq!(batch.expect(202)["batch"]["accepted"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_comes_in_drops_ends_its_stream() {
    let service = TestService::start_with(&BRIEF).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a", "b"], 40, 2, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let (sender, receiver) = mpsc::channel::<&str>(1);
    let body = Body::wrap_stream(stream::unfold(receiver, |mut pieces| async {
        Some((Ok::<_, std::io::Error>(pieces.recv().await?), pieces))
    }));
    tokio::spawn(async move {
        sender.send("[0,0]\n").await.unwrap();
        while sender.send(" ").await.is_ok() {
            tokio::time::sleep(DROP).await;
        }
    });
    let path = "/v1/models/m/predict";
    let request = api.request(Method::POST, path).header("content-type", "application/x-ndjson");
    let text = request.body(body).send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [answer, last] = &lines[..] else { panic!("{text}") };
    assert!(answer["label"].is_string());
    assert_eq!((&last["index"], &last["error"]["code"]), (&json!(1), &json!("request_timeout")));
    service.stop().await;
}
