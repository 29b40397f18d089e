use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::catalogue;

/// Measures the server, and bare SQL doing the same work, on one database.
///
/// Build the server first: cargo build --release -p rerun-server
#[derive(Debug, Parser)]
#[command(version)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Options {
    /// Lists what can be measured
    #[arg(long)]
    pub(crate) list: bool,
    /// Measures only these, separated by commas: names, or what several names begin with
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Sizes a hundredth, short rounds: whether everything works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// Divides the sizes of groups, runs and histories
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shrink: u32,
    /// How often server and floor take turns [default: 5]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds of load in each turn, where it is a rate that is measured [default: 3]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Seconds of the mixed load that the server's memory is watched under [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    load_seconds: Option<u64>,
    /// Measures on this database, which must be empty, instead of a throw-away one
    #[arg(long, value_name = "URL", conflicts_with = "sqlite")]
    pub(crate) database_url: Option<String>,
    /// Measures on a throw-away `SQLite` file; it has no floor
    #[arg(long)]
    pub(crate) sqlite: bool,
    /// Lets the throw-away PostgreSQL forget commits in a crash
    #[arg(long)]
    pub(crate) forgetful: bool,
    /// A setting of the throw-away PostgreSQL, such as `shared_buffers=2GB`; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) postgres: Vec<(String, String)>,
    /// A setting of the server, such as `RERUN_DATABASE_POOL_SIZE=4`; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) server: Vec<(String, String)>,
    /// Shows after each work the statements that took the database most of its time; costs some
    #[arg(long)]
    pub(crate) statements: bool,
    /// Writes the results to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Compares with results that an earlier run wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    /// Measures how costs grow with sizes instead, and draws it
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) growth: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Options {
    /// A size, as far as it is to be shrunk.
    pub(crate) fn size(&self, whole: u32) -> u32 {
        let divisor = if self.quick { 100 } else { self.shrink };
        // Below this a page would not be full, or a group have no two customers of a segment.
        (whole / divisor).max(whole.min(50))
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(crate) fn turn(&self) -> Duration {
        match self.seconds {
            Some(seconds) => Duration::from_secs(seconds),
            None if self.quick => Duration::from_millis(300),
            None => Duration::from_secs(3),
        }
    }

    pub(crate) fn load(&self) -> Duration {
        Duration::from_secs(self.load_seconds.unwrap_or(if self.quick { 3 } else { 60 }))
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let is_meant = |only: &String| {
            let is_whole = catalogue::find(only).is_some();
            name == only || (!is_whole && name.starts_with(only.as_str()))
        };
        self.only.is_empty() || self.only.iter().any(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn sizes_shrink_but_stay_usable() {
        let quick = Options::parse_from(["rerun-bench", "--quick"]);
        assert_eq!(
            [20, 50, 1_000, 1_000_000].map(|n| quick.size(n)),
            [20, 50, 50, 10_000]
        );
        let whole = Options::parse_from(["rerun-bench"]);
        assert_eq!(whole.size(1_000_000), 1_000_000);
    }

    #[test]
    fn works_are_chosen_by_how_their_names_begin() {
        let some = Options::parse_from(["rerun-bench", "--only", "initiate-1k,history"]);
        for (name, wanted) in [
            ("initiate-1k-kept", true),
            ("initiate-50-c1", false),
            ("history", true),
            // Its name begins with that of another.
            ("history-deep", false),
        ] {
            assert_eq!(some.wants(name), wanted, "{name}");
        }
    }
}
