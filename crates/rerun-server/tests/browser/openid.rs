//! Sign-in at an OpenID provider, as a person does it.

use serde_json::json;

use crate::driver::Browser;
use crate::looks::violations;
use crate::provider::{CLIENT, Provider};
use crate::world::World;

crate::on_both_stores!(somebody_signs_in_at_the_provider);

async fn somebody_signs_in_at_the_provider(mut world: World, browser: Browser) {
    // Another site than the console's, which is at 127.0.0.1.
    let provider = Provider::start("localhost");
    world.group("Spring 2026", &["DE"], &["gold"], 1).await;
    // It gets the secret `hunter2+%` encoded as in a form.
    provider.answers().client_secret = Some("hunter2%2B%25");
    world.kill();
    world.start_with(&[
        ("RERUN_CONSOLE_OIDC_ISSUER", &provider.issuer),
        ("RERUN_CONSOLE_OIDC_CLIENT_ID", CLIENT),
        ("RERUN_CONSOLE_OIDC_CLIENT_SECRET", "hunter2+%"),
        ("RERUN_LOG", "trace"),
    ]);
    let host = provider.issuer.trim_start_matches("http://");
    let link = format!("Sign in with {host}");

    browser.open(&world.page("groups")).await;
    browser.says(&link).await;
    assert!(browser.has("textbox", "Token").await);
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        assert_eq!(violations(&browser).await, json!([]), "{scheme}");
    }
    browser.enter("link", &link).await;
    browser.enter("link", "Log in as Grace").await;
    // Back on the page where the person was, and nothing of the way is in the address.
    browser.says("Grace Hopper").await;
    browser.says("Spring 2026").await;
    let address = browser.run("return location.href").await;
    assert_eq!(address, world.page("groups"));
    let cookies = browser.run("return document.cookie").await;
    assert_eq!(cookies, "");

    browser.enter("button", "Sign out").await;
    browser.says(&link).await;
    browser.open("about:blank").await;
    browser.open(&world.page("waiting")).await;
    browser.says(&link).await;

    // A refusal is a page that leads back.
    provider.answers().claims = json!({ "role_code": null });
    browser.enter("link", &link).await;
    browser.enter("link", "Log in as Grace").await;
    browser.says("does not accept what it says about you").await;
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        assert_eq!(violations(&browser).await, json!([]), "{scheme}");
    }
    browser.enter("link", "Back to the console").await;
    browser.says(&link).await;
    provider.answers().claims = json!({});

    // Somebody has this browser finish a sign-in that was begun elsewhere.
    let callback = format!("http://{}/console/openid/callback", world.address);
    browser.open(&format!("{callback}?code=x&state=y")).await;
    browser.says("was begun in another browser").await;
    browser.open(&world.page("waiting")).await;
    browser.says(&link).await;

    let refused = browser.log().await;
    let policy = |line: &&String| line.contains("Content Security Policy");
    assert_eq!(refused.iter().find(policy), None);
    let log = world.log();
    assert!(log.contains("a sign-in failed"), "{log}");
    let mut secrets = provider.answers().secrets.clone();
    assert!(secrets.len() >= 6, "{secrets:?}");
    secrets.push("hunter2".to_owned());
    for secret in &secrets {
        assert!(!log.contains(secret), "{secret}");
    }
}
