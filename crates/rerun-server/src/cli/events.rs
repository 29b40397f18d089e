use std::io::{self, Write};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rerun_core::actor::Actor;
use rerun_core::feed::PublicEvent;
use rerun_core::ids::AccountId;
use rerun_core::usecases::{EventQuery, Events, Settings};

use super::{Failure, logging, open_migrated};
use crate::config::{Layers, Log};

/// How long after it has written the newest event the command looks for the next one.
const INTERVAL: Duration = Duration::from_millis(500);

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("account")
                .long("account")
                .value_name("UUID")
                .required(true)
                .value_parser(|text: &str| AccountId::parse(text).ok_or("not a UUID"))
                .help("Account whose events to print"),
        )
        .arg(
            Arg::new("after")
                .long("after")
                .value_name("SEQUENCE")
                .default_value("0")
                .value_parser(value_parser!(i64).range(0..))
                .help("Print the events after this sequence number"),
        )
        .arg(
            Arg::new("exit")
                .long("exit")
                .action(ArgAction::SetTrue)
                .help("Exit after the newest event instead of waiting for the next one"),
        )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    let store = open_migrated(layers, Settings::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Some(account) = matches.get_one("account").copied() else {
        // The command line refuses to go without.
        return Ok(());
    };
    let after = matches.get_one("after").copied().unwrap_or_default();
    let exit = matches.get_flag("exit");
    let done = runtime.block_on(tail(&store.engine.events, account, after, exit));
    runtime.shutdown_background();
    done
}

async fn tail(
    events: &Events,
    account: AccountId,
    after_sequence: i64,
    exit: bool,
) -> Result<(), Failure> {
    let mut query = EventQuery {
        after_sequence,
        ..EventQuery::default()
    };
    loop {
        let page = events.list(&Actor::system(account), &query).await?;
        match write(&page.events) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        query.after_sequence = page.next_sequence;
        if page.next_sequence < page.head_sequence {
            continue;
        }
        if exit {
            return Ok(());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Writes each event as a line of JSON.
fn write(events: &[PublicEvent]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        serde_json::to_writer(&mut out, event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
