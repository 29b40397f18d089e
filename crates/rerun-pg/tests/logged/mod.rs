//! A server that logs what the store sends it.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;

use rerun_pg::{Options, PgStore};
use rerun_testkit::{ClusterOptions, PgCluster};

/// What a log entry of the store's connections starts with. Other connections have no name.
const STORE: &str = "store: LOG:  ";

/// A server with the schema, of which the store's log entries can be read.
pub(crate) struct LoggedServer {
    cluster: PgCluster,
    log: RefCell<File>,
}

impl LoggedServer {
    /// Starts a server with these settings.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let prefix = ("log_line_prefix", "%a: ");
        let settings = settings.iter().chain([&prefix]);
        let cluster = PgCluster::start_with(ClusterOptions {
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..ClusterOptions::default()
        })
        .unwrap();
        rerun_pg::migrate(&cluster.url("postgres")).unwrap();
        let log = RefCell::new(cluster.log().unwrap());
        Self { cluster, log }
    }

    /// The URL for connections that are none of the store's.
    pub(crate) fn url(&self) -> String {
        self.cluster.url("postgres")
    }

    /// The store, on one connection with these settings besides its own.
    pub(crate) fn store(&self, settings: &str) -> PgStore {
        let options = Options {
            pool_size: 1,
            ..Options::default()
        };
        let url = format!("{}?application_name=store{settings}", self.url());
        PgStore::connect(&url, &options).unwrap()
    }

    /// The store's log entries since the last call.
    pub(crate) fn new_entries(&self) -> Vec<String> {
        let mut text = String::new();
        self.log.borrow_mut().read_to_string(&mut text).unwrap();
        let mut entries: Vec<String> = Vec::new();
        let mut ours = false;
        for line in text.lines() {
            if let Some(more) = line.strip_prefix('\t') {
                if ours && let Some(entry) = entries.last_mut() {
                    entry.push('\n');
                    entry.push_str(more);
                }
            } else if let Some(entry) = line.strip_prefix(STORE) {
                entries.push(entry.to_owned());
                ours = true;
            } else {
                ours = false;
            }
        }
        entries
    }
}
