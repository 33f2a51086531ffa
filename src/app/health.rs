//! The question that a container's health check asks.

use std::net::SocketAddr;
use std::time::Duration;

use super::AppError;

/// `perennial health`: asks the service at `address` whether it is ready.
///
/// # Errors
/// [`AppError`] when it is not, or does not answer.
pub async fn health(address: SocketAddr) -> Result<(), AppError> {
    let local = match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    };
    let unready = |why: String| AppError::Settings(format!("http://{local}/readyz: {why}"));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build();
    let answer = client
        .map_err(|error| unready(error.to_string()))?
        .get(format!("http://{local}/readyz"))
        .send()
        .await
        .map_err(|error| unready(error.to_string()))?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(unready(answer.status().to_string())),
    }
}
