//! Strategies by which labels that a model began with would be lost.

use serde_json::json;

use crate::imports::{READER, create, import};
use crate::support::{Answer, Api, TestService, blobs};

async fn patch_strategy(api: &Api, model: &str, strategy: &str) -> Answer {
    api.patch(&format!("/v1/models/{model}"), json!({"learning": {"strategy": strategy}})).await
}

/// Checks that no strategy is chosen by which the model's next update would lose `labels`.
async fn check_keeps(api: &Api, model: &str, strategies: &[&str], labels: &str) {
    let before = api.get(&format!("/v1/models/{model}")).await.expect(200);
    for strategy in strategies {
        let problem = patch_strategy(api, model, strategy).await.problem(422);
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], "/learning/strategy");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("of {labels}: send some of each first")), "{detail}");
    }
    assert_eq!(api.get(&format!("/v1/models/{model}")).await.expect(200), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_loses_what_a_model_began_with_for_its_strategy() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "reader").await;
    import(api, "reader", READER).await.expect(201);
    let sums = json!({"name": "sums", "input": {"kind": "tabular", "dim": 5},
        "network": {"hidden": [8, 6]}, "learning": {"strategy": "analytic"},
        "schedule": {"paused": true}});
    api.post("/v1/models", sums).await.expect(201);
    api.send_samples("sums", &blobs(&["cat", "yak"], 100, 5, 1)).await;
    assert_eq!(api.update("sums").await["outcome"], "published");

    let new = |base: &str, head: &str, strategy: &str| {
        let name = format!("{base}-{head}-{strategy}");
        json!({"name": name, "base": {"model": base, "version": 1, "head": head},
            "learning": {"strategy": strategy}, "schedule": {"paused": true}})
    };
    // The network has no sums, the sums have no network that was trained, and neither has samples here.
    for (base, strategy) in [
        ("reader", "analytic"),
        ("reader", "retrain"),
        ("sums", "auto"),
        ("sums", "replay"),
        ("sums", "retrain"),
    ] {
        let problem = api.post("/v1/models", new(base, "grow", strategy)).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/learning/strategy", "{base} {strategy}");
        api.get(&format!("/v1/models/{base}-grow-{strategy}")).await.problem(404);
        // There is nothing to lose.
        api.post("/v1/models", new(base, "replace", strategy)).await.expect(201);
    }
    let anew = json!({"name": "anew", "input": {"kind": "tabular", "dim": 5},
        "network": {"hidden": [8, 6]}, "learning": {"strategy": "retrain"}});
    api.post("/v1/models", anew).await.expect(201);
    import(api, "anew", READER).await.problem(422);

    api.post("/v1/models", new("sums", "grow", "analytic")).await.expect(201);
    let child = "sums-grow-analytic";
    check_keeps(api, child, &["auto", "retrain"], "cat, yak").await;
    // What it was copied from has samples of all that it knows.
    patch_strategy(api, "sums", "auto").await.expect(200);
    api.send_samples(child, &blobs(&["emu"], 100, 5, 2)).await;
    assert_eq!(api.update(child).await["outcome"], "published");
    let unseen = blobs(&["cat", "yak", "emu"], 40, 5, 3);
    let inputs: Vec<&Vec<f32>> = unseen.iter().map(|(input, _)| input).collect();
    let answers = api.labels(child, &inputs).await;
    let right = answers.iter().zip(&unseen).filter(|(answer, (_, label))| answer == label).count();
    assert!(right > 110, "{right} of 120");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_strategy_is_chosen_by_which_labels_without_samples_would_be_lost() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "reader").await;
    // There is nothing to lose yet.
    patch_strategy(api, "reader", "retrain").await.expect(200);
    patch_strategy(api, "reader", "auto").await.expect(200);
    import(api, "reader", READER).await.expect(201);
    let base = json!({"model": "reader", "version": 1});
    let child = json!({"name": "child", "base": base, "schedule": {"paused": true}});
    api.post("/v1/models", child).await.expect(201);

    let anew = ["analytic", "retrain"];
    for model in ["reader", "child"] {
        check_keeps(api, model, &anew, "cat, dog, owl").await;
        patch_strategy(api, model, "replay").await.expect(200);
    }
    api.send_samples("reader", &blobs(&["cat", "yak"], 100, 5, 1)).await;
    api.update("reader").await;
    check_keeps(api, "reader", &anew, "dog, owl").await;
    // What waits for the next update is learnt by it.
    api.send_samples("reader", &blobs(&["dog", "owl"], 100, 5, 1)).await;
    patch_strategy(api, "reader", "analytic").await.expect(200);
    patch_strategy(api, "reader", "retrain").await.expect(200);
    let update = api.update("reader").await;
    assert_eq!(update["report"]["training"]["strategy"], "retrain", "{update}");

    // A model that learnt all it knows from samples may do without those that were deleted.
    api.create_model("m", 5).await;
    let cats = api.send_samples("m", &blobs(&["cat"], 100, 5, 1)).await;
    api.send_samples("m", &blobs(&["dog"], 100, 5, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let batch = format!("/v1/models/m/batches/{}", cats["batch"]["id"].as_str().unwrap());
    assert_eq!(api.delete(&batch).await.expect(200)["samples"], 100);
    patch_strategy(api, "m", "retrain").await.expect(200);
    service.stop().await;
}
