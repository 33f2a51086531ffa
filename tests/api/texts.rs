//! Texts over HTTP: news that gets new categories, in every format, and what is wrong with a text.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{Api, TestService, reasons};

const TOPICS: &[(&str, &str)] = &[
    ("sport", "striker goal match coach league stadium referee penalty season trophy"),
    ("money", "shares market bank profit investors bonds inflation quarterly dividend merger"),
    ("space", "rocket orbit astronaut telescope launch satellite lunar crater galaxy probe"),
    ("cooking", "onions simmer butter recipe oven garlic roasted flour sauce pepper"),
];

/// Sentences of a topic's words, in an order that `seed` draws.
fn sentences(topic: usize, n: usize, seed: usize) -> Vec<(String, &'static str)> {
    let (label, words) = TOPICS[topic];
    let words: Vec<&str> = words.split(' ').collect();
    let word = |i: usize, k: usize| words[(i * (k + 3) + i / 7 * k + seed) % words.len()];
    let sentence = |i: usize| {
        let [a, b, c] = [0, 1, 2].map(|k| word(i, k));
        format!("The {a} and the {b} number {}, then a {c}.", i + 1_000 * seed)
    };
    (0..n).map(|i| (sentence(i), label)).collect()
}

async fn create(api: &Api, model: &str) -> Value {
    let model = json!({"name": model, "input": {"kind": "text", "buckets": 4096},
        "network": {"kind": "text", "embedding": 32}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201)
}

/// Sends sentences about these topics, and has them learnt.
async fn learn(api: &Api, model: &str, topics: [usize; 2]) {
    let samples: Vec<Value> = topics
        .iter()
        .flat_map(|&topic| sentences(topic, 120, 1))
        .map(|(text, label)| json!({"input": text, "label": label}))
        .collect();
    let path = format!("/v1/models/{model}/batches");
    api.post(&path, json!({"samples": samples})).await.expect(202);
    assert_eq!(api.update(model).await["outcome"], "published");
}

async fn share_right(api: &Api, model: &str, topics: &[usize]) -> f64 {
    let unseen: Vec<_> = topics.iter().flat_map(|&topic| sentences(topic, 40, 9)).collect();
    let inputs: Vec<&str> = unseen.iter().map(|(text, _)| text.as_str()).collect();
    let answers = api.labels(model, &inputs).await;
    let right = answers.iter().zip(&unseen).filter(|(answer, (_, label))| answer == label).count();
    right as f64 / unseen.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn news_gets_new_categories_and_the_old_ones_are_still_known() {
    let service = TestService::start().await;
    let api = &service.api;
    let created = create(api, "news").await;
    assert_eq!(created["input"], json!({"kind": "text", "buckets": 4096}));
    assert_eq!(created["network"], json!({"kind": "text", "embedding": 32, "hidden": []}));

    let samples = sentences(0, 120, 1).into_iter().chain(sentences(1, 120, 1));
    let ndjson: String = samples
        .map(|(text, label)| json!({"input": text, "label": label}).to_string() + "\n")
        .collect();
    let path = "/v1/models/news/batches";
    let batch = api.post_text(path, "application/x-ndjson", ndjson).await.expect(202);
    assert_eq!(batch["batch"]["accepted"], 240, "{batch}");
    assert_eq!(api.update("news").await["outcome"], "published");
    assert!(share_right(api, "news", &[0, 1]).await > 0.95);

    let samples = sentences(2, 120, 1).into_iter().chain(sentences(3, 120, 1));
    let rows: String = samples.map(|(text, label)| format!("{label},\"{text}\"\n")).collect();
    let csv = format!("category,text\n{rows}");
    let path = "/v1/models/news/batches?label=category";
    let batch = api.post_text(path, "text/csv", csv).await.expect(202);
    assert_eq!(batch["batch"]["accepted"], 240, "{batch}");
    let second = api.update("news").await;
    assert_eq!(second["outcome"], "published", "{second}");
    assert_eq!(second["report"]["new_labels"], json!(["cooking", "space"]));
    assert!(share_right(api, "news", &[0, 1]).await > 0.95, "the old categories are forgotten");
    assert!(share_right(api, "news", &[2, 3]).await > 0.95, "the new ones are not learnt");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_none_is_told_and_the_others_are_kept() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "texts").await;
    let long = "x".repeat((64 << 10) + 1);
    let samples: Vec<Value> = [json!("fine"), json!(" \n"), json!(7), json!(null), json!(long)]
        .into_iter()
        .map(|input| json!({"input": input, "label": "a"}))
        // What reads the same is the same.
        .chain([json!({"input": " ﬁne\u{0}", "label": "a"})])
        .collect();
    let batch = api.post("/v1/models/texts/batches", json!({"samples": samples})).await.expect(202);
    let batch = &batch["batch"];
    assert_eq!((&batch["accepted"], &batch["duplicates"]), (&json!(1), &json!(1)), "{batch}");
    assert_eq!(
        reasons(batch),
        [
            "the text is empty, or holds nothing but white space",
            "input is a number, not a text",
            "input is missing",
            "the text is 65537 bytes long, 65536 is the most",
        ]
    );
    let surrogate = r#"{"samples": [{"input": "\ud800", "label": "a"}]}"#;
    let path = "/v1/models/texts/batches";
    let batch = api.post_text(path, "application/json", surrogate).await.expect(202);
    let no_unicode = "input is a string that is not valid Unicode, not a text";
    assert_eq!(reasons(&batch["batch"]), [no_unicode]);
    for (header, detail) in [
        ("label,title\n", "column `title` is none of text, the label, id, subject, weight"),
        ("label,id\n", "there is no column `text`"),
        ("label,text,text\n", "two columns are called `text`"),
    ] {
        let refused = api.post_text("/v1/models/texts/batches", "text/csv", header).await;
        assert_eq!(refused.problem(422)["detail"], detail);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_learnt_in_closed_form_too_and_beside_a_network_with_few_exemplars() {
    let service = TestService::start().await;
    let api = &service.api;
    for (model, learning) in
        [("analytic", json!({"strategy": "analytic"})), ("exemplars", json!({"memory": 20}))]
    {
        create(api, model).await;
        api.patch(&format!("/v1/models/{model}"), json!({"learning": learning})).await.expect(200);
        for topics in [[0, 1], [2, 3]] {
            learn(api, model, topics).await;
        }
        let right = share_right(api, model, &[0, 1, 2, 3]).await;
        assert!(right > 0.95, "{model}: {right}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_input_that_is_no_text_refuses_the_request_with_its_place() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "news").await;
    let samples: Vec<Value> = [0, 1]
        .into_iter()
        .flat_map(|topic| sentences(topic, 40, 1))
        .map(|(text, label)| json!({"input": text, "label": label}))
        .collect();
    api.post("/v1/models/news/batches", json!({"samples": samples})).await.expect(202);
    assert_eq!(api.update("news").await["outcome"], "published");
    let path = "/v1/models/news/predict";
    for (inputs, detail) in [
        (json!(["ok", 7]), "input is a number, not a text"),
        (json!(["ok", null]), "the text is null"),
        (json!(["ok", ["ok"]]), "input is an array, not a text"),
        (json!(["ok", "\u{200b}"]), "the text is empty, or holds nothing but white space"),
    ] {
        let refused = api.post(path, json!({"inputs": inputs})).await.problem(422);
        let error = &refused["errors"][0];
        assert_eq!((&error["pointer"], &error["detail"]), (&json!("/inputs/1"), &json!(detail)));
    }
    let surrogate = r#"{"inputs": ["ok", "\ud800"]}"#;
    let refused = api.post_text(path, "application/json", surrogate).await.problem(422);
    assert_eq!(refused["errors"][0]["pointer"], "/inputs/1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_that_do_not_fit_into_an_update_wait_for_the_next() {
    // A sixteenth, 4 MiB, is for new samples: 70 texts of 60,000 bytes.
    let service = TestService::start_with(&["--update-bytes", "67108864"]).await;
    let api = &service.api;
    let model = json!({"name": "books", "input": {"kind": "text", "buckets": 1024},
        "network": {"kind": "text", "embedding": 16}, "schedule": {"paused": true},
        "learning": {"epochs": 1, "counterfactual": false},
        "gate": {"max_drop": null, "max_class_drop": null}});
    api.post("/v1/models", model).await.expect(201);
    let sample = |index: usize| {
        let (label, words) = TOPICS[index % 2];
        let mut text = format!("{index} {}", format!("{words} ").repeat(1_000));
        text.truncate(59_999);
        json!({"input": text + "x", "label": label})
    };
    let samples: Vec<Value> = (0..90).map(sample).collect();
    let batch = api.post("/v1/models/books/batches", json!({"samples": samples})).await.expect(202);
    assert_eq!(batch["batch"]["accepted"], 90, "{batch}");
    for (taken, left) in [(70, 20), (20, 0)] {
        let update = api.update("books").await;
        assert_eq!(update["outcome"], "published", "{update}");
        assert_eq!(update["report"]["samples"]["pending"], taken);
        assert_eq!(api.get("/v1/models/books").await.expect(200)["pending_samples"], left);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_texts_are_read_is_part_of_the_version_and_older_ones_see_what_they_saw() {
    let service = TestService::start().await;
    let api = &service.api;
    let input = json!({"kind": "text", "buckets": 4096, "stop_words": ["en"], "idf": true});
    let model = json!({"name": "news", "input": input,
        "network": {"kind": "text", "embedding": 32}, "schedule": {"paused": true}});
    assert_eq!(api.post("/v1/models", model).await.expect(201)["input"], input);
    learn(api, "news", [0, 1]).await;
    let url = format!("{}/v1/models/news/versions/1/checkpoint", api.address);
    let file = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let manifest: Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["manifest"]).unwrap();
    let stages = json!([
        "nfkc",
        "lower",
        "without en",
        "words 1-2",
        "characters 3-5",
        "hash 4096",
        "log(1+n)",
        "length 1",
        "idf"
    ]);
    assert_eq!(manifest["stages"], stages);

    // The words that all have are not read, and what the others count moves with the second update.
    let inputs = json!({"inputs": ["The striker and the goal", "striker goal"], "top_k": 2});
    let ask = async |path: &str| {
        let answer = api.post(&format!("/v1/models/{path}/predict"), inputs.clone()).await;
        answer.expect(200)["predictions"].clone()
    };
    let before = ask("news/versions/1").await;
    assert_eq!(before[0], before[1]);
    learn(api, "news", [2, 3]).await;
    assert!(share_right(api, "news", &[0, 1]).await > 0.95);
    assert!(share_right(api, "news", &[2, 3]).await > 0.95);
    assert_eq!(ask("news/versions/1").await, before);

    // Its counts go with a version into another model, which reads it from its file.
    let child = |name: &str, head: &str| {
        json!({"name": name, "base": {"model": "news", "version": 1, "head": head},
            "schedule": {"paused": true}})
    };
    let made = api.post("/v1/models", child("child", "grow")).await.expect(201);
    assert_eq!(made["input"], input);
    assert_eq!(ask("child").await, before);
    api.post("/v1/models", child("other", "replace")).await.expect(201);
    learn(api, "other", [2, 3]).await;
    let other = api.get("/v1/models/other/versions/1").await.expect(200);
    assert_eq!(other["labels"], json!(["cooking", "space"]));
    assert!(share_right(api, "other", &[2, 3]).await > 0.95);
    service.stop().await;
}
