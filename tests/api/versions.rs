//! Versions and aliases: promoted, rolled back, downloaded, damaged.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::grpc::{GRPC, is_ready};
use crate::oip::refused;
use crate::support::{TestService, blobs};

async fn two_versions(service: &TestService) {
    let api = &service.api;
    api.create_model("m", 8).await;
    for (seed, labels) in [(1, ["a", "b"]), (2, ["c", "d"])] {
        api.send_samples("m", &blobs(&labels, 100, 8, seed)).await;
        assert_eq!(api.update("m").await["outcome"], "published");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_goes_back_and_forth_and_other_aliases_stay() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(&service).await;
    let versions = api.get("/v1/models/m/versions").await.expect(200);
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(1)]);
    assert_eq!(versions["items"][0]["parent"], 1);
    assert_eq!(versions["items"][0]["labels"], json!(["a", "b", "c", "d"]));

    let predict = async |path: &str| {
        let inputs = json!({"inputs": [blobs(&["c"], 1, 8, 9)[0].0]});
        api.post(&format!("/v1/models/m{path}/predict"), inputs).await
    };
    assert_eq!(predict("").await.expect(200)["version"], 2);
    api.put("/v1/models/m/aliases/live", json!({"version": 1})).await.expect(200);
    assert_eq!(predict("").await.expect(200)["version"], 1);
    api.put("/v1/models/m/aliases/next", json!({"version": 2})).await.expect(200);
    assert_eq!(predict("/aliases/next").await.expect(200)["version"], 2);
    assert_eq!(predict("/versions/2").await.expect(200)["version"], 2);
    predict("/versions/9").await.problem(404);
    predict("/aliases/none").await.problem(404);
    api.put("/v1/models/m/aliases/live", json!({"version": 9})).await.problem(404);
    api.delete("/v1/models/m/aliases/live").await.problem(409);
    assert_eq!(api.delete("/v1/models/m/aliases/next").await.status, 204);
    let aliases = api.get("/v1/models/m/aliases").await.expect(200);
    assert!(aliases.to_string().contains("\"live\"") && !aliases.to_string().contains("\"next\""));

    // The next update goes on from the version that is live, under a number of its own.
    api.send_samples("m", &blobs(&["a", "b"], 100, 8, 3)).await;
    assert_eq!(api.update("m").await["version"], 3);
    assert_eq!(api.get("/v1/models/m/versions/3").await.expect(200)["parent"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_that_are_moved_and_deleted_are_in_the_audit_and_what_is_refused_is_not() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(&service).await;
    api.put("/v1/models/m/aliases/live", json!({"version": 1})).await.expect(200);
    // Who answers beside it is told, too: all clients may be the canary's.
    let canary = json!({"version": 1, "share": 1.0});
    let next = json!({"version": 2, "canary": canary, "shadow": 1});
    api.put("/v1/models/m/aliases/next", next).await.expect(200);
    api.put("/v1/models/m/aliases/next", json!({"version": 9})).await.problem(404);
    assert_eq!(api.delete("/v1/models/m/aliases/next").await.status, 204);
    api.delete("/v1/models/m/aliases/next").await.problem(404);
    api.delete("/v1/models/m/aliases/live").await.problem(409);
    let audit = api.get("/v1/audit").await.expect(200);
    let told: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["model"].clone(), entry["action"].clone(), entry["detail"].clone()))
        .collect();
    let of_m = |action: &str, detail| (json!("m"), json!(action), detail);
    let expected = [
        of_m("alias_deleted", json!({"alias": "next"})),
        of_m("alias_moved", json!({"alias": "next", "version": 2, "canary": canary, "shadow": 1})),
        of_m("alias_moved", json!({"alias": "live", "version": 1, "canary": null, "shadow": null})),
        of_m("model_created", json!({})),
    ];
    assert_eq!(told, expected);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_what_its_digest_says() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(&service).await;
    let version = api.get("/v1/models/m/versions/1").await.expect(200);
    let url = format!("{}/v1/models/m/versions/1/checkpoint", api.address);
    let answer = api.client.get(&url).send().await.unwrap();
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let file = answer.bytes().await.unwrap();
    let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(version["checkpoint"]["sha256"], digest.as_str());
    assert_eq!(version["checkpoint"]["bytes"], file.len());
    assert_eq!(etag, format!("\"{digest}\""));
    // A client may have several copies, and say so in several lines.
    let copies = api.client.get(&url).header("if-none-match", "\"other\"");
    let unchanged = copies.header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(unchanged.status(), 304);
    assert_eq!(unchanged.headers()["etag"], etag);
    assert_eq!(unchanged.headers()["cache-control"], "no-cache", "as the file itself is sent");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_version_already_is_told_when_it_is_another() {
    let service = TestService::start().await;
    let api = &service.api;
    two_versions(&service).await;
    let url = format!("{}/v1/models/m/versions/2", api.address);
    let read = async |known: Option<&str>| {
        let request = api.client.get(&url);
        let request = match known {
            Some(known) => request.header("if-none-match", known),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), tag, answer.bytes().await.unwrap().len())
    };
    let (status, tag, length) = read(None).await;
    assert!(status == 200 && length > 0);
    assert_eq!(read(Some(&tag)).await, (304, tag.clone(), 0));
    api.put("/v1/models/m/aliases/two", json!({"version": 2})).await.expect(200);
    let (status, other, _) = read(Some(&tag)).await;
    assert!(status == 200 && other != tag, "its aliases are others");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_the_trouble_of_its_version_alone() {
    let service = TestService::start().await;
    two_versions(&service).await;
    let first = service.api.get("/v1/models/m/versions/1").await.expect(200);
    let second = service.api.get("/v1/models/m/versions/2").await.expect(200);
    let file = |version: &serde_json::Value| {
        let name = format!("{}.safetensors", version["checkpoint"]["sha256"].as_str().unwrap());
        let models = service.dir.path().join("checkpoints/models");
        let model = std::fs::read_dir(models).unwrap().next().unwrap().unwrap().path();
        model.join(name)
    };
    let (sound, path) = (std::fs::read(file(&second)).unwrap(), file(&second));
    std::fs::remove_file(file(&first)).unwrap();
    std::fs::write(&path, b"not what was written").unwrap();
    let (database, dir) = service.stop().await;

    let service = TestService::start_on(database, dir, &GRPC).await;
    let api = &service.api;
    assert_eq!(api.get("/readyz").await.status, 200);
    for path in ["/versions/1", "/versions/2", ""] {
        let inputs = json!({"inputs": [vec![0.0; 8]]});
        let problem = api.post(&format!("/v1/models/m{path}/predict"), inputs).await;
        assert!(problem.status.is_server_error(), "{path}: {}", problem.status);
        let detail = problem.body["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("version"), "{detail}");
    }
    // Nobody begins with it.
    let base = json!({"model": "m", "version": 1, "head": "grow"});
    let heir = json!({"name": "heir", "base": base});
    let problem = api.post("/v1/models", heir).await.problem(500);
    assert_eq!(problem["code"], "version_damaged");
    api.get("/v1/models/heir").await.problem(404);
    // Other protocols ask first what it takes, and whether it is ready.
    for (path, version) in [
        ("", 2),
        ("/ready", 2),
        ("/versions/1", 1),
        ("/versions/1/ready", 1),
        ("/versions/1/stats", 1),
    ] {
        let error = refused(api.get(&format!("/v2/models/m{path}")).await, 503);
        assert!(error.contains(&format!("version {version} cannot be used")), "{error}");
    }
    for version in ["", "1", "2"] {
        assert!(!is_ready(&service, "m", version).await, "{version}");
    }
    let index = async |ready: bool| {
        api.post("/v2/repository/index", json!({"ready": ready})).await.expect(200)
    };
    let reason = "the version's checkpoint is missing or damaged";
    let damaged = json!({"name": "m", "version": "2", "state": "UNAVAILABLE", "reason": reason});
    assert_eq!(index(false).await, json!([damaged]));
    assert_eq!(index(true).await, json!([]));
    // Another model learns and answers.
    api.create_model("other", 8).await;
    api.send_samples("other", &blobs(&["a", "b"], 100, 8, 1)).await;
    assert_eq!(api.update("other").await["outcome"], "published");
    assert_eq!(api.labels("other", &[blobs(&["a"], 1, 8, 9)[0].0.clone()]).await, ["a"]);
    // A file that is put back is read when it is asked for next.
    std::fs::write(&path, sound).unwrap();
    assert!(is_ready(&service, "m", "").await);
    let of = |name: &str, version: &str| json!({"name": name, "version": version, "state": "READY", "reason": ""});
    assert_eq!(index(true).await, json!([of("m", "2"), of("other", "1")]));
    service.stop().await;
}
