use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use diesel::{Connection as _, PgConnection};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::watchdog::Watchdog;
use crate::{HarnessError, binaries, random_token, url};

/// In memory: creating and dropping databases is several times faster than on a disk.
const MEMORY_FOLDER: &str = "/dev/shm";
/// A container's `/dev/shm` has 64 MiB by default, which a few test databases fill.
const MEMORY_WANTED: u64 = 1 << 30;

const START_LIMIT: Duration = Duration::from_mins(1);
const START_POLL: Duration = Duration::from_millis(10);
/// A free port may be taken by somebody else before the server listens on it.
const START_ATTEMPTS: u32 = 5;
/// How much of the server's log an error shows, in lines.
const LOG_SHOWN: usize = 30;

const SETTINGS: [(&str, &str); 5] = [
    ("listen_addresses", "127.0.0.1"),
    // Tests run in parallel, each with a pool or two.
    ("max_connections", "300"),
    // A refused statement is what many tests are about: the log is for the server's own troubles.
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_checkpoints", "off"),
];
/// A throw-away cluster has nothing to lose.
const FORGETFUL: [(&str, &str); 4] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
];

/// What a server shows who connects by TLS.
#[derive(Clone)]
pub struct TlsFiles {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// The certificate's private key, in PEM.
    pub key: String,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

/// How a [`PgCluster`] is set up.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// What is committed survives a crash, as in production, and the files are on a disk. Without
    /// it the server runs in memory where it can, does not flush, and does not vacuum by itself:
    /// much faster, and what was committed last may be gone after
    /// [`PgCluster::stop_immediately`].
    pub durable: bool,
    /// The server takes TLS connections, too.
    pub tls: Option<TlsFiles>,
    /// Server settings (`shared_buffers`, …) that take precedence over the harness's.
    pub settings: Vec<(String, String)>,
}

/// A PostgreSQL server of one's own, with its own data, in a temporary folder.
///
/// It listens on 127.0.0.1 (with a password: other users of the machine must not get in) and on a
/// Unix socket that only this user reaches. Dropping it ends the server and removes the folder. So
/// does the end of this process, even when it is killed or the cluster is in a `static`.
#[derive(Debug)]
pub struct PgCluster {
    program: PathBuf,
    user: Option<ServerUser>,
    options: ClusterOptions,
    port: u16,
    password: String,
    server: Option<Child>,
    // The folder goes before the watchdog, which would else remove it once more.
    folder: TempDir,
    watchdog: Watchdog,
}

impl PgCluster {
    /// Starts a fast server that may forget (see [`ClusterOptions::durable`]).
    ///
    /// # Errors
    ///
    /// As [`PgCluster::start_with`].
    pub fn start() -> Result<Self, HarnessError> {
        Self::start_with(ClusterOptions::default())
    }

    /// Starts a server and waits until it accepts connections, a minute at most.
    ///
    /// # Errors
    ///
    /// When no PostgreSQL is installed, when root finds no other user to run it as, and when a
    /// program or the server itself refuses; the error holds what it printed.
    pub fn start_with(options: ClusterOptions) -> Result<Self, HarnessError> {
        let programs = binaries::find()?;
        let user = ServerUser::needed()?;
        let folder = new_folder(options.durable)?;
        let watchdog = Watchdog::start(folder.path())?;
        if let Some(user) = &user {
            user.own(folder.path())?;
        }
        let mut cluster = Self {
            program: programs.join("postgres"),
            user,
            options,
            port: 0,
            password: random_token(),
            server: None,
            folder,
            watchdog,
        };
        cluster.initialise(&programs.join("initdb"))?;
        if let Some(files) = cluster.options.tls.take() {
            cluster.enable_tls(&files)?;
        }
        let mut attempt = 1;
        loop {
            cluster.port = free_port()?;
            match cluster.start_again() {
                Err(HarnessError::EndedAtStart { .. }) if attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome.map(|()| cluster),
            }
        }
    }

    /// The URL of a database of this server, over TCP, as its superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/{}",
            self.password,
            self.port,
            url::encode(database)
        )
    }

    /// The same over the Unix socket, which is faster; not every URL parser takes it.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = url::encode(&self.folder.path().to_string_lossy());
        format!(
            "postgres://postgres@{folder}:{}/{}",
            self.port,
            url::encode(database)
        )
    }

    /// The TCP port on 127.0.0.1. It stays the same when the server is started again.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server as a crash would: connections break, nothing is written out, and the next
    /// start recovers from the log. Returns when the server is gone. Does nothing when it is not
    /// running.
    ///
    /// # Errors
    ///
    /// When the operating system refuses the signal.
    pub fn stop_immediately(&mut self) -> Result<(), HarnessError> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let stopped = quit(&server).and_then(|()| server.wait());
        stopped.map_err(HarnessError::io("stop the server"))?;
        self.watchdog.watch(None)
    }

    /// Starts the server on the same data and port, and waits until it accepts connections. Does
    /// nothing when it is running.
    ///
    /// # Errors
    ///
    /// When the server cannot be started or does not accept connections within a minute.
    pub fn start_again(&mut self) -> Result<(), HarnessError> {
        if self.server.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(HarnessError::io("open the server's log"))?;
        let server = self
            .server_command(log)
            .spawn()
            .map_err(|source| self.cannot_run(&self.program, source))?;
        let id = server.id();
        self.server = Some(server);
        self.watchdog.watch(Some(id))?;
        self.wait_until_ready()
    }

    /// What the server logs, opened at its start; it can be read on while the server adds to it.
    /// What a statement has logged is there when its answer is.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn log(&self) -> Result<File, HarnessError> {
        File::open(self.log_file()).map_err(HarnessError::io("open the server's log"))
    }

    fn initialise(&mut self, initdb: &Path) -> Result<(), HarnessError> {
        let password_file = self.folder.path().join("password");
        fs::write(&password_file, &self.password).map_err(HarnessError::io("write a password"))?;
        if let Some(user) = &self.user {
            user.own(&password_file)?;
        }
        let process = self
            .command(initdb)
            .args([
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(self.data())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.cannot_run(initdb, source))?;
        self.watchdog.watch(Some(process.id()))?;
        let output = process
            .wait_with_output()
            .map_err(HarnessError::io("wait for `initdb`"))?;
        self.watchdog.watch(None)?;
        if output.status.success() {
            return fs::remove_file(&password_file).map_err(HarnessError::io("remove a password"));
        }
        let text = [output.stdout, output.stderr].concat();
        let output_text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(HarnessError::InitDb {
            status: output.status,
            output: output_text,
        })
    }

    fn enable_tls(&mut self, files: &TlsFiles) -> Result<(), HarnessError> {
        let mut settings = vec![("ssl".to_owned(), "on".to_owned())];
        for (setting, name, text) in [
            ("ssl_cert_file", "server.crt", &files.certificate),
            ("ssl_key_file", "server.key", &files.key),
        ] {
            let path = self.folder.path().join(name);
            fs::write(&path, text).map_err(HarnessError::io("write a certificate"))?;
            // The server refuses a key that others can read.
            fs::set_permissions(&path, Permissions::from_mode(0o600))
                .map_err(HarnessError::io("protect a key"))?;
            if let Some(user) = &self.user {
                user.own(&path)?;
            }
            settings.push((setting.to_owned(), path.display().to_string()));
        }
        self.options.settings.extend(settings);
        Ok(())
    }

    fn server_command(&self, log: File) -> Command {
        let mut command = self.command(&self.program);
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string());
        command.arg("-k").arg(self.folder.path());
        let forgetful: &[_] = if self.options.durable {
            &[]
        } else {
            &FORGETFUL
        };
        for (name, value) in SETTINGS.iter().chain(forgetful) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.options.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // An interrupt from the terminal is for the tests: the server stays until they end.
        command.process_group(0).stdout(Stdio::null()).stderr(log);
        command
    }

    /// A program of the server's, run as the user that may, in the surroundings that it needs.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            // `PGDATA`, `PGOPTIONS` and the like are about some other server.
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Names the folder and the user too: often it is they that do not fit together.
    fn cannot_run(&self, program: &Path, source: io::Error) -> HarnessError {
        let user = self
            .user
            .as_ref()
            .map(|user| format!(" as user {}", user.uid));
        HarnessError::Io {
            action: format!(
                "run {} in {}{}",
                program.display(),
                self.folder.path().display(),
                user.unwrap_or_default()
            ),
            source,
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), HarnessError> {
        // Over the socket: whoever else might listen on the port, this is our server.
        let url = self.socket_url("postgres");
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Some(server) = &mut self.server {
                let ended = server
                    .try_wait()
                    .map_err(HarnessError::io("look at the server"))?;
                if let Some(status) = ended {
                    self.server = None;
                    self.watchdog.watch(None)?;
                    return Err(HarnessError::EndedAtStart {
                        status,
                        log: self.end_of_log(),
                    });
                }
            }
            if PgConnection::establish(&url).is_ok() {
                return Ok(());
            }
            thread::sleep(START_POLL);
        }
        Err(HarnessError::NotReady {
            seconds: START_LIMIT.as_secs(),
            log: self.end_of_log(),
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_SHOWN)..].join("\n")
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted; of one that cannot be ended the
        // watchdog still knows.
        let _ = self.stop_immediately();
    }
}

/// Who runs the server when this process is root's, which PostgreSQL refuses.
#[derive(Debug)]
struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    fn needed() -> Result<Option<Self>, HarnessError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let users =
            fs::read_to_string("/etc/passwd").map_err(HarnessError::io("read the users"))?;
        Self::among(&users)
            .map(Some)
            .ok_or(HarnessError::NoUnprivilegedUser)
    }

    /// Reads the lines of `/etc/passwd`: `name:password:uid:gid:…`.
    fn among(users: &str) -> Option<Self> {
        ["postgres", "nobody"].into_iter().find_map(|wanted| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let uid = fields
                    .next()
                    .filter(|name| *name == wanted)
                    .and(fields.nth(1))?;
                Some(Self {
                    uid: uid.parse().ok()?,
                    gid: fields.next()?.parse().ok()?,
                })
            })
        })
    }

    fn own(&self, path: &Path) -> Result<(), HarnessError> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(HarnessError::io(format!("give away {}", path.display())))
    }
}

fn new_folder(durable: bool) -> Result<TempDir, HarnessError> {
    let make = |parent: &Path| {
        tempfile::Builder::new()
            .prefix("rerun-pg-")
            .tempdir_in(parent)
    };
    let memory = Path::new(MEMORY_FOLDER);
    if !durable
        && free_space(memory) >= MEMORY_WANTED
        && let Ok(folder) = make(memory)
    {
        return Ok(folder);
    }
    make(&env::temp_dir()).map_err(HarnessError::io("make a temporary folder"))
}

/// Free space at a path in bytes, 0 when there is no such path.
fn free_space(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize))
}

fn free_port() -> Result<u16, HarnessError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(HarnessError::io("find a free port"))
}

fn quit(server: &Child) -> io::Result<()> {
    Ok(kill_process(Pid::from_child(server), Signal::QUIT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_runs_as_postgres_rather_than_nobody() {
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        let both = format!("{nobody}notpostgres:x:5:6::/:\npostgres:x:101:104:,,,:/:/bin/sh\n");
        for (users, expected) in [
            (nobody, Some((65534, 65533))),
            (&both, Some((101, 104))),
            ("root:x:0:0", None),
        ] {
            let user = ServerUser::among(users);
            assert_eq!(user.map(|user| (user.uid, user.gid)), expected);
        }
    }
}
