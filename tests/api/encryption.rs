//! Encrypted connections.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use perennial::app::Service;
use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::support::{Database, TestService, readable_dir, serve_args};

/// Writes a new certificate with its key, and gives the certificate.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    cert.der().clone()
}

/// A client's settings that trust this certificate alone.
fn trusting(trusted: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What `/healthz` answers to a client that trusts this certificate alone.
async fn ask(address: &str, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let config = trusting(trusted);
    let tcp = TcpStream::connect(address).await?;
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn connections_are_encrypted_and_a_new_certificate_is_taken_up() {
    let files = readable_dir();
    let first = certify(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let flags = ["--tls-cert", &cert, "--tls-key", &key];
    let service = TestService::start_with(&flags).await;
    let address = service.api.address.strip_prefix("http://").unwrap();
    assert!(ask(address, &first).await.unwrap().starts_with("HTTP/1.1 200"));
    // A client that does not encrypt is not answered, and disturbs nobody.
    assert!(service.api.client.get(&service.api.address).send().await.is_err());

    // Half of a change is not taken.
    std::fs::write(&cert, "no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(ask(address, &first).await.is_ok());

    let second = certify(files.path());
    let later = SystemTime::now() + Duration::from_secs(2);
    std::fs::File::open(&cert).unwrap().set_modified(later).unwrap();
    for _ in 0..100 {
        if ask(address, &second).await.is_ok() {
            assert!(ask(address, &first).await.is_err());
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new certificate is not taken up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_encrypts_where_the_service_does() {
    let files = readable_dir();
    certify(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let service = TestService::start_with(&["--tls-cert", &cert, "--tls-key", &key]).await;
    let address = service.api.address.trim_start_matches("http://").to_owned();
    let asks = async |address: &str, certificate: Option<&str>| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.args(["health", "--listen", address]).env_remove("PERENNIAL_TLS_CERT");
        if let Some(certificate) = certificate {
            command.env("PERENNIAL_TLS_CERT", certificate);
        }
        let output = command.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = asks(&address, Some(&cert)).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = asks(&address, None).await;
    assert!(code == Some(1) && said.contains(&format!("http://{address}/readyz")), "{said}");
    service.stop().await;
    let (code, said) = asks(&address, Some(&cert)).await;
    assert!(code == Some(1) && said.contains(&format!("https://{address}/readyz")), "{said}");

    let plain = TestService::start().await;
    let address = plain.api.address.trim_start_matches("http://");
    assert_eq!(asks(address, None).await.0, Some(0));
    plain.database.allow_connections(false).await;
    while asks(address, None).await.0 == Some(0) {}
    let (code, said) = asks(address, None).await;
    assert!(code == Some(1) && said.contains("503"), "{said}");
    plain.database.allow_connections(true).await;
    plain.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let (database, files) = (Database::create().await, readable_dir());
    certify(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let start = async |flags: &[&str]| {
        let args = serve_args(&database.url, files.path(), flags);
        Service::start(&args.settings, true, false).await.err().unwrap().to_string()
    };
    assert!(start(&["--tls-cert", &cert]).await.contains("--tls-key"));
    assert!(start(&["--tls-cert", &key, "--tls-key", &key]).await.contains("key.pem"));
    assert!(start(&["--tls-cert", "/nowhere", "--tls-key", &key]).await.contains("/nowhere"));
}

#[tokio::test]
async fn grpc_has_the_same_certificate() {
    let files = readable_dir();
    let trusted = certify(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--grpc-listen", "127.0.0.1:0"];
    let service = TestService::start_with(&flags).await;
    let address = service.grpc.clone().unwrap();
    let mut config = trusting(&trusted);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let connect = tower::service_fn(move |to: tonic::transport::Uri| {
        let config = Arc::clone(&config);
        async move {
            let tcp = TcpStream::connect(to.authority().unwrap().as_str()).await?;
            let name = "localhost".try_into().unwrap();
            let stream = TlsConnector::from(config).connect(name, tcp).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = tonic::transport::Endpoint::from_shared(address.clone()).unwrap();
    let channel = endpoint.connect_with_connector(connect).await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let ask = tonic_health::pb::HealthCheckRequest::default();
    health.check(ask).await.unwrap();
    // Without encryption nobody is answered.
    let plain = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await;
    if let Ok(channel) = plain {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap_err();
    }
    service.stop().await;
}
