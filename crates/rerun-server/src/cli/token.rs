use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, value_parser};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::ids::{AccountId, UserId};
use rerun_core::ports::Clock;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{Failure, say};
use crate::config::{Layers, Signing};
use rerun_auth::Identity;
use rerun_generate::SystemClock;

const ACCOUNT: &str = "00000000-0000-4000-8000-000000000001";
const USER: &str = "00000000-0000-4000-8000-000000000002";
const LONGEST_TTL: i64 = 10 * 365 * 24 * 60 * 60;

/// The token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed: {0}")]
pub(super) struct TokenError(#[from] jsonwebtoken::errors::Error);

pub(super) fn arguments(command: clap::Command) -> clap::Command {
    let id = |name: &'static str| Arg::new(name).long(name).value_name("UUID");
    command
        .arg(
            id("account")
                .value_parser(|text: &str| AccountId::parse(text).ok_or("not a UUID"))
                .default_value(ACCOUNT)
                .help("Account that the token is for"),
        )
        .arg(
            id("user")
                .value_parser(|text: &str| UserId::parse(text).ok_or("not a UUID"))
                .default_value(USER)
                .help("User that the token names"),
        )
        .arg(
            Arg::new("user-name")
                .long("user-name")
                .value_name("NAME")
                .value_parser(|text: &str| UserName::new(text))
                .help("Name of the user, for people"),
        )
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("CODE")
                .value_parser(NonEmptyStringValueParser::new())
                .default_value("ADMIN")
                .help("Role of the user"),
        )
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("SECONDS")
                .value_parser(value_parser!(i64).range(1..=LONGEST_TTL))
                .default_value("3600")
                .help("How long the token is valid"),
        )
}

pub(super) fn run(layers: &Layers, matches: &ArgMatches) -> Result<(), Failure> {
    say(&made(layers, matches)?);
    Ok(())
}

/// The token that the arguments describe.
pub(super) fn made(layers: &Layers, matches: &ArgMatches) -> Result<String, Failure> {
    let signing = Signing::read(layers)?;
    let nobody = uuid::Uuid::nil();
    let identity = Identity {
        account_id: matches
            .get_one("account")
            .copied()
            .unwrap_or(AccountId::new(nobody)),
        user_id: matches
            .get_one("user")
            .copied()
            .unwrap_or(UserId::new(nobody)),
        user_name: matches.get_one("user-name").cloned(),
        role_code: matches
            .get_one::<String>("role")
            .cloned()
            .unwrap_or_default(),
    };
    let ttl = matches.get_one("ttl").copied().unwrap_or(0);
    Ok(signed(&signing, &identity, SystemClock.now(), ttl)?)
}

#[derive(Serialize)]
struct Claims<'a> {
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a UserName>,
    account_id: AccountId,
    role_code: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// A token that a server with the same settings trusts, from `now` on for `ttl` seconds.
pub(super) fn signed(
    signing: &Signing,
    identity: &Identity,
    now: Timestamp,
    ttl: i64,
) -> Result<String, TokenError> {
    let iat = now.timestamp();
    let claims = Claims {
        user_id: identity.user_id,
        user_name: identity.user_name.as_ref(),
        account_id: identity.account_id,
        role_code: &identity.role_code,
        iat,
        exp: iat.saturating_add(ttl),
        iss: signing.rules.issuer.as_deref(),
        aud: signing.rules.audience.as_deref(),
    };
    let key = EncodingKey::from_secret(signing.secret.expose_secret().as_bytes());
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &key,
    )?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use rerun_auth::{StaticKey, TokenRules, TokenVerifier};

    #[test]
    fn the_server_trusts_the_token() {
        let rules = TokenRules {
            issuer: Some("rerun".to_owned()),
            audience: Some("campaigns".to_owned()),
            ..TokenRules::default()
        };
        let secret = crate::system::random_secret();
        let signing = Signing {
            secret: secret.clone(),
            rules: rules.clone(),
        };
        let identity = Identity {
            account_id: AccountId::parse(ACCOUNT).unwrap(),
            user_id: UserId::parse(USER).unwrap(),
            user_name: Some(UserName::new("Ada").unwrap()),
            role_code: "EDITOR".to_owned(),
        };
        let verifier = TokenVerifier::new(
            Arc::new(StaticKey::secret(&secret).unwrap()),
            Algorithm::HS256,
            rules,
            Arc::new(SystemClock),
        );
        let now = SystemClock.now();
        let token = signed(&signing, &identity, now, 60).unwrap();
        assert_eq!(verifier.verify(&token).unwrap(), identity);
        let token = signed(&signing, &identity, now, -1).unwrap();
        assert!(verifier.verify(&token).is_err());
    }
}
