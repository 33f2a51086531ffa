//! From one release to the next: an older one's database and checkpoints are taken over, a newer one's are
//! left alone.

use std::path::Path;

use perennial::app::Service;
use serde_json::json;

use super::support::{Database, TestService, readable_dir, serve_args};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// `upgrade/` holds what version 0.1 left of one model, as it was before events, subjects, audit, retention
/// and keys: a published version, and a queued update with samples of a new label.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_releases_database_checkpoints_and_queued_updates_are_taken_over() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade");
    let (database, dir) = (Database::create().await, readable_dir());
    let pool = database.pool().await;
    let dump = std::fs::read_to_string(fixture.join("0.1.sql")).unwrap();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(dump)).execute(&mut *connection).await.unwrap();
    // The dump leaves it without a search path.
    connection.close().await.unwrap();
    copy(&fixture.join("checkpoints"), &dir.path().join("checkpoints"));

    let service = TestService::start_on(database, dir, &[]).await;
    let api = &service.api;
    let path = "/v1/models/old/versions/1/predict";
    let inputs = json!([
        {"x": 1.5, "city": "oslo"}, {"x": -1.5, "city": "bern"}, {"x": 0, "city": "rome"}]);
    let answer = api.post(path, json!({"inputs": inputs})).await.expect(200);
    let expected = [("a", 0.8351598), ("b", 0.8680036), ("a", 0.59579664)];
    for (prediction, (label, probability)) in
        answer["predictions"].as_array().unwrap().iter().zip(expected)
    {
        assert_eq!(prediction["label"], label);
        assert!((prediction["probability"].as_f64().unwrap() - probability).abs() < 1e-5);
    }
    let updates = api.get("/v1/models/old/updates").await.expect(200);
    let queued = api.wait(updates["items"][0]["id"].as_str().unwrap()).await;
    assert_eq!((&queued["outcome"], &queued["version"]), (&json!("published"), &json!(2)));
    assert_eq!(queued["report"]["new_labels"], json!(["c"]));
    let version = api.get("/v1/models/old/versions/2").await.expect(200);
    assert_eq!((&version["parent"], &version["labels"]), (&json!(1), &json!(["a", "b", "c"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_releases_schema_is_refused_in_words() {
    let service = TestService::start().await;
    let (database, dir) = service.stop().await;
    let pool = database.pool().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', true, '', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    for more in [&[][..], &["--no-migrate"]] {
        let args = serve_args(&database.url, dir.path(), more);
        let refused = Service::start(&args.settings, true, true).await.err().unwrap().to_string();
        assert!(refused.contains("newer release") && refused.contains("9999"), "{refused}");
    }
}
