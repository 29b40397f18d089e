//! A file of public keys that may change while the server runs.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use rerun_core::error::Invalid;
use rerun_core::text::without_mark;

use super::set::{KeyFormat, KeySet, UnfitKeys};
use super::{Asymmetric, KeySource};

/// Why there are no keys to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refuses it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is a folder, a device, or another thing that cannot be read again and again.
    #[error("it is no file")]
    NoFile,
    /// No set of keys is that long.
    #[error("it has more than {} bytes", KeyFile::MAX_BYTES)]
    TooLarge,
    /// It is in another encoding than UTF-8.
    #[error(transparent)]
    Encoding(#[from] Invalid),
    /// Its text is not what it should be.
    #[error(transparent)]
    Unfit(#[from] UnfitKeys),
}

/// The public keys in a file, of which there is at least one.
///
/// When keys are asked for, the file is looked at, once a second at most. What stands in it counts
/// from then on, if it is a good file of keys; otherwise the log says what is wrong, once, and the
/// keys that were there stay.
pub struct KeyFile {
    path: PathBuf,
    format: KeyFormat,
    algorithm: Asymmetric,
    every: Duration,
    keys: RwLock<Arc<KeySet>>,
    seen: Mutex<Seen>,
}

/// What a look at the file showed.
struct Seen {
    at: Instant,
    /// The text, or the message about what is in its place.
    what: Result<Vec<u8>, String>,
}

impl KeyFile {
    /// The largest file, in bytes.
    pub const MAX_BYTES: u64 = 1 << 20;
    const EVERY: Duration = Duration::from_secs(1);

    /// Reads the keys in a file.
    ///
    /// # Errors
    /// [`KeyFileError`] when it cannot be read, or any key in it that is meant for `algorithm` is
    /// weak or damaged.
    pub fn open(
        path: &Path,
        format: KeyFormat,
        algorithm: Asymmetric,
    ) -> Result<Self, KeyFileError> {
        let text = read(path)?;
        let keys = KeySet::read(&text, format, algorithm)?;
        Ok(Self {
            path: path.to_owned(),
            format,
            algorithm,
            every: Self::EVERY,
            keys: RwLock::new(Arc::new(keys)),
            seen: Mutex::new(Seen {
                at: Instant::now(),
                what: Ok(text),
            }),
        })
    }

    /// Looks at the file at most once in this time, instead of once a second.
    #[must_use]
    pub fn looking_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Looks at the file when it is time to. While one request does, others go on with the keys
    /// that there are.
    fn refresh(&self) {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if seen.at.elapsed() < self.every {
            return;
        }
        seen.at = Instant::now();
        let what = read(&self.path).map_err(|error| error.to_string());
        // Times and numbers of files can stay the same across a change; a set of keys is short.
        if what == seen.what {
            return;
        }
        let read = what.as_ref().map_err(Clone::clone).and_then(|text| {
            KeySet::read(text, self.format, self.algorithm).map_err(|unfit| unfit.to_string())
        });
        let file = self.path.display();
        match read {
            Ok(keys) => {
                tracing::info!(%file, keys = keys.len(), "took over changed keys of tokens");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => {
                tracing::error!(%file, error, "changed keys of tokens are refused; the old ones stay");
            }
        }
        seen.what = what;
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl KeySource for KeyFile {
    fn keys(&self, kid: Option<&str>) -> Arc<[DecodingKey]> {
        self.refresh();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.candidates(kid)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    // Opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(KeyFileError::NoFile);
    }
    let mut text = Vec::new();
    File::open(path)?
        .take(KeyFile::MAX_BYTES + 1)
        .read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= KeyFile::MAX_BYTES) {
        Ok(without_mark(&text)?.to_vec())
    } else {
        Err(KeyFileError::TooLarge)
    }
}
