use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rerun_core::actor::Actor;
use rerun_core::campaign::CampaignStatus;
use rerun_core::error::Error;
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use rerun_core::usecases::{Engine, PageQuery, Settings};
use rerun_files::Format;
use rerun_http::MessagesFile;
use rerun_wire::items::{CampaignItem, RunItem};
use serde_json::json;

use super::super::{Failure, logging, open_migrated, print};
use super::{account, local_person, user};
use crate::config::{ConfigError, Layers, Log};

/// How many messages of an export are in memory at once.
const PAGE: i64 = 500;

/// Adds the commands that look at campaigns, take their messages out and delete them.
pub(in crate::cli) fn add_to(
    family: clap::Command,
    with_settings: impl Fn(clap::Command) -> clap::Command,
) -> clap::Command {
    let campaign = || {
        Arg::new("campaign")
            .value_name("CAMPAIGN")
            .required(true)
            .value_parser(|text: &str| CampaignId::parse(text).ok_or("not a UUID"))
            .help("Id of the campaign")
    };
    let list = clap::Command::new("list")
        .about("Prints an account's campaigns, newest first, as lines of JSON")
        .arg(account("Account whose campaigns to print"))
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("STATUS")
                .value_parser(|text: &str| text.parse::<CampaignStatus>())
                .help("Print only campaigns with this status"),
        );
    let show = clap::Command::new("show")
        .about(
            "Prints a campaign and then its runs, newest first, as lines of JSON. The first line \
             is what `campaign/get` returns; the other lines are the `runs` that \
             `campaign/rerun/history` returns",
        )
        .arg(account("Account that has the campaign"))
        .arg(campaign());
    let export = clap::Command::new("export")
        .about("Prints the messages of a run as a file, like `campaign/messages/export`")
        .arg(account("Account that has the campaign"))
        .arg(
            Arg::new("run")
                .long("run")
                .value_name("NUMBER")
                .value_parser(value_parser!(i64))
                .help("Run of the campaign [default: the current one]"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["csv", "jsonl"]))
                .default_value("csv")
                .help("Format of the file"),
        )
        .arg(
            Arg::new("spreadsheet")
                .long("spreadsheet")
                .action(ArgAction::SetTrue)
                .help("Make a CSV file that a spreadsheet opens without computing its values"),
        )
        .arg(campaign());
    let delete = clap::Command::new("delete")
        .about(
            "Deletes a campaign with all its runs and messages. This cannot be undone. The audit \
             log keeps its entries and records which user deleted the campaign",
        )
        .arg(account("Account that has the campaign"))
        .args(user())
        .arg(campaign());
    [list, show, export, delete]
        .into_iter()
        .fold(family, |family, command| {
            family.subcommand(with_settings(command))
        })
}

pub(in crate::cli) fn run(
    layers: &Layers,
    command: &str,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    let store = open_migrated(layers, Settings::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(done(&store.engine, command, matches));
    runtime.shutdown_background();
    match done {
        // Nobody reads on, as in `| head`.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

async fn done(engine: &Engine, command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let missing = || ConfigError::new("a required argument is missing");
    let account = *matches.get_one("account").ok_or_else(missing)?;
    let system = Actor::system(account);
    if command == "list" {
        return list(engine, &system, matches.get_one("status").copied()).await;
    }
    let campaign = *matches.get_one("campaign").ok_or_else(missing)?;
    match command {
        "show" => show(engine, &system, campaign).await,
        "export" => {
            let format: &String = matches.get_one("format").ok_or_else(missing)?;
            let spreadsheet = matches.get_flag("spreadsheet").then_some(true);
            let format = Format::of(format, spreadsheet).map_err(Error::from)?;
            let run = matches.get_one("run").copied();
            export(engine, &system, campaign, run, format).await
        }
        _ => {
            let person = local_person(matches, "campaign-delete").ok_or_else(missing)?;
            let deleted = engine.campaigns.delete(&person, campaign, None).await?;
            print(&json!({ "campaign_id": campaign, "deleted_messages": deleted.outcome }))
        }
    }
}

async fn list(
    engine: &Engine,
    actor: &Actor,
    status: Option<CampaignStatus>,
) -> Result<(), Failure> {
    let mut page = PageQuery::default();
    loop {
        let found = engine.campaigns.list(actor, status, &page).await?;
        for campaign in &found.items {
            print(&CampaignItem::from(campaign))?;
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}

async fn show(engine: &Engine, actor: &Actor, id: CampaignId) -> Result<(), Failure> {
    let campaign = engine.campaigns.get(actor, id).await?;
    print(&CampaignItem::from(&campaign))?;
    let mut page = PageQuery::default();
    loop {
        let list = engine.history.runs(actor, id, &page).await?;
        for run in &list.runs.items {
            print(&RunItem::new(list.current_run, run))?;
        }
        page.cursor = list.runs.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}

async fn export(
    engine: &Engine,
    actor: &Actor,
    id: CampaignId,
    run: Option<i64>,
    format: Format,
) -> Result<(), Failure> {
    let campaign = engine.campaigns.get(actor, id).await?;
    let run = match run {
        Some(number) => RunNumber::new(number),
        None => campaign.current_run,
    };
    let selection = MessageSelection::Run(run.ok_or(Error::RunNotFound)?);
    let mut file = MessagesFile::new(&campaign.segment_by, format);
    let mut page = PageQuery {
        limit: Some(PAGE),
        cursor: None,
    };
    let mut out = io::stdout().lock();
    loop {
        let found = engine.history.messages(actor, id, selection, &page).await?;
        out.write_all(&file.rows(&found)?)?;
        page.cursor = found.messages.next_cursor;
        if page.cursor.is_none() {
            return Ok(out.flush()?);
        }
    }
}
