//! Connections that are slow, many, silent or cut.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

const QUICK: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

struct Listening {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// A listener that has `patience` and room for `max_connections`. `/endless` answers without end,
/// `/slow` never; neither reads a body, nor does `/`.
async fn listen(patience: Patience, max_connections: usize) -> Listening {
    listen_for(Protocol::Http1, patience, max_connections).await
}

async fn listen_for(protocol: Protocol, patience: Patience, most: usize) -> Listening {
    let piece =
        || futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>([b'x'; 65_536].to_vec()));
    let router = Router::new()
        .route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route("/endless", get(async move || Body::from_stream(piece())))
        .route("/slow", get(async || std::future::pending::<()>().await));
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let places = Arc::new(Semaphore::new(most));
    let listener = Listener { tcp, tls: None, protocol, places, patience };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(answer(listener, router, shutdown.clone()));
    Listening { address, shutdown, task }
}

fn patience(head: Duration, write: Duration, drain: Duration) -> Patience {
    Patience { greeting: LONG, head, write, leftover: LONG, drain, age: LONG }
}

async fn ask(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// What comes until the other end closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut text)).await.expect("it is closed");
    let _ = read;
    String::from_utf8_lossy(&text).into_owned()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let listening = listen(patience(QUICK, LONG, LONG), 10).await;
    for half in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-a: "] {
        assert!(!rest(ask(listening.address, half).await).await.starts_with("HTTP/1.1 200"));
    }
    let answer = rest(ask(listening.address, GET).await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("127.0.0.1:"), "{answer}");
}

#[tokio::test]
async fn a_connection_of_many_calls_ends_when_it_is_silent_and_when_it_is_old() {
    // What every client begins with: a word of greeting and no settings.
    let greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let old = Patience { age: QUICK, ..patience(LONG, LONG, QUICK) };
    for (patience, said) in [(patience(QUICK, LONG, LONG), ""), (old, greeting)] {
        let listening = listen_for(Protocol::Http2, patience, 10).await;
        rest(ask(listening.address, said).await).await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_broken_off() {
    let listening = listen(patience(LONG, QUICK, LONG), 1).await;
    let stuck = ask(listening.address, "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // There is room for one: this one is answered once the other is given up.
    let next = ask(listening.address, GET).await;
    assert!(rest(next).await.starts_with("HTTP/1.1 200"));
    drop(stuck);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_taken_for_a_while_and_its_client_reads_the_answer() {
    let listening = listen(patience(LONG, LONG, LONG), 10).await;
    let head = "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 40000000\r\n\r\n";
    let mut whole = ask(listening.address, head).await;
    whole.write_all(&vec![b'x'; 40_000_000]).await.unwrap();
    // It goes on to be of use.
    whole.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(rest(whole).await.matches("HTTP/1.1 200").count(), 2);
    // What does not come is not waited for, nor is what does not end.
    let brief = Patience { leftover: QUICK, ..patience(LONG, LONG, LONG) };
    let listening = listen(brief, 10).await;
    assert!(rest(ask(listening.address, head).await).await.starts_with("HTTP/1.1 200"));
    let endless = "GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut endless = ask(listening.address, endless).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let sending = async { while endless.write_all(chunk.as_bytes()).await.is_ok() {} };
    timeout(LONG, sending).await.expect("it is cut off");
}

#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_answered_and_not_asked() {
    let listening = listen(patience(LONG, LONG, LONG), 10).await;
    let head = "GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let answer = rest(ask(listening.address, head).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_waits_for_another_to_end() {
    let listening = listen(patience(LONG, LONG, LONG), 1).await;
    let first = ask(listening.address, "").await;
    // The first has been taken once a second one is not answered.
    let mut second = ask(listening.address, GET).await;
    let mut byte = [0];
    assert!(timeout(QUICK, second.read(&mut byte)).await.is_err());
    drop(first);
    assert!(rest(second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn shutdown_ends_idle_connections_at_once_and_cuts_those_that_do_not_end() {
    let listening = listen(patience(LONG, LONG, QUICK), 10).await;
    let idle = ask(listening.address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let slow = ask(listening.address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.readable().await.unwrap();
    let told_at = Instant::now();
    listening.shutdown.cancel();
    assert!(rest(idle).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(slow).await, "");
    listening.task.await.unwrap();
    assert!(told_at.elapsed() < LONG);
}
