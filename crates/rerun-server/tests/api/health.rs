//! `/health/*`, and what answers where no endpoint is.

use reqwest::Method;
use serde_json::json;

use crate::support::{Headers, Server, on_both_stores, refusal};

on_both_stores!(
    health_needs_no_headers,
    an_unready_server_says_so_and_still_lives,
    unknown_paths_are_not_found,
    other_methods_are_not_allowed,
);

async fn health_needs_no_headers(server: &Server) {
    let api = server.account();
    assert_eq!(
        api.get("/health/live").await.ok(),
        json!({ "status": "live" })
    );
    assert_eq!(
        api.get("/health/ready").await.ok(),
        json!({ "status": "ready" })
    );
    for path in ["/health/live", "/health/ready"] {
        let none = Headers(Vec::new());
        let head = api.send(Method::HEAD, path, &none, "").await;
        assert_eq!((head.status, &*head.text), (200, ""), "{path}");
    }
}

async fn an_unready_server_says_so_and_still_lives(server: &Server) {
    let api = server.account();
    server.readiness.set(false);
    let answer = api.get("/health/ready").await;
    answer.is(&refusal::UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    server.readiness.set(true);
    api.get("/health/ready").await.ok();

    server
        .database
        .execute("DELETE FROM __diesel_schema_migrations");
    api.get("/health/ready").await.is(&refusal::UNAVAILABLE);
    api.get("/health/live").await.ok();
}

async fn unknown_paths_are_not_found(server: &Server) {
    let api = server.account();
    for path in [
        "/v1",
        "/v1/campaign",
        "/v1/campaign/get/",
        "/v2/campaign/get",
        "/health",
    ] {
        api.get(path).await.is(&refusal::NOT_FOUND);
        let post = api.send(Method::POST, path, &api.headers(), "{}").await;
        post.is(&refusal::NOT_FOUND);
    }
}

async fn other_methods_are_not_allowed(server: &Server) {
    let api = server.account();
    for endpoint in rerun_wire::ENDPOINTS {
        let (others, allowed) = match endpoint.method {
            "POST" => ([Method::GET, Method::PUT, Method::DELETE], "POST"),
            "GET" => ([Method::POST, Method::PUT, Method::DELETE], "GET, HEAD"),
            other => panic!("{other}"),
        };
        for method in others {
            let answer = api.send(method, endpoint.path, &api.headers(), "{}").await;
            answer.is(&refusal::METHOD_NOT_ALLOWED);
            assert_eq!(answer.header("allow"), Some(allowed));
        }
    }
}
