use std::fmt::Write as _;

use crate::HarnessError;

/// Percent-encodes whatever has a meaning in some part of a URL.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The URL of another database of the same server: user, host and parameters stay.
pub(crate) fn with_database(server_url: &str, database: &str) -> Result<String, HarnessError> {
    let invalid = || HarnessError::InvalidUrl {
        url: without_password(server_url),
    };
    let (scheme, rest) = server_url.split_once("://").ok_or_else(invalid)?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(invalid());
    }
    let (address, parameters) = match rest.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (rest, String::new()),
    };
    let authority = address.split('/').next().unwrap_or_default();
    Ok(format!(
        "{scheme}://{authority}/{}{parameters}",
        encode(database)
    ))
}

fn without_password(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_url_changes() {
        for (url, expected) in [
            ("postgres://localhost", "postgres://localhost/new"),
            ("postgres://localhost/", "postgres://localhost/new"),
            (
                "postgresql://u:p%2F@h:5433/old",
                "postgresql://u:p%2F@h:5433/new",
            ),
            (
                "postgres://h/old?sslmode=require",
                "postgres://h/new?sslmode=require",
            ),
            ("postgres://h?host=/run/pg", "postgres://h/new?host=/run/pg"),
            (
                "postgres://u@%2Frun%2Fpg:5433/old",
                "postgres://u@%2Frun%2Fpg:5433/new",
            ),
        ] {
            assert_eq!(with_database(url, "new").unwrap(), expected);
        }
    }

    #[test]
    fn what_has_a_meaning_in_a_url_is_encoded() {
        assert_eq!(encode("/run/p g-1_~.ü"), "%2Frun%2Fp%20g-1_~.%C3%BC");
    }

    #[test]
    fn a_url_of_something_else_is_refused_without_showing_its_password() {
        let error = with_database("mysql://root:secret@h/db", "new")
            .unwrap_err()
            .to_string();
        assert!(error.contains("…@h/db"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(with_database("rerun.db", "new").is_err());
    }
}
