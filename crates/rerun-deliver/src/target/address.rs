//! Which addresses are global, by IANA's registries of special-purpose addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(groups: [u16; 8], bits: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(groups), bits))
}

/// Networks that are not global, or are not for single hosts. IPv6 outside of `2000::/3` is not listed:
/// nothing in it is global.
const NOT_GLOBAL: &[IpNet] = &[
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    // Metadata services of two clouds.
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Networks within those that are global nevertheless.
const GLOBAL: &[IpNet] = &[
    v4(192, 0, 0, 9, 32),
    v4(192, 0, 0, 10, 32),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28),
];

/// The global unicast addresses of IPv6.
const UNICAST: IpNet = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Networks that an operator must name, or a part of them: a larger network that is allowed does not
/// open them. They are this machine, its links, and the metadata services of clouds.
const GUARDED: &[IpNet] = &[
    v4(0, 0, 0, 0, 8),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v4(192, 0, 0, 192, 32),
    v6([0; 8], 128),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
];

/// An address of IPv4 within one of IPv6.
enum Embedded {
    /// Another way to write the address of IPv4: an operating system may connect to that.
    Written,
    /// A translator or a tunnel passes packets on to it.
    Reached(Ipv4Addr),
    /// There is none.
    None,
}

fn embedded(address: Ipv6Addr) -> Embedded {
    let joined = |high: u16, low: u16| (u32::from(high) << 16) | u32::from(low);
    match address.segments() {
        // Unspecified and loopback are addresses of IPv6 itself.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Embedded::None,
        // Mapped and compatible addresses, and those of RFC 2765.
        [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, _, _] => Embedded::Written,
        // Teredo, where it is written with its bits turned.
        [0x2001, 0, .., high, low] => Embedded::Reached((!joined(high, low)).into()),
        // NAT64, and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Embedded::Reached(joined(high, low).into())
        }
        _ => Embedded::None,
    }
}

fn within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Whether an address is global: one that the routers of the internet forward packets to.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => within(GLOBAL, address) || !within(NOT_GLOBAL, address),
        IpAddr::V6(long) => match (embedded(long), long.segments()) {
            (Embedded::Reached(inner), [0x64, ..]) => is_global(inner.into()),
            _ => {
                UNICAST.contains(&address)
                    && (within(GLOBAL, address) || !within(NOT_GLOBAL, address))
            }
        },
    }
}

/// Whether events may be sent to an address when these networks are allowed.
#[must_use]
pub fn is_allowed(address: IpAddr, networks: &[IpNet]) -> bool {
    if let IpAddr::V6(long) = address {
        match embedded(long) {
            Embedded::Written => return false,
            Embedded::Reached(inner) if !is_allowed(inner.into(), networks) => return false,
            Embedded::Reached(_) | Embedded::None => {}
        }
    }
    let mut guards = GUARDED.iter().filter(|guard| guard.contains(&address));
    let guard = guards.next();
    let named = networks.iter().any(|network| {
        network.contains(&address) && guard.is_none_or(|guard| guard.contains(network))
    });
    named || (guard.is_none() && is_global(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str, networks: &[&str]) -> bool {
        let networks: Vec<IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
        is_allowed(address.parse().unwrap(), &networks)
    }

    const ARE_GLOBAL: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.0.9",
        "192.0.0.10",
        "192.0.1.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.175.48.1",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "168.63.129.15",
        "168.63.129.17",
        "2000::1",
        "2001:1::1",
        "2001:1::2",
        "2001:1::3",
        "2001:3::1",
        "2001:4:112::1",
        "2001:20::1",
        "2001:30::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2620:4f:8000::1",
        "3ffe::1",
        "3fff:1000::1",
        "64:ff9b::808:808",
    ];

    const ARE_NOT: &[&str] = &[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.8",
        "192.0.0.11",
        "192.0.0.170",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::808:808",
        "::ffff:7f00:1",
        "::ffff:808:808",
        "::ffff:0:808:808",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:0:808:808::f7f7:f7f7",
        "2001:1::4",
        "2001:2::1",
        "2001:4:113::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2002:808:808::1",
        "2002:7f00:1::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    ];

    #[test]
    fn the_registries_say_what_is_global() {
        for address in ARE_GLOBAL {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
        for address in ARE_NOT {
            assert!(!is_global(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_itself_and_nothing_else() {
        assert!(allowed("10.1.2.3", &["10.0.0.0/8"]));
        assert!(allowed("10.1.2.3", &["192.168.0.0/16", "10.1.2.3/32"]));
        assert!(!allowed("192.168.0.1", &["10.0.0.0/8"]));
        assert!(allowed("8.8.8.8", &["10.0.0.0/8"]));
        assert!(allowed("192.168.0.1", &["0.0.0.0/0"]));
        assert!(allowed("fd00::1", &["fc00::/7"]));
        assert!(!allowed("10.0.0.1", &["::/0"]));
        assert!(!allowed("fd00::1", &["0.0.0.0/0"]));
    }

    #[test]
    fn this_machine_and_metadata_services_open_only_by_their_own_networks() {
        for (address, guard) in [
            ("0.0.0.0", "0.0.0.0/8"),
            ("127.0.0.1", "127.0.0.0/8"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("100.100.100.200", "100.100.100.200/32"),
            ("168.63.129.16", "168.63.129.16/32"),
            ("192.0.0.192", "192.0.0.192/32"),
            ("::1", "::1/128"),
            ("::", "::/128"),
            ("fe80::1", "fe80::/10"),
            ("fd00:ec2::254", "fd00:ec2::254/128"),
            ("fd20:ce::254", "fd20:ce::254/128"),
        ] {
            assert!(!allowed(address, &["0.0.0.0/0", "::/0"]), "{address}");
            assert!(allowed(address, &[guard]), "{address}");
            let whole: IpNet = guard.parse().unwrap();
            let wider = whole.supernet().unwrap().to_string();
            assert!(!allowed(address, &[&wider]), "{address} by {wider}");
            let own = if address.contains(':') { 128 } else { 32 };
            assert!(
                allowed(address, &[&format!("{address}/{own}")]),
                "{address}"
            );
        }
        assert!(!allowed("127.0.0.1", &["127.0.0.2/32"]));
    }

    #[test]
    fn an_address_within_another_does_not_pass_the_guards() {
        let all = ["0.0.0.0/0", "::/0"];
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:808:808::80ff:fffe",
        ] {
            assert!(!allowed(address, &all), "{address}");
        }
        assert!(allowed(
            "64:ff9b::10.0.0.1",
            &["10.0.0.0/8", "64:ff9b::/96"]
        ));
        assert!(!allowed("64:ff9b::10.0.0.1", &["64:ff9b::/96"]));
        assert!(allowed("2002:808:808::1", &["2002::/16"]));
    }
}
