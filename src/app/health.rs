//! The question that a container's health check asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::AppError;
use crate::config::HealthArgs;

/// A health check waits no longer itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The line that an answer begins with is shorter.
const MOST_BYTES: u64 = 1 << 10;

/// `perennial health`: asks the service whether it is ready, over an encrypted connection where the service has
/// a certificate.
///
/// # Errors
/// [`AppError`] when it is not, or does not answer.
pub async fn health(args: &HealthArgs) -> Result<(), AppError> {
    let local = match args.listen.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], args.listen.port())),
        false => args.listen,
    };
    let is_encrypted = args.tls_cert.is_some();
    let scheme = if is_encrypted { "https" } else { "http" };
    let unready = |why: String| AppError::Settings(format!("{scheme}://{local}/readyz: {why}"));
    let status = tokio::time::timeout(PATIENCE, status(local, is_encrypted)).await;
    match status.map_err(|_| unready("no answer in time".to_owned()))? {
        Ok(status) if status.starts_with('2') => Ok(()),
        Ok(status) => Err(unready(status)),
        Err(error) => Err(unready(error.to_string())),
    }
}

/// The status that `/readyz` is answered with, and its words.
async fn status(address: SocketAddr, is_encrypted: bool) -> std::io::Result<String> {
    let tcp = TcpStream::connect(address).await?;
    if !is_encrypted {
        return ask(tcp).await;
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    ask(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MOST_BYTES);
    while !answer.contains(&b'\n') && stream.read_buf(&mut answer).await? > 0 {}
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    match line.split_once(' ') {
        Some((protocol, status)) if protocol.starts_with("HTTP/") => Ok(status.trim().to_owned()),
        _ => Err(std::io::Error::other("what answers does not speak HTTP")),
    }
}

/// Takes any certificate: it is for the name by which clients know the service, which is not asked here, and
/// nothing is told that anyone would want to read.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
