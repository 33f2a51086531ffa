//! Connections: taken while there is room, given up when their other end is stuck, ended in order.
//!
//! Invariant: nothing that a client does or leaves undone holds a connection, or what it costs, for
//! longer than a bound: the head of a request and each piece of an answer have their time, bodies have
//! theirs in `http`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
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
use crate::http::taking::GivenUp;

mod leftover;

/// How long the other end of a connection may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the greeting of an encrypted connection.
    greeting: Duration,
    /// For the head of a request, and how long a connection may be idle between two.
    head: Duration,
    /// For a piece of an answer to be taken; set by `--client-timeout-s`.
    write: Duration,
    /// For what nobody has read of a body to arrive.
    leftover: Duration,
    /// For requests in flight to end, once the service is told to stop.
    drain: Duration,
    /// For all the calls of one connection, where it has many at a time.
    age: Duration,
}

const PATIENCE: Patience = Patience {
    greeting: Duration::from_secs(10),
    head: Duration::from_secs(60),
    write: Duration::from_secs(30),
    leftover: Duration::from_secs(5),
    drain: Duration::from_secs(20),
    age: Duration::from_secs(60 * 60),
};
/// What a connection is read ahead of those who take its requests, and the most that a head may be.
const READ_AHEAD: usize = 64 << 10;
/// How long to wait where the machine has no room for a connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Files that the rest of the service may have open.
const OTHER_FILES: u64 = 512;

/// Calls of one connection at a time, where it may have several.
const MOST_CALLS: u32 = 128;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which gRPC needs.
    Http2,
}

impl Protocol {
    /// What a client calls it that encrypts.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Where connections come from.
pub(super) struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
    protocol: Protocol,
    places: Arc<Semaphore>,
    patience: Patience,
}

/// Room for as many connections as the settings and the machine allow.
pub(super) fn places(settings: &Settings) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(connections_within_limits(settings.max_connections)))
}

impl Listener {
    /// Listens at an address, with the certificate of the settings.
    ///
    /// # Errors
    /// [`AppError`] when the address is taken, or the certificate cannot be read.
    pub(super) async fn bind(
        address: SocketAddr,
        protocol: Protocol,
        settings: &Settings,
        places: &Arc<Semaphore>,
    ) -> Result<Self, AppError> {
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(Arc::new(Tls::read(certificate, key, protocol.name())?))
            }
            (None, None) => None,
            _ => {
                let detail = "--tls-cert and --tls-key come together".to_owned();
                return Err(AppError::Settings(detail));
            }
        };
        let what = format!("listening on {address}");
        let tcp = TcpListener::bind(address).await.map_err(AppError::io(what))?;
        let write = Duration::from_secs(u64::from(settings.client_timeout_s));
        let (places, patience) = (Arc::clone(places), Patience { write, ..PATIENCE });
        Ok(Self { tcp, tls, protocol, places, patience })
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
    let Listener { tcp, tls, protocol, places, patience } = listener;
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
            let connection = Connection { peer, protocol, router, shutdown, patience };
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
    protocol: Protocol,
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

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience.write));
        let (peer, leftover) = (ConnectInfo(self.peer), self.patience.leftover);
        let (protocol, given_up) = (self.protocol, CancellationToken::new());
        let by_answer = GivenUp(given_up.clone());
        let service =
            self.router.clone().map_request(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(by_answer.clone());
                match protocol {
                    Protocol::Http1 => Arriving::of(request, leftover).map(Body::new),
                    // Who is refused reads that, whatever is left of a body.
                    Protocol::Http2 => request.map(Body::new),
                }
            });
        let service = TowerToHyperService::new(service);
        match self.protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(self.patience.head)
                    .max_buf_size(READ_AHEAD)
                    .serve_connection(TokioIo::new(Box::pin(stream)), service);
                let end = http1::Connection::graceful_shutdown;
                self.see_to(connection, end, given_up, Duration::MAX).await;
            }
            Protocol::Http2 => {
                // Who is there answers a ping.
                stream.set_read_timeout(Some(self.patience.head));
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(self.patience.head / 2)
                    .max_concurrent_streams(MOST_CALLS)
                    .serve_connection(TokioIo::new(Box::pin(stream)), service);
                let end = http2::Connection::graceful_shutdown;
                self.see_to(connection, end, given_up, self.patience.age).await;
            }
        }
    }

    /// Sees a connection to its end, to which it is brought in order at shutdown, at an age, and once an answer
    /// of it is given up that nobody takes.
    async fn see_to<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: C,
        end: impl FnOnce(Pin<&mut C>),
        given_up: CancellationToken,
        age: Duration,
    ) {
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                end(connection.as_mut());
                connection.await
            }
            _ = tokio::time::timeout(age, given_up.cancelled()) => {
                end(connection.as_mut());
                tokio::time::timeout(self.patience.drain, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %self.peer, "a connection broke off");
        }
    }
}

#[cfg(test)]
mod connection_tests;
