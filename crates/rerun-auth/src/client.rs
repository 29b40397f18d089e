//! The client's IP address, from the connection and the trusted proxies in front of the server.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::head::{Head, single_text};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The proxies whose `x-forwarded-for` and `x-forwarded-proto` are believed; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads addresses and networks with commas between them, such as `10.0.0.0/8, ::1`.
    ///
    /// # Errors
    /// What is wrong, to follow the word "must".
    pub fn parse(text: &str) -> Result<Self, String> {
        let network = |entry: &str| {
            let network = entry.parse().ok();
            network.or_else(|| {
                entry
                    .parse()
                    .ok()
                    .map(|ip: IpAddr| ip.to_canonical().into())
            })
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

    fn contain(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Returns the address of the client. From the connection it goes back through
    /// `x-forwarded-for`, as long as the address that was reached is a trusted proxy.
    pub(crate) fn client_ip(&self, head: &dyn Head) -> Option<IpAddr> {
        let mut ip = peer(head)?;
        let values = head.values(X_FORWARDED_FOR);
        let entries = values
            .into_iter()
            .rev()
            .flat_map(|value| value.rsplit(|byte| *byte == b','));
        for entry in entries {
            let named = str::from_utf8(entry).ok();
            let named: Option<IpAddr> = named.and_then(|text| text.trim().parse().ok());
            match named {
                Some(named) if self.contain(ip) => ip = named.to_canonical(),
                Some(_) | None => break,
            }
        }
        Some(ip)
    }

    /// Whether the browser talks to its own machine, without TLS.
    pub(crate) fn plain_loopback(&self, head: &dyn Head) -> bool {
        let proxied = peer(head).is_some_and(|ip| self.contain(ip));
        let tls = || {
            let proto = single_text(head, X_FORWARDED_PROTO);
            let first = proto.and_then(|value| value.split(',').next());
            first.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
        };
        host(head).is_some_and(is_loopback) && !(proxied && tls())
    }
}

fn peer(head: &dyn Head) -> Option<IpAddr> {
    // A socket for both versions of IP shows an IPv4 address as one of IPv6.
    head.peer().map(|ip| ip.to_canonical())
}

/// The host that was asked for, with its port if it has one.
pub(crate) fn host(head: &dyn Head) -> Option<&str> {
    single_text(head, "host")
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    let local = name.to_ascii_lowercase();
    local == "localhost"
        || local.ends_with(".localhost")
        || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::Sent;

    const NOBODY: Sent<'_> = Sent {
        headers: &[],
        peer: None,
    };

    #[test]
    fn networks_are_read_or_named() {
        let proxies = TrustedProxies::parse(" 10.0.0.0/8,192.0.2.7 , ::1").unwrap();
        for (ip, trusted) in [
            ("10.255.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(proxies.contain(ip.parse().unwrap()), trusted, "{ip}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.1,", "proxy.example", "1\n2"] {
            let said = TrustedProxies::parse(wrong).unwrap_err();
            assert!(said.contains("such as 10.0.0.0/8"), "{wrong:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        for (peer, forwarded, client) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            // Not a proxy: its word counts for nothing.
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            // What a client sends itself is to the left.
            ("10.0.0.1", &["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.7, who, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7:80"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            let headers: Vec<_> = forwarded
                .iter()
                .map(|value| (X_FORWARDED_FOR, value.as_bytes()))
                .collect();
            let sent = Sent {
                headers: &headers,
                peer: peer.parse().ok(),
            };
            let found = proxies.client_ip(&sent).unwrap();
            assert_eq!(found.to_string(), client, "{peer} {forwarded:?}");
        }
        assert!(proxies.client_ip(&NOBODY).is_none());
    }

    #[test]
    fn loopback_is_judged_by_the_host_that_was_asked_for() {
        let proxies = TrustedProxies::parse("10.0.0.1").unwrap();
        let plain = |host: &str, peer: &str, proto: &str| {
            proxies.plain_loopback(&Sent {
                headers: &[
                    ("host", host.as_bytes()),
                    (X_FORWARDED_PROTO, proto.as_bytes()),
                ],
                peer: peer.parse().ok(),
            })
        };
        for (host, loopback) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("rerun.localhost:80", true),
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("rerun.example", false),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("[::2]", false),
            ("", false),
        ] {
            assert_eq!(plain(host, "127.0.0.1", "http"), loopback, "{host}");
        }
        assert!(
            plain("localhost", "127.0.0.1", "https"),
            "no trusted proxy says it"
        );
        assert!(!plain("localhost", "10.0.0.1", "https"));
        assert!(!plain("localhost", "10.0.0.1", "HTTPS, http"));
        assert!(plain("localhost", "10.0.0.1", "http"));
        assert!(!proxies.plain_loopback(&NOBODY));
    }
}
