/// The shortest secret of HS256, in bytes: the length of the signature that it makes.
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// A setting of the guard that would let the wrong people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSetting {
    /// The secret of HS256 is too short to withstand guessing.
    #[error(
        "the JWT secret has {bytes} bytes; HS256 needs at least {}",
        MIN_SECRET_BYTES
    )]
    ShortSecret {
        /// How long it is.
        bytes: usize,
    },
    /// There is no API code to compare with.
    #[error("the API code is empty")]
    EmptyApiCode,
}
