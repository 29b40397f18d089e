//! Every statement that the cases send keeps the rules of a distributed database, or is an
//! exception with a reason.

mod exceptions;
mod rules;

use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Write as _};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use diesel::sql_types::{Array, Bool, Text};
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use exceptions::EXCEPTIONS;
use rerun_testkit::TestDatabase;
use rules::breaches;

/// What follows the text of a statement when diesel shows it.
const VALUES: &str = " -- binds:";

/// What the store calls while a server of a distributed database is lost.
const BY_PART: [&str; 2] = ["master_run_on_worker", "run_command_on_shards"];

/// The statements that connections have sent since they were judged last, and those before.
#[derive(Default)]
struct Sent {
    new: Vec<String>,
    known: HashSet<String>,
    /// The exceptions that a statement needed, by their places in the list.
    needed: BTreeSet<usize>,
    /// The cases that have ended.
    cases: BTreeSet<String>,
}

static SENT: OnceLock<Mutex<Sent>> = OnceLock::new();
static SCHEMA: OnceLock<Schema> = OnceLock::new();

struct Schema {
    /// Those with an account.
    tables: BTreeSet<String>,
    is_distributed: bool,
}

/// Takes the text of a statement, and no more: some have values without end.
#[derive(Default)]
struct TextAlone(String);

impl fmt::Write for TextAlone {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0.push_str(part);
        match self.0.find(VALUES) {
            Some(end) => {
                self.0.truncate(end);
                Err(fmt::Error)
            }
            None => Ok(()),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as diesel wants it")]
fn listening() -> Option<Box<dyn Instrumentation>> {
    let listen = |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let mut text = TextAlone::default();
            // It ends with an error where the values begin.
            let _ = write!(text, "{query}");
            let TextAlone(text) = text;
            let sent = SENT.get_or_init(Mutex::default);
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.known.insert(text.clone()) {
                sent.new.push(text);
            }
        }
    };
    Some(Box::new(listen))
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Array<Text>)]
    tables: Vec<String>,
    #[diesel(sql_type = Bool)]
    is_distributed: bool,
}

/// A case's database. When it goes, the statements that were sent are judged.
pub(crate) struct JudgedDatabase(TestDatabase);

impl JudgedDatabase {
    /// Listens to every connection that is made from now on.
    pub(crate) fn new(database: TestDatabase) -> Self {
        SCHEMA.get_or_init(|| {
            let mut admin = PgConnection::establish(database.url()).expect("a connection");
            diesel::sql_query(
                "SELECT ARRAY(SELECT table_name::text FROM information_schema.columns \
                     WHERE column_name = 'account_id') AS tables, \
                   EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table') \
                     AS is_distributed",
            )
            .get_result::<SchemaRow>(&mut admin)
            .map(|row| Schema {
                tables: row.tables.into_iter().collect(),
                is_distributed: row.is_distributed,
            })
            .expect("a schema")
        });
        set_default_instrumentation(listening).expect("nothing holds the setting");
        Self(database)
    }

    /// The database's URL.
    pub(crate) fn url(&self) -> &str {
        self.0.url()
    }

    /// The same at the pooler that the tests are run through, if they are.
    pub(crate) fn pooled_url(&self) -> Option<String> {
        self.0.pooled_url().expect("a URL of the pooler")
    }
}

impl Drop for JudgedDatabase {
    fn drop(&mut self) {
        let sent = SENT.get_or_init(Mutex::default);
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let new = std::mem::take(&mut sent.new);
        let faults: Vec<String> = new
            .iter()
            .filter_map(|text| fault(text, &mut sent.needed))
            .collect();
        // A thread has the name of its test.
        let case = thread::current()
            .name()
            .filter(|name| is_case(name))
            .map(str::to_owned);
        let last = case.is_some_and(|case| sent.cases.insert(case)) && sent.cases.len() == cases();
        let needed = last.then(|| sent.needed.clone());
        drop(sent);
        if thread::panicking() {
            return;
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        // Where tables are distributed, some statements are others, and need no exception.
        let Some(needed) = needed.filter(|_| SCHEMA.get().is_some_and(|it| !it.is_distributed))
        else {
            return;
        };
        let rest = EXCEPTIONS.iter().enumerate();
        let rest: Vec<_> = rest.filter(|(place, _)| !needed.contains(place)).collect();
        // It would let the next statement through.
        assert!(rest.is_empty(), "no statement of any case needs {rest:#?}");
    }
}

/// Whether a test is a case of the contract.
fn is_case(test: &str) -> bool {
    test.contains("::") && !test.starts_with("statements::")
}

/// How many cases there are.
fn cases() -> usize {
    static CASES: OnceLock<usize> = OnceLock::new();
    *CASES.get_or_init(|| {
        let this = std::env::current_exe().expect("this program");
        let listed = Command::new(this).arg("--list").output().expect("a list");
        let listed = String::from_utf8(listed.stdout).expect("names");
        let tests = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        tests.filter(|test| is_case(test)).count()
    })
}

/// The text with `?` for its values, single spaces and no quotes of names, as an exception names it.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '$' if rest.peek().is_some_and(char::is_ascii_digit) => {
                while rest.next_if(char::is_ascii_digit).is_some() {}
                plain.push('?');
            }
            '"' => {}
            next if next.is_whitespace() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            next => plain.push(next),
        }
    }
    plain
}

/// Which rules a statement breaks, apart from exceptions. It adds those that it needs.
fn fault(text: &str, needed: &mut BTreeSet<usize>) -> Option<String> {
    if BY_PART.iter().any(|function| text.contains(function)) {
        return Some(format!(
            "no server is lost, but a statement for all of them failed, and this followed: {text}"
        ));
    }
    let tables = &SCHEMA.get()?.tables;
    let mut words = text.split(|next: char| !next.is_alphanumeric() && next != '_');
    if !words.any(|word| tables.contains(word)) {
        return None;
    }
    let plain = plain(text);
    match breaches(text, tables) {
        Err(error) => Some(format!("{error}: {text}")),
        Ok(found) => {
            let kept = found.into_iter().filter(|(rule, _)| {
                let places: Vec<usize> = (0..EXCEPTIONS.len())
                    .filter(|place| {
                        let (excepted, part, _) = &EXCEPTIONS[*place];
                        excepted == rule && plain.contains(part)
                    })
                    .collect();
                needed.extend(&places);
                places.is_empty()
            });
            let kept: Vec<String> = kept
                .map(|(rule, what)| format!("{rule} ({what})"))
                .collect();
            (!kept.is_empty()).then(|| format!("{}: {plain}", kept.join("; ")))
        }
    }
}
