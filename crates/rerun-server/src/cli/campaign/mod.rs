//! Campaigns on the command line.

pub(super) mod import;
pub(super) mod manage;
mod messages;

use std::net::{IpAddr, Ipv4Addr};

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches};
use rerun_core::actor::{Actor, Person};
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::IdGenerator;
use rerun_generate::UuidV7;

pub(super) fn account(help: &'static str) -> Arg {
    Arg::new("account")
        .long("account")
        .value_name("UUID")
        .required(true)
        .value_parser(|text: &str| AccountId::parse(text).ok_or("not a UUID"))
        .help(help)
}

/// Who changes something, for the audit log.
pub(super) fn user() -> [Arg; 2] {
    [
        Arg::new("user")
            .long("user")
            .value_name("UUID")
            .required(true)
            .value_parser(|text: &str| UserId::parse(text).ok_or("not a UUID"))
            .help("User that the audit log records"),
        Arg::new("role")
            .long("role")
            .value_name("CODE")
            .value_parser(NonEmptyStringValueParser::new())
            .help("Role of the user")
            .default_value("ADMIN"),
    ]
}

/// The person whom the arguments of [`account`] and [`user`] name; `None` when one is not there.
pub(super) fn local_person(matches: &ArgMatches, command: &str) -> Option<Actor> {
    let mut person = Person::new(
        *matches.get_one("user")?,
        matches.get_one::<String>("role")?.clone(),
    );
    // Whoever runs a command is on this machine.
    person.ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let caller = Actor::person(*matches.get_one("account")?, person);
    Some(caller.in_request(format!("{command}-{}", UuidV7.next())))
}
