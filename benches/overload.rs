//! A service that is asked for more than it can do, or that is left waiting.
//!
//! - Overload: predictions on many times as many connections as are answered at once, of one input a request, which
//!   is answered before the next is read, and of a thousand, which queue. How many are answered and refused, the
//!   peak of memory, and how soon full speed is back: against that of another process, which is asked by turns
//!   with it and was left in peace, since the speed of a machine is not the same a minute later.
//! - Idle: 10,000 connections that say nothing: what each costs, and the speed beside them.
//! - Listening: 5,000 clients that follow all events: what each costs, the speed beside them, and how soon after the
//!   end of an update the last of them has been told all of it, each event once.
//! - Slow: 200 clients that send a byte a second, and 200 that take nothing of their answers, and the speed
//!   beside them.
//!
//! `cargo bench --bench overload`; OVERLOAD_SECONDS=60 for longer than the 10 s that it takes by
//! itself. Needs PostgreSQL's programs, as the tests do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::{Method, Response};
use serde_json::json;
use support::process::{Process, free_address, perennial, ready};
use support::{Api, Database, blobs, median, readable_dir};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const DIM: usize = 64;
/// Predictions that the service answers at once.
const AT_ONCE: usize = 64;
const CONNECTIONS: usize = 16;
const SETTLE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let seconds = std::env::var("OVERLOAD_SECONDS").map_or(10, |text| text.parse().unwrap());
    let (database, dir, address) = (Database::create().await, readable_dir(), free_address());
    let process = serve(&database, dir.path(), &address);
    let api = ready(&address).await;
    api.create_model("m", DIM).await;
    api.send_samples("m", &blobs(&["a", "b", "c"], 200, DIM, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");

    let before = speed(&api).await;
    println!(
        "before: {before:.0} predictions/s on {CONNECTIONS} connections, {} MB",
        memory(&process, "VmRSS")
    );
    let in_peace = free_address();
    let peaceful = serve(&database, dir.path(), &in_peace);
    let control = ready(&in_peace).await;
    println!("before: {:.2} of the speed of a process left in peace", ratio(&api, &control).await);
    for inputs in [1, 1_000] {
        overload((&api, &process), &control, inputs, Duration::from_secs(seconds)).await;
    }
    assert!(peaceful.stop().success());

    // Idle clients and listeners are open files of this process, too.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    idle(&api, &address, &process, before).await;
    slow(&api, &address, before).await;
    assert!(process.stop().success());
    // Another process: this one would take again what memory it has had.
    let process = serve(&database, dir.path(), &address);
    listening(&ready(&address).await, &process).await;
    assert!(process.stop().success());
}

fn serve(database: &Database, dir: &Path, address: &str) -> Process {
    let at_once = AT_ONCE.to_string();
    let flags = ["--database-url", &database.url, "--listen", address, "--max-requests", &at_once];
    Process::start(perennial("serve", dir, &flags).args(["--log", "error"]))
}

async fn overload((api, process): (&Api, &Process), control: &Api, inputs: usize, time: Duration) {
    let many = AT_ONCE * 16;
    let answers = ask(api, many, inputs, time).await;
    println!(
        "overload: {many} connections for {} s, {inputs} inputs a request: {answers:?}, peak {} MB",
        time.as_secs(),
        memory(process, "VmHWM")
    );
    assert!(
        answers.keys().all(|how| ["200", "503 retry-after"].contains(&how.as_str())),
        "{answers:?}"
    );
    tokio::time::sleep(SETTLE).await;
    println!(
        "2 s after: {:.2} of the speed of a process left in peace (to reach: 1)",
        ratio(api, control).await
    );
}

/// The speed of one process in that of another, each asked by turns: the middle of five.
async fn ratio(api: &Api, control: &Api) -> f64 {
    const TIME: Duration = Duration::from_secs(1);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let [ours, theirs] =
            [ask(api, CONNECTIONS, 1, TIME).await, ask(control, CONNECTIONS, 1, TIME).await];
        ratios.push(ours["200"] as f64 / theirs["200"] as f64);
    }
    median(ratios)
}

fn memory(process: &Process, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() / 1024
}

/// Predictions a second.
async fn speed(api: &Api) -> f64 {
    let time = Duration::from_secs(3);
    ask(api, CONNECTIONS, 1, time).await["200"] as f64 / time.as_secs_f64()
}

/// Asks for predictions of so many inputs on so many connections, each as fast as it is answered, and counts the
/// answers by how they were.
async fn ask(
    api: &Api,
    connections: usize,
    inputs: usize,
    time: Duration,
) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let body = json!({"inputs": vec![vec![0.5; DIM]; inputs]}).to_string();
    let mut askers = JoinSet::new();
    for _ in 0..connections {
        let (api, body) = (api.clone(), body.clone());
        askers.spawn(async move {
            let mut answers = BTreeMap::<String, usize>::new();
            while began.elapsed() < time {
                let answer =
                    api.post_text("/v1/models/m/predict", "application/json", body.clone()).await;
                let later =
                    if answer.header("retry-after").is_empty() { "" } else { " retry-after" };
                *answers.entry(format!("{}{later}", answer.status.as_u16())).or_default() += 1;
            }
            answers
        });
    }
    let mut all = BTreeMap::new();
    while let Some(answers) = askers.join_next().await {
        for (how, n) in answers.unwrap() {
            *all.entry(how).or_default() += n;
        }
    }
    all
}

async fn idle(api: &Api, address: &str, process: &Process, before: f64) {
    const IDLE: usize = 10_000;
    let empty = memory(process, "VmRSS");
    let mut held = Vec::new();
    for _ in 0..IDLE {
        match TcpStream::connect(address).await {
            Ok(stream) => held.push(stream),
            // This process may open as many files as it is allowed.
            Err(error) => {
                println!("idle: {} connections, then: {error}", held.len());
                break;
            }
        }
    }
    tokio::time::sleep(SETTLE).await;
    let n = held.len() as f64;
    let each = memory(process, "VmRSS").saturating_sub(empty) as f64 * 1024.0 / n;
    println!(
        "idle: {n} connections cost {each:.1} KiB each, {:.2} of the speed before",
        speed(api).await / before
    );
}

async fn listening(api: &Api, process: &Process) {
    const LISTENERS: usize = 5_000;
    let before = speed(api).await;
    let empty = memory(process, "VmRSS");
    let mut streams = Vec::new();
    for _ in 0..LISTENERS {
        let stream = api.request(Method::GET, "/v1/events").send().await.unwrap();
        streams.push(stream.error_for_status().unwrap());
    }
    tokio::time::sleep(SETTLE).await;
    let each = memory(process, "VmRSS").saturating_sub(empty) as f64 * 1024.0 / LISTENERS as f64;
    println!(
        "listening: {LISTENERS} clients cost {each:.1} KiB each, {:.2} of the speed before",
        speed(api).await / before
    );
    let mut listeners: JoinSet<Vec<u64>> = streams.into_iter().map(ids_of_an_update).collect();
    let update = api.post("/v1/models/m/updates", json!({"force": true})).await.expect(202);
    api.wait(update["id"].as_str().unwrap()).await;
    let ended = Instant::now();
    let told = listeners.join_next().await.unwrap().unwrap();
    assert!(told.is_sorted_by(|one, next| one < next), "{told:?}");
    while let Some(another) = listeners.join_next().await {
        assert_eq!(another.unwrap(), told);
    }
    println!(
        "listening: {} events, told to each once, and to the last {:.2} s after the update's end",
        told.len(),
        ended.elapsed().as_secs_f64()
    );
}

/// The ids of the events that are told until an update has ended.
async fn ids_of_an_update(mut stream: Response) -> Vec<u64> {
    let (mut text, mut ids) = (String::new(), Vec::new());
    loop {
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            ids.extend(field("id:").map(|id| id.trim().parse::<u64>().unwrap()));
            if field("event:").is_some_and(|kind| kind.trim() == "end") {
                return ids;
            }
            text = rest.to_owned();
        }
        let chunk = stream.chunk().await.unwrap().expect("it stays open");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

async fn slow(api: &Api, address: &str, before: f64) {
    let mut clients = JoinSet::new();
    for number in 0..400 {
        let address = address.to_owned();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                let head = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
                let _ = stream.write_all(&head).await;
                return std::future::pending::<()>().await;
            }
            for byte in
                b"POST /v1/models/m/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n"
            {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    tokio::time::sleep(SETTLE).await;
    println!("slow: 400 clients, {:.2} of the speed before", speed(api).await / before);
}
