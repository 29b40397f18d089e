use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_pg::Pooler;
use rerun_server::config::DatabaseUrl;
use rerun_testkit::{TestDatabase, template_name};
use tempfile::TempDir;

/// Where the migrations of PostgreSQL are.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");

/// Which kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// A migrated database that goes when this value does.
pub(crate) enum Database {
    Sqlite { file: String, _folder: TempDir },
    Postgres(TestDatabase),
}

impl Database {
    pub(crate) fn new(store: Store) -> Self {
        match store {
            Store::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("rerun.db").display().to_string();
                rerun_sqlite::migrate(&format!("sqlite://{file}")).unwrap();
                Self::Sqlite {
                    file,
                    _folder: folder,
                }
            }
            Store::Postgres => {
                let template = template_name("rerun_http", Path::new(MIGRATIONS)).unwrap();
                let database = TestDatabase::create(&template, |url| {
                    rerun_pg::migrate(url)?;
                    Ok(())
                });
                Self::Postgres(database.unwrap())
            }
        }
    }

    pub(crate) fn url(&self) -> DatabaseUrl {
        match self {
            Self::Sqlite { file, .. } => DatabaseUrl::Sqlite(format!("sqlite://{file}")),
            Self::Postgres(database) => {
                let pooled = database.pooled_url().unwrap();
                DatabaseUrl::Postgres(pooled.unwrap_or_else(|| database.url().to_owned()))
            }
        }
    }

    /// What is before the database, as scripts/pooler has it.
    pub(crate) fn pooler(&self) -> Pooler {
        match self {
            Self::Postgres(database) if database.pooled_url().unwrap().is_some() => {
                Pooler::Transaction
            }
            Self::Postgres(_) | Self::Sqlite { .. } => Pooler::None,
        }
    }

    /// Runs SQL behind the server's back.
    pub(crate) fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite { file, .. } => {
                let mut connection = SqliteConnection::establish(file).unwrap();
                let patient = format!("PRAGMA busy_timeout = 5000; {sql}");
                connection.batch_execute(&patient).unwrap();
            }
            Self::Postgres(database) => {
                let mut connection = PgConnection::establish(database.url()).unwrap();
                connection.batch_execute(sql).unwrap();
            }
        }
    }

    /// Whether some row of some table has this text in it.
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Sqlite { file, .. } => {
                let mut connection = SqliteConnection::establish(file).unwrap();
                let columns = "SELECT m.name AS table_name, c.name AS column_name \
                     FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'";
                let columns = diesel::sql_query(columns).load::<ColumnRow>(&mut connection);
                let columns = columns.unwrap();
                assert!(columns.len() > 50, "{columns:?}");
                columns.into_iter().any(|column| {
                    let query = format!(
                        "SELECT count(*) AS found FROM \"{}\" WHERE instr(CAST(\"{}\" AS text), ?)",
                        column.table_name, column.column_name
                    );
                    let query = diesel::sql_query(query).bind::<Text, _>(text);
                    query.get_result::<FoundRow>(&mut connection).unwrap().found > 0
                })
            }
            Self::Postgres(database) => {
                let mut connection = PgConnection::establish(database.url()).unwrap();
                let columns = "SELECT table_name::text, column_name::text \
                     FROM information_schema.columns WHERE table_schema = 'public'";
                let columns = diesel::sql_query(columns).load::<ColumnRow>(&mut connection);
                let columns = columns.unwrap();
                assert!(columns.len() > 50, "{columns:?}");
                columns.into_iter().any(|column| {
                    let query = format!(
                        "SELECT count(*) AS found FROM \"{}\" \
                         WHERE position($1 IN \"{}\"::text) > 0",
                        column.table_name, column.column_name
                    );
                    let query = diesel::sql_query(query).bind::<Text, _>(text);
                    query.get_result::<FoundRow>(&mut connection).unwrap().found > 0
                })
            }
        }
    }

    /// Keeps the server from writing until the answer is dropped: SQLite is locked by another
    /// process, PostgreSQL takes no connections.
    pub(crate) fn outage(&self) -> Outage {
        match self {
            Self::Sqlite { file, .. } => {
                let mut connection = SqliteConnection::establish(file).unwrap();
                connection
                    .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
                    .unwrap();
                Outage::Sqlite(connection)
            }
            Self::Postgres(database) => {
                let name = database.name();
                let server = database.url().replace(name, "postgres");
                let mut connection = PgConnection::establish(&server).unwrap();
                connection
                    .batch_execute(&format!(
                        "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false; \
                         SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE datname = '{name}'"
                    ))
                    .unwrap();
                let name = name.to_owned();
                Outage::Postgres { connection, name }
            }
        }
    }
}

#[derive(Debug, QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// See [`Database::outage`].
pub(crate) enum Outage {
    Sqlite(SqliteConnection),
    Postgres {
        connection: PgConnection,
        name: String,
    },
}

impl Outage {
    pub(crate) fn end(self) {
        match self {
            Self::Sqlite(mut connection) => connection.batch_execute("ROLLBACK").unwrap(),
            Self::Postgres {
                mut connection,
                name,
            } => connection
                .batch_execute(&format!(
                    "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"
                ))
                .unwrap(),
        }
    }
}
