//! What pages of elsewhere get at through a browser on the service's own machine, and what they may be let to.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::keys::{create, until};
use super::support::{Answer, Api, TestService};

const PAGE: &str = "https://app.example";

/// A request of a page, for which a browser adds these headers.
fn asks(api: &Api, method: Method, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = api.request(method, path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

#[track_caller]
fn is_turned_away(answer: Answer) {
    let problem = answer.problem(403);
    assert_eq!(problem["code"], "forbidden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("perennial key create") && detail.contains("--allow-open-access"));
}

#[tokio::test]
async fn a_name_that_was_led_here_reaches_nothing_while_there_are_no_keys() {
    let service = TestService::start().await;
    let named = async |api: &Api, host: &str| {
        api.send(asks(api, Method::GET, "/v1/models", &[("host", host)])).await
    };
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "u@evil.example"] {
        is_turned_away(named(&service.api, host).await);
    }
    for host in ["localhost:8080", "app.localhost", "127.0.0.1", "[::1]:8080", "perennial"] {
        named(&service.api, host).await.expect(200);
    }
    // What is public tells nothing.
    let alive = asks(&service.api, Method::GET, "/healthz", &[("host", "evil.example")]);
    service.api.send(alive).await.expect(200);
    // Who has a key may call the service what they like.
    let key = create(&service.database, &["--scope", "read"]);
    let holder = service.api.with_key(&key);
    until(&service.api, "/v1/models", 401).await;
    named(&holder, "models.example").await.expect(200);
    service.stop().await;
    let open = TestService::start_with(&["--allow-open-access"]).await;
    named(&open.api, "models.example").await.expect(200);
    open.stop().await;
}

#[tokio::test]
async fn a_page_of_elsewhere_changes_nothing_while_there_are_no_keys() {
    let service = TestService::start().await;
    let api = &service.api;
    let posts = async |name: &str, headers: &[(&str, &str)]| {
        let model = json!({"name": name, "input": {"kind": "text"}});
        api.send(asks(api, Method::POST, "/v1/models", headers).json(&model)).await
    };
    for headers in [
        &[("origin", PAGE)][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", PAGE), ("sec-fetch-site", "cross-site")],
    ] {
        is_turned_away(posts("theirs", headers).await);
    }
    api.get("/v1/models/theirs").await.problem(404);
    posts("ours", &[("origin", &api.address), ("sec-fetch-site", "same-origin")]).await.expect(201);
    posts("mine", &[]).await.expect(201);
    service.stop().await;
    let service = TestService::start_with(&["--cors-origin", PAGE]).await;
    let model = json!({"name": "theirs", "input": {"kind": "text"}});
    let headers = [("origin", PAGE), ("sec-fetch-site", "cross-site")];
    let request = asks(&service.api, Method::POST, "/v1/models", &headers).json(&model);
    service.api.send(request).await.expect(201);
    service.stop().await;
}

/// The headers of an answer that let pages read it.
fn lets_pages(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn no_page_of_elsewhere_reads_an_answer_unless_its_origin_is_named() {
    let preflight = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let service = TestService::start().await;
    let api = &service.api;
    for (method, headers) in [(Method::GET, &[][..]), (Method::OPTIONS, &preflight)] {
        let headers = [&[("origin", PAGE)][..], headers].concat();
        let answer = api.send(asks(api, method, "/v1/models", &headers)).await;
        assert!(lets_pages(&answer).is_empty(), "{answer:?}");
    }
    service.stop().await;

    let two = ["--cors-origin", PAGE, "--cors-origin", "http://localhost:3000"];
    let service = TestService::start_with(&two).await;
    create(&service.database, &["--scope", "read"]);
    until(&service.api, "/v1/models", 401).await;
    let api = &service.api;
    for (origin, is_named) in
        [(PAGE, true), ("http://localhost:3000", true), ("https://evil.example", false)]
    {
        let allowed = if is_named { origin } else { "" };
        // Without a key, which a browser does not send before it knows that its page may.
        let headers = [&[("origin", origin)][..], &preflight].concat();
        let answer = api.send(asks(api, Method::OPTIONS, "/v1/models", &headers)).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        if is_named {
            assert_eq!(answer.status, 200);
            assert!(answer.header("access-control-allow-methods").contains("DELETE"));
            assert_eq!(answer.header("access-control-allow-headers"), preflight[1].1);
        }
        // Refusals can be read, too.
        let answer = api.send(asks(api, Method::GET, "/v1/models", &[("origin", origin)])).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        if is_named {
            let exposed = answer.header("access-control-expose-headers");
            for name in [
                "ratelimit",
                "retry-after",
                "x-request-id",
                "x-perennial-version",
                "etag",
                "location",
            ] {
                assert!(exposed.split(',').any(|word| word.trim() == name), "{name}: {exposed}");
            }
        }
        answer.problem(401);
    }
    service.stop().await;
}
