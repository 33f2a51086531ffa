//! The reason for it all: A is learnt and predicted; B is learnt; A is still right, and B is too.

use serde_json::{Value, json};

use crate::support::{Api, TestService, blobs};

async fn share_right(api: &Api, model: &str, labels: &[&str]) -> f64 {
    let unseen = blobs(labels, 50, 8, 99);
    let inputs: Vec<Vec<f32>> = unseen.iter().map(|(input, _)| input.clone()).collect();
    let answers = api.labels(model, &inputs).await;
    let right = answers.iter().zip(&unseen).filter(|(answer, (_, label))| answer == label).count();
    right as f64 / unseen.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learnt_first_is_still_known_after_what_came_later() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("story", 8).await;

    api.send_samples("story", &blobs(&["a", "b"], 200, 8, 1)).await;
    let first = api.update("story").await;
    assert_eq!(first["outcome"], "published", "{first}");
    assert!(share_right(api, "story", &["a", "b"]).await > 0.95);

    api.send_samples("story", &blobs(&["c", "d"], 200, 8, 2)).await;
    let second = api.update("story").await;
    assert_eq!(
        (&second["outcome"], &second["version"]),
        (&json!("published"), &json!(2)),
        "{second}"
    );
    assert_eq!(second["report"]["new_labels"], json!(["c", "d"]));
    assert!(share_right(api, "story", &["a", "b"]).await > 0.95, "the old labels are forgotten");
    assert!(share_right(api, "story", &["c", "d"]).await > 0.95, "the new labels are not learnt");

    let evaluation = &second["report"]["evaluation"];
    assert_eq!(evaluation["matrix"].as_array().unwrap().len(), 2);
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.9);
    let naive = &evaluation["counterfactual"]["naive"];
    assert!(naive["accuracy"].as_f64() < evaluation["accuracy"].as_f64(), "{evaluation}");
    let model = api.get("/v1/models/story").await.expect(200);
    assert_eq!((&model["live_version"], &model["pending_samples"]), (&json!(2), &json!(0)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_fine_tuning_forgets_so_the_test_above_can_fail() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("naive", 8).await;
    let no_limit = json!({"max_drop": null, "max_forgetting": null, "max_class_drop": null});
    let naive = json!({"learning": {"strategy": "naive"}, "gate": no_limit});
    api.patch("/v1/models/naive", naive).await.expect(200);
    for (step, labels) in [["a", "b"], ["c", "d"]].iter().enumerate() {
        api.send_samples("naive", &blobs(labels, 200, 8, step as u64 + 1)).await;
        assert_eq!(api.update("naive").await["outcome"], "published");
    }
    let old = share_right(api, "naive", &["a", "b"]).await;
    assert!(old < 0.8, "naive fine-tuning kept {old} of the old labels: the story proves nothing");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixture_of_experts_learns_and_grows() {
    let service = TestService::start().await;
    let api = &service.api;
    let network = json!({"kind": "moe", "hidden": [16], "experts": 2, "top_k": 1, "grow": true});
    let input = json!({"kind": "tabular", "dim": 8});
    let paused = json!({"paused": true});
    let model = json!({"name": "moe", "input": input, "network": network, "schedule": paused});
    let created = api.post("/v1/models", model).await.expect(201);
    assert_eq!(created["network"], network);
    for (step, labels) in [["a", "b"], ["c", "d"]].iter().enumerate() {
        api.send_samples("moe", &blobs(labels, 200, 8, step as u64 + 1)).await;
        let update = api.update("moe").await;
        assert_eq!(update["outcome"], "published", "{update}");
    }
    let right = share_right(api, "moe", &["a", "b", "c", "d"]).await;
    assert!(right > 0.95, "{right}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_queues_updates_by_itself() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("digest", 8).await;
    let schedule = json!({"schedule": {"paused": false, "min_samples": 100, "max_delay_s": 3600}});
    api.patch("/v1/models/digest", schedule).await.expect(200);
    let few = api.send_samples("digest", &blobs(&["a", "b"], 40, 8, 1)).await;
    assert_eq!(few["update"], Value::Null);
    let enough = api.send_samples("digest", &blobs(&["a", "b"], 40, 8, 2)).await;
    let update = api.wait(enough["update"]["id"].as_str().unwrap()).await;
    assert_eq!((&update["trigger"], &update["outcome"]), (&json!("schedule"), &json!("published")));

    // Too few again, but the oldest has waited long enough.
    let schedule = json!({"schedule": {"max_delay_s": 1}});
    api.patch("/v1/models/digest", schedule).await.expect(200);
    api.send_samples("digest", &blobs(&["c"], 40, 8, 3)).await;
    let second = loop {
        let updates = api.get("/v1/models/digest/updates").await.expect(200);
        if updates["items"].as_array().unwrap().len() == 2 {
            break updates["items"][0]["id"].as_str().unwrap().to_owned();
        }
    };
    assert_eq!(api.wait(&second).await["version"], 2);
    service.stop().await;
}
