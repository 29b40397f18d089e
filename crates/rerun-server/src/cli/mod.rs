//! The command line.

mod audit;
mod background;
mod campaign;
mod console;
mod demo;
mod dispatch;
mod events;
mod health;
mod logging;
mod migrate;
mod probes;
mod schedule;
mod serve;
mod token;
mod webhook;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, value_parser};
use rerun_core::usecases::Settings;
use serde::Serialize;

use crate::config::{
    self, ALL, CONFIG_VARIABLE, Command, ConfigError, Database, DatabaseUrl, Declared, Given,
    Layers, Sensitivity,
};
use crate::store::{self, Services, StorePorts};
use rerun_generate::Secrets;

/// The exit code for a wrong command line or wrong settings, which no retry will cure.
const WRONG_USAGE: u8 = 2;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Token(#[from] token::TokenError),
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    #[error(transparent)]
    Generator(#[from] rerun_generate::openai::SetupError),
    #[error(transparent)]
    Webhooks(#[from] rerun_deliver::SetupError),
    #[error(transparent)]
    OpenId(#[from] crate::openid::SetupError),
    #[error(transparent)]
    Traces(#[from] crate::traces::SetupError),
    #[error("{}", rerun_core::error::chain(.0))]
    Domain(#[from] rerun_core::error::Error),
    #[error(
        "the schema of the database lacks migrations of this version; `rerun-http migrate` \
         applies them"
    )]
    Schema,
    #[error("{path} cannot be read: {source}")]
    File { path: String, source: io::Error },
    #[error("{broken} of {all} audit logs {} not whole", if *.broken == 1 { "is" } else { "are" })]
    AuditLogs { broken: usize, all: usize },
    #[error(transparent)]
    NotReady(#[from] health::NotReady),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    #[error("stopped by a second signal, {0}, before everything was finished")]
    BrokenOff(&'static str),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(WRONG_USAGE),
            Self::Store(_)
            | Self::Bind { .. }
            | Self::Token(_)
            | Self::Demo(_)
            | Self::Generator(_)
            | Self::Webhooks(_)
            | Self::OpenId(_)
            | Self::Traces(_)
            | Self::Domain(_)
            | Self::Schema
            | Self::File { .. }
            | Self::AuditLogs { .. }
            | Self::NotReady(_)
            | Self::Io(_)
            | Self::Ended(_)
            | Self::BrokenOff(_) => ExitCode::FAILURE,
        }
    }
}

/// Runs the command that the arguments name, with the program's name first; answers the exit
/// code: 0 for success, 1 for a failure, 2 for a command line or settings that are wrong.
#[must_use]
pub fn run(arguments: &[OsString], environment: Vec<(OsString, OsString)>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refuse(&error, arguments, environment),
    };
    let Some((command, under, matches)) = named(&matches) else {
        return ExitCode::from(WRONG_USAGE);
    };
    let given = Given {
        flags: flags(command, matches),
        environment,
        config: matches.get_one::<PathBuf>("config").cloned(),
    };
    let format = Layers::log_format(&given);
    let layers = Layers::read(command, given);
    let secrets = layers.as_ref().map(Layers::secrets).unwrap_or_default();
    let done = layers
        .map_err(Failure::from)
        .and_then(|layers| match command {
            Command::Serve => serve::run(&layers),
            Command::Worker => worker::run(&layers),
            Command::Dispatch => dispatch::run(&layers),
            Command::Demo => demo::run(&layers, matches),
            Command::Migrate => migrate::run(&layers, matches),
            Command::Token => token::run(&layers, matches),
            Command::Console => console::run(&layers, matches),
            Command::AuditVerify => audit::run(&layers, matches),
            Command::EventsTail => events::run(&layers, matches),
            Command::CampaignImport => campaign::import::run(&layers, matches),
            Command::Campaigns => campaign::manage::run(&layers, under, matches),
            Command::Webhooks => webhook::run(&layers, under, matches),
            Command::Schedules => schedule::run(&layers, under, matches),
            Command::Health => health::run(&layers),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logging::report(format, &secrets, &failure.to_string());
            failure.exit_code()
        }
    }
}

/// The command that was named, the name of the last command on the line, and its own arguments.
fn named(matches: &ArgMatches) -> Option<(Command, &str, &ArgMatches)> {
    let (name, inner) = matches.subcommand()?;
    let (under, inner) = inner.subcommand().unwrap_or((name, inner));
    let command = match (name, under) {
        ("serve", _) => Command::Serve,
        ("worker", _) => Command::Worker,
        ("dispatch", _) => Command::Dispatch,
        ("demo", _) => Command::Demo,
        ("migrate", _) => Command::Migrate,
        ("token", _) => Command::Token,
        ("console", _) => Command::Console,
        ("health", _) => Command::Health,
        ("audit", _) => Command::AuditVerify,
        ("events", _) => Command::EventsTail,
        ("webhook", _) => Command::Webhooks,
        ("schedule", _) => Command::Schedules,
        (_, "import") => Command::CampaignImport,
        _ => Command::Campaigns,
    };
    Some((command, under, inner))
}

/// Answers a command line that names no command to run: help, the version, or a mistake.
fn refuse(
    error: &clap::Error,
    arguments: &[OsString],
    environment: Vec<(OsString, OsString)>,
) -> ExitCode {
    let wanted = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let format = Layers::log_format(&Given {
        flags: format_flag(arguments)
            .map(|text| ("log_format".to_owned(), text))
            .into_iter()
            .collect(),
        environment,
        config: None,
    });
    if wanted || format == config::LogFormat::Text {
        // Nobody is left to tell when this fails.
        let _unwritten = error.print();
    } else {
        logging::report(format, &Secrets::default(), error.to_string().trim());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE))
}

/// The value of `--log-format` on a command line that could not be read.
fn format_flag(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--log-format" {
            return arguments.next().map(std::borrow::Cow::into_owned);
        }
        if let Some(value) = argument.strip_prefix("--log-format=") {
            return Some(value.to_owned());
        }
    }
    None
}

/// Writes to standard output at once. The line is lost when nobody reads it, as in `| head`.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _unread = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line of JSON.
fn print(item: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, item).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Refuses a schema that lacks a migration of this version, or has one that it does not know.
fn refuse_pending(url: &DatabaseUrl) -> Result<(), Failure> {
    if store::migrations(url)?.iter().all(|known| known.applied) {
        Ok(())
    } else {
        Err(Failure::Schema)
    }
}

/// Opens the database for a command that comes and goes, which leaves the schema alone.
fn open_migrated(layers: &Layers, settings: Settings) -> Result<StorePorts, Failure> {
    open_migrated_around(layers, &Services::default(), settings)
}

/// The same with these surroundings.
fn open_migrated_around(
    layers: &Layers,
    services: &Services,
    settings: Settings,
) -> Result<StorePorts, Failure> {
    let database = Database::of_command(layers)?;
    refuse_pending(&database.url)?;
    Ok(StorePorts::open(&database, services, settings)?)
}

fn command() -> clap::Command {
    clap::Command::new("rerun-http")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Campaign reruns: reuse what was approved, generate and review only what is new")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(100)
        .subcommand(with_settings(
            clap::Command::new("serve").about(
                "Runs the server, including the generation worker and the dispatcher of events",
            ),
            Command::Serve,
        ))
        .subcommand(with_settings(
            clap::Command::new("worker").about("Runs only the generation worker"),
            Command::Worker,
        ))
        .subcommand(with_settings(
            clap::Command::new("dispatch")
                .about("Runs only the dispatcher, which delivers events to webhooks and to NATS"),
            Command::Dispatch,
        ))
        .subcommand(with_settings(
            demo::arguments(clap::Command::new("demo").about(
                "Runs a whole campaign and its rerun on a temporary SQLite file, then keeps the \
                 server running",
            )),
            Command::Demo,
        ))
        .subcommand(with_settings(
            migrate::arguments(
                clap::Command::new("migrate").about("Applies pending schema migrations"),
            ),
            Command::Migrate,
        ))
        .subcommand(with_settings(
            token::arguments(
                clap::Command::new("token").about(
                    "Prints a token for development, signed with the configured HS256 secret",
                ),
            ),
            Command::Token,
        ))
        .subcommand(with_settings(
            console::arguments(clap::Command::new("console").about(
                "Prints a link that signs the user in to the console, with a token like the one \
                 that `token` prints",
            )),
            Command::Console,
        ))
        .subcommand(with_settings(
            clap::Command::new("health").about(
                "Checks whether the server on this machine is ready. Exits with 1 if it is not",
            ),
            Command::Health,
        ))
        .subcommand(
            family("audit", "Checks the audit log").subcommand(with_settings(
                audit::arguments(clap::Command::new("verify").about(
                    "Checks that nothing in the audit log of any account was changed, added, \
                     removed or moved after it was written. Exits with 1 if something was",
                )),
                Command::AuditVerify,
            )),
        )
        .subcommand(
            family("events", "Prints the events of an account").subcommand(with_settings(
                events::arguments(clap::Command::new("tail").about(
                    "Prints an account's events as lines of JSON, and waits for the next ones",
                )),
                Command::EventsTail,
            )),
        )
        .subcommand(webhook::add_to(
            family(
                "webhook",
                "Lists webhooks, sends events again, and disables webhooks",
            ),
            |command| with_settings(command, Command::Webhooks),
        ))
        .subcommand(schedule::add_to(
            family("schedule", "Lists, pauses, resumes and triggers schedules"),
            |command| with_settings(command, Command::Schedules),
        ))
        .subcommand(campaign::manage::add_to(
            family(
                "campaign",
                "Lists, shows, exports, deletes and imports campaigns",
            )
            .subcommand(with_settings(
                campaign::import::arguments(clap::Command::new("import").about(
                    "Imports a campaign with its published messages, which become the messages of \
                     run 1",
                )),
                Command::CampaignImport,
            )),
            |command| with_settings(command, Command::Campaigns),
        ))
}

/// A command that only has others under it.
fn family(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
}

fn with_settings(command: clap::Command, of: Command) -> clap::Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(format!("TOML file with settings [env: {CONFIG_VARIABLE}]"));
    let mut command = command.arg(config.help_heading("Settings"));
    let secret = |setting: &Declared| {
        setting.sensitivity == Sensitivity::Secret && setting.used_by.contains(&of)
    };
    let names = ALL.iter().filter(|setting| secret(setting));
    let width = names.map(|setting| setting.variable().len()).max();
    let width = width.unwrap_or_default() + 2;
    let mut secrets = String::new();
    for setting in ALL {
        if setting.is_flag_of(of) {
            command = command.arg(flag(setting));
        } else if secret(setting) {
            command = command.arg(secret_file_flag(setting));
            let (variable, help) = (setting.variable(), setting.sentence());
            secrets = format!("{secrets}\n  {variable:<width$}{help}");
        }
    }
    let order = "Flags take precedence over the environment, then the TOML file, then defaults.\n\
                 In the file a setting has its flag's name with _ instead of -.";
    let own = command.get_after_help().map(ToString::to_string);
    let secrets = (!secrets.is_empty()).then(|| {
        format!("Secrets, from the environment, the TOML file or a file of their own:{secrets}")
    });
    let parts: Vec<String> = own
        .into_iter()
        .chain(secrets)
        .chain([order.to_owned()])
        .collect();
    command.after_help(parts.join("\n\n"))
}

fn flag(setting: &Declared) -> Arg {
    let (help, variable) = (setting.sentence(), setting.variable());
    let help = match setting.default {
        Some(default) => format!("{help} [default: {default}] [env: {variable}]"),
        None => format!("{help} [env: {variable}]"),
    };
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value)
        .help(help)
        .allow_negative_numbers(true)
        .help_heading("Settings")
}

fn secret_file_flag(setting: &Declared) -> Arg {
    Arg::new(format!("{}_file", setting.name))
        .long(format!("{}-file", setting.flag()))
        .value_name("FILE")
        .help(format!(
            "File that contains {0} [env: {0}_FILE]",
            setting.variable()
        ))
        .help_heading("Settings")
}

/// The settings that were given as flags.
fn flags(command: Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let plain = ALL.iter().filter(|setting| setting.is_flag_of(command));
    let secret = ALL.iter().filter(|setting| {
        setting.sensitivity == Sensitivity::Secret && setting.used_by.contains(&command)
    });
    plain
        .map(|setting| setting.name.to_owned())
        .chain(secret.map(|setting| format!("{}_file", setting.name)))
        .filter_map(|name| {
            matches
                .get_one::<String>(&name)
                .map(|text| (name.clone(), text.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_named() {
        let found = |line: &str| {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            named(&matches).unwrap().0
        };
        let account = "--account 0193ed20-7b3c-7000-8000-00000000000a";
        assert_eq!(found("x serve"), Command::Serve);
        assert_eq!(found("x worker"), Command::Worker);
        assert_eq!(found("x dispatch"), Command::Dispatch);
        assert_eq!(found("x demo --exit"), Command::Demo);
        assert_eq!(found("x migrate --status"), Command::Migrate);
        assert_eq!(found("x token"), Command::Token);
        assert_eq!(found("x console"), Command::Console);
        assert_eq!(found("x health"), Command::Health);
        assert_eq!(found("x audit verify"), Command::AuditVerify);
        let id = "0193ed20-7b3c-7000-8000-00000000000a";
        let import = format!(
            "x campaign import --account {id} --user {id} --customer-group {id} --name n \
             --segment-by f --subject-template s --body-template b FILE"
        );
        assert_eq!(found(&import), Command::CampaignImport);
        let tail = format!("x events tail --account {id} --after 7");
        assert_eq!(found(&tail), Command::EventsTail);
        for line in [
            "list",
            "show ID",
            "export ID --run 2",
            "delete ID --user ID",
        ] {
            let line = format!("x campaign {} {account}", line.replace("ID", id));
            assert_eq!(found(&line), Command::Campaigns);
        }
        for line in [
            "list",
            "pause ID --user ID --note n",
            "resume ID --user ID",
            "trigger ID --user ID",
        ] {
            let line = format!("x schedule {} {account}", line.replace("ID", id));
            assert_eq!(found(&line), Command::Schedules);
        }
        assert_eq!(
            found("x schedule preview @daily --limit 2"),
            Command::Schedules
        );
        let bad_number = format!("{tail}x");
        let incomplete = [
            "x audit",
            "x campaign",
            "x campaign import FILE",
            "x campaign list",
            "x events tail",
            "x schedule list",
            "x schedule preview",
        ];
        for incomplete in incomplete.into_iter().chain([&*bad_number]) {
            let refused = command().try_get_matches_from(incomplete.split(' '));
            assert!(refused.is_err(), "{incomplete}");
        }
    }

    #[test]
    fn help_documents_every_setting_of_the_command() {
        for of in [
            Command::Serve,
            Command::Worker,
            Command::Dispatch,
            Command::Migrate,
            Command::Token,
            Command::Console,
            Command::AuditVerify,
            Command::CampaignImport,
            Command::Campaigns,
            Command::EventsTail,
            Command::Webhooks,
            Command::Schedules,
            Command::Health,
        ] {
            let mut whole = with_settings(clap::Command::new("x"), of);
            let help = whole.render_help().to_string();
            for setting in ALL.iter().filter(|setting| setting.used_by.contains(&of)) {
                assert!(help.contains(&setting.variable()), "{}", setting.name);
                let is_flag = help.contains(&format!("--{} <", setting.flag()));
                assert_eq!(
                    is_flag,
                    setting.sensitivity != Sensitivity::Secret,
                    "{}",
                    setting.name
                );
                if let Some(default) = setting.default {
                    assert!(
                        help.contains(&format!("[default: {default}]")),
                        "{}",
                        setting.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_log_format_is_found_on_a_broken_command_line() {
        let found = |arguments: &[&str]| {
            format_flag(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(
            found(&["x", "serve", "--log-format", "json", "--nope"]).as_deref(),
            Some("json")
        );
        assert_eq!(
            found(&["x", "--nope", "--log-format=json"]).as_deref(),
            Some("json")
        );
        assert_eq!(found(&["x", "serve", "--log-format"]), None);
    }
}
