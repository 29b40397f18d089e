//! The commands that look at webhooks, send events again, and disable.

use std::process::Output;

use rerun_contract::ports::webhook_ports;
use rerun_core::actor::{Actor, Person};
use rerun_core::delivery::{Outcome, Response, Verdict};
use rerun_core::ids::{AccountId, UserId, WebhookId};
use rerun_core::ports::AuditFilter;
use rerun_core::usecases::{Engine, NewWebhook, PageQuery};
use rerun_core::webhook::DisabledReason;
use rerun_server::store::Services;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::Database;
use crate::{folder, rerun, text};

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xa1));
const OTHER_ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xb2));
const USER: UserId = UserId::new(Uuid::from_u128(0xc3));

fn caller() -> Actor {
    Actor::person(ACCOUNT, Person::new(USER, "ADMIN"))
}

struct World {
    database: Database,
    folder: tempfile::TempDir,
    engine: Engine,
    webhook: WebhookId,
}

impl World {
    /// A webhook, and three events after it.
    async fn new(database: Database) -> Self {
        let services = Services {
            webhooks: webhook_ports(),
            ..Services::default()
        };
        let engine = database.open_among(&services).engine;
        let new = NewWebhook {
            url: "https://receiver.example/hook?key=1".to_owned(),
            ..NewWebhook::default()
        };
        let created = engine.webhooks.create(&caller(), new, None).await.unwrap();
        let world = Self {
            database,
            folder: folder(),
            webhook: created.outcome.webhook.webhook.id,
            engine,
        };
        for name in ["One", "Two", "Three"] {
            let groups = &world.engine.groups;
            groups.create(&caller(), name, None).await.unwrap();
        }
        world
    }

    fn command(&self, name: &str, account: AccountId, more: &[&str]) -> Output {
        let account = account.to_string();
        let arguments = ["webhook", name, "--account", &account];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        rerun(self.folder.path(), &arguments)
            .env("RERUN_DATABASE_URL", self.database.url())
            .output()
            .unwrap()
    }

    fn lines(&self, name: &str, more: &[&str]) -> Vec<Value> {
        let output = self.command(name, ACCOUNT, more);
        assert!(output.status.success(), "{output:?}");
        let lines = text(&output.stdout);
        let lines = lines.lines().map(serde_json::from_str);
        lines.map(Result::unwrap).collect()
    }

    /// The same in the name of the user, for the webhook.
    fn change(&self, name: &str, more: &[&str]) -> Vec<Value> {
        let (user, webhook) = (USER.to_string(), self.webhook.to_string());
        let mut arguments = vec!["--user", &user, "--role", "OPERATOR"];
        arguments.extend(more);
        arguments.push(&webhook);
        self.lines(name, &arguments)
    }

    /// Delivers what waits; returns the numbers of the events.
    async fn deliver(&self) -> Vec<i64> {
        let deliveries = &self.engine.deliveries;
        while deliveries.fan_out().await.unwrap().more {}
        let mut ended = Vec::new();
        loop {
            let parcels = deliveries.lease(10).await.unwrap().parcels;
            if parcels.is_empty() {
                ended.sort_unstable();
                return ended;
            }
            for parcel in parcels {
                let settled = deliveries.settle(&parcel, &delivered()).await.unwrap();
                if settled.verdict == Verdict::Delivered {
                    ended.push(parcel.event.sequence);
                }
            }
        }
    }
}

fn delivered() -> Outcome {
    Outcome {
        response: Ok(Response {
            status: 204,
            retry_after: None,
        }),
        duration: std::time::Duration::ZERO,
    }
}

async fn webhooks_are_listed_replayed_and_disabled(database: Database) {
    let world = World::new(database).await;
    let id = world.webhook.to_string();
    assert_eq!(world.deliver().await, [2, 3, 4]);
    let listed = world.lines("list", &[]);
    let [webhook] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    let found = world.engine.webhooks.get(&caller(), world.webhook).await;
    let created_at = found.unwrap().webhook.created_at;
    let created_at = rerun_core::timestamp::format(created_at);
    assert_eq!(
        *webhook,
        json!({
            "id": id, "url": "https://receiver.example/hook?key=1", "types": null, "campaign_id": null,
            "description": null, "ordered": false, "status": "enabled", "disabled_reason": null,
            "failing_since": null, "delivered_sequence": 4, "pending": 0, "created_at": created_at,
            "updated_at": created_at,
        })
    );
    let others = world.command("list", OTHER_ACCOUNT, &[]);
    assert!(
        others.status.success() && others.stdout.is_empty(),
        "{others:?}"
    );

    let replayed = world.change("replay", &["--from", "3", "--to", "9"]);
    assert_eq!(replayed, [json!({ "webhook_id": id, "queued": 2 })]);
    assert_eq!(world.deliver().await, [3, 4]);
    assert_eq!(world.change("replay", &["--failed"])[0]["queued"], 0);

    let disabled = world.change("disable", &[]);
    assert_eq!(
        (&disabled[0]["status"], &disabled[0]["disabled_reason"]),
        (&json!("disabled"), &json!("requested"))
    );
    assert_eq!(world.lines("list", &[]), disabled);
    let found = world.engine.webhooks.get(&caller(), world.webhook).await;
    let webhook = found.unwrap().webhook;
    assert_eq!(webhook.disabled, Some(DisabledReason::Requested));
    let (who, page) = (caller(), PageQuery::default());
    let everything = AuditFilter {
        campaign_id: None,
        action: None,
    };
    let log = world.engine.audit.list(&who, everything, &page).await;
    let entry = log.unwrap().items.remove(0);
    assert_eq!(
        (
            entry.action.as_str(),
            entry.user_id,
            entry.role_code.as_deref()
        ),
        ("webhook.updated", Some(USER), Some("OPERATOR"))
    );
    assert_eq!(entry.ip.as_deref(), Some("127.0.0.1"));

    let user = USER.to_string();
    let range = ["--user", &user, "--from", "1", "--to", "2", &id];
    let refused = world.command("replay", ACCOUNT, &range);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("is `disabled`"),
        "{refused:?}"
    );
    for (name, more) in [("replay", &range[..]), ("disable", &["--user", &user, &id])] {
        let foreign = world.command(name, OTHER_ACCOUNT, more);
        assert_eq!(foreign.status.code(), Some(1), "{foreign:?}");
        assert!(
            text(&foreign.stderr).contains("webhook not found"),
            "{foreign:?}"
        );
    }
    for wrong in [
        &["--user", &user, &id][..],
        &["--user", &user, "--from", "1", &id],
        &["--user", &user, "--failed", "--from", "1", "--to", "2", &id],
        &["--failed", &id],
        &["--user", &user, "--failed", "x"],
    ] {
        let refused = world.command("replay", ACCOUNT, wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {refused:?}");
    }
}

#[tokio::test]
async fn webhooks_are_listed_replayed_and_disabled_on_sqlite() {
    webhooks_are_listed_replayed_and_disabled(Database::sqlite()).await;
}

#[tokio::test]
async fn webhooks_are_listed_replayed_and_disabled_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    webhooks_are_listed_replayed_and_disabled(database.unwrap()).await;
}
