//! Where webhooks may point: URLs, and the addresses that their names have.
//!
//! A name is resolved only here. The sender connects to one of the addresses that were checked, so
//! a name cannot have changed its addresses before the connection.

mod address;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rerun_core::error::Invalid;
use rerun_core::ports::WebhookTargets;
use rerun_core::webhook::Webhook;
use url::Host;

pub use address::{is_allowed, is_global};

/// How long the look-up of a name may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Networks that events may be sent to although they are not global.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<IpNet>);

impl AllowedNetworks {
    /// This machine alone.
    #[must_use]
    pub fn loopback() -> Self {
        let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self(here.map(|address: IpAddr| address.into()).to_vec())
    }

    /// Reads addresses and networks with commas between them, such as `10.0.0.0/8, ::1`.
    ///
    /// # Errors
    /// What is wrong, to follow the word "must".
    pub fn parse(text: &str) -> Result<Self, String> {
        let network = |entry: &str| {
            let network: Option<IpNet> = entry.parse().ok();
            network.or_else(|| entry.parse().ok().map(|address: IpAddr| address.into()))
        };
        let networks = text.split(',').map(str::trim).map(|entry| {
            network(entry).ok_or_else(|| {
                format!(
                    "hold IP addresses or networks such as 10.0.0.0/8, with `,` between them, and \
                     `{}` is neither",
                    entry.escape_debug()
                )
            })
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

/// Which URLs webhooks may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetRules {
    /// Whether `http` is allowed beside `https`.
    pub allow_http: bool,
    /// Networks that are allowed although they are not global.
    pub allow_networks: AllowedNetworks,
}

/// Why events are not sent to a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The URL breaks a rule, or one of its addresses is not allowed.
    NotAllowed(String),
    /// The name has no address, or the look-up failed.
    NotResolved,
}

impl fmt::Display for Refused {
    /// No address is shown: it could tell a user what a name means inside of the operator's network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(rule) => write!(f, "`url` {rule}"),
            Self::NotResolved => {
                f.write_str("`url` has a host that does not resolve to an address")
            }
        }
    }
}

impl Error for Refused {}

impl From<Refused> for Invalid {
    fn from(refused: Refused) -> Self {
        Self::new(refused.to_string())
    }
}

const NOT_GLOBAL: &str = "has a host with an address that is not global";

impl TargetRules {
    /// Reads a URL, and checks everything except the addresses of its name.
    ///
    /// # Errors
    /// [`Refused`], which names the rule.
    pub fn read(&self, text: &str) -> Result<Url, Refused> {
        let refuse = |rule: &str| Err(Refused::NotAllowed(rule.to_owned()));
        if text.len() > Webhook::MAX_URL_BYTES {
            let most = Webhook::MAX_URL_BYTES;
            return refuse(&format!("must have at most {most} bytes"));
        }
        // The parser would remove them, or read them as slashes.
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        if text.contains(odd) {
            return refuse("must have no spaces, control characters or backslashes");
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("must be a URL such as https://example.com/hook");
        };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return refuse("must start with https://"),
        }
        // The parser reads `https:example.com`, and drops an empty user.
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return refuse("must name a host after https://");
        }
        if authority.contains('@') {
            return refuse("must have no user and no password");
        }
        if url.fragment().is_some() {
            return refuse("must have no fragment (`#`)");
        }
        if url.port() == Some(0) {
            return refuse("must not have port 0");
        }
        match url.host() {
            None => refuse("must name a host after https://"),
            Some(Host::Domain(name)) => {
                // One dot at the end is right: it stops the look-up in domains of this machine.
                let name = name.strip_suffix('.').unwrap_or(name);
                if name.split('.').any(str::is_empty) {
                    return refuse("must name a host after https://");
                }
                Ok(url)
            }
            Some(Host::Ipv4(address)) => self.allow(address.into()).map(|()| url),
            Some(Host::Ipv6(address)) => self.allow(address.into()).map(|()| url),
        }
    }

    fn allow(&self, address: IpAddr) -> Result<(), Refused> {
        if is_allowed(address, &self.allow_networks.0) {
            Ok(())
        } else {
            Err(Refused::NotAllowed(NOT_GLOBAL.to_owned()))
        }
    }

    /// Checks the addresses of a name. All must be allowed: of a name with one that is not, the next
    /// look-up may return that one alone.
    ///
    /// # Errors
    /// [`Refused`] when there is none, or one is not allowed.
    pub fn check(&self, addresses: &[IpAddr]) -> Result<(), Refused> {
        if addresses.is_empty() {
            return Err(Refused::NotResolved);
        }
        addresses
            .iter()
            .try_for_each(|address| self.allow(*address))
    }
}

/// Looks names up.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// Returns the addresses of a name.
    ///
    /// # Errors
    /// Those of the look-up.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The look-up of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookUp;

#[async_trait]
impl LookUp for SystemLookUp {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Checks URLs with the addresses of their names, and is the resolver of [`crate::HttpSender`].
#[derive(Clone)]
pub struct Targets {
    rules: TargetRules,
    look_up: Arc<dyn LookUp>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.rules;
        f.debug_struct("Targets")
            .field("rules", rules)
            .finish_non_exhaustive()
    }
}

impl Targets {
    /// Looks names up as the operating system does.
    #[must_use]
    pub fn new(rules: TargetRules) -> Self {
        Self::with_look_up(rules, Arc::new(SystemLookUp))
    }

    /// Looks names up in another way.
    #[must_use]
    pub fn with_look_up(rules: TargetRules, look_up: Arc<dyn LookUp>) -> Self {
        Self { rules, look_up }
    }

    /// Reads a URL, and checks everything except the addresses of its name.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(&self, text: &str) -> Result<Url, Refused> {
        self.rules.read(text)
    }

    /// Returns the addresses of a name, all of which are allowed.
    async fn resolve_name(&self, name: &str) -> Result<Vec<IpAddr>, Refused> {
        let found = tokio::time::timeout(LOOK_UP_TIMEOUT, self.look_up.addresses(name)).await;
        let Ok(Ok(mut addresses)) = found else {
            return Err(Refused::NotResolved);
        };
        self.rules.check(&addresses)?;
        addresses.truncate(MOST_ADDRESSES);
        Ok(addresses)
    }
}

#[async_trait]
impl WebhookTargets for Targets {
    async fn check(&self, url: &str) -> Result<(), Invalid> {
        let url = self.read(url)?;
        if let Some(Host::Domain(name)) = url.host() {
            self.resolve_name(name).await?;
        }
        Ok(())
    }
}

impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let addresses = targets.resolve_name(name.as_str()).await?;
            let with_port = |address| SocketAddr::new(address, 0);
            let addresses: Addrs = Box::new(addresses.into_iter().map(with_port));
            Ok(addresses)
        })
    }
}
