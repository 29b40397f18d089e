use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches};
use rerun_core::actor::Actor;
use rerun_core::campaign::Template;
use rerun_core::ids::CustomerGroupId;
use rerun_core::usecases::{NewCampaign, Settings};
use serde_json::json;

use super::super::{Failure, logging, open_migrated, say};
use super::messages::MessageLines;
use super::{account, local_person, user};
use crate::config::{self, ConfigError, Layers, Log, LogFormat};
use rerun_generate::UuidV7;

/// The file name that stands for standard input.
const STANDARD_INPUT: &str = "-";

pub(in crate::cli) fn arguments(command: clap::Command) -> clap::Command {
    let id = |name: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).value_name("UUID").required(true);
        argument.help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).value_name(value);
        argument
            .value_parser(NonEmptyStringValueParser::new())
            .help(help)
    };
    command
        .arg(account("Account that gets the campaign"))
        .args(user())
        .arg(
            id(
                "customer-group",
                "Customer group that the messages were created for",
            )
            .value_parser(|text: &str| CustomerGroupId::parse(text).ok_or("not a UUID")),
        )
        .arg(text("name", "TEXT", "Name of the campaign").required(true))
        .arg(
            text(
                "segment-by",
                "FIELDS",
                "Profile fields to segment by, separated by commas; a name that contains a comma \
                 must be in double quotes",
            )
            .value_parser(list)
            .required(true),
        )
        .arg(
            text(
                "subject-template",
                "TEXT",
                "Subject of the messages that reruns generate; {{ field }} is replaced by the \
                 value of a field",
            )
            .required(true),
        )
        .arg(
            text(
                "body-template",
                "TEXT",
                "Body of the messages that reruns generate; {{ field }} is replaced by the value \
                 of a field",
            )
            .required(true),
        )
        .arg(text("brief", "TEXT", "Instructions for a language model"))
        .arg(
            text(
                "approval-stages",
                "NAMES",
                "Approval stages that messages must pass in reruns, separated by commas [default: \
                 Review]",
            )
            .value_parser(list),
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .help("The messages as JSON Lines, or - for standard input"),
        )
        .after_help(LINES)
}

/// What the lines of the file are, for the end of the help.
const LINES: &str = "Each line of FILE is one published message:\n  \
    {\"attributes\": {\"country\": \"DE\", \"tier\": null}, \"customer_count\": 913, \
    \"subject\": \"…\", \"body\": \"…\"}\n\
    An attribute that is left out is null. If a line breaks a rule, the error names the line and \
    nothing is imported.";

/// The values of a list on the command line: one record of CSV.
fn list(text: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    match (records.next(), records.next()) {
        (Some(Ok(record)), None) => Ok(record.iter().map(str::to_owned).collect()),
        _ => Err("not a list with commas".to_owned()),
    }
}

pub(in crate::cli) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    let max_segments = config::max_segments(layers)?;
    let (Some((caller, new)), Some(path)) = (given(matches), matches.get_one::<String>("file"))
    else {
        return Err(ConfigError::new("a required argument is missing").into());
    };
    let input: Box<dyn BufRead + Send> = if path == STANDARD_INPUT {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })?;
        Box::new(BufReader::new(file))
    };
    let settings = Settings {
        max_segments,
        ..Settings::default()
    };
    let store = open_migrated(layers, settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let imported = runtime.block_on(store.engine.campaigns.import(&caller, new, |segment_by| {
        let ids = Arc::new(UuidV7);
        Box::new(MessageLines::new(input, segment_by, max_segments, ids))
    }));
    runtime.shutdown_background();
    let (campaign, run) = imported?;
    let (id, messages, customers) = (campaign.id, run.segments.total, run.customer_count);
    say(&match log.format {
        LogFormat::Text => format!(
            "Imported the campaign {id}: {messages} published messages for {customers} customers, \
             as run {}.",
            run.number
        ),
        LogFormat::Json => json!({
            "campaign_id": id,
            "run_number": run.number,
            "messages": messages,
            "customer_count": customers,
        })
        .to_string(),
    });
    Ok(())
}

/// What the arguments say; `None` when one that is required is not there.
fn given(matches: &ArgMatches) -> Option<(Actor, NewCampaign)> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let caller = local_person(matches, "campaign-import")?;
    let new = NewCampaign {
        name: text("name")?,
        customer_group_id: Some(*matches.get_one("customer-group")?),
        segment_by: matches
            .get_one::<Vec<String>>("segment-by")?
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        template: Template {
            subject: text("subject-template")?,
            body: text("body-template")?,
        },
        brief: text("brief"),
        approval_stages: matches
            .get_one::<Vec<String>>("approval-stages")
            .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        distinct_reviewers: false,
        suggest_reruns: None,
        // The messages were made for customers whom the group need not have.
        allow_missing_fields: true,
    };
    Some((caller, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_record_of_csv() {
        let found = |text: &str| list(text).unwrap().join("|");
        assert_eq!(found("country"), "country");
        assert_eq!(found("country,first name"), "country|first name");
        assert_eq!(found("\"city, state\",tier"), "city, state|tier");
        assert_eq!(found("a,,b"), "a||b");
        assert!(list("").is_err());
        assert!(list("a\nb").is_err());
    }
}
