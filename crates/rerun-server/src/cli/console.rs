use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::{Arg, ArgMatches, value_parser};
use reqwest::Url;

use super::{Failure, say, token};
use crate::config::{self, Layers};

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    token::arguments(command).arg(
        Arg::new("url")
            .long("url")
            .value_name("URL")
            .value_parser(value_parser!(Url))
            .help("Address at which the browser reaches the server [default: http:// and --bind]"),
    )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    let server = match matches.get_one::<Url>("url") {
        Some(url) => url.as_str().to_owned(),
        None => local(config::server_address(layers)?),
    };
    say(&link(&server, &token::made(layers, matches)?));
    Ok(())
}

/// The address of a server on this machine. One that listens everywhere is reached by loopback.
fn local(bind: SocketAddr) -> String {
    let ip = match bind.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, bind.port()))
}

/// A link that signs in to the console. The token is in the fragment, which a browser sends to
/// nobody, so that no log has it.
pub(super) fn link(server: &str, token: &str) -> String {
    let server = server.trim_end_matches('/');
    format!("{server}/console/#token={token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_server_that_a_browser_reaches() {
        for (bind, server) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8080", "http://[::1]:8080"),
            ("192.0.2.1:8080", "http://192.0.2.1:8080"),
        ] {
            assert_eq!(local(bind.parse().unwrap()), server);
        }
        for server in ["https://rerun.example/", "https://rerun.example"] {
            let link = link(server, "a.b.c");
            assert_eq!(link, "https://rerun.example/console/#token=a.b.c");
        }
    }
}
