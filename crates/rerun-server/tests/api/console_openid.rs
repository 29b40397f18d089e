//! Sign-in to the console at an OpenID provider: the way there, the way back, and every refusal.

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::provider::{ACCOUNT, CLIENT, Key, Provider, USER};
use crate::support::refusal::{AUTH_ERROR, METHOD_NOT_ALLOWED, NOT_FOUND, UNAVAILABLE};
use crate::support::{Answer, Api, Headers, Server, on_both_stores};

on_both_stores!(
    a_sign_in_at_the_provider_becomes_a_session,
    an_id_token_opens_nothing_but_the_console,
    an_answer_fits_one_sign_in_of_one_browser,
    a_code_is_good_once,
    a_refused_id_token_opens_nothing,
    a_provider_in_trouble_is_a_page,
    a_provider_that_never_answers_is_a_page,
    keys_are_fetched_again_when_they_change,
    the_cookies_and_the_way_back_fit_the_host,
    without_a_provider_there_is_no_such_way,
);

const START: &str = "/console/openid/start";
const CALLBACK: &str = "/console/openid/callback";
const SESSION: &str = "/console/session";

fn bare() -> Headers {
    Headers(Vec::new())
}

/// The cookies that an answer sets, each as `name=value` and its attributes.
fn cookies(answer: &Answer) -> Vec<(String, String)> {
    let all = answer.headers.get_all("set-cookie").iter();
    let parts = all.map(|value| value.to_str().unwrap().split_once("; ").unwrap());
    parts
        .map(|(pair, attributes)| (pair.to_owned(), attributes.to_owned()))
        .collect()
}

/// The value of one parameter of an address.
fn parameter(url: &Url, name: &str) -> String {
    let mut found = url.query_pairs().filter(|(key, _)| key == name);
    found.next().unwrap().1.into_owned()
}

/// A sign-in that was begun: where the browser was sent, with its cookie.
struct Begun {
    there: Url,
    cookie: String,
}

async fn begin(api: &Api, headers: &Headers) -> Begun {
    let answer = api.send(Method::GET, START, headers, "").await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let [(cookie, _)] = &cookies(&answer)[..] else {
        panic!("{:?}", answer.headers);
    };
    Begun {
        there: answer.header("location").unwrap().parse().unwrap(),
        cookie: cookie.clone(),
    }
}

/// Signs in at the provider; returns the query with which it sends the browser back.
async fn at_provider(there: &Url) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(there.clone()).send().await.unwrap();
    let back: Url = answer.headers()["x-back"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(back.path(), CALLBACK);
    back.query().unwrap().to_owned()
}

async fn come_back(api: &Api, headers: &Headers, query: &str) -> Answer {
    let path = format!("{CALLBACK}?{query}");
    api.send(Method::GET, &path, headers, "").await
}

/// The whole way.
async fn sign_in(api: &Api) -> Answer {
    let begun = begin(api, &bare()).await;
    let query = at_provider(&begun.there).await;
    come_back(api, &bare().with("cookie", begun.cookie), &query).await
}

/// The cookie of the session that an answer starts.
#[track_caller]
fn session(answer: &Answer) -> Headers {
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(answer.header("location"), Some("../"));
    let set = cookies(answer);
    assert_eq!(set[1].0, "rerun-sign-in=", "{set:?}");
    bare().with("cookie", &*set[0].0)
}

/// Checks that an answer is a page that says this, starts no session, and ends the sign-in.
#[track_caller]
fn is_page(answer: &Answer, status: u16, said: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.text.contains(said), "{said}: {}", answer.text);
    assert!(
        answer
            .text
            .contains("<a class=\"button main\" href=\"../\">")
    );
    assert!(answer.text.contains(answer.header("x-request-id").unwrap()));
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for (pair, attributes) in cookies(answer) {
        assert_eq!(pair, "rerun-sign-in=");
        assert!(attributes.starts_with("Max-Age=0; "), "{attributes}");
    }
}

async fn a_sign_in_at_the_provider_becomes_a_session(server: &Server) {
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    let shown = api.get("/console/openid").await.ok();
    let host = provider.issuer.trim_start_matches("http://");
    assert_eq!(shown, json!({ "provider": host }));

    let begun = begin(&api, &bare()).await;
    let expected = format!("http://{}{CALLBACK}", api.address);
    assert_eq!(parameter(&begun.there, "redirect_uri"), expected);
    assert_eq!(parameter(&begun.there, "scope"), "openid rerun");
    let query = at_provider(&begun.there).await;
    let answer = come_back(&api, &bare().with("cookie", &*begun.cookie), &query).await;
    let headers = session(&answer);
    let set = cookies(&answer);
    let (age, rest) = set[0].1.split_once("; ").unwrap();
    let age: i64 = age.strip_prefix("Max-Age=").unwrap().parse().unwrap();
    assert!((3_590..=3_600).contains(&age), "{age}");
    assert_eq!(rest, "Path=/console; HttpOnly; SameSite=Strict");

    let who = api.send(Method::GET, SESSION, &headers, "").await.ok();
    assert_eq!(who["user_id"], USER);
    assert_eq!(who["user_name"], "Grace Hopper");
    assert_eq!(who["account_id"], ACCOUNT);
    assert_eq!(who["role_code"], "ADMIN");
    // What the person does is written down under that name.
    let post = headers.clone().with("content-type", "application/json");
    let create = json!({ "name": "Spring" }).to_string();
    let path = "/console/v1/customer-group/create";
    api.send(Method::POST, path, &post, create).await.ok();
    let path = "/console/v1/audit/list";
    let audit = api.send(Method::POST, path, &post, "{}").await.ok();
    assert_eq!(audit["entries"][0]["user_name"], "Grace Hopper");

    let out = api.send(Method::DELETE, SESSION, &headers, "").await;
    assert_eq!((out.status, &*cookies(&out)[0].0), (204, "rerun-console="));
    // The keys of the provider are asked for once, not for each request.
    assert_eq!(provider.answers().asked["jwks"], 1);
    assert_eq!(provider.answers().asked["openid-configuration"], 1);
    // The token ends, and the session with it.
    server.clock.advance(Duration::from_hours(1));
    let late = api.send(Method::GET, SESSION, &headers, "").await;
    late.is(&AUTH_ERROR);
}

async fn an_id_token_opens_nothing_but_the_console(server: &Server) {
    let provider = Provider::start("127.0.0.1");
    let mut api = server.signing_in_at(&provider.issuer).await;
    session(&sign_in(&api).await);
    let token = provider.answers().secrets.last().unwrap().clone();
    // It cannot be pasted, where its nonce would not be looked at.
    let body = json!({ "token": token }).to_string();
    let json = bare().with("content-type", "application/json");
    let pasted = api.send(Method::POST, SESSION, &json, body).await;
    pasted.is(&AUTH_ERROR);
    api.token = token;
    let refused = api.post("campaign/list", json!({})).await;
    refused.is(&AUTH_ERROR);
}

async fn an_answer_fits_one_sign_in_of_one_browser(server: &Server) {
    const STALE: &str = "begun in another browser";
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    let begun = begin(&api, &bare()).await;
    let other = begin(&api, &bare()).await;
    let with = |cookie: &str| bare().with("cookie", cookie);
    let (_, secret) = begun.cookie.split_once('.').unwrap();
    let state = parameter(&begun.there, "state");
    let good = at_provider(&begun.there).await;
    let foreign = parameter(&other.there, "state");
    for (headers, query) in [
        (bare(), good.clone()),
        (with(&other.cookie), good.clone()),
        (with(&format!("{0}; {0}", begun.cookie)), good.clone()),
        (
            with(&format!("rerun-sign-in=99999999999.{secret}")),
            good.clone(),
        ),
        (with("rerun-sign-in="), good.clone()),
        (with(&begun.cookie), good.replace(&state, &foreign)),
        (with(&begun.cookie), good.replace(&state, "")),
        (with(&begun.cookie), format!("{good}&state={state}")),
        (with(&begun.cookie), "code=x".to_owned()),
        (with(&begun.cookie), String::new()),
        (with(&begun.cookie), "error=access_denied".to_owned()),
    ] {
        let answer = come_back(&api, &headers, &query).await;
        is_page(&answer, 403, STALE);
        assert_eq!(cookies(&answer).len(), 1);
    }
    for query in [
        format!("error=access_denied&error_description=<b>x&state={state}"),
        format!("state={state}"),
        format!("state={state}&code="),
        format!("{good}&error=server_error"),
        format!("state={state}&code={}", "x".repeat(4_097)),
    ] {
        let answer = come_back(&api, &with(&begun.cookie), &query).await;
        is_page(&answer, 403, "did not sign you in");
        assert!(!answer.text.contains("<b>"), "{}", answer.text);
    }
    // None of them reached the provider: the code is as good as before.
    assert!(!provider.answers().asked.contains_key("token"));
    server.clock.advance(Duration::from_secs(599));
    session(&come_back(&api, &with(&begun.cookie), &good).await);
    let late = begin(&api, &bare()).await;
    let query = at_provider(&late.there).await;
    server.clock.advance(Duration::from_mins(10));
    is_page(
        &come_back(&api, &with(&late.cookie), &query).await,
        403,
        STALE,
    );
}

async fn a_code_is_good_once(server: &Server) {
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    let begun = begin(&api, &bare()).await;
    let query = at_provider(&begun.there).await;
    let headers = bare().with("cookie", begun.cookie);
    session(&come_back(&api, &headers, &query).await);
    let again = come_back(&api, &headers, &query).await;
    is_page(&again, 403, "took too long or was used already");
    // A code that was given to another sign-in does not fit the verifier.
    let (one, two) = (begin(&api, &bare()).await, begin(&api, &bare()).await);
    let stolen = at_provider(&one.there).await;
    let states = [&one, &two].map(|begun| parameter(&begun.there, "state"));
    let stolen = stolen.replace(&states[0], &states[1]);
    let answer = come_back(&api, &bare().with("cookie", two.cookie), &stolen).await;
    is_page(&answer, 403, "took too long or was used already");
}

async fn a_refused_id_token_opens_nothing(server: &Server) {
    const REFUSED: &str = "does not accept what it says about you";
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    session(&sign_in(&api).await);
    let now = rerun_core::ports::Clock::now(&*server.clock).timestamp();
    for claims in [
        json!({ "nonce": "x" }),
        json!({ "nonce": null }),
        json!({ "aud": "another" }),
        json!({ "aud": null }),
        json!({ "aud": [CLIENT, "another"], "azp": "another" }),
        json!({ "iss": "https://login.example.com" }),
        json!({ "iss": null }),
        json!({ "exp": now }),
        json!({ "exp": null }),
        json!({ "nbf": now + 60 }),
        json!({ "role_code": null }),
        json!({ "role_code": "" }),
        json!({ "account_id": null }),
        json!({ "account_id": "7" }),
        json!({ "user_id": null }),
    ] {
        provider.answers().claims = claims.clone();
        let answer = sign_in(&api).await;
        is_page(&answer, 403, REFUSED);
        assert_eq!(cookies(&answer).len(), 1, "{claims}");
    }
    for claims in [
        json!({ "aud": [CLIENT, "another"], "azp": CLIENT }),
        json!({ "user_name": null, "role_code": "READER" }),
    ] {
        provider.answers().claims = claims;
        session(&sign_in(&api).await);
    }
    provider.answers().claims = json!({ "role_code": "R".repeat(3_100) });
    is_page(
        &sign_in(&api).await,
        403,
        "more about you than a cookie can hold",
    );
    provider.answers().claims = json!({});
    // A key of the same name that the provider does not have, and one of another name.
    for kid in ["first", "second"] {
        let good = std::mem::replace(&mut provider.answers().key, Key::new(kid, "ES256"));
        is_page(&sign_in(&api).await, 403, REFUSED);
        provider.answers().key = good;
    }
    session(&sign_in(&api).await);
}

async fn a_provider_in_trouble_is_a_page(server: &Server) {
    const AWAY: &str = "cannot be reached or is not set up";
    // Nobody listens there.
    let api = server.signing_in_at("http://127.0.0.1:1").await;
    let answer = api.send(Method::GET, START, &bare(), "").await;
    is_page(&answer, 503, AWAY);
    assert_eq!(cookies(&answer), []);

    let elsewhere = Provider::start("127.0.0.1");
    let huge = (200, format!("{{\"id_token\":\"{}\"}}", "x".repeat(300_000)));
    let redirect = (307, format!("{}/token", elsewhere.issuer));
    let named = |provider: &Provider, endpoint: &str| {
        let mut all = json!({
            "issuer": provider.issuer, "authorization_endpoint": "http://127.0.0.1:1/",
            "token_endpoint": "http://127.0.0.1:1/", "jwks_uri": "http://127.0.0.1:1/",
        });
        all[endpoint] = json!("http://login.example.com/");
        all
    };
    for body in ["{}", "[]", "<html>", "{\"issuer\":\"x\"}"] {
        let provider = Provider::start("127.0.0.1");
        describe_as(server, &provider, (200, body.to_owned()), AWAY).await;
    }
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "issuer",
    ] {
        let provider = Provider::start("127.0.0.1");
        let body = named(&provider, endpoint).to_string();
        describe_as(server, &provider, (200, body), AWAY).await;
    }
    for trouble in [huge.clone(), redirect.clone(), (500, String::new())] {
        let provider = Provider::start("127.0.0.1");
        describe_as(server, &provider, trouble, AWAY).await;
    }

    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    for (path, trouble) in [
        ("token", huge.clone()),
        ("token", redirect.clone()),
        ("token", (503, String::new())),
        ("token", (200, "{}".to_owned())),
        ("token", (200, "<html>".to_owned())),
        (
            "token",
            (401, json!({ "error": "invalid_client" }).to_string()),
        ),
        ("jwks", huge),
        ("jwks", redirect),
        ("jwks", (500, String::new())),
        ("jwks", (200, "{}".to_owned())),
    ] {
        provider.answers().trouble.insert(path, trouble.clone());
        let answer = sign_in(&api).await;
        is_page(&answer, 503, AWAY);
        provider.answers().trouble.clear();
    }
    assert!(
        elsewhere.answers().asked.is_empty(),
        "a redirect was followed"
    );
    // A session says so, too: it may be good.
    let token = provider.answers().secrets.last().unwrap().clone();
    let headers = bare().with("cookie", format!("rerun-console={token}"));
    let answer = api.send(Method::GET, SESSION, &headers, "").await;
    answer.is(&UNAVAILABLE);
}

/// Whatever it does not answer, the browser is told in the end.
async fn a_provider_that_never_answers_is_a_page(server: &Server) {
    let hangs = async |path: &'static str| {
        let provider = Provider::start("127.0.0.1");
        let api = server.signing_in_at(&provider.issuer).await;
        provider.answers().trouble.insert(path, (0, String::new()));
        let answer = if path == "openid-configuration" {
            api.send(Method::GET, START, &bare(), "").await
        } else {
            sign_in(&api).await
        };
        is_page(&answer, 503, "cannot be reached or is not set up");
        assert_eq!(provider.answers().asked[path], 1);
    };
    tokio::join!(hangs("openid-configuration"), hangs("token"), hangs("jwks"));
}

/// Signs in where the provider describes itself like this.
async fn describe_as(server: &Server, provider: &Provider, answer: (u16, String), said: &str) {
    let trouble = provider
        .answers()
        .trouble
        .insert("openid-configuration", answer);
    assert!(trouble.is_none());
    let api = server.signing_in_at(&provider.issuer).await;
    let answer = api.send(Method::GET, START, &bare(), "").await;
    is_page(&answer, 503, said);
    // It is asked again, and not remembered.
    provider.answers().trouble.clear();
    session(&sign_in(&api).await);
}

async fn keys_are_fetched_again_when_they_change(server: &Server) {
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    {
        let mut answers = provider.answers();
        let rsa = Key::new("second", "RS256");
        let keys = vec![
            answers.key.jwk(),
            rsa.jwk(),
            json!({ "kty": "EC", "crv": "P-521" }),
        ];
        answers.keys = keys;
        answers.key = rsa;
    }
    let headers = session(&sign_in(&api).await);
    api.send(Method::GET, SESSION, &headers, "").await.ok();
    // Another server of the installation has never seen the provider's keys.
    let other = server.signing_in_at(&provider.issuer).await;
    other.send(Method::GET, SESSION, &headers, "").await.ok();
    assert_eq!(provider.answers().asked["jwks"], 2);
    assert_eq!(provider.answers().asked["token"], 1);
}

async fn the_cookies_and_the_way_back_fit_the_host(server: &Server) {
    let provider = Provider::start("127.0.0.1");
    let api = server.signing_in_at(&provider.issuer).await;
    let headers = bare().with("host", "rerun.example");
    let answer = api.send(Method::GET, START, &headers, "").await;
    let there: Url = answer.header("location").unwrap().parse().unwrap();
    let back = parameter(&there, "redirect_uri");
    assert_eq!(back, format!("https://rerun.example{CALLBACK}"));
    let (cookie, attributes) = &cookies(&answer)[0];
    assert!(cookie.starts_with("__Secure-rerun-sign-in="), "{cookie}");
    let expected = "Max-Age=600; Path=/console/openid; HttpOnly; SameSite=Lax; Secure";
    assert_eq!(attributes, expected);
    let query = at_provider(&there).await;
    let answer = come_back(&api, &headers.clone().with("cookie", cookie), &query).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let set = cookies(&answer);
    assert!(set[0].0.starts_with("__Secure-rerun-console="), "{set:?}");
    assert!(set[0].1.ends_with("; SameSite=Strict; Secure"), "{set:?}");
    assert_eq!(set[1].0, "__Secure-rerun-sign-in=");
    // A bad host only becomes one parameter of the address; it leads nowhere else.
    let odd = bare().with("host", "rerun.example&x=1");
    let answer = api.send(Method::GET, START, &odd, "").await;
    let there: Url = answer.header("location").unwrap().parse().unwrap();
    assert!(there.as_str().starts_with(&provider.issuer));
    assert!(!there.query_pairs().any(|(name, _)| name == "x"));
}

async fn without_a_provider_there_is_no_such_way(server: &Server) {
    let api = server.account();
    let shown = api.get("/console/openid").await.ok();
    assert_eq!(shown, json!({ "provider": Value::Null }));
    for path in [START, CALLBACK, "/console/openid/", "/console/openid/x"] {
        api.get(path).await.is(&NOT_FOUND);
    }
    let answer = api.send(Method::POST, START, &bare(), "").await;
    answer.is(&METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), Some("GET"));
}
