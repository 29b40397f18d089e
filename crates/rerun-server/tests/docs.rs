//! The documentation, followed word for word.
//!
//! The blocks of a page that are marked `sh` are run in their order by one shell, those marked
//! `python` by Python. A block whose mark also names a file, as in `python,receiver.py`, is written to
//! that file. The README starts a server, defines `call` and makes a campaign; every other
//! page goes on from where the README ends. Blocks of other kinds are shown only.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rerun_server::config::{ALL, Declared, Sensitivity};
use rerun_testkit::TestDatabase;

/// Where the README's server listens, for those who follow it by hand.
const README_ADDRESS: &str = "127.0.0.1:8080";

/// Rewrites the table of settings when it is set.
const WRITE: &str = "RERUN_TEST_WRITE_DOCS";

const KINDS: &[&str] = &[
    "console", "http", "ini", "js", "json", "mermaid", "python", "rust", "sh", "sql", "text",
    "toml", "ts", "yaml",
];

/// Where receivers listen that a page starts.
const RECEIVER_PORTS: [&str; 2] = ["8081", "8082"];

struct Block {
    kind: String,
    /// The file that it is the text of.
    file: Option<String>,
    line: usize,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(page: &str) -> String {
    let path = root().join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of a folder of the repository.
fn pages(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension() == Some("md".as_ref()))
        .map(|name| {
            if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            }
        })
        .collect();
    names.sort();
    names
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in read(page).lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.split(',').next().unwrap_or_default().to_owned(),
                    file: kind.split_once(',').map(|(_, file)| file.to_owned()),
                    line: index + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => writeln!(block.text, "{line}").unwrap(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    blocks
}

/// The block as a part of a shell script; `None` for what is shown only.
fn script(page: &str, block: &Block) -> Option<String> {
    let Block {
        line, text, file, ..
    } = block;
    let body = match (block.kind.as_str(), file) {
        ("js" | "python", Some(file)) => {
            format!("cat > {file} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n")
        }
        ("sh", _) => text.clone(),
        ("python", None) => format!("python3 - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n"),
        _ => return None,
    };
    Some(format!("echo '== {page}:{line}' >&2\n{body}"))
}

fn scripts(page: &str) -> Vec<String> {
    let blocks = blocks(page);
    blocks
        .iter()
        .filter_map(|block| script(page, block))
        .collect()
}

/// Follows a page to its end, in an empty folder; answers what it printed.
fn follow(page: &str, environment: &[(&str, &str)]) -> String {
    let mut parts = scripts("README.md");
    if page != "README.md" {
        parts.extend(scripts(page));
    }
    // Free for an instant after they are dropped, in which nobody else is likely to take them.
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [address, receivers @ ..] = listeners.map(|listener| listener.local_addr().unwrap());
    let mut text = parts.concat().replace(README_ADDRESS, &address.to_string());
    for (port, free) in RECEIVER_PORTS.into_iter().zip(receivers) {
        text = text.replace(port, &free.port().to_string());
    }
    let script =
        format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{text}");

    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_rerun-http"))
        .parent()
        .unwrap();
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // Whatever waits for what never comes must not wait for ever.
    let mut shell = Command::new("timeout");
    shell.args(["300", "bash", "-c", &script]);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("RERUN_") || name.to_lowercase().ends_with("_proxy") {
            shell.env_remove(&variable);
        }
    }
    let output = shell
        .envs(environment.iter().copied())
        .env("RERUN_BIND", address.to_string())
        .env("RERUN_LOG", "warn")
        .env("PATH", path)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{page}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

fn assert_says(page: &str, said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{page} does not print {part}: {said}");
    }
}

#[test]
fn the_readme_can_be_followed() {
    let said = follow("README.md", &[]);
    let parts = [
        "\"matched\": 1",
        "\"new\": 1",
        "\"reused\": 1",
        "\"run_number\": 2",
    ];
    assert_says("README.md", &said, &parts);
}

#[test]
fn the_guide_can_be_followed() {
    let said = follow("docs/guide.md", &[]);
    let parts = [
        "whole   ",
        "2 published messages for 1190 customers, as run 1",
        "\"deleted_messages\":2",
        "\"without rules\"\n{\"total\":3,\"matched\":0,\"new\":3}",
        "\"with rules\"\n{\"total\":3,\"matched\":3,\"new\":0}",
        "\"saved\"\n{\"messages\":3,\"customers\":3,",
        "customer_ref,subject,body\nc-1,Hello DE,Spring is here.\n",
    ];
    assert_says("docs/guide.md", &said, &parts);
}

#[test]
fn the_api_reference_can_be_followed() {
    let said = follow("docs/api.md", &[]);
    let parts = ["\"campaign_not_found\"", "idempotent-replay: true"];
    assert_says("docs/api.md", &said, &parts);
}

#[test]
fn the_events_page_can_be_followed() {
    let said = follow("docs/events.md", &[]);
    let ends = |status: &str| said.lines().filter(|line| line.ends_with(status)).count();
    assert_eq!((ends(": 204"), ends(": 401")), (4, 2), "{said}");
    // Each receiver counts the event once.
    for receiver in ["Python", "Node.js"] {
        let line = format!("{receiver}: 42 campaign.published");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
    }
}

#[test]
fn the_clients_can_be_followed() {
    let said = follow("docs/clients.md", &[]);
    let parts = [
        "run 2: 1 reused, 1 new",
        "409 invalid_transition",
        "run 2: Published",
    ];
    assert_says("docs/clients.md", &said, &parts);
}

#[test]
fn the_operators_page_can_be_followed() {
    let from = TestDatabase::create("rerun_docs_schema", |url| {
        rerun_pg::migrate(url)?;
        Ok(())
    })
    .unwrap();
    let to = TestDatabase::create("rerun_docs_empty", |_| Ok(())).unwrap();
    let environment = [("POSTGRES_URL", from.url()), ("RESTORED_URL", to.url())];
    let said = follow("docs/operating.md", &environment);
    assert_says(
        "docs/operating.md",
        &said,
        &[
            "\nok\n",
            "\"Ready for review\"",
            "whole   1 entries",
            " On PostgreSQL\n(1 row)",
        ],
    );
}

/// Pages that no test above names.
#[test]
fn other_pages_can_be_followed() {
    let named = [
        "docs/guide.md",
        "docs/api.md",
        "docs/clients.md",
        "docs/events.md",
        "docs/operating.md",
    ];
    let mut others = pages("docs");
    others.retain(|page| !named.contains(&page.as_str()));
    assert!(others.len() > 1, "{others:?}");
    for page in others {
        if !scripts(&page).is_empty() {
            follow(&page, &[]);
        }
    }
}

#[test]
fn every_block_says_what_it_is() {
    for page in [pages(""), pages("docs"), pages("docs/adr")].concat() {
        for Block { kind, line, .. } in blocks(&page) {
            let known = KINDS.contains(&kind.as_str());
            assert!(known, "{page}:{line}: {kind:?} is none of {KINDS:?}");
        }
    }
}

#[test]
fn every_decision_has_a_status_and_a_date() {
    let status = regex::Regex::new(
        r"^# \d+\. .+\n\nStatus: (accepted|superseded by \[\d+\]\(.+\)), \d{4}-\d\d-\d\d.*\n\n",
    )
    .unwrap();
    let decisions = pages("docs/adr");
    assert!(decisions.len() > 40, "{decisions:?}");
    for page in decisions {
        let text = read(&page);
        let begins: Vec<&str> = text.lines().take(3).collect();
        assert!(status.is_match(&text), "{page} begins with {begins:?}");
    }
}

/// Links to files, and to headings of the same or another page.
#[test]
fn links_within_the_repository_lead_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut checked = 0;
    for page in [pages(""), pages("docs"), pages("docs/adr")].concat() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for found in link.captures_iter(&read(&page)) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                root().join(&page)
            } else {
                folder.join(file)
            };
            assert!(file.exists(), "{page}: {target} is not there");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                let there = text.lines().any(|line| anchor(line) == heading);
                assert!(there, "{page}: no heading for {target}");
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

/// What a heading is called in links.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else {
        return String::new();
    };
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.collect::<String>().replace(' ', "-")
}

/// A defence that is renamed or removed is looked for here.
#[test]
fn tests_that_the_security_page_names_exist() {
    let name = regex::Regex::new("`([a-z]+(?:_[a-z]+){2,})`").unwrap();
    let mut sources = String::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let text = read("docs/security.md");
    let mut checked = 0;
    for line in text.lines().filter(|line| line.starts_with("| **")) {
        for found in name.captures_iter(line) {
            let name = &found[1];
            let is_there = ["(", "<"]
                .iter()
                .any(|after| sources.contains(&format!("fn {name}{after}")));
            assert!(is_there, "there is no test {name}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

fn row(setting: &Declared) -> String {
    let default = setting
        .default
        .map_or_else(String::new, |default| format!("`{default}`"));
    let secret = if setting.sensitivity == Sensitivity::Secret {
        "; can be a file"
    } else {
        ""
    };
    let (variable, meaning) = (setting.variable(), setting.sentence());
    format!("| `{variable}` | {default} | {meaning}{secret} |\n").replace("|  |", "| |")
}

/// The table is made of the declarations that the help is made of.
#[test]
fn the_operators_page_lists_every_setting() {
    let (begin, end) = ("| --- | --- | --- |\n", "\n\n");
    let page = "docs/operating.md";
    let text = read(page);
    let start = text.find("| setting | default | meaning |").unwrap();
    let start = start + text[start..].find(begin).unwrap() + begin.len();
    let length = text[start..].find(end).unwrap() + 1;
    let rows: String = ALL.iter().map(|setting| row(setting)).collect();
    if std::env::var_os(WRITE).is_some() {
        let written = format!("{}{rows}{}", &text[..start], &text[start + length..]);
        std::fs::write(root().join(page), written).unwrap();
    }
    assert!(
        read(page)[start..].starts_with(&format!("{rows}\n")),
        "{page} is behind: run this test once with {WRITE}=1"
    );
}

/// The README keeps a handful; the whole list has one place.
#[test]
fn the_readme_names_a_handful_of_settings() {
    let variable = regex::Regex::new("RERUN_[A-Z_]+").unwrap();
    let text = read("README.md");
    let names: BTreeSet<&str> = variable
        .find_iter(&text)
        .map(|found| found.as_str())
        .collect();
    assert!(names.len() <= 6, "{names:?}");
    let is_known = |name: &str| {
        name.starts_with("RERUN_TEST_") || ALL.iter().any(|setting| setting.variable() == name)
    };
    assert!(names.iter().all(|name| is_known(name)), "{names:?}");
}
