//! Texts that try to be scripts, and pages of other sites that try to act.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::driver::{Browser, ENTER, ESCAPE, TAB};
use crate::looks::violations;
use crate::world::World;

crate::on_both_stores!(
    hostile_texts_stay_texts,
    a_body_as_html_reaches_nothing,
    an_attacking_page_gets_nowhere,
);

/// A page that says whether anything that it does not allow was tried.
const WATCH: &str = "window.tried = []; document.addEventListener('securitypolicyviolation', (event) => \
    window.tried.push(event.violatedDirective)); return true";

async fn hostile_texts_stay_texts(world: World, browser: Browser) {
    let evil = "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script>";
    let group = world
        .group(evil, &[evil, "DE"], &["gold\u{202e}dlog"], 1)
        .await;
    let campaign = world.launched(evil, &group, "Dear {{ tier }}").await;
    let messages = world.messages(&campaign).await;
    let endless = "<b>x</b> ".repeat(22_000);
    for (message, body) in messages.iter().zip([
        format!("{evil} javascript:window.owned=1 \u{202e}txet\u{202c}"),
        endless,
    ]) {
        let content = json!({ "subject": evil, "body": body });
        let edit =
            json!({ "campaign_id": campaign, "message_id": message["id"], "content": content });
        world.call("campaign/messages/edit", edit).await;
    }
    // Nobody listens there.
    let url = format!("http://127.0.0.1:1/{}", evil.replace(' ', "%20"));
    let create =
        json!({ "url": url, "description": format!("{evil}\u{202e}"), "after_sequence": 0 });
    let webhook = world.call("webhook/create", create).await;
    let webhook = webhook["id"].as_str().unwrap().to_owned();
    let create = json!({ "campaign_id": campaign, "name": evil, "cron": "0 9 * * MON" });
    let schedule = world.call("schedule/create", create).await;
    let schedule = schedule["id"].as_str().unwrap().to_owned();
    let pause = json!({ "schedule_id": schedule, "note": format!("{evil}\u{202e}") });
    world.call("schedule/pause", pause).await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.run(WATCH).await;
    for page in [
        "webhooks".to_owned(),
        format!("webhooks/{webhook}"),
        "schedules".to_owned(),
        format!("schedules/{schedule}"),
        format!("schedules/{schedule}/edit"),
        "waiting".to_owned(),
        "campaigns".to_owned(),
        format!("campaigns/{campaign}"),
        "groups".to_owned(),
        "audit".to_owned(),
        format!("campaigns/{campaign}/review"),
    ] {
        browser
            .run(&format!("location.hash = '#/{page}'; return true"))
            .await;
        let heading = "document.querySelector('h1') && !document.querySelector('main').innerText.includes('Loading')";
        browser.until(heading).await;
        let made = browser.run("return [window.owned ?? null, document.querySelectorAll('main img, main script, main b').length]").await;
        assert_eq!(made, json!([null, 0]), "{page}");
    }
    browser.says("onerror").await;
    browser.says("U+202E").await;
    // A refusal repeats what was given.
    browser
        .run("location.hash = '#/webhooks'; return true")
        .await;
    browser.enter("button", "New webhook").await;
    browser.tab_to("textbox", "URL").await;
    browser
        .write("http://<img src=x onerror=window.owned=1>/")
        .await;
    browser.press([ENTER]).await;
    browser
        .until("document.querySelector('dialog [role=alert]')?.innerText")
        .await;
    browser.press([ESCAPE]).await;
    browser
        .run(&format!(
            "location.hash = '#/campaigns/{campaign}/review'; return true"
        ))
        .await;
    browser.says("javascript:window").await;
    browser.press(['j']).await;
    browser.says("Show all 198,000 characters").await;
    browser.press(['d', 'e']).await;
    browser.until("document.querySelector('textarea')").await;
    assert_eq!(
        browser
            .run("return [window.owned ?? null, window.tried]")
            .await,
        json!([null, []])
    );
    let log = browser.log().await;
    let refused: Vec<_> = log
        .iter()
        .filter(|line| line.contains("Content Security Policy"))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Another host, which remembers who comes: the first line of each request, or nothing for a
/// connection without one.
struct Elsewhere {
    address: String,
    came: Arc<Mutex<Vec<String>>>,
}

impl Elsewhere {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let came: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&came);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let index = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(String::new());
                    noted.len() - 1
                };
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || {
                    let mut head = BufReader::new(&stream).lines().map_while(Result::ok);
                    noted.lock().unwrap()[index] = head.next().unwrap_or_default();
                    let _gone = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                });
            }
        });
        Self { address, came }
    }
}

/// HTML that tries everything to run a script or to have something loaded from a host.
fn greedy(host: &str) -> String {
    let script = "top.owned=1;parent.owned=1;window.owned=1";
    format!(
        "<!doctype html><html><head><title>x</title><base href='http://{host}/base/'>\
         <meta http-equiv=refresh content='0;url=http://{host}/refresh'>\
         <link rel=stylesheet href='http://{host}/sheet'><LINK rel=preconnect href='http://{host}/'>\
         <link rel=dns-prefetch href='http://{host}/'><link rel=prefetch href='http://{host}/prefetch'>\
         <link rel=preload as=image href='http://{host}/preload'><link rel=icon href='http://{host}/icon'>\
         <style>@import url('http://{host}/import');@font-face{{font-family:x;src:url('http://{host}/font')}}\
         body{{background:url('http://{host}/background')}}p{{font-family:x}}</style></head><body onload='{script}'>\
         <p style='color:rgb(0, 100, 0);background:url(http://{host}/style)'>Green</p>\
         <img src='http://{host}/image' onerror='{script}'><img src=relative onerror='{script}'>\
         <img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=' onload='{script}'>\
         <script>{script};fetch('http://{host}/fetch')</script><script src='http://{host}/script'></script>\
         <svg onload='{script}'><image href='http://{host}/svg'/><use href='http://{host}/use#x'/></svg>\
         <iframe src='http://{host}/frame'></iframe><iframe srcdoc='<script>{script}</script>'></iframe>\
         <object data='http://{host}/object'></object><embed src='http://{host}/embed'>\
         <video src='http://{host}/video' poster='http://{host}/poster' autoplay></video>\
         <audio src='http://{host}/audio' autoplay></audio><input type=image src='http://{host}/input'>\
         <form action='http://{host}/form'><button id=send autofocus>Send</button></form>\
         <p><a id=plain href='http://{host}/plain' ping='http://{host}/ping'>Offer</a> \
         <a id=top target=_top href='http://{host}/top'>Offer</a> <a id=self target=_self href='http://{host}/self'>Offer</a> \
         <a id=run href='javascript:{script}'>Offer</a></p></body></html>"
    )
}

async fn a_body_as_html_reaches_nothing(world: World, browser: Browser) {
    let elsewhere = Elsewhere::start();
    let group = world.group("Spring", &["DE"], &["gold", "new"], 1).await;
    let campaign = world.launched("HTML", &group, "Dear {{ tier }}").await;
    let messages = world.messages(&campaign).await;
    let (message, other) = (&messages[0]["id"], &messages[1]["content"]["body"]);
    let content = json!({ "subject": "Offer", "body": greedy(&elsewhere.address) });
    let edit = json!({ "campaign_id": campaign, "message_id": message, "content": content });
    world.call("campaign/messages/edit", edit).await;

    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser
        .open(&world.page(&format!("campaigns/{campaign}/review")))
        .await;
    // The text comes first, and is all of it.
    browser.says("<!doctype html>").await;
    browser.run(WATCH).await;
    let frames = "return document.querySelectorAll('iframe').length";
    assert_eq!(browser.run(frames).await, 0);
    browser.enter("button", "HTML").await;
    browser
        .says("Pictures from elsewhere are not loaded; links are off.")
        .await;
    browser.until("document.querySelector('iframe.html')").await;
    assert_eq!(violations(&browser).await, json!([]));
    // Only what is there takes the focus.
    browser.enter_frame("iframe.html").await;
    browser.enter_frame("iframe").await;
    browser.look("p", "color").await;
    browser.out_of_frames().await;
    browser.press([TAB]).await;
    let focus = browser.run("return document.activeElement.tagName").await;
    assert_eq!(focus, "IFRAME", "Tab does not reach the frame");

    for link in ["p", "#send", "#plain", "#top", "#run", "#self"] {
        browser.enter_frame("iframe.html").await;
        browser.enter_frame("iframe").await;
        let color = browser.look("p", "color").await;
        assert_eq!(color, "rgba(0, 100, 0, 1)", "before {link}");
        browser.click(link).await;
        browser.out_of_frames().await;
    }
    // The next message, which is no HTML, is text, and this one is HTML again.
    let next = "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j' })); return true";
    browser.run(next).await;
    browser.says(other.as_str().unwrap()).await;
    assert!(!browser.has("button", "HTML").await);
    assert_eq!(browser.run(frames).await, 0);
    let before = "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'k' })); return true";
    browser.run(before).await;
    browser.enter_frame("iframe.html").await;
    browser.enter_frame("iframe").await;
    browser.look("p", "color").await;
    browser.out_of_frames().await;
    browser.enter("button", "Code").await;
    browser.says("<!doctype html>").await;

    let owned = "return [window.owned ?? null, window.tried, location.hash.includes('/review')]";
    assert_eq!(browser.run(owned).await, json!([null, [], true]));
    let windows = browser.windows().await;
    assert_eq!(windows, 1);
    // What the policy refused, it refused in the frame alone.
    for line in browser.log().await {
        let own = line.contains("script-src 'self'") || line.contains("require-trusted-types-for");
        assert!(!own, "{line}");
    }
    assert_eq!(*elsewhere.came.lock().unwrap(), Vec::<String>::new());
    browser
        .open(&format!("http://{}/control", elsewhere.address))
        .await;
    let came = elsewhere.came.lock().unwrap().clone();
    assert!(
        came.iter().any(|line| line.starts_with("GET /control")),
        "{came:?}"
    );
}

async fn an_attacking_page_gets_nowhere(world: World, browser: Browser) {
    let group = world.group("Spring", &["DE"], &["gold"], 1).await;
    let campaign = world.launched("Target", &group, "Dear {{ tier }}").await;
    world
        .call(
            "campaign/messages/review",
            json!({ "campaign_id": campaign, "decision": "approve", "all": true }),
        )
        .await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    let before = world.call("audit/list", json!({})).await;

    let target = format!("http://{}/console", world.address);
    let page = format!(
        "<!doctype html><title>evil</title><body><img src='{target}/v1/campaign/list'><iframe id=f src='{target}/'></iframe>\
         <iframe name=out></iframe><form id=form target=out method=post enctype='text/plain' action='{target}/v1/campaign/publish'>\
         <input name='{{\"campaign_id\":\"{campaign}\",\"x\":\"' value='\"}}'></form><script>\
         const post = (more) => fetch('{target}/v1/campaign/publish', {{ method: 'POST', credentials: 'include', \
         body: '{{\"campaign_id\":\"{campaign}\"}}', ...more }}).then((r) => r.status, () => 'refused');\
         window.results = (async () => [await post({{ headers: {{ 'content-type': 'application/json' }} }}), \
         await post({{ mode: 'no-cors', headers: {{ 'content-type': 'text/plain' }} }}), \
         await fetch('{target}/session', {{ credentials: 'include' }}).then((r) => r.text(), () => 'refused'), \
         await fetch('{target}/session', {{ method: 'DELETE', credentials: 'include' }}).then((r) => r.status, () => 'refused')])();\
         document.getElementById('form').submit();</script>"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let attacker = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let page = page.clone();
            // Chromium opens connections that it may not use.
            std::thread::spawn(move || {
                let head = BufReader::new(&stream).lines().map_while(Result::ok);
                head.take_while(|line| !line.is_empty()).for_each(drop);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    page.len()
                );
                let _gone = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(page.as_bytes()));
            });
        }
    });
    // Another port of the same host is the same site: the cookie's own rule does not help here.
    for host in ["127.0.0.1", "localhost"] {
        browser.open(&format!("http://{host}:{attacker}/")).await;
        let script = "const done = arguments[0]; window.results.then(done)";
        let results = browser.run_async(script).await;
        assert_eq!(
            results,
            json!(["refused", 0, "refused", "refused"]),
            "{host}"
        );
        let framed = browser.run("try { return document.getElementById('f').contentDocument?.title ?? null } catch { return null }").await;
        assert_eq!(framed, json!(null), "{host}");
    }
    assert_eq!(world.call("audit/list", json!({})).await, before);
    assert_eq!(
        world.campaign(&campaign).await["status"],
        "Ready to publish"
    );
    browser.open(&world.page("waiting")).await;
    browser.says("Sign out").await;
}
