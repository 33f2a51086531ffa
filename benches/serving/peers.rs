//! The same requests asked of what others use.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{CONNECTIONS, Questions, latencies, quantile, questions, speed};
use crate::models::{as_json, as_tensor, images, import};
use crate::support::process::{Process, free_address};
use crate::{DIM, Served};

/// Servers in benches/peers, `PEER_server.py`.
const PEERS: [&str; 2] = ["fastapi", "mlserver"];
/// How long one may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints a line a server.
pub async fn measure() {
    let Some(python) = std::env::var_os("PERENNIAL_PEERS") else {
        return println!("peers: skipped: PERENNIAL_PEERS names no Python; see `make bench-peers`");
    };
    let served = Served::start().await;
    import(&served.api, "m", 1).await;
    let vectors = images(320, 7);
    let numbers: Vec<Value> = vectors.iter().map(|image| json!(image)).collect();
    let ours = as_json("/v1/models/m/predict", &numbers, 1, false);
    let (best, _) = show("perennial, JSON", &served.address, &ours).await;
    show(
        "perennial, binary tensor",
        &served.address,
        &as_tensor("/v2/models/m/infer", &vectors, 1),
    )
    .await;
    for peer in PEERS {
        if !has(&python, peer) {
            println!("peers: skipped: no {peer} in {}", python.display());
            continue;
        }
        let address = free_address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new(&python);
        command.args([&format!("benches/peers/{peer}_server.py"), host, port]);
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "{peer} does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (path, body): (_, fn(&Value) -> Value) = match peer {
            "mlserver" => ("/v2/models/m/infer", tensor),
            _ => ("/predict", |input| json!({"inputs": [input]})),
        };
        let bodies = numbers.iter().map(|input| body(input).to_string().into_bytes());
        let theirs = questions(path, "content-type: application/json", bodies);
        let (rate, _) = show(peer, &address, &theirs).await;
        println!("peers: {:.1} times as many as {peer} (to reach: 10)", best / rate);
        process.stop();
    }
    println!();
    served.stop();
}

/// Whether `python` has the module that `peer` is.
fn has(python: &OsStr, peer: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {peer}")]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A vector as JSON of the Open Inference Protocol.
fn tensor(input: &Value) -> Value {
    let shape = [1, DIM];
    json!({"inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": input}]})
}

/// Requests a second, and the 99th percentile of latency at 70 % of that.
async fn show(what: &str, address: &str, questions: &Questions) -> (f64, f64) {
    let rate = speed(address, questions).await;
    let took = latencies(address, questions, 0.7 * rate, Duration::from_secs(5)).await;
    let p99 = quantile(&took, 0.99);
    println!(
        "peers: {what}: {rate:.0} requests/s on {CONNECTIONS} connections; at 70 % of that p99 {p99:.1} ms"
    );
    (rate, p99)
}
