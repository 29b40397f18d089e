//! A Chromium that is driven by `WebDriver`, as far as these tests need it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::PATIENCE;

/// Where the protocol puts the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';
pub(crate) const TAB: char = '\u{e004}';
const HOME: char = '\u{e011}';
const DOWN: char = '\u{e015}';
pub(crate) const CONTROL: char = '\u{e009}';

/// A browser with a profile of its own. It ends with the test.
pub(crate) struct Browser {
    driver: Child,
    base: String,
    session: String,
    http: reqwest::Client,
}

/// Starts a driver; returns it with its port, or `None` if it ended.
fn started_driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver: install Debian's chromium and chromium-driver");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        Some(port.trim_end_matches('.').to_owned())
    });
    if port.is_none() {
        driver.wait().unwrap();
    }
    // A pipe that nobody reads would stop it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    port.map(|port| (driver, port))
}

impl Browser {
    pub(crate) async fn start() -> Self {
        // It takes a port of IPv4 and then the same one of IPv6, which another one may have by then.
        let (driver, port) = (0..10)
            .find_map(|_| started_driver())
            .expect("chromedriver ended");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut browser = Self {
            driver,
            base: format!("http://127.0.0.1:{port}"),
            session: String::new(),
            http,
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--lang=en-US",
            "--window-size=1200,850",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let started = browser.send("POST", "/session", &capabilities).await;
        started["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut browser.session);
        browser.size(1_200, 850).await;
        browser
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        let answer = request.json(body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{path} {body}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.send("POST", &path, &body).await
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/session/{}{path}", self.base, self.session);
        let answer: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["value"].clone()
    }

    /// Opens an address.
    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Runs a script in the page; returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// Runs a script that ends by calling its last argument.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": [] }))
            .await
    }

    /// Gives Chromium a command of its own protocol.
    async fn command(&self, command: &str, parameters: Value) {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await;
    }

    pub(crate) async fn size(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Lets pages read the clipboard. Without being asked they only write it.
    pub(crate) async fn allow_clipboard(&self) {
        let permission = json!({ "descriptor": { "name": "clipboard-read" }, "state": "granted" });
        self.post("/permissions", permission).await;
    }

    /// Presses keys one after another.
    pub(crate) async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let press = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = keys.into_iter().flat_map(press).collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [source] })).await;
    }

    pub(crate) async fn write(&self, text: &str) {
        self.press(text.chars()).await;
    }

    /// Presses a key while another one is down.
    pub(crate) async fn chord(&self, modifier: char, key: char) {
        let step = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let actions = [
            step("keyDown", modifier),
            step("keyDown", key),
            step("keyUp", key),
            step("keyUp", modifier),
        ];
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [source] })).await;
    }

    /// Waits until a script returns something that is not false, null or 0; returns it.
    pub(crate) async fn until(&self, script: &str) -> Value {
        let script = format!("return {script}");
        let found = async {
            loop {
                let value = self.run(&script).await;
                let nothing = value.is_null() || value == false || value == 0 || value == "";
                if !nothing {
                    return value;
                }
                // Leaves the processor to the page between two looks.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok(value) = tokio::time::timeout(PATIENCE, found).await else {
            let text = self.run("return document.body.innerText").await;
            panic!(
                "never: {script}; the page says {text}; {:?}",
                self.log().await
            );
        };
        value
    }

    /// Presses a button, and the button of the same name in the dialog that asks before it is done;
    /// the dialog has the texts.
    pub(crate) async fn confirm(&self, button: &str, texts: &[&str]) {
        self.enter("button", button).await;
        for text in texts {
            self.until(&format!(
                "document.querySelector('dialog[open]')?.innerText.includes({})",
                json!(text)
            ))
            .await;
        }
        self.until("document.querySelector('dialog[open]')").await;
        self.enter("button", button).await;
    }

    /// Waits for a text anywhere in the page.
    pub(crate) async fn says(&self, text: &str) {
        self.until(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ))
        .await;
    }

    /// The elements that a screen reader finds under this role and name, by the browser's own
    /// reckoning.
    async fn all(&self, role: &str, name: &str) -> Vec<String> {
        let css = match role {
            "button" => "button",
            "link" => "a[href]",
            "textbox" => "input[type=text], textarea",
            "combobox" => "select",
            "list" => "ul, ol",
            "dialog" => "dialog",
            "heading" => "h1, h2, h3",
            "checkbox" => "input[type=checkbox]",
            other => panic!("no selector for {other}"),
        };
        let found = self
            .post(
                "/elements",
                json!({ "using": "css selector", "value": css }),
            )
            .await;
        let mut fitting = Vec::new();
        for element in found.as_array().unwrap() {
            let id = element[ELEMENT].as_str().unwrap();
            let label = self.get(&format!("/element/{id}/computedlabel")).await;
            if label == name && self.get(&format!("/element/{id}/computedrole")).await == role {
                fitting.push(id.to_owned());
            }
        }
        fitting
    }

    pub(crate) async fn has(&self, role: &str, name: &str) -> bool {
        !self.all(role, name).await.is_empty()
    }

    /// Waits for the element with this role and name.
    async fn element(&self, role: &str, name: &str) -> String {
        let found = async {
            loop {
                if let Some(id) = self.all(role, name).await.into_iter().next() {
                    return id;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok(id) = tokio::time::timeout(PATIENCE, found).await else {
            let text = self.run("return document.body.innerText").await;
            panic!(
                "no {role} {name}; the page says {text}; {:?}",
                self.log().await
            );
        };
        id
    }

    /// Goes to an element by the key Tab alone, as somebody without a mouse does.
    pub(crate) async fn tab_to(&self, role: &str, name: &str) {
        let id = self.element(role, name).await;
        for _ in 0..200 {
            let active = self.get("/element/active").await;
            if active[ELEMENT] == id.as_str() {
                return;
            }
            self.press([TAB]).await;
        }
        panic!("Tab does not reach the {role} {name}");
    }

    /// Goes to an element by Tab and presses Enter.
    pub(crate) async fn enter(&self, role: &str, name: &str) {
        self.tab_to(role, name).await;
        self.press([ENTER]).await;
    }

    /// Chooses the first option of a combobox whose text begins like this, by its arrow keys.
    pub(crate) async fn choose(&self, name: &str, option: &str) {
        self.tab_to("combobox", name).await;
        self.press([HOME]).await;
        for _ in 0..1_000 {
            let chosen = "return document.activeElement.selectedOptions[0].textContent.trim()";
            let chosen = self.run(chosen).await;
            if chosen.as_str().unwrap().starts_with(option) {
                return;
            }
            self.press([DOWN]).await;
        }
        panic!("{name} has no option {option}");
    }

    /// The first element that a selector finds, here or in the frame that was gone into.
    async fn found(&self, selector: &str) -> Value {
        let find = json!({ "using": "css selector", "value": selector });
        let found = async {
            loop {
                let all = self.post("/elements", find.clone()).await;
                if let Some(first) = all.as_array().and_then(|all| all.first()) {
                    return first.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("nothing is {selector}"))
    }

    /// Goes into a frame: from here on, elements are those in there.
    pub(crate) async fn enter_frame(&self, selector: &str) {
        let frame = self.found(selector).await;
        self.post("/frame", json!({ "id": frame })).await;
    }

    /// Goes back to the page that all frames are in.
    pub(crate) async fn out_of_frames(&self) {
        self.post("/frame", json!({ "id": null })).await;
    }

    /// How an element looks in one respect.
    pub(crate) async fn look(&self, selector: &str, property: &str) -> Value {
        let element = self.found(selector).await;
        let id = element[ELEMENT].as_str().unwrap();
        self.get(&format!("/element/{id}/css/{property}")).await
    }

    /// Clicks an element with the mouse.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.found(selector).await;
        let id = element[ELEMENT].as_str().unwrap();
        self.post(&format!("/element/{id}/click"), json!({})).await;
    }

    /// Chooses a file in a box for files, as its dialog does.
    pub(crate) async fn choose_file(&self, selector: &str, path: &str) {
        let element = self.found(selector).await;
        let id = element[ELEMENT].as_str().unwrap();
        let keys = json!({ "text": path });
        self.post(&format!("/element/{id}/value"), keys).await;
    }

    /// How many windows there are.
    pub(crate) async fn windows(&self) -> usize {
        let windows = self.get("/window/handles").await;
        windows.as_array().unwrap().len()
    }

    /// What the browser has logged since the last call.
    pub(crate) async fn log(&self) -> Vec<String> {
        let lines = self.post("/se/log", json!({ "type": "browser" })).await;
        let lines = lines.as_array().unwrap();
        lines
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with the driver that started it, once that is told to end.
        let end = |path: &str| {
            let url = format!("{}{path}", self.base);
            Command::new("curl")
                .args(["-sS", "-m", "10", "-X", "DELETE", &url])
                .stdout(Stdio::null())
                .status()
        };
        let _gone = end(&format!("/session/{}", self.session));
        let _gone = self.driver.kill();
        let _gone = self.driver.wait();
    }
}
