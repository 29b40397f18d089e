//! Webhooks on the command line.

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rerun_core::actor::Actor;
use rerun_core::ids::WebhookId;
use rerun_core::timestamp;
use rerun_core::usecases::{Engine, PageQuery, ReplayRequest, Settings, WebhookChange};
use rerun_core::webhook::{Webhook, WebhookProgress, WebhookStatus};
use serde_json::{Value, json};

use super::campaign::{account, local_person, user};
use super::{Failure, logging, open_migrated, say};
use crate::config::{ConfigError, Layers, Log};

/// Adds the commands that look at webhooks, send events again and disable.
pub(super) fn add_to(
    family: clap::Command,
    with_settings: impl Fn(clap::Command) -> clap::Command,
) -> clap::Command {
    let webhook = || {
        Arg::new("webhook")
            .value_name("WEBHOOK")
            .required(true)
            .value_parser(|text: &str| WebhookId::parse(text).ok_or("not a UUID"))
            .help("Id of the webhook")
    };
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("SEQUENCE")
            .value_parser(value_parser!(i64).range(1..))
            .help(help)
    };
    let list = clap::Command::new("list")
        .about("Prints an account's webhooks, newest first, as lines of JSON")
        .arg(account("Account whose webhooks to print"));
    let replay = clap::Command::new("replay")
        .about("Sends events to a webhook again: a range of them, or all whose delivery failed")
        .arg(account("Account that has the webhook"))
        .args(user())
        .arg(number("from", "Sequence number of the first event to send again").requires("to"))
        .arg(number("to", "Sequence number of the last event to send again").requires("from"))
        .arg(
            Arg::new("failed")
                .long("failed")
                .action(ArgAction::SetTrue)
                .conflicts_with("from")
                .required_unless_present("from")
                .help("Send all events again whose delivery failed"),
        )
        .arg(webhook());
    let disable = clap::Command::new("disable")
        .about("Disables a webhook: no events are sent to it until somebody enables it")
        .arg(account("Account that has the webhook"))
        .args(user())
        .arg(webhook());
    [list, replay, disable]
        .into_iter()
        .fold(family, |family, command| {
            family.subcommand(with_settings(command))
        })
}

pub(super) fn run(layers: &Layers, command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    let store = open_migrated(layers, Settings::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(done(&store.engine, command, matches));
    runtime.shutdown_background();
    done
}

async fn done(engine: &Engine, command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let missing = || ConfigError::new("a required argument is missing");
    if command == "list" {
        let account = *matches.get_one("account").ok_or_else(missing)?;
        return list(engine, &Actor::system(account)).await;
    }
    let webhook = *matches.get_one("webhook").ok_or_else(missing)?;
    let person = local_person(matches, &format!("webhook-{command}")).ok_or_else(missing)?;
    if command == "replay" {
        let request = ReplayRequest {
            from_sequence: matches.get_one("from").copied(),
            to_sequence: matches.get_one("to").copied(),
            failed: matches.get_flag("failed"),
        };
        let replayed = engine.webhooks.replay(&person, webhook, request, None);
        let queued = replayed.await?.outcome;
        say(&json!({ "webhook_id": webhook, "queued": queued }).to_string());
        return Ok(());
    }
    let change = WebhookChange {
        status: Some(WebhookStatus::Disabled),
        ..WebhookChange::default()
    };
    let changed = engine.webhooks.update(&person, webhook, change, None);
    say(&line(&changed.await?.outcome).to_string());
    Ok(())
}

async fn list(engine: &Engine, actor: &Actor) -> Result<(), Failure> {
    let mut page = PageQuery::default();
    loop {
        let found = engine.webhooks.list(actor, &page).await?;
        for webhook in &found.items {
            say(&line(webhook).to_string());
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}

/// A webhook, with the fields that `webhook/list` returns.
fn line(progress: &WebhookProgress) -> Value {
    let webhook: &Webhook = &progress.webhook;
    json!({
        "id": webhook.id,
        "url": webhook.url,
        "types": webhook.types,
        "campaign_id": webhook.campaign_id,
        "description": webhook.description,
        "ordered": webhook.ordered,
        "status": webhook.status(),
        "disabled_reason": webhook.disabled,
        "failing_since": webhook.failing_since.map(timestamp::format),
        "delivered_sequence": progress.delivered_sequence,
        "pending": progress.pending,
        "created_at": timestamp::format(webhook.created_at),
        "updated_at": timestamp::format(webhook.updated_at),
    })
}
