//! How a connection notices that the other end is gone.

use std::time::Duration;

/// The URL with what libpq needs to give up on a server that does not answer, where the URL does
/// not say so itself: a connection that cannot be made fails after `connect`, and one whose other
/// end has vanished, without the operating system there saying so, after half a minute. libpq
/// itself would wait for a quarter of an hour and longer.
pub(crate) fn patient(url: &str, connect: Duration) -> String {
    let parameters = [
        // libpq takes 1 for 2.
        ("connect_timeout", connect.as_secs().max(2).to_string()),
        ("keepalives_idle", "15".to_owned()),
        ("keepalives_interval", "5".to_owned()),
        ("keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "30000".to_owned()),
    ];
    let given = url.split_once('?').map_or("", |(_, given)| given);
    let missing = parameters.iter().filter(|(name, _)| {
        let mut names = given.split('&').filter_map(|pair| pair.split('=').next());
        !names.any(|given| given == *name)
    });
    let missing: Vec<String> = missing
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let sign = match given {
        _ if !url.contains('?') => "?",
        "" => "",
        _ => "&",
    };
    if missing.is_empty() {
        url.to_owned()
    } else {
        format!("{url}{sign}{}", missing.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_says_itself_stays() {
        let patient = |url| patient(url, Duration::from_secs(5));
        let rest = "keepalives_idle=15&keepalives_interval=5&keepalives_count=3";
        for (url, expected) in [
            (
                "postgres://host/db",
                format!("postgres://host/db?connect_timeout=5&{rest}&tcp_user_timeout=30000"),
            ),
            (
                "postgres://host/db?",
                format!("postgres://host/db?connect_timeout=5&{rest}&tcp_user_timeout=30000"),
            ),
            (
                "postgres://host/db?tcp_user_timeout=7&sslmode=require",
                format!(
                    "postgres://host/db?tcp_user_timeout=7&sslmode=require&connect_timeout=5&{rest}"
                ),
            ),
        ] {
            assert_eq!(patient(url), expected);
        }
    }
}
