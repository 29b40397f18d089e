//! What everybody needs: names, contrast, narrow screens, and lists that stay quick.

use std::collections::BTreeSet;

use rerun_core::audit::AuditAction;
use serde_json::{Value, json};

use crate::driver::Browser;
use crate::world::World;

crate::on_both_stores!(
    every_page_is_accessible_and_narrow,
    the_log_is_filtered_by_every_action,
    a_long_list_stays_small,
);

const AXE: &str = include_str!("axe.min.js");

/// What axe finds wrong with the page as it is.
pub(crate) async fn violations(browser: &Browser) -> Value {
    browser.run(&format!("{AXE}; return true")).await;
    let script = "const done = arguments[0]; axe.run(document, {}).then((found) => done(found.violations.map(
        (one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)])))";
    browser.run_async(script).await
}

async fn failing_webhook(world: &World, description: &str) -> String {
    let url = "http://127.0.0.1:1/";
    let create = json!({ "url": url, "description": description, "after_sequence": 0 });
    let webhook = world.call("webhook/create", create).await;
    webhook["id"].as_str().unwrap().to_owned()
}

/// A schedule with times that a clock change moves, and with a firing.
async fn fired_schedule(world: &World, campaign: &str, name: &str) -> String {
    let create = json!({
        "campaign_id": campaign, "name": name, "when": "always",
        "cron": "30 2 * * SUN", "time_zone": "Europe/Berlin",
    });
    let schedule = world.call("schedule/create", create).await;
    let schedule = schedule["id"].as_str().unwrap().to_owned();
    let trigger = json!({ "schedule_id": schedule });
    world.call("schedule/trigger", trigger).await;
    schedule
}

async fn every_page_is_accessible_and_narrow(world: World, browser: Browser) {
    let spring = world
        .group("Spring 2026", &["DE", "FR"], &["gold", "silver"], 2)
        .await;
    let summer = world
        .group("Summer 2026", &["DE", "fr", "ES"], &["gold"], 2)
        .await;
    let name = "A campaign whose name is rather long, as names of campaigns tend to be in the end";
    let rerun = world
        .launched(name, &spring, "Dear {{ tier }} customer")
        .await;
    world.publish(&rerun).await;
    let initiate = json!({ "campaign_id": rerun, "new_customer_group_id": summer });
    world.call("campaign/rerun/initiate", initiate).await;
    world.settled(&rerun).await;
    let published = world
        .launched("Published", &spring, "Dear {{ tier }} customer")
        .await;
    world.publish(&published).await;
    let webhook = failing_webhook(&world, &format!("For {name}")).await;
    let schedule = fired_schedule(&world, &rerun, &format!("Weekly, {name}")).await;

    browser.open(&world.page("waiting")).await;
    browser.says("Sign in").await;
    assert_eq!(violations(&browser).await, json!([]), "sign in");
    browser.open("about:blank").await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    let mut titles = BTreeSet::new();
    for (page, says) in [
        ("waiting".to_owned(), "to review"),
        ("campaigns".to_owned(), "Published"),
        (format!("campaigns/{rerun}"), "Run 2"),
        (format!("campaigns/{rerun}/review"), "2 customers"),
        (
            format!("campaigns/{published}/rerun?group={summer}"),
            "1 reused",
        ),
        (format!("campaigns/{rerun}/compare"), "only in run 2"),
        ("groups".to_owned(), "Summer 2026"),
        ("schedules".to_owned(), "skipped, not published"),
        (
            format!("schedules/{schedule}"),
            "the campaign is not published",
        ),
        ("schedules/new".to_owned(), "Next times"),
        (
            format!("schedules/{schedule}/edit"),
            "the clocks go forward",
        ),
        ("webhooks".to_owned(), "events pending"),
        (format!("webhooks/{webhook}"), "nobody takes the connection"),
        ("audit".to_owned(), "Rerun started"),
    ] {
        browser.open(&world.page(&page)).await;
        browser.says(says).await;
        let title = browser.run("return document.title").await;
        assert!(titles.insert(title.to_string()), "{title} twice");
        let landmarks = "return [document.querySelectorAll('main').length, document.querySelectorAll('h1').length]";
        assert_eq!(browser.run(landmarks).await, json!([1, 1]), "{page}");
        for scheme in ["light", "dark"] {
            browser.scheme(scheme).await;
            assert_eq!(violations(&browser).await, json!([]), "{page} {scheme}");
        }
        is_narrow(&browser, &page).await;
    }
    let buttons = ["Edit", "Replay", "Rotate secret", "Disable", "Delete"];
    dialogs_are_accessible(&world, &browser, &format!("webhooks/{webhook}"), &buttons).await;
    let buttons = ["Trigger", "Pause", "Delete"];
    dialogs_are_accessible(&world, &browser, &format!("schedules/{schedule}"), &buttons).await;
    browser
        .open(&world.page(&format!("campaigns/{rerun}/review")))
        .await;
    browser.says("2 customers").await;
    for key in ['?', 'r'] {
        browser.press([key]).await;
        browser
            .until("document.querySelector('dialog[open]')")
            .await;
        assert_eq!(violations(&browser).await, json!([]), "{key}");
        browser.press([crate::driver::ESCAPE]).await;
        browser.until("!document.querySelector('dialog')").await;
        let focus = browser.run("return document.activeElement.tagName").await;
        assert_ne!(focus, "BODY", "the dialog of {key} has lost the focus");
    }
}

/// Checks a page on a phone.
async fn is_narrow(browser: &Browser, page: &str) {
    browser.size(360, 740).await;
    let width = browser
        .run("return document.documentElement.scrollWidth")
        .await;
    assert!(width.as_u64().unwrap() <= 360, "{page} is {width} wide");
    let header = browser
        .run("return document.querySelector('.top').offsetHeight")
        .await;
    assert!(
        header.as_u64().unwrap() <= 80,
        "the header is {header} high"
    );
    let sideways = "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).length";
    assert_eq!(browser.run(sideways).await, 0, "{page} scrolls sideways");
    assert_eq!(violations(browser).await, json!([]), "{page} narrow");
    browser.size(1_200, 850).await;
}

async fn dialogs_are_accessible(world: &World, browser: &Browser, page: &str, buttons: &[&str]) {
    browser.size(360, 740).await;
    for button in buttons {
        browser.open("about:blank").await;
        browser.open(&world.page(page)).await;
        browser.enter("button", button).await;
        browser
            .until("document.querySelector('dialog[open]')")
            .await;
        assert_eq!(violations(browser).await, json!([]), "{button}");
        let wide = "return document.querySelector('dialog').scrollWidth > document.querySelector('dialog').clientWidth";
        assert_eq!(browser.run(wide).await, json!(false), "{button}");
        browser.press([crate::driver::ESCAPE]).await;
        browser.until("!document.querySelector('dialog')").await;
        let focus = browser
            .run("return document.activeElement.textContent")
            .await;
        assert_eq!(focus, *button, "the dialog has lost the focus");
    }
    browser.size(1_200, 850).await;
}

/// Every type of entry can be chosen, and nothing else.
async fn the_log_is_filtered_by_every_action(world: World, browser: Browser) {
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.enter("link", "Audit").await;
    browser.until("document.querySelector('select')").await;
    let options = browser
        .run("return [...document.querySelectorAll('option')].map((option) => option.value).filter(Boolean)")
        .await;
    let offered: BTreeSet<&str> = options
        .as_array()
        .unwrap()
        .iter()
        .map(|option| option.as_str().unwrap())
        .collect();
    let known: BTreeSet<&str> = AuditAction::ALL
        .iter()
        .map(|action| action.as_str())
        .collect();
    assert_eq!(offered, known);
}

async fn a_long_list_stays_small(world: World, browser: Browser) {
    let countries: Vec<String> = (0..250).map(|number| format!("C{number:03}")).collect();
    let countries: Vec<&str> = countries.iter().map(String::as_str).collect();
    let tiers: Vec<String> = (0..20).map(|number| format!("T{number:02}")).collect();
    let tiers: Vec<&str> = tiers.iter().map(String::as_str).collect();
    let group = world.group("Long", &countries, &tiers, 1).await;
    let campaign = world
        .launched("Long", &group, "Dear {{ tier }} customer")
        .await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser
        .open(&world.page(&format!("campaigns/{campaign}/review")))
        .await;
    browser
        .until("document.querySelectorAll('[aria-label=Messages] li').length")
        .await;
    // To the end, page after page.
    let bottom = "(() => { const list = document.querySelector('.list'); list.scrollTop = list.scrollHeight; \
        return [...document.querySelectorAll('[aria-label=Messages] li')].some((row) => row.getAttribute('aria-posinset') === '5000') })()";
    browser.until(bottom).await;
    let elements = browser
        .run("return document.querySelectorAll('*').length")
        .await;
    assert!(elements.as_u64().unwrap() < 2_000, "{elements} elements");
}
