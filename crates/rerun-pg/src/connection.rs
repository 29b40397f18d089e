//! The connection parameters for libpq: where the database is, and the timeouts.

use std::time::Duration;

/// A database URL that says nothing to connect to. The text repeats no part of the URL that may
/// belong to the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(String);

impl BadUrl {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The parts of a URL, still percent-encoded.
#[derive(Debug, Default)]
struct Parts<'a> {
    user: &'a str,
    password: &'a str,
    hosts: Vec<&'a str>,
    ports: Vec<&'a str>,
    database: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Where the database is.
pub(crate) struct Place {
    /// The connection string, with the password.
    pub(crate) conninfo: String,
    /// Whether it names several servers of which the one is meant that takes writes.
    pub(crate) has_standby: bool,
}

/// How long a connection that cannot be made waits for each of several hosts; the shortest wait of libpq.
const EACH_HOST: Duration = Duration::from_secs(2);

/// The connection string for a URL, as keywords and values: an error of libpq's quotes a URL that
/// it cannot read as a whole, password included, and of keywords and values that are well-formed
/// never the password.
///
/// It adds what libpq needs to give up on a server that does not answer, where the URL does not
/// say so itself: a connection that cannot be made fails after `connect`, or goes to the next of several hosts after
/// 2 s, and one whose other end has vanished, without the operating system there saying so, fails after half a minute.
/// libpq itself would wait for a quarter of an hour and longer.
pub(crate) fn place(url: &str, connect: Duration) -> Result<Place, BadUrl> {
    let parts = split(url)?;
    let mut given: Vec<(String, String)> = Vec::new();
    for (keyword, part, text) in [
        ("user", "the user name", parts.user),
        ("password", "the password", parts.password),
        ("host", "a host", &parts.hosts.join(",")),
        ("port", "a port", &parts.ports.join(",")),
        ("dbname", "the database name", parts.database),
    ] {
        if !text.trim_matches(',').is_empty() {
            given.push((keyword.to_owned(), decoded(text, part)?));
        }
    }
    for (name, value) in parts.parameters {
        let name = decoded(name, "the name of a parameter")?;
        let value = decoded(value, "the value of a parameter")?;
        given.push(match (name.as_str(), value.as_str()) {
            // As libpq takes it, for URLs that are written for JDBC.
            ("ssl", "true") => ("sslmode".to_owned(), "require".to_owned()),
            _ => (name, value),
        });
    }
    let is_given = |name: &str, values: &dyn Fn(&str) -> bool| {
        given
            .iter()
            .any(|(keyword, value)| keyword == name && values(value))
    };
    let has_several = is_given("host", &|hosts| hosts.contains(','));
    let has_standby = has_several
        && is_given("target_session_attrs", &|wanted| {
            ["read-write", "primary"].contains(&wanted)
        })
        && !is_given("load_balance_hosts", &|_| true);
    let connect = if has_several { EACH_HOST } else { connect };
    for (name, value) in [
        // libpq takes 1 for 2.
        ("connect_timeout", connect.as_secs().max(2).to_string()),
        ("keepalives_idle", "15".to_owned()),
        ("keepalives_interval", "5".to_owned()),
        ("keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "30000".to_owned()),
    ] {
        if given.iter().all(|(keyword, _)| keyword != name) {
            given.push((name.to_owned(), value));
        }
    }
    let pairs: Vec<String> = given
        .iter()
        .map(|(keyword, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{keyword}='{value}'")
        })
        .collect();
    Ok(Place {
        conninfo: pairs.join(" "),
        has_standby,
    })
}

/// Splits a URL where libpq does, and refuses what it would take for something else than its
/// writer.
fn split(url: &str) -> Result<Parts<'_>, BadUrl> {
    const HINT: &str = "in a user name and a password, `@`, `:`, `/`, `?`, `#` and `%` are written \
                        `%40`, `%3A`, `%2F`, `%3F`, `%23` and `%25`";
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or_else(|| BadUrl::new("the database URL does not start with `postgres://`"))?;
    let mut parts = Parts::default();
    let credentials_end = rest
        .find(['@', '/'])
        .filter(|at| rest[*at..].starts_with('@'));
    let rest = match credentials_end {
        None => rest,
        Some(at) => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            (parts.user, parts.password) = (user, password);
            &rest[at + 1..]
        }
    };
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    if hosts.contains('@') || database.contains(['@', '/']) {
        return Err(BadUrl::new(format!(
            "the database URL has an `@` or a `/` that is not where it belongs: {HINT}"
        )));
    }
    parts.database = database;
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(address) => {
                let (name, port) = address
                    .split_once(']')
                    .ok_or_else(|| BadUrl::new("the database URL has a `[` without a `]`"))?;
                match port.strip_prefix(':') {
                    Some(port) => (name, port),
                    None if port.is_empty() => (name, ""),
                    None => return Err(BadUrl::new("the database URL has text after a `]`")),
                }
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadUrl::new(format!(
                "a port of the database URL is not a number; {HINT}"
            )));
        }
        parts.hosts.push(name);
        parts.ports.push(port);
    }
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let pair = pair.split_once('=');
        parts.parameters.push(pair.ok_or_else(|| {
            BadUrl::new("a parameter of the database URL is not of the form `name=value`")
        })?);
    }
    Ok(parts)
}

/// Percent-encoded text, decoded; `part` names it.
fn decoded(text: &str, part: &str) -> Result<String, BadUrl> {
    let refused = |why: &str| BadUrl::new(format!("{part} in the database URL {why}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(0) => return Err(refused("contains `%00`")),
            Some(byte) => bytes.push(byte),
            None => {
                return Err(refused(
                    "has a `%` without two hexadecimal digits (`%25` is a `%`)",
                ));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_not_utf8| refused("is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "keepalives_idle='15' keepalives_interval='5' keepalives_count='3'";

    fn info(url: &str) -> Result<String, String> {
        let place = place(url, Duration::from_secs(5)).map_err(|refused| refused.to_string())?;
        Ok(place.conninfo)
    }

    #[test]
    fn what_the_url_says_itself_stays() {
        let patience = format!("connect_timeout='5' {REST}");
        for (url, expected) in [
            (
                "postgres://host/db",
                format!("host='host' dbname='db' {patience} tcp_user_timeout='30000'"),
            ),
            (
                "postgresql://user:p%40%27%5C%20w@[::1]:5433/d%2Fb?",
                format!(
                    "user='user' password='p@\\'\\\\ w' host='::1' port='5433' dbname='d/b' \
                     {patience} tcp_user_timeout='30000'"
                ),
            ),
            (
                "postgres://u:a?b:c@one,two:5433?tcp_user_timeout=7&sslmode=require",
                format!(
                    "user='u' password='a?b:c' host='one,two' port=',5433' tcp_user_timeout='7' \
                     sslmode='require' connect_timeout='2' {REST}"
                ),
            ),
            (
                "postgres://u@%2Ftmp%2Fx:5/db?ssl=true&connect_timeout=9",
                format!(
                    "user='u' host='/tmp/x' port='5' dbname='db' sslmode='require' \
                     connect_timeout='9' {REST} tcp_user_timeout='30000'"
                ),
            ),
        ] {
            assert_eq!(info(url).unwrap(), expected);
        }
    }

    #[test]
    fn several_hosts_of_which_one_takes_writes_have_a_standby() {
        for (url, expected) in [
            (
                "postgres://one,two/db?target_session_attrs=read-write",
                true,
            ),
            ("postgres://one,two/db?target_session_attrs=primary", true),
            (
                "postgres:///db?host=one,two&target_session_attrs=primary",
                true,
            ),
            ("postgres://one,two/db", false),
            ("postgres://one,two/db?target_session_attrs=any", false),
            (
                "postgres://one,two/db?target_session_attrs=primary&load_balance_hosts=random",
                false,
            ),
            ("postgres://one/db?target_session_attrs=read-write", false),
        ] {
            let place = place(url, Duration::from_secs(5)).unwrap_or_else(|bad| panic!("{bad}"));
            assert_eq!(place.has_standby, expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for url in [
            "postgres://user:pass@word@host/db",
            "postgres://user:pass/word@host/db",
            "postgres://user:12/word@host/db",
            "postgres://user:pass%word@host/db",
            "postgres://user:pass%00word@host/db",
            "postgres://user:pass%ffword@host/db",
            "postgres://user:password@[::1/db",
            "postgres://user:password@[::1]x/db",
            "postgres://user:password@host/db?sslmode",
            "postgres://host/db?password=pass%word",
            "mysql://user:password@host/db",
        ] {
            let refused = info(url).unwrap_err();
            for part in ["pass", "word@", "12"] {
                let said = refused
                    .replace("the password", "")
                    .replace("a password", "");
                assert!(!said.contains(part), "{url}: {refused}");
            }
        }
    }
}
