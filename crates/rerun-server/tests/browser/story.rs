//! A campaign from its first review to a rerun, by keyboard alone.

use serde_json::json;

use crate::driver::{Browser, CONTROL, ENTER, ESCAPE, TAB};
use crate::world::World;

crate::on_both_stores!(
    the_story_is_told_by_keyboard,
    a_suggestion_is_used_by_a_key,
    a_rejection_says_why,
    unseen_values_are_declared_by_one_key,
    a_spelling_is_declared_by_hand_and_taken_back,
    a_campaign_says_what_a_rerun_would_change,
    a_token_is_pasted_or_refused,
);

const COUNTRIES: [&str; 2] = ["DE", "FR"];
const TIERS: [&str; 2] = ["gold", "silver"];

#[expect(clippy::too_many_lines, reason = "a story")]
async fn the_story_is_told_by_keyboard(world: World, browser: Browser) {
    let spring = world.group("Spring 2026", &COUNTRIES, &TIERS, 13).await;
    world
        .group("Summer 2026", &["DE", "ES"], &["gold", "silver", "new"], 2)
        .await;
    let campaign = world
        .launched(
            "Summer offer",
            &spring,
            "An offer for {{ tier }} customers.",
        )
        .await;

    browser.open(&world.link()).await;
    browser.says("Ada Lovelace").await;
    let address = browser.run("return location.href").await;
    assert!(!address.as_str().unwrap().contains("token"), "{address}");
    browser.says("Ready for review").await;
    browser.enter("link", "Summer offer").await;
    browser.says("Run 1").await;
    browser.says("Spring 2026").await;
    browser.enter("link", "Review").await;
    browser.says("13 customers").await;
    assert!(browser.has("list", "Messages").await);
    for name in ["Approve", "Reject", "Edit", "Regenerate", "Undo"] {
        assert!(browser.has("button", name).await, "{name}");
    }
    assert!(browser.has("textbox", "Find").await);

    // One is approved, one is taken back, one is rejected, one is written by hand.
    browser.press(['a']).await;
    browser.press(['a', 'u']).await;
    browser.press(['x']).await;
    browser.says("1 selected").await;
    browser.press(['x', 'r']).await;
    browser
        .until("document.activeElement.tagName === 'TEXTAREA'")
        .await;
    assert!(browser.has("textbox", "Reason").await);
    // Letters are text in here.
    browser.write("a joke").await;
    browser.press([ENTER]).await;
    browser.write("about tax").await;
    assert_eq!(world.number(&campaign, "Rejected").await, 0);
    browser.chord(CONTROL, ENTER).await;
    browser.until("!document.querySelector('dialog')").await;
    browser.press(['e']).await;
    browser.until("document.querySelector('textarea')").await;
    assert!(browser.has("textbox", "Subject").await && browser.has("textbox", "Body").await);
    browser.write(" by hand").await;
    browser.press([ESCAPE]).await;
    browser.until("!document.querySelector('textarea')").await;
    browser.press(['e']).await;
    browser
        .until("document.activeElement.type === 'text'")
        .await;
    browser.write(" by hand").await;
    browser.chord(CONTROL, ENTER).await;
    browser.until("!document.querySelector('textarea')").await;
    browser.says("by hand").await;
    world
        .until(async || world.number(&campaign, "Approved").await == 1)
        .await;
    world
        .until(async || world.number(&campaign, "Rejected").await == 1)
        .await;
    let messages = world.messages(&campaign).await;
    let edited: Vec<_> = messages
        .iter()
        .filter(|message| message["source"] == "edited")
        .collect();
    assert_eq!(edited.len(), 1);
    let subject = edited[0]["content"]["subject"].as_str().unwrap();
    assert!(subject.ends_with(" by hand"), "{subject}");
    let rejected = messages
        .iter()
        .find(|message| message["review_status"] == "Rejected");
    assert_eq!(rejected.unwrap()["rejection_reason"], "a joke\nabout tax");
    assert_eq!(world.entries("messages.approved").await.len(), 1);

    // The rejected one is made again; then everything is approved at once.
    browser.press(['k', 'k', 'k', 'k', 'j', 'g']).await;
    world
        .until(async || world.number(&campaign, "Rejected").await == 0)
        .await;
    world.settled(&campaign).await;
    browser
        .open(&world.page(&format!(
            "campaigns/{campaign}/review?status=Pending+review"
        )))
        .await;
    browser
        .until("document.querySelectorAll('[aria-label=Messages] li').length >= 3")
        .await;
    // Only a text that the list shows is approved with the others.
    browser
        .until("!document.querySelector('[aria-label=Messages]').innerText.includes('Generating')")
        .await;
    browser.press(['?']).await;
    for word in [
        "next",
        "previous",
        "select",
        "approve",
        "reject",
        "edit",
        "regenerate",
        "undo",
        "find",
    ] {
        browser.says(word).await;
    }
    browser.press([ESCAPE]).await;
    browser.until("!document.querySelector('dialog')").await;
    browser.press(['A']).await;
    browser.says("3 messages").await;
    browser.enter("button", "Approve all").await;
    world
        .until(async || world.campaign(&campaign).await["status"] == "Ready to publish")
        .await;

    browser.open(&world.page("waiting")).await;
    let numbers = "Run 1 has 4 messages for 52 customers: 0 reused, 4 new.";
    browser.confirm("Publish", &[numbers]).await;
    world
        .until(async || world.campaign(&campaign).await["status"] == "Published")
        .await;
    browser.says("Nothing to do.").await;

    browser.enter("link", "Campaigns").await;
    browser.enter("link", "Summer offer").await;
    browser.enter("link", "Rerun").await;
    browser.says("Summer 2026").await;
    browser.tab_to("combobox", "Customer group").await;
    browser.write("Summer").await;
    browser.says("2 reused").await;
    browser.says("4 new").await;
    let numbers = [
        "Start a rerun for Summer 2026?",
        "6 messages for 12 customers: 2 reused, 4 new.",
        "Run 1 with its 4 messages stays published until the new run is.",
    ];
    browser.confirm("Start rerun", &numbers).await;
    browser.says("Run 2").await;
    browser.says("Summer 2026").await;
    let history = world
        .call("campaign/rerun/history", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(
        history["runs"][0]["segments"],
        json!({ "total": 6, "matched": 2, "new": 4 })
    );
    assert_eq!(history["runs"][0]["initiated_by_name"], "Ada Lovelace");
    let entries = world.entries("rerun.initiated").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["ip"], "127.0.0.1");

    browser.enter("button", "Sign out").await;
    browser
        .until("document.querySelector('h1').textContent === 'Sign in'")
        .await;
}

async fn a_suggestion_is_used_by_a_key(world: World, browser: Browser) {
    let spring = world.group("Spring", &["DE"], &["gold"], 1).await;
    let summer = world.group("Summer", &["DE"], &["gold", "new"], 1).await;
    let template = json!({ "subject": "An offer", "body": "Dear customer" });
    let create = json!({ "name": "Offer", "customer_group_id": spring,
        "segment_by": ["country", "tier"], "template": template });
    let campaign = world.call("campaign/create", create).await["id"].clone();
    let campaign = campaign.as_str().unwrap();
    world
        .call("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    world.settled(campaign).await;
    world.publish(campaign).await;
    // What is generated from now on reads differently.
    let template = json!({ "subject": "An offer", "body": "Dear stranger" });
    let update = json!({ "campaign_id": campaign, "template": template });
    world.call("campaign/update", update).await;
    let initiate = json!({ "campaign_id": campaign, "new_customer_group_id": summer });
    world.call("campaign/rerun/initiate", initiate).await;
    world.settled(campaign).await;

    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.enter("link", "Review").await;
    browser.says("Suggestion from run 1").await;
    browser.says("tier was gold, here it is new").await;
    assert!(browser.has("button", "Use suggestion").await);
    browser.press(['d']).await;
    browser
        .until("document.querySelector('[aria-label=Difference] del')?.innerText === 'customer'")
        .await;
    browser
        .until("document.querySelector('[aria-label=Difference] ins')?.innerText === 'stranger'")
        .await;
    // Rejected, it has none; generated again, it has.
    let all = format!("campaigns/{campaign}/review");
    browser.open(&world.page(&all)).await;
    browser
        .until("document.querySelectorAll('[aria-label=Messages] li').length === 2")
        .await;
    browser.press(['j']).await;
    browser
        .until("document.querySelector('[aria-label=Messages] [aria-current=true]')?.innerText.includes('new')")
        .await;
    let suggested = "document.querySelector('[aria-label=Suggestion]')";
    browser.press(['r']).await;
    browser
        .until("document.activeElement.tagName === 'TEXTAREA'")
        .await;
    browser.write("a joke").await;
    browser.chord(CONTROL, ENTER).await;
    browser.says("Rejected: a joke").await;
    browser.until(&format!("!{suggested}")).await;
    browser.press(['g']).await;
    browser
        .says("New text, the same as before: DE · new.")
        .await;
    browser.says("Rejected before: a joke").await;
    browser.until(suggested).await;
    // Taken back, and then used.
    browser.press(['s']).await;
    browser.says("Taking the suggestion in 5 seconds").await;
    browser.press(['u']).await;
    browser.says("Taken back: 1 decision").await;
    browser.press(['s']).await;
    let adopted = async || {
        let messages = world.messages(campaign).await;
        messages.iter().any(|one| one["source"] == "suggested")
    };
    world.until(adopted).await;
    browser
        .until("document.querySelector('.message .body')?.innerText === 'Dear customer'")
        .await;
    browser.says("The suggestion is the text now.").await;
    browser.until(&format!("!{suggested}")).await;
    assert!(!browser.has("button", "Use suggestion").await);
    // A person approves it, as any other.
    assert_eq!(world.number(campaign, "Pending review").await, 1);
    assert_eq!(world.entries("message.adopted").await.len(), 1);
}

async fn a_rejection_says_why(world: World, browser: Browser) {
    let group = world.group("Spring", &["DE"], &["gold"], 1).await;
    let campaign = world.launched("Offer", &group, "Dear {{ tier }}").await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.enter("link", "Review").await;
    browser.says("1 of 1 to review").await;
    browser.press(['r']).await;
    browser
        .until("document.activeElement.tagName === 'TEXTAREA'")
        .await;
    let said = "document.querySelector('dialog [role=alert]')";
    browser.press([' ']).await;
    assert_eq!(browser.run(&format!("return {said}")).await, json!(null));
    browser.chord(CONTROL, ENTER).await;
    browser.until(said).await;
    browser.write("a joke").await;
    browser.until(&format!("!{said}")).await;
    browser.chord(CONTROL, ENTER).await;
    world
        .until(async || world.number(&campaign, "Rejected").await == 1)
        .await;
}

async fn a_spelling_is_declared_by_hand_and_taken_back(world: World, browser: Browser) {
    let spring = world.group("Spring", &["DE", "FR"], &["gold"], 1).await;
    let summer = ["Deutschland", "fr", "ES"];
    let summer = world.group("Summer", &summer, &["gold"], 1).await;
    let campaign = world.launched("Offer", &spring, "Dear {{ tier }}").await;
    world.publish(&campaign).await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    let page = world.page(&format!("campaigns/{campaign}/rerun?group={summer}"));
    browser.open(&page).await;
    browser.says("3 new").await;
    // What looks like another one needs no other suggestion.
    let row = "[...document.querySelectorAll('main tr')].find((row) => row.innerText.startsWith('fr · gold')).innerText";
    let row = browser.run(&format!("return {row}")).await;
    let row = row.as_str().unwrap();
    assert!(
        row.contains("fr looks like FR") && !row.contains("suggestion"),
        "{row}"
    );
    // The page keeps its place, since the preview stays until there is a new one.
    let preview = "document.querySelector('[aria-label=Preview]')";
    browser
        .run(&format!("{preview}.known = true; return true"))
        .await;
    browser.enter("button", "Treat as FR: fr").await;
    browser.says("fr is treated as FR from now on.").await;
    browser.says("1 reused").await;
    let known = browser.run(&format!("return {preview}.known")).await;
    assert_eq!(known, json!(true));
    browser.enter("button", "Treat as…: Deutschland").await;
    browser.choose("Approved value", "DE").await;
    browser.enter("button", "Treat as this").await;
    browser
        .says("Deutschland is treated as DE from now on.")
        .await;
    browser.says("2 reused").await;
    let values = async || world.campaign(&campaign).await["segment_by"][0]["values"].clone();
    assert_eq!(values().await, json!({ "Deutschland": "DE", "fr": "FR" }));
    browser.enter("button", "Undo: Deutschland as DE").await;
    browser
        .says("Deutschland is a value of its own again.")
        .await;
    browser.says("1 reused").await;
    assert_eq!(values().await, json!({ "fr": "FR" }));
    browser
        .open(&world.page(&format!("campaigns/{campaign}")))
        .await;
    browser.says("country: fr as FR").await;
}

async fn unseen_values_are_declared_by_one_key(world: World, browser: Browser) {
    let spring = world.group("Spring", &["DE", "FR"], &["gold"], 1).await;
    let summer = world
        .group("Summer", &["de", "fr", "ES"], &["gold"], 1)
        .await;
    let campaign = world.launched("Offer", &spring, "Dear {{ tier }}").await;
    world.publish(&campaign).await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser
        .open(&world.page(&format!("campaigns/{campaign}/rerun?group={summer}")))
        .await;
    browser.says("0 reused").await;
    browser.says("3 new").await;
    browser
        .says("2 of the new segments are new only because values are spelled in another way.")
        .await;
    browser.enter("button", "Treat as FR: fr").await;
    browser.says("1 reused").await;
    browser.says("2 new").await;
    browser.enter("button", "Treat as DE: de").await;
    browser.says("2 reused").await;
    let rules = &world.campaign(&campaign).await["segment_by"];
    assert_eq!(
        rules[0]["values"],
        json!({ "de": "DE", "fr": "FR" }),
        "{rules}"
    );
    // Nothing is declared that looks like nothing approved.
    browser.says("like none of them").await;
    browser.confirm("Start rerun", &[]).await;
    browser.says("Run 2").await;
    let history = world
        .call("campaign/rerun/history", json!({ "campaign_id": campaign }))
        .await;
    let segments = json!({ "total": 3, "matched": 2, "new": 1 });
    assert_eq!(history["runs"][0]["segments"], segments);
}

async fn a_campaign_says_what_a_rerun_would_change(world: World, browser: Browser) {
    let group = world.group("Spring", &["DE", "FR"], &["gold"], 1).await;
    let campaign = world.launched("Offer", &group, "Dear {{ tier }}").await;
    world.publish(&campaign).await;
    let before = world.entries("campaign.rerun_suggested").await.len();
    assert_eq!(before, 0);
    world
        .import(&group, &["DE", "ES", "IT"], &["gold"], 1, "replace")
        .await;
    world
        .until(async || world.entries("campaign.rerun_suggested").await.len() == 1)
        .await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser
        .open(&world.page(&format!("campaigns/{campaign}")))
        .await;
    browser
        .says("2 new segments since run 1, and 1 gone.")
        .await;
    // It leads to the rerun, which then is what it was about.
    browser.enter("link", "Look at the rerun").await;
    browser.says("1 reused").await;
    browser.says("2 new").await;
    browser.confirm("Start rerun", &[]).await;
    browser.says("Run 2").await;
    world.settled(&campaign).await;
    world.publish(&campaign).await;
    browser.open("about:blank").await;
    browser
        .open(&world.page(&format!("campaigns/{campaign}")))
        .await;
    browser.says("Run 2").await;
    let found = "return document.body.innerText.includes('since run')";
    assert_eq!(browser.run(found).await, json!(false));
}

async fn a_token_is_pasted_or_refused(world: World, browser: Browser) {
    browser.open(&world.page("groups")).await;
    browser.tab_to("textbox", "Token").await;
    browser.write("x.y.z").await;
    browser.press([ENTER]).await;
    browser
        .until("document.querySelector('[role=alert]')?.innerText")
        .await;
    browser.tab_to("textbox", "Token").await;
    browser.chord(CONTROL, 'a').await;
    browser.write(&world.token_of(crate::world::ACCOUNT)).await;
    browser.press([TAB, ENTER]).await;
    browser
        .until("document.querySelector('h1').textContent === 'Groups'")
        .await;
    for name in [
        "Waiting",
        "Campaigns",
        "Groups",
        "Schedules",
        "Webhooks",
        "Audit",
    ] {
        assert!(browser.has("link", name).await, "{name}");
    }
    let reachable = browser.run("return document.cookie").await;
    assert_eq!(reachable, "", "a script can read the cookie");
}
