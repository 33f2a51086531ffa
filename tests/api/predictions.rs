//! Predictions: their form, their refusals, and that one answer is one version's.

use std::cell::Cell;

use futures_util::future::join_all;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::{Api, TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ranks_labels_by_probability() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let input = blobs(&["b"], 1, 8, 9)[0].0.clone();
    api.post("/v1/models/m/predict", json!({"inputs": [input]})).await.problem(409);
    api.post("/v1/models/none/predict", json!({"inputs": [input]})).await.problem(404);
    api.send_samples("m", &blobs(&["a", "b", "c"], 100, 8, 1)).await;
    api.update("m").await;

    let answer = api
        .post("/v1/models/m/predict", json!({"inputs": [input, input], "top_k": 2}))
        .await
        .expect(200);
    assert_eq!((&answer["model"], &answer["version"]), (&json!("m"), &json!(1)));
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    assert_eq!(predictions[0], predictions[1]);
    assert_eq!(predictions[0]["label"], "b");
    let top = predictions[0]["top"].as_array().unwrap();
    assert_eq!((top.len(), &top[0]["label"]), (2, &json!("b")));
    assert_eq!(top[0]["probability"], predictions[0]["probability"]);
    assert!(top[0]["probability"].as_f64() >= top[1]["probability"].as_f64());
    let all =
        api.post("/v1/models/m/predict", json!({"inputs": [input], "top_k": 3})).await.expect(200);
    let sum: f64 = all["predictions"][0]["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["probability"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");

    let bad: [(Value, &str); 6] = [
        (json!({"inputs": [input, [1.0]]}), "/inputs/1"),
        (json!({"inputs": [input, [0, 1, 2, 3, 4, 5, 6, null]]}), "/inputs/1"),
        (json!({"inputs": [[0, 1, 2, 3, 4, 5, 6, 1e40]]}), "/inputs/0"),
        (json!({"inputs": []}), "/inputs"),
        (json!({"inputs": [input], "top_k": 0}), "/top_k"),
        (json!({"inputs": [input], "colour": 1}), "/colour"),
    ];
    for (request, pointer) in bad {
        let problem = api.post("/v1/models/m/predict", request).await.problem(422);
        let found = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(found.starts_with(pointer), "{found} is not below {pointer}: {problem}");
    }
    // The query's is refused as the body's is, also where the body says another.
    for top_k in ["0", "1000001"] {
        let path = format!("/v1/models/m/predict?top_k={top_k}");
        for request in [json!({"inputs": [input]}), json!({"inputs": [input], "top_k": 2})] {
            let problem = api.post(&path, request).await.problem(422);
            assert_eq!(problem["errors"][0]["pointer"], "/query/top_k", "{problem}");
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unseen_category_and_an_imputed_number_are_answered() {
    let service = TestService::start().await;
    let api = &service.api;
    let features =
        json!([{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]);
    let model = json!({"name": "m", "input": {"kind": "tabular", "features": features},
                       "learning": {"missing": "impute"}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let samples: Vec<Value> = (0..300)
        .map(|i| {
            let city = ["Ulm", "Bonn", "Kiel"][i % 3];
            json!({"input": {"x": i, "city": city}, "label": if city == "Ulm" { "south" } else { "north" }})
        })
        .collect();
    api.post("/v1/models/m/batches", json!({"samples": samples})).await.expect(202);
    assert_eq!(api.update("m").await["outcome"], "published");
    let inputs = json!([{"x": 5, "city": "Ulm"}, {"city": "Kiel"}, {"x": null, "city": "Ulm"}, {"x": 9, "city": "Oslo"}]);
    let answer = api.post("/v1/models/m/predict", json!({"inputs": inputs})).await.expect(200);
    let labels: Vec<&str> = answer["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels[..3], ["south", "north", "south"]);
    api.patch("/v1/models/m", json!({"learning": {"missing": "reject"}})).await.expect(200);
    api.post("/v1/models/m/predict", json!({"inputs": [{"city": "Kiel"}]})).await.problem(422);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_swap_without_a_failed_or_mixed_answer() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    for (seed, labels) in [(1, ["a", "b"]), (2, ["c", "d"])] {
        api.send_samples("m", &blobs(&labels, 100, 8, seed)).await;
        api.update("m").await;
    }
    let input = blobs(&["c"], 1, 8, 9)[0].0.clone();
    // A version is told by how many labels it knows.
    let expected = [2, 4];
    let is_over = Cell::new(false);
    let swaps = async {
        for swap in 0..30 {
            api.put("/v1/models/m/aliases/live", json!({"version": swap % 2 + 1}))
                .await
                .expect(200);
        }
        is_over.set(true);
    };
    let asks = async {
        let mut seen = [0, 0];
        while !is_over.get() {
            let request = json!({"inputs": vec![&input; 3], "top_k": 10});
            let answer = api.post("/v1/models/m/predict", request).await.expect(200);
            let version = answer["version"].as_u64().unwrap() as usize;
            seen[version - 1] += 1;
            for prediction in answer["predictions"].as_array().unwrap() {
                assert_eq!(prediction["top"].as_array().unwrap().len(), expected[version - 1]);
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(swaps, asks);
    assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_devices_learn_and_predict_the_same_labels() {
    let flex = TestService::start_with(&["--device", "flex"]).await;
    let ndarray = TestService::start_with(&["--device", "ndarray"]).await;
    // Near enough to each other that some answers are wrong, and the same ones on both.
    let near = |n, seed| -> Vec<(Vec<f32>, &str)> {
        let points = blobs(&["a", "b", "c"], n, 8, seed).into_iter();
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
        points
            .map(|(input, label)| {
                let noisy = |x: f32| x * 0.2 + random.gen_range(-1.0..1.0);
                (input.into_iter().map(noisy).collect(), label)
            })
            .collect()
    };
    let unseen = near(100, 9);
    let inputs: Vec<Vec<f32>> = unseen.iter().map(|(input, _)| input.clone()).collect();
    for api in [&flex.api, &ndarray.api] {
        api.create_model("m", 8).await;
        api.send_samples("m", &near(200, 1)).await;
        assert_eq!(api.update("m").await["outcome"], "published");
    }
    let (one, other) =
        (flex.api.labels("m", &inputs).await, ndarray.api.labels("m", &inputs).await);
    assert_eq!(one, other);
    let right = one.iter().zip(&unseen).filter(|(answer, (_, label))| answer == label).count();
    assert!((200..300).contains(&right), "{right} of 300: neither guessed nor too easy");

    // What one has learnt the other answers.
    let learnt = probabilities(&ndarray.api, &inputs).await;
    let (database, dir) = ndarray.stop().await;
    let moved = TestService::start_on(database, dir, &["--device", "flex"]).await;
    for (a, b) in learnt.iter().zip(probabilities(&moved.api, &inputs).await) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    flex.stop().await;
    moved.stop().await;
}

async fn probabilities(api: &Api, inputs: &[Vec<f32>]) -> Vec<f64> {
    let answer = api.post("/v1/models/m/predict", json!({"inputs": inputs})).await.expect(200);
    let probability = |prediction: &Value| prediction["probability"].as_f64().unwrap();
    answer["predictions"].as_array().unwrap().iter().map(probability).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_together_with_others_is_told_what_it_is_told_alone() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let points = blobs(&["a", "b", "c"], 100, 8, 1);
    api.send_samples("m", &points).await;
    api.update("m").await;
    let ask = async |input: &[f32]| {
        let asked = json!({"inputs": [input], "top_k": 3});
        api.post("/v1/models/m/predict", asked).await.expect(200)["predictions"].clone()
    };
    let asked: Vec<&[f32]> = points.iter().map(|(input, _)| &input[..]).collect();
    let together = join_all(asked.iter().map(|input| ask(input))).await;
    for (input, told) in asked.iter().zip(together) {
        assert_eq!(told, ask(input).await);
    }
    service.stop().await;
}
