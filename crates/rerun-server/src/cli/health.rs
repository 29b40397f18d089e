use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Failure, say};
use crate::config::{self, Layers};

/// A server that takes longer is of no use to a caller either.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("{url} answers {status}: {body}")]
    Refused {
        url: String,
        status: u16,
        body: String,
    },
    #[error("{} is not answered: {}", .url, rerun_core::error::chain(.source))]
    Silent { url: String, source: reqwest::Error },
}

pub(super) fn run(layers: &Layers) -> Result<(), Failure> {
    let url = format!(
        "http://{}/health/ready",
        reachable(config::server_address(layers)?)
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, body) = runtime
        .block_on(ask(&url))
        .map_err(|source| NotReady::Silent {
            url: url.clone(),
            source,
        })?;
    if !status.is_success() {
        let status = status.as_u16();
        return Err(NotReady::Refused { url, status, body }.into());
    }
    say(&body);
    Ok(())
}

async fn ask(url: &str) -> Result<(reqwest::StatusCode, String), reqwest::Error> {
    // A proxy from the environment cannot reach this machine.
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let response = http.get(url).send().await?;
    Ok((response.status(), response.text().await?))
}

/// Where this machine reaches a server that listens on `bind`, which may be every address.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, bind.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_at_the_loopback() {
        let at = |bind: &str| reachable(bind.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(at("[::]:80"), "[::1]:80");
        assert_eq!(at("192.0.2.7:1"), "192.0.2.7:1");
    }
}
