//! The baseline: handlers that read what predictions are asked with, and answer a constant.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// How the command line calls it: an address follows.
pub const NAME: &str = "constant";

#[derive(serde::Deserialize)]
struct Question<T> {
    inputs: Vec<T>,
}

/// Answers at `address` until the process ends.
pub async fn serve(address: &str) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let router = Router::new()
        .route("/vectors", post(vectors))
        .route("/texts", post(texts))
        .route("/tensor", post(tensor));
    axum::serve(listener, router).await.unwrap();
}

async fn vectors(Json(question): Json<Question<Vec<f32>>>) -> Json<Value> {
    Json(json!({"label": "7", "n": question.inputs.iter().map(Vec::len).sum::<usize>()}))
}

async fn texts(Json(question): Json<Question<String>>) -> Json<Value> {
    Json(json!({"label": "7", "n": question.inputs.iter().map(String::len).sum::<usize>()}))
}

/// Numbers behind as much JSON as the head says.
async fn tensor(headers: HeaderMap, body: Bytes) -> Json<Value> {
    let length = &headers["inference-header-content-length"];
    let (_, numbers) = body.split_at(length.to_str().unwrap().parse().unwrap());
    let (numbers, _) = numbers.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    Json(json!({"label": "7", "n": vector.len()}))
}
