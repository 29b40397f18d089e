use clap::{Arg, ArgAction, ArgMatches};
use serde_json::json;

use super::{Failure, logging, say};
use crate::config::{self, Layers, Log, LogFormat};
use crate::store::{self, MigrationStatus};

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    command.arg(
        Arg::new("status")
            .long("status")
            .action(ArgAction::SetTrue)
            .help("List the migrations and show which are pending, but apply none"),
    )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    let url = config::database_url(layers)?;
    let only_list = matches.get_flag("status");
    let migrations = if only_list {
        store::migrations(&url)?
    } else {
        let applied = store::migrate(&url)?;
        let applied = applied.into_iter().map(|name| MigrationStatus {
            name,
            applied: true,
        });
        applied.collect()
    };
    match log.format {
        LogFormat::Json => migrations
            .iter()
            .for_each(|MigrationStatus { name, applied }| {
                say(&json!({ "migration": name, "applied": applied }).to_string());
            }),
        LogFormat::Text if migrations.is_empty() => {
            say("Nothing to apply: the schema is up to date.");
        }
        LogFormat::Text => migrations
            .iter()
            .for_each(|MigrationStatus { name, applied }| {
                let state = if *applied { "applied" } else { "pending" };
                say(&format!("{state}  {name}"));
            }),
    }
    Ok(())
}
