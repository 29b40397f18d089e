//! Schedules on the command line.

use std::sync::Arc;

use clap::{Arg, ArgMatches, value_parser};
use rerun_calendar::IanaCalendar;
use rerun_core::actor::Actor;
use rerun_core::ids::ScheduleId;
use rerun_core::ports::Clock;
use rerun_core::usecases::{Engine, PageQuery, Schedules, Settings};
use rerun_core::{Timestamp, timestamp};
use rerun_generate::SystemClock;
use rerun_wire::api::schedule::items::{FiringItem, ScheduleItem};
use rerun_wire::api::schedule::preview::PatternTime;

use super::campaign::{account, local_person, user};
use super::{Failure, logging, open_migrated_around, print};
use crate::config::{self, ConfigError, Layers, Log};
use crate::store::Services;

/// Adds the commands that look at schedules, pause, resume and trigger them, and preview patterns.
pub(super) fn add_to(
    family: clap::Command,
    with_settings: impl Fn(clap::Command) -> clap::Command,
) -> clap::Command {
    let schedule = || {
        Arg::new("schedule")
            .value_name("SCHEDULE")
            .required(true)
            .value_parser(|text: &str| ScheduleId::parse(text).ok_or("not a UUID"))
            .help("Id of the schedule")
    };
    let owner = || account("Account that has the schedule");
    let list = clap::Command::new("list")
        .about("Prints an account's schedules, newest first, as lines of JSON")
        .arg(account("Account whose schedules to print"));
    let pause = clap::Command::new("pause")
        .about("Pauses a schedule. Times that pass during the pause never fire")
        .arg(owner())
        .args(user())
        .arg(
            Arg::new("note")
                .long("note")
                .value_name("TEXT")
                .help("Reason for the pause, shown with the schedule"),
        )
        .arg(schedule());
    let resume = clap::Command::new("resume")
        .about("Resumes a paused schedule, which then fires from its next time on")
        .arg(owner())
        .args(user())
        .arg(schedule());
    let trigger = clap::Command::new("trigger")
        .about("Fires a schedule now, as if one of its times had come, and prints the firing")
        .arg(owner())
        .args(user())
        .arg(schedule());
    [list, pause, resume, trigger, preview_command()]
        .into_iter()
        .fold(family, |family, command| {
            family.subcommand(with_settings(command))
        })
}

fn preview_command() -> clap::Command {
    clap::Command::new("preview")
        .about("Prints the next times of a cron pattern as lines of JSON; needs no database")
        .arg(
            Arg::new("time_zone")
                .long("time-zone")
                .value_name("ZONE")
                .default_value("UTC")
                .help("IANA time zone of the pattern"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("TIME")
                .value_parser(|text: &str| timestamp::parse(text))
                .help("Print times after this one (RFC 3339 with an offset) [default: now]"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("NUMBER")
                .value_parser(value_parser!(i64))
                .default_value("5")
                .help("Maximum number of times to print, up to 100"),
        )
        .arg(
            Arg::new("cron")
                .value_name("PATTERN")
                .required(true)
                .help("Pattern of five fields, such as \"0 9 * * MON\""),
        )
}

pub(super) fn run(layers: &Layers, command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    if command == "preview" {
        return preview(matches);
    }
    let services = Services {
        permissions: Arc::new(config::roles(layers)?),
        ..Services::default()
    };
    let store = open_migrated_around(layers, &services, Settings::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(done(&store.engine, command, matches));
    runtime.shutdown_background();
    done
}

fn missing() -> ConfigError {
    ConfigError::new("a required argument is missing")
}

fn preview(matches: &ArgMatches) -> Result<(), Failure> {
    let cron = matches.get_one::<String>("cron").ok_or_else(missing)?;
    let zone = matches.get_one::<String>("time_zone").map(String::as_str);
    let from = matches.get_one::<Timestamp>("from").copied();
    let from = from.unwrap_or_else(|| SystemClock.now());
    let limit = matches.get_one::<i64>("limit").copied();
    for time in Schedules::times_of(&IanaCalendar, cron, zone, from, limit)? {
        print(&PatternTime::from(&time))?;
    }
    Ok(())
}

async fn done(engine: &Engine, command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let schedules = &engine.schedules;
    if command == "list" {
        let account = *matches.get_one("account").ok_or_else(missing)?;
        return list(schedules, &Actor::system(account)).await;
    }
    let id = *matches.get_one("schedule").ok_or_else(missing)?;
    let person = local_person(matches, &format!("schedule-{command}")).ok_or_else(missing)?;
    let changed = match command {
        "trigger" => {
            let decided = schedules.trigger(&person, id, None).await?.outcome;
            return print(&FiringItem::from(&decided.firing));
        }
        "resume" => schedules.resume(&person, id, None).await?,
        _ => {
            let note = matches.get_one::<String>("note").map(String::as_str);
            schedules.pause(&person, id, note, None).await?
        }
    };
    print(&ScheduleItem::from(&changed.outcome))
}

async fn list(schedules: &Schedules, actor: &Actor) -> Result<(), Failure> {
    let mut page = PageQuery::default();
    loop {
        let found = schedules.list(actor, &page).await?;
        for details in &found.items {
            print(&ScheduleItem::from(details))?;
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}
