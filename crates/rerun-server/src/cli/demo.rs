use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rerun_core::actor::UserName;
use rerun_core::generation::GenerationPolicy;
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::{Clock, IdGenerator};
use rerun_core::usecases::Settings;
use rerun_deliver::{AllowedNetworks, TargetRules};
use serde_json::json;

use super::serve::Server;
use super::{Failure, console, logging, say, token};
use crate::config::{
    Connections, Database, DatabaseUrl, Generating, Generator, Keys, Layers, Log, Scheduling,
    Serve, Signing, Tokens, Webhooks,
};
use crate::demo::{Client, Told, tell};
use crate::system::random_secret;
use rerun_auth::{Identity, RoleRules, TokenRules, TrustedProxies};
use rerun_generate::{SystemClock, UuidV7};
use rerun_http::{Intake, Limits, RateLimit};

/// How long the token of the demo is good for, in seconds: a day.
const TTL: i64 = 24 * 60 * 60;

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("exit")
                .long("exit")
                .action(ArgAction::SetTrue)
                .help("Exit when the demo is finished, instead of keeping the server running"),
        )
        .arg(
            Arg::new("bind")
                .long("bind")
                .value_name("ADDRESS")
                .value_parser(value_parser!(SocketAddr))
                .help("Address and port to listen on [default: a free port of 127.0.0.1]"),
        )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let log = Log::read(layers)?;
    logging::start(&log, &log.filter_or("warn"));
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bind = matches
        .get_one::<SocketAddr>("bind")
        .copied()
        .unwrap_or(free);
    let folder = tempfile::Builder::new().prefix("rerun-demo-").tempdir()?;
    let signing = Signing {
        secret: random_secret(),
        rules: TokenRules::default(),
    };
    let config = config(bind, folder.path(), &signing);
    actix_web::rt::System::new().block_on(async {
        let server = Server::start(&config)?;
        let identity = Identity {
            account_id: AccountId::new(UuidV7.next()),
            user_id: UserId::new(UuidV7.next()),
            user_name: UserName::new("Demo Reviewer").ok(),
            role_code: "ADMIN".to_owned(),
        };
        let token = token::signed(&signing, &identity, SystemClock.now(), TTL)?;
        let client = Client::new(server.address(), &token, &config.api_code)?;
        say(&format!(
            "A server is running at http://{}, on a temporary SQLite file. Everything below is \
             done by requests to it.",
            server.address()
        ));
        let told = tell(&client, &say).await;
        match told {
            Ok(told) if !matches.get_flag("exit") => {
                invite(&client, &told, &token, folder.path())?;
                let base = format!("http://{}", server.address());
                say(&format!(
                    "\n# The console: open this link in a browser, it signs you in\n{}",
                    console::link(&base, &token)
                ));
                server.until_ended().await
            }
            told => {
                drop(client);
                let stopped = server.stop(Duration::ZERO).await;
                told?;
                stopped
            }
        }
    })
}

/// A server as `serve` runs it with its defaults, but on a throw-away file and with secrets that
/// nobody else has.
fn config(bind: SocketAddr, folder: &Path, signing: &Signing) -> Serve {
    let url = format!("sqlite://{}", folder.join("rerun.db").display());
    Serve {
        scheduling: Scheduling {
            fires: true,
            most: Settings::default().schedules_per_account,
        },
        bind,
        database: Database::new(DatabaseUrl::Sqlite(url), 4),
        auto_migrate: true,
        tokens: Tokens {
            keys: Keys::Secrets {
                current: signing.secret.clone(),
                previous: None,
            },
            rules: signing.rules.clone(),
        },
        api_code: random_secret(),
        api_code_previous: None,
        roles: RoleRules::default(),
        console: true,
        trusted_proxies: TrustedProxies::default(),
        openid: None,
        limits: Limits::default(),
        max_inflight_body_bytes: Intake::DEFAULT_BYTES,
        rate_limit: RateLimit::OFF,
        connections: Connections::default(),
        max_segments: Settings::default().max_segments,
        webhooks_per_account: Settings::default().webhooks,
        four_eyes: Settings::default().four_eyes,
        // A receiver that somebody starts beside the demo.
        webhooks: Webhooks {
            secret: Some(random_secret()),
            rules: TargetRules {
                allow_http: true,
                allow_networks: AllowedNetworks::loopback(),
            },
            ..Webhooks::default()
        },
        nats: None,
        generating: Generating {
            generator: Generator::Template,
            workers: 4,
            policy: GenerationPolicy::default(),
        },
        drain: Duration::ZERO,
        grace: Duration::from_secs(5),
    }
}

/// Prints what somebody needs to go on from the end of the story.
fn invite(client: &Client, told: &Told, token: &str, folder: &Path) -> std::io::Result<()> {
    let headers = folder.join("headers");
    std::fs::write(&headers, client.header_lines())?;
    let (base, headers) = (client.base(), headers.display());
    let curl = |path: &str, body: &serde_json::Value| {
        format!("curl -sS -H @{headers} {base}/{path} -d '{body}'")
    };
    let this = json!({ "campaign_id": told.campaign_id });
    let archived = json!({ "campaign_id": told.campaign_id, "run_number": 1, "limit": 3 });
    let back = json!({
        "campaign_id": told.campaign_id,
        "new_customer_group_id": told.first_group_id,
        "reuse_from": "any_run",
    });
    say(&format!(
        "\nTry it yourself. The server runs until Ctrl-C. The file after @ contains the headers.\n\n\
         # The history\n{}\n\n\
         # Three archived messages of run 1\n{}\n\n\
         # Another rerun, with the group of 2025: every segment reuses a message, nothing is generated\n{}\n\n\
         # The token, valid for a day\n{token}",
        curl("campaign/rerun/history", &this),
        curl("campaign/rerun/messages", &archived),
        curl("campaign/rerun/initiate", &back),
    ));
    Ok(())
}
