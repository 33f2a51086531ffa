//! What nobody is told: keys and passwords, however much is logged.

use serde_json::json;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::keys::create;
use super::support::process::{Process, free_address, log_to, perennial, ready};
use super::support::{Database, blobs, readable_dir};

const PASSWORD: &str = "a-password-that-no-log-may-hold";
/// What is shown of a key behind its mark.
const SHOWN: usize = 8;

/// Whatever in a text is longer than what is shown of a key, and begins like one.
fn keys_in(text: &str) -> Vec<&str> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let keys = text.split("pnl_").skip(1).map(|rest| rest.split(|c| !is_of_key(c)).next().unwrap());
    keys.filter(|key| key.len() > SHOWN).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_logs_nor_answers_tell_a_key_or_the_databases_password() {
    let (database, dir) = (Database::create().await, readable_dir());
    let key = create(&database, &["--scope", "admin"]);
    assert_eq!(keys_in(&key).len(), 1);
    let wrong = format!("{}x", &key[..key.len() - 1]);
    let (address, grpc_address) = (free_address(), free_address());
    let log = dir.path().join("log");
    let flags = ["--listen", &address, "--grpc-listen", &grpc_address, "--log", "trace"];
    let mut command = perennial("serve", dir.path(), &flags);
    // The server does not ask for it, and the client sends it all the same where it is asked.
    command.env("DATABASE_URL", database.url.replacen('@', &format!(":{PASSWORD}@"), 1));
    let service = Process::start(log_to(&mut command, &log));
    let anyone = ready(&address).await;
    let api = anyone.with_key(&key);
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a", "b"], 40, 2, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    api.labels("m", &[[0.0, 0.0]]).await;
    let mut told = vec![
        anyone.get("/v1/models").await.problem(401),
        anyone.with_key(&wrong).get("/v1/models").await.problem(401),
        api.get("/v1/models/none").await.problem(404),
        api.post("/v1/models", json!({"name": "x"})).await.problem(422),
        api.get("/v1/audit").await.expect(200),
        api.get("/metrics").await.expect(200),
        anyone.get("/openapi.yaml").await.expect(200),
    ];
    // A database that goes away is where its address might be told.
    database.allow_connections(false).await;
    told.push(api.get("/v1/models").await.problem(503));
    database.allow_connections(true).await;
    let channel = Channel::from_shared(format!("http://{grpc_address}")).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    for key in [&key, &wrong] {
        let mut ask = tonic::Request::new(HealthCheckRequest::default());
        ask.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        health.check(ask).await.unwrap();
    }
    assert!(service.stop().success());

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains(" TRACE ") && log.contains("/v1/models/none"), "nothing was logged");
    for text in told.iter().map(ToString::to_string).chain([log]) {
        for secret in [PASSWORD, &key, &wrong] {
            // The text is too long to be shown whole.
            assert!(!text.contains(secret), "{}", line_with(&text, secret));
        }
        assert_eq!(keys_in(&text), [""; 0]);
    }
}

fn line_with<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find(|line| line.contains(word)).unwrap_or_default()
}
