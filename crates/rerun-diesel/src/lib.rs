#![doc = include_str!("../README.md")]

pub mod changed_groups;
pub mod cursors;
pub mod error;
pub mod events;
pub mod lanes;
pub mod pool;
pub mod responses;
pub mod row;
pub mod schedules;
pub mod shared;
pub mod sql;
mod successor;
pub mod types;
mod waits;
pub mod watch;
pub mod webhooks;

/// A migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The migration's name: its version and what it does.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Why the schema could not be brought up to date, or read.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database could not be reached or opened.
    #[error("cannot connect to the database: {0}")]
    Connect(#[from] diesel::ConnectionError),
    /// The database has a migration that this version does not know: it belongs to a newer one.
    #[error("the database has migration {0}, which this version does not know: it is newer")]
    Newer(String),
    /// The database can be read, but not written.
    #[error("the database {0} is read-only for this process: neither it nor its folder may be")]
    ReadOnly(String),
    /// Another process changes the schema, and did not end in this time. Nothing was changed.
    #[error(
        "another process has been changing the schema for more than {} s; nothing was changed here",
        .0.as_secs()
    )]
    Locked(std::time::Duration),
    /// The database gave no sign in this time. A server that goes on may still commit what it was
    /// told to commit.
    #[error(
        "the database has not answered for {} s; migrations are applied all or none: see which \
         with `migrate --status` when it answers again", .0.as_secs()
    )]
    Silent(std::time::Duration),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Failed(rerun_core::error::Cause),
}
