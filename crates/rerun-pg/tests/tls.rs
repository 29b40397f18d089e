//! The store over TLS: whom it trusts, and what it says of whom it does not.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rerun_core::ports::HealthCheck;
use rerun_pg::{Options, PgStore};
use rerun_testkit::{ClusterOptions, PgCluster, TlsFiles};

/// An authority of one's own.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server that it vouches for by this name or address.
    fn server(&self, name: &str) -> PgCluster {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let tls = Some(TlsFiles {
            certificate,
            key: key.serialize_pem(),
        });
        PgCluster::start_with(ClusterOptions {
            tls,
            ..ClusterOptions::default()
        })
        .unwrap()
    }

    fn save(&self, folder: &Path, name: &str) -> String {
        let path = folder.join(name);
        std::fs::write(&path, &self.certificate).unwrap();
        path.display().to_string()
    }
}

fn verified(cluster: &PgCluster, authority: &str) -> String {
    let url = cluster.url("postgres");
    format!("{url}?sslmode=verify-full&sslrootcert={authority}")
}

fn refused(url: &str) -> String {
    let hasty = Options {
        acquire_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let error = PgStore::connect(url, &hasty).map(drop).unwrap_err();
    let migration = rerun_pg::migrate(url).unwrap_err().to_string();
    for text in [error.to_string(), format!("{error:?}"), migration.clone()] {
        let password = url.split(':').nth(2).unwrap().split('@').next().unwrap();
        assert!(password.len() > 8 && !text.contains(password), "{text}");
    }
    migration
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let trusted = ours.save(folder.path(), "ours.pem");
    let untrusted = theirs.save(folder.path(), "theirs.pem");

    let cluster = ours.server("127.0.0.1");
    let url = verified(&cluster, &trusted);
    rerun_pg::migrate(&url).unwrap();
    let store = PgStore::connect(&url, &Options::default()).unwrap();
    store.check().await.unwrap();

    let said = refused(&verified(&cluster, &untrusted));
    assert!(said.contains("certificate verify failed"), "{said}");
    let said = refused(&verified(&cluster, "/no/such/file.pem"));
    assert!(said.contains("/no/such/file.pem"), "{said}");

    let elsewhere = ours.server("db.example");
    let said = refused(&verified(&elsewhere, &trusted));
    assert!(said.contains("does not match host name"), "{said}");

    let without = PgCluster::start().unwrap();
    let said = refused(&verified(&without, &trusted));
    assert!(said.contains("does not support SSL"), "{said}");
}
