use rerun_deliver::NatsOptions;

use super::{ConfigError, Layers, table};

/// Where events are published; `None` if nowhere.
pub(super) fn read(layers: &Layers) -> Result<Option<NatsOptions>, ConfigError> {
    let Some(servers) = layers.given(&table::NATS_URL)? else {
        return Ok(None);
    };
    let credentials = layers.given(&table::NATS_CREDENTIALS_FILE)?;
    if credentials.is_some() && servers.name_a_user() {
        return Err(ConfigError::new(
            "RERUN_NATS_URL names a user, and RERUN_NATS_CREDENTIALS_FILE another one: leave one of \
             them out",
        ));
    }
    Ok(Some(NatsOptions {
        servers,
        credentials,
        stream: layers.value(&table::NATS_STREAM)?,
        prefix: layers.value(&table::NATS_SUBJECT_PREFIX)?,
        create_stream: layers.value(&table::NATS_CREATE_STREAM)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::layers;
    use super::*;
    use crate::config::Command;

    fn read_from(environment: &[(&str, &str)]) -> Result<Option<NatsOptions>, ConfigError> {
        read(&layers(Command::Dispatch, environment))
    }

    #[test]
    fn nothing_is_published_without_servers() {
        assert_eq!(read_from(&[("RERUN_NATS_STREAM", "x")]).unwrap(), None);
    }

    #[test]
    fn every_setting_of_nats_arrives() {
        let given = [
            ("RERUN_NATS_URL", "nats://one,nats://two"),
            ("RERUN_NATS_CREDENTIALS_FILE", "/etc/rerun.creds"),
            ("RERUN_NATS_STREAM", "all"),
            ("RERUN_NATS_SUBJECT_PREFIX", "a.b"),
            ("RERUN_NATS_CREATE_STREAM", "true"),
        ];
        let options = read_from(&given).unwrap().unwrap();
        assert_eq!(options.servers.to_string(), "nats://one,nats://two");
        assert_eq!(
            options.credentials.unwrap().to_str(),
            Some("/etc/rerun.creds")
        );
        assert_eq!((&*options.stream, &*options.prefix), ("all", "a.b"));
        assert!(options.create_stream);
        let least = read_from(&[("RERUN_NATS_URL", "tls://one:4223")])
            .unwrap()
            .unwrap();
        assert_eq!((&*least.stream, &*least.prefix), ("rerun", "rerun.events"));
        assert!(least.credentials.is_none() && !least.create_stream);
    }

    #[test]
    fn two_users_are_refused_and_no_password_is_shown() {
        let url = ("RERUN_NATS_URL", "nats://ada:s3cret@one");
        let file = ("RERUN_NATS_CREDENTIALS_FILE", "/etc/rerun.creds");
        let refused = read_from(&[url, file]).unwrap_err().to_string();
        assert!(refused.contains("leave one of them out"), "{refused}");
        let options = read_from(&[url]).unwrap().unwrap();
        for shown in [refused, format!("{options:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
