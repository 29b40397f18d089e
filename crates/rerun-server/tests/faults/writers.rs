//! A light load of writes whose acknowledgements are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::api::{Api, Reply};
use crate::wait::until;

const PACE: Duration = Duration::from_millis(10);

/// What became of the writes, by the names of the groups that they were to make.
#[derive(Debug, Default, Clone)]
pub(crate) struct Written {
    acknowledged: BTreeSet<String>,
    attempted: BTreeSet<String>,
    /// Answered with 503.
    pub(crate) refused: usize,
    /// Not answered.
    pub(crate) broken: usize,
}

impl Written {
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many writes are there although they were not acknowledged.
    pub(crate) async fn unacknowledged(&self, api: &Api) -> usize {
        let groups = api
            .pages("customer-group/list", json!({}), "customer_groups")
            .await;
        let there = groups.iter().filter_map(|group| group["name"].as_str());
        there
            .filter(|name| self.attempted.contains(*name) && !self.acknowledged.contains(*name))
            .count()
    }

    /// Panics unless what is there is what was acknowledged and perhaps what was not answered
    /// for, each once and each with its audit entry; `others` are groups that the test made.
    pub(crate) async fn check(&self, api: &Api, others: usize) {
        let groups = api
            .pages("customer-group/list", json!({}), "customer_groups")
            .await;
        let mut there = BTreeMap::new();
        for group in &groups {
            let name = group["name"].as_str().unwrap().to_owned();
            let id = group["id"].as_str().unwrap().to_owned();
            assert!(there.insert(id, name).is_none(), "twice: {group}");
        }
        let names: Vec<&String> = there
            .values()
            .filter(|name| self.attempted.contains(*name))
            .collect();
        assert_eq!(names.len() + others, groups.len(), "groups nobody made");
        let distinct: BTreeSet<&String> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len(), "a write was done twice");
        let lost = self.acknowledged.iter().filter(|n| !distinct.contains(n));
        assert_eq!(
            lost.collect::<Vec<_>>(),
            [""; 0],
            "acknowledged writes are missing"
        );
        let entries = json!({ "action": "customer_group.created" });
        let entries = api.pages("audit/list", entries, "entries").await;
        let mut recorded = BTreeMap::new();
        for entry in &entries {
            let detail = |name: &str| entry["details"][name].as_str().unwrap().to_owned();
            let id = detail("customer_group_id");
            assert!(
                recorded.insert(id, detail("name")).is_none(),
                "twice: {entry}"
            );
        }
        assert_eq!(recorded, there, "audit entries and groups");
    }
}

/// Tasks that make customer groups, one after the other.
pub(crate) struct Writers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    written: Arc<Mutex<Written>>,
}

impl Writers {
    pub(crate) fn start(api: &Api, count: usize) -> Self {
        let (stop, written) = (watch::Sender::new(false), Arc::default());
        let mut tasks = JoinSet::new();
        for writer in 0..count {
            let (api, stopped) = (api.clone(), stop.subscribe());
            let written = Arc::clone(&written);
            tasks.spawn(write(writer, api, stopped, written));
        }
        Self {
            stop,
            tasks,
            written,
        }
    }

    pub(crate) fn so_far(&self) -> Written {
        self.written.lock().unwrap().clone()
    }

    /// Waits for this many acknowledgements more.
    pub(crate) async fn until_acknowledged(&self, more: usize) {
        let before = self.so_far().acknowledged();
        until("acknowledged writes", async || {
            (self.so_far().acknowledged() >= before + more).then_some(())
        })
        .await;
    }

    pub(crate) async fn stop(mut self) -> Written {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.so_far()
    }
}

async fn write(
    writer: usize,
    api: Api,
    stopped: watch::Receiver<bool>,
    written: Arc<Mutex<Written>>,
) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        if *stopped.borrow() {
            return;
        }
        pace.tick().await;
        let name = format!("writer {writer}, group {number}");
        written.lock().unwrap().attempted.insert(name.clone());
        let body = json!({ "name": name }).to_string();
        let reply = api
            .send("customer-group/create", "application/json", body)
            .await;
        let mut written = written.lock().unwrap();
        match &reply {
            Reply::Broken => written.broken += 1,
            Reply::Answer {
                status: 200, body, ..
            } => {
                assert_eq!(body["name"], Value::String(name.clone()));
                written.acknowledged.insert(name);
            }
            Reply::Answer { .. } => {
                assert!(reply.is_unavailable(), "{name}: {reply:?}");
                written.refused += 1;
            }
        }
    }
}
