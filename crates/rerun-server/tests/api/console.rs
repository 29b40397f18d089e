//! The console's door: the session in a cookie, what another site may not send, where a client's
//! address comes from, and the pages.

use reqwest::Method;
use rerun_core::ports::{Clock, IdGenerator};
use rerun_generate::UuidV7;
use serde_json::{Value, json};

use crate::support::refusal::{
    AUTH_ERROR, METHOD_NOT_ALLOWED, NOT_FOUND, UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE,
};
use crate::support::{
    Answer, Api, Headers, NAME, SPRING, Server, TRUSTED_PROXY_HOST, body_of, on_both_stores, token,
};

on_both_stores!(
    a_token_becomes_a_session,
    a_session_needs_a_good_token,
    the_cookie_fits_the_host,
    a_session_ends,
    a_bad_cookie_is_refused,
    the_endpoints_are_behind_the_cookie_too,
    either_door_has_its_own_key,
    another_site_is_refused,
    the_address_is_the_connections,
    a_trusted_proxy_names_the_client,
    an_import_goes_through_the_console,
    pages_are_for_everybody,
    unknown_paths_and_methods_have_their_form,
);

const SESSION: &str = "/console/session";

fn bare() -> Headers {
    Headers(Vec::new())
}

fn json_body() -> Headers {
    bare().with("content-type", "application/json")
}

/// Signs in; returns the answer.
async fn sign_in(api: &Api, headers: &Headers, token: &str) -> Answer {
    let body = json!({ "token": token }).to_string();
    api.send(Method::POST, SESSION, headers, body).await
}

/// The cookie that an answer sets, as `name=value` and the attributes.
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 1);
    let set = answer.header("set-cookie").unwrap();
    let mut parts = set.split("; ").map(ToOwned::to_owned);
    (parts.next().unwrap(), parts.collect())
}

/// Headers of a browser that has signed in.
async fn signed_in(api: &Api) -> Headers {
    let answer = sign_in(api, &json_body(), &api.token).await;
    answer.ok();
    json_body().with("cookie", cookie(&answer).0)
}

async fn post(api: &Api, path: &str, headers: &Headers, body: &Value) -> Answer {
    let path = format!("/console/v1/{path}");
    api.send(Method::POST, &path, headers, body.to_string())
        .await
}

async fn a_token_becomes_a_session(server: &Server) {
    let api = server.account();
    let now = server.clock.now().timestamp();
    let mut claims = api.claims();
    claims["exp"] = json!(now + 600);
    let token = token(&claims, crate::support::SECRET);
    let answer = sign_in(&api, &json_body(), &token).await;
    let said = answer.ok();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (pair, attributes) = cookie(&answer);
    assert_eq!(pair, format!("rerun-console={token}"));
    let age: i64 = attributes[0]
        .strip_prefix("Max-Age=")
        .unwrap()
        .parse()
        .unwrap();
    assert!((590..=600).contains(&age), "{age}");
    assert_eq!(
        attributes[1..],
        ["Path=/console", "HttpOnly", "SameSite=Strict"]
    );
    let until = rerun_core::Timestamp::from_timestamp(now + 600, 0).unwrap();
    let actions = body_of(&said, "actions");
    assert!(actions.contains(&json!("messages_review")), "{said}");
    let guarded = rerun_wire::ENDPOINTS
        .iter()
        .filter_map(rerun_wire::Endpoint::action);
    assert_eq!(actions.len(), guarded.count());
    let mut who = said.clone();
    who.as_object_mut().unwrap().remove("actions");
    assert_eq!(
        who,
        json!({
            "user_id": api.user,
            "user_name": NAME,
            "account_id": api.account,
            "role_code": "ADMIN",
            "expires_at": rerun_core::timestamp::format(until),
        })
    );
    let shown = api
        .send(Method::GET, SESSION, &bare().with("cookie", pair), "")
        .await;
    assert_eq!(shown.ok(), said);
    assert_eq!(shown.header("cache-control"), Some("no-store"));
}

async fn a_session_needs_a_good_token(server: &Server) {
    let api = server.account();
    let none = |answer: Answer| {
        assert_eq!(answer.header("set-cookie"), None, "{}", answer.text);
        answer
    };
    for body in ["{}", r#"{"token":null}"#, r#"{"token":""}"#] {
        let answer = api.send(Method::POST, SESSION, &json_body(), body).await;
        none(answer).misses(&["token"]);
    }
    let answer = api
        .send(Method::POST, SESSION, &json_body(), r#"{"token":5}"#)
        .await;
    none(answer).is_invalid("`token`");
    let answer = api.send(Method::POST, SESSION, &json_body(), "").await;
    none(answer).is_invalid("malformed JSON");
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(70_000));
    let answer = api.send(Method::POST, SESSION, &json_body(), long).await;
    none(answer).says(413, "payload_too_large", "at most 65536 bytes");
    let answer = sign_in(&api, &bare(), &api.token).await;
    none(answer).is(&UNSUPPORTED_MEDIA_TYPE);
    let mut expired = api.claims();
    expired["exp"] = json!(server.clock.now().timestamp());
    let mut long = api.claims();
    long["role_code"] = json!("R".repeat(3_100));
    let secret = crate::support::SECRET;
    for refused in [
        "x".to_owned(),
        format!("{}x", api.token),
        format!("Bearer {}", api.token),
        format!("{}\r\nset-cookie: a=b", api.token),
        token(&api.claims(), "another secret of thirty-two bytes"),
        token(&expired, secret),
    ] {
        none(sign_in(&api, &json_body(), &refused).await).is(&AUTH_ERROR);
    }
    let answer = sign_in(&api, &json_body(), &token(&long, secret)).await;
    none(answer).is_invalid("longer than a cookie can be");
}

async fn the_cookie_fits_the_host(server: &Server) {
    let api = server.account();
    let at = |host: &str| json_body().with("host", host);
    let proxied = |host: &str| at(host).with("x-forwarded-proto", "https");
    let from_proxy = server.through_proxy();
    for (api, headers, secure) in [
        (&api, at("localhost:8080"), false),
        (&api, at("127.0.0.1"), false),
        (&api, at("[::1]:9"), false),
        (&api, at("rerun.example"), true),
        (&api, at("10.0.0.1:8080"), true),
        // Its word about TLS counts only from a trusted proxy.
        (&api, proxied("localhost"), false),
        (&from_proxy, proxied("localhost"), true),
        (&from_proxy, at("localhost"), false),
        (&from_proxy, proxied("rerun.example"), true),
    ] {
        let answer = sign_in(api, &headers, &api.token).await;
        answer.ok();
        let (pair, attributes) = cookie(&answer);
        let name = if secure {
            "__Secure-rerun-console"
        } else {
            "rerun-console"
        };
        assert_eq!(pair, format!("{name}={}", api.token), "{headers:?}");
        assert_eq!(
            attributes.iter().any(|part| part == "Secure"),
            secure,
            "{headers:?}"
        );
        assert!(!attributes.iter().any(|part| part.starts_with("Domain")));
        let with = |name: &str| {
            headers
                .clone()
                .with("cookie", format!("{name}={}", api.token))
        };
        let shown = api.send(Method::GET, SESSION, &with(name), "").await;
        assert_eq!(shown.ok()["user_id"], api.user);
        let other = if secure {
            "rerun-console"
        } else {
            "__Secure-rerun-console"
        };
        api.send(Method::GET, SESSION, &with(other), "")
            .await
            .is(&AUTH_ERROR);
    }
}

async fn a_session_ends(server: &Server) {
    let api = server.account();
    for headers in [
        signed_in(&api).await,
        bare(),
        bare().with("cookie", "rerun-console=x"),
    ] {
        let answer = api.send(Method::DELETE, SESSION, &headers, "").await;
        assert_eq!(answer.status, 204);
        let (pair, attributes) = cookie(&answer);
        assert_eq!(pair, "rerun-console=");
        assert_eq!(
            attributes,
            ["Max-Age=0", "Path=/console", "HttpOnly", "SameSite=Strict"]
        );
    }
    let headers = json_body().with("host", "rerun.example");
    let answer = api.send(Method::DELETE, SESSION, &headers, "").await;
    assert_eq!(cookie(&answer).0, "__Secure-rerun-console=");
    assert!(cookie(&answer).1.contains(&"Secure".to_owned()));
    // What has expired is over as well.
    let headers = signed_in(&api).await;
    server
        .clock
        .advance(std::time::Duration::from_hours(8 * 24));
    api.send(Method::GET, SESSION, &headers, "")
        .await
        .is(&AUTH_ERROR);
    post(&api, "campaign/list", &headers, &json!({}))
        .await
        .is(&AUTH_ERROR);
}

async fn a_bad_cookie_is_refused(server: &Server) {
    let api = server.account();
    let good = format!("rerun-console={}", api.token);
    let refused = [
        bare(),
        bare().with("cookie", ""),
        bare().with("cookie", "rerun-console"),
        bare().with("cookie", "rerun-console="),
        bare().with("cookie", format!("{good}x")),
        bare().with("cookie", format!("x{good}")),
        bare().with("cookie", format!("rerun-console=\"{}\"", api.token)),
        bare().with("cookie", format!("rerun-console-{good}")),
        bare().with("cookie", format!("{good}; {good}")),
        bare().with("cookie", format!("rerun-console=x; {good}")),
        bare()
            .with("cookie", good.clone())
            .and("cookie", good.clone()),
        bare()
            .with("cookie", good.clone())
            .and("cookie", "rerun-console="),
        bare().with("authorization", format!("Bearer {}", api.token)),
    ];
    api.unchanged(async || {
        for headers in &refused {
            api.send(Method::GET, SESSION, headers, "")
                .await
                .is(&AUTH_ERROR);
            let headers = headers.clone().with("content-type", "application/json");
            let create = json!({ "name": "g" });
            post(&api, "customer-group/create", &headers, &create)
                .await
                .is(&AUTH_ERROR);
        }
    })
    .await;
    for cookies in [
        format!("a=b; {good}; c"),
        format!(" a=\"b;{good} "),
        format!(";;{good};"),
    ] {
        let headers = bare().with("cookie", cookies);
        api.send(Method::GET, SESSION, &headers, "").await.ok();
    }
    let headers = bare().with("cookie", "a=b").and("cookie", good);
    api.send(Method::GET, SESSION, &headers, "").await.ok();
}

async fn the_endpoints_are_behind_the_cookie_too(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    let headers = signed_in(&api).await;
    for (path, body) in [
        ("campaign/list", json!({})),
        ("campaign/get", json!({ "campaign_id": campaign })),
        ("campaign/rerun/history", json!({ "campaign_id": campaign })),
        (
            "campaign/rerun/messages",
            json!({ "campaign_id": campaign, "limit": 2 }),
        ),
        ("customer-group/list", json!({})),
        ("audit/list", json!({ "limit": 3 })),
    ] {
        let here = post(&api, path, &headers, &body).await.ok();
        assert_eq!(here, api.ok(path, body).await, "{path}");
    }
    post(&api, "campaign/get", &headers, &json!({}))
        .await
        .misses(&["campaign_id"]);
    let stranger = signed_in(&server.account()).await;
    let missing = post(
        &api,
        "campaign/get",
        &stranger,
        &json!({ "campaign_id": campaign }),
    )
    .await;
    missing.is(&crate::support::refusal::CAMPAIGN_NOT_FOUND);
    // Idempotency keys are those of the account, whichever door is used.
    let keyed = headers.with("idempotency-key", "one");
    let create = json!({ "name": "Once" });
    let first = post(&api, "customer-group/create", &keyed, &create).await;
    let again = api.keyed("one", "customer-group/create", create).await;
    assert!(!first.replayed() && again.replayed());
    assert_eq!(first.ok(), again.ok());
    for endpoint in rerun_wire::ENDPOINTS
        .iter()
        .filter(|e| e.path.starts_with("/v1/"))
    {
        let path = format!("/console{}", endpoint.path);
        api.send(Method::POST, &path, &json_body(), "{}")
            .await
            .is(&AUTH_ERROR);
    }
}

async fn either_door_has_its_own_key(server: &Server) {
    let api = server.account();
    let cookie = format!("rerun-console={}", api.token);
    api.unchanged(async || {
        let create = json!({ "name": "g" });
        // The cookie opens `/v1` neither alone nor in place of one header.
        for headers in [
            json_body().with("cookie", cookie.clone()),
            api.headers()
                .without("authorization")
                .with("cookie", cookie.clone()),
        ] {
            api.post_with("customer-group/create", &headers, create.clone())
                .await
                .is(&AUTH_ERROR);
        }
        let headers = api
            .headers()
            .without("x-auth-context")
            .with("cookie", cookie.clone());
        api.post_with("customer-group/create", &headers, create.clone())
            .await
            .is(&UNAUTHORIZED);
        post(&api, "customer-group/create", &api.headers(), &create)
            .await
            .is(&AUTH_ERROR);
    })
    .await;
    api.send(Method::GET, SESSION, &api.headers(), "")
        .await
        .is(&AUTH_ERROR);
}

async fn another_site_is_refused(server: &Server) {
    let api = server.account();
    let good = signed_in(&api).await;
    let host = api.address.to_string();
    let origin = format!("http://{host}");
    let refused = [
        good.clone().with("sec-fetch-site", "cross-site"),
        good.clone().with("sec-fetch-site", "same-site"),
        good.clone().with("sec-fetch-site", "none"),
        good.clone().with("sec-fetch-site", ""),
        good.clone()
            .with("sec-fetch-site", "same-origin")
            .and("sec-fetch-site", "cross-site"),
        good.clone()
            .with("sec-fetch-site", "cross-site")
            .with("origin", &*origin),
        good.clone().with("origin", "null"),
        good.clone().with("origin", "http://evil.example"),
        good.clone()
            .with("origin", format!("http://localhost:{}", api.address.port())),
        good.clone().with("origin", "http://127.0.0.1:1"),
        good.clone()
            .with("origin", &*origin)
            .and("origin", &*origin),
    ];
    api.unchanged(async || {
        for headers in &refused {
            let create = json!({ "name": "g" });
            post(&api, "customer-group/create", headers, &create)
                .await
                .is(&UNAUTHORIZED);
            api.send(Method::GET, SESSION, headers, "")
                .await
                .is(&UNAUTHORIZED);
            let out = api.send(Method::DELETE, SESSION, headers, "").await;
            out.is(&UNAUTHORIZED);
            assert_eq!(out.header("set-cookie"), None);
            let signed = sign_in(&api, headers, &api.token).await;
            signed.is(&UNAUTHORIZED);
            assert_eq!(signed.header("set-cookie"), None);
        }
    })
    .await;
    // The request of a signed-in page, and that of a program.
    for headers in [
        good.clone().with("sec-fetch-site", "same-origin"),
        good.clone()
            .with("sec-fetch-site", "same-origin")
            .with("origin", "http://evil.example"),
        good.clone().with("origin", origin),
        good.clone(),
    ] {
        post(&api, "campaign/list", &headers, &json!({})).await.ok();
    }
    // A page may be opened from anywhere, as by a link in a mail.
    let from_mail = bare().with("sec-fetch-site", "cross-site");
    let page = api.send(Method::GET, "/console/", &from_mail, "").await;
    assert_eq!(page.status, 200);
}

/// The address that the newest audit entry has.
async fn recorded(api: &Api, headers: &Headers) -> String {
    let name = UuidV7.next().to_string();
    post(
        api,
        "customer-group/create",
        headers,
        &json!({ "name": name }),
    )
    .await
    .ok();
    api.audit().await[0]["ip"].as_str().unwrap().to_owned()
}

async fn the_address_is_the_connections(server: &Server) {
    let api = server.account();
    let headers = signed_in(&api).await;
    for headers in [
        headers.clone(),
        headers.clone().with("x-ip", "203.0.113.9"),
        headers.clone().with("x-forwarded-for", "203.0.113.9"),
        headers.with("forwarded", "for=203.0.113.9"),
    ] {
        assert_eq!(recorded(&api, &headers).await, "127.0.0.1");
    }
    let entry = &api.audit().await[0];
    assert_eq!(entry["user_id"], api.user);
    assert_eq!(entry["role_code"], "ADMIN");
}

async fn a_trusted_proxy_names_the_client(server: &Server) {
    let api = server.through_proxy();
    let headers = signed_in(&api).await;
    for (forwarded, ip) in [
        (None, TRUSTED_PROXY_HOST),
        (Some("203.0.113.9"), "203.0.113.9"),
        (Some("198.51.100.1, 203.0.113.9"), "203.0.113.9"),
        (Some("203.0.113.9, 127.0.0.2"), "203.0.113.9"),
        (Some("203.0.113.9, nobody, 127.0.0.2"), "127.0.0.2"),
        (Some("nobody"), TRUSTED_PROXY_HOST),
    ] {
        let headers = match forwarded {
            Some(forwarded) => headers.clone().with("x-forwarded-for", forwarded),
            None => headers.clone(),
        };
        assert_eq!(recorded(&api, &headers).await, ip, "{forwarded:?}");
    }
    let twice = headers
        .with("x-forwarded-for", "198.51.100.1")
        .and("x-forwarded-for", "203.0.113.9");
    assert_eq!(recorded(&api, &twice).await, "203.0.113.9");
}

async fn an_import_goes_through_the_console(server: &Server) {
    let api = server.account();
    let group = api.empty_group("Spring").await;
    let headers = signed_in(&api).await.with("content-type", "text/csv");
    let path = format!("/console/v1/customer-group/import?customer_group_id={group}");
    let answer = api.send(Method::POST, &path, &headers, SPRING).await;
    assert_eq!(answer.ok()["total"], 4);
}

async fn pages_are_for_everybody(server: &Server) {
    let api = server.account();
    let page = api.get("/console/").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!page.text.contains(crate::support::API_CODE));
    for name in ["app.js", "style.css", "icon.svg"] {
        assert!(page.text.contains(name), "{}", page.text);
        let file = api.get(&format!("/console/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        let tag = file.header("etag").unwrap();
        let known = bare().with("if-none-match", tag);
        let again = api
            .send(Method::GET, &format!("/console/{name}"), &known, "")
            .await;
        assert_eq!((again.status, &*again.text), (304, ""), "{name}");
        let head = api
            .send(Method::HEAD, &format!("/console/{name}"), &bare(), "")
            .await;
        assert_eq!((head.status, &*head.text), (200, ""), "{name}");
    }
    let folder = api.get("/console").await;
    assert_eq!(
        (folder.status, folder.header("location")),
        (308, Some("console/"))
    );
}

async fn unknown_paths_and_methods_have_their_form(server: &Server) {
    let api = server.account();
    for path in [
        "/console/nothing",
        "/console/v1",
        "/console/v1/",
        "/console/v1/x",
        "/console/a/b",
        "/console/session/",
        "/console/../v1/x",
        "/console/%2e%2e/etc",
    ] {
        api.send(Method::GET, path, &bare(), "")
            .await
            .is(&NOT_FOUND);
    }
    for (method, path, allow) in [
        (Method::POST, "/console/", "GET, HEAD"),
        (Method::POST, "/console/app.js", "GET, HEAD"),
        (Method::PUT, SESSION, "POST, GET, DELETE"),
        (Method::GET, "/console/v1/campaign/list", "POST"),
    ] {
        let answer = api.send(method, path, &bare(), "").await;
        answer.is(&METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
}
