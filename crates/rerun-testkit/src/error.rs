use std::error::Error;
use std::io;
use std::process::ExitStatus;

use thiserror::Error;

use crate::SERVER_VARIABLE;

/// Any error of the caller's, as a migration returns it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why no server or no database could be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// There is no server to start, and none was named.
    #[error(
        "no PostgreSQL server was found (looked for `initdb` and `postgres` in {searched}): \
         install one (Debian and Ubuntu: `apt-get install postgresql`, \
         Fedora: `dnf install postgresql-server`, macOS: `brew install postgresql`) \
         or set {SERVER_VARIABLE} to the URL of a server"
    )]
    ServerNotFound {
        /// The folders that were looked through.
        searched: String,
    },

    /// PostgreSQL refuses to run as root, and there is no other user to run it as.
    #[error(
        "PostgreSQL does not run as root, and neither a user `postgres` nor `nobody` exists here"
    )]
    NoUnprivilegedUser,

    /// A file or a process could not be handled.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The operating system's answer.
        source: io::Error,
    },

    /// `initdb` refused.
    #[error("`initdb` failed ({status}): {output}")]
    InitDb {
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },

    /// The server ended while it was starting.
    #[error("the PostgreSQL server ended while starting ({status}); its log ends with:\n{log}")]
    EndedAtStart {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// The server is running but answers nobody.
    #[error("the PostgreSQL server did not accept connections in {seconds} s; its log:\n{log}")]
    NotReady {
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// The end of its log.
        log: String,
    },

    /// A server's URL that is none.
    #[error("`{url}` is not the URL of a PostgreSQL server (`postgres://user@host:port/database`)")]
    InvalidUrl {
        /// The text, without its password.
        url: String,
    },

    /// A template's name that cannot be part of a database's name.
    #[error(
        "`{name}` cannot name a template: 1 to 40 lower-case letters, digits and underscores can"
    )]
    InvalidTemplateName {
        /// The name.
        name: String,
    },

    /// The server was not reached.
    #[error("cannot connect to the PostgreSQL server: {0}")]
    Connection(#[from] diesel::ConnectionError),

    /// The server refused a statement.
    #[error("the PostgreSQL server refused: {0}")]
    Query(#[from] diesel::result::Error),

    /// The caller's migration failed; what it had done is gone.
    #[error("the migration of template `{template}` failed: {source}")]
    Migration {
        /// The template's name.
        template: String,
        /// The caller's error.
        source: BoxError,
    },
}

impl HarnessError {
    /// For `map_err`: names what was tried.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
