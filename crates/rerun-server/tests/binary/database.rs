use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::usecases::Settings;
use rerun_server::config::{self, DatabaseUrl};
use rerun_server::store::{Services, StorePorts};
use rerun_testkit::{TestDatabase, template_name};
use tempfile::TempDir;
use uuid::Uuid;

/// Where the migrations of PostgreSQL are.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// A migrated database that goes when this value does.
pub(crate) enum Database {
    Sqlite { file: String, _folder: TempDir },
    Postgres(TestDatabase),
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = crate::folder();
        let file = folder.path().join("rerun.db").display().to_string();
        rerun_sqlite::migrate(&format!("sqlite://{file}")).unwrap();
        Self::Sqlite {
            file,
            _folder: folder,
        }
    }

    pub(crate) fn postgres() -> Self {
        let template = template_name("rerun_http", Path::new(MIGRATIONS)).unwrap();
        let database = TestDatabase::create(&template, |url| {
            rerun_pg::migrate(url)?;
            Ok(())
        });
        Self::Postgres(database.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite://{file}"),
            Self::Postgres(database) => database.url().to_owned(),
        }
    }

    /// The use cases over it.
    pub(crate) fn open(&self) -> StorePorts {
        self.open_among(&Services::default())
    }

    /// The same in a process with these surroundings.
    pub(crate) fn open_among(&self, services: &Services) -> StorePorts {
        let url = match self {
            Self::Sqlite { .. } => DatabaseUrl::Sqlite(self.url()),
            Self::Postgres(_) => DatabaseUrl::Postgres(self.url()),
        };
        let database = config::Database::new(url, 2);
        StorePorts::open(&database, services, Settings::default()).unwrap()
    }

    /// Runs SQL as somebody does who goes round the program.
    pub(crate) fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite { file, .. } => {
                let mut connection = SqliteConnection::establish(file).unwrap();
                let patience = "PRAGMA busy_timeout = 10000;";
                connection.batch_execute(patience).unwrap();
                connection.batch_execute(sql)
            }
            Self::Postgres(database) => PgConnection::establish(database.url())
                .unwrap()
                .batch_execute(sql),
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// How many rows a query finds.
    pub(crate) fn rows(&self, query: &str) -> i64 {
        let count = diesel::sql_query(format!("SELECT count(*) AS rows FROM ({query}) AS found"));
        match self {
            Self::Sqlite { file, .. } => {
                let mut connection = SqliteConnection::establish(file).unwrap();
                count.get_result::<Count>(&mut connection)
            }
            Self::Postgres(database) => {
                let mut connection = PgConnection::establish(database.url()).unwrap();
                count.get_result::<Count>(&mut connection)
            }
        }
        .unwrap()
        .rows
    }

    /// An id as a literal of the database.
    pub(crate) fn id(&self, id: Uuid) -> String {
        match self {
            Self::Sqlite { .. } => self.bytes(id.as_bytes()),
            Self::Postgres(_) => format!("'{id}'::uuid"),
        }
    }

    /// Bytes as a literal of the database.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let digits = digits.concat();
        match self {
            Self::Sqlite { .. } => format!("x'{digits}'"),
            Self::Postgres(_) => format!("'\\x{digits}'::bytea"),
        }
    }
}
