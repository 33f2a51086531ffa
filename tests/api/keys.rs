//! Keys: who is let in, and to what.

use std::process::Output;
use std::time::Duration;

use futures_util::stream;
use perennial::app::Service;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::support::process::perennial;
use super::support::{Answer, Api, Database, TestService, blobs, readable_dir, serve_args};

/// `perennial key …` on the database of a service.
fn key(database: &Database, args: &[&str]) -> Output {
    let dir = readable_dir();
    let mut command = perennial("key", dir.path(), &["--database-url", &database.url]);
    command.args(args).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.output().unwrap()
}

/// Makes a key.
#[track_caller]
pub fn create(database: &Database, args: &[&str]) -> String {
    let output = key(database, &[&["create", "test"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ends a key.
#[track_caller]
pub fn revoke(database: &Database, key: &str) {
    assert!(self::key(database, &["revoke", &key[..12]]).status.success());
}

/// Waits until the service answers `status`: what changes in the database is heard of soon.
pub async fn until(api: &Api, path: &str, status: u16) {
    for _ in 0..500 {
        if api.get(path).await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} does not come to answer {status}");
}

/// What each operation needs, said here once more by hand: a new one must be thought about.
const NEEDS: [(&[&str], &str); 5] = [
    (&[], "healthz readyz openapiYaml openapiJson serverMetadata serverLive serverReady"),
    (
        &["predict"],
        "predict predictByVersion predictByAlias predictInstances predictInstancesByVersion \
         predictInstancesByAlias infer inferByVersion",
    ),
    (
        &["read", "predict"],
        "modelMetadata versionMetadata modelReady versionReady modelNames repositoryIndex statistics \
         modelStatistics versionStatistics",
    ),
    (
        &["read"],
        "metrics listModels getModel listBatches getBatch listUpdates listModelUpdates getUpdate \
         listUpdateSelection followUpdate followUpdates listVersions getVersion downloadCheckpoint \
         listAliases planRetention",
    ),
    (
        &["write"],
        "giveFeedback createModel patchModel createBatch deleteBatch deleteSamples requestUpdate cancelUpdate \
         retryUpdate importVersion putAlias deleteAlias",
    ),
];

fn needs(operation: &str) -> &'static [&'static str] {
    if ["deleteModel", "listAudit"].contains(&operation) {
        return &["admin"];
    }
    let found = NEEDS.iter().find(|(_, names)| names.split(' ').any(|name| name == operation));
    found.unwrap_or_else(|| panic!("say here which scope {operation} needs")).0
}

#[tokio::test]
async fn every_operation_asks_for_its_scope() {
    let service = TestService::start().await;
    let document = service.api.get("/openapi.json").await.expect(200);
    let scopes = ["read", "predict", "write", "admin"];
    let keys = scopes.map(|scope| create(&service.database, &["--scope", scope]));
    until(&service.api, "/v1/models", 401).await;
    let mut n_operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needed = needs(operation["operationId"].as_str().unwrap());
            let path = path
                .replace("{model}", "none")
                .replace("{n}", "1")
                .replace("{alias}", "other")
                .replace("{id}", "01900000-0000-7000-8000-000000000000");
            let method: Method = method.to_uppercase().parse().unwrap();
            // A stream of events does not end by itself: what counts is its head.
            let ask = async |api: &Api| match path.as_str() {
                "/v1/events" => api.begin(api.request(method.clone(), &path)).await,
                _ => api.send(api.request(method.clone(), &path)).await,
            };
            let words: Vec<&str> = operation["security"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| one["key"][0].as_str().unwrap())
                .collect();
            assert_eq!(words, needed, "{method} {path}");
            n_operations += 1;
            let stranger = ask(&service.api).await;
            if needed.is_empty() {
                assert_eq!(stranger.status, 200, "{method} {path}");
                continue;
            }
            assert_eq!(stranger.header("www-authenticate"), "Bearer realm=\"perennial\"");
            let is_foreign = path.starts_with("/v2") || path.ends_with(":predict");
            let refused = |answer: Answer, status| match is_foreign {
                true => assert!(answer.expect(status)["error"].is_string()),
                false => drop(answer.problem(status)),
            };
            refused(stranger, 401);
            for (scope, key) in scopes.iter().zip(&keys) {
                let answer = ask(&service.api.with_key(key)).await;
                if *scope == "admin" || needed.contains(scope) {
                    assert!(
                        ![401, 403].contains(&answer.status.as_u16()),
                        "{method} {path} {scope}"
                    );
                } else {
                    refused(answer, 403);
                }
            }
        }
    }
    assert!(n_operations >= 30, "{n_operations}");
}

#[tokio::test]
async fn a_verb_asks_for_its_scope_however_it_is_written() {
    let service = TestService::start().await;
    let [writes, predicts] =
        ["write", "predict"].map(|scope| create(&service.database, &["--scope", scope]));
    until(&service.api, "/v1/models", 401).await;
    until(&service.api.with_key(&predicts), "/v2/models/none", 404).await;
    for path in [
        "/v1/models/none:predict",
        "/v1/models/none%3Apredict",
        "/v1/models/none/versions/1%3apredict",
        "/v1/models/none/labels/live:predic%74",
    ] {
        for (key, status) in [(&writes, 403), (&predicts, 404)] {
            let answer = service.api.with_key(key).post(path, json!({"instances": [[0]]})).await;
            assert_eq!(answer.status, status, "{path} {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_service_is_open_until_its_first_key_and_closed_even_without_a_good_one() {
    let service = TestService::start().await;
    service.api.get("/v1/models").await.expect(200);
    let key = create(&service.database, &["--scope", "admin"]);
    until(&service.api, "/v1/models", 401).await;
    let holder = service.api.with_key(&key);
    holder.create_model("m", 2).await;
    for wrong in ["", "x", &key[..key.len() - 1], &format!("{key}x"), "a b"] {
        let request = service.api.request(Method::GET, "/v1/models").bearer_auth(wrong);
        service.api.send(request).await.problem(401);
    }
    let request = service.api.request(Method::GET, "/v1/models").basic_auth("user", Some(&key));
    service.api.send(request).await.problem(401);

    revoke(&service.database, &key);
    until(&holder, "/v1/models", 401).await;
    service.api.get("/v1/models").await.problem(401);
    assert_eq!(self::key(&service.database, &["revoke", "pnl_none"]).status.code(), Some(1));
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_by_its_prefix() {
    let service = TestService::start().await;
    let args = ["--scope", "read", "--scope", "predict", "--model", "a", "--expires-in-days", "9"];
    let key = create(&service.database, &args);
    until(&service.api, "/v1/models", 401).await;
    service.api.with_key(&key).get("/v1/models/a").await.problem(404);
    let pool = service.database.pool().await;
    let rows = "SELECT string_agg(keys::text, ' ') FROM keys";
    let kept: String = sqlx::query_scalar(rows).fetch_one(&pool).await.unwrap();
    assert!(kept.contains(&key[..12]) && !kept.contains(&key[12..]), "only its beginning is kept");
    // The next notice makes the service write down what was used.
    create(&service.database, &["--scope", "admin"]);
    for _ in 0..500 {
        let listed = self::key(&service.database, &["list"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains(&key), "{listed}");
        let line = listed.lines().find(|line| line.starts_with(&key[..12])).unwrap();
        assert!(line.contains("read,predict") && line.ends_with("good"), "{line}");
        if !line.contains("never") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("its use is not written down");
}

#[tokio::test]
async fn a_key_may_be_for_some_models_alone() {
    let service = TestService::start().await;
    for model in ["mine", "other"] {
        service.api.create_model(model, 2).await;
        service.api.send_samples(model, &blobs(&["a", "b"], 40, 2, 1)).await;
    }
    let [mine, other] = [service.api.update("mine").await, service.api.update("other").await];
    let admin = create(&service.database, &["--scope", "admin", "--model", "mine"]);
    until(&service.api, "/v1/models", 401).await;
    let api = service.api.with_key(&admin);
    let path = |update: &Value| format!("/v1/updates/{}", update["id"].as_str().unwrap());
    api.get("/v1/models/mine").await.expect(200);
    api.get(&path(&mine)).await.expect(200);
    // An id below a model is none of an update.
    let batches = api.get("/v1/models/mine/batches").await.expect(200);
    let batch = batches["items"][0]["id"].as_str().unwrap();
    api.get(&format!("/v1/models/mine/batches/{batch}")).await.expect(200);
    assert_eq!(api.labels("mine", &[[0.0, 0.0]]).await.len(), 1);
    // What it is not for is not there.
    let audit = api.get("/v1/audit").await.problem(403);
    assert_eq!(audit["code"], "forbidden");
    for hidden in ["/v1/models/other".to_owned(), "/v1/models/none".to_owned(), path(&other)] {
        api.get(&hidden).await.problem(404);
    }
    let inputs = json!({"inputs": [[0.0, 0.0]]});
    api.post("/v1/models/other/predict", inputs).await.problem(404);
    let instances = json!({"instances": [[0.0, 0.0]]});
    api.post("/v1/models/mine:predict", instances.clone()).await.expect(200);
    api.post("/v1/models/other:predict", instances).await.expect(404);
    for all in ["/v1/models", "/v1/updates", "/metrics"] {
        assert!(api.get(all).await.problem(403)["detail"].as_str().unwrap().contains("mine"));
    }
    let new = json!({"name": "new", "input": {"kind": "text"}});
    api.post("/v1/models", new).await.problem(403);
    let base = json!({"name": "mine2", "base": {"model": "other", "version": 1}});
    api.post("/v1/models", base).await.problem(403);
}

#[tokio::test]
async fn keys_are_known_while_the_database_is_away() {
    let service = TestService::start().await;
    service.api.create_model("m", 2).await;
    service.api.send_samples("m", &blobs(&["a", "b"], 40, 2, 1)).await;
    service.api.update("m").await;
    let key = create(&service.database, &["--scope", "predict"]);
    until(&service.api, "/v1/models", 401).await;
    let api = service.api.with_key(&key);
    api.labels("m", &[[0.0, 0.0]]).await;
    service.database.allow_connections(false).await;
    api.labels("m", &[[0.0, 0.0]]).await;
    let inputs = json!({"inputs": [[0.0, 0.0]]});
    service.api.post("/v1/models/m/predict", inputs).await.problem(401);
    service.database.allow_connections(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_opened_ends_when_it_is_revoked() {
    let service = TestService::start().await;
    service.api.create_model("m", 2).await;
    service.api.send_samples("m", &blobs(&["a", "b"], 40, 2, 1)).await;
    service.api.update("m").await;
    let open = async |api: &Api| {
        let events = api.request(Method::GET, "/v1/events").send().await.unwrap();
        assert_eq!(events.status(), 200);
        let (sender, receiver) = mpsc::channel::<&str>(1);
        sender.send("[0,0]\n").await.unwrap();
        let lines = reqwest::Body::wrap_stream(stream::unfold(receiver, |mut lines| async {
            Some((Ok::<_, std::io::Error>(lines.recv().await?), lines))
        }));
        let request = api.request(Method::POST, "/v1/models/m/predict");
        let request = request.header("content-type", "application/x-ndjson").body(lines);
        let mut answers = request.send().await.unwrap();
        assert!(answers.chunk().await.unwrap().is_some());
        (events, answers, sender)
    };
    let ended =
        async |(events, answers, _sender): (Response, Response, mpsc::Sender<&'static str>)| {
            events.text().await.unwrap();
            let last: Value = serde_json::from_str(&answers.text().await.unwrap()).unwrap();
            assert_eq!((&last["index"], &last["error"]["status"]), (&json!(1), &json!(401)));
            assert_eq!(last["error"]["code"], "unauthenticated");
        };
    // Of one without a key, too, once there are keys.
    let of_anyone = open(&service.api).await;
    let key = create(&service.database, &["--scope", "read", "--scope", "predict"]);
    ended(of_anyone).await;
    let other = create(&service.database, &["--scope", "read", "--scope", "predict"]);
    let [api, other_api] = [&key, &other].map(|key| service.api.with_key(key));
    until(&other_api, "/v1/models", 200).await;
    let (of_key, mut of_other) = (open(&api).await, open(&other_api).await);
    revoke(&service.database, &key);
    ended(of_key).await;
    // And no other.
    of_other.2.send("[0,0]\n").await.unwrap();
    let line = of_other.1.chunk().await.unwrap().unwrap();
    assert!(serde_json::from_slice::<Value>(&line).unwrap()["label"].is_string());
    service.stop().await;
}

#[tokio::test]
async fn where_others_reach_it_a_service_needs_a_key_to_start() {
    let database = Database::create().await;
    let dir = readable_dir();
    let everywhere = ["--listen", "0.0.0.0:0"];
    let args = serve_args(&database.url, dir.path(), &everywhere);
    let refused = Service::start(&args.settings, true, false).await.err().unwrap();
    assert!(refused.to_string().contains("perennial key create"), "{refused}");
    let open = [&everywhere[..], &["--allow-open-access"]].concat();
    let args = serve_args(&database.url, dir.path(), &open);
    Service::start(&args.settings, true, false).await.unwrap().stop().await;
    let key = create(&database, &["--scope", "read"]);
    let service = TestService::start_on(database, dir, &everywhere).await;
    service.api.get("/v1/models").await.problem(401);
    service.api.with_key(&key).get("/v1/models").await.expect(200);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let service = TestService::start_with(&["--requests-per-minute", "3"]).await;
    for left in ["2", "1", "0"] {
        let answer = service.api.get("/v1/models").await;
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=3;w=60");
        assert_eq!(answer.header("ratelimit"), format!("\"requests\";r={left};t=20"));
        answer.expect(200);
    }
    let refused = service.api.get("/v1/models").await;
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&seconds));
    assert_eq!(refused.problem(429)["code"], "too_many_requests");
    // Probes are not counted, and a key has a rate of its own.
    service.api.get("/healthz").await.expect(200);
    let key = create(&service.database, &["--scope", "read", "--rate", "1"]);
    let api = service.api.with_key(&key);
    until(&api, "/v1/models", 200).await;
    assert_eq!(api.get("/v1/models").await.header("ratelimit-policy"), "\"requests\";q=1;w=60");
}

#[tokio::test]
async fn who_has_no_good_key_is_counted_by_address_and_those_who_have_one_are_not_held_back() {
    let (database, dir) = (Database::create().await, readable_dir());
    let key = create(&database, &["--scope", "read", "--rate", "9"]);
    let service = TestService::start_on(database, dir, &["--requests-per-minute", "2"]).await;
    for (wrong, left, status) in
        [("pnl_one", 1, 401), ("pnl_two", 0, 401), ("pnl_three", 0, 429), ("pnl_four", 0, 429)]
    {
        let answer = service.api.with_key(wrong).get("/v1/models").await;
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=2;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"requests\";r={left};t=")));
        assert_eq!(answer.header("retry-after").is_empty(), status == 401);
        answer.problem(status);
    }
    service.api.get("/v1/models").await.problem(429);
    service.api.with_key(&key).get("/v1/models").await.expect(200);
    service.stop().await;
}

#[tokio::test]
async fn the_audit_tells_whose_key_it_was() {
    let service = TestService::start().await;
    service.api.create_model("open", 2).await;
    let key = create(&service.database, &["--scope", "admin"]);
    until(&service.api, "/v1/models", 401).await;
    let api = service.api.with_key(&key);
    api.create_model("closed", 2).await;
    let audit = api.get("/v1/audit").await.expect(200);
    let actors: Vec<&Value> =
        audit["items"].as_array().unwrap().iter().map(|entry| &entry["actor"]).collect();
    assert_eq!(actors, [&json!(format!("test ({})", &key[..12])), &Value::Null]);
}
