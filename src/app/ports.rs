//! Where the service listens: HTTP's port and, where one is set, gRPC's.

use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::AppError;
use super::listener::{self, Listener, Protocol, places};
use crate::config::Settings;
use crate::http::{self, HttpState};

/// The ports that are listened on.
pub(super) struct Ports {
    http: Listener,
    grpc: Option<Listener>,
}

impl Ports {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// [`AppError`] when an address is taken, or the certificate cannot be read.
    pub(super) async fn bind(settings: &Settings) -> Result<Self, AppError> {
        // Connections are counted together.
        let places = places(settings);
        let bind = |address, protocol| Listener::bind(address, protocol, settings, &places);
        let http = bind(settings.listen, Protocol::Http1).await?;
        let grpc = match settings.grpc_listen {
            Some(address) => Some(bind(address, Protocol::Http2).await?),
            None => None,
        };
        Ok(Self { http, grpc })
    }

    /// HTTP's address.
    pub(super) fn http(&self) -> Option<SocketAddr> {
        self.http.address()
    }

    /// gRPC's address.
    pub(super) fn grpc(&self) -> Option<SocketAddr> {
        self.grpc.as_ref()?.address()
    }

    /// What an address of this service begins with.
    pub(super) fn scheme(&self) -> &'static str {
        self.http.scheme()
    }

    /// Answers until shutdown, in the tasks that are given back.
    ///
    /// # Errors
    /// [`AppError::Settings`] when gRPC cannot be spoken.
    pub(super) fn answer(
        self,
        state: HttpState,
        shutdown: &CancellationToken,
    ) -> Result<Vec<JoinHandle<()>>, AppError> {
        let mut routers = vec![(self.http, http::router(state.clone()))];
        if let Some(listener) = self.grpc {
            let router = http::grpc_router(state);
            let router = router.map_err(|error| AppError::Settings(format!("gRPC: {error}")))?;
            routers.push((listener, router));
        }
        let mut tasks = Vec::new();
        for (listener, router) in routers {
            tasks.extend(listener.keep_certificate(shutdown));
            tasks.push(tokio::spawn(listener::answer(listener, router, shutdown.clone())));
        }
        Ok(tasks)
    }
}

/// The address at which others than this machine reach the service, where there is one.
pub(super) fn reached_by_others(settings: &Settings) -> Option<SocketAddr> {
    let addresses = [Some(settings.listen), settings.grpc_listen];
    addresses.into_iter().flatten().find(|address| !address.ip().is_loopback())
}
