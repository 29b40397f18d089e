//! What pages say before something is done, and where names lead.

use serde_json::json;

use crate::driver::{Browser, ENTER, ESCAPE};
use crate::world::World;

crate::on_both_stores!(
    a_campaign_names_the_run_that_is_published,
    comparing_begins_with_what_differs,
    rerun_and_review_list_segments_in_one_order,
    a_file_is_imported_when_told_to,
    a_group_is_created_with_its_file,
    the_log_leads_to_what_it_is_about,
    the_menu_shows_where_one_came_from,
);

/// A campaign whose rerun waits for a review.
async fn rerun(world: &World) -> String {
    let spring = world
        .group("Spring", &["DE", "FR", "IT"], &["gold", "silver"], 1)
        .await;
    let summer = world
        .group("Summer", &["DE", "ES", "IT"], &["gold", "new"], 1)
        .await;
    let campaign = world.launched("Offer", &spring, "Dear {{ tier }}").await;
    world.publish(&campaign).await;
    let initiate = json!({ "campaign_id": campaign, "new_customer_group_id": summer });
    world.call("campaign/rerun/initiate", initiate).await;
    world.settled(&campaign).await;
    campaign
}

async fn open(world: &World, browser: &Browser, page: &str) {
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.open(&world.page(page)).await;
}

/// Until the rerun is published, that is not the current one.
async fn a_campaign_names_the_run_that_is_published(world: World, browser: Browser) {
    let campaign = rerun(&world).await;
    let page = format!("campaigns/{campaign}");
    open(&world, &browser, &page).await;
    let live = "[...document.querySelectorAll('.run')].filter((run) => run.innerText.includes('Published now')) \
        .map((run) => run.querySelector('h3').innerText).join()";
    browser.until(&format!("{live} === 'Run 1 Spring'")).await;
    world.publish(&campaign).await;
    browser.open("about:blank").await;
    browser.open(&world.page(&page)).await;
    browser.until(&format!("{live} === 'Run 2 Summer'")).await;
}

async fn comparing_begins_with_what_differs(world: World, browser: Browser) {
    let campaign = rerun(&world).await;
    open(&world, &browser, &format!("campaigns/{campaign}/compare")).await;
    let cards = "document.querySelectorAll('main .card').length";
    browser.says("4 only in run 2").await;
    browser.says("2 same text").await;
    browser.until(&format!("{cards} === 8")).await;
    browser.enter("link", "2 same text").await;
    browser.until(&format!("{cards} === 2")).await;
    browser.choose("Show", "all segments").await;
    browser.until(&format!("{cards} === 10")).await;
    // Runs are named by their numbers, whichever comes first.
    browser.choose("From", "Run 2").await;
    browser.says("Choose two runs.").await;
    browser.choose("To", "Run 1").await;
    let named = "[...document.querySelectorAll('main .card')].find((one) => one.innerText.includes('ES · gold'))?.innerText.includes('only in run 2')";
    browser.until(named).await;
    // What was reused is the same text.
    let page = format!("campaigns/{campaign}/review?source=reused");
    browser.open(&world.page(&page)).await;
    browser.says("Reused from run 1.").await;
    browser.press(['d']).await;
    browser.says("No difference.").await;
}

async fn rerun_and_review_list_segments_in_one_order(world: World, browser: Browser) {
    let countries = ["DE", "FR", "IT", "ES", "PT", "AT"];
    let spring = world.group("Spring", &countries[..4], &["gold", "silver"], 1);
    let spring = spring.await;
    let summer = world.group("Summer", &countries[1..], &["gold", "new"], 1);
    let summer = summer.await;
    let campaign = world.launched("Offer", &spring, "Dear {{ tier }}").await;
    world.publish(&campaign).await;
    let page = format!("campaigns/{campaign}/rerun?group={summer}");
    open(&world, &browser, &page).await;
    let rows = "(() => { const rows = [...document.querySelectorAll('main table:not(.stacked) tbody th')].map((cell) => cell.innerText); \
        return rows.length === 10 && rows })()";
    let planned = browser.until(rows).await;
    let initiate = json!({ "campaign_id": campaign, "new_customer_group_id": summer });
    world.call("campaign/rerun/initiate", initiate).await;
    world.settled(&campaign).await;
    let page = format!("campaigns/{campaign}/review");
    browser.open(&world.page(&page)).await;
    let rows = "(() => { const rows = [...document.querySelectorAll('[aria-label=Messages] li button > .name')].map((name) => name.innerText); \
        return rows.length === 10 && rows })()";
    assert_eq!(browser.until(rows).await, planned);
}

/// Also one that was dropped.
async fn a_file_is_imported_when_told_to(world: World, browser: Browser) {
    world.group("Spring", &["DE"], &["gold"], 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.csv");
    std::fs::write(&file, "customer_ref,country\nx1,DE\nx2,FR\n").unwrap();
    open(&world, &browser, "groups").await;
    browser.enter("button", "Import into Spring").await;
    browser
        .choose_file("dialog input[type=file]", file.to_str().unwrap())
        .await;
    browser.says("more.csv, 33 B").await;
    let imports = world.entries("customer_group.imported").await.len();
    assert_eq!(imports, 1, "it was imported at once");
    browser.enter("button", "Import").await;
    browser.says("2 rows read: 2 new, 0 changed.").await;
    browser.says("The group has 3 customers.").await;
    browser.enter("button", "Import another file").await;
    browser.until("document.querySelector('.drop')").await;
    let drop = "const files = new DataTransfer(); \
        files.items.add(new File(['customer_ref,country\\nx3,IT\\n'], 'dropped.csv')); \
        document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }))";
    browser.run(drop).await;
    browser.says("dropped.csv, 27 B").await;
    let imports = world.entries("customer_group.imported").await.len();
    assert_eq!(imports, 2, "it was imported at once");
    browser.enter("button", "Import").await;
    browser.says("1 row read: 1 new, 0 changed.").await;
    browser.press([ESCAPE]).await;
    browser.says("4 customers").await;
}

/// One button, and Enter does the same.
async fn a_group_is_created_with_its_file(world: World, browser: Browser) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.csv");
    std::fs::write(&file, "customer_ref,country\nx1,DE\nx2,FR\n").unwrap();
    open(&world, &browser, "groups").await;
    browser.enter("button", "New group").await;
    browser
        .choose_file("dialog input[type=file]", file.to_str().unwrap())
        .await;
    browser.says("more.csv, 33 B").await;
    assert!(browser.has("button", "Create and import").await);
    assert!(!browser.has("button", "Create without customers").await);
    browser.tab_to("textbox", "Name").await;
    browser.write("Spring").await;
    browser.press([ENTER]).await;
    browser.says("2 rows read: 2 new, 0 changed.").await;
    browser.press([ESCAPE]).await;
    let groups = world.call("customer-group/list", json!({})).await;
    let groups = groups["customer_groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["name"], "Spring");
    assert_eq!(groups[0]["customer_count"], 2);
}

async fn the_log_leads_to_what_it_is_about(world: World, browser: Browser) {
    let campaign = rerun(&world).await;
    let messages = world.messages(&campaign).await;
    let edited = &messages[3];
    let edit = json!({ "campaign_id": campaign, "message_id": edited["id"],
        "content": { "subject": "Another", "body": "text" } });
    world.call("campaign/messages/edit", edit).await;
    open(&world, &browser, "audit?action=message.edited").await;
    browser.enter("link", "message").await;
    browser
        .until("document.querySelector('[aria-label=Messages] [aria-current=true]')?.innerText.includes('Another')")
        .await;
    browser
        .open(&world.page("audit?action=customer_group.imported"))
        .await;
    browser.enter("link", "Summer").await;
    browser
        .until("document.querySelector('h1').textContent === 'Groups'")
        .await;
    browser
        .until("[...document.querySelectorAll('main h2')].map((one) => one.innerText).join() === 'Summer'")
        .await;
    browser.enter("link", "Show all").await;
    browser
        .until("document.querySelectorAll('main h2').length === 2")
        .await;
}

async fn the_menu_shows_where_one_came_from(world: World, browser: Browser) {
    rerun(&world).await;
    open(&world, &browser, "waiting").await;
    let place = "document.querySelector('nav [aria-current]')?.innerText";
    browser.until(&format!("{place} === 'Waiting'")).await;
    browser.enter("link", "Offer").await;
    browser.says("Run 2").await;
    browser.enter("link", "Review").await;
    browser
        .until("document.querySelector('h1').textContent === 'Review'")
        .await;
    browser.until(&format!("{place} === 'Waiting'")).await;
    browser.enter("link", "Campaigns").await;
    browser.enter("link", "Offer").await;
    browser.says("Run 2").await;
    browser.until(&format!("{place} === 'Campaigns'")).await;
}
