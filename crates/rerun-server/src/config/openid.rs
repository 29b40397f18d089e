use crate::openid::OpenIdSettings;

use super::{ConfigError, Layers, table};

/// Whom people sign in at; `None` where they sign in with a token alone.
pub(super) fn read(layers: &Layers) -> Result<Option<OpenIdSettings>, ConfigError> {
    let issuer = layers.given(&table::CONSOLE_OIDC_ISSUER)?;
    let client_id = layers.given(&table::CONSOLE_OIDC_CLIENT_ID)?;
    match (issuer, client_id) {
        (None, None) => Ok(None),
        (Some(issuer), Some(client_id)) => Ok(Some(OpenIdSettings {
            issuer,
            client_id,
            client_secret: layers.given(&table::CONSOLE_OIDC_CLIENT_SECRET)?,
            scopes: layers.value(&table::CONSOLE_OIDC_SCOPES)?,
        })),
        _ => Err(ConfigError::new(
            "RERUN_CONSOLE_OIDC_ISSUER and RERUN_CONSOLE_OIDC_CLIENT_ID belong together: set both, or \
             neither",
        )),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::tests::layers;
    use super::*;
    use crate::config::Command;

    const ISSUER: (&str, &str) = ("RERUN_CONSOLE_OIDC_ISSUER", "https://login.example.com/");
    const CLIENT: (&str, &str) = ("RERUN_CONSOLE_OIDC_CLIENT_ID", "rerun");

    fn read_from(environment: &[(&str, &str)]) -> Result<Option<OpenIdSettings>, ConfigError> {
        read(&layers(Command::Serve, environment))
    }

    #[test]
    fn a_provider_needs_an_issuer_and_a_client() {
        assert!(read_from(&[]).unwrap().is_none());
        let found = read_from(&[ISSUER, CLIENT]).unwrap().unwrap();
        assert_eq!(found.issuer.as_str(), ISSUER.1);
        assert_eq!((&*found.client_id, &*found.scopes), ("rerun", "openid"));
        assert!(found.client_secret.is_none());
        let secret = ("RERUN_CONSOLE_OIDC_CLIENT_SECRET", "hunter2");
        let found = read_from(&[ISSUER, CLIENT, secret]).unwrap().unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
        assert_eq!(found.client_secret.unwrap().expose_secret(), "hunter2");
        let scopes = ("RERUN_CONSOLE_OIDC_SCOPES", "openid rerun");
        let found = read_from(&[ISSUER, CLIENT, scopes]).unwrap().unwrap();
        assert_eq!(found.scopes, "openid rerun");
        for half in [ISSUER, CLIENT] {
            let said = read_from(&[half]).unwrap_err().to_string();
            assert!(said.contains("belong together"), "{said}");
        }
    }
}
