//! Input that is deep or huge: each is refused in a short time, and the server goes on.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::support::refusal::{AUTH_ERROR, UNAUTHORIZED};
use crate::support::{Api, SECRET, SPRING, Server, on_both_stores};

on_both_stores!(
    a_template_of_eleven_thousand_filters_is_refused,
    a_template_that_makes_no_message_is_refused,
    deep_and_huge_bodies_are_refused,
    deep_and_huge_headers_are_refused,
    long_queries_are_refused,
);

/// As large as a body may be.
const BODY: usize = 2 * 1024 * 1024;
/// Nearly as large as headers may be.
const HEADER: usize = 60_000;
/// Many times what a refusal takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Texts that a parser which calls itself, or looks ahead, could fail on.
fn texts(size: usize) -> Vec<String> {
    let fill = |unit: &str| unit.repeat(size / unit.len());
    let whole = |open: &str, close: &str| {
        let depth = size / (open.len() + close.len()) - 1;
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        fill("["),
        fill("{\"a\":"),
        fill("[{\"a\":"),
        whole("[", "]"),
        whole("{\"a\":", "}"),
        fill("\""),
        fill("\\"),
        fill("{"),
        fill("}"),
        fill("9"),
        format!("1e{}", "9".repeat(size - 2)),
        fill("\"\\ud800"),
        fill("-"),
        fill(" "),
    ]
}

async fn lives(api: &Api, began: Instant) {
    assert!(began.elapsed() < PATIENCE, "it took {:?}", began.elapsed());
    api.get("/health/live").await.ok();
}

async fn a_template_of_eleven_thousand_filters_is_refused(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let create = |template: Value| {
        json!({ "name": "n", "customer_group_id": group, "segment_by": ["country"],
            "template": template })
    };
    let filters = |count: usize| format!("\n{{{{ country{} }}}}", "|trim".repeat(count));
    api.unchanged(async || {
        for count in [9, 11_000, 35_000] {
            let began = Instant::now();
            let template = json!({ "subject": "s", "body": filters(count) });
            let answer = api.post("campaign/create", create(template)).await;
            answer.is_invalid("`template.body`, line 2: a placeholder may have at most 8 filters");
            lives(&api, began).await;
        }
        for body in [
            "{{".repeat(100_000),
            "{".repeat(200_000),
            "|".repeat(199_000),
        ] {
            let began = Instant::now();
            let template = json!({ "subject": "s", "body": format!("{{{{ {body}") });
            let answer = api.post("campaign/create", create(template)).await;
            answer.is_invalid("`");
            lives(&api, began).await;
        }
    })
    .await;
    let template = json!({ "subject": "s", "body": filters(8) });
    api.ok("campaign/create", create(template)).await;
}

/// Wherever a template is sent, and whatever the values of the segments are.
async fn a_template_that_makes_no_message_is_refused(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let campaign = api.draft(&group).await;
    let stays = "stays in every message as a placeholder that nothing fills";
    let blank = "the text is blank, whatever the values are";
    let long = "`template.subject`, line 1: a message may have at most 1000 characters";
    // Each of these letters becomes two.
    let letters = format!("{{{{ '{}' | upper }}}}", "ß".repeat(900));
    api.unchanged(async || {
        for (subject, body, said) in [
            (
                "s",
                "a\n{{ \"{{ x }}\" }}".to_owned(),
                format!("`template.body`, line 2: `{{{{ x }}}}` {stays}"),
            ),
            (
                "{{ '{{' }}{{ country }}}}",
                "b".to_owned(),
                format!("`template.subject`, line 1: `{{{{…}}}}` {stays}"),
            ),
            (
                "{{ '' }}",
                "b".to_owned(),
                format!("`template.subject`, line 1: {blank}"),
            ),
            (
                "s",
                "{{ ' ' }}\n".to_owned(),
                format!("`template.body`, line 1: {blank}"),
            ),
            (&*letters, "b".to_owned(), long.to_owned()),
        ] {
            let body = json!({
                "campaign_id": campaign, "name": "n", "customer_group_id": group,
                "segment_by": ["country", "tier"], "template": { "subject": subject, "body": body },
            });
            for path in [
                "campaign/create",
                "campaign/update",
                "campaign/template/preview",
            ] {
                api.post(path, body.clone()).await.is_invalid(&said);
            }
        }
    })
    .await;
}

async fn deep_and_huge_bodies_are_refused(server: &Server) {
    let api = server.account();
    let send = async |body: String| {
        let began = Instant::now();
        let post = reqwest::Method::POST;
        let path = "/v1/customer-group/create";
        let answer = api.send(post, path, &api.headers(), body).await;
        let said: String = answer.text.chars().take(300).collect();
        assert!((400..500).contains(&answer.status), "{said}");
        assert!(answer.text.len() < 3_000, "{said}");
        lives(&api, began).await;
    };
    for text in texts(BODY - 100) {
        // As the whole body, in a known field, and in a field that is ignored.
        send(text.clone()).await;
        send(format!("{{\"name\":{text}}}")).await;
        send(format!("{{\"x\":{text}}}")).await;
    }
    // In a text that is looked into.
    for text in ["5b".repeat(BODY / 2 - 100), "[".repeat(BODY - 100)] {
        let began = Instant::now();
        api.post("campaign/list", json!({ "cursor": text }))
            .await
            .is_invalid("`cursor`");
        lives(&api, began).await;
    }
}

async fn deep_and_huge_headers_are_refused(server: &Server) {
    let api = server.account();
    let path = "customer-group/create";
    // Blanks at the ends of a header are no part of it.
    for text in texts(HEADER).iter().filter(|text| !text.trim().is_empty()) {
        let context = [
            text.clone(),
            format!("{{\"api_access\":true,\"api_code\":{text}}}"),
            format!("{{\"x\":{text}}}"),
        ];
        for context in context {
            let began = Instant::now();
            let headers = api.headers().with("x-auth-context", context);
            api.post_with(path, &headers, json!({}))
                .await
                .is(&UNAUTHORIZED);
            lives(&api, began).await;
        }
        // Two thirds as long, since a token is written in base64.
        let text: String = text.chars().take(HEADER * 2 / 3).collect();
        let signed = |header: &str, claims: &str| {
            let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
            let message = format!("{}.{}", encode(header), encode(claims));
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
            format!("Bearer {message}.{}", signature.unwrap())
        };
        let good = r#"{"alg":"HS256"}"#;
        let tokens = [
            signed(&text, "{}"),
            signed(&format!("{{\"alg\":\"HS256\",\"x\":{text}}}"), "{}"),
            signed(good, &text),
            signed(good, &format!("{{\"x\":{text}}}")),
            signed(good, &format!("{{\"exp\":{text}}}")),
            signed(good, &format!("{{\"iss\":{text}}}")),
            format!("Bearer {}", ".".repeat(HEADER)),
        ];
        for token in tokens {
            let began = Instant::now();
            let headers = api.headers().with("authorization", token);
            api.post_with(path, &headers, json!({}))
                .await
                .is(&AUTH_ERROR);
            lives(&api, began).await;
        }
    }
}

async fn long_queries_are_refused(server: &Server) {
    let api = server.account();
    for query in [
        "a[".repeat(HEADER / 2),
        "&".repeat(HEADER),
        "=".repeat(HEADER),
        "%".repeat(HEADER),
        "%5b".repeat(HEADER / 3),
        format!("customer_group_id={}", "7".repeat(HEADER)),
        "customer_group_id=1&".repeat(HEADER / 20),
    ] {
        let began = Instant::now();
        let headers = api.headers().with("content-type", "text/csv");
        let path = format!("/v1/customer-group/import?{query}");
        let post = reqwest::Method::POST;
        let answer = api.send(post, &path, &headers, "customer_ref\n").await;
        let said: String = answer.text.chars().take(300).collect();
        assert!(
            (400..500).contains(&answer.status),
            "{} {said}",
            answer.status
        );
        lives(&api, began).await;
    }
}
