use std::cmp::Reverse;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::HarnessError;

/// Folders that hold one folder for each installed version, as (parent, prefix of the version's
/// folder, what leads on to the programs).
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The folder with the programs of a PostgreSQL server: the one on `PATH`, else the newest version
/// that a distribution has put aside (Debian's, for one, are never on `PATH`).
pub(crate) fn find() -> Result<PathBuf, HarnessError> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&on_path)
        .chain(folder_of_pg_config())
        .chain(VERSIONED.into_iter().flat_map(versions))
        .chain([PathBuf::from("/usr/local/pgsql/bin")]);
    first_with_server(folders)
}

fn first_with_server(folders: impl Iterator<Item = PathBuf>) -> Result<PathBuf, HarnessError> {
    let mut searched = Vec::new();
    for folder in folders {
        if folder.join("initdb").is_file() && folder.join("postgres").is_file() {
            return Ok(folder);
        }
        searched.push(folder.display().to_string());
    }
    Err(HarnessError::ServerNotFound {
        searched: searched.join(", "),
    })
}

fn folder_of_pg_config() -> Option<PathBuf> {
    let answer = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(answer.stdout).ok()?;
    answer
        .status
        .success()
        .then(|| PathBuf::from(folder.trim()))
}

fn versions((parent, prefix, programs): (&str, &str, &str)) -> Vec<PathBuf> {
    newest_first(Path::new(parent), prefix)
        .into_iter()
        .map(|folder| {
            if programs.is_empty() {
                folder
            } else {
                folder.join(programs)
            }
        })
        .collect()
}

fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = parent
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((version(name.strip_prefix(prefix)?), entry.path()))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(version.clone()));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The numbers in a folder's name: versions compare as numbers, so that 9.6 is older than 15.
fn version(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_version_comes_first_and_others_are_left_out() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pgsql-9.6", "pgsql-15", "pgsql-9.10", "mysql-99"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = newest_first(parent.path(), "pgsql-");
        let names: Vec<_> = found
            .iter()
            .map(|folder| folder.file_name().unwrap())
            .collect();
        assert_eq!(names, ["pgsql-15", "pgsql-9.10", "pgsql-9.6"]);
    }

    #[test]
    fn a_folder_counts_when_it_holds_the_whole_server() {
        let parent = tempfile::tempdir().unwrap();
        let (client, server) = (parent.path().join("client"), parent.path().join("server"));
        for folder in [&client, &server] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("initdb"), "").unwrap();
        }
        fs::write(server.join("postgres"), "").unwrap();
        let found = first_with_server([client, server.clone()].into_iter()).unwrap();
        assert_eq!(found, server);
    }

    #[test]
    fn without_a_server_the_error_says_what_to_do() {
        let error = first_with_server([PathBuf::from("/nowhere")].into_iter()).unwrap_err();
        let text = error.to_string();
        for part in [
            "/nowhere",
            "apt-get install postgresql",
            "RERUN_TEST_DATABASE_URL",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
