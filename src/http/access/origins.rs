//! What pages of elsewhere may have a browser ask here.
//!
//! Invariants: a service that answers anyone because only its own machine reaches it is not asked by whatever
//! page is looked at on that machine: neither under a name that the page had led here (DNS rebinding) nor
//! from another site. No page of another origin reads an answer unless a setting names that origin.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::error::{Problem, ProblemCode};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser need not ask again what a page may send.
const ASK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// What a page may read of an answer's head, beyond what every page may.
const EXPOSED: [HeaderName; 8] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-perennial-version"),
    HeaderName::from_static("x-request-id"),
];

/// Which pages may ask.
#[derive(Debug)]
pub struct Origins {
    allowed: Vec<HeaderValue>,
    is_guarded: bool,
}

impl Origins {
    /// Pages of these origins may ask, and read what they are answered. Others may have nothing asked without
    /// a key, unless whoever reaches the service may do everything.
    pub fn new(allowed: &[String], may_anyone: bool) -> Self {
        let allowed = allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        Self { allowed: allowed.collect(), is_guarded: !may_anyone }
    }

    /// What answers the browsers of pages that may ask; none where no origin is named.
    pub(in crate::http) fn layer(&self) -> Option<CorsLayer> {
        use Method as M;
        if self.allowed.is_empty() {
            return None;
        }
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.allowed.clone()))
            .allow_methods([M::GET, M::HEAD, M::POST, M::PUT, M::PATCH, M::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(ASK_AGAIN);
        Some(layer)
    }

    /// Refuses a request without a key that a page of elsewhere may be behind.
    ///
    /// # Errors
    /// 403 under a name that others give, and for a change that another site asks for.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Problem> {
        if !self.is_guarded {
            return Ok(());
        }
        if !hosts(request).all(is_of_this_machine) {
            return Err(refusal(
                "under the name by which it was asked, pages of elsewhere could reach it: ask it by \
                 its address or as localhost",
            ));
        }
        let is_safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if is_safe || !self.is_elsewhere(request) {
            return Ok(());
        }
        Err(refusal("a page of another site asked for a change: name its origin by --cors-origin"))
    }

    /// Whether a page of another site asks.
    fn is_elsewhere(&self, request: &Parts) -> bool {
        let origin = request.headers.get(header::ORIGIN);
        if origin.is_some_and(|origin| self.allowed.contains(origin)) {
            return false;
        }
        let is_other = origin.is_some_and(|origin| {
            let origin = Uri::try_from(origin.as_bytes()).ok();
            let origin = origin.filter(|origin| origin.scheme().is_some());
            let (from, to) = (origin.as_ref().and_then(Uri::host), hosts(request).next());
            !matches!((from, to), (Some(from), Some(Host::Named(to))) if to.host().eq_ignore_ascii_case(from))
        });
        let site = request.headers.get(SEC_FETCH_SITE);
        is_other || site.is_some_and(|site| site == "cross-site")
    }
}

fn refusal(why: &str) -> Problem {
    let detail = format!(
        "this service has no keys, and {why}; or make a key with `perennial key create`, or start it \
         with --allow-open-access if whoever reaches it may do everything"
    );
    Problem::new(ProblemCode::Forbidden, detail)
}

/// The name that a request was sent to.
enum Host {
    Named(Authority),
    Unreadable,
}

/// Each name that a request says it was sent to; none where it says nothing.
fn hosts(request: &Parts) -> impl Iterator<Item = Host> {
    let target = request.uri.authority().map(|target| target.as_str().as_bytes());
    let headers = request.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let said = target.into_iter().chain(headers).filter(|said| !said.is_empty());
    said.map(|said| match Authority::try_from(said) {
        Ok(said) => Host::Named(said),
        Err(_) => Host::Unreadable,
    })
}

/// Whether nobody elsewhere can have given this name to this machine: an address, a name without a dot, or
/// one that always means the machine itself.
fn is_of_this_machine(host: Host) -> bool {
    let Host::Named(said) = host else { return false };
    let host = said.host().strip_suffix('.').unwrap_or(said.host());
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let above = host.rsplit_once('.').map(|(_, above)| above);
    is_address || above.is_none_or(|above| above.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn is_let_in(origins: &Origins, method: Method, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().method(method).uri("/v1/models");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        origins.check(&parts).is_ok()
    }

    #[test]
    fn only_names_that_nobody_elsewhere_gives_are_answered() {
        let origins = Origins::new(&[], false);
        let asked_as = |host: &str| is_let_in(&origins, Method::GET, &[("host", host)]);
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]",
            "[::1]:8080",
            "perennial",
            "",
        ] {
            assert!(asked_as(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "u@evil.example",
            "1.2.3",
            "a b",
            "machine.local.",
        ] {
            assert!(!asked_as(host), "{host}");
        }
        assert!(is_let_in(&origins, Method::GET, &[]));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!is_let_in(&origins, Method::GET, &two));
        assert!(is_let_in(&Origins::new(&[], true), Method::GET, &[("host", "evil.example")]));
    }

    #[test]
    fn only_pages_of_this_service_and_of_named_origins_change_anything() {
        let origins = Origins::new(&["https://app.example".to_owned()], false);
        let may = |headers: &[(&str, &str)]| {
            is_let_in(
                &origins,
                Method::POST,
                &[&[("host", "localhost:8080")][..], headers].concat(),
            )
        };
        for headers in [
            &[][..],
            &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")],
            &[("origin", "http://LOCALHOST:3000"), ("sec-fetch-site", "same-site")],
            &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(may(headers), "{headers:?}");
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "https://app.example.evil.example")],
            &[("origin", "null")],
            &[("origin", "localhost")],
            &[("sec-fetch-site", "cross-site")],
        ] {
            assert!(!may(headers), "{headers:?}");
            let get = [&[("host", "localhost:8080")][..], headers].concat();
            assert!(is_let_in(&origins, Method::GET, &get), "{headers:?}");
        }
    }
}
