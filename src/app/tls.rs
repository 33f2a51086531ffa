//! Encrypted connections, where a certificate is given; a new one is taken up while the service runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::AppError;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate with its key, as last read.
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// What is spoken within.
    protocol: &'static [u8],
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads a chain of certificates and the key of the first, both PEM, for connections on which `protocol`
    /// (ALPN) is spoken.
    ///
    /// # Errors
    /// [`AppError::Settings`] when they cannot be read or do not belong together.
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        protocol: &'static [u8],
    ) -> Result<Self, AppError> {
        let acceptor = acceptor(certificate, key, protocol).map_err(AppError::Settings)?;
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self { certificate, key, protocol, acceptor: RwLock::new(acceptor) })
    }

    /// What greets the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up files that change, until shutdown. Files that do not belong together (one may be written
    /// before the other) leave everything as it was, and are looked at again.
    pub(super) async fn keep(&self, shutdown: CancellationToken) {
        let mut taken = self.changed_at();
        let keeping = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let changed_at = self.changed_at();
                if changed_at == taken {
                    continue;
                }
                match acceptor(&self.certificate, &self.key, self.protocol) {
                    Ok(new) => {
                        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
                        taken = changed_at;
                        tracing::info!("the certificate changed: new connections get the new one");
                    }
                    Err(error) => tracing::warn!(error, "the certificate changed and is not taken"),
                }
            }
        };
        shutdown.run_until_cancelled(keeping).await;
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let of = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        [of(&self.certificate), of(&self.key)]
    }
}

/// What every encrypted connection of this process computes with. Comes first: a client that is made before
/// may find nothing to compute with.
pub fn choose_cryptography() {
    // Only the first choice of a process counts, and there is no other.
    let _ = ring::default_provider().install_default();
}

fn acceptor(certificate: &Path, key: &Path, protocol: &[u8]) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", certificate.display()))?;
    let key_of_first =
        PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key_of_first))
        .map_err(|error| format!("{} with {}: {error}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
