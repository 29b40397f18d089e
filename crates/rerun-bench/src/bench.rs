//! A server, its database, and the measurements.

use std::net::SocketAddr;
use std::time::Duration;

use uuid::Uuid;

use crate::api::{Account, Api};
use crate::cpu::{self, Meter};
use crate::database::Database;
use crate::figures::{Figures, Row, Turn};
use crate::floor::Floor;
use crate::options::Options;
use crate::server::{Launcher, Server};
use crate::{Outcome, catalogue, progress, report};

/// A server, its database, and what was measured so far.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    server: Server,
    pub(crate) launcher: Launcher,
    database: Database,
    rows: Vec<Row>,
    accounts: u128,
}

/// The turns of the server, and those of bare SQL.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) server: Vec<Turn>,
    pub(crate) floor: Vec<Turn>,
}

impl<'a> Bench<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "accounts on a database that earlier runs used must be new"
    )]
    pub(crate) fn start(options: &'a Options) -> Outcome<Self> {
        let database = Database::open(options)?;
        if options.statements
            && let Some(floor) = &database.floor
        {
            floor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")?;
        }
        let launcher = Launcher::new(database.url.clone(), options.server.clone())?;
        let server = launcher.start(&[])?;
        Ok(Self {
            options,
            server,
            launcher,
            database,
            rows: Vec::new(),
            accounts: Uuid::new_v4().as_u128(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn server_id(&self) -> u32 {
        self.server.id()
    }

    pub(crate) fn api(&self) -> Outcome<Api> {
        Api::open(self.address())
    }

    /// A new account.
    pub(crate) fn account(&mut self) -> Outcome<Account> {
        self.accounts = self.accounts.wrapping_add(1);
        Account::new(Uuid::from_u128(self.accounts))
    }

    pub(crate) fn accounts(&mut self, count: u32) -> Outcome<Vec<Account>> {
        (0..count).map(|_| self.account()).collect()
    }

    pub(crate) fn floor(&self) -> Option<&Floor> {
        self.database.floor.as_ref()
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter {
            server: self.server.id(),
            postmaster: self.database.postmaster,
        }
    }

    /// What the database is.
    pub(crate) fn database(&self) -> &str {
        &self.database.description
    }

    /// Takes the rows that were measured.
    pub(crate) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    pub(crate) fn settle(&self) -> Outcome<()> {
        self.database.settle()
    }

    /// Whether nothing is left of what was deleted.
    pub(crate) fn is_swept(&self) -> Outcome<bool> {
        self.database.is_swept()
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.options.wants(name)
    }

    /// Ends the server and starts another one with some more settings.
    pub(crate) fn restart(&mut self, settings: &[(&str, &str)]) -> Outcome<()> {
        // The old one ends when it is replaced; that two serve for a moment hurts nobody.
        self.server = self.launcher.start(settings)?;
        Ok(())
    }

    /// Lets server and bare SQL take turns, so that what else the machine does meets both. The
    /// first turn of each is left out where `warm` says so.
    pub(crate) fn turns(
        &self,
        rounds: u32,
        warm: bool,
        mut server: impl FnMut(&Self) -> Outcome<Turn>,
        mut floor: impl FnMut(&Self, &Floor) -> Outcome<Turn>,
    ) -> Outcome<Turns> {
        let mut turns = Turns::default();
        let left_out = u32::from(warm);
        cpu::forget_peak(self.server_id());
        for round in 0..rounds + left_out {
            let first = server(self)?;
            let second = self.floor().map(|sql| floor(self, sql)).transpose()?;
            if round >= left_out {
                turns.server.push(first);
                turns.floor.extend(second);
            } else {
                self.forget_statements()?;
            }
        }
        Ok(turns)
    }

    /// Makes a row of the table of turns, in which each operation is worth `weight`.
    pub(crate) fn record(&mut self, name: &str, turns: &Turns, weight: u32) {
        self.record_noting(name, turns, weight, None);
    }

    /// The same, with what there is to say besides.
    pub(crate) fn record_noting(
        &mut self,
        name: &str,
        turns: &Turns,
        weight: u32,
        note: Option<String>,
    ) {
        let figures = |turns: &[Turn]| (!turns.is_empty()).then(|| Figures::of(turns, weight));
        let row = Row {
            name: name.to_owned(),
            work: catalogue::about(name),
            server: figures(&turns.server),
            floor: figures(&turns.floor),
            memory_mb: cpu::memory_peak(self.server_id()),
            note,
        };
        self.add(row);
    }

    pub(crate) fn add(&mut self, row: Row) {
        progress(&report::line(&row));
        if let Err(failure) = self.show_statements() {
            progress(&format!("(no statements: {failure})"));
        }
        self.rows.push(row);
    }

    fn forget_statements(&self) -> Outcome<()> {
        match self.floor() {
            Some(floor) if self.options.statements => {
                floor.execute("SELECT pg_stat_statements_reset()")
            }
            _ => Ok(()),
        }
    }

    fn show_statements(&self) -> Outcome<()> {
        let Some(floor) = self.floor().filter(|_| self.options.statements) else {
            return Ok(());
        };
        let rows = floor.texts(
            "SELECT calls, round(total_exec_time::numeric, 1), \
               round(mean_exec_time::numeric, 3), round(rows::numeric / calls, 1), \
               left(regexp_replace(query, '\\s+', ' ', 'g'), 150) \
             FROM pg_stat_statements WHERE query NOT LIKE '%/* floor */%' AND calls > 0 \
             ORDER BY total_exec_time DESC LIMIT 12",
        )?;
        progress("     calls    total ms    mean ms   rows each  statement");
        for row in rows {
            if let [calls, total, mean, each, text] = row.as_slice() {
                progress(&format!(
                    "{calls:>10}{total:>12}{mean:>11}{each:>12}  {text}"
                ));
            }
        }
        self.forget_statements()
    }

    /// Puts the rows into the order of what `place` answers.
    pub(crate) fn sort(&mut self, place: impl Fn(&Row) -> Option<usize>) {
        self.rows.sort_by_key(place);
    }

    pub(crate) fn turn_length(&self) -> Duration {
        self.options.turn()
    }
}
