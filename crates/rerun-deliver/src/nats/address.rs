//! Where the servers are, and what their names may be.

use std::fmt;

use async_nats::ServerAddr;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The addresses of NATS servers, with what a client signs in with. The passwords in it are not shown.
#[derive(Clone)]
pub struct NatsServers {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) user: Option<String>,
    pub(super) secret: Option<SecretString>,
    shown: String,
}

impl fmt::Debug for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for NatsServers {
    fn eq(&self, other: &Self) -> bool {
        let secret = |servers: &Self| {
            let secret = servers.secret.as_ref();
            secret.map(|secret| secret.expose_secret().to_owned())
        };
        self.shown == other.shown && self.user == other.user && secret(self) == secret(other)
    }
}

/// What a text must be to name servers.
const SERVERS: &str = "be URLs with commas between them, each nats:// or tls:// with a host and perhaps a \
                       port, and nothing after that; if several name a user, they must name the same one";

impl NatsServers {
    /// Whether the URLs say who signs in.
    #[must_use]
    pub const fn name_a_user(&self) -> bool {
        self.user.is_some() || self.secret.is_some()
    }

    /// Reads URLs with commas between them. A user without a password is a token, as NATS has it.
    ///
    /// # Errors
    /// What the text must be. It does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut servers = Vec::new();
        let mut shown = Vec::new();
        let mut found: Option<(String, Option<String>)> = None;
        for part in text.split(',') {
            let mut url = Url::parse(part.trim()).map_err(|_invalid| SERVERS.to_owned())?;
            let named = (!url.username().is_empty()).then(|| {
                let password = url.password().map(decoded);
                (decoded(url.username()), password)
            });
            if let Some(named) = named {
                if found.as_ref().is_some_and(|found| *found != named) {
                    return Err(SERVERS.to_owned());
                }
                found = Some(named);
            }
            // The client shows the addresses in what it logs.
            let bare = url.set_username("").and_then(|()| url.set_password(None));
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
            let known = matches!(url.scheme(), "nats" | "tls") && url.fragment().is_none();
            if bare.is_err() || !is_bare || !known {
                return Err(SERVERS.to_owned());
            }
            shown.push(url.as_str().trim_end_matches('/').to_owned());
            servers.push(ServerAddr::from_url(url).map_err(|_invalid| SERVERS.to_owned())?);
        }
        let (user, secret) = match found {
            None => (None, None),
            Some((token, None)) => (None, Some(token)),
            Some((user, password)) => (Some(user), password),
        };
        Ok(Self {
            servers,
            user,
            secret: secret.map(SecretString::from),
            shown: shown.join(","),
        })
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Reads the name of a stream.
///
/// # Errors
/// What it must be.
pub fn stream_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
    if !text.is_empty() && text.len() <= 255 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("be a name of 1 to 255 characters without spaces and `.`, `*`, `>`, `/`, `\\`".to_owned())
}

/// Reads what subjects begin with.
///
/// # Errors
/// What it must be.
pub fn subject_prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '*' | '>');
    let of_the_server = text.starts_with('$') || text.starts_with('_');
    let names = text
        .split('.')
        .all(|name| !name.is_empty() && name.chars().all(fits));
    if names && text.len() <= 128 && !of_the_server {
        return Ok(text.to_owned());
    }
    Err("be names with `.` between them, without spaces, `*` and `>`, and not begin with `$` or `_`"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_shown_without_passwords() {
        let read = NatsServers::parse("nats://ada:s3cret@one:4222, tls://two").unwrap();
        assert_eq!(read.to_string(), "nats://one:4222,tls://two");
        assert_eq!(format!("{read:?}"), "nats://one:4222,tls://two");
        assert_eq!(read.user.as_deref(), Some("ada"));
        assert_eq!(read.secret.unwrap().expose_secret(), "s3cret");
        let shown = format!("{:?}", read.servers);
        assert!(
            !shown.contains("s3cret") && !shown.contains("ada"),
            "{shown}"
        );
        let token = NatsServers::parse("nats://t%40ken@one").unwrap();
        assert_eq!(
            (token.user, token.secret.unwrap().expose_secret()),
            (None, "t@ken")
        );
        let open = NatsServers::parse("nats://[::1]:4222").unwrap();
        assert!(open.secret.is_none());
    }

    #[test]
    fn other_texts_name_no_servers() {
        for text in [
            "",
            "one:4222",
            "http://one",
            "ws://one",
            "nats://",
            "nats://one/path",
            "nats://one?x",
            "nats://one#x",
            "nats://one,",
            "nats://a:s3cret@one,nats://b:s3cret@two",
            "nats://a:s3cret@one:99999",
        ] {
            let refused = NatsServers::parse(text).unwrap_err();
            assert!(!refused.contains("s3cret"), "{text}: {refused}");
        }
    }

    #[test]
    fn names_of_streams_and_subjects_are_read() {
        for name in ["rerun", "Rerun-events_1"] {
            assert_eq!(stream_name(name).unwrap(), name);
        }
        for name in ["", "a.b", "a b", "*", "a>", "a/b", "ä"] {
            assert!(stream_name(name).is_err(), "{name}");
        }
        for prefix in ["rerun.events", "x"] {
            assert_eq!(subject_prefix(prefix).unwrap(), prefix);
        }
        for prefix in [
            "", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "$JS.API", "_INBOX",
        ] {
            assert!(subject_prefix(prefix).is_err(), "{prefix}");
        }
    }
}
