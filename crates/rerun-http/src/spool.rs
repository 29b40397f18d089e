//! A body in a temporary file: a slow client holds neither a connection nor a transaction.

use std::fs::File;
use std::io::{self, Seek, Write};

use aws_lc_rs::digest;
use rerun_files::Stop;
use tokio::task::spawn_blocking;

use crate::body::Body;
use crate::error::ApiError;

/// How many bytes are written to the file at once.
const BLOCK_BYTES: usize = 256 << 10;

/// A body that has been written to an unnamed file.
pub(crate) struct Spooled {
    /// The file, at its start.
    pub(crate) file: File,
    /// SHA-256 of the decoded body.
    pub(crate) sha256: [u8; 32],
}

/// Writes a body to an unnamed file.
pub(crate) async fn spool(mut body: Body) -> Result<Spooled, ApiError> {
    body.hold(BLOCK_BYTES)?;
    let mut file = spawn_blocking(tempfile::tempfile)
        .await
        .map_err(ApiError::internal)?
        .map_err(|error| failed("create", &error))?;
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while let Some(piece) = body.next().await? {
        if block.len() + piece.len() > BLOCK_BYTES {
            (file, block, sha256) = write(file, block, sha256).await?;
        }
        block.extend_from_slice(&piece);
    }
    let (mut file, _, sha256) = write(file, block, sha256).await?;
    file.rewind().map_err(|error| failed("read", &error))?;
    let sha256 = sha256.finish();
    let sha256 = sha256.as_ref().try_into().map_err(ApiError::internal)?;
    Ok(Spooled { file, sha256 })
}

type Written = (File, Vec<u8>, digest::Context);

async fn write(
    mut file: File,
    mut block: Vec<u8>,
    mut sha256: digest::Context,
) -> Result<Written, ApiError> {
    let written = spawn_blocking(move || {
        sha256.update(&block);
        file.write_all(&block)?;
        block.clear();
        Ok::<_, io::Error>((file, block, sha256))
    });
    written
        .await
        .map_err(ApiError::internal)?
        .map_err(|error| failed("write", &error))
}

/// The file that was written cannot be read back.
pub(crate) fn unreadable(error: &io::Error) -> ApiError {
    ApiError::internal(format!("cannot read a temporary file: {error}"))
}

/// Why a file of customers is refused, or cannot be read.
pub(crate) fn stopped(stop: Stop) -> ApiError {
    match stop {
        Stop::Refused(invalid) => invalid.into(),
        Stop::Failed(error) => unreadable(&error),
    }
}

/// A disk that is full or cannot be written may be so for a while only, and nothing is lost.
fn failed(action: &str, error: &io::Error) -> ApiError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let folder = std::env::temp_dir();
    let what = format!(
        "cannot {action} a temporary file in {}: {error}",
        folder.display()
    );
    let passing = [StorageFull, QuotaExceeded, FileTooLarge, ReadOnlyFilesystem];
    if passing.contains(&error.kind()) {
        ApiError::unavailable(what)
    } else {
        ApiError::internal(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Log, Problem};

    #[test]
    fn a_folder_that_is_not_there_and_a_full_disk_are_named() {
        let folder = std::env::temp_dir().display().to_string();
        for (kind, status) in [
            (io::ErrorKind::NotFound, 500),
            (io::ErrorKind::PermissionDenied, 500),
            (io::ErrorKind::StorageFull, 503),
            (io::ErrorKind::QuotaExceeded, 503),
            (io::ErrorKind::ReadOnlyFilesystem, 503),
        ] {
            let problem = Problem::of(&failed("create", &kind.into()));
            assert_eq!(problem.status().as_u16(), status, "{kind:?}");
            let said = format!("cannot create a temporary file in {folder}: {kind}");
            assert_eq!(problem.log, Log::Cause(said));
            assert!(!problem.message.contains("database"), "{}", problem.message);
        }
    }
}
