//! Events: an update followed as it runs, and again; what is told, in which order, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use perennial::domain::event::Happening;
use perennial::domain::live::RolledBack;
use perennial::domain::update::Phase;
use perennial::storage::events;
use perennial::storage::jobs::{self, Claim};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Api, TestService, blobs};

/// An event as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: i64,
    pub kind: String,
    pub data: Value,
}

/// A stream of events.
pub struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    pub async fn open(api: &Api, path: &str) -> Self {
        Self::of(api.request(Method::GET, path).send().await.unwrap())
    }

    pub async fn open_after(api: &Api, path: &str, last: i64) -> Self {
        let request = api.request(Method::GET, path).header("last-event-id", last);
        Self::of(request.send().await.unwrap())
    }

    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-store", "no"));
        Self { response, text: String::new() }
    }

    /// The next event; none when the stream has closed in order.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = parse(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// All events until the stream closes.
    pub async fn rest(mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(event) = self.next().await {
            told.push(event);
        }
        told
    }
}

/// An event from its lines; none of a block without data.
fn parse(block: &str) -> Option<Told> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let data = serde_json::from_str(field("data")?).unwrap();
    let id = field("id")?.trim().parse().unwrap();
    Some(Told { id, kind: field("event")?.trim().to_owned(), data })
}

fn of_kind<'a>(told: &'a [Told], kind: &str) -> Vec<&'a Value> {
    told.iter().filter(|event| event.kind == kind).map(|event| &event.data).collect()
}

/// Asks for an update; its id.
pub async fn queue(api: &Api, model: &str) -> String {
    let queued = api.post(&format!("/v1/models/{model}/updates"), json!({})).await.expect(202);
    queued["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_told_phase_by_phase_and_epoch_by_epoch_and_can_be_told_again() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    api.send_samples("m", &blobs(&["a", "b"], 200, 8, 1)).await;
    let id = queue(api, "m").await;
    let path = format!("/v1/updates/{id}/events");
    let told = Stream::open(api, &path).await.rest().await;

    let update = api.wait(&id).await;
    let kinds = BTreeSet::from_iter(told.iter().map(|event| event.kind.as_str()));
    assert!(kinds.is_subset(&BTreeSet::from(["progress", "phase", "epoch", "end"])), "{kinds:?}");
    assert!(told.windows(2).all(|two| two[0].id < two[1].id), "{told:#?}");
    for Told { data, .. } in &told {
        assert_eq!((&data["update"], &data["model"]), (&json!(id), &json!("m")));
        assert_eq!(data["attempt"], 1);
    }
    let phases: Vec<&str> =
        of_kind(&told, "phase").iter().map(|data| data["phase"].as_str().unwrap()).collect();
    let expected = ["preprocess", "select", "train", "compensate", "evaluate", "publish"];
    let reached: Vec<&str> = expected.into_iter().filter(|phase| phases.contains(phase)).collect();
    assert_eq!(phases, reached, "each phase once, in its order");
    assert!(phases.len() >= 5, "{phases:?}");
    let epochs = of_kind(&told, "epoch");
    let reported = update["report"]["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), reported.len());
    for (told, reported) in epochs.iter().zip(reported) {
        assert_eq!((&told["epoch"], &told["loss"]), (&reported["epoch"], &reported["loss"]));
    }
    let shares: Vec<f64> =
        of_kind(&told, "progress").iter().map(|data| data["progress"].as_f64().unwrap()).collect();
    assert!(shares.windows(2).all(|two| two[1] - two[0] > 0.009), "{shares:?}");
    let end = told.last().unwrap();
    assert_eq!((end.kind.as_str(), &end.data["status"]), ("end", &json!("succeeded")));
    assert_eq!((&end.data["outcome"], &end.data["version"]), (&json!("published"), &json!(1)));

    // It has ended: the same again, from wherever one was.
    assert_eq!(Stream::open(api, &path).await.rest().await, told);
    for (seen, event) in told.iter().enumerate().take(told.len() - 1) {
        let rest = Stream::open_after(api, &path, event.id).await.rest().await;
        assert_eq!(rest, told[seen + 1..]);
    }
    let after = format!("{path}?after={}", told[1].id);
    assert_eq!(Stream::open(api, &after).await.rest().await, told[2..]);
    // Who has seen the end has no reason to come back.
    assert_eq!(api.get(&format!("{path}?after={}", end.id)).await.status, 204);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_updates_of_all_models_are_told_in_one_stream() {
    let service = TestService::start().await;
    let api = &service.api;
    let mut all = Stream::open(api, "/v1/events").await;
    for model in ["one", "two"] {
        api.create_model(model, 8).await;
        api.send_samples(model, &blobs(&["a", "b"], 50, 8, 1)).await;
        queue(api, model).await;
    }
    let mut told = Vec::new();
    while of_kind(&told, "end").len() < 2 {
        told.push(all.next().await.expect("it stays open"));
    }
    let of_model = |model: &str| told.iter().filter(|event| event.data["model"] == model).count();
    assert!(of_model("one") > 5 && of_model("two") > 5, "{told:#?}");
    assert_eq!(of_model("one") + of_model("two"), told.len());

    // Whoever comes later may be told all that is kept, and goes on from there.
    let mut again = Stream::open(api, "/v1/events?after=0").await;
    for event in &told {
        assert_eq!(again.next().await.as_ref(), Some(event));
    }
    api.post("/v1/models/one/updates", json!({"force": true})).await.expect(202);
    let next = again.next().await.unwrap();
    assert_eq!((next.kind.as_str(), &next.data["phase"]), ("phase", &json!("preprocess")));
    assert_eq!(all.next().await, Some(next));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_refused() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    api.get("/v1/updates/00000000-0000-7000-8000-000000000000/events").await.problem(404);
    api.get("/v1/updates/7/events").await.problem(404);
    for query in ["after=x", "after=-1", "before=1"] {
        api.get(&format!("/v1/events?{query}")).await.problem(422);
    }
    let request = api.request(Method::GET, "/v1/events").header("last-event-id", "x");
    let refused = api.send(request).await.problem(422);
    assert_eq!(refused["errors"][0]["pointer"], "/header/last-event-id");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_open_transaction_is_not_overtaken() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let pool = service.database.pool().await;
    let claim = running_job(&service.api, &pool).await;
    let happening = [Happening::Phase { phase: Phase::Train }];

    let mut first = pool.begin().await.unwrap();
    events::take_turn(&mut first).await.unwrap();
    events::insert(&mut first, claim.id, 1, &happening).await.unwrap();
    // What is told by the way waits for the next time, what ends an update for its turn.
    let mut beat = pool.acquire().await.unwrap();
    assert!(!events::try_insert(&mut beat, claim, &happening).await.unwrap());
    let second = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut second = pool.begin().await.unwrap();
            events::take_turn(&mut second).await.unwrap();
            events::insert(&mut second, claim.id, 2, &[Happening::Phase { phase: Phase::Train }])
                .await
                .unwrap();
            second.commit().await.unwrap();
        }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() == 0 {
        assert!(!second.is_finished(), "it overtakes the first");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.commit().await.unwrap();
    second.await.unwrap();
    assert!(events::try_insert(&mut beat, claim, &happening).await.unwrap());
    let told = events::list(&mut beat, Some(claim.id), 0, 10).await.unwrap();
    let attempts: Vec<i32> = told.iter().map(|event| event.attempt).collect();
    assert_eq!(attempts, [1, 2, claim.attempt]);
    // A run that lost its job tells nothing.
    let lost = Claim { attempt: claim.attempt + 1, ..claim };
    assert!(!events::try_insert(&mut beat, lost, &happening).await.unwrap());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_from_the_last_event_misses_none_of_many_writers() {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let service = TestService::start_with(&["--no-worker"]).await;
    let pool = service.database.pool().await;
    let claim = running_job(&service.api, &pool).await;
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        let pool = pool.clone();
        writing.spawn(async move {
            for number in 0..EACH {
                let mut tx = pool.begin().await.unwrap();
                events::take_turn(&mut tx).await.unwrap();
                let happening = Happening::Progress { progress: (writer * EACH + number) as f64 };
                events::insert(&mut tx, claim.id, 1, &[happening]).await.unwrap();
                // Others get to run between the id and its commit.
                tokio::time::sleep(Duration::from_micros(200)).await;
                tx.commit().await.unwrap();
            }
        });
    }
    let (mut seen, mut last) = (BTreeSet::new(), 0);
    let mut db = pool.acquire().await.unwrap();
    loop {
        let is_over = writing.is_empty();
        for event in events::list(&mut db, None, last, 7).await.unwrap() {
            last = event.id;
            seen.insert(event.data["progress"].as_f64().unwrap() as usize);
        }
        if seen.len() == WRITERS * EACH {
            break;
        }
        while let Some(written) = writing.try_join_next() {
            written.unwrap();
        }
        let left = events::list(&mut db, None, last, 1).await.unwrap().len();
        assert!(!is_over || left > 0, "{} of {} were seen", seen.len(), WRITERS * EACH);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_a_model_is_kept_longer_than_its_updates_and_goes_with_it() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let pool = service.database.pool().await;
    let claim = running_job(&service.api, &pool).await;
    let why = RolledBack {
        from: 2,
        accuracy: 0.5,
        labelled: 300,
        previous_accuracy: 0.75,
        previous_labelled: 1_000,
    };
    let mut tx = pool.begin().await.unwrap();
    events::take_turn(&mut tx).await.unwrap();
    let phase = Happening::Phase { phase: Phase::Train };
    events::insert(&mut tx, claim.id, 1, &[phase]).await.unwrap();
    let rollback = Happening::Rollback { to: 1, why };
    events::insert_of_model(&mut tx, claim.model, &rollback).await.unwrap();
    tx.commit().await.unwrap();

    let mut db = pool.acquire().await.unwrap();
    let of_update = events::list(&mut db, Some(claim.id), 0, 10).await.unwrap();
    assert_eq!(of_update.len(), 1, "who follows an update is not told of its model");
    assert_eq!(events::list(&mut db, None, 0, 10).await.unwrap().len(), 2);
    let age = "UPDATE events SET created_at = now() - interval '8 days'";
    sqlx::query(age).execute(&mut *db).await.unwrap();
    assert_eq!(events::sweep(&mut db).await.unwrap(), 1);
    let told = Stream::open(&service.api, "/v1/events?after=0").await.next().await.unwrap();
    assert_eq!((told.kind.as_str(), &told.data["update"]), ("rollback", &Value::Null));
    assert_eq!((&told.data["model"], &told.data["attempt"]), (&json!("m"), &json!(0)));
    assert_eq!(service.api.delete("/v1/models/m").await.status, 204);
    assert_eq!(events::list(&mut db, None, 0, 10).await.unwrap(), []);
    service.stop().await;
}

/// A job that is taken for running.
pub async fn running_job(api: &Api, pool: &PgPool) -> Claim {
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a"], 1, 2, 1)).await;
    let id = Uuid::parse_str(&queue(api, "m").await).unwrap();
    let claim = jobs::claim(&mut pool.acquire().await.unwrap(), 60.0).await.unwrap().unwrap();
    assert_eq!(claim.id, id);
    claim
}
