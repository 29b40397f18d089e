use clap::{Arg, ArgMatches};
use rerun_core::audit::ChainHead;
use rerun_core::error::{Error, StoreError};
use rerun_core::ids::AccountId;
use rerun_core::usecases::{AuditLog, Settings};
use serde_json::json;

use super::{Failure, logging, open_migrated, say};
use crate::config::{Layers, Log, LogFormat};

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("account")
                .long("account")
                .value_name("UUID")
                .value_parser(|text: &str| AccountId::parse(text).ok_or("not a UUID"))
                .help("Check only the log of this account [default: the logs of all accounts]"),
        )
        .arg(
            Arg::new("expect")
                .long("expect")
                .value_name("SEQUENCE:HASH")
                .value_parser(|text: &str| {
                    ChainHead::parse(text).ok_or("not of the form SEQUENCE:HASH")
                })
                .requires("account")
                .help("Head that an earlier check printed; the log must still contain this entry"),
        )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter());
    // An empty database would pass for one in which nothing has happened yet.
    let store = open_migrated(layers, Settings::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(verify_all(
        &store.engine.audit,
        matches.get_one("account").copied(),
        matches.get_one("expect").copied(),
        log.format,
    ));
    runtime.shutdown_background();
    done
}

async fn verify_all(
    audit: &AuditLog,
    one: Option<AccountId>,
    expected: Option<ChainHead>,
    format: LogFormat,
) -> Result<(), Failure> {
    let accounts = match one {
        Some(account) => vec![account],
        None => audit.accounts().await.map_err(Error::Store)?,
    };
    if accounts.is_empty() && format == LogFormat::Text {
        say("No account has an audit log yet.");
    }
    let mut broken = 0;
    for account in &accounts {
        let found = verify(audit, *account, expected).await?;
        broken += usize::from(found.is_err());
        say(&match (format, found) {
            (LogFormat::Text, Ok(head)) => {
                format!("{account}  whole   {} entries  head {head}", head.seq)
            }
            (LogFormat::Text, Err(what)) => format!("{account}  BROKEN  {what}"),
            (LogFormat::Json, Ok(head)) => json!({
                "account_id": account,
                "whole": true,
                "entries": head.seq,
                "head": head.to_string(),
            })
            .to_string(),
            (LogFormat::Json, Err(what)) => {
                json!({ "account_id": account, "whole": false, "broken": what }).to_string()
            }
        });
    }
    if broken == 0 {
        Ok(())
    } else {
        let all = accounts.len();
        Err(Failure::AuditLogs { broken, all })
    }
}

/// The newest entry of the account's log, or what is wrong with the log.
async fn verify(
    audit: &AuditLog,
    account: AccountId,
    expected: Option<ChainHead>,
) -> Result<Result<ChainHead, String>, Error> {
    match audit.verify_with(account, expected).await {
        // An account that does anything has an entry of it.
        Ok(Ok(ChainHead::EMPTY)) => Ok(Err(
            "there are no entries: nothing was ever written, or everything was deleted".to_owned(),
        )),
        Ok(Ok(head)) => Ok(Ok(head)),
        Ok(Err(broken)) => Ok(Err(broken.to_string())),
        // A value that this program never writes.
        Err(StoreError::Corrupt(what)) => Ok(Err(format!("an entry cannot be read: {what}"))),
        Err(
            error @ (StoreError::Conflict | StoreError::Unavailable(_) | StoreError::Backend(_)),
        ) => Err(error.into()),
    }
}
