//! What a reviewer finds next: what is left, where the keys go, and what a button acts on.

use serde_json::json;

use crate::driver::{Browser, CONTROL, ENTER, ESCAPE};
use crate::world::World;

crate::on_both_stores!(
    what_was_rejected_is_found_again,
    review_leads_on_when_everything_is_approved,
    keys_are_for_the_list_after_a_filter_was_chosen,
    the_focus_goes_with_the_message,
    buttons_name_the_number_that_they_act_on,
    news_hide_no_message_and_have_an_undo,
    a_message_that_is_generated_again_comes_back,
    an_edit_of_what_was_rejected_is_counted,
    approve_all_leaves_out_what_changed,
    what_is_published_cannot_be_rejected,
    a_search_counts_what_it_shows,
    a_selection_is_cleared_by_escape,
    the_panes_keep_their_height,
    an_edit_is_kept_until_it_is_saved,
    who_leaves_is_told_what_is_sent,
    keys_work_after_a_click_into_a_body,
    past_messages_are_for_reading,
);

/// Four messages that wait for a review.
async fn four(world: &World, browser: &Browser) -> String {
    let group = world
        .group("Spring", &["DE", "FR"], &["gold", "silver"], 1)
        .await;
    let campaign = world
        .launched("Offer", &group, "Dear {{ tier }} customer")
        .await;
    browser.open(&world.link()).await;
    browser.says("4 to review").await;
    campaign
}

async fn open(world: &World, browser: &Browser, campaign: &str) {
    let page = world.page(&format!(
        "campaigns/{campaign}/review?status=Pending+review"
    ));
    browser.open(&page).await;
    rows(browser, 4).await;
}

/// Waits until the list has so many rows.
async fn rows(browser: &Browser, number: usize) {
    let rows = "document.querySelectorAll('[aria-label=Messages] li').length";
    browser.until(&format!("{rows} === {number}")).await;
}

async fn what_was_rejected_is_found_again(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    let messages = world.messages(&campaign).await;
    let reject = json!({ "campaign_id": campaign, "decision": "reject", "reason": "a joke",
        "message_ids": [messages[0]["id"]] });
    world.call("campaign/messages/review", reject).await;
    let rest = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    world.call("campaign/messages/review", rest).await;
    browser.open("about:blank").await;
    browser.open(&world.page("waiting")).await;
    browser.says("1 rejected, 3 approved").await;
    browser.enter("link", "Review").await;
    browser.says("Rejected: a joke").await;
    rows(&browser, 1).await;
    // The filter of what is pending leads there too.
    let pending = format!("campaigns/{campaign}/review?status=Pending+review");
    browser.open(&world.page(&pending)).await;
    browser.says("No message waits for a review.").await;
    let link = "1 rejected message waits for an edit or a new generation";
    browser.enter("link", link).await;
    browser.says("Rejected: a joke").await;
    rows(&browser, 1).await;
}

async fn review_leads_on_when_everything_is_approved(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    browser.enter("button", "Approve all 4…").await;
    browser.says("4 generated").await;
    browser.enter("button", "Approve all").await;
    browser.says("Every message is approved.").await;
    browser.says("0 of 4 to review").await;
    assert!(!browser.has("list", "Messages").await);
    assert!(!browser.has("button", "Approve all 4…").await);
    assert!(browser.has("link", "Back to Waiting").await);
    let numbers = "Run 1 has 4 messages for 4 customers: 0 reused, 4 new.";
    browser.confirm("Publish", &[numbers]).await;
    browser.says("Published 4 messages.").await;
    browser.says("This run is published.").await;
    assert_eq!(world.campaign(&campaign).await["status"], "Published");
}

async fn keys_are_for_the_list_after_a_filter_was_chosen(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    let page = format!("campaigns/{campaign}/review");
    browser.open(&world.page(&page)).await;
    rows(&browser, 4).await;
    // By the mouse.
    browser.click(".filters option:nth-child(2)").await;
    browser
        .until("location.hash.includes('Pending') && document.activeElement.closest('[aria-current=true]')")
        .await;
    browser.press(['a']).await;
    browser.says("1 not sent yet · 4 of 4 to review").await;
    browser.until("location.hash.includes('Pending')").await;
}

async fn the_focus_goes_with_the_message(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let at = |row: usize| {
        format!("document.activeElement.closest('[aria-current=true]')?.ariaPosInSet === '{row}'")
    };
    browser.press(['j']).await;
    browser.until(&at(2)).await;
    browser.press(['a']).await;
    browser.until(&at(3)).await;
    browser.press(['r']).await;
    browser
        .until("document.activeElement.tagName === 'TEXTAREA'")
        .await;
    browser.write("a joke").await;
    browser.chord(CONTROL, ENTER).await;
    browser.until(&at(4)).await;
    browser.press(['u']).await;
    browser.until(&at(3)).await;
}

async fn buttons_name_the_number_that_they_act_on(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    browser.press(['x', 'j', 'x']).await;
    browser.says("2 selected").await;
    for name in ["Approve", "Reject", "Regenerate"] {
        browser.says(&format!("{name} 2 selected")).await;
        assert!(browser.has("button", name).await, "{name}");
    }
    browser.enter("button", "Clear selection").await;
    browser
        .until("!document.body.innerText.includes('selected')")
        .await;
    let checked = "return document.querySelectorAll('[aria-label=Messages] :checked').length";
    assert_eq!(browser.run(checked).await, 0);
}

async fn news_hide_no_message_and_have_an_undo(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    browser.press(['a']).await;
    browser
        .until("document.querySelector('.news button')?.textContent === 'Undo'")
        .await;
    let below = "(() => { const top = document.querySelector('.news').getBoundingClientRect().top; \
        return ['.list', '.message'].every((one) => document.querySelector(one).getBoundingClientRect().bottom <= top) })()";
    browser.until(below).await;
    browser.click(".news button").await;
    browser.says("Taken back: 1 decision.").await;
    browser
        .until("!document.querySelector('.news button')")
        .await;
    assert_eq!(world.number(&campaign, "Pending review").await, 4);
    // On a narrow screen what decides stays in view, above the news.
    browser.size(360, 740).await;
    browser.press(['a']).await;
    let above = "(() => { const news = document.querySelector('.news'); const decide = document.querySelector('.decide').getBoundingClientRect(); \
        return news.innerText && decide.height && decide.bottom <= news.getBoundingClientRect().top + 1 })()";
    browser.until(above).await;
}

/// Also when the reviewer has gone on to another message.
async fn a_message_that_is_generated_again_comes_back(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let first = "document.querySelector('[aria-label=Messages] li').innerText";
    browser.press(['g', 'j']).await;
    browser.says("1 not sent yet").await;
    browser
        .until(&format!("{first}.includes('Generating')"))
        .await;
    browser
        .until(&format!("{first}.includes('Pending review')"))
        .await;
}

async fn an_edit_of_what_was_rejected_is_counted(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    let messages = world.messages(&campaign).await;
    let reject = json!({ "campaign_id": campaign, "decision": "reject", "reason": "a joke",
        "message_ids": [messages[0]["id"]] });
    world.call("campaign/messages/review", reject).await;
    let rest = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    world.call("campaign/messages/review", rest).await;
    let rejected = format!("campaigns/{campaign}/review?status=Rejected");
    browser.open(&world.page(&rejected)).await;
    browser.says("No message waits for a review.").await;
    browser.press(['e']).await;
    browser
        .until("document.activeElement.closest('.editor')")
        .await;
    browser.write(" again").await;
    browser.chord(CONTROL, ENTER).await;
    browser.says("1 of 4 to review").await;
    browser
        .until("!document.body.innerText.includes('No message waits for a review.')")
        .await;
}

async fn approve_all_leaves_out_what_changed(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let messages = world.messages(&campaign).await;
    let edit = json!({ "campaign_id": campaign, "message_id": messages[0]["id"],
        "content": { "subject": "Another", "body": "text" } });
    world.call("campaign/messages/edit", edit).await;
    browser.enter("button", "Approve all 4…").await;
    browser.says("Approve 3 messages?").await;
    browser.says("1 message left out").await;
    let shown = "document.querySelector('[aria-label=Messages]').innerText.includes('Another')";
    browser.until(shown).await;
    browser.enter("button", "Approve all").await;
    browser.says("1 of 4 to review").await;
    assert_eq!(world.number(&campaign, "Pending review").await, 1);
}

async fn what_is_published_cannot_be_rejected(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    world.call("campaign/messages/review", all).await;
    let page = format!("campaigns/{campaign}/review");
    browser.open(&world.page(&page)).await;
    browser.says("Every message is approved.").await;
    rows(&browser, 4).await;
    browser.confirm("Publish", &[]).await;
    browser.says("Published 4 messages.").await;
    browser
        .until(
            "document.querySelector('[aria-label=Messages] li')?.innerText.includes('Published')",
        )
        .await;
    browser
        .until("document.querySelector('[aria-keyshortcuts=r]').disabled")
        .await;
}

async fn a_search_counts_what_it_shows(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let said = "document.querySelector('.tally').innerText.trim()";
    browser
        .until(&format!("{said} === '4 of 4 to review'"))
        .await;
    browser.press(['/']).await;
    browser.write("gold").await;
    rows(&browser, 2).await;
    browser
        .until(&format!("{said} === '2 shown · 4 of 4 to review in all'"))
        .await;
    // What is decided stays in the list, and is marked.
    browser.press([ENTER, '/', ESCAPE, 'a']).await;
    browser
        .until("document.querySelectorAll('[aria-label=Messages] li.decided').length === 1")
        .await;
    browser
        .until(&format!("{said} === '2 shown · 3 of 4 to review in all'"))
        .await;
    rows(&browser, 2).await;
}

async fn a_selection_is_cleared_by_escape(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let edit = "document.querySelector('.decide [aria-keyshortcuts=e]').disabled";
    browser.press(['x', 'j']).await;
    browser.says("1 selected").await;
    // Whether the selected one or this one is meant, nobody can know.
    browser.until(edit).await;
    browser.press(['e']).await;
    browser.says("This is for one message.").await;
    assert!(!browser.has("textbox", "Subject").await);
    browser.press([ESCAPE]).await;
    browser
        .until("!document.body.innerText.includes('selected')")
        .await;
    browser.until(&format!("!{edit}")).await;
    browser.press(['e']).await;
    browser
        .until("document.activeElement.closest('.editor')")
        .await;
}

async fn an_edit_is_kept_until_it_is_saved(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    let editing = "document.activeElement.closest('.editor')";
    let kept =
        "document.querySelector('.message')?.innerText.includes('an edit here that is not saved')";
    browser.press(['e']).await;
    browser.until(editing).await;
    browser.write(" again").await;
    browser
        .click("[aria-label=Messages] li:nth-child(2) button")
        .await;
    browser.until(&format!("!{editing} && !{kept}")).await;
    browser.enter("link", "Waiting").await;
    browser.says("4 to review").await;
    browser.enter("link", "Review").await;
    browser.until(kept).await;
    browser.press(['e']).await;
    browser.until(editing).await;
    let subject = "document.activeElement.value";
    browser
        .until(&format!("{subject}.endsWith(' again')"))
        .await;
    browser.press([ESCAPE]).await;
    browser.until(kept).await;
    browser.press(['e']).await;
    browser.until(editing).await;
    browser.enter("button", "Discard").await;
    browser.until(&format!("!{editing} && !{kept}")).await;
    browser.press(['e']).await;
    browser.until(editing).await;
    browser
        .until(&format!("!{subject}.endsWith(' again')"))
        .await;
    browser.write(" once more").await;
    browser.chord(CONTROL, ENTER).await;
    browser.says("The edit is saved.").await;
    browser.until(&format!("!{editing} && !{kept}")).await;
}

async fn who_leaves_is_told_what_is_sent(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    open(&world, &browser, &campaign).await;
    browser.press(['a', 'a']).await;
    browser.says("2 not sent yet").await;
    browser.enter("link", "Groups").await;
    browser.says("Sent: 2 decisions.").await;
    assert!(!browser.has("button", "Undo").await);
    world
        .until(async || world.number(&campaign, "Approved").await == 2)
        .await;
}

async fn keys_work_after_a_click_into_a_body(world: World, browser: Browser) {
    let group = world.group("Spring", &["DE", "FR"], &["gold", "silver"], 1);
    let body = "<p>Dear {{ tier }} customer</p>".repeat(60);
    let campaign = world.launched("Offer", &group.await, &body).await;
    browser.open(&world.link()).await;
    browser.says("4 to review").await;
    open(&world, &browser, &campaign).await;
    browser.enter("button", "HTML").await;
    browser.enter_frame("iframe.html").await;
    browser.enter_frame("iframe").await;
    browser.click("p").await;
    browser.out_of_frames().await;
    browser
        .until("document.activeElement.closest('[aria-current=true]')")
        .await;
    browser.press(['j']).await;
    browser
        .until("document.querySelector('[aria-label=Messages] [aria-current=true]').ariaPosInSet === '2'")
        .await;
    // What a key shows is where one looks.
    browser.press(['d']).await;
    let above = "[...document.querySelectorAll('.message p')].some((one) => one.innerText.includes('no earlier text') \
        && one.getBoundingClientRect().bottom < document.querySelector('iframe').getBoundingClientRect().top)";
    browser.until(above).await;
}

async fn past_messages_are_for_reading(world: World, browser: Browser) {
    let campaign = four(&world, &browser).await;
    world.publish(&campaign).await;
    let group = world.group("Summer", &["DE"], &["gold"], 1).await;
    let initiate = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    world.call("campaign/rerun/initiate", initiate).await;
    let page = format!("campaigns/{campaign}/review?run=1");
    browser.open(&world.page(&page)).await;
    rows(&browser, 4).await;
    browser
        .until("document.querySelector('h1').textContent === 'Messages'")
        .await;
    for name in ["Approve", "Reject", "Edit", "Regenerate", "Undo"] {
        assert!(!browser.has("button", name).await, "{name}");
    }
    assert!(browser.has("button", "Difference").await);
    browser.press(['a']).await;
    browser
        .says("Messages of past runs cannot be changed.")
        .await;
}

/// In a window of a small laptop, whatever is said above or below them, and however long the text is.
async fn the_panes_keep_their_height(world: World, browser: Browser) {
    let group = world.group("Spring", &["DE", "FR"], &["gold", "silver"], 1);
    let group = group.await;
    let body = "Dear {{ tier }} customer\n".repeat(80);
    let campaign = world.launched("Offer", &group, &body).await;
    browser.open(&world.link()).await;
    browser.says("4 to review").await;
    browser.size(1_280, 720).await;
    open(&world, &browser, &campaign).await;
    let height = "document.querySelector('.message').getBoundingClientRect().height";
    let quiet = browser.run(&format!("return {height}")).await;
    browser.press(['a']).await;
    browser
        .until("document.querySelector('.news').innerText")
        .await;
    assert_eq!(browser.run(&format!("return {height}")).await, quiet);
    browser.press(['u']).await;
    browser.says("Taken back: 1 decision.").await;
    let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    world.call("campaign/messages/review", all).await;
    let page = format!("campaigns/{campaign}/review");
    browser.open(&world.page(&page)).await;
    browser.says("Every message is approved.").await;
    rows(&browser, 4).await;
    let fits = "(() => { const { bottom, height } = document.querySelector('.message').getBoundingClientRect(); \
        return height >= 256 && bottom <= innerHeight && document.documentElement.scrollHeight <= innerHeight })()";
    browser.until(fits).await;
}
