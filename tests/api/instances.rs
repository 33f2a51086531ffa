//! `…:predict`, as TensorFlow Serving's clients ask, and what is refused there.

use reqwest::Method;
use serde_json::{Value, json};

use crate::oip::{pixels, png, refused, teach_all};
use crate::support::TestService;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_answered_as_predict_does() {
    let service = TestService::start().await;
    let api = &service.api;
    teach_all(api).await;
    let dark = pixels(300).0;
    let file = STANDARD.encode(png(&dark));
    for (model, instance, input) in [
        ("vectors", json!([0, 1, 2, 3, 4, 5, 6, 7]), json!([0, 1, 2, 3, 4, 5, 6, 7])),
        ("rows", json!({"x": 7, "city": "Ulm"}), json!([7, "Ulm"])),
        ("texts", json!("a late goal"), json!("a late goal")),
        ("images", json!({"b64": file}), json!(dark)),
        ("images", json!(file), json!(dark)),
    ] {
        let path = format!("/v1/models/{model}/predict");
        let ours = api.post(&path, json!({"inputs": [input], "top_k": 9})).await.expect(200);
        let version = api.get(&format!("/v1/models/{model}/versions/1")).await.expect(200);
        for place in ["", "/versions/1", "/labels/live"] {
            let path = format!("/v1/models/{model}{place}:predict");
            let body =
                json!({"signature_name": "serving_default", "instances": [instance, instance]});
            let answer = api.post(&path, body).await.expect(200);
            let [one, other] = answer["predictions"].as_array().unwrap().as_slice() else {
                panic!("{answer}");
            };
            assert_eq!(one, other);
            assert_eq!(one["label"], ours["predictions"][0]["label"]);
            for scored in ours["predictions"][0]["top"].as_array().unwrap() {
                let labels = version["labels"].as_array().unwrap();
                let place = labels.iter().position(|label| *label == scored["label"]).unwrap();
                assert_eq!(one["probabilities"][place], scored["probability"], "{answer}");
            }
        }
    }

    let good = json!({"instances": [[0, 1, 2, 3, 4, 5, 6, 7]]});
    let untold = api.request(Method::POST, "/v1/models/vectors:predict").body(good.to_string());
    api.send(untold).await.expect(200);
    for (path, status) in [
        ("/v1/models/none:predict", 404),
        ("/v1/models/VECTORS:predict", 404),
        ("/v1/models/:predict", 404),
        ("/v1/models/vectors/versions/9:predict", 404),
        ("/v1/models/vectors/versions/live:predict", 404),
        ("/v1/models/vectors/labels/none:predict", 404),
    ] {
        refused(api.post(path, good.clone()).await, status);
    }
    let wrapped = |row: Value| json!({"instances": [{"input": row}]});
    for (model, body, why) in [
        (
            "vectors",
            wrapped(json!([0, 1, 2, 3, 4, 5, 6, 7])),
            "/instances/0: input is not an array",
        ),
        ("rows", wrapped(json!([1, "Ulm"])), "/instances/0/input: feature `input` is not one"),
        ("texts", wrapped(json!("a goal")), "/instances/0: input is an object, not a text"),
        ("texts", json!({"instances": [{"b64": "YQ=="}]}), "/instances/0: input is an object"),
        ("images", json!({"instances": [{"b64": "YQ=="}]}), "no image by its first bytes"),
        ("images", json!({"instances": [{"b64": "YQ==", "a": 1}]}), "input is an object"),
        ("vectors", json!({"instances": []}), "/instances: give 1 to 10000 inputs, not 0"),
        ("vectors", json!({"inputs": [[1]]}), "unknown field `inputs`"),
        ("vectors", json!({"instances": [[1]], "signature_name": "x"}), "unknown variant `x`"),
    ] {
        let error = refused(api.post(&format!("/v1/models/{model}:predict"), body).await, 400);
        assert!(error.contains(why), "{error}");
    }
    refused(api.post_text("/v1/models/vectors:predict", "text/plain", "{}").await, 415);

    // The names that the paths begin with are not POSTed to.
    for (path, status, allowed) in [
        ("/v1/models/vectors", 405, "GET, HEAD, PATCH, DELETE"),
        ("/v1/models/vectors/versions/1", 405, "GET, HEAD"),
        ("/v1/models/vectors/labels/live", 404, ""),
    ] {
        let answer = api.post(path, good.clone()).await;
        assert_eq!(answer.header("allow"), allowed, "{path}");
        answer.problem(status);
    }
    // Nor is the verb a part of the name to the methods that the name has.
    for place in ["", "/versions/1", "/labels/live"] {
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
            let path = format!("/v1/models/vectors{place}:predict");
            let answer = api.send(api.request(method.clone(), &path).json(&json!({}))).await;
            assert_eq!(answer.header("allow"), "POST", "{method} {path}");
            refused(answer, 405);
        }
    }
    api.get("/v1/models/vectors/batches/none:predict").await.expect(404);
    service.stop().await;
}
