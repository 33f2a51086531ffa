//! The pages for people: `/docs` and `/`.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Html, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::HttpState;

/// The pages for people. All their parts are in the binary: they work where no network is.
pub fn routes() -> Router<HttpState> {
    // By default the page would ask a validator on the internet.
    let config = Config::new(["/openapi.json"]).validator_url("none");
    Router::new()
        .route("/", get(async || Html(include_str!("index.html"))))
        .merge(SwaggerUi::new("/docs").config(config))
        .layer(map_response(protect))
}

/// Has browsers load nothing from elsewhere, show a page in no other, and tell no other of it.
async fn protect(mut response: Response) -> Response {
    let sources = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                   frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, sources),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
