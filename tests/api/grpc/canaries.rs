//! A canary over gRPC answers the same clients as over HTTP.

use std::collections::HashSet;

use futures_util::stream;
use reqwest::Method;
use serde_json::json;
use tonic::Request;

use super::{client, with_model, zeros};
use crate::support::blobs;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_answered_by_the_same_version_as_over_http_also_in_a_stream() {
    let service = with_model(&[]).await;
    let api = &service.api;
    api.send_samples("m", &blobs(&["c", "d"], 100, 8, 2)).await;
    assert_eq!(api.update("m").await["version"], 2);
    let canary = json!({"version": 1, "canary": {"version": 2, "share": 0.5}});
    api.put("/v1/models/m/aliases/live", canary).await.expect(200);
    let mut client = client(&service).await;
    let mut seen = HashSet::new();
    for number in 0..16 {
        let name = format!("client-{number}");
        let body = json!({"inputs": [vec![0.0; 8]]});
        let request = api.request(Method::POST, "/v1/models/m/predict").json(&body);
        let answer = api.send(request.header("x-client-id", &name)).await.expect(200);
        let version = answer["version"].to_string();

        let mut request = Request::new(zeros("m"));
        request.metadata_mut().insert("x-client-id", name.parse().unwrap());
        let answer = client.model_infer(request).await.unwrap();
        assert_eq!(answer.metadata().get("x-perennial-version").unwrap(), version.as_str());
        assert_eq!(answer.get_ref().model_version, version);

        let mut requests = Request::new(stream::iter([zeros("m"), zeros("m")]));
        requests.metadata_mut().insert("x-client-id", name.parse().unwrap());
        let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
        for _ in 0..2 {
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!(answer.infer_response.unwrap().model_version, version);
        }
        seen.insert(version);
    }
    assert_eq!(seen.len(), 2, "both answer some");
    service.stop().await;
}
