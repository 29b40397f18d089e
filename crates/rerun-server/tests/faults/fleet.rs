//! Many servers and workers on one database. They are killed one after the other while many accounts
//! work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rerun_core::ids::AccountId;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::api::{Api, Reply};
use crate::process::Process;
use crate::world::{Store, World, address};
use crate::{chance, number, tell};

const SERVERS: usize = 4;
const WORKERS: usize = 3;
const ACCOUNTS: u128 = 50;
/// From one kill to the next.
const PACE: Duration = Duration::from_secs(2);
/// How long processes are killed, unless the environment says otherwise.
const SECONDS: u64 = 6;
/// Short, so that what a killed worker held comes back soon.
const LEASE_SECONDS: u32 = 2;
/// Between two looks at what is not there yet, and two tries of what failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer than a client tries the same request.
const PATIENCE: Duration = Duration::from_mins(2);
/// A campaign has so many reruns before the next campaign comes.
const RERUNS: usize = 3;
/// Segments of a group. Half of them are in the other group, too.
const SEGMENTS: usize = 10;

/// The addresses of the servers, by their number.
type Addresses = Arc<Mutex<BTreeMap<usize, String>>>;

/// The processes: servers, then workers.
struct Fleet<'a> {
    world: &'a World,
    processes: Vec<Process>,
    addresses: Addresses,
}

impl<'a> Fleet<'a> {
    async fn start(world: &'a World) -> Self {
        let mut fleet = Self {
            world,
            processes: (0..SERVERS).map(|n| start(world, n)).collect(),
            addresses: Arc::default(),
        };
        // Workers need the schema, which servers migrate.
        fleet.up().await;
        let workers = SERVERS..SERVERS + WORKERS;
        fleet.processes.extend(workers.map(|n| start(world, n)));
        fleet
    }

    /// Notes the addresses of the servers that listen now.
    fn look(&self) {
        let mut addresses = self.addresses.lock().unwrap();
        for (n, process) in self.processes.iter().enumerate().take(SERVERS) {
            if let Some(address) = address(process) {
                addresses.insert(n, address);
            }
        }
    }

    /// Waits until all of them are up.
    async fn up(&mut self) {
        for (n, process) in self.processes.iter_mut().enumerate() {
            let ready = ["generating", "listening on"][usize::from(n < SERVERS)];
            process.says(ready).await;
        }
        self.look();
    }

    /// Kills a process, which may be at its start, and starts another in its place.
    fn replace(&mut self, n: usize) {
        let new = start(self.world, n);
        std::mem::replace(&mut self.processes[n], new).kill();
        // Clients find out by themselves that it is gone.
    }
}

fn start(world: &World, n: usize) -> Process {
    if n < SERVERS {
        world.start_server(0)
    } else {
        world.start_worker(&format!("worker {n}"))
    }
}

/// What the servers acknowledged to a client.
#[derive(Default)]
struct Done {
    groups: Vec<Value>,
    /// The campaigns with the number of their runs.
    campaigns: Vec<(Value, usize)>,
    writes: usize,
    /// Requests without an answer, and those that a server could not carry out.
    again: usize,
}

/// Somebody who works in an account of their own.
struct Client {
    api: Api,
    addresses: Addresses,
    chance: fastrand::Rng,
    until: Instant,
    done: Done,
}

impl Client {
    /// Sends a request, to one server after the other, until it is answered.
    async fn ask(&mut self, path: &str, kind: &str, body: String) -> Value {
        let key = format!("write {}", self.done.writes);
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "{path}: no answer");
            let known: Vec<String> = self.addresses.lock().unwrap().values().cloned().collect();
            if let Some(address) = self.chance.choice(&known) {
                self.api.talks_to(address);
                let reply = self.api.send_once(&key, path, kind, body.clone()).await;
                match reply {
                    Reply::Answer {
                        status: 200, body, ..
                    } => return body,
                    Reply::Broken => {}
                    Reply::Answer { .. } => assert!(reply.is_unavailable(), "{path}: {reply:?}"),
                }
                self.done.again += 1;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends a write. It is done once, however often it is sent.
    async fn write(&mut self, path: &str, body: Value) -> Value {
        let answer = self.ask(path, "application/json", body.to_string()).await;
        self.done.writes += 1;
        answer
    }

    async fn group(&mut self, from: usize) -> Value {
        let group = json!({ "name": "of a fleet" });
        let group = self.write("customer-group/create", group).await["id"].take();
        let rows = (from..from + SEGMENTS).map(|no| format!("c-{no},segment {no}\n"));
        let path = format!(
            "customer-group/import?customer_group_id={}",
            group.as_str().unwrap()
        );
        let file = format!("customer_ref,no\n{}", rows.collect::<String>());
        let imported = self.ask(&path, "text/csv", file).await;
        assert_eq!(imported["total"], SEGMENTS, "{imported}");
        self.done.writes += 1;
        self.done.groups.push(group.clone());
        group
    }

    /// Waits for the messages of a run, approves and publishes them.
    async fn publish(&mut self, campaign: &Value) {
        let this = json!({ "campaign_id": campaign });
        let end = Instant::now() + PATIENCE;
        loop {
            let body = this.to_string();
            let found = self.ask("campaign/get", "application/json", body).await;
            match found["status"].as_str() {
                Some("Ready for review" | "Ready to publish") => break,
                Some("Processing") => {}
                _ => panic!("{found}"),
            }
            assert!(Instant::now() < end, "the run does not end: {found}");
            tokio::time::sleep(PAUSE).await;
        }
        let review = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
        self.write("campaign/messages/review", review).await;
        self.write("campaign/publish", this).await;
    }

    async fn work(mut self) -> (Api, Done) {
        while Instant::now() < self.until {
            let groups = [self.group(0).await, self.group(SEGMENTS / 2).await];
            let campaign = json!({
                "name": "of a fleet",
                "customer_group_id": groups[0],
                "segment_by": ["no"],
                "template": { "subject": "s", "body": "{{ no }}" },
            });
            let campaign = self.write("campaign/create", campaign).await["id"].take();
            self.done.campaigns.push((campaign.clone(), 1));
            let this = json!({ "campaign_id": campaign });
            self.write("campaign/launch", this).await;
            self.publish(&campaign).await;
            for rerun in 1..=RERUNS {
                let group = &groups[rerun % 2];
                let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
                let started = self.write("campaign/rerun/initiate", body).await;
                assert_eq!(started["run_number"], rerun + 1, "{started}");
                self.done.campaigns.last_mut().unwrap().1 += 1;
                self.publish(&campaign).await;
            }
        }
        (self.api, self.done)
    }
}

/// The ids of what a list has, in the order of the texts.
fn ids(list: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = list.iter().filter_map(|it| it["id"].as_str()).collect();
    ids.sort_unstable();
    ids
}

fn sorted<'a>(ids: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = ids.filter_map(Value::as_str).collect();
    ids.sort_unstable();
    ids
}

impl Done {
    /// Panics unless the account has what was acknowledged, each once, and nothing else.
    async fn check(&self, api: &Api) {
        let groups = "customer_groups";
        let there = api.pages("customer-group/list", json!({}), groups).await;
        assert_eq!(ids(&there), sorted(self.groups.iter()), "groups");
        let there = api.pages("campaign/list", json!({}), "campaigns").await;
        let known = sorted(self.campaigns.iter().map(|(id, _)| id));
        assert_eq!(ids(&there), known, "campaigns");
        for (campaign, runs) in &self.campaigns {
            let this = json!({ "campaign_id": campaign });
            let history = api.post("campaign/rerun/history", this.clone()).await;
            let all = history["runs"].as_array().unwrap();
            assert_eq!(all.len(), *runs, "{history}");
            for run in all {
                assert_eq!(run["status"], "Completed", "{run}");
                assert_eq!(run["messages"]["total"], SEGMENTS, "{run}");
                let published = &run["messages"]["published"];
                let archived = &run["messages"]["archived"];
                let shown = published.as_u64().unwrap() + archived.as_u64().unwrap();
                assert!(shown >= u64::try_from(SEGMENTS).unwrap(), "{run}");
            }
            let entries = api.pages("audit/list", this, "entries").await;
            let entries = entries.iter().rev();
            let actions: Vec<&str> = entries
                .filter_map(|entry| entry["action"].as_str())
                .collect();
            let mut expected = vec!["campaign.created"];
            for run in 0..*runs {
                let started = ["campaign.launched", "rerun.initiated"][usize::from(run > 0)];
                let then = ["run.completed", "messages.approved", "campaign.published"];
                expected.push(started);
                expected.extend(then);
            }
            assert_eq!(actions, expected, "the audit log of {campaign}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_workers_that_are_killed_by_turns_lose_nothing_and_do_nothing_twice() {
    let mut chance = chance();
    let seconds = number("RERUN_TEST_FLEET_SECONDS").unwrap_or(SECONDS);
    let world = World::new(Store::postgres(), Duration::ZERO, LEASE_SECONDS);
    let mut fleet = Fleet::start(&world).await;
    let accounts: Vec<Uuid> = (1..=ACCOUNTS).map(Uuid::from_u128).collect();
    let apis: Vec<Api> = accounts
        .iter()
        .map(|account| Api::nowhere(&world, &account.to_string()))
        .collect();
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let clients: Vec<_> = apis
        .into_iter()
        .map(|api| {
            let client = Client {
                api,
                addresses: Arc::clone(&fleet.addresses),
                chance: chance.fork(),
                until,
                done: Done::default(),
            };
            tokio::spawn(client.work())
        })
        .collect();
    let mut kills = [0; 2];
    let mut due = begun + PACE;
    let mut pace = tokio::time::interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while clients.iter().any(|client| !client.is_finished()) {
        pace.tick().await;
        fleet.look();
        let now = Instant::now();
        if now >= due && now < until {
            due += PACE;
            let victim = chance.usize(..fleet.processes.len());
            fleet.replace(victim);
            kills[usize::from(victim >= SERVERS)] += 1;
        }
    }
    let took = begun.elapsed();
    fleet.up().await;
    let addresses: Vec<String> = fleet.addresses.lock().unwrap().values().cloned().collect();
    let (mut writes, mut again, mut runs) = (0, 0, 0);
    for client in clients {
        let (api, done) = client.await.unwrap();
        api.talks_to(&addresses[writes % addresses.len()]);
        done.check(&api).await;
        writes += done.writes;
        again += done.again;
        runs += done.campaigns.iter().map(|(_, runs)| runs).sum::<usize>();
    }
    let accounts: Vec<AccountId> = accounts.into_iter().map(AccountId::new).collect();
    world.check_accounts(&accounts).await;
    tell(&format!(
        "{} servers and {} workers killed, {ACCOUNTS} accounts, {writes} writes acknowledged, {runs} runs, \
         {again} requests sent again, {:.0} s",
        kills[0],
        kills[1],
        took.as_secs_f64(),
    ));
    assert!(kills.iter().sum::<u32>() > 0, "nothing was killed");
    for process in fleet.processes {
        assert_eq!(process.terminate().await, Some(0));
    }
}
