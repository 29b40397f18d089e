//! The settings for verifying tokens, and for signing the tokens of the command line.

use std::path::PathBuf;

use secrecy::SecretString;

use super::table::{self, JwtAlgorithm};
use super::{ConfigError, Declared, Layers, seconds};
use rerun_auth::{Asymmetric, KeyFormat, TokenRules};

/// With what tokens are checked.
#[derive(Debug, Clone)]
pub enum Keys {
    /// The secrets of HS256, of which there are two during a rotation.
    Secrets {
        /// The secret that tokens are signed with.
        current: SecretString,
        /// Another one that is as good.
        previous: Option<SecretString>,
    },
    /// Public keys in a file.
    File {
        /// What they are for.
        algorithm: Asymmetric,
        /// How they are written down.
        format: KeyFormat,
        /// The file.
        path: PathBuf,
        /// Where the file was named, for messages.
        place: String,
    },
}

impl Keys {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        const SECRETS: &[&Declared] = &[
            &table::JWT_SECRET.declared,
            &table::JWT_SECRET_PREVIOUS.declared,
        ];
        const FILES: &[&Declared] = &[
            &table::JWT_PUBLIC_KEY_FILE.declared,
            &table::JWT_JWKS_FILE.declared,
        ];
        match layers.value(&table::JWT_ALGORITHM)? {
            JwtAlgorithm::Hs256 => {
                unused(layers, FILES, "HS256, which is checked with a secret")?;
                Ok(Self::Secrets {
                    current: layers.value(&table::JWT_SECRET)?,
                    previous: layers.given(&table::JWT_SECRET_PREVIOUS)?,
                })
            }
            JwtAlgorithm::Asymmetric(algorithm) => {
                let name = algorithm.name();
                unused(
                    layers,
                    SECRETS,
                    &format!("{name}, which is checked with public keys"),
                )?;
                Self::file(layers, algorithm)
            }
        }
    }

    fn file(layers: &Layers, algorithm: Asymmetric) -> Result<Self, ConfigError> {
        let place = |setting| layers.place(setting).map(ToOwned::to_owned);
        let pem = layers.given(&table::JWT_PUBLIC_KEY_FILE)?;
        let pem = pem.zip(place(&table::JWT_PUBLIC_KEY_FILE.declared));
        let jwks = layers.given(&table::JWT_JWKS_FILE)?;
        let jwks = jwks.zip(place(&table::JWT_JWKS_FILE.declared));
        let (format, (path, place)) = match (pem, jwks) {
            (Some(pem), None) => (KeyFormat::Pem, pem),
            (None, Some(jwks)) => (KeyFormat::Jwks, jwks),
            (Some((_, pem)), Some((_, jwks))) => {
                return Err(ConfigError::new(format!(
                    "{pem} and {jwks} are both set: set one of them"
                )));
            }
            (None, None) => {
                return Err(ConfigError::new(format!(
                    "{} is {}, which needs public keys: set {} or {}",
                    table::JWT_ALGORITHM.declared.variable(),
                    algorithm.name(),
                    table::JWT_PUBLIC_KEY_FILE.declared.variable(),
                    table::JWT_JWKS_FILE.declared.variable(),
                )));
            }
        };
        Ok(Self::File {
            algorithm,
            format,
            path,
            place,
        })
    }
}

/// Makes sure that no setting is given that the algorithm makes no use of: somebody believes that
/// it counts.
fn unused(layers: &Layers, settings: &[&Declared], algorithm: &str) -> Result<(), ConfigError> {
    let variable = table::JWT_ALGORITHM.declared.variable();
    let given = settings.iter().filter_map(|setting| layers.place(setting));
    ConfigError::check(
        given
            .map(|place| {
                format!(
                    "{place} is given, but {variable} is {algorithm}: leave the one out, or change the other"
                )
            })
            .collect(),
    )
}

/// Which tokens to trust.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// With what they are checked.
    pub keys: Keys,
    /// What they must say.
    pub rules: TokenRules,
}

impl Tokens {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            keys: Keys::read(layers)?,
            rules: rules(layers)?,
        })
    }
}

fn rules(layers: &Layers) -> Result<TokenRules, ConfigError> {
    Ok(TokenRules {
        issuer: layers.given(&table::JWT_ISSUER)?,
        audience: layers.given(&table::JWT_AUDIENCE)?,
        leeway: seconds(layers.value(&table::JWT_LEEWAY_SECONDS)?),
    })
}

/// With what tokens are made for development: only HS256 has a key here that can sign.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The secret of HS256.
    pub secret: SecretString,
    /// What the tokens say.
    pub rules: TokenRules,
}

impl Signing {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`]; also for another algorithm.
    pub fn read(layers: &Layers) -> Result<Self, ConfigError> {
        if let JwtAlgorithm::Asymmetric(algorithm) = layers.value(&table::JWT_ALGORITHM)? {
            return Err(ConfigError::new(format!(
                "{} is {}, but this command signs with HS256 alone: for {1} only the issuer \
                 of tokens, who has the private key, can make one",
                table::JWT_ALGORITHM.declared.variable(),
                algorithm.name(),
            )));
        }
        layers.require(&[&table::JWT_SECRET.declared])?;
        Ok(Self {
            secret: layers.value(&table::JWT_SECRET)?,
            rules: rules(layers)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::tests::layers;
    use super::super::{Command, Serve};
    use super::*;

    const SECRET: (&str, &str) = ("RERUN_JWT_SECRET", "a secret of thirty-two bytes or more");
    const PEM: (&str, &str) = ("RERUN_JWT_PUBLIC_KEY_FILE", "keys.pem");
    const JWKS: (&str, &str) = ("RERUN_JWT_JWKS_FILE", "keys.json");
    const RS256: (&str, &str) = ("RERUN_JWT_ALGORITHM", "RS256");
    const CODE: (&str, &str) = ("RERUN_API_CODE", "code");

    #[test]
    fn keys_come_from_one_source_that_fits_the_algorithm() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let previous = ("RERUN_JWT_SECRET_PREVIOUS", SECRET.1);
        let cases: [Case; 8] = [
            (
                &[SECRET, PEM],
                &[
                    "RERUN_JWT_PUBLIC_KEY_FILE is given",
                    "RERUN_JWT_ALGORITHM is HS256",
                ],
            ),
            (&[SECRET, JWKS], &["RERUN_JWT_JWKS_FILE is given"]),
            (&[PEM], &["RERUN_JWT_PUBLIC_KEY_FILE is given"]),
            (&[previous], &["RERUN_JWT_SECRET is not set"]),
            (
                &[RS256],
                &[
                    "RERUN_JWT_PUBLIC_KEY_FILE or RERUN_JWT_JWKS_FILE",
                    "is RS256",
                ],
            ),
            (
                &[RS256, PEM, JWKS],
                &["RERUN_JWT_PUBLIC_KEY_FILE and RERUN_JWT_JWKS_FILE are both set"],
            ),
            (
                &[RS256, SECRET],
                &["RERUN_JWT_SECRET is given", "RERUN_JWT_ALGORITHM is RS256"],
            ),
            (
                &[RS256, JWKS, SECRET, previous],
                &[
                    "RERUN_JWT_SECRET is given",
                    "RERUN_JWT_SECRET_PREVIOUS is given",
                ],
            ),
        ];
        for (environment, expected) in cases {
            let environment = [environment, &[CODE]].concat();
            let said = Serve::read(&layers(Command::Serve, &environment)).map(drop);
            let said = said.unwrap_err().to_string();
            for part in expected {
                assert!(said.contains(part), "{environment:?}: {said}");
            }
            assert!(!said.contains(SECRET.1), "{said}");
        }
    }

    #[test]
    fn keys_are_read_as_configured() {
        let read = |environment: &[(&str, &str)]| {
            let environment = [environment, &[CODE]].concat();
            Serve::read(&layers(Command::Serve, &environment))
                .unwrap()
                .tokens
                .keys
        };
        let previous = (
            "RERUN_JWT_SECRET_PREVIOUS",
            "the secret before, of thirty-two bytes",
        );
        let Keys::Secrets {
            current,
            previous: found,
        } = read(&[SECRET, previous])
        else {
            panic!("other keys");
        };
        assert_eq!(current.expose_secret(), SECRET.1);
        assert_eq!(found.unwrap().expose_secret(), previous.1);
        for (name, wanted) in [
            ("RS256", Asymmetric::Rs256),
            ("ES256", Asymmetric::Es256),
            ("EdDSA", Asymmetric::EdDsa),
        ] {
            for (file, wanted_format) in [(PEM, KeyFormat::Pem), (JWKS, KeyFormat::Jwks)] {
                let Keys::File {
                    algorithm,
                    format,
                    path,
                    place,
                } = read(&[("RERUN_JWT_ALGORITHM", name), file])
                else {
                    panic!("other keys");
                };
                assert_eq!((algorithm, format), (wanted, wanted_format));
                assert_eq!((path.to_str(), place.as_str()), (Some(file.1), file.0));
            }
        }
    }

    #[test]
    fn tokens_are_made_with_hs256_alone() {
        let said = Signing::read(&layers(Command::Token, &[RS256, PEM])).map(drop);
        let said = said.unwrap_err().to_string();
        assert!(said.contains("RERUN_JWT_ALGORITHM is RS256"), "{said}");
        assert!(said.contains("signs with HS256 alone"), "{said}");
        let said = Signing::read(&layers(Command::Token, &[])).map(drop);
        assert!(
            said.unwrap_err()
                .to_string()
                .contains("RERUN_JWT_SECRET is not set")
        );
    }
}
