//! The file of a database: where it is, how it is made, and why it cannot be opened.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use diesel::{ConnectionError, ConnectionResult};

/// An absolute path of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File(String);

fn bad_url(url: &str, why: &str) -> ConnectionError {
    ConnectionError::InvalidConnectionUrl(format!("`{url}` {why}"))
}

impl File {
    /// The file that a URL names. Its path is absolute, so that SQLite cannot take it for a
    /// database in memory, which each connection would have for itself.
    pub(crate) fn of(url: &str) -> ConnectionResult<Self> {
        let path = url
            .strip_prefix("sqlite://")
            .filter(|path| !path.is_empty() && *path != ":memory:")
            .ok_or_else(|| bad_url(url, "is not of the form `sqlite://FILE`"))?;
        if path.contains('?') {
            let why = "has a `?`: the name of the file is all that may follow `sqlite://`";
            return Err(bad_url(url, why));
        }
        let path: PathBuf = std::path::absolute(Path::new(path))
            .map_err(|error| bad_url(url, &format!("has no absolute path: {error}")))?;
        path.into_os_string()
            .into_string()
            .map(Self)
            .map_err(|_not_utf8| bad_url(url, "is in a folder whose name is not UTF-8"))
    }

    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// How SQLite is to open it: never making it.
    pub(crate) fn uri(&self) -> String {
        let path = self.0.replace('%', "%25");
        // A folder above may have a `?` in its name.
        let path = path.replace('?', "%3f").replace('#', "%23");
        format!("file://{path}?mode=rw")
    }

    /// Makes the file, for this user alone, when it is not there. SQLite gives the files that it
    /// keeps beside it the same permissions.
    pub(crate) fn make(&self) -> ConnectionResult<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        match options.open(self.path()) {
            Ok(_empty) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.refused(&error.to_string())),
        }
    }

    /// Refuses a file that is not there.
    pub(crate) fn must_exist(&self) -> ConnectionResult<()> {
        match fs::metadata(self.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.why() {
                Some(why) => Err(self.refused(&why)),
                None => Err(ConnectionError::BadConnection(format!(
                    "there is no database {}; create it with `rerun-http migrate` or `rerun_sqlite::migrate`",
                    self.0
                ))),
            },
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// An error that names the file and, where it can be found out, what is wrong with it or its
    /// folder. SQLite says that it is unable to open the database file, and nothing else.
    pub(crate) fn refused(&self, said: &str) -> ConnectionError {
        let said = if said.contains("file is not a database") {
            "it is not an SQLite database"
        } else {
            said
        };
        let why = self.why().unwrap_or_else(|| said.to_owned());
        ConnectionError::BadConnection(format!("{}: {why}", self.0))
    }

    fn why(&self) -> Option<String> {
        let path = self.path();
        let folder = path.parent().unwrap_or(path);
        let there = match fs::metadata(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Some(format!("the folder {} does not exist", folder.display()));
            }
            Err(error) => return Some(format!("the folder {}: {error}", folder.display())),
            Ok(found) if !found.is_dir() => {
                return Some(format!("{} is not a folder", folder.display()));
            }
            Ok(_) => match fs::metadata(path) {
                Ok(found) if found.is_dir() => return Some("it is a folder".to_owned()),
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Some(error.to_string()),
            },
        };
        if there {
            return accessible(path, false).err().map(|error| error.to_string());
        }
        let writable = accessible(folder, true).err();
        writable.map(|error| format!("the folder {} cannot be written: {error}", folder.display()))
    }
}

/// Whether a file can be read, or a folder written.
#[cfg(unix)]
fn accessible(path: &Path, folder: bool) -> io::Result<()> {
    use rustix::fs::Access;
    let wanted = if folder {
        Access::WRITE_OK | Access::EXEC_OK
    } else {
        Access::READ_OK
    };
    Ok(rustix::fs::access(path, wanted)?)
}

#[cfg(not(unix))]
fn accessible(_path: &Path, _folder: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_slash_is_relative_to_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        let path = |url| File::of(url).unwrap().path().to_owned();
        assert_eq!(path("sqlite://rerun.db"), here.join("rerun.db"));
        assert_eq!(path("sqlite://./data/a b.db"), here.join("data/a b.db"));
        assert_eq!(path("sqlite:///var/rerun.db"), Path::new("/var/rerun.db"));
        assert_eq!(path("sqlite://file:x"), here.join("file:x"));
    }

    #[test]
    fn a_url_with_parameters_is_refused() {
        for url in [
            "sqlite://x.db?mode=rwc",
            "sqlite://file:x?mode=memory",
            "sqlite:///x.db?",
        ] {
            let said = File::of(url).unwrap_err().to_string();
            assert!(said.contains(&format!("`{url}` has a `?`")), "{said}");
        }
    }

    #[test]
    fn a_uri_names_the_path_as_it_stands() {
        let uri = |url| File::of(url).unwrap().uri();
        assert_eq!(uri("sqlite:///a b.db"), "file:///a b.db?mode=rw");
        assert_eq!(
            uri("sqlite:///x&mode=ro#%41"),
            "file:///x&mode=ro%23%2541?mode=rw"
        );
    }
}
