//! Who listens to events: thousands at once, those that fall behind, that go away, and that are there when the
//! service stops.

use std::time::{Duration, Instant};

use perennial::domain::event::Happening;
use perennial::domain::update::Phase;
use perennial::storage::events;
use perennial::storage::notices::{self, Notice};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::events::{Stream, queue, running_job};
use crate::support::{TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn all_who_listen_are_told_the_end_and_a_retried_update_begins_anew() {
    const LISTENERS: usize = 2000;
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a"], 1, 2, 1)).await;
    let id = queue(api, "m").await;
    let path = format!("/v1/updates/{id}/events");
    let pool = service.database.pool().await;
    let listening = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    for _ in 0..2 {
        let mut opening = JoinSet::new();
        for _ in 0..LISTENERS {
            let (api, path) = (api.clone(), path.clone());
            opening.spawn(async move { Stream::open(&api, &path).await });
        }
        let listeners = opening.join_all().await;
        let n_connections: i64 = sqlx::query_scalar(listening).fetch_one(&pool).await.unwrap();
        assert_eq!(n_connections, 1, "one connection listens for all of them");
        // Listeners take nothing that ordinary requests need.
        api.post(&format!("/v1/updates/{id}/cancel"), json!({})).await.expect(202);
        for listener in listeners {
            let told = listener.rest().await;
            assert_eq!(told.len(), 1, "{told:#?}");
            assert_eq!(
                (told[0].kind.as_str(), &told[0].data["status"]),
                ("end", &json!("cancelled"))
            );
        }
        api.post(&format!("/v1/updates/{id}/retry"), json!({})).await.expect(202);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_for_long_is_let_go_and_misses_nothing_on_coming_back() {
    // Twice as many as one may be behind, of more bytes than wait within a connection.
    const EVENTS: usize = 8_000;
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    let pool = service.database.pool().await;
    let claim = running_job(api, &pool).await;
    api.create_model("other", 2).await;
    api.send_samples("other", &blobs(&["a"], 1, 2, 1)).await;
    let other = queue(api, "other").await;
    let mut of_other = Stream::open(api, &format!("/v1/updates/{other}/events")).await;
    let mut slow = Stream::open(api, "/v1/events").await;

    let mut tx = pool.begin().await.unwrap();
    notices::send(&mut tx, &Notice::Told).await.unwrap();
    events::take_turn(&mut tx).await.unwrap();
    let many = "INSERT INTO events (update_id, attempt, kind, data)
                SELECT $1, 1, 'progress', jsonb_build_object('progress', 0.5, 'long', repeat('x', 10000))
                FROM generate_series(1, $2)";
    sqlx::query(many).bind(claim.id).bind(EVENTS as i64).execute(&mut *tx).await.unwrap();
    let last = [Happening::Phase { phase: Phase::Train }];
    events::insert(&mut tx, Uuid::parse_str(&other).unwrap(), 1, &last).await.unwrap();
    tx.commit().await.unwrap();
    // It comes behind all the others, so these have been passed on.
    let last = of_other.next().await.unwrap().id;

    let (mut seen, mut told) = (0, 0);
    while let Some(event) = slow.next().await {
        assert!(event.id > seen, "{} after {seen}", event.id);
        (seen, told) = (event.id, told + 1);
    }
    assert!(told < EVENTS, "whoever is that far behind is let go");
    let mut again = Stream::open_after(api, "/v1/events", seen).await;
    while seen < last {
        let event = again.next().await.unwrap();
        assert!(event.id > seen, "{} after {seen}", event.id);
        (seen, told) = (event.id, told + 1);
    }
    assert_eq!(told, EVENTS + 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_that_it_is_there() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let mut stream =
        service.api.client.get(format!("{}/v1/events", service.api.address)).send().await.unwrap();
    let mut text = String::new();
    while !text.lines().any(|line| line.starts_with(':')) {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.starts_with("retry: 3000\n\n:"), "{text}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_makes_room_for_another_listener() {
    let service = TestService::start_with(&["--no-worker", "--max-listeners", "2"]).await;
    let api = &service.api;
    let one = Stream::open(api, "/v1/events").await;
    let _two = Stream::open(api, "/v1/events").await;
    let refused = api.get("/v1/events").await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(503);
    api.create_model("m", 2).await;
    drop(one);
    let began = Instant::now();
    while api.request(Method::GET, "/v1/events").send().await.unwrap().status() != 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "the place stays taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_close_in_order_when_the_service_stops() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = service.api.clone();
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a"], 1, 2, 1)).await;
    let id = queue(&api, "m").await;
    let streams = [
        Stream::open(&api, "/v1/events").await,
        Stream::open(&api, &format!("/v1/updates/{id}/events")).await,
    ];
    service.stop().await;
    for stream in streams {
        // One that was cut would be an error.
        assert_eq!(stream.rest().await, []);
    }
}
