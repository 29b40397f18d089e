//! The pages of schedules, by keyboard alone.

use serde_json::{Value, json};

use crate::driver::{Browser, CONTROL, ENTER};
use crate::world::World;

crate::on_both_stores!(
    a_schedule_is_managed_by_keyboard,
    local_times_become_instants,
    the_form_names_its_choices_and_is_left_by_cancel,
);

async fn schedules(world: &World) -> Vec<Value> {
    let page = world.call("schedule/list", json!({})).await;
    page["schedules"].as_array().unwrap().clone()
}

async fn a_schedule_is_managed_by_keyboard(world: World, browser: Browser) {
    let spring = world.group("Spring 2026", &["DE"], &["gold"], 1).await;
    let campaign = world
        .launched("Summer offer", &spring, "Dear {{ tier }}")
        .await;
    world.publish(&campaign).await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.enter("link", "Schedules").await;
    browser.says("There are no schedules yet.").await;

    // Every Friday, in a zone of its own.
    browser.enter("link", "New schedule").await;
    browser.tab_to("textbox", "Name").await;
    browser.write("Fridays").await;
    browser.choose("Campaign", "Summer offer").await;
    browser.choose("Repeat", "every week").await;
    browser.choose("Day", "Friday").await;
    browser.tab_to("combobox", "Time zone").await;
    browser.write("Europe/Berl").await;
    browser.says("GMT+1").await;
    browser.enter("button", "Create").await;
    browser.says("None of its times has come yet.").await;
    let made = schedules(&world).await[0].clone();
    assert_eq!(made["cron"], "0 9 * * FRI");
    assert_eq!(made["time_zone"], "Europe/Berlin");
    assert_eq!(made["campaign_id"], campaign.as_str());
    assert_eq!(made["customer_group_id"], json!(null));
    browser.says(made["description"].as_str().unwrap()).await;
    browser.says("9:00 AM GMT+1").await;

    // A pattern, whose times the clock changes move.
    browser.enter("link", "Edit").await;
    browser.choose("Repeat", "by a pattern").await;
    browser.tab_to("textbox", "Cron pattern").await;
    browser.chord(CONTROL, 'a').await;
    browser.write("30 2 * * SUN").await;
    browser.says("the clocks go forward").await;
    browser.says("the clocks go back").await;
    browser.chord(CONTROL, 'a').await;
    browser.write("* * * *").await;
    browser
        .until("document.querySelector('[aria-label=\"Next times\"] .failed')")
        .await;
    browser.chord(CONTROL, 'a').await;
    browser.write("30 2 * * SUN").await;
    browser.press([ENTER]).await;
    browser.says("What became of its times").await;
    let changed = &schedules(&world).await[0];
    assert_eq!(changed["cron"], "30 2 * * SUN");
    assert_eq!(changed["time_zone"], "Europe/Berlin");

    // Paused with a note, and resumed.
    browser.enter("button", "Pause").await;
    browser.tab_to("textbox", "Note, if you like").await;
    browser.write("Holidays").await;
    browser.press([ENTER]).await;
    browser.says("Paused: Holidays").await;
    assert_eq!(schedules(&world).await[0]["note"], "Holidays");
    browser.enter("button", "Resume").await;
    browser.says("Resumed.").await;
    assert_eq!(schedules(&world).await[0]["status"], "active");

    // Triggered: first there is nothing to do, then it is told not to ask.
    browser.confirm("Trigger", &[]).await;
    browser
        .says("The schedule fired: skipped, nothing to do.")
        .await;
    browser.says("the group did not change").await;
    browser.enter("link", "Edit").await;
    browser.choose("Start only if", "always").await;
    browser.enter("button", "Save").await;
    browser.says("What became of its times").await;
    assert_eq!(schedules(&world).await[0]["when"], "always");
    browser.confirm("Trigger", &[]).await;
    browser.says("The schedule fired: started, run 2.").await;
    assert_eq!(world.campaign(&campaign).await["current_run_number"], 2);
    browser.choose("Outcome", "started").await;
    browser
        .until("(() => { const rows = document.querySelectorAll('main tbody tr a[href*=campaigns]'); return rows.length && !document.querySelector('main').innerText.includes('the group did not change') })()")
        .await;

    // Its campaign names it, and leads to another one.
    browser.enter("link", "Summer offer").await;
    browser.says("Run 2").await;
    browser
        .until(
            "[...document.querySelectorAll('main a')].some(link => link.textContent === 'Fridays')",
        )
        .await;
    browser.enter("link", "Schedule").await;
    browser
        .until("document.querySelector('h1').textContent === 'New schedule'")
        .await;
    browser.tab_to("combobox", "Campaign").await;
    let chosen = "return document.activeElement.selectedOptions[0].textContent";
    assert_eq!(browser.run(chosen).await, "Summer offer");

    browser.enter("link", "Schedules").await;
    browser.enter("link", "Fridays").await;
    browser.confirm("Delete", &[]).await;
    browser.says("There are no schedules yet.").await;
    assert!(schedules(&world).await.is_empty());
}

/// A form has local times; the API takes instants.
async fn local_times_become_instants(world: World, browser: Browser) {
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    for (local, zone, instant) in [
        (
            "2026-07-01T09:00",
            "Europe/Berlin",
            "2026-07-01T07:00:00.000Z",
        ),
        (
            "2026-12-01T09:00",
            "Europe/Berlin",
            "2026-12-01T08:00:00.000Z",
        ),
        (
            "2026-12-01T09:00",
            "America/St_Johns",
            "2026-12-01T12:30:00.000Z",
        ),
        (
            "2026-12-01T09:00",
            "Pacific/Kiritimati",
            "2026-11-30T19:00:00.000Z",
        ),
        ("2026-12-01T09:00", "UTC", "2026-12-01T09:00:00.000Z"),
        // An hour after the clocks went forward, and before they go back.
        (
            "2026-03-29T03:30",
            "Europe/Berlin",
            "2026-03-29T01:30:00.000Z",
        ),
        (
            "2026-10-25T01:30",
            "Europe/Berlin",
            "2026-10-24T23:30:00.000Z",
        ),
    ] {
        let script = format!(
            "const done = arguments[0]; import('/console/reruns.js').then(({{ instant }}) => done(instant({}, {})))",
            json!(local),
            json!(zone)
        );
        assert_eq!(browser.run_async(&script).await, instant, "{local} {zone}");
    }
}

async fn the_form_names_its_choices_and_is_left_by_cancel(world: World, browser: Browser) {
    let spring = world.group("Spring 2026", &["DE"], &["gold"], 1).await;
    world
        .launched("Summer offer", &spring, "Dear {{ tier }}")
        .await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.open(&world.page("schedules/new")).await;
    browser.tab_to("textbox", "Name").await;
    browser.write("Fridays").await;
    for choice in [
        "Campaign",
        "Repeat",
        "Time zone",
        "Customer group",
        "Start only if",
        "If the campaign is not published",
        "Reuse from",
        "If the server was down at the time",
    ] {
        browser.tab_to("combobox", choice).await;
    }
    browser.enter("link", "Cancel").await;
    browser.says("There are no schedules yet.").await;
    assert!(schedules(&world).await.is_empty());
}
