//! A client that costs little beside what it asks: requests are made beforehand, answers are read by
//! their length.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that ask at once.
pub const CONNECTIONS: usize = 16;

/// Requests, byte for byte, that are asked in turn.
pub type Questions = Arc<[Vec<u8>]>;

/// POSTs of `bodies` to `path`.
pub fn questions(path: &str, head: &str, bodies: impl IntoIterator<Item = Vec<u8>>) -> Questions {
    let question = |body: Vec<u8>| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{head}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.into_bytes(), body].concat()
    };
    bodies.into_iter().map(question).collect()
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// A connection to `address`.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, answer: Vec::new() }
    }

    /// The answer to `question`, head and body; one that is not 200 ends the program.
    pub async fn ask(&mut self, question: &[u8]) -> &[u8] {
        self.stream.write_all(question).await.unwrap();
        self.answer.clear();
        loop {
            let n = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(n > 0, "the connection ended: {}", String::from_utf8_lossy(&self.answer));
            if whole(&self.answer).is_some_and(|length| self.answer.len() >= length) {
                break;
            }
        }
        let text = || String::from_utf8_lossy(&self.answer);
        assert!(self.answer.starts_with(b"HTTP/1.1 200"), "{}", text());
        &self.answer
    }
}

/// How long an answer is whose head is there.
fn whole(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
    let length = head.lines().find(is_length).expect("an answer of a known length");
    Some(end + length[15..].trim().parse::<usize>().unwrap())
}

/// Requests a second, where every connection asks as soon as it is answered.
pub async fn speed(address: &str, questions: &Questions) -> f64 {
    speed_and_p99(address, questions).await.0
}

/// The same, and the 99th percentile of how long answers took, in milliseconds.
pub async fn speed_and_p99(address: &str, questions: &Questions) -> (f64, f64) {
    const TIME: Duration = Duration::from_secs(4);
    let began = Instant::now();
    let mut askers = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (address, questions) = (address.to_owned(), Arc::clone(questions));
        askers.spawn(async move {
            let mut connection = Connection::open(&address).await;
            let mut took = Vec::new();
            while began.elapsed() < TIME {
                let number = first + CONNECTIONS * took.len();
                let asked_at = Instant::now();
                connection.ask(&questions[number % questions.len()]).await;
                took.push(asked_at.elapsed());
            }
            took
        });
    }
    let mut all: Vec<Duration> = askers.join_all().await.into_iter().flatten().collect();
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    all.sort_unstable();
    (rate, quantile(&all, 0.99))
}

/// How long answers took, sorted, where requests are due at an even `rate` a second, whether earlier ones
/// are answered or not: one that is sent late because of an earlier answer is counted from when it was due.
pub async fn latencies(
    address: &str,
    questions: &Questions,
    rate: f64,
    time: Duration,
) -> Vec<Duration> {
    let began = Instant::now();
    let mut askers = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (address, questions) = (address.to_owned(), Arc::clone(questions));
        askers.spawn(async move {
            let mut connection = Connection::open(&address).await;
            let mut took = Vec::new();
            for n in 0.. {
                let number = first + CONNECTIONS * n;
                let due = Duration::from_secs_f64(number as f64 / rate);
                if due > time {
                    break;
                }
                let mut asked_at = began + due;
                if Instant::now() < asked_at {
                    tokio::time::sleep_until(asked_at.into()).await;
                    // A timer rings up to a millisecond late, which is no fault of the service.
                    asked_at = Instant::now();
                }
                connection.ask(&questions[number % questions.len()]).await;
                took.push(asked_at.elapsed());
            }
            took
        });
    }
    let mut all: Vec<Duration> = askers.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    all
}

/// What `share` of sorted durations are at most, in milliseconds.
pub fn quantile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}
