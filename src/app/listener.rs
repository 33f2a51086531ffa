//! Connections: taken while there is room, given up when their other end is stuck, ended in order.
//!
//! Invariant: nothing that a client does or leaves undone holds a connection, or what it costs, for
//! longer than a bound: the head of a request and each piece of an answer have their time, bodies have
//! theirs in `http`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use self::leftover::Arriving;
use super::AppError;
use super::tls::Tls;
use crate::config::Settings;

mod leftover;

/// How long the other end of a connection may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the greeting of an encrypted connection.
    greeting: Duration,
    /// For the head of a request, and how long a connection may be idle between two.
    head: Duration,
    /// For a piece of an answer to be taken.
    write: Duration,
    /// For what nobody has read of a body to arrive.
    leftover: Duration,
    /// For requests in flight to end, once the service is told to stop.
    drain: Duration,
}

const PATIENCE: Patience = Patience {
    greeting: Duration::from_secs(10),
    head: Duration::from_secs(60),
    write: Duration::from_secs(30),
    leftover: Duration::from_secs(5),
    drain: Duration::from_secs(20),
};
/// How long to wait where the machine has no room for a connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Files that the rest of the service may have open.
const OTHER_FILES: u64 = 512;

/// Where connections come from.
pub(super) struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
    max_connections: usize,
    patience: Patience,
}

impl Listener {
    /// Listens at the address of the settings.
    ///
    /// # Errors
    /// [`AppError`] when the address is taken, or the certificate cannot be read.
    pub(super) async fn bind(settings: &Settings) -> Result<Self, AppError> {
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::read(certificate, key)?)),
            (None, None) => None,
            _ => {
                let detail = "--tls-cert and --tls-key come together".to_owned();
                return Err(AppError::Settings(detail));
            }
        };
        let what = format!("listening on {}", settings.listen);
        let tcp = TcpListener::bind(settings.listen).await.map_err(AppError::io(what))?;
        let max_connections = connections_within_limits(settings.max_connections);
        Ok(Self { tcp, tls, max_connections, patience: PATIENCE })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// The task that takes up new certificates, where there are any.
    pub(super) fn keep_certificate(&self, shutdown: &CancellationToken) -> Option<JoinHandle<()>> {
        let (tls, shutdown) = (Arc::clone(self.tls.as_ref()?), shutdown.clone());
        Some(tokio::spawn(async move { tls.keep(shutdown).await }))
    }

    /// What an address of this service begins with.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// As many connections as asked for, but not more than there may be files open.
fn connections_within_limits(asked: u32) -> usize {
    let limit =
        getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, hard)| {
            match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                Ok(()) => hard,
                Err(_) => soft,
            }
        });
    let most = limit.saturating_sub(OTHER_FILES).max(1);
    if most < u64::from(asked) {
        tracing::warn!(
            most,
            asked,
            "fewer connections than asked for: the limit of open files is low"
        );
    }
    usize::try_from(most.min(u64::from(asked))).unwrap_or(usize::MAX)
}

/// Answers requests until shutdown, then lets those in flight end.
pub(super) async fn answer(listener: Listener, router: Router, shutdown: CancellationToken) {
    let Listener { tcp, tls, max_connections, patience } = listener;
    let places = Arc::new(Semaphore::new(max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, peer) = match tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(NO_ROOM).await;
                    continue;
                }
            };
            let (router, shutdown) = (router.clone(), shutdown.clone());
            let connection = Connection { peer, router, shutdown, patience };
            let (tls, cut) = (tls.clone(), cut.clone());
            connections.spawn(async move {
                let _place = place;
                cut.run_until_cancelled(connection.greet(stream, tls)).await;
            });
        }
    };
    shutdown.run_until_cancelled(accepting).await;
    drop(tcp);
    connections.close();
    if tokio::time::timeout(patience.drain, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut");
        cut.cancel();
        connections.wait().await;
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    patience: Patience,
}

impl Connection {
    async fn greet(self, stream: TcpStream, tls: Option<Arc<Tls>>) {
        // An answer is one piece: nothing is gained by waiting for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends late");
        }
        let Some(tls) = tls else { return self.answer(stream).await };
        match tokio::time::timeout(self.patience.greeting, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %self.peer, "no encrypted connection"),
            Err(_) => tracing::debug!(peer = %self.peer, "an encrypted connection took too long"),
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Send) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience.write));
        let (peer, leftover) = (ConnectInfo(self.peer), self.patience.leftover);
        let service = self.router.map_request(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            Arriving::of(request, leftover).map(Body::new)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience.head)
            .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %self.peer, "a connection broke off");
        }
    }
}

#[cfg(test)]
mod tests {
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
        let piece = || {
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>([b'x'; 65_536].to_vec()))
        };
        let router = Router::new()
            .route(
                "/",
                get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
            )
            .route("/endless", get(async move || Body::from_stream(piece())))
            .route("/slow", get(async || std::future::pending::<()>().await));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = Listener { tcp, tls: None, max_connections, patience };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(answer(listener, router, shutdown.clone()));
        Listening { address, shutdown, task }
    }

    fn patience(head: Duration, write: Duration, drain: Duration) -> Patience {
        Patience { greeting: LONG, head, write, leftover: QUICK, drain }
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
}
