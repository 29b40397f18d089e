use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::{Bool, Integer, Text};
use diesel::{Connection as _, PgConnection, RunQueryDsl as _};

use crate::{BoxError, HarnessError, PgCluster, random_token, url};

/// The environment variable that names the PostgreSQL server to test on: a `postgres://` URL whose
/// role may create databases. Unset or empty: a server is started from the installed binaries.
pub const SERVER_VARIABLE: &str = "RERUN_TEST_DATABASE_URL";

/// The environment variable that names a pooler before that server: a `postgres://` URL, or unset for none.
pub const POOLER_VARIABLE: &str = "RERUN_TEST_POOLER_URL";

/// `pg_advisory_lock` key of making a template: any number that nothing else on the server locks.
const TEMPLATE_LOCK: &str = "7203561892045118327";

/// The first version (as `server_version_num`) in which `CREATE DATABASE` takes a strategy; before
/// it, copying files was the only one.
const STRATEGY_SINCE: i32 = 150_000;

/// One for the whole process. A `static` is never dropped: the cluster's watchdog ends it.
static SERVER: Mutex<Option<PgCluster>> = Mutex::new(None);

/// A migrated database for one test, dropped with this value.
///
/// The first one of a template costs a migration, each further one a copy of files.
#[derive(Debug)]
pub struct TestDatabase {
    server_url: String,
    name: String,
    url: String,
}

/// A name for [`TestDatabase::create`] that starts with `prefix` and goes with the texts of the
/// migrations in `folder`, so that a server that outlives the run never hands out an older schema.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn template_name(prefix: &str, folder: &Path) -> io::Result<String> {
    let mut migrations: Vec<_> = fs::read_dir(folder)?
        .map(|migration| Ok(migration?.path()))
        .collect::<io::Result<_>>()?;
    migrations.sort();
    let mut hash = DefaultHasher::new();
    for migration in migrations {
        migration.file_name().hash(&mut hash);
        fs::read(migration.join("up.sql"))?.hash(&mut hash);
    }
    Ok(format!("{prefix}_{:016x}", hash.finish()))
}

impl TestDatabase {
    /// A new database with what `migrate` makes, on the server that [`SERVER_VARIABLE`] names, else
    /// on one that is started for this process.
    ///
    /// `migrate` gets the URL of an empty database; it runs once per server and `template_name`,
    /// however many processes ask at the same time, and its result is the template of all further
    /// databases. On a server that outlives the test run the template stays: `template_name` must
    /// change when `migrate` does, for instance by holding the last migration's version.
    ///
    /// # Errors
    ///
    /// When there is no server ([`HarnessError::ServerNotFound`] says what to install), when
    /// `migrate` fails (nothing of its work stays), when `template_name` is not 1 to 40 lower-case
    /// letters, digits and underscores, and when the server refuses.
    pub fn create(
        template_name: &str,
        migrate: impl FnOnce(&str) -> Result<(), BoxError>,
    ) -> Result<Self, HarnessError> {
        Self::create_on(&server_url()?, template_name, migrate)
    }

    /// As [`TestDatabase::create`], on the server at `server_url`, whatever its database; give it
    /// `cluster.url("postgres")` for a [`PgCluster`]. Drop the database before its cluster.
    ///
    /// # Errors
    ///
    /// As [`TestDatabase::create`], and when `server_url` is no `postgres://` URL.
    pub fn create_on(
        server_url: &str,
        template_name: &str,
        migrate: impl FnOnce(&str) -> Result<(), BoxError>,
    ) -> Result<Self, HarnessError> {
        let template = template_database(template_name)?;
        let template_url = url::with_database(server_url, &template)?;
        let mut server = PgConnection::establish(server_url)?;
        if !is_ready(&mut server, &template)? {
            server.batch_execute(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"))?;
            // Somebody else may have made it while this waited for the lock.
            if !is_ready(&mut server, &template)? {
                make_template(&mut server, &template, || {
                    migrate(&template_url).map_err(|source| HarnessError::Migration {
                        template: template_name.to_owned(),
                        source,
                    })
                })?;
            }
            server.batch_execute(&format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"))?;
        }
        let name = format!("rerun_test_{}", random_token());
        let database_url = url::with_database(server_url, &name)?;
        let strategy = if version(&mut server)? >= STRATEGY_SINCE {
            // Measured on tmpfs: a third of the time of the default, which copies page by page.
            "STRATEGY file_copy"
        } else {
            ""
        };
        server.batch_execute(&format!(
            r#"CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}"#
        ))?;
        Ok(Self {
            server_url: server_url.to_owned(),
            name,
            url: database_url,
        })
    }

    /// The database's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's URL at the pooler that [`POOLER_VARIABLE`] names.
    ///
    /// # Errors
    ///
    /// When the variable is no `postgres://` URL.
    pub fn pooled_url(&self) -> Result<Option<String>, HarnessError> {
        let pooler = env::var(POOLER_VARIABLE).ok();
        let pooler = pooler.filter(|url| !url.is_empty());
        pooler
            .map(|pooler| url::with_database(&pooler, &self.name))
            .transpose()
    }

    /// The database's name on its server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn drop_now(&self) -> Result<(), HarnessError> {
        let mut server = PgConnection::establish(&self.server_url)?;
        drop_database(&mut server, &self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Err(error) = self.drop_now() {
            // Nobody to return it to, and a test that passed has still passed.
            let _ = writeln!(
                io::stderr(),
                "cannot drop the database {}: {error}",
                self.name
            );
        }
    }
}

fn server_url() -> Result<String, HarnessError> {
    if let Ok(named) = env::var(SERVER_VARIABLE)
        && !named.is_empty()
    {
        return Ok(named);
    }
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = match server.take() {
        Some(cluster) => cluster,
        None => PgCluster::start()?,
    };
    Ok(server.insert(cluster).url("postgres"))
}

fn template_database(template_name: &str) -> Result<String, HarnessError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if (1..=40).contains(&template_name.len()) && template_name.bytes().all(allowed) {
        Ok(format!("rerun_template_{template_name}"))
    } else {
        Err(HarnessError::InvalidTemplateName {
            name: template_name.to_owned(),
        })
    }
}

/// The server's mark of a template is set last: a database without it is one whose making was cut
/// off, by a crash for instance.
fn is_ready(server: &mut PgConnection, template: &str) -> Result<bool, HarnessError> {
    let query =
        sql::<Bool>("SELECT EXISTS (SELECT FROM pg_database WHERE datistemplate AND datname = ")
            .bind::<Text, _>(template)
            .sql(")");
    Ok(query.get_result(server)?)
}

fn make_template(
    server: &mut PgConnection,
    template: &str,
    migrate: impl FnOnce() -> Result<(), HarnessError>,
) -> Result<(), HarnessError> {
    drop_database(server, template)?;
    // Not from template1: it cannot be copied while anybody is connected to it.
    server.batch_execute(&format!(
        r#"CREATE DATABASE "{template}" TEMPLATE template0"#
    ))?;
    if let Err(error) = migrate() {
        drop_database(server, template)?;
        return Err(error);
    }
    // A database that somebody is connected to cannot be copied: no new connections, then an end
    // to those that the migration may have left behind in a pool.
    server.batch_execute(&format!(
        r#"ALTER DATABASE "{template}" WITH ALLOW_CONNECTIONS false"#
    ))?;
    server.batch_execute(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"
    ))?;
    server.batch_execute(&format!(
        r#"ALTER DATABASE "{template}" WITH IS_TEMPLATE true"#
    ))?;
    Ok(())
}

fn drop_database(server: &mut PgConnection, name: &str) -> Result<(), HarnessError> {
    Ok(server.batch_execute(&format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#))?)
}

fn version(server: &mut PgConnection) -> Result<i32, HarnessError> {
    Ok(
        sql::<Integer>("SELECT current_setting('server_version_num')::integer")
            .get_result(server)?,
    )
}
