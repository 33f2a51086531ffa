//! Predictions as a stream of lines: in order, by one version, no faster than they are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::support::{Api, TestService, blobs};

const NDJSON: &str = "application/x-ndjson";

/// A model whose version 1 knows two labels and whose version 2, which is live, knows four.
async fn two_versions(api: &Api) {
    api.create_model("m", 8).await;
    for (seed, labels) in [(1, ["a", "b"]), (2, ["c", "d"])] {
        api.send_samples("m", &blobs(&labels, 100, 8, seed)).await;
        assert_eq!(api.update("m").await["outcome"], "published");
    }
}

async fn post(api: &Api, path: &str, body: impl Into<Body>) -> Response {
    let request = api.request(Method::POST, path).header("content-type", NDJSON);
    request.body(body).send().await.unwrap()
}

/// The lines of an answer.
async fn lines(answer: Response) -> Vec<Value> {
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &NDJSON.parse().unwrap())
    );
    let text = answer.text().await.unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_answered_in_order_as_in_json() {
    let service = TestService::start_with(&["--max-body-bytes", "100000"]).await;
    let api = &service.api;
    two_versions(api).await;
    let inputs: Vec<Vec<f32>> =
        blobs(&["c", "a", "d", "b"], 500, 8, 9).into_iter().map(|(input, _)| input).collect();
    let line = |(i, input): (usize, &Vec<f32>)| match i % 2 {
        0 => format!("{}\n", json!(input)),
        _ => format!("{}\r\n\n", json!({"input": input})),
    };
    let text: String = inputs.iter().enumerate().map(line).collect();
    // A stream is longer than the longest body.
    assert!(text.len() > 150_000);
    let answer = post(api, "/v1/models/m/predict?top_k=2", text).await;
    assert_eq!(answer.headers()["x-perennial-version"], "2");
    let streamed = lines(answer).await;
    let mut expected = Vec::new();
    for inputs in inputs.chunks(500) {
        let request = json!({"inputs": inputs, "top_k": 2});
        let answer = api.post("/v1/models/m/predict", request).await.expect(200);
        expected.extend(answer["predictions"].as_array().unwrap().clone());
    }
    assert_eq!(streamed.len(), 2_000);
    // A minibatch of another size may round the last digit of a probability otherwise.
    for (one, other) in streamed.iter().zip(&expected) {
        assert_eq!((&one["label"], one["top"].as_array().unwrap().len()), (&other["label"], 2));
        let apart = one["probability"].as_f64().unwrap() - other["probability"].as_f64().unwrap();
        assert!(apart.abs() < 1e-5, "{one} {other}");
    }
    let long = json!({"inputs": inputs}).to_string();
    api.post_text("/v1/models/m/predict", "application/json", long).await.problem(413);

    // By version or alias, and remembered.
    let answer =
        post(api, "/v1/models/m/versions/1/predict?remember=true", "[0,0,0,0,0,0,0,0]").await;
    assert_eq!(answer.headers()["x-perennial-version"], "1");
    let remembered = lines(answer).await;
    let item = json!({"prediction_id": remembered[0]["id"], "label": "a"});
    let feedback = api.post("/v1/models/m/feedback", json!({"items": [item]})).await.expect(200);
    assert_eq!(feedback["accepted"], 1);
    let answer = post(api, "/v1/models/m/aliases/live/predict", "[0,0,0,0,0,0,0,0]\n").await;
    assert_eq!(lines(answer).await.len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_first_is_a_refusal_and_what_is_wrong_later_the_last_line() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let path = "/v1/models/m/predict";
    api.post_text(path, NDJSON, "[0,0]").await.problem(409);
    api.send_samples("m", &blobs(&["a", "b"], 100, 2, 1)).await;
    api.update("m").await;
    for (body, status, pointer) in [
        ("[0]\n[0,0]\n", 422, Some("/0")),
        ("\n\n{\"input\": [0,\"x\"]}\n", 422, Some("/0/input/1")),
        ("[0,\n", 400, None),
        ("", 422, Some("")),
        ("\n \n", 422, Some("")),
    ] {
        let problem = api.post_text(path, NDJSON, body).await.problem(status);
        assert_eq!(problem["errors"][0]["pointer"].as_str(), pointer, "{body}: {problem}");
    }
    api.post_text("/v1/models/none/predict", NDJSON, "[0,0]").await.problem(404);
    api.post_text("/v1/models/m/predict?top_k=0", NDJSON, "[0,0]").await.problem(422);

    // Also where both are in the same piece, and where they are far apart.
    for n_good in [1, 63, 64, 65, 200] {
        let text = format!("{}[0]\n{}", "[0,0]\n".repeat(n_good), "[0,0]\n".repeat(99));
        let request = api.request(Method::POST, path).header("content-type", NDJSON);
        let answer = request.header("x-request-id", "mine-1").body(text).send().await.unwrap();
        let lines = lines(answer).await;
        assert_eq!(lines.len(), n_good + 1);
        assert!(lines[..n_good].iter().all(|line| line["label"].is_string()));
        let last = &lines[n_good];
        assert_eq!((&last["index"], &last["error"]["status"]), (&json!(n_good), &json!(422)));
        assert_eq!(last["error"]["errors"][0]["pointer"], format!("/{n_good}"));
        assert_eq!(
            (&last["error"]["request_id"], &last["error"]["instance"]),
            (&json!("mine-1"), &json!(path))
        );
    }
    service.stop().await;
}

/// A body of what is sent into the channel.
fn body_of(pieces: mpsc::Receiver<String>) -> Body {
    Body::wrap_stream(stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), pieces))
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_answered_before_the_next_comes_and_one_version_answers_all() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(api).await;
    let (sender, receiver) = mpsc::channel(1);
    let line = format!("{}\n", json!(vec![0.5; 8]));
    sender.send(line.clone()).await.unwrap();
    let mut answer = post(api, "/v1/models/m/predict?top_k=9", body_of(receiver)).await;
    for version in [2, 1, 2, 1] {
        // Four labels are version 2's.
        let piece = answer.chunk().await.unwrap().unwrap();
        let prediction: Value = serde_json::from_slice(&piece).unwrap();
        assert_eq!(prediction["top"].as_array().unwrap().len(), 4);
        let alias = json!({"version": version});
        api.put("/v1/models/m/aliases/live", alias).await.expect(200);
        sender.send(line.clone()).await.unwrap();
    }
    drop(sender);
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(answer.chunk().await.unwrap(), None);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_than_answers_are_taken() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(api).await;
    let n_made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_made);
    let piece = format!("{}\n", json!(vec![0.5; 8])).repeat(100);
    let endless = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(piece.clone())
    });
    let answer = post(api, "/v1/models/m/predict?top_k=4", Body::wrap_stream(endless)).await;
    // The answers fill what lies between, and then nothing moves.
    let mut before = 0;
    let stalls = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = n_made.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
    };
    tokio::time::timeout(Duration::from_secs(25), stalls).await.expect("it never stalls");
    assert!(before > 1);
    drop(answer);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_model_leave_room_for_those_of_another() {
    let service = TestService::start().await;
    let api = &service.api;
    for model in ["m", "other"] {
        api.create_model(model, 2).await;
        api.send_samples(model, &blobs(&["a", "b"], 40, 2, 1)).await;
        assert_eq!(api.update(model).await["outcome"], "published");
    }
    // Each is begun and never ends.
    let open = async |model: &str| {
        let (sender, receiver) = mpsc::channel(1);
        sender.send("[0,0]\n".to_owned()).await.unwrap();
        let path = format!("/v1/models/{model}/predict");
        (post(api, &path, body_of(receiver)).await, sender)
    };
    let mut opened = Vec::new();
    let refused = loop {
        let (answer, sender) = open("m").await;
        if answer.status() != 200 {
            break answer;
        }
        opened.push((answer, sender));
        assert!(opened.len() < 1_000, "there is no bound");
    };
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(open("other").await.0.status(), 200);
    // No stream keeps a request out.
    api.post("/v1/models/m/predict", json!({"inputs": [[0, 0]]})).await.expect(200);
    drop(opened);
    for _ in 0..500 {
        if open("m").await.0.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the streams' places stay taken");
}
