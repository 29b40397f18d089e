//! Many clients use one campaign while PostgreSQL's sessions are ended at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::world::{CONCURRENCY, Store, World};
use crate::{chance, number, tell};

const CLIENTS: usize = 16;
/// Requests of a run whose length nobody said.
const REQUESTS: usize = 800;
/// Answers between two ends of a session.
const BETWEEN: usize = 20;
const SEGMENTS: usize = 25;

fn customers(from: usize) -> String {
    let rows = (from..from + SEGMENTS).map(|no| format!("c-{no},segment {no}\n"));
    format!("customer_ref,no\n{}", rows.collect::<String>())
}

/// What the clients share.
struct Load {
    api: Api,
    campaign: String,
    groups: Vec<String>,
    answers: AtomicUsize,
    reruns: AtomicUsize,
    begun: Instant,
    lasts: Option<Duration>,
}

/// Answers by endpoint and status.
type Tally = BTreeMap<(&'static str, u16), usize>;

impl Load {
    async fn of(api: &Api) -> Self {
        let mut groups = Vec::new();
        for from in [0, SEGMENTS / 2] {
            let group = api
                .post("customer-group/create", json!({ "name": "mixed" }))
                .await;
            let group = group["id"].as_str().unwrap().to_owned();
            api.import(&group, customers(from)).await;
            groups.push(group);
        }
        let campaign = json!({
            "name": "mixed",
            "customer_group_id": groups[0],
            "segment_by": ["no"],
            "template": { "subject": "s", "body": "{{ no }}" },
        });
        let campaign = api.post("campaign/create", campaign).await;
        Self {
            api: api.clone(),
            campaign: campaign["id"].as_str().unwrap().to_owned(),
            groups,
            answers: AtomicUsize::new(0),
            reruns: AtomicUsize::new(0),
            begun: Instant::now(),
            lasts: number("RERUN_TEST_MIXED_SECONDS").map(Duration::from_secs),
        }
    }

    fn goes_on(&self) -> bool {
        if let Some(lasts) = self.lasts {
            return self.begun.elapsed() < lasts;
        }
        // Chance may leave out a rerun for a while.
        let most = match self.reruns.load(Ordering::Relaxed) {
            0 => 10 * REQUESTS,
            _ => REQUESTS,
        };
        self.answers.load(Ordering::Relaxed) < most
    }

    /// One request of any kind, with what the campaign has now.
    fn request(&self, chance: &mut fastrand::Rng, seen: Option<&Value>) -> (&'static str, Value) {
        let campaign = json!({ "campaign_id": self.campaign });
        let with = |more: Value| {
            let mut body = campaign.clone();
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        let group = &self.groups[chance.usize(..self.groups.len())];
        let message = seen.map_or(Value::Null, |message| message["id"].clone());
        // What undoes progress waits for the first rerun: on a slow machine the campaign is else
        // never published.
        let undoes = self.reruns.load(Ordering::Relaxed) > 0;
        match chance.usize(..16) {
            9 | 12 | 13 if !undoes => ("campaign/rerun/history", campaign),
            0 => ("campaign/launch", campaign),
            1 | 2 => {
                let body = with(json!({ "new_customer_group_id": group }));
                ("campaign/rerun/initiate", body)
            }
            3 => {
                let body = with(json!({ "new_customer_group_id": group }));
                ("campaign/rerun/preview", body)
            }
            4..=6 => {
                let body = with(json!({ "decision": "approve", "all": true }));
                ("campaign/messages/review", body)
            }
            7 | 8 => ("campaign/publish", campaign),
            9 => ("campaign/rerun/cancel", campaign),
            10 => ("campaign/rerun/history", campaign),
            11 => ("campaign/rerun/retry", campaign),
            12 => {
                let content = json!({ "subject": "by", "body": "hand" });
                let body = with(json!({ "message_id": message, "content": content }));
                ("campaign/messages/edit", body)
            }
            13 => {
                let body = with(json!({ "message_ids": [message] }));
                ("campaign/messages/regenerate", body)
            }
            14 => ("audit/list", json!({ "limit": 20 })),
            _ => ("customer-group/create", json!({ "name": "mixed" })),
        }
    }

    async fn client(self: Arc<Self>, mut chance: fastrand::Rng) -> Tally {
        let mut tally = Tally::new();
        let mut seen = Vec::new();
        while self.goes_on() {
            let message = chance.choice(&seen);
            let (path, body) = self.request(&mut chance, message);
            let reply = self.api.send(path, "application/json", body.to_string());
            let reply = reply.await;
            let Reply::Answer { status, .. } = &reply else {
                panic!("{path}: no answer");
            };
            assert!(*status < 500 || reply.is_unavailable(), "{path}: {reply:?}");
            *tally.entry((path, *status)).or_default() += 1;
            self.answers.fetch_add(1, Ordering::Relaxed);
            if (path, *status) == ("campaign/rerun/initiate", 200) {
                self.reruns.fetch_add(1, Ordering::Relaxed);
            }
            let body = json!({ "campaign_id": self.campaign, "limit": 5 });
            let path = "campaign/rerun/messages";
            let reply = self.api.send(path, "application/json", body.to_string());
            match reply.await {
                Reply::Answer {
                    status: 200,
                    mut body,
                    ..
                } => {
                    if let Value::Array(messages) = body["messages"].take() {
                        seen = messages;
                    }
                }
                reply @ (Reply::Answer { .. } | Reply::Broken) => {
                    let known = matches!(
                        reply,
                        Reply::Answer {
                            status: 400..=499,
                            ..
                        }
                    );
                    assert!(known || reply.is_unavailable(), "{path}: {reply:?}");
                }
            }
        }
        tally
    }

    /// Ends a session of the server after every few answers; answers how many.
    fn end_sessions(&self, url: &str) -> usize {
        let mut admin = PgConnection::establish(url).unwrap();
        let mut ended = 0;
        while self.goes_on() {
            if self.answers.load(Ordering::Relaxed) < (ended + 1) * BETWEEN {
                std::thread::yield_now();
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            admin
                .batch_execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid() \
                     ORDER BY random() LIMIT 1",
                )
                .unwrap();
            ended += 1;
        }
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_at_random_under_a_mixed_load_cost_no_invariant() {
    let mut chance = chance();
    let world = World::new(Store::postgres(), Duration::ZERO, 60);
    let server = world.serve(CONCURRENCY).await;
    let api = Api::new(&world, &server);
    let load = Arc::new(Load::of(&api).await);
    let url = world.url();
    let ending = {
        let load = Arc::clone(&load);
        tokio::task::spawn_blocking(move || load.end_sessions(&url))
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(Arc::clone(&load).client(chance.fork())))
        .collect();
    let mut tally = Tally::new();
    for client in clients {
        for (key, count) in client.await.unwrap() {
            *tally.entry(key).or_default() += count;
        }
    }
    let ended = ending.await.unwrap();
    let took = load.begun.elapsed();
    let mut by_status = BTreeMap::<u16, usize>::new();
    for ((_, status), count) in &tally {
        *by_status.entry(*status).or_default() += count;
    }
    tell(&format!(
        "{ended} sessions ended in {took:?}; answers by status {by_status:?}; {tally:?}"
    ));
    assert!(ended > 0 && by_status.contains_key(&200));
    for path in [
        "campaign/rerun/initiate",
        "campaign/publish",
        "campaign/messages/review",
    ] {
        assert!(tally.contains_key(&(path, 200)), "{path} never succeeded");
    }
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
