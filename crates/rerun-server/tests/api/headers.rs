//! The guard: which headers let a request in, in which order they are checked, and that nothing
//! of a body is read before.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rerun_core::ports::Clock;
use serde_json::{Value, json};

use crate::support::refusal::{AUTH_ERROR, Refusal, UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE};
use crate::support::{Api, Headers, Raw, SECRET, Server, on_both_stores, token};

on_both_stores!(
    every_endpoint_is_guarded,
    a_token_must_be_whole_and_valid,
    api_access_needs_flag_and_code,
    a_client_names_one_address,
    the_content_type_is_json,
    the_first_header_that_fails_decides,
    absent_headers_are_named_and_wrong_ones_are_not,
    nothing_of_a_body_is_read_before_headers_pass,
);

const PATH: &str = "/v1/customer-group/create";

/// Sends a good body with these headers.
async fn create(api: &Api, headers: &Headers) -> crate::support::Answer {
    api.post_with("customer-group/create", headers, json!({ "name": "g" }))
        .await
}

async fn every_endpoint_is_guarded(server: &Server) {
    let api = server.account();
    api.unchanged(async || {
        for endpoint in rerun_wire::ENDPOINTS
            .iter()
            .filter(|e| e.path.starts_with("/v1/"))
        {
            let send = async |headers: Headers| {
                api.send(reqwest::Method::POST, endpoint.path, &headers, "{}")
                    .await
            };
            let good = api.headers();
            send(good.clone().without("authorization"))
                .await
                .is(&AUTH_ERROR);
            send(good.clone().without("x-auth-context"))
                .await
                .is(&UNAUTHORIZED);
            send(good.clone().without("x-ip")).await.is(&UNAUTHORIZED);
            let answer = send(good.without("content-type")).await;
            let expected = if endpoint.path.ends_with("/import") {
                "text/csv"
            } else {
                "application/json"
            };
            answer.says(415, "unsupported_media_type", expected);
        }
    })
    .await;
}

async fn a_token_must_be_whole_and_valid(server: &Server) {
    let api = server.account();
    let now = server.clock.now().timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = api.claims();
        claims[name] = value;
        format!("Bearer {}", token(&claims, SECRET))
    };
    let without = |name: &str| {
        let mut claims = api.claims();
        claims.as_object_mut().unwrap().remove(name);
        format!("Bearer {}", token(&claims, SECRET))
    };
    let good = token(&api.claims(), SECRET);
    let unsigned = {
        let mut parts = good.split('.');
        let claims = parts.nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
    };
    let other_algorithm = jsonwebtoken::encode(
        &Header::new(Algorithm::HS384),
        &api.claims(),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap();
    api.unchanged(async || {
        for refused in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Bearer x.y.z".to_owned(),
            good.clone(),
            format!("Basic {good}"),
            format!("Bearer {good}x"),
            format!("Bearer  {good}"),
            format!("Bearer {good}, Bearer {good}"),
            format!(
                "Bearer {}",
                token(&api.claims(), "another secret of thirty-two bytes")
            ),
            format!("Bearer {other_algorithm}"),
            unsigned,
            with("exp", json!(now)),
            with("exp", json!(now - 60)),
            with("exp", json!("soon")),
            with("nbf", json!(now + 60)),
            with("user_id", json!("me")),
            with("user_id", json!(7)),
            with("account_id", json!("us")),
            with("account_id", Value::Null),
            with("user_name", json!("")),
            with("user_name", json!("x".repeat(201))),
            with("user_name", json!("a\nb")),
            with("user_name", Value::Null),
            with("user_name", json!(["Ada"])),
            with("role_code", json!("")),
            with("role_code", json!(["ADMIN"])),
            without("user_id"),
            without("account_id"),
            without("role_code"),
            without("exp"),
        ] {
            let headers = api.headers().with("authorization", refused);
            create(&api, &headers).await.is(&AUTH_ERROR);
        }
        let twice = api.headers().and("authorization", format!("Bearer {good}"));
        create(&api, &twice).await.is(&AUTH_ERROR);
    })
    .await;
    for accepted in [
        format!("bearer {good}"),
        format!("BEARER {good}"),
        with("nbf", json!(now)),
    ] {
        create(&api, &api.headers().with("authorization", accepted))
            .await
            .ok();
    }
}

async fn api_access_needs_flag_and_code(server: &Server) {
    let api = server.account();
    api.unchanged(async || {
        for refused in [
            "",
            "null",
            "[true, \"an API code\"]",
            "{\"api_access\": true}",
            "{\"api_code\": \"an API code\"}",
            "{\"api_access\": false, \"api_code\": \"an API code\"}",
            "{\"api_access\": \"true\", \"api_code\": \"an API code\"}",
            "{\"api_access\": 1, \"api_code\": \"an API code\"}",
            "{\"api_access\": true, \"api_code\": \"an API cod\"}",
            "{\"api_access\": true, \"api_code\": \"AN API CODE\"}",
            "{\"api_access\": true, \"api_code\": \"\"}",
            "{\"api_access\": true, \"api_code\": null}",
            "{\"api_access\": true, \"api_code\": \"an API code\"",
        ] {
            let headers = api.headers().with("x-auth-context", refused);
            create(&api, &headers).await.is(&UNAUTHORIZED);
        }
        let good = api.headers().0[1].1.clone();
        create(&api, &api.headers().and("x-auth-context", good))
            .await
            .is(&UNAUTHORIZED);
    })
    .await;
}

async fn a_client_names_one_address(server: &Server) {
    let api = server.account();
    api.unchanged(async || {
        for refused in [
            "",
            "localhost",
            "203.0.113",
            "203.0.113.256",
            "203.0.113.7, 10.0.0.1",
            "::g",
        ] {
            create(&api, &api.headers().with("x-ip", refused))
                .await
                .is(&UNAUTHORIZED);
        }
        create(&api, &api.headers().and("x-ip", "203.0.113.7"))
            .await
            .is(&UNAUTHORIZED);
    })
    .await;
    create(&api, &api.headers().with("x-ip", "2001:db8::7"))
        .await
        .ok();
    assert_eq!(api.audit().await[0]["ip"], "2001:db8::7");
}

async fn the_content_type_is_json(server: &Server) {
    let api = server.account();
    api.unchanged(async || {
        for refused in [
            "",
            "text/plain",
            "text/csv",
            "application/jsonx",
            "application/json-patch+json",
            "application/problem+json",
            "json",
        ] {
            let headers = api.headers().with("content-type", refused);
            create(&api, &headers).await.is(&UNSUPPORTED_MEDIA_TYPE);
        }
    })
    .await;
    for accepted in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;v=1",
    ] {
        create(&api, &api.headers().with("content-type", accepted))
            .await
            .ok();
    }
}

/// For each pair of neighbours in the order a request in which both are wrong.
async fn the_first_header_that_fails_decides(server: &Server) {
    let api = server.account();
    let wrong: [(&str, &str, Refusal); 4] = [
        ("authorization", "Bearer x", AUTH_ERROR),
        ("x-auth-context", "{}", UNAUTHORIZED),
        ("x-ip", "x", UNAUTHORIZED),
        ("content-type", "text/plain", UNSUPPORTED_MEDIA_TYPE),
    ];
    api.unchanged(async || {
        for first in 0..wrong.len() {
            // From here on everything is wrong, the body included.
            let headers = wrong[first..]
                .iter()
                .fold(api.headers(), |headers, (name, value, _)| {
                    headers.with(name, *value)
                })
                .with("idempotency-key", "");
            let path = "/v1/campaign/rerun/initiate";
            let post = reqwest::Method::POST;
            api.send(post, path, &headers, "{")
                .await
                .is(&wrong[first].2);
        }
        let key = api.headers().with("idempotency-key", "a\ttab");
        let post = reqwest::Method::POST;
        let answer = api
            .send(post, "/v1/campaign/rerun/initiate", &key, "{")
            .await;
        answer.is_invalid("`idempotency-key`");
    })
    .await;
}

async fn absent_headers_are_named_and_wrong_ones_are_not(server: &Server) {
    let good = server.account().headers();
    let without = |names: &[&str]| {
        let start = good.clone();
        names
            .iter()
            .fold(start, |headers, name| headers.without(name))
    };
    let all = ["authorization", "x-auth-context", "x-ip"];
    let none = json!(null);
    for (headers, refusal, fields) in [
        (without(&all[..1]), &AUTH_ERROR, json!(["authorization"])),
        (
            without(&all[1..2]),
            &UNAUTHORIZED,
            json!(["x-auth-context"]),
        ),
        (without(&all[2..]), &UNAUTHORIZED, json!(["x-ip"])),
        (
            without(&all[1..]),
            &UNAUTHORIZED,
            json!(["x-auth-context", "x-ip"]),
        ),
        (without(&all), &AUTH_ERROR, json!(all)),
        (
            good.clone().with("authorization", "x"),
            &AUTH_ERROR,
            none.clone(),
        ),
        (
            without(&all[1..]).with("authorization", "x"),
            &AUTH_ERROR,
            none.clone(),
        ),
        (
            good.clone().with("x-auth-context", "{}"),
            &UNAUTHORIZED,
            none.clone(),
        ),
        (good.clone().with("x-ip", "x"), &UNAUTHORIZED, none.clone()),
    ] {
        let answer = create(&server.account(), &headers).await;
        answer.is(refusal);
        assert_eq!(answer.json()["fields"], fields, "{}", answer.text);
    }
}

/// The body is announced and never sent: only a server that does not wait for it can answer.
async fn nothing_of_a_body_is_read_before_headers_pass(server: &Server) {
    let api = server.account();
    let announced = api.headers().with("content-length", "100");
    let csv = "/v1/customer-group/import?customer_group_id=x";
    for (path, headers, status) in [
        (PATH, announced.clone().without("authorization"), 403),
        (PATH, announced.clone().without("x-auth-context"), 403),
        (PATH, announced.clone().without("x-ip"), 403),
        (PATH, announced.clone().without("content-type"), 415),
        (csv, announced.clone().without("authorization"), 403),
        (csv, announced.clone(), 415),
        // A file is not read to learn that its group is not there.
        (csv, announced.clone().with("content-type", "text/csv"), 404),
        (PATH, announced.with("content-length", "2097153"), 413),
    ] {
        assert_eq!(
            Raw::post(server.address, path, &headers).answer().0,
            status,
            "{path}"
        );
    }
    let chunked = api
        .headers()
        .with("transfer-encoding", "chunked")
        .without("x-ip");
    assert_eq!(Raw::post(server.address, PATH, &chunked).answer().0, 403);
}
