use super::*;

/// Names as an attacker's name server might return them.
struct Names;

#[async_trait]
impl LookUp for Names {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses: &[&str] = match name {
            "localhost" | "foo.localhost" | "localtest.me" => &["127.0.0.1", "::1"],
            "localhost." => &["::1"],
            "metadata.google.internal" => &["169.254.169.254"],
            "mixed.example.com" => &["8.8.8.8", "10.0.0.1"],
            "mixed6.example.com" => &["2606:4700::1111", "fd00::1"],
            "mapped.example.com" => &["::ffff:127.0.0.1"],
            "zero.example.com" => &["0.0.0.0"],
            "nat64.example.com" => &["64:ff9b::a9fe:a9fe"],
            "inside.example.com" => &["10.1.2.3"],
            "empty.example.com" => &[],
            "gone.example.com" => return Err(io::Error::other("no such name")),
            _ => &["8.8.8.8", "2606:4700::1111"],
        };
        Ok(addresses.iter().map(|text| text.parse().unwrap()).collect())
    }
}

fn targets(allow_http: bool, networks: &str) -> Targets {
    let allow_networks = if networks.is_empty() {
        AllowedNetworks::default()
    } else {
        AllowedNetworks::parse(networks).unwrap()
    };
    let rules = TargetRules {
        allow_http,
        allow_networks,
    };
    Targets::with_look_up(rules, Arc::new(Names))
}

/// URLs that reach for what must not be reached.
const HOSTILE: &[&str] = &[
    // Not a URL, or of another kind.
    "",
    " ",
    "x",
    "/hook",
    "//example.com/",
    "example.com",
    "https",
    "https:",
    "https:/",
    "https://",
    "https:///",
    "https:///hook",
    "https:////example.com/",
    "https://?x",
    "https://#x",
    "https://:443/",
    "https://.",
    "https://./",
    "https://../",
    "https:example.com",
    "https:/example.com/",
    "http://example.com/",
    "HTTP://example.com/",
    "http://127.0.0.1/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "ws://example.com/",
    "wss://example.com/",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "dict://127.0.0.1:11211/",
    "jar:https://example.com/!/",
    "blob:https://example.com/x",
    "view-source:https://example.com/",
    // Users, fragments, ports.
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://@example.com/",
    "https://:@example.com/",
    "https://example.com@127.0.0.1/",
    "https://%40@example.com/",
    "https://example.com:443@127.0.0.1/",
    "https://example.com/#",
    "https://example.com/#x",
    "https://example.com#@127.0.0.1/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:-1/",
    "https://example.com:x/",
    "https://example.com:80:80/",
    // What parsers of URLs do not agree on.
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com\\",
    "https://exa\tmple.com/",
    "https://example.com/\r\nx: y",
    "https://example.com/\nhost: 127.0.0.1",
    " https://example.com/",
    "https://example.com/ ",
    "\u{feff}https://example.com/",
    "https://exam\u{0}ple.com/",
    "https://exam ple.com/",
    "https://exa%mple.com/",
    "https://exa%00mple.com/",
    "https://example.com%2f@127.0.0.1/",
    "https://example.com%23.localhost/",
    "https://[::1/",
    "https://::1/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[::1]x/",
    "https://[v1.x]/",
    "https://[127.0.0.1]/",
    "https://example.com/\u{a0}x",
    "https://example.com/\u{2028}x",
    "https://exa\u{200b}mple.com\u{ad}\u{0}/",
    "https://xn--/",
    "https://xn--a/",
    "https://a..localhost /",
    // Addresses of IPv4, in all their spellings.
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0X7F.0.0.1/",
    "https://0177.0.0.1/",
    "https://0177.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.1./",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "https://127\u{3002}0\u{3002}0\u{3002}1/",
    "https://127\u{ff0e}0\u{ff0e}0\u{ff0e}1/",
    "https://\u{2460}\u{2461}\u{2466}.0.0.1/",
    "https://127.255.255.254/",
    "https://0/",
    "https://0x0/",
    "https://0.0.0.0/",
    "https://0.1.2.3/",
    "https://10.0.0.1/",
    "https://012.0.0.1/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://169.254.170.2/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.1/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://168.63.129.16/",
    "https://256.0.0.1/",
    "https://1.2.3.4.5/",
    "https://08.0.0.1/",
    "https://0x/",
    "https://4294967296/",
    // Addresses of IPv6.
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::8.8.8.8]/",
    "https://[100::1]/",
    "https://[2001::1]/",
    "https://[2001:2::1]/",
    "https://[2001:10::1]/",
    "https://[2001:db8::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[3fff::1]/",
    "https://[4000::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    // Names that mean something inside.
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://foo.localhost/",
    "https://\u{24db}ocalhost/",
    "https://loc\u{ad}alhost/",
    "https://localtest.me/",
    "https://metadata.google.internal/",
    "https://mixed.example.com/",
    "https://mixed6.example.com/",
    "https://MIXED.example.com:8443/hook",
    "https://mapped.example.com/",
    "https://zero.example.com/",
    "https://nat64.example.com/",
    "https://inside.example.com/",
    "https://empty.example.com/",
    "https://gone.example.com/",
];

#[tokio::test]
async fn hostile_urls_are_refused() {
    assert!(HOSTILE.len() >= 80, "{}", HOSTILE.len());
    let targets = targets(false, "");
    for url in HOSTILE {
        let Err(refused) = WebhookTargets::check(&targets, url).await else {
            panic!("{url:?} is accepted");
        };
        let refused = refused.to_string();
        assert!(refused.starts_with("`url` "), "{url:?}: {refused}");
        let shows_address = refused.contains("127.0") || refused.contains("10.1");
        assert!(!shows_address, "{url:?}: {refused}");
    }
    let long = format!("https://example.com/{}", "x".repeat(Webhook::MAX_URL_BYTES));
    assert!(targets.read(&long).is_err());
}

#[tokio::test]
async fn urls_of_the_internet_are_accepted() {
    let https = targets(false, "");
    for url in [
        "https://example.com",
        "https://example.com/",
        "HTTPS://EXAMPLE.COM/hook",
        "https://example.com:8443/a/b?c=d&e",
        "https://example.com./",
        "https://b\u{fc}cher.example/",
        "https://xn--bcher-kva.example/",
        "https://localhost.example.com/",
        "https://8.8.8.8/",
        "https://192.0.0.9/",
        "https://100.63.255.255/",
        "https://172.32.0.1/",
        "https://[2606:4700::1111]/",
        "https://[2001:4860:4860::8888]:8443/",
        "https://[2001:20::1]/",
        "https://[2001:4:112::1]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://example.com/a@b",
        "https://example.com/?a=@b",
        "https://example.com/?next=https://127.0.0.1/",
        "https://127.0.0.1.example.com/",
    ] {
        let checked = WebhookTargets::check(&https, url).await;
        assert!(checked.is_ok(), "{url}: {checked:?}");
    }
    let http = targets(true, "");
    assert!(http.check("http://example.com/").await.is_ok());
    for url in [
        "ftp://example.com/",
        "http://127.0.0.1/",
        "http:example.com",
        "http://u@example.com",
    ] {
        assert!(http.check(url).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn the_refusal_names_the_rule() {
    let targets = targets(false, "");
    for (url, rule) in [
        ("http://example.com/", "must start with https://"),
        (
            "https://u@example.com/",
            "must have no user and no password",
        ),
        ("https://example.com/#", "must have no fragment (`#`)"),
        (
            "https://10.0.0.1/",
            "has a host with an address that is not global",
        ),
        (
            "https://mixed.example.com/",
            "has a host with an address that is not global",
        ),
        (
            "https://gone.example.com/",
            "has a host that does not resolve to an address",
        ),
        (
            "https://empty.example.com/",
            "has a host that does not resolve to an address",
        ),
    ] {
        let refused = targets.check(url).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("`url` {rule}"), "{url}");
    }
}

#[tokio::test]
async fn allowed_networks_open_names_and_addresses() {
    let inside = targets(true, "10.0.0.0/8, 127.0.0.1");
    for url in [
        "https://inside.example.com/",
        "http://10.0.0.1:8080/",
        "http://127.0.0.1:8080/",
    ] {
        assert!(inside.check(url).await.is_ok(), "{url}");
    }
    for url in [
        "http://127.0.0.2/",
        "https://192.168.0.1/",
        "https://localhost/",
    ] {
        assert!(inside.check(url).await.is_err(), "{url}");
    }
    let local = targets(false, "127.0.0.0/8,::1");
    assert!(local.check("https://localhost/").await.is_ok());
    let everything = targets(false, "0.0.0.0/0,::/0");
    for url in [
        "https://localhost/",
        "https://metadata.google.internal/",
        "https://mapped.example.com/",
    ] {
        assert!(everything.check(url).await.is_err(), "{url}");
    }
}

#[test]
fn networks_are_read() {
    for text in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "192.0.2.1",
        "fd00::/8 , ::1",
    ] {
        assert!(AllowedNetworks::parse(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "x",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "::/129",
        "10/8",
        "::1,",
        "*",
    ] {
        assert!(AllowedNetworks::parse(text).is_err(), "{text}");
    }
}

/// A name server that gives a public address first and one inside a moment later.
struct Rebinding(std::sync::atomic::AtomicUsize);

#[async_trait]
impl LookUp for Rebinding {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        let before = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let text = if before == 0 { "8.8.8.8" } else { "127.0.0.1" };
        Ok(vec![text.parse().unwrap()])
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_refused_when_connecting() {
    let look_up = Arc::new(Rebinding(std::sync::atomic::AtomicUsize::default()));
    let targets = Targets::with_look_up(TargetRules::default(), look_up);
    assert!(
        targets
            .check("https://rebinding.example.com/")
            .await
            .is_ok()
    );
    let resolved = targets
        .resolve("rebinding.example.com".parse().unwrap())
        .await;
    let refused = resolved.err().unwrap();
    let refused = refused.downcast_ref::<Refused>().unwrap();
    assert_eq!(refused, &Refused::NotAllowed(NOT_GLOBAL.to_owned()));
}

/// A name server that never responds.
struct Silent;

#[async_trait]
impl LookUp for Silent {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_ends() {
    let targets = Targets::with_look_up(TargetRules::default(), Arc::new(Silent));
    let refused = targets.check("https://example.com/").await.unwrap_err();
    assert!(
        refused.to_string().contains("does not resolve"),
        "{refused}"
    );
}
