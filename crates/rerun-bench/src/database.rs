//! The database that the benchmark uses.

use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use rerun_testkit::{ClusterOptions, PgCluster};
use tempfile::TempDir;

use crate::floor::Floor;
use crate::options::Options;
use crate::{Failure, Outcome, cpu, progress};

const NAME: &str = "bench";

/// What one gives a PostgreSQL of this size, beside its own defaults.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB")];

/// A database. A throw-away one is gone when dropped.
pub(crate) struct Database {
    /// Where the server finds it.
    pub(crate) url: String,
    /// Bare SQL, where the database takes it from others than the server.
    pub(crate) floor: Option<Floor>,
    /// The process whose children are the database's.
    pub(crate) postmaster: Option<u32>,
    /// What it is, for people.
    pub(crate) description: String,
    _cluster: Option<PgCluster>,
    /// The file of SQLite, with its folder.
    file: Option<(PathBuf, TempDir)>,
}

/// Deleted campaigns and groups of which something is left, in PostgreSQL and in SQLite.
const LEFT: &str = "SELECT count(*) FROM ( \
    SELECT 1 FROM deleted_campaigns UNION ALL \
    SELECT 1 FROM customer_groups WHERE deleted_at IS NOT NULL AND customer_count > 0) AS left_over";
const LEFT_IN_FILE: &str = "SELECT count(*) FROM ( \
    SELECT 1 FROM deleted_campaigns UNION ALL \
    SELECT 1 FROM customer_editions WHERE building = 0)";

impl Database {
    pub(crate) fn open(options: &Options) -> Outcome<Self> {
        if options.sqlite {
            return Self::sqlite();
        }
        if let Some(url) = &options.database_url {
            return Self::postgres(url.clone(), None, "");
        }
        let own = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut settings = own.to_vec();
        if options.statements {
            let preload = ("shared_preload_libraries", "pg_stat_statements");
            settings.push((preload.0.to_owned(), preload.1.to_owned()));
        }
        settings.extend(options.postgres.iter().cloned());
        let described: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        progress("Starting a PostgreSQL.");
        let cluster = PgCluster::start_with(ClusterOptions {
            durable: !options.forgetful,
            settings,
            ..ClusterOptions::default()
        })?;
        Floor::new(&cluster.socket_url("postgres"))?.execute(&format!("CREATE DATABASE {NAME}"))?;
        let durable = if options.forgetful {
            "not durable"
        } else {
            "durable"
        };
        let described = format!(", {durable}, on a Unix socket, {}", described.join(", "));
        Self::postgres(cluster.socket_url(NAME), Some(cluster), &described)
    }

    fn postgres(url: String, cluster: Option<PgCluster>, described: &str) -> Outcome<Self> {
        let floor = Floor::new(&url)?;
        let facts = floor.texts("SELECT current_setting('server_version'), pg_backend_pid()")?;
        let fact = |column: usize| {
            let fact = facts.first().and_then(|row| row.get(column));
            fact.cloned().unwrap_or_default()
        };
        // Only one of its children is there while this one asks, and that one is asking.
        let sessions = floor.sessions(1, &["SELECT pg_backend_pid()"])?;
        let backend = floor.with(async {
            let session = sessions.first();
            match session {
                Some(session) => {
                    let rows = session.query(0, &Vec::new()).await?;
                    Ok(rows.first().and_then(|row| row.try_get::<_, i32>(0).ok()))
                }
                None => Ok(None),
            }
        })?;
        let postmaster = backend
            .and_then(|backend| u32::try_from(backend).ok())
            .and_then(cpu::postmaster_of);
        Ok(Self {
            url,
            floor: Some(floor),
            postmaster,
            description: format!("PostgreSQL {}{described}", fact(0)),
            _cluster: cluster,
            file: None,
        })
    }

    fn sqlite() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("rerun-bench-").tempdir()?;
        let file = folder.path().join("rerun.db");
        Ok(Self {
            url: format!("sqlite://{}", file.display()),
            floor: None,
            postmaster: None,
            description: "SQLite, a file".to_owned(),
            _cluster: None,
            file: Some((file, folder)),
        })
    }

    /// Whether nothing is left of what was deleted. The server does not tell.
    pub(crate) fn is_swept(&self) -> Outcome<bool> {
        if let Some(floor) = &self.floor {
            return Ok(floor.texts(LEFT)? == [["0"]]);
        }
        let Some((file, _)) = &self.file else {
            return Err(Failure::from(
                "only the throw-away databases of the benchmark can be looked into",
            ));
        };
        let mut conn = SqliteConnection::establish(&file.to_string_lossy())?;
        conn.batch_execute("PRAGMA busy_timeout = 5000")?;
        Ok(sql::<BigInt>(LEFT_IN_FILE).get_result::<i64>(&mut conn)? == 0)
    }

    /// Does what time would do: what was seeded is vacuumed, counted for the planner, and written
    /// out, so that none of it falls into the time that is measured.
    pub(crate) fn settle(&self) -> Outcome<()> {
        let Some(floor) = &self.floor else {
            return Ok(());
        };
        floor.execute("VACUUM (ANALYZE)")?;
        floor.execute("CHECKPOINT")
    }
}
