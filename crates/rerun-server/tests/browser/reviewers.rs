//! Many messages, more than one reviewer, and a server that goes away.

use serde_json::json;

use crate::driver::Browser;
use crate::world::World;

crate::on_both_stores!(
    two_hundred_messages_take_two_hundred_keys,
    two_reviewers_approve_nothing_twice_and_nothing_unseen,
    decisions_survive_a_server_that_is_killed,
    leaving_the_page_sends_what_is_held,
);

const TIERS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// A campaign with two hundred messages to review, open in the browser.
async fn reviewing(world: &World, browser: &Browser) -> String {
    let countries: Vec<String> = (0..20).map(|number| format!("C{number:02}")).collect();
    let countries: Vec<&str> = countries.iter().map(String::as_str).collect();
    let group = world.group("Large", &countries, &TIERS, 1).await;
    let campaign = world
        .launched("Large", &group, "Dear {{ tier }} customer")
        .await;
    browser.open(&world.link()).await;
    open(world, browser, &campaign).await;
    campaign
}

async fn open(world: &World, browser: &Browser, campaign: &str) {
    browser.says("Sign out").await;
    browser
        .open(&world.page(&format!(
            "campaigns/{campaign}/review?status=Pending+review"
        )))
        .await;
    browser
        .until("document.querySelectorAll('[aria-label=Messages] li').length")
        .await;
}

async fn two_hundred_messages_take_two_hundred_keys(world: World, browser: Browser) {
    let campaign = reviewing(&world, &browser).await;
    browser.press(['a'; 200]).await;
    world
        .until(async || world.campaign(&campaign).await["status"] == "Ready to publish")
        .await;
    let calls = world.entries("messages.approved").await.len();
    assert!(calls <= 40, "{calls} calls");
}

async fn two_reviewers_approve_nothing_twice_and_nothing_unseen(world: World, browser: Browser) {
    let campaign = reviewing(&world, &browser).await;
    let other = Browser::start().await;
    other.open(&world.link()).await;
    open(&world, &other, &campaign).await;
    // Somebody edits the third message behind the back of both.
    let messages = world.messages(&campaign).await;
    let edited = messages[2]["id"].as_str().unwrap();
    let text = json!({ "subject": "Another subject", "body": "Another body" });
    let edit = json!({ "campaign_id": campaign, "message_id": edited, "content": text });
    world.call("campaign/messages/edit", edit).await;
    tokio::join!(browser.press(['a'; 200]), other.press(['a'; 200]));
    browser.says("Another subject").await;
    world
        .until(async || world.number(&campaign, "Approved").await == 199)
        .await;
    let messages = world.messages(&campaign).await;
    let unseen = messages
        .iter()
        .find(|message| message["id"] == edited)
        .unwrap();
    assert_eq!(unseen["review_status"], "Pending review");
    for message in messages.iter().filter(|message| message["id"] != edited) {
        let approvals = message["provenance"]["approvals"].as_array().unwrap();
        assert_eq!(approvals.len(), 1, "{message}");
    }
}

async fn decisions_survive_a_server_that_is_killed(mut world: World, browser: Browser) {
    let campaign = reviewing(&world, &browser).await;
    browser.press(['a'; 3]).await;
    world.kill();
    browser.says("3 decisions on the way").await;
    browser.says("cannot be reached").await;
    browser.press(['a'; 2]).await;
    world.start_again();
    world
        .until(async || world.number(&campaign, "Approved").await == 5)
        .await;
    browser
        .until("!document.body.innerText.includes('cannot be reached')")
        .await;
    let messages = world.messages(&campaign).await;
    let approvals = |message: &serde_json::Value| {
        message["provenance"]["approvals"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(messages.iter().map(approvals).sum::<usize>(), 5);
    assert_eq!(world.entries("messages.approved").await.len(), 2);
}

async fn leaving_the_page_sends_what_is_held(world: World, browser: Browser) {
    let campaign = reviewing(&world, &browser).await;
    browser.press(['a'; 3]).await;
    // With the page its clock is gone, so nothing is sent later.
    browser.open("about:blank").await;
    world
        .until(async || world.number(&campaign, "Approved").await == 3)
        .await;
    // Coming back sends nothing a second time.
    browser.open(&world.page("waiting")).await;
    browser.says("197 to review").await;
    assert_eq!(world.entries("messages.approved").await.len(), 1);
}
